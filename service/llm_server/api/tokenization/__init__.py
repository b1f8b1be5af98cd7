"""Tokens of texts and conversations, and texts of tokens, in the shape that vLLM gave these endpoints."""

from llm_server.api.tokenization.routes import router

__all__ = ["router"]
