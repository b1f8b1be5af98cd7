"""OpenAI's Completions API: a prompt that is run as it is."""

from llm_server.api.completions.routes import router

__all__ = ["router"]
