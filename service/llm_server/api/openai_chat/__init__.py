"""OpenAI's Chat Completions API."""

from llm_server.api.openai_chat.routes import router

__all__ = ["router"]
