"""What is sent to Vertex AI, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_vertex
import pytest
from ccr_plugin_vertex.claude import ClaudeOptions, VertexClaude
from ccr_plugin_vertex.gemini import VertexGemini, model_url

from ccr_core import Context, Target, WireReply
from ccr_core.testing import as_request, ask, check_dialect, check_plugin, claude_code_request, recordings

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
BASE = "https://aiplatform.googleapis.com/v1/projects/{project}/locations/{location}"


def ctx(model: str = "claude-sonnet-4-6", **options: Any) -> Context:
    target = Target(provider="vertex", model=model, base_url=BASE, options=ClaudeOptions(**options))
    return Context(exchange_id="t", target=target)


def noted(body: Any, **options: Any) -> tuple[Any, dict[str, str], str]:
    """What is sent for a body: the body, the headers, and the note."""
    notes: list[str] = []
    made = attrs.evolve(ctx(**options), note=lambda key, value: notes.append(value) if key == "vertex" else None)
    headers = {"anthropic-beta": "claude-code-20250219,unheard-of-2027-01-01", "anthropic-version": "2023-06-01"}
    wire = VertexClaude().encode(attrs.evolve(as_request(body), headers=headers), made)
    return wire.body, dict(wire.headers), "; ".join(notes)


def test_gemini() -> None:
    """The recorded answers of the Gemini format mean what they say."""
    check_dialect(VertexGemini(), recordings.recordings(ROOT, "gemini"), cuts=1)


def test_claude() -> None:
    """The recorded answers of the Messages API mean what they say."""
    check_dialect(VertexClaude(), recordings.recordings(ROOT, "anthropic"), cuts=1)


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "/",
        "/publishers/google/models",
        "/publishers/google/models/other:generateContent",
        "/endpoints/openapi/chat/completions",
    ],
)
def test_addresses(tail: str) -> None:
    """A base may end before the publisher or name a model already."""
    assert f"{BASE}/publishers/google/models/m@1:x" == model_url(BASE + tail, "google", "m@1", "x")


@pytest.mark.parametrize(("stream", "tail"), [(True, ":streamGenerateContent?alt=sse"), (False, ":generateContent")])
def test_methods_of_gemini(stream: bool, tail: str) -> None:
    """A stream is asked for as events: without that it would come as one array."""
    url = VertexGemini().url(ctx("gemini-2.5-pro"), stream)

    assert f"{BASE}/publishers/google/models/gemini-2.5-pro{tail}" == url


@pytest.mark.parametrize(("stream", "method"), [(True, "streamRawPredict"), (False, "rawPredict")])
def test_methods_of_claude(stream: bool, method: str) -> None:
    """The model is in the address, the version in the body, and the body says whether it streams."""
    wire = VertexClaude().encode(as_request(ask(stream=stream)), ctx("claude-sonnet-4-5@20250929"))
    assert wire.body is not None

    assert f"{BASE}/publishers/anthropic/models/claude-sonnet-4-5@20250929:{method}" == wire.url
    assert ("vertex-2023-10-16", "model" in wire.body, stream) == (
        wire.body["anthropic_version"],
        False,
        wire.body.get("stream", False),
    )


def test_the_whole_body() -> None:
    """System, tools and conversation of Claude Code go out as they came."""
    body = claude_code_request(stream=True)
    made = VertexClaude().encode(as_request(body), ctx("claude-opus-5"))
    sent, headers = made.body or {}, made.headers

    assert (body["messages"], body["tools"]) == (sent["messages"], sent["tools"])
    assert body["system"][-1] == sent["system"][-1]
    assert "anthropic-version" not in headers


def test_betas() -> None:
    """Betas that the service does not know are left out, and so are fields that need one."""
    sent, headers, note = noted({**ask(), "context_management": {"edits": []}, "speed": "fast"})

    assert "claude-code-20250219" == headers["anthropic-beta"]
    assert ("context_management" in sent, "speed" in sent) == (False, False)
    assert "left out: unheard-of-2027-01-01, context_management, speed" == note


def test_a_beta_of_the_configuration() -> None:
    """The list of betas is an option."""
    _, headers, _ = noted(ask(), betas=("unheard-of-2027-01-01",))

    assert "unheard-of-2027-01-01" == headers["anthropic-beta"]


def test_tools() -> None:
    """Server tools that do not run there are left out, and so is what no schema may say."""
    tools = [
        {"name": "Read", "input_schema": {"type": "object"}, "strict": True},
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "web_search_20250305", "name": "web_search"},
    ]
    sent, _, note = noted({**ask(), "tools": tools})

    assert [{"name": "Read", "input_schema": {"type": "object"}}, tools[2]] == sent["tools"]
    assert "strict, server tool web_fetch" in note


def test_only_tools_that_do_not_run() -> None:
    """Where no tool is left nothing is said of the choice."""
    body = {**ask(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}]), "tool_choice": {"type": "any"}}
    sent, _, _ = noted(body)

    assert {"tools", "tool_choice"}.isdisjoint(sent)


def test_addresses_of_images() -> None:
    """What is only an address becomes words, also in results of tools; what is there stays."""
    image = {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}
    here = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    words = {"type": "text", "text": "[image at https://x.example/a.png, which was not fetched]"}
    body = {
        **ask(),
        "messages": [
            {"role": "user", "content": [image, here]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]},
        ],
    }
    sent, _, note = noted(body)

    assert [words, here] == sent["messages"][0]["content"]
    assert [words] == sent["messages"][2]["content"][0]["content"]
    assert "image by address" in note


@pytest.mark.parametrize(
    ("body", "message", "wait"),
    [
        (
            [
                {
                    "error": {
                        "code": 429,
                        "message": "Resource exhausted.",
                        "status": "RESOURCE_EXHAUSTED",
                        "details": [{"retryDelay": "7s"}],
                    }
                }
            ],
            "Resource exhausted.",
            "7",
        ),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}, "slow down", None),
    ],
)
def test_errors(body: Any, message: str, wait: str | None) -> None:
    """Refusals come in the form of Google's service or in Claude's."""
    error = VertexClaude().decode_error(WireReply(status=429, body=json.dumps(body).encode()))

    assert (429, "rate_limit_error", message, wait) == (
        error.status,
        error.kind,
        error.message,
        error.headers.get("retry-after"),
    )


def test_counting() -> None:
    """Counting is a model of its own, which is told the model that is meant."""
    wire = VertexClaude().encode_count(as_request({**ask(), "temperature": 1}), ctx())
    assert wire is not None

    assert f"{BASE}/publishers/anthropic/models/count-tokens:rawPredict" == wire.url
    assert {
        "anthropic_version": "vertex-2023-10-16",
        "model": "claude-sonnet-4-6",
        "messages": [{"role": "user", "content": "hello"}],
    } == wire.body
    assert VertexClaude().encode_count(as_request(ask()), ctx(count_tokens=False)) is None


def test_searches() -> None:
    """The service searches the web for both, unless it is switched off."""
    assert [True, False] == [VertexClaude().searches(ctx(web_search=search).target) for search in (True, False)]


def test_plugin() -> None:
    """The package keeps the rules of packages."""
    check_plugin(ccr_plugin_vertex)
