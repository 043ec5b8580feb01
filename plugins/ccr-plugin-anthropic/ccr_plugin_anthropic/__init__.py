"""The Anthropic Messages API: what clients speak, and what Anthropic and compatible providers speak."""
