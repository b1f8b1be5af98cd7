"""Harmony, the format gpt-oss speaks: text to token ids and back. Knows no HTTP and no model."""
