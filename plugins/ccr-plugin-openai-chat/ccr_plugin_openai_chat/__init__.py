"""The OpenAI chat completions format, as most providers speak it."""
