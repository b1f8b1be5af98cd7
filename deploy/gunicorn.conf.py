"""gunicorn's configuration, by the name it has everywhere: `gunicorn -c deploy/gunicorn.conf.py llm_server.server:app`.

`llm-server serve` runs gunicorn with the same configuration and keeps the engine beside it. Without it, each worker
starts an engine of its own, so LLM_WORKERS stays 1 unless LLM_ENGINE_ADDRESS is set.
"""

from llm_server.gunicorn_config import *  # noqa: F403
