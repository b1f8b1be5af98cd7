"""OpenAI's Responses API, over HTTP and over WebSockets."""

from llm_server.api.openai_responses.routes import router

__all__ = ["router"]
