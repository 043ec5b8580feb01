"""Requests like Claude Code's through a router to Vertex AI, with credentials from a stand-in on loopback."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_gemini
import ccr_plugin_openai_chat
import ccr_plugin_rule_default
import ccr_plugin_store_file
import ccr_plugin_vertex
import pytest

from ccr_core import ConfigError
from ccr_core.testing import Make, Upstream, check_stream, claude_code_request, sse, streamed

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS: list[ModuleType] = [
    ccr_plugin_anthropic,
    ccr_plugin_gemini,
    ccr_plugin_openai_chat,
    ccr_plugin_rule_default,
    ccr_plugin_store_file,
    ccr_plugin_vertex,
]

GEMINI = sse(
    json.dumps({"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]}),
    json.dumps({"candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}]}),
)
CLAUDE = streamed("Hello")
OPEN = sse(
    json.dumps({"choices": [{"index": 0, "delta": {"content": "Hello"}}]}),
    json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    "[DONE]",
)

PLACE = "https://us-central1-aiplatform.googleapis.com/v1/projects/my-project/locations/us-central1"
EAST = "https://us-east5-aiplatform.googleapis.com/v1/projects/my-project/locations/us-east5"


@pytest.fixture(autouse=True)
def user(alone: Path, vendor: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The login of a user, as the vendor's program keeps it; gives its file."""
    names = iter(("one", "two", "three"))
    vendor.routes["POST /token"] = lambda hit: {"access_token": f"ya29.{next(names)}", "expires_in": 3599}
    file = alone / "credentials.json"
    file.write_text(
        json.dumps({"type": "authorized_user", "refresh_token": "1//r", "token_uri": f"{vendor.url}/token"})
    )
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    return file


def configuration(model: str = "gemini-2.5-pro", **entry: Any) -> dict[str, Any]:
    return {
        "Providers": [{"name": "vertex", "auth_type": "oauth", "oauth_provider": "vertex", "models": [model], **entry}],
        "Router": {"default": f"vertex,{model}"},
    }


@pytest.mark.parametrize(
    ("model", "stream", "url"),
    [
        ("gemini-2.5-pro", GEMINI, f"{PLACE}/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        ("claude-sonnet-4-6", CLAUDE, f"{EAST}/publishers/anthropic/models/claude-sonnet-4-6:streamRawPredict"),
        ("meta/llama-4-maverick", OPEN, f"{PLACE}/endpoints/openapi/chat/completions"),
    ],
)
async def test_a_streamed_request(
    ccr: Make, upstream: Upstream, vendor: Any, model: str, stream: bytes, url: str
) -> None:
    """Each kind of model is asked in its format, at its place, with a token that was got once."""
    upstream.stream(stream, cut=17).stream(stream)
    router = ccr(configuration(model), PLUGINS)
    answers = [await router.messages(claude_code_request(stream=True)) for _ in range(2)]

    for answer in answers:
        check_stream(answer.events)
        assert ("Hello", url, "Bearer ya29.one") == (
            answer.text,
            answer.sent[0].url,
            answer.sent[0].headers["authorization"],
        )
    assert [("refresh_token", "1//r")] == [
        (hit.form["grant_type"], hit.form["refresh_token"]) for hit in vendor.at("/token")
    ]


@pytest.mark.parametrize(
    ("model", "reply", "tail"),
    [
        (
            "gemini-2.5-pro",
            {"candidates": [{"content": {"parts": [{"text": "Hello"}]}, "finishReason": "STOP"}]},
            "gemini-2.5-pro:generateContent",
        ),
        (
            "claude-sonnet-4-6",
            {
                "id": "m",
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": "Hello"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 1, "output_tokens": 1},
            },
            "claude-sonnet-4-6:rawPredict",
        ),
    ],
)
async def test_a_whole_answer(ccr: Make, upstream: Upstream, model: str, reply: Any, tail: str) -> None:
    """A request that does not stream uses the other method."""
    upstream.reply(reply)
    answer = await ccr(configuration(model), PLUGINS).messages(claude_code_request(stream=False))

    assert "Hello" == answer.text
    assert answer.sent[0].url.endswith(tail)


async def test_a_refused_token(ccr: Make, upstream: Upstream) -> None:
    """After a 401 another token is got, and the request sent once more."""
    upstream.reply({"error": {"code": 401, "message": "no", "status": "UNAUTHENTICATED"}}, 401).stream(GEMINI)
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=True))

    assert "Hello" == answer.text
    assert ["Bearer ya29.one", "Bearer ya29.two"] == [sent.headers["authorization"] for sent in answer.sent]


async def test_an_old_token(ccr: Make, upstream: Upstream, vendor: Any) -> None:
    """A token near its end is not used."""
    names = iter(("one", "two"))
    vendor.routes["POST /token"] = lambda hit: {"access_token": f"ya29.{next(names)}", "expires_in": 200}
    upstream.stream(GEMINI).stream(GEMINI)
    router = ccr(configuration(), PLUGINS)
    answers = [await router.messages(claude_code_request(stream=True)) for _ in range(2)]

    assert ["Bearer ya29.one", "Bearer ya29.two"] == [answer.sent[0].headers["authorization"] for answer in answers]


async def test_revoked(ccr: Make, vendor: Any) -> None:
    """Credentials that were taken back are told with the command that helps."""
    vendor.routes["POST /token"] = lambda hit: (400, {"error": "invalid_grant", "error_description": "revoked"})
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=True))

    assert (401, []) == (answer.status, answer.sent)
    assert answer.error is not None
    assert "gcloud auth application-default login" in answer.error["message"]


async def test_no_credentials(ccr: Make, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the answer says how to get some."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=True))

    assert 401 == answer.status
    assert answer.error is not None
    assert "GOOGLE_APPLICATION_CREDENTIALS" in answer.error["message"]


async def test_a_quota(ccr: Make, upstream: Upstream) -> None:
    """A shared quota that is used up is a 429 with the time."""
    error = {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED"}
    upstream.reply({"error": {**error, "details": [{"retryDelay": "9s"}]}}, 429)
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=True))

    assert (429, "9") == (answer.status, answer.headers["retry-after"])


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"api_base_url": "https://us-central1-aiplatform.googleapis.com"}, PLACE),
        (
            {"api_base_url": "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1"},
            "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1",
        ),
        (
            {"api_base_url": "https://europe-west4-aiplatform.googleapis.com"},
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/my-project/locations/europe-west4",
        ),
        (
            {"api_base_url": "https://aiplatform.eu.rep.googleapis.com/"},
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/my-project/locations/eu",
        ),
        ({"transformer": {"use": ["vertex-gemini"]}}, PLACE),
        ({"transformer": {"use": ["gemini"]}}, PLACE),
    ],
    ids=str,
)
async def test_addresses(ccr: Make, upstream: Upstream, entry: dict[str, Any], place: str) -> None:
    """A host alone means the location's; a whole address is used as it is; a transformer names the format."""
    upstream.stream(GEMINI)
    answer = await ccr(configuration(**entry), PLUGINS).messages(claude_code_request(stream=True))

    assert f"{place}/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse" == answer.sent[0].url


@pytest.mark.parametrize(
    ("use", "base", "stream", "url"),
    [
        (
            "vertex-gemini",
            "https://us-central1-aiplatform.googleapis.com",
            GEMINI,
            f"{PLACE}/publishers/google/models/m:streamGenerateContent?alt=sse",
        ),
        (
            "vertex-claude",
            "https://us-east5-aiplatform.googleapis.com",
            CLAUDE,
            f"{EAST}/publishers/anthropic/models/m:streamRawPredict",
        ),
        (
            "vertex-openai",
            f"{PLACE}/endpoints/openapi/chat/completions",
            OPEN,
            f"{PLACE}/endpoints/openapi/chat/completions",
        ),
    ],
)
async def test_older_configurations(
    ccr: Make, upstream: Upstream, use: str, base: str, stream: bytes, url: str
) -> None:
    """An entry with a key that only names a transformer is signed with the credentials of the environment."""
    upstream.stream(stream)
    entry = {
        "name": "v",
        "api_base_url": base,
        "api_key": "sk-dummy",
        "models": ["m"],
        "transformer": {"use": [use]},
    }
    router = ccr({"Providers": [entry], "Router": {"default": "v,m"}}, PLUGINS)
    answer = await router.messages(claude_code_request(stream=True))

    assert "Hello" == answer.text
    assert (url, "Bearer ya29.one") == (answer.sent[0].url, answer.sent[0].headers["authorization"])
    assert "sk-dummy" not in repr(dict(answer.sent[0].headers))


async def test_an_account_of_its_own(ccr: Make, upstream: Upstream, vendor: Any) -> None:
    """Each entry of ``vertex-openai`` may have a service account of its own; others keep the machine's."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"client_email": "me@x.iam.gserviceaccount.com", "private_key": key.replace("\n", "\\n")}
    base = f"{PLACE}/endpoints/openapi/chat/completions"
    own = {"name": "own", "api_base_url": base, "models": ["m"], "transformer": {"use": [["vertex-openai", account]]}}
    other = {"name": "other", "api_base_url": base, "models": ["m"], "transformer": {"use": ["vertex-openai"]}}
    upstream.stream(OPEN).stream(OPEN)
    router = ccr(
        {
            "Providers": [own, other],
            "Router": {"default": "own,m", "rules": ["default"]},
            "oauth": {"vertex": {"token_uri": f"{vendor.url}/token"}},
            "fallback": {"default": ["other,m"]},
        },
        PLUGINS,
    )
    await router.messages(claude_code_request(stream=True))
    assert "urn:ietf:params:oauth:grant-type:jwt-bearer" == vendor.at("/token")[-1].form["grant_type"]

    router = ccr(
        {
            "Providers": [own, other],
            "Router": {"default": "other,m"},
            "oauth": {"vertex": {"token_uri": f"{vendor.url}/token"}},
        },
        PLUGINS,
    )
    await router.messages(claude_code_request(stream=True))
    assert "refresh_token" == vendor.at("/token")[-1].form["grant_type"]


async def test_a_key_after_all(ccr: Make, upstream: Upstream) -> None:
    """An entry that says that it has a key is signed with the key."""
    base = f"{PLACE}/endpoints/openapi/chat/completions"
    entry = {
        "name": "v",
        "api_base_url": base,
        "auth_type": "apikey",
        "api_key": "sk-real",
        "models": ["m"],
        "transformer": {"use": ["vertex-openai"]},
    }
    upstream.stream(OPEN)
    router = ccr({"Providers": [entry], "Router": {"default": "v,m"}}, PLUGINS)
    answer = await router.messages(claude_code_request(stream=True))

    assert "Bearer sk-real" == answer.sent[0].headers["authorization"]


@pytest.mark.parametrize("entry", [{}, {"api_base_url": "https://aiplatform.googleapis.com/v1/"}], ids=str)
async def test_express_mode(ccr: Make, upstream: Upstream, vendor: Any, entry: dict[str, Any]) -> None:
    """The preset for API keys names no project and no location, and needs no credentials."""
    upstream.stream(GEMINI)
    name = {"name": "vertex-express", "api_key": "AQ.key", "models": ["gemini-2.5-flash"], **entry}
    router = ccr({"Providers": [name], "Router": {"default": "vertex-express,gemini-2.5-flash"}}, PLUGINS)
    answer = await router.messages(claude_code_request(stream=True))
    (sent,) = answer.sent

    assert "Hello" == answer.text
    assert (
        "https://aiplatform.googleapis.com/v1/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        == sent.url
    )
    assert ("AQ.key", None) == (sent.headers["x-goog-api-key"], sent.headers.get("authorization"))
    assert [] == vendor.hits


async def test_two_regions(ccr: Make, upstream: Upstream) -> None:
    """Each entry has the region of its own host."""
    upstream.fail(503).stream(GEMINI)
    hosts = [f"https://{region}-aiplatform.googleapis.com" for region in ("europe-west4", "asia-east1")]
    entries = [
        {
            "name": f"v{number}",
            "auth_type": "oauth",
            "oauth_provider": "vertex",
            "models": ["gemini-2.5-pro"],
            "api_base_url": host,
        }
        for number, host in enumerate(hosts)
    ]
    fallback = {"default": ["v1,gemini-2.5-pro"]}
    router = ccr({"Providers": entries, "Router": {"default": "v0,gemini-2.5-pro"}, "fallback": fallback}, PLUGINS)
    answer = await router.messages(claude_code_request(stream=True))

    assert hosts == [sent.url.partition("/v1/")[0] for sent in answer.sent]


async def test_another_host(ccr: Make) -> None:
    """Tokens are not sent elsewhere."""
    with pytest.raises(ConfigError, match="tokens of vertex are not sent there"):
        ccr(configuration(api_base_url="https://evil.example/v1/projects/p"), PLUGINS)
