"""The Anthropic Messages API. Knows HTTP and its own wire JSON; knows no token and no other API."""
