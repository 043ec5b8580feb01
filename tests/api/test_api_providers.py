"""Providers over the API: shown without their keys, added, changed, ordered, removed, tried."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_client import MASK, TOML, Client

from ccr_core.config import parse
from ccr_core.testing.loopback import Vendor


def data(client: Client) -> Any:
    return parse(client.text, client.path).data


async def add(client: Client, status: int = 200, **body: Any) -> Any:
    return await client.ask("POST", "/api/providers", {"version": await client.version(), **body}, status)


async def test_the_list_says_what_is_known(client: Client) -> None:
    """
    Address, key, models and steps of each entry, and no secret.
    """
    rows = {row["name"]: row for row in (await client.get("/api/providers"))["providers"]}

    assert ["deepseek", "big", "local"] == list(rows)
    assert {"state": "set", "source": "$DEEPSEEK_API_KEY", "count": 1} == rows["deepseek"]["key"]
    assert {"state": "set", "source": "configuration", "count": 2} == rows["big"]["key"]
    assert "missing" == rows["local"]["key"]["state"]
    assert ("big.example", f"https://user:{MASK}@big.example/v1/chat/completions?key={MASK}") == (
        rows["big"]["host"],
        rows["big"]["base_url"],
    )
    assert [8000] == [model["window"] for model in rows["big"]["models"] if model["id"] == "small"]
    steps = [(step["name"], step["model"]) for step in rows["deepseek"]["transformers"]]
    assert [("deepseek", None), ("tooluse", "deepseek-chat")] == steps
    assert 131072 <= rows["deepseek"]["models"][0]["window"]
    assert MASK == rows["big"]["entry"]["api_key"][0]


async def test_a_provider_is_added_from_a_preset(client: Client) -> None:
    """
    A known service needs its name only; the key is the usual variable.
    """
    before = client.text

    done = await add(client, preset="groq", models=["openai/gpt-oss-120b"])

    assert "groq" == done["name"]
    assert {"name": "groq", "api_key": "$GROQ_API_KEY", "models": ["openai/gpt-oss-120b"]} == data(client)["Providers"][
        3
    ]
    assert "openai/gpt-oss-120b" in client.app.engine.runtime.models["groq"]
    assert before.splitlines()[:20] == client.text.splitlines()[:20]


async def test_a_key_that_is_given_is_kept_and_not_shown(client: Client) -> None:
    """
    It is in the file, and in no answer.
    """
    client.secrets.append("sk-a-new-key-of-groq")

    await add(client, preset="groq", name="mine", api_key="sk-a-new-key-of-groq", models=["m"], as_default=True)

    entry = data(client)["Providers"][3]
    assert ("mine", "sk-a-new-key-of-groq") == (entry["name"], entry["api_key"])
    assert "api.groq.com" in entry["api_base_url"]
    assert "mine,m" == data(client)["Router"]["default"]
    assert "sk-a-new-key-of-groq" not in (await client.http.get("/api/providers")).text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"preset": "nothing-like-it"}, "no plugin knows a service"),
        ({"name": "deepseek", "base_url": "https://x.example/v1", "models": ["m"]}, "there is a provider deepseek"),
        ({"name": "x", "base_url": "https://x.example/v1"}, "at least one model"),
        ({"name": "x", "base_url": "x.example", "models": ["m"]}, "is no address"),
        ({"name": "x", "base_url": "https://x.example/v1", "models": ["m"], "api_key": MASK}, "1 problem"),
        ({"name": "x", "base_url": "https://x.example/v1", "models": ["m"], "dialect": "klingon"}, "1 problem"),
        ({"sign_in": "klingon"}, "there is no sign-in"),
    ],
)
async def test_what_cannot_be_added_is_said(client: Client, body: Any, words: str) -> None:
    """
    Nothing is written, and the message says why.
    """
    before = client.text

    error = (await add(client, 400, **body))["error"]

    assert words in error["message"]
    assert before == client.text


async def test_single_keys_are_changed(client: Client) -> None:
    """
    What is given is set, null removes, the rest stays as it is written.
    """
    version = await client.version()
    body = {"version": version, "models": ["deepseek-chat"], "transformer": None, "enabled": False}

    await client.ask("PATCH", "/api/providers/deepseek", {**body, "enabled": True})

    entry = data(client)["Providers"][0]
    assert ["deepseek-chat"] == entry["models"]
    assert "transformer" not in entry
    assert "// end of the cheap one" in client.text


async def test_masks_in_a_changed_key_mean_what_was_there(client: Client) -> None:
    """
    Headers and keys that come back masked are kept.
    """
    headers = {"x-team": MASK, "x-title": "other"}
    body = {"version": await client.version(), "headers": headers, "api_key": [MASK, MASK]}

    await client.ask("PATCH", "/api/providers/big", body)

    entry = data(client)["Providers"][1]
    assert {"x-team": "team-secret-value", "x-title": "other"} == entry["headers"]
    assert "sk-second-key-of-big-0002" == entry["api_key"][1]


async def test_routes_follow_a_new_name(client: Client) -> None:
    """
    Routes and fallback lists that lead to a renamed provider lead to it afterwards.
    """
    body = {
        "version": await client.version(),
        "changes": [{"op": "set", "path": ["fallback"], "value": {"default": ["big,small"]}}],
    }
    await client.ask("PATCH", "/api/config", body)

    await client.ask("PATCH", "/api/providers/big", {"version": await client.version(), "name": "large"})

    assert "large,huge,high" == data(client)["Router"]["think"]
    assert {"default": ["large,small"]} == data(client)["fallback"]


async def test_a_provider_in_use_is_not_removed(client: Client) -> None:
    """
    The routes that lead to it are told; with drop_routes they go with it.
    """
    body = {"version": await client.version()}

    problems = await client.problems("DELETE", "/api/providers/big", body)
    await client.ask("DELETE", "/api/providers/big", {**body, "drop_routes": True})

    assert ["Router.think"] == [path for path, _ in problems]
    assert ["deepseek", "local"] == [entry["name"] for entry in data(client)["Providers"]]
    assert {"default": "deepseek,deepseek-chat", "longContextThreshold": 60000} == data(client)["Router"]


async def test_the_order_is_changed_with_the_remarks(client: Client) -> None:
    """
    Every entry moves as it is written, together with what is said of it.
    """
    names = ["local", "big", "deepseek"]

    await client.ask("PUT", "/api/providers/order", {"version": await client.version(), "names": names})

    assert names == [entry["name"] for entry in data(client)["Providers"]]
    text = client.text
    assert (
        text.index('"local"') < text.index("bare keys") < text.index("// the cheap one") < text.index("// end of the")
    )
    assert "$DEEPSEEK_API_KEY" in text
    assert sorted(text.replace(",", "").split()) == sorted(client.former.replace(",", "").split())


async def test_an_order_without_a_name_is_refused(client: Client) -> None:
    """
    Nobody gets lost.
    """
    body = {"version": await client.version(), "names": ["local", "big"]}

    assert ["names"] == [path for path, _ in await client.problems("PUT", "/api/providers/order", body)]


class TestToml:
    """The same in the other syntax."""

    @pytest.fixture
    def written(self) -> str:
        return TOML

    @pytest.fixture
    def file_name(self) -> str:
        return "config.toml"

    async def test_the_order_is_changed_with_the_remarks(self, client: Client) -> None:
        """
        Tables move whole, with the remark above each.
        """
        body = {"version": await client.version(), "names": ["deepseek", "big"]}

        await client.ask("PUT", "/api/providers/order", body)

        assert ["deepseek", "big"] == [entry["name"] for entry in data(client)["Providers"]]
        assert '# the big one\n[[Providers]]\nname = "big"' in client.text
        assert sorted(client.former.splitlines()) == sorted(client.text.splitlines())

    async def test_a_provider_is_added_and_changed(self, client: Client) -> None:
        """
        What was there stays as it is.
        """
        await add(client, preset="groq", models=["m"])
        await client.ask("PATCH", "/api/providers/groq", {"version": await client.version(), "models": ["n"]})

        assert ["n"] == data(client)["Providers"][2]["models"]
        assert all(line in client.text.splitlines() for line in client.former.splitlines())


async def test_presets_say_what_they_need(client: Client) -> None:
    """
    Services and sign-ins, with host and variable.
    """
    rows = {row["name"]: row for row in (await client.get("/api/provider-presets"))["presets"]}

    assert ("GROQ_API_KEY", True, "api.groq.com") == tuple(rows["groq"][key] for key in ("key_env", "key_set", "host"))
    assert True is rows["deepseek"]["configured"]
    assert "copilot" == rows["copilot"]["sign_in"]
    assert False is rows["ollama"]["needs_key"]


async def test_models_for_a_picker(client: Client) -> None:
    """
    Every model with its route; models that a preset knows besides are marked.
    """
    got = await client.get("/api/models")

    rows = {row["value"]: row for row in got["models"]}
    assert {"deepseek,deepseek-chat", "big,huge", "big,small", "local,tiny"} <= set(rows)
    assert True is rows["big,huge"]["configured"]
    assert ["none", "minimal", "low", "medium", "high", "xhigh", "max"] == got["levels"]


CHUNKS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "po"}}]},
    {"choices": [{"index": 0, "delta": {"content": "ng"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
]
STREAM = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in CHUNKS) + b"data: [DONE]\n\n"


async def stand_in(client: Client, url: str, **entry: Any) -> None:
    """Let the provider `local` be at `url`."""
    address = {"base_url": f"{url}/v1/chat/completions", "api_key": "key-of-the-stand-in"}
    await client.ask("PATCH", "/api/providers/local", {"version": await client.version(), **address, **entry})
    client.secrets.append("key-of-the-stand-in")


async def test_a_provider_is_tried_with_a_real_request(client: Client) -> None:
    """
    One small request through the provider's own chain, and what came of it.
    """
    answer = (200, {"content-type": "text/event-stream"}, STREAM)
    with Vendor({"POST /v1/chat/completions": lambda hit: answer}) as vendor:
        await stand_in(client, vendor.url)
        got = await client.ask("POST", "/api/providers/local/test", {})
        (hit,) = vendor.hits

    assert (True, None, 200, "tiny") == (got["ok"], got["error"], got["status"], got["model"])
    assert 0 < got["first"] <= got["duration"]
    assert "Bearer key-of-the-stand-in" == hit.headers["authorization"]
    assert "tiny" == hit.json["model"]


async def test_a_refusal_is_told_without_the_key(client: Client) -> None:
    """
    A service that repeats the key in its error does not get it shown.
    """
    refusal = (401, {"error": {"message": "no such key: key-of-the-stand-in"}})
    with Vendor({"POST /v1/chat/completions": lambda hit: refusal}) as vendor:
        await stand_in(client, vendor.url)
        got = await client.ask("POST", "/api/providers/local/test", {"model": "other", "seconds": 5})

    assert (False, 401, "other") == (got["ok"], got["status"], got["model"])
    assert MASK in got["error"]


async def test_a_provider_that_does_not_exist_is_not_tried(client: Client) -> None:
    """
    The known ones are named.
    """
    error = (await client.ask("POST", "/api/providers/nobody/test", {}, 404))["error"]

    assert "deepseek, big, local" in error["message"]


async def test_models_are_asked_of_the_service(client: Client) -> None:
    """
    Those of its own list, with what is known of them.
    """
    models = {"data": [{"id": "tiny", "context_length": 4096}, {"id": "vast"}]}
    with Vendor({"GET /v1/models": lambda hit: models}) as vendor:
        await stand_in(client, vendor.url)
        got = await client.ask("POST", "/api/providers/local/discover", {})

    assert [("tiny", True, 4096), ("vast", False, None)] == [
        (model["id"], model["known"], model["window"]) for model in got["models"]
    ]
    assert ["Bearer key-of-the-stand-in"] == [hit.headers["authorization"] for hit in vendor.hits]


async def test_a_service_without_a_list_is_told(client: Client) -> None:
    """
    The status is that of a failed upstream, and the message names the address.
    """
    with Vendor() as vendor:
        await stand_in(client, vendor.url)
        error = (await client.ask("POST", "/api/providers/local/discover", {}, 502))["error"]

    assert "gave no list of models (status 404)" in error["message"]
