"""A configuration with secrets in every place, and a client of the management API that looks for them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx

from ccr_core.api import operations
from ccr_core.api.openapi import maybe, named
from ccr_core.server import App

MASK = "********"

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

TOML = '''# what this router is for
APIKEY = "the-key-of-the-router"  # not the management token
my_note = "unknown keys stay"

[Router]
default = "big,huge"  # a remark

# the big one
[[Providers]]
name = "big"
api_base_url = "https://user:pass-word-of-big@big.example/v1?key=in-the-address"
api_key = [
  "sk-first-key-of-big-0001",  # the first
  'sk-second-key-of-big-0002',
]
models = ["huge", {name = "small", context = 8000}]
headers = {x-team = "team-secret-value", x-title = "ccr"}
# api_key = "sk-commented-out-key-000000"

[[Providers]]
name = "deepseek"
api_key = "$DEEPSEEK_API_KEY"
models = ["deepseek-chat"]

[oauth.vertex]
private_key = """
tok-of-customparams"""
'''

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


def shape_of(method: str, path: str) -> Any:
    """The shape that the table of operations says for the answers of a route."""
    for operation in operations():
        pattern = re.sub(r"{\w+}", "[^/]+", operation.path.replace(".", "[.]"))
        if operation.method == method and re.fullmatch(pattern, path):
            return operation.gives
    raise AssertionError(f"{method} {path} is no operation")


def fits(value: Any, shape: Any, where: str) -> None:
    """Assert that an answer has the shape that is documented for it, no member less and none more."""
    if isinstance(shape, named):
        fits(value, shape.shape, where)
    elif isinstance(shape, maybe):
        if value is not None:
            fits(value, shape.shape, where)
    elif isinstance(shape, dict):
        assert isinstance(value, dict), where
        free = set(shape) == {str}
        assert free or set(shape) == set(value), where
        for key, item in value.items():
            fits(item, shape[str if free else key], f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for index, item in enumerate(value):
            fits(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, tuple):
        assert value in shape, where
    elif shape is float:
        assert type(value) in (int, float), where
    elif shape is not object:
        assert type(value) is shape, f"{where}: {value!r}"


class Client:
    """What a program sees of the API; every answer is searched for secrets."""

    def __init__(self, http: httpx.AsyncClient, app: App, path: Path) -> None:
        self.http = http
        self.app = app
        self.path = path
        self.secrets = [*SECRETS]
        self.former = self.text

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
        if status == 200:
            fits(answer.json(), shape_of(method, path.partition("?")[0]), f"{method} {path}")
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
