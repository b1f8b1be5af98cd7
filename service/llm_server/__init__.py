"""A local gpt-oss server: MLX underneath, the OpenAI and Anthropic APIs on top."""

__version__ = "0.1.0"
