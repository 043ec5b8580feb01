"""Configurations that people have from claude-code-router work unchanged, over real HTTP.

A router is started from a file as it was written for the older tool, with all plugins of this project.  A client
talks to it over HTTP, and it talks over HTTP to a stand-in for the services on this machine.  Only the connection is
redirected (:class:`Redirected`): configuration, URLs, keys and bodies are those that the services would get.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs
import httpx
import pytest
import uvicorn

from ccr_core import JSON, WireRequest
from ccr_core.config import load as load_config
from ccr_core.plugins import load as load_plugins
from ccr_core.runtime import Runtime, build
from ccr_core.server import create_app
from ccr_core.testing import claude_code_headers, claude_code_history, claude_code_request, sse
from ccr_core.upstream import HttpSender, Reply

KEYS = {
    name: f"key-of-{name.removesuffix('_API_KEY').lower()}"
    for name in ("OPENROUTER_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY")
}

# --- the configurations ------------------------------------------------------------------------------------------

EVERYTHING = """
{
  // what most people started from
  "APIKEY": "your-secret-key",
  "PROXY_URL": "",
  "LOG": true,
  "API_TIMEOUT_MS": 600000,
  "NON_INTERACTIVE_MODE": false,
  "Providers": [
    {
      "name": "openrouter",
      "api_base_url": "https://openrouter.ai/api/v1/chat/completions",
      "api_key": "$OPENROUTER_API_KEY",
      "models": ["google/gemini-2.5-pro-preview", "anthropic/claude-sonnet-4", "anthropic/claude-3.7-sonnet:thinking"],
      "transformer": { "use": ["openrouter"] },
    },
    {
      "name": "deepseek",
      "api_base_url": "https://api.deepseek.com/chat/completions",
      "api_key": "${DEEPSEEK_API_KEY}",
      "models": ["deepseek-chat", "deepseek-reasoner"],
      "transformer": { "use": ["deepseek"], "deepseek-chat": { "use": ["tooluse"] } },
    },
    {
      "name": "ollama",
      "api_base_url": "http://localhost:11434/v1/chat/completions",
      "api_key": "ollama",
      "models": ["qwen2.5-coder:latest"],
    },
    {
      "name": "gemini",
      "api_base_url": "https://generativelanguage.googleapis.com/v1beta/models/",
      "api_key": "$GEMINI_API_KEY",
      "models": ["gemini-2.5-flash", "gemini-2.5-pro"],
      "transformer": { "use": ["gemini"] },
    },
    {
      "name": "volcengine",
      "api_base_url": "https://ark.cn-beijing.volces.com/api/v3/chat/completions",
      "api_key": "sk-volc",
      "models": ["deepseek-v3-250324", "deepseek-r1-250528"],
      "transformer": { "use": ["deepseek"] },
    },
    {
      "name": "siliconflow",
      "api_base_url": "https://api.siliconflow.cn/v1/chat/completions",
      "api_key": "sk-silicon",
      "models": ["moonshotai/Kimi-K2-Instruct"],
      "transformer": { "use": [["maxtoken", { "max_tokens": 16384 }]] },
    },
    {
      "name": "modelscope",
      "api_base_url": "https://api-inference.modelscope.cn/v1/chat/completions",
      "api_key": "sk-scope",
      "models": ["Qwen/Qwen3-Coder-480B-A35B-Instruct", "Qwen/Qwen3-235B-A22B-Thinking-2507"],
      "transformer": {
        "use": [["maxtoken", { "max_tokens": 65536 }], "enhancetool"],
        "Qwen/Qwen3-235B-A22B-Thinking-2507": { "use": ["reasoning"] },
      },
    },
    {
      "name": "dashscope",
      "api_base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
      "api_key": "sk-dash",
      "models": ["qwen3-coder-plus"],
      "transformer": { "use": [["maxtoken", { "max_tokens": 65536 }], "enhancetool"] },
    },
    {
      "name": "aihubmix",
      "api_base_url": "https://aihubmix.com/v1/chat/completions",
      "api_key": "sk-mix",
      "models": ["Z/glm-4.5", "claude-opus-4-20250514", "gemini-2.5-pro"],
    },
    {
      "name": "groq",
      "api_base_url": "https://api.groq.com/openai/v1/chat/completions",
      "api_key": "$GROQ_API_KEY",
      "models": ["openai/gpt-oss-120b"],
      "transformer": { "use": ["groq"] },
    },
    {
      "name": "openai",
      "api_base_url": "https://api.openai.com/v1/chat/completions",
      "api_key": "$OPENAI_API_KEY",
      "models": ["gpt-4.1"],
    },
    {
      "name": "kimi",
      "api_base_url": "https://api.moonshot.cn/anthropic/v1/messages",
      "api_key": "sk-kimi",
      "models": ["kimi-k2-0905-preview"],
      "transformer": { "use": ["Anthropic"] },
    },
    {
      "name": "moonshot",
      "api_base_url": "https://api.moonshot.cn/v1/chat/completions",
      "api_key": "sk-moon",
      "models": ["kimi-k2.6"],
    },
    {
      "name": "anthropic",
      "api_base_url": "https://api.anthropic.com/v1/messages",
      "api_key": "sk-ant",
      "models": ["claude-sonnet-4-6"],
      "transformer": { "use": ["anthropic"] },
    },
    {
      "name": "responses",
      "api_base_url": "https://api.openai.com/v1/responses",
      "api_key": "$OPENAI_API_KEY",
      "models": ["gpt-5.1-codex-mini"],
      "transformer": { "use": ["openai-responses"] },
    },
    {
      "name": "cerebras",
      "api_base_url": "https://api.cerebras.ai/v1/chat/completions",
      "api_key": "sk-cere",
      "models": ["qwen-3-coder-480b"],
      "transformer": { "use": ["cerebras"] },
    },
    {
      "name": "vercel",
      "api_base_url": "https://ai-gateway.vercel.sh/v1/chat/completions",
      "api_key": "sk-vercel",
      "models": ["anthropic/claude-sonnet-4"],
      "transformer": { "use": [["vercel", { "providerOptions": { "gateway": { "only": ["bedrock"] } } }]] },
    },
  ],
  "Router": {
    "default": "deepseek,deepseek-chat",
    "background": "ollama,qwen2.5-coder:latest",
    "think": "deepseek,deepseek-reasoner",
    "longContext": "openrouter,google/gemini-2.5-pro-preview",
    "longContextThreshold": 60000,
    "webSearch": "gemini,gemini-2.5-flash",
  },
}
"""

PIPELINE = """
{
  "LOG": true,
  "NON_INTERACTIVE_MODE": true,
  "OPENAI_API_KEY": "$DEEPSEEK_API_KEY",
  "OPENAI_BASE_URL": "https://api.deepseek.com",
  "OPENAI_MODEL": "deepseek-chat",
  "Providers": [
    {
      "name": "deepseek",
      "api_base_url": "https://api.deepseek.com/chat/completions",
      "api_key": "$DEEPSEEK_API_KEY",
      "models": ["deepseek-chat"]
    }
  ]
}
"""
"""For continuous integration: no routes, leftovers of the first versions, any key from the client."""

SHORT = """
{
  "providers": [
    { "name": "openrouter", "api_base_url": "https://openrouter.ai/api/v1/chat/completions",
      "api_key": "$OPENROUTER_API_KEY", "models": ["anthropic/claude-sonnet-4"],
      "transformer": { "use": [["openrouter", { "provider": { "only": ["moonshotai/fp8"] } }]] } },
    { "name": "local", "api_base_url": "http://127.0.0.1:1234/v1", "api_key": "x", "models": ["qwen"],
      "transformer": { "use": ["cleancache", ["sampling", { "temperature": 0.6 }], "streamoptions"] } }
  ],
  "Router": { "default": "openrouter,anthropic/claude-sonnet-4" }
}
"""

# --- what the services must get ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Case:
    """A model of a configuration, and what its service must get.

    ``has`` are fields of the body, ``lacks`` words that must not stand anywhere in it.
    """

    route: str
    url: str
    key: str
    header: str = "authorization"
    has: JSON = attrs.field(factory=dict)
    lacks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.route


CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
CHAT = "/chat/completions"
OWN = ("billing-header", "DeferredToolPlaceholder", "context_management", "user_id")
"""What Claude Code says to Anthropic only."""
MARKS = (*OWN, "cache_control")
CASES = [
    Case(
        route="openrouter,anthropic/claude-sonnet-4",
        url=f"https://openrouter.ai/api/v1{CHAT}",
        key="Bearer key-of-openrouter",
        has={"max_tokens": 32000, "reasoning": {"effort": "high"}},
        lacks=OWN,
    ),
    Case(
        route="openrouter,google/gemini-2.5-pro-preview",
        url=f"https://openrouter.ai/api/v1{CHAT}",
        key="Bearer key-of-openrouter",
        lacks=OWN,
    ),
    Case(
        route="deepseek,deepseek-chat",
        url=f"https://api.deepseek.com{CHAT}",
        key="Bearer key-of-deepseek",
        has={"tool_choice": "required", "thinking": {"type": "disabled"}},
        lacks=(*MARKS, "image_url"),
    ),
    Case(
        route="deepseek,deepseek-reasoner",
        url=f"https://api.deepseek.com{CHAT}",
        key="Bearer key-of-deepseek",
        has={"thinking": {"type": "enabled"}},
        lacks=(*MARKS, "image_url", "ExitTool"),
    ),
    Case(
        route="ollama,qwen2.5-coder:latest",
        url=f"http://localhost:11434/v1{CHAT}",
        key="Bearer ollama",
        has={"max_tokens": 32000},
        lacks=MARKS,
    ),
    Case(
        route="gemini,gemini-2.5-flash",
        url="https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:",
        key="key-of-gemini",
        header="x-goog-api-key",
        lacks=MARKS,
    ),
    Case(
        route="volcengine,deepseek-v3-250324",
        url=f"https://ark.cn-beijing.volces.com/api/v3{CHAT}",
        key="Bearer sk-volc",
        has={"max_tokens": 32000},
        lacks=MARKS,
    ),
    Case(
        route="siliconflow,moonshotai/Kimi-K2-Instruct",
        url=f"https://api.siliconflow.cn/v1{CHAT}",
        key="Bearer sk-silicon",
        has={"max_tokens": 16384},
        lacks=(*MARKS, "enable_thinking"),
    ),
    Case(
        route="modelscope,Qwen/Qwen3-Coder-480B-A35B-Instruct",
        url=f"https://api-inference.modelscope.cn/v1{CHAT}",
        key="Bearer sk-scope",
        has={"max_tokens": 32000, "stream": True},
        lacks=(*MARKS, "enable_thinking"),
    ),
    Case(
        route="modelscope,Qwen/Qwen3-235B-A22B-Thinking-2507",
        url=f"https://api-inference.modelscope.cn/v1{CHAT}",
        key="Bearer sk-scope",
        has={"max_tokens": 32000, "enable_thinking": True, "stream": True},
        lacks=MARKS,
    ),
    Case(
        route="dashscope,qwen3-coder-plus",
        url=f"https://dashscope.aliyuncs.com/compatible-mode/v1{CHAT}",
        key="Bearer sk-dash",
        has={"max_tokens": 32000, "stream": True},
        lacks=(*MARKS, "$ref"),
    ),
    Case(route="aihubmix,Z/glm-4.5", url=f"https://aihubmix.com/v1{CHAT}", key="Bearer sk-mix", lacks=MARKS),
    Case(
        route="groq,openai/gpt-oss-120b",
        url=f"https://api.groq.com/openai/v1{CHAT}",
        key="Bearer key-of-groq",
        has={"reasoning_effort": "high", "max_completion_tokens": 32000},
        lacks=(*MARKS, "$schema"),
    ),
    Case(
        route="openai,gpt-4.1",
        url=f"https://api.openai.com/v1{CHAT}",
        key="Bearer key-of-openai",
        has={"max_completion_tokens": 32000},
        lacks=(*MARKS, '"max_tokens"'),
    ),
    Case(
        route="kimi,kimi-k2-0905-preview",
        url="https://api.moonshot.cn/anthropic/v1/messages",
        key="Bearer sk-kimi",
        has={"max_tokens": 32000},
        lacks=OWN,
    ),
    Case(
        route="moonshot,kimi-k2.6",
        url=f"https://api.moonshot.cn/v1{CHAT}",
        key="Bearer sk-moon",
        has={"thinking": {"type": "enabled", "keep": "all"}},
        lacks=(*MARKS, "$schema"),
    ),
    Case(
        route="anthropic,claude-sonnet-4-6",
        url="https://api.anthropic.com/v1/messages",
        key="sk-ant",
        header="x-api-key",
        has={
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "max_tokens": 32000,
        },
    ),
    Case(
        route="responses,gpt-5.1-codex-mini",
        url="https://api.openai.com/v1/responses",
        key="Bearer key-of-openai",
        has={"store": False, "max_output_tokens": 32000},
        lacks=MARKS,
    ),
    Case(
        route="cerebras,qwen-3-coder-480b",
        url=f"https://api.cerebras.ai/v1{CHAT}",
        key="Bearer sk-cere",
        has={"max_completion_tokens": 16384},
        lacks=(*MARKS, "image_url"),
    ),
    Case(
        route="vercel,anthropic/claude-sonnet-4",
        url=f"https://ai-gateway.vercel.sh/v1{CHAT}",
        key="Bearer sk-vercel",
        has={"providerOptions": {"gateway": {"only": ["bedrock"]}}, "reasoning": {"effort": "high"}},
        lacks=OWN,
    ),
]
"""Models of :data:`EVERYTHING`."""

# --- the stand-in ------------------------------------------------------------------------------------------------


def chat_answer() -> tuple[JSON, bytes]:
    """A chat completion, whole and streamed."""
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    head = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m"}
    whole = {**head, "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}}], "usage": usage}
    whole["choices"][0]["finish_reason"] = "stop"
    deltas = [({"role": "assistant", "content": "Hel"}, None), ({"content": "lo"}, None), ({}, "stop")]
    chunks: list[JSON | str] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in deltas
    ]
    return whole, sse(*chunks, {**head, "choices": [], "usage": usage}, "[DONE]")


def message_answer() -> tuple[JSON, bytes]:
    """A message of the Messages API, whole and streamed."""
    start = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_sequence": None}
    start |= {"stop_reason": None, "usage": {"input_tokens": 9, "output_tokens": 1}}
    usage = {"input_tokens": 9, "output_tokens": 2}
    whole = {**start, "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "usage": usage}
    return whole, sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    )


def response_answer() -> tuple[JSON, bytes]:
    """A response of the Responses API, whole and streamed."""
    text = {"type": "output_text", "text": "Hello", "annotations": []}
    item = {"id": "i1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    whole = {"id": "r1", "object": "response", "model": "m", "status": "completed", "output": [item]}
    whole |= {"usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}}
    return whole, sse(
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    )


def gemini_answer() -> tuple[JSON, bytes]:
    """A response of the Gemini API, whole and streamed."""
    candidate = {"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP", "index": 0}
    whole = {"candidates": [candidate], "modelVersion": "m", "responseId": "g1"}
    whole |= {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}}
    return whole, sse(whole)


@attrs.frozen
class Seen:
    """A request as the stand-in got it."""

    path: str
    headers: dict[str, str]
    body: JSON


class StandIn(http.server.BaseHTTPRequestHandler):
    """Answers as the service would to which the path belongs; what no service has is not found."""

    protocol_version = "HTTP/1.1"
    seen: list[Seen]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append(Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        path, _, query = self.path.partition("?")
        streamed = bool(body.get("stream"))
        if path.endswith("/chat/completions"):
            whole, stream = chat_answer()
        elif path.endswith("/v1/messages"):
            whole, stream = message_answer()
        elif path.endswith("/responses"):
            whole, stream = response_answer()
        elif path.endswith((":generateContent", ":streamGenerateContent")):
            whole, stream = gemini_answer()
            streamed = "alt=sse" in query
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streamed else "application/json")
        if not streamed:
            data = json.dumps(whole).encode()
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in stream.split(b"\n\n")[:-1]:
            piece = event + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@attrs.define
class Services:
    """The stand-in: where it listens, and what it got."""

    port: int
    seen: list[Seen]


@pytest.fixture
def services() -> Iterator[Services]:
    """A stand-in for all services."""
    seen: list[Seen] = []
    handler = type("Handler", (StandIn,), {"seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Services(server.server_address[1], seen)
        server.shutdown()
        thread.join()


class Redirected:
    """The router's own HTTP client, except that every connection ends at the stand-in.

    ``urls`` are those that it was asked for.
    """

    def __init__(self, port: int) -> None:
        self.urls: list[str] = []
        self._port = port
        self._http = HttpSender()

    async def send(self, wire: WireRequest, body: bytes) -> Reply:
        """See :class:`ccr_core.upstream.Sender`."""
        self.urls.append(wire.url)
        parts = urlsplit(wire.url)
        here = urlunsplit(("http", f"127.0.0.1:{self._port}", parts.path, parts.query, ""))
        return await self._http.send(attrs.evolve(wire, url=here), body)

    async def aclose(self) -> None:
        """See :class:`ccr_core.upstream.Sender`."""
        await self._http.aclose()


# --- the router --------------------------------------------------------------------------------------------------


def runtime_of(text: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """What a router makes of a ``config.json`` with this text in its folder."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CCR_HOME", str(home))
    (home / "config.json").write_text(text, "utf-8")
    return build(load_config(None), load_plugins(), watch=False)


@asynccontextmanager
async def served(runtime: Runtime, sender: Redirected) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a router that listens on a port of its own."""
    server = uvicorn.Server(uvicorn.Config(create_app(runtime, sender), log_config=None, ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # It listens already: a client that comes before the server is ready waits.
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with httpx.AsyncClient(base_url=address, timeout=20, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            async with asyncio.timeout(10):
                await task


def text_of(answer: httpx.Response) -> tuple[str, str | None, JSON]:
    """Text, stop reason and usage of an answer, whole or streamed; a stream must have its end."""
    if "event-stream" not in answer.headers["content-type"]:
        message = answer.json()
        return "".join(block.get("text", "") for block in message["content"]), message["stop_reason"], message["usage"]
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert ["message_start", "message_stop"] == [events[0]["type"], events[-1]["type"]]
    words = [event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"]
    (last,) = [event for event in events if event["type"] == "message_delta"]
    return "".join(words), last["delta"]["stop_reason"], events[0]["message"]["usage"] | last["usage"]


@pytest.fixture
def everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """The big configuration."""
    return runtime_of(EVERYTHING, tmp_path, monkeypatch)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_every_provider(everything: Runtime, services: Services, case: Case) -> None:
    """The conversation reaches the service where and how it wants it, and its answer the client, streamed and plain."""
    sender = Redirected(services.port)
    headers = {**claude_code_headers(), "authorization": "Bearer your-secret-key"}
    answers = []

    async with served(everything, sender) as client:
        for stream in (True, False):
            body = claude_code_request(history=claude_code_history(), model=case.route, stream=stream)
            answers.append(await client.post("/v1/messages?beta=true", json=body, headers=headers))

    assert [200, 200] == [answer.status_code for answer in answers], [answer.text for answer in answers]
    for stream, answer, url, seen in zip((True, False), answers, sender.urls, services.seen, strict=True):
        text, stop, usage = text_of(answer)
        assert ("Hello", "end_turn", 9, 2) == (text, stop, usage["input_tokens"], usage["output_tokens"])
        assert stream is ("event-stream" in answer.headers["content-type"])
        sent = json.dumps(seen.body)
        assert case.url in (url, url[: url.rfind(":") + 1])
        assert urlsplit(url).path == seen.path.partition("?")[0]
        assert {case.header: case.key} == {name: seen.headers[name] for name in CREDENTIALS if name in seen.headers}
        assert case.has == {name: seen.body.get(name) for name in case.has}
        assert [] == [word for word in (*case.lacks, "your-secret-key") if word in sent]
        assert "your-secret-key" not in str(seen.headers)


def test_nothing_is_left_out(everything: Runtime) -> None:
    """All of its providers and routes are there, and the only warnings are about rules that are not installed."""
    assert {case.route.partition(",")[0] for case in CASES} == set(everything.providers)
    assert [] == [text for text in everything.warnings if not text.startswith("Router.")]


@pytest.mark.parametrize(("given", "status"), [("Bearer your-secret-key", 200), ("Bearer other", 401), ("", 401)])
async def test_the_key_of_the_router(everything: Runtime, services: Services, given: str, status: int) -> None:
    """Clients must present ``APIKEY``."""
    body = claude_code_request(model="claude-sonnet-4-5", stream=False)

    async with served(everything, Redirected(services.port)) as client:
        answer = await client.post("/v1/messages", json=body, headers={"authorization": given} if given else {})

    assert status == answer.status_code


async def test_for_pipelines(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``Router`` the first model of the first provider answers, with a warning; any key will do."""
    runtime = runtime_of(PIPELINE, tmp_path, monkeypatch)
    sender = Redirected(services.port)
    headers = {"authorization": "Bearer any-string-is-ok"}

    async with served(runtime, sender) as client:
        answer = await client.post("/v1/messages", json=claude_code_request(model="claude-opus-5"), headers=headers)

    assert ("Hello", "deepseek-chat") == (text_of(answer)[0], services.seen[0].body["model"])
    assert ["https://api.deepseek.com/chat/completions"] == sender.urls
    assert [] != [text for text in runtime.warnings if "default" in text]


async def test_options_of_transformers(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options reach the bodies, and a base without the last part of the path is completed."""
    runtime = runtime_of(SHORT, tmp_path, monkeypatch)
    sender = Redirected(services.port)

    async with served(runtime, sender) as client:
        for model in ("claude-sonnet-4-5", "local,qwen"):
            answer = await client.post("/v1/messages", json=claude_code_request(model=model))
            assert "Hello" == text_of(answer)[0]

    first, second = services.seen
    assert ["https://openrouter.ai/api/v1/chat/completions", "http://127.0.0.1:1234/v1/chat/completions"] == sender.urls
    assert {"only": ["moonshotai/fp8"]} == first.body["provider"]
    assert (0.6, {"include_usage": True}) == (second.body["temperature"], second.body["stream_options"])


async def test_a_sub_agents_model(everything: Runtime, services: Services) -> None:
    """The tag of the readme chooses the model of a sub-agent, and does not reach it."""
    tag = "<CCR-SUBAGENT-MODEL>openrouter,anthropic/claude-sonnet-4</CCR-SUBAGENT-MODEL>\nHelp me."
    sender = Redirected(services.port)
    body: Any = claude_code_request(model="claude-opus-5", subagent=True, system=tag)

    async with served(everything, sender) as client:
        answer = await client.post("/v1/messages", json=body, headers={"x-api-key": "your-secret-key"})

    assert ("Hello", "anthropic/claude-sonnet-4") == (text_of(answer)[0], services.seen[0].body["model"])
    assert "CCR-SUBAGENT-MODEL" not in json.dumps(services.seen[0].body)
