"""`llm-server bench`: this server beside a bare loop over mlx-lm and beside mlx_lm.server, on the same model.

Every system gets the same prompts, token for token, decodes them greedily and ends them at the same tokens, so that
all of them do the same work. Nothing of the server imports this package.
"""

from llm_server.bench.command import main

__all__ = ["main"]
