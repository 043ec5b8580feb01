"""A configuration with secrets in every place, and a client of the management API that looks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from ccr_core.server import App

CONFIG = """// what this router is for
{
  "APIKEY": "the-key-of-the-router", // not the management token
  "PORT": 3456,
  "my_note": "unknown keys stay", // and so do remarks
  "Providers": [
    // the cheap one
    {
      "name": "deepseek",
      "api_base_url": "https://api.deepseek.com/chat/completions",
      "api_key": "$DEEPSEEK_API_KEY",
      "models": ["deepseek-chat", "deepseek-reasoner"],
      "transformer": { "use": ["deepseek"], "deepseek-chat": { "use": ["tooluse"] } },
    }, // end of the cheap one
    {
      name: 'big', // bare keys are fine
      api_base_url: 'https://user:pass-word-of-big@big.example/v1/chat/completions?key=in-the-address',
      api_key: ['sk-first-key-of-big-0001', 'sk-second-key-of-big-0002'],
      headers: { 'x-team': 'team-secret-value', 'x-title': 'ccr' },
      models: ['huge', { name: 'small', context: 8000 }],
      transformer: { use: [['maxtoken', { max_tokens: 4096 }], ['customparams', { token: 'tok-of-customparams' }]] },
    },
    // "api_key": "sk-commented-out-key-000000"
    { "name": "local", "api_base_url": "http://127.0.0.1:9/v1/chat/completions", "api_key": "", "models": ["tiny"] },
  ],
  "Router": {
    "default": "deepseek,deepseek-chat",
    "think": "big,huge,high",
    // a remark between
    "longContextThreshold": 60000,
  },
}
"""

SECRETS = (
    "the-key-of-the-router",
    "pass-word-of-big",
    "in-the-address",
    "sk-first-key-of-big-0001",
    "sk-second-key-of-big-0002",
    "team-secret-value",
    "tok-of-customparams",
    "sk-commented-out-key-000000",
    "resolved-key-of-deepseek",
)
"""What no answer may hold."""


class Client:
    """What a program sees of the API; every answer is searched for secrets."""

    def __init__(self, http: httpx.AsyncClient, app: App, path: Path) -> None:
        self.http = http
        self.app = app
        self.path = path
        self.secrets = [*SECRETS]

    @property
    def text(self) -> str:
        """The file as it is now."""
        return self.path.read_text()

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        """Ask; gives the answer's JSON, which must come with ``status``."""
        if body is not None:
            options["json"] = body
        answer = await self.http.request(method, path, **options)
        for secret in self.secrets:
            assert secret not in answer.text
        assert status == answer.status_code, answer.text
        return answer.json()

    async def get(self, path: str, **options: Any) -> Any:
        """GET."""
        return await self.ask("GET", path, **options)

    async def version(self) -> str:
        """The present version of the configuration."""
        return str((await self.get("/api/config"))["version"])

    async def problems(self, method: str, path: str, body: Any, status: int = 400) -> Any:
        """Ask for what is refused; gives the problems as pairs of path and message, after a look that nothing was
        written."""
        before = self.text
        error = (await self.ask(method, path, body, status))["error"]
        assert before == self.text
        return [(each["path"], each["message"]) for each in error.get("problems", [])]
