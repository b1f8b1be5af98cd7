"""`make dev`: the application under uvicorn's reloader, as the settings say, and open to web pages on this machine.

Without a supervisor the engine is started from the application's lifespan, so it is new after each change, too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import uvicorn

from llm_server.settings import SettingsError, exit_on_error, load_settings

PAGES_OF_THIS_MACHINE: Final = "http://localhost:*,http://127.0.0.1:*"
_SOURCES: Final = Path(__file__).parents[1]
_STOP_SECONDS: Final = 5
"""Streams are cut off after that, because whoever has saved a file waits for the server."""


def main() -> None:
    try:
        settings = load_settings()
        settings.read_api_key()
    except SettingsError as error:
        exit_on_error(error)
    if "cors_origins" not in settings.model_fields_set:
        os.environ["LLM_CORS_ORIGINS"] = PAGES_OF_THIS_MACHINE
    uvicorn.run(
        "llm_server.server:app",
        host=settings.host,
        port=settings.port,
        reload=True,
        reload_dirs=[str(_SOURCES)],
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


if __name__ == "__main__":
    main()
