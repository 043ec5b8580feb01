"""All presets of the plugins here: a name is enough, what is sent is valid, and page and first start know them."""

from __future__ import annotations

import http.server
import importlib.util
import json
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import anthropic.types.message_create_params as anthropic_params
import attrs
import openai.types.chat.completion_create_params as openai_params
import pytest
from pydantic import TypeAdapter

from ccr_core import JSON, ProviderSpec
from ccr_core.cli.firstrun import discover, starter
from ccr_core.config import from_document
from ccr_core.plugins import load
from ccr_core.runtime import build
from ccr_core.testing import (
    Recording,
    Upstream,
    claude_code_headers,
    claude_code_history,
    claude_code_request,
    entry_module,
    recordings,
    sse,
)
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "tests" / "recordings"
OWN = {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com", "ANTHROPIC_FOUNDRY_RESOURCE": "mine"}
"""The environment of somebody whose presets all have an address."""

FORMATS = ("anthropic", "openai-chat", "openai-responses")


def modules(*names: str) -> list[ModuleType]:
    """The plugins of these folders; without names, all that have presets."""
    folders = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
    wanted = {f"ccr-plugin-{name}" for name in names}
    return [entry_module(each) for each in folders if each.name in wanted or (not names and "-provider-" in each.name)]


def presets() -> list[ProviderSpec]:
    """The presets of all packages whose names begin with ``ccr-plugin-provider``, each with an address."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OWN.items():
            patch.setenv(name, value)
        return [contributed.value for contributed in load(modules()).providers.values()]


PRESETS = presets()
NAMED = [pytest.param(spec, id=spec.name) for spec in PRESETS]

CHUNKS: list[JSON | str] = [
    {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}]},
    {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
    {"id": "c1", "model": "m", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
    "[DONE]",
]
EVENTS: list[JSON | str] = [
    {
        "type": "message_start",
        "message": {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": []}
        | {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]
ITEM = {
    "id": "i1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}
RESPONSE = {"id": "r1", "object": "response", "model": "m", "status": "completed", "output": [ITEM]}
RESPONSE |= {"usage": {"input_tokens": 9, "output_tokens": 2}}
ANSWERS: dict[str, tuple[JSON, bytes]] = {
    "openai-chat": (
        {
            "id": "c1",
            "model": "m",
            "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2},
        },
        sse(*CHUNKS),
    ),
    "anthropic": (
        {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "Hello"}],
        }
        | {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 2}},
        sse(*EVENTS),
    ),
    "openai-responses": (
        RESPONSE,
        sse(
            {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}},
            {"type": "response.output_item.added", "output_index": 0, "item": {**ITEM, "content": []}},
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello"},
            {"type": "response.output_item.done", "output_index": 0, "item": ITEM},
            {"type": "response.completed", "response": RESPONSE},
        ),
    ),
}
"""For each format, an answer whole and streamed."""

SDK: dict[str, TypeAdapter[Any]] = {
    "openai-chat": TypeAdapter(openai_params.CompletionCreateParams),
    "anthropic": TypeAdapter(anthropic_params.MessageCreateParams),
}


def consumed(value: Any) -> Any:
    """``value`` with every lazy iterable in it read, so that all of it is validated."""
    if isinstance(value, Mapping):
        return {key: consumed(inner) for key, inner in value.items()}
    return (
        value if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else [consumed(one) for one in value]
    )


def plain(value: Any) -> Any:
    """A chat body without what services add to the format, so that the types of OpenAI's package can judge the rest."""
    if isinstance(value, dict):
        if value.get("type") == "document_url":
            return {"type": "text", "text": "a document"}
        added = ("reasoning_content", "cache_control", "prefix", "thinking")
        kept = {key: plain(inner) for key, inner in value.items() if key not in added}
        if kept.get("tool_choice") == "any":
            kept["tool_choice"] = "required"
        if kept.get("reasoning_effort") in ("max", "xhigh", "default"):
            kept["reasoning_effort"] = "high"
        return kept
    return [plain(one) for one in value] if isinstance(value, list) else value


def named(spec: ProviderSpec, **entry: Any) -> JSON:
    """The shortest configuration for a preset."""
    return {"Providers": [{"name": spec.name, "models": ["m"], **entry}], "Router": {"default": f"{spec.name},m"}}


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the variables of all presets."""
    for name, value in OWN.items():
        monkeypatch.setenv(name, value)
    for spec in PRESETS:
        if spec.key_env:
            monkeypatch.setenv(spec.key_env, "sk-from-environment")
    return "sk-from-environment"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("spec", NAMED)
async def test_a_name_is_enough(ccr: Make, upstream: Upstream, key: str, spec: ProviderSpec, stream: bool) -> None:
    """A conversation of Claude Code reaches the service at its host, with the key of the environment, in a valid body,
    and the answer gets back."""
    whole, streamed = ANSWERS[spec.dialect]
    forced = bool(spec.options.get("force_stream"))
    if stream or forced:
        upstream.stream(streamed)
    else:
        upstream.reply(whole)
    harness = ccr(named(spec), [*modules(*FORMATS, "rule-default"), *modules()])
    body = claude_code_request(history=claude_code_history(), stream=stream)

    answer = await harness.messages(body, headers=claude_code_headers())

    (sent,) = upstream.requests
    keyed = [name for name, value in sent.headers.items() if key in value]
    text = json.dumps(sent.json)
    assert () == harness.runtime.warnings
    assert (200, "Hello", "end_turn") == (answer.status, answer.text, answer.stop_reason)
    assert (9, 2) == (answer.usage["input_tokens"], answer.usage["output_tokens"])
    assert urlsplit(spec.base_url).netloc == urlsplit(sent.url).netloc
    assert (0 if spec.key_env is None else 1) == len(keyed)
    assert "m" == sent.json["model"]
    assert (stream or forced) is sent.json["stream"]
    assert [] == [word for word in ("billing-header", "DeferredToolPlaceholder", "test-token") if word in text]
    if spec.dialect in SDK:
        valid = plain(sent.json) if spec.dialect == "openai-chat" else sent.json
        consumed(SDK[spec.dialect].validate_python(valid))


@pytest.mark.parametrize("spec", NAMED)
async def test_an_explanation_says_where_it_goes(ccr: Make, key: str, spec: ProviderSpec) -> None:
    """``ccr explain`` shows format, address and what is sent, without the key."""
    harness = ccr(named(spec), [*modules(*FORMATS, "rule-default"), *modules()])

    explained = await harness.explain(claude_code_request())

    assert (spec.dialect, urlsplit(spec.base_url).netloc) == (explained["dialect"], urlsplit(explained["url"]).netloc)
    assert {"provider": spec.name, "model": "m", "level": None} == explained["route"]
    assert key not in json.dumps(explained)


# --- thinking goes back in the form that each service wants ------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "preset", "model", "where"),
    [
        (
            "deepseek/deepseek.deferred-capability-with-thinking.1",
            "deepseek",
            "deepseek-v4-pro",
            "reasoning_content",
        ),
        ("zai/*", "zai", "glm-4.7", "reasoning_content"),
        ("ollama/ollama.cloud-prompted-output.0", "ollama", "gpt-oss:20b", "reasoning"),
        ("groq/groq.tool-use-failed-error-streaming.1", "groq", "openai/gpt-oss-120b", "reasoning"),
        ("cerebras/cerebras.thinking-part-survives-multiturn.1", "cerebras", "gpt-oss-120b", "reasoning"),
        ("cerebras/cerebras.thinking-part-survives-multiturn.1", "cerebras", "zai-glm-4.7", "content"),
        ("mistral/mistral.model-thinking-part-iter.0", "mistral", "magistral-medium-latest", "content"),
        ("openrouter/openrouter.file-annotation.0", "openrouter", "openai/gpt-5.1-codex-mini", "reasoning_details"),
        ("openrouter/openrouter.stream-with-reasoning.0", "openrouter", "openai/o3", "reasoning_details"),
        ("openrouter/openrouter.stream-with-reasoning.0", "vercel", "openai/o3", "reasoning_details"),
    ],
)
async def test_thinking_goes_back(
    ccr: Make, upstream: Upstream, key: str, case: str, preset: str, model: str, where: str
) -> None:
    """What a service thought in a recorded answer goes back to it with the result of a tool, where it wants it."""
    (folder,) = (RECORDED / "openai-chat").glob(case)
    recording = Recording.load(folder)
    upstream.stream(recording).then.fail(400)
    document = {"Providers": [{"name": preset}], "Router": {"default": f"{preset},{model}"}}
    harness = ccr(document, [*modules(*FORMATS, "rule-default"), *modules()])
    first = await harness.messages(claude_code_request(stream=recording.stream))
    said = [block for block in first.content if block["type"] in ("thinking", "text")]
    call = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.py"}
    history = [{"role": "assistant", "content": [*said, call]}, {"role": "user", "content": [result]}]

    await harness.messages(claude_code_request(history=history))

    (message,) = [one for one in upstream.requests[1].json["messages"] if one.get("tool_calls")]
    expected = details(recording) if where == "reasoning_details" else recordings.expected(recording).thoughts
    got = [*strings(message[where])]
    assert expected
    assert [] == [text for text in expected if not any(text.strip() in one for one in got)]


def details(recording: Recording) -> list[str]:
    """What is signed or encrypted in a recorded answer."""
    answers = [*recording.events()] if recording.stream else [json.loads(recording.response)]
    return [
        detail["data"]
        for answer in answers
        if isinstance(answer, dict)
        for choice in answer["choices"]
        for detail in (choice.get("delta") or choice.get("message")).get("reasoning_details") or ()
        if detail["type"] == "reasoning.encrypted"
    ]


def strings(value: Any) -> Iterator[str]:
    """Every text inside of ``value``."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


# --- the first start ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({spec.key_env for spec in PRESETS if spec.key_env}))
def test_a_key_in_the_environment_is_found(name: str, key: str) -> None:
    """The first configuration that is written for it can be used, and has one provider."""
    env = {name: key}
    everything = load([*modules(*FORMATS, "rule-default"), *modules()])
    specs = [contributed.value for contributed in everything.providers.values()]

    found = [each for each in discover([spec for spec in specs if not spec.probe], env) if each.spec.key_env]
    config = from_document(tomllib.loads(starter(found)), env)

    assert [name] == [each.spec.key_env for each in found]
    assert found[0].spec.name in build(config, everything).providers
    assert not found[0].spec.name.endswith("-anthropic") or name == "ANTHROPIC_FOUNDRY_API_KEY"


def test_local_servers_are_looked_for_once() -> None:
    """Each has one preset with a probe, at the address of the preset."""
    probes = {spec.name: urlsplit(spec.probe).netloc for spec in PRESETS if spec.probe}
    addresses = {spec.name: urlsplit(spec.base_url).netloc for spec in PRESETS if spec.name in probes}

    assert {"ollama", "lmstudio", "llamacpp", "vllm"} == set(probes)
    assert addresses == probes
    assert {"none"} == {spec.key_style for spec in PRESETS if urlsplit(spec.base_url).hostname == "localhost"}


class Listing(http.server.BaseHTTPRequestHandler):
    """The local servers' own listings of models, by path."""

    answers = {
        "/api/tags": {"models": [{"name": "qwen3-coder:30b", "model": "qwen3-coder:30b", "size": 1}]},
        "/v1/models": {"object": "list", "data": [{"id": "qwen3-coder", "object": "model"}]},
    }

    def do_GET(self) -> None:
        body = json.dumps(self.answers[self.path]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("spec", [param for param in NAMED if param.values[0].probe])
def test_a_local_server_is_found(spec: ProviderSpec) -> None:
    """One that runs gets into the first configuration with its models, and its first model is the default route."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        probe = urlsplit(spec.probe or "")._replace(netloc=f"127.0.0.1:{server.server_address[1]}").geturl()
        found = discover([attrs.evolve(spec, probe=probe)], {})
        server.shutdown()
        thread.join()
    model = "qwen3-coder:30b" if spec.name == "ollama" else "qwen3-coder"
    config = from_document(tomllib.loads(starter(found)))

    runtime = build(config, load([*modules(*FORMATS, "rule-default"), *modules()]))

    assert (f"{spec.name},{model}", ()) == (config.router.default, runtime.warnings)


def test_names() -> None:
    """The endpoint in Anthropic's format has the name of the service, and the same key."""
    known = {spec.name: spec for spec in PRESETS}
    kin = {
        spec.name: known.get(spec.name.removesuffix("-anthropic")) for spec in PRESETS if spec.dialect == "anthropic"
    }

    assert [] == [name for name, other in kin.items() if not name.endswith("-anthropic") or other is None]
    assert {"azure"} == {
        other.name for name, other in kin.items() if other is not None and other.key_env != known[name].key_env
    }


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_page_lists_every_preset() -> None:
    """The table is made from the presets; ``python docs/generate_providers.py`` writes it."""
    path = ROOT / "docs" / "generate_providers.py"
    spec = importlib.util.spec_from_file_location("generate_providers", path)
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = generator
    spec.loader.exec_module(generator)

    assert generator.page() == generator.PAGE.read_text("utf-8")
