"""The embedded model: a small gpt-oss that speaks Harmony."""
