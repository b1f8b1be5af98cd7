"""The Anthropic Messages API. Knows HTTP and its own wire JSON; knows no token and no other API."""

from llm_server.api.anthropic.errors import Anthropic
from llm_server.api.anthropic.routes import router

__all__ = ["Anthropic", "router"]
