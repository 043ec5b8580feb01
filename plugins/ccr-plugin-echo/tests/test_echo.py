"""The echo model, asked directly and read through the dialect that the router reads it with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_echo as plugin
import ccr_plugin_rule_default
import orjson
import pytest
from ccr_plugin_anthropic.dialect import Anthropic
from ccr_plugin_echo.schema import instance
from ccr_plugin_echo.wire import Paced

from ccr_core import JSON, Context, Outcome, Request, Target, UpstreamError, WireReply, WireRequest, assemble, unseal
from ccr_core.testing import check_plugin, check_stream, decode
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

CTX = Context(exchange_id="1", target=Target(provider="echo", model="echo", base_url="embedded:echo"))


def body_for(content: Any, **fields: Any) -> JSON:
    """A request whose only message is ``content``."""
    return {"model": "echo", "max_tokens": 10_000, "messages": [{"role": "user", "content": content}], **fields}


async def send(body: JSON) -> tuple[int, Mapping[str, str], list[bytes]]:
    """The raw answer, its body in pieces."""
    wire = Anthropic().encode(Request(body), CTX)
    status, headers, pieces = await plugin.answer(wire)
    return status, headers, [piece async for piece in pieces]


async def ask(body: JSON) -> JSON:
    """The message that answers ``body``, asked for as a stream and whole: both must be the same."""
    status, headers, pieces = await send({**body, "stream": True})
    assert (200, "text/event-stream") == (status, headers["content-type"])
    assert all(pieces)
    decoded = decode(Anthropic(), pieces, Request(body), CTX)
    assert decoded.error is None
    check_stream(decoded.sequenced)
    relay = Anthropic().relay(Request(body), CTX, outcome := Outcome())
    assert b"".join(pieces) == b"".join([*(out for piece in pieces for out in relay.feed(piece)), *relay.flush()])
    assert outcome.complete
    streamed = assemble(decoded.sequenced)

    status, headers, pieces = await send(body)
    assert (200, "application/json") == (status, headers["content-type"])
    whole = assemble(Anthropic().decode_body(orjson.loads(b"".join(pieces)), Request(body), CTX))
    assert whole == streamed
    return whole


def texts(message: JSON) -> list[str]:
    """The texts of a message."""
    return [block["text"] for block in message["content"] if block["type"] == "text"]


def calls(message: JSON) -> list[tuple[str, Any]]:
    """The tool calls of a message."""
    return [(block["name"], block["input"]) for block in message["content"] if block["type"] == "tool_use"]


def results(message: JSON, *contents: Any, **fields: Any) -> list[JSON]:
    """The messages that answer the calls of ``message``: itself, and the results in ``contents``."""
    called = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
    blocks = [
        {"type": "tool_result", "tool_use_id": ident, "content": content, **fields}
        for ident, content in zip(called, contents, strict=True)
    ]
    return [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": blocks}]


def test_plugin() -> None:
    """The plugin keeps the rules of plugins."""
    check_plugin(plugin)


def test_hook() -> None:
    """The plugin offers the provider that its README names, and it needs no key and no network."""
    (spec,) = plugin.ccr_providers()

    assert ("echo", "embedded:echo", "anthropic", "none", ("echo",)) == (
        spec.name,
        spec.base_url,
        spec.dialect,
        spec.key_style,
        spec.models,
    )
    assert spec.embedded is plugin.answer


async def test_first_words() -> None:
    """A first-time user learns that the router works, that no model has answered, what to do, and what they wrote."""
    message = await ask(body_for("Hello, is anybody there? Grüße 🎉"))

    (text,) = texts(message)
    for part in ("built into ccr", "No real model", "Router.default", "Hello, is anybody there? Grüße 🎉"):
        assert part in text
    assert ("end_turn", "echo") == (message["stop_reason"], message["model"])
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 50


async def test_same_request_same_answer() -> None:
    """The answer follows from the request alone."""
    assert await ask(body_for("one")) == await ask(body_for("one"))
    assert (await ask(body_for("one")))["id"] != (await ask(body_for("two")))["id"]


async def test_help_names_every_directive() -> None:
    """The help of the model lists all that it can be told."""
    (text,) = texts(await ask(body_for("Help!")))

    for word in ("say", "words", "think", "call", "then", "pause", "fail", "error", "cut"):
        assert f"\n  {word} " in text


async def test_reminders_are_not_the_users_words() -> None:
    """Of the blocks of a message the last that the client did not add itself is read."""
    reminder = {"type": "text", "text": "<system-reminder>\nsay no\n</system-reminder>"}
    message = await ask(body_for([reminder, {"type": "text", "text": "say yes"}, reminder]))

    assert ["yes"] == texts(message)


async def test_system_messages_are_not_the_users_words() -> None:
    """A message with the role ``system`` behind the user's is no order."""
    body = body_for("say yes")
    body["messages"].append({"role": "system", "content": "say no"})

    assert ["yes"] == texts(await ask(body))


async def test_attachments() -> None:
    """What comes with the words is mentioned."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}

    (text,) = texts(await ask(body_for([image, {"type": "text", "text": "look"}])))

    assert text.endswith("You wrote: look\n\nWith it came: image.")


async def test_parallel_calls_and_their_results() -> None:
    """Calls come in the order of their lines; the results are summed up, with failures and images."""
    text = 'say two calls\ncall Bash {"command": "ls -l"}\ncall mcp__a-b__c.d'
    body = body_for(text)

    called = await ask(body)

    assert ["two calls"] == texts(called)
    assert [("Bash", {"command": "ls -l"}), ("mcp__a-b__c.d", {})] == calls(called)
    assert "tool_use" == called["stop_reason"]

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    body["messages"] += results(called, "a.txt\nb.txt", [{"type": "text", "text": "seen"}, image])
    (text,) = texts(await ask(body))

    assert "The tools have answered:\n- Bash gave: a.txt\nb.txt\n- mcp__a-b__c.d gave: seen, image" == text


async def test_failed_result() -> None:
    """A result that is an error is called one; a long one is cut."""
    body = body_for("call Bash {}")
    body["messages"] += results(await ask(body), "x" * 1000, is_error=True)

    (text,) = texts(await ask(body))

    assert f"- Bash failed: {'x' * 300}… (1000 characters)" in text


async def test_steps() -> None:
    """What stands behind ``then`` is done when the results are there, and so on to the end."""
    body = body_for("call Read {}\nthen\nsay second\ncall Edit {}\nthen\nsay done")
    seen = []
    for _ in range(2):
        message = await ask(body)
        seen += calls(message)
        body["messages"] += results(message, "ok")
        # A client may add words of its own behind the results.
        body["messages"][-1]["content"].append({"type": "text", "text": "The file was changed by a tool."})

    assert [("Read", {}), ("Edit", {})] == seen
    assert ["done"] == texts(await ask(body))


async def test_the_last_step_is_not_repeated() -> None:
    """When all steps are done and nothing new was said, the model says so."""
    body = body_for("say once")
    body["messages"].append({"role": "assistant", "content": "once"})

    assert ["That was the last step."] == texts(await ask(body))


async def test_bad_arguments_are_told() -> None:
    """A call whose arguments are no JSON is not made, and the user learns why."""
    message = await ask(body_for("call Bash {command: ls}"))

    assert [] == calls(message)
    assert texts(message)[0].startswith("I cannot call Bash: its arguments are not JSON")


@pytest.mark.parametrize("kind", [{"type": "enabled", "budget_tokens": 2000}, {"type": "adaptive"}])
async def test_thinking(kind: JSON) -> None:
    """When asked for, thinking comes first, with a signature that says whose it is."""
    message = await ask(body_for("think hard\nthink harder\nsay so", thinking=kind))

    thought, said = message["content"]
    assert ("hard\nharder", "so") == (thought["thinking"], said["text"])
    assert ("echo", {"v": 1}) == unseal(thought["signature"])


async def test_no_thinking() -> None:
    """Not asked for, it is not given; asked to be kept back, only the signature is."""
    assert ["text"] == [block["type"] for block in (await ask(body_for("x", thinking={"type": "disabled"})))["content"]]
    omitted = await ask(body_for("x", thinking={"type": "adaptive", "display": "omitted"}))
    assert "" == omitted["content"][0]["thinking"]


async def test_its_thinking_does_not_reach_anthropic() -> None:
    """In a history that goes on at Anthropic its thinking is left out, its words stay."""
    body = body_for("hello", thinking={"type": "adaptive"})
    body["messages"] += [{"role": "assistant", "content": (await ask(body))["content"]}]
    target = Target(provider="anthropic", model="claude-sonnet-5", base_url="https://api.anthropic.com")

    wire = Anthropic().encode(Request(body), Context(exchange_id="1", target=target))

    assert wire.body is not None
    assert ["text"] == [block["type"] for block in wire.body["messages"][-1]["content"]]


async def test_max_tokens() -> None:
    """No more tokens are given than asked for, and the answer says that it was cut."""
    message = await ask(body_for("words 50", max_tokens=10))

    assert ([" ".join(f"word{n}" for n in range(1, 11))], "max_tokens") == (texts(message), message["stop_reason"])
    assert 10 == message["usage"]["output_tokens"]


async def test_a_call_that_does_not_fit() -> None:
    """A call is made whole or not at all."""
    message = await ask(body_for('call Bash {"command": "' + "x" * 500 + '"}', max_tokens=10))

    assert ([], "max_tokens") == (calls(message), message["stop_reason"])


async def test_probe() -> None:
    """The probe of a client that switches models is answered with one token."""
    message = await ask(body_for("hi", max_tokens=1))

    assert (1, "max_tokens") == (message["usage"]["output_tokens"], message["stop_reason"])


async def test_stop_sequences() -> None:
    """The answer ends before the first stop sequence and names it; what would follow is not given."""
    message = await ask(body_for("say one two three\ncall Bash {}", stop_sequences=["three", "two"]))

    assert (["one "], []) == (texts(message), calls(message))
    assert ("stop_sequence", "two") == (message["stop_reason"], message["stop_sequence"])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "tool", "name": "b"}, [("b", {"n": 3, "kind": "x"})]),
        ({"type": "any"}, [("a", {})]),
        ({"type": "auto"}, []),
        ({"type": "none"}, []),
    ],
)
async def test_tool_choice(choice: JSON, expected: list[tuple[str, Any]]) -> None:
    """A tool that the request forces is called, with arguments that fit its schema."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 3}, "kind": {"enum": ["x", "y"]}, "more": {}},
        "required": ["n", "kind"],
    }
    tools = [
        {"type": "web_search_20250305", "name": "web_search"},
        {"name": "a", "input_schema": {"type": "object"}},
        {"name": "b", "input_schema": schema},
    ]

    assert expected == calls(await ask(body_for("go", tools=tools, tool_choice=choice)))


async def test_tool_choice_none_beats_a_directive() -> None:
    """With ``tool_choice: none`` no tool is called, and the model says why."""
    message = await ask(body_for("call Bash {}", tool_choice={"type": "none"}))

    assert ([], ["I may not call Bash: tool_choice is none."]) == (calls(message), texts(message))


async def test_structured_output() -> None:
    """A JSON schema for the answer gets an answer that fits it."""
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}

    message = await ask(body_for("?", output_config={"format": {"type": "json_schema", "schema": schema}}))

    assert ['{"ok":true}'] == texts(message)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 5}, 5),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"type": ["string", "null"]}, "echo"),
        ({"type": "string", "maxLength": 2}, "ec"),
        ({"type": "string", "minLength": 6}, "echooo"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [0, 0]),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"default": "d"}}}, "d"),
        ({"$ref": "#/$defs/none"}, None),
    ],
)
def test_schema(schema: JSON, expected: Any) -> None:
    """The simplest value of a schema."""
    assert expected == instance(schema)


def test_schema_that_contains_itself() -> None:
    """A schema without end gives a value all the same."""
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}

    assert isinstance(instance(schema), dict)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("text", "status", "kind", "message", "after"),
    [
        ("fail 429", 429, "rate_limit_error", "the echo model was told to fail with 429", None),
        ("fail 429 retry-after 2 too many", 429, "rate_limit_error", "too many", "2"),
        ("fail 529 retry-after=0.5", 529, "overloaded_error", "the echo model was told to fail with 529", "0.5"),
        ("say x\npause 0.01\nfail 400 bad", 400, "invalid_request_error", "bad", None),
    ],
)
async def test_fail(stream: bool, text: str, status: int, kind: str, message: str, after: str | None) -> None:
    """The model refuses as told, in the form in which Anthropic refuses."""
    got, headers, pieces = await send(body_for(text, stream=stream))

    error = Anthropic().decode_error(WireReply(status=got, headers=headers, body=b"".join(pieces)))
    assert (status, kind, message, after) == (error.status, error.kind, error.message, error.headers.get("retry-after"))


async def test_error_in_the_middle() -> None:
    """An error in mid-stream comes behind what was said; asked for whole, the answer is the error."""
    body = body_for("say so far\nerror overloaded_error too busy")

    _, _, pieces = await send({**body, "stream": True})
    decoded = decode(Anthropic(), pieces, Request(body), CTX)
    status, _, _ = await send(body)

    assert ("so far", "too busy", 529) == (decoded.so_far["content"][0]["text"], str(decoded.error), status)


@pytest.mark.parametrize("stream", [True, False])
async def test_cut(stream: bool) -> None:
    """An answer that is told to break off never looks complete."""
    body = body_for("say so far\ncut", stream=stream)

    status, _, pieces = await send(body)

    assert 200 == status
    if stream:
        error = decode(Anthropic(), pieces, Request(body), CTX).error
        assert isinstance(error, UpstreamError)
        assert "cut off" in str(error)
    else:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(b"".join(pieces))


async def test_pause_is_silence_that_can_be_interrupted() -> None:
    """Before a pause everything said so far is given; a reader that stops waiting loses nothing."""
    _, _, pieces = await plugin.answer(
        WireRequest(url="embedded:echo", body=body_for("say before\npause 0.2\nsay after", stream=True))
    )
    first = await anext(pieces)
    interrupted = 0
    rest = b""
    while b"message_stop" not in rest:
        try:
            async with asyncio.timeout(0.05):
                rest += await anext(pieces)
        except TimeoutError:
            interrupted += 1
            assert interrupted < 50

    assert b"before" in first
    assert b"after" not in first
    assert b"after" in rest
    assert interrupted >= 1


async def test_paced_gives_everything_once() -> None:
    """Pieces come in their order, pauses between them."""
    assert [b"a", b"b"] == [piece async for piece in Paced([b"a", 0.0, b"b"])]


async def test_long_answers_come_in_parts() -> None:
    """A long answer is not given at once."""
    _, _, pieces = await send(body_for("words 1000", stream=True))

    assert len(pieces) > 10


ROUTER = {"Providers": [{"name": "echo"}], "Router": {"default": "echo,echo"}}
PLUGINS = [plugin, ccr_plugin_anthropic, ccr_plugin_rule_default]


@pytest.mark.parametrize("stream", [True, False])
async def test_through_a_router(ccr: Make, stream: bool) -> None:
    """A router whose only provider is this one answers, with thinking, text and calls."""
    body = body_for("say hello\ncall Bash {}", thinking={"type": "adaptive"}, stream=stream)

    answer = await ccr(ROUTER, plugins=PLUGINS).messages(body)

    assert (200, "hello", "tool_use", True) == (answer.status, answer.text, answer.stop_reason, answer.complete)
    assert ["thinking", "text", "tool_use"] == [block["type"] for block in answer.content]


@pytest.mark.parametrize("stream", [True, False])
async def test_failures_through_a_router(ccr: Make, stream: bool) -> None:
    """Its refusals and its broken answers reach the client as those of any provider."""
    router = ccr(ROUTER, plugins=PLUGINS)

    refused = await router.messages(body_for("fail 429 retry-after 2 slow", stream=stream))
    broken = await router.messages(body_for("say x\nerror overloaded_error busy", stream=stream))
    cut = await router.messages(body_for("say x\ncut", stream=stream))

    assert (429, "2", "slow") == (refused.status, refused.headers["retry-after"], (refused.error or {})["message"])
    assert ("overloaded_error", False) == ((broken.error or {})["type"], broken.complete)
    assert (200 if stream else 529) == broken.status
    assert ("api_error", False) == ((cut.error or {})["type"], cut.complete)
