"""`python -m llm_server` is `llm-server`, and serves when it is told nothing else."""

from __future__ import annotations

import sys

from llm_server.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["serve"]))
