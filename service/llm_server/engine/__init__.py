"""The engine: token ids in, token ids out. No text, no Harmony, no HTTP, no metrics library."""
