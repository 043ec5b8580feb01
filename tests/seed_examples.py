"""The configurations with sign-ins that the older tool's documentation shows, as they stand there."""

ACCOUNTS = """{
  "APIKEY": "your-secret-key",
  "LOG": true,
  "API_TIMEOUT_MS": 600000,
  "Providers": [
    {
      "name": "codex",
      "api_base_url": "https://chatgpt.com/backend-api/codex/responses",
      "auth_type": "oauth",
      "oauth_provider": "codex",
      "models": ["gpt-5.3-codex", "gpt-5.2-codex", "gpt-5.1-codex-mini"],
      "transformer": { "use": ["openai-responses"] }
    },
    {
      "name": "copilot",
      "api_base_url": "https://api.githubcopilot.com",
      "auth_type": "oauth",
      "oauth_provider": "copilot",
      "models": ["claude-opus-4-6", "gpt-4.1", "gpt-5-mini", "gpt-4o"]
    },
    {
      "name": "gemini",
      "api_base_url": "https://generativelanguage.googleapis.com",
      "auth_type": "oauth",
      "oauth_provider": "gemini",
      "models": ["gemini-3-pro-preview", "gemini-3-flash-preview", "gemini-2.5-pro"],
      "transformer": { "use": ["gemini"] }
    }
  ],
  "Router": {
    "default": "codex,gpt-5.3-codex",
    "background": "copilot,gpt-5-mini",
    "think": "codex,gpt-5.3-codex",
    "longContext": "gemini,gemini-3-pro-preview",
    "longContextThreshold": 60000,
    "webSearch": "copilot,gpt-5-mini",
    "image": "gemini,gemini-3-flash-preview"
  }
}
"""
BARE = """{
  "Providers": [
    {
      "name": "copilot",
      "api_base_url": "https://api.githubcopilot.com",
      "auth_type": "oauth",
      "oauth_provider": "copilot",
      "models": ["claude-opus-4-6", "gpt-5.2-codex", "gpt-4.1", "claude-haiku-4.5", "gpt-5-mini", "gpt-4o"]
    },
    {
      "name": "codex",
      "api_base_url": "https://api.openai.com",
      "auth_type": "oauth",
      "oauth_provider": "codex",
      "models": ["gpt-5.3-codex", "gpt-5.2-codex", "gpt-5.1-codex-mini"]
    },
    {
      "name": "gemini",
      "api_base_url": "https://generativelanguage.googleapis.com",
      "auth_type": "oauth",
      "oauth_provider": "gemini",
      "models": ["gemini-3-pro-preview", "gemini-3-flash-preview", "gemini-2.5-pro", "gemini-2.5-flash"]
    },
    {
      "name": "openrouter",
      "api_base_url": "https://openrouter.ai/api/v1/chat/completions",
      "api_key": "$OPENROUTER_API_KEY",
      "models": ["anthropic/claude-sonnet-4"],
      "transformer": { "use": ["openrouter"] }
    }
  ]
}
"""
