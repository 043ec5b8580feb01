"""Tools that the router runs itself: rounds, what the client sees of them, and what happens when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import attrs
import orjson
import pytest
from toy import FakeReply, ToyDialect, ToyIngress, ask, call, calling, toy_app, toy_config, toy_plugin

from ccr_core import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Push,
    Request,
    ServerTool,
    ServerToolSpec,
    ToolCall,
    ToolResult,
    UpstreamError,
    assemble,
    explode,
)
from ccr_core.config import ApiKey, Limits, RouterConfig
from ccr_core.servertool import Round


class EventsDialect(ToyDialect):
    """A provider that speaks in our own events: one JSON message per answer, streamed in any number of pieces."""

    def encode(self, request: Any, ctx: Any) -> Any:
        wire = super().encode(request, ctx)
        wire.body["tools"] = request.tools
        return wire

    def decoder(self, request: Any, ctx: Any) -> Any:
        return FromMessage()

    def decode_body(self, body: Any, request: Any, ctx: Any) -> Any:
        return explode(body)


class FromMessage(Push[Any, Event]):
    def feed(self, item: Any) -> Iterable[Event]:
        return explode(item.data)


class MessageIngress(ToyIngress):
    """Clients that get the events of the stream as JSON lines, whole."""

    def encoder(self, request: Any) -> Any:
        return Dump()


class Dump(Push[Event, bytes]):
    def feed(self, item: Event) -> Iterable[bytes]:
        fields = {
            name: getattr(item, name)
            for name in ("key", "block", "delta", "usage", "stop_reason", "message")
            if hasattr(item, name)
        }
        return (orjson.dumps([type(item).__name__, fields]) + b"\n",)


def message(*content: Any, stop: str = "end_turn", outputs: int = 5, inputs: int = 10) -> dict[str, Any]:
    return {
        "id": "m",
        "model": "toy",
        "content": list(content),
        "stop_reason": stop,
        "usage": {"input_tokens": inputs, "output_tokens": outputs},
    }


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(name: str, number: int = 1, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"t{number}", "name": name, "input": arguments}


def answered(body: Any, streamed: bool) -> FakeReply:
    data = orjson.dumps(body)
    if streamed:
        return FakeReply(200, {"content-type": "text/event-stream"}, [b"data: %b\n\n" % data])
    return FakeReply(200, {"content-type": "application/json"}, [data])


class Adder(ServerTool[None]):
    """Adds two numbers; takes part when the request says so; shows what it did."""

    def on_request(self, request: Any) -> Any:
        if "add" not in str(request.messages):
            return None
        return request.with_(tools=[*request.tools, {"name": "add", "input_schema": {}}])

    def names(self) -> Iterable[str]:
        return ("add",)

    async def run(self, call: ToolCall) -> ToolResult:
        if call.input.get("slow"):
            await asyncio.sleep(call.input["slow"])
        if call.input.get("fail"):
            raise ValueError("no sum")
        total = call.input["a"] + call.input["b"]
        shown = (
            ({"type": "server_tool_use", "id": call.id, "name": "add", "input": {}},) if call.input.get("show") else ()
        )
        return ToolResult(content=str(total), shown=shown)


def plugin() -> Any:
    return toy_plugin(
        ccr_dialects=lambda: [EventsDialect()],
        ccr_ingresses=lambda: [MessageIngress()],
        ccr_server_tools=lambda: [ServerToolSpec(name="adder", factory=Adder)],
    )


def app_with(*answers: Any, streamed: bool = True, **config: Any) -> Any:
    replies = [item if isinstance(item, Exception) else answered(item, streamed) for item in answers]
    return toy_app(*replies, plugins=[plugin()], **config)


def joined(got: Any, streamed: bool) -> Any:
    """The message that a client got, whichever way it asked."""
    if not streamed:
        return got.json
    made: list[Event] = []
    for name, fields in got.lines:
        if name == "MessageStart":
            made.append(MessageStart("m", "toy", fields["usage"]))
        elif name == "BlockStart":
            made.append(BlockStart(fields["key"], fields["block"]))
        elif name == "BlockDelta":
            made.append(BlockDelta(fields["key"], fields["delta"]))
        elif name == "BlockStop":
            made.append(BlockStop(fields["key"]))
        elif name == "MessageDelta":
            made.append(MessageDelta(fields["stop_reason"], usage=fields["usage"]))
        elif name == "MessageStop":
            made.append(MessageStop())
    keys = [event.key for event in made if isinstance(event, BlockStart)]
    assert list(range(len(keys))) == keys
    return assemble(made)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
async def test_rounds_are_one_answer(asked: bool, streamed: bool) -> None:
    """
    A call of the router's tool is run, its result goes back to the model, and both answers become one.
    """
    app, sender = app_with(
        message(text("let me see"), use("add", a=1, b=2), stop="tool_use"), message(text("it is 3")), streamed=streamed
    )

    got = await call(app, "POST", "/toy", ask("add 1 and 2", stream=asked))

    answer = joined(got, asked)
    assert [text("let me see"), text("it is 3")] == answer["content"]
    assert "end_turn" == answer["stop_reason"]
    assert (10, 10) == (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"])
    turn, results = sender.sent[1][1]["messages"][-2:]
    assert [text("let me see"), use("add", a=1, b=2)] == turn["content"]
    assert [{"type": "tool_result", "tool_use_id": "t1", "content": "3"}] == results["content"]
    assert ["add"] == [tool["name"] for tool in sender.sent[1][1]["tools"]]


async def test_tool_without_a_part_changes_nothing() -> None:
    """
    A request that the tool declines is served as if it were not there.
    """
    app, sender = app_with(message(text("hello")))

    await call(app, "POST", "/toy", ask("hi", stream=True))

    assert [] == sender.sent[0][1]["tools"]


@pytest.mark.parametrize("asked", [True, False])
async def test_several_calls_and_rounds(asked: bool) -> None:
    """
    Calls of one turn run side by side; rounds go on until the model has no more calls; shown blocks are shown.
    """
    app, sender = app_with(
        message(use("add", 1, a=1, b=2, slow=0.05), use("add", 2, a=3, b=4), stop="tool_use"),
        message(use("add", 3, a=5, b=6, show=True), stop="tool_use"),
        message(text("done")),
    )

    got = await call(app, "POST", "/toy", ask("add all", stream=asked))

    answer = joined(got, asked)
    assert ["server_tool_use", "text"] == [block["type"] for block in answer["content"]]
    assert ["3", "7"] == [item["content"] for item in sender.sent[1][1]["messages"][-1]["content"]]
    assert 15 == answer["usage"]["output_tokens"]


@pytest.mark.parametrize("asked", [True, False])
async def test_failing_tool_is_told_to_the_model(asked: bool) -> None:
    """
    A tool that raises gives the model an error to work with; the exchange goes on.
    """
    app, sender = app_with(message(use("add", fail=True), stop="tool_use"), message(text("sorry")))

    got = await call(app, "POST", "/toy", ask("add", stream=asked))

    assert [text("sorry")] == joined(got, asked)["content"]
    result = sender.sent[1][1]["messages"][-1]["content"][0]
    assert (True, "add failed: ValueError: no sum") == (result["is_error"], result["content"])


@pytest.mark.parametrize("asked", [True, False])
async def test_calls_of_the_client_end_the_turn(asked: bool) -> None:
    """
    When the model also calls the client's tool, the client runs that; the router's result stays visible.
    """
    app, sender = app_with(message(use("add", 1, a=1, b=2), use("Bash", 2, command="ls"), stop="tool_use"))

    got = await call(app, "POST", "/toy", ask("add", stream=asked))

    answer = joined(got, asked)
    assert [use("Bash", 2, command="ls"), text("[add] 3")] == answer["content"]
    assert "tool_use" == answer["stop_reason"]
    assert 1 == len(sender.sent)


async def test_rounds_are_limited() -> None:
    """
    A model that calls for ever is stopped, and its last result is shown.
    """
    calls = [message(use("add", n, a=n, b=0), stop="tool_use") for n in range(3)]
    app, sender = app_with(*calls, limits=Limits(tool_rounds=3))

    got = await call(app, "POST", "/toy", ask("add", stream=True))

    answer = joined(got, True)
    assert 3 == len(sender.sent)
    assert ([text("[add] 2")], "end_turn") == (answer["content"], answer["stop_reason"])


@pytest.mark.parametrize("asked", [True, False])
async def test_failure_of_a_later_round_is_no_end(asked: bool) -> None:
    """
    When the follow-up fails, the client gets an error, not a tidy end.
    """
    app, _ = app_with(message(text("wait"), use("add", a=1, b=2), stop="tool_use"), UpstreamError("down"))

    got = await call(app, "POST", "/toy", ask("add", stream=asked))

    if asked:
        assert ["MessageStart", "BlockStart", "BlockDelta", "BlockStop", "StreamError"] == [
            line[0] for line in got.lines
        ]
    else:
        assert 502 == got.status


async def test_slow_tool_keeps_the_client_informed() -> None:
    """
    While a tool works the client gets pings.
    """
    app, _ = app_with(
        message(text("wait"), use("add", a=1, b=2, slow=0.1), stop="tool_use"),
        message(text("3")),
        limits=Limits(ping_s=0.02),
    )

    got = await call(app, "POST", "/toy", ask("add", stream=True))

    assert "Ping" in [line[0] for line in got.lines]
    assert "MessageStop" == got.lines[-1][0]


async def test_client_that_leaves_ends_the_tools() -> None:
    """
    Nothing is run on for a client that has hung up.
    """
    ended: list[str] = []

    class Waiting(Adder):
        async def run(self, call: ToolCall) -> ToolResult:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return ToolResult(content="")

    made = plugin()
    made.ccr_server_tools = toy_plugin(
        ccr_server_tools=lambda: [ServerToolSpec(name="adder", factory=Waiting)]
    ).ccr_server_tools
    replies = [answered(message(text("wait"), use("add"), stop="tool_use"), True)]
    app, _ = toy_app(*replies, plugins=[made])

    async with calling(app, "POST", "/toy", ask("add", stream=True)) as (got, hang_up):
        await got.until(lambda: len(got.writes) > 0)
        await asyncio.sleep(0.02)
        hang_up()

    assert ["cancelled"] == ended


async def test_tools_can_be_switched_off() -> None:
    """
    ``server_tools`` takes false for a tool.
    """
    app, sender = app_with(message(text("x")), server_tools={"adder": False})

    await call(app, "POST", "/toy", ask("add", stream=True))

    assert [] == sender.sent[0][1]["tools"]


async def test_another_route_can_be_asked() -> None:
    """
    A tool may have another model answer a request, in process; what that model says comes back whole.
    """

    class Asking(Adder):
        async def run(self, call: ToolCall) -> ToolResult:
            from ccr_core import Request

            request = Request({"messages": [{"role": "user", "content": "describe"}]})
            said = await self.ctx.ask(request, "spare,m")
            return ToolResult(content=said["content"])

    made = plugin()
    made.ccr_server_tools = toy_plugin(
        ccr_server_tools=lambda: [ServerToolSpec(name="adder", factory=Asking)]
    ).ccr_server_tools
    replies = [
        answered(message(use("add"), stop="tool_use"), True),
        answered(message(text("a cat")), False),
        answered(message(text("it shows a cat")), True),
    ]
    app, sender = toy_app(*replies, plugins=[made])

    got = await call(app, "POST", "/toy", ask("add", stream=True))

    assert [text("it shows a cat")] == joined(got, True)["content"]
    assert ["http://toy.invalid/", "http://spare.invalid/", "http://toy.invalid/"] == [w.url for w, _ in sender.sent]
    assert [text("a cat")] == sender.sent[2][1]["messages"][-1]["content"][0]["content"]
    assert got.headers["x-ccr-route"].startswith("toy,m;")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (
            {"type": "tool", "name": "add", "disable_parallel_tool_use": True},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
        ({"type": "tool", "name": "Bash"}, {"type": "tool", "name": "Bash"}),
        ({"type": "any"}, {"type": "any"}),
        (None, None),
    ],
)
def test_a_forced_call_is_forced_once(choice: Any, expected: Any) -> None:
    """
    Where the client forces a call of the router's tool, the model is free once it has called it.
    """
    this = Round(0, frozenset({"add"}))
    for event in explode(message(use("add", a=1), stop="tool_use")):
        list(this.feed(event))
    body = {"messages": [], **({"tool_choice": choice} if choice else {})}

    followed = this.follow_up(Request(body), [ToolResult(content="1")])

    assert expected == followed.body.get("tool_choice")


def test_a_round_keeps_what_is_the_routers() -> None:
    """
    Blocks of the router's tools are kept back with their arguments; everything else passes under keys of its own.
    """
    this = Round(1, frozenset({"add"}), outputs=4)
    passed = [event for given in explode(message(text("a"), use("add", a=1))) for event in this.feed(given)]

    assert [(1, 0)] * 3 == [event.key for event in passed]  # type: ignore[union-attr]
    assert [ToolCall(id="t1", name="add", input={"a": 1})] == this.calls
    assert [text("a"), use("add", a=1)] == this.content
    assert 9 == this.usage()["output_tokens"]


# --- asking another model -----------------------------------------------------------------------------------


class Asker(ServerTool[None]):
    """Has the route of ``Router.image`` answer its call."""

    def on_request(self, request: Any) -> Any:
        return request.with_(tools=[{"name": "look", "input_schema": {}}])

    def names(self) -> Iterable[str]:
        return ("look",)

    async def run(self, call: ToolCall) -> ToolResult:
        message = await self.ctx.ask(
            Request({"messages": [{"role": "user", "content": "look"}]}), self.ctx.router["image"]
        )
        return ToolResult(content=message["content"], served={"looks": 1})


def asking(*answers: Any, fallback: Any, **config: Any) -> Any:
    """A router whose tool asks ``spare,m``; who is asked before and after it is ``toy,m``."""
    made = toy_plugin(
        ccr_dialects=lambda: [EventsDialect()],
        ccr_ingresses=lambda: [MessageIngress()],
        ccr_server_tools=lambda: [ServerToolSpec(name="asker", factory=Asker)],
    )
    replies = [item if isinstance(item, (Exception, FakeReply)) else answered(item, False) for item in answers]
    router = RouterConfig(default="toy,m", options={"image": "spare,m"})
    return toy_app(*replies, plugins=[made], router=router, fallback=fallback, **config)


def limited(status: int = 503) -> FakeReply:
    return FakeReply(status, {"content-type": "application/json"}, [b'{"error": {"message": "busy"}}'])


CALL = message(use("look"), stop="tool_use")
SEEN = message(text("a cat"))
DONE = message(text("it is a cat"))


@pytest.mark.parametrize(
    ("fallback", "answers", "asked"),
    [
        ({}, [SEEN], ["spare"]),
        ({"image": ("toy,n",)}, [SEEN], ["spare"]),
        ({"image": ("toy,n",)}, [limited(), SEEN], ["spare", "toy"]),
        ({"default": ("toy,n",)}, [UpstreamError("gone", 502), SEEN], ["spare", "toy"]),
        ({"image": ("toy,n", "toy,o")}, [limited(), limited(429), SEEN], ["spare", "toy", "toy"]),
    ],
)
async def test_asking_falls_back(fallback: Any, answers: list[Any], asked: list[str]) -> None:
    """
    A tool that has a model answer gets the answer of the next one of the scenario's list where the first fails.
    """
    app, sender = asking(CALL, *answers, DONE, fallback=fallback)

    got = await call(app, "POST", "/toy", ask("what is this?"))

    assert "it is a cat" in str(got.json)
    assert ["toy", *asked, "toy"] == [wire.url.split("//")[1].split(".")[0] for wire, _ in sender.sent]
    assert "a cat" in str(sender.sent[-1][1]["messages"][-1])


@pytest.mark.parametrize(
    ("fallback", "answers"),
    [({}, [limited()]), ({"image": ("toy,n",)}, [limited(400)]), ({"image": ("toy,n",)}, [limited()] * 2)],
)
async def test_asking_in_vain(fallback: Any, answers: list[Any]) -> None:
    """
    Where nobody answers, or the question itself is refused, the model is told the first failure.
    """
    app, sender = asking(CALL, *answers, DONE, fallback=fallback)

    await call(app, "POST", "/toy", ask("what is this?"))

    result = sender.sent[-1][1]["messages"][-1]["content"][0]
    assert (True, "look failed: busy") == (result["is_error"], result["content"])


async def test_asking_tries_other_keys() -> None:
    """
    A key that is limited is followed by the provider's next key, before another provider.
    """
    keys = (ApiKey(key="key-a"), ApiKey(key="key-b"))
    providers = tuple(
        attrs.evolve(entry, api_keys=keys) if entry.name == "spare" else entry for entry in toy_config().providers
    )
    app, sender = asking(CALL, limited(429), SEEN, DONE, fallback={"image": ("toy,n",)}, providers=providers)

    await call(app, "POST", "/toy", ask("what is this?"))

    assert ["Bearer key-a", "Bearer key-b"] == [
        wire.headers["authorization"] for wire, _ in sender.sent if "spare" in wire.url
    ]


async def test_what_tools_did_is_in_the_usage() -> None:
    """
    What the router's tools have done is added to what the provider says of its own.
    """
    own = {**DONE, "usage": {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"looks": 2, "web": 3}}}
    app, _ = asking(CALL, SEEN, {**CALL, "id": "m2"}, SEEN, own, fallback={})

    got = await call(app, "POST", "/toy", ask("what is this?"))

    assert {"looks": 4, "web": 3} == got.json["usage"]["server_tool_use"]
