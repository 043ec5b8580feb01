"""The server tool ``image-agent``."""

from __future__ import annotations

import asyncio
import base64
import io
import sys
from typing import Any

import ccr_plugin_image_agent as plugin
import ccr_plugin_openai_chat
import ccr_plugin_rule_image
import pytest
from ccr_plugin_image_agent.crop import CannotCrop, crop
from PIL import Image

from ccr_core import JSON, ToolCall, ToolContext, ToolResult
from ccr_core.dialect import Target
from ccr_core.testing import Harness, Make, Upstream, as_request, ask, check_plugin, samples, standins, streamed

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_rule_image, standins.ingress, standins.dialect, standins.rule]


def picture(width: int = 8, height: int = 4, kind: str = "PNG", data: str | None = None) -> JSON:
    """An image block; its left half is red, its right half blue."""
    made = Image.new("RGB", (width, height), "red")
    made.paste("blue", (width // 2, 0, width, height))
    out = io.BytesIO()
    made.save(out, kind)
    given = data if data is not None else base64.b64encode(out.getvalue()).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": f"image/{kind.lower()}", "data": given}}


ONE, TWO = picture(data="one"), picture(data="two")
ANSWER = {"role": "assistant", "content": [samples.text("A cat.")]}


def user(*content: JSON) -> JSON:
    return {"role": "user", "content": list(content)}


def result(*content: JSON) -> JSON:
    return {"type": "tool_result", "tool_use_id": "t1", "content": list(content)}


OLD = [user(samples.text("What is this?"), ONE), ANSWER, user(samples.text("Which colour?"))]


def call(number: int = 1, **arguments: Any) -> JSON:
    return samples.tool_use("analyzeImage", f"toolu_{number}", **{"imageId": ["1"], "task": "colour?", **arguments})


def router(ccr: Make, *, plugins: list[Any] = PLUGINS, eye: JSON | None = None, **config: Any) -> Harness:
    """A router with the text model ``acme,big`` and the model that sees, ``eye,sharp``."""
    entries = [
        {"name": name, "api_base_url": f"https://{name}.example", "api_key": "k", "models": [model], "dialect": "plain"}
        for name, model in (("acme", "big"), ("eye", "sharp"))
    ]
    entries[1] |= eye or {}
    return ccr(
        {
            "Providers": entries,
            "Router": {"default": "acme,big", "image": "eye,sharp", "rules": ["image", "default"]},
            **config,
        },
        plugins=plugins,
    )


def request(messages: list[JSON], **fields: Any) -> JSON:
    return ask(messages=messages, **{"model": "sonnet", **fields})


def test_the_plugin_keeps_the_rules() -> None:
    """The check that every plugin has to pass finds nothing."""
    check_plugin(plugin)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("streams", [True, False])
async def test_old_pictures(ccr: Make, upstream: Upstream, asked: bool, streams: bool) -> None:
    """The text model asks, the other looks, and the client gets one answer without a trace of it."""

    def say(message: JSON) -> None:
        upstream.stream(streamed(message)) if streams else upstream.reply(message)

    say(samples.message(samples.text("I look. "), call(), stop_reason="tool_use"))
    upstream.reply(samples.message(samples.thinking("hm"), samples.text("It is red.")))
    say(samples.message(samples.text("Red.")))

    got = await router(ccr).messages(request(OLD, stream=asked, tools=["Read"]))

    assert [samples.text("I look. "), samples.text("Red.")] == got.content
    assert ("end_turn", "acme,big") == (got.stop_reason, got.route)
    first, looked, second = (received.json for received in upstream.requests)
    assert ["https://acme.example/messages", "https://eye.example/messages"] == [
        received.url for received in upstream.requests[:2]
    ]
    assert (
        samples.text("[Image #1] (a picture; analyzeImage tells what it shows)") == first["messages"][0]["content"][1]
    )
    assert "analyzeImage" in first["system"][-1]["text"]
    assert ["analyzeImage", "Read"] == [tool if isinstance(tool, str) else tool["name"] for tool in first["tools"]]
    assert "sharp" == looked["model"]
    assert [samples.text("[Image #1]"), ONE, samples.text("The task: colour?")] == looked["messages"][0]["content"]
    assert "It is red." == second["messages"][-1]["content"][0]["content"]
    assert "image" not in str([block["type"] for message in second["messages"] for block in message["content"]])


async def test_new_pictures_go_to_the_model_that_sees(ccr: Make, upstream: Upstream) -> None:
    """With a new picture the rule sends the request to ``Router.image``, where the tool has no part."""
    upstream.reply(samples.message(samples.text("A cat.")))

    got = await router(ccr).messages(request([user(ONE)], stream=False))

    assert "eye,sharp" == got.route
    assert [user(ONE)] == upstream.requests[0].json["messages"]
    assert "tools" not in upstream.requests[0].json


async def test_forced(ccr: Make, upstream: Upstream) -> None:
    """With ``forceUseImageAgent`` a new picture stays with the text model, which may ask about it."""
    upstream.reply(samples.message(call(), stop_reason="tool_use"))
    upstream.reply(samples.message(samples.text("red")))
    upstream.reply(samples.message(samples.text("Red.")))

    got = await router(ccr, forceUseImageAgent=True).messages(request([user(ONE)], stream=False))

    assert ("acme,big", "Red.") == (got.route, got.text)


@pytest.mark.parametrize(
    ("messages", "options"),
    [
        ([user(samples.text("hello"))], {}),
        ([{"role": "user", "content": "hello"}], {}),
        ([{"role": "assistant", "content": [ONE]}, user(samples.text("x"))], {}),
        (OLD, {"vision_models": ["BIG"]}),
        (OLD, {"vision_models": ["acme,*"]}),
    ],
    ids=["no picture", "text only", "not the user's", "the model sees", "the provider's models see"],
)
async def test_no_part(ccr: Make, upstream: Upstream, messages: list[JSON], options: JSON) -> None:
    """Without pictures, and for a model that sees, the request stays as it is."""
    upstream.reply(samples.message(samples.text("ok")))

    await router(ccr, server_tools={"image-agent": options}).messages(request(messages, stream=False))

    assert messages == upstream.requests[0].json["messages"]
    assert "tools" not in upstream.requests[0].json


async def test_switched_off(ccr: Make, upstream: Upstream) -> None:
    """``false`` leaves the pictures in the request."""
    upstream.reply(samples.message(samples.text("ok")))

    await router(ccr, server_tools={"image-agent": False}).messages(request(OLD, stream=False))

    assert OLD == upstream.requests[0].json["messages"]


async def test_foreign_formats(ccr: Make, upstream: Upstream) -> None:
    """The tool works with models that speak another format than the client."""
    calls = [{"id": "c1", "function": {"name": "analyzeImage", "arguments": '{"imageId": ["1"], "task": "colour?"}'}}]
    for message in ({"tool_calls": calls}, {"content": "red"}, {"content": "Red."}):
        upstream.reply({"id": "1", "model": "m", "choices": [{"message": {"role": "assistant", **message}}]})
    chat = router(ccr, plugins=[*PLUGINS, ccr_plugin_openai_chat], eye={"dialect": "openai-chat"})

    got = await chat.messages(request(OLD, stream=False, model="eye,other"))

    assert "Red." == got.text
    url = f"data:image/png;base64,{ONE['source']['data']}"
    assert url in str(upstream.requests[1].json["messages"])
    assert url not in str(upstream.requests[0].json["messages"])


async def test_failure_is_told_to_the_model(ccr: Make, upstream: Upstream) -> None:
    """When nobody can look, the text model learns it and the exchange goes on."""
    upstream.reply(samples.message(call(), stop_reason="tool_use"))
    upstream.fail(400, "no pictures today")
    upstream.reply(samples.message(samples.text("I cannot say.")))

    got = await router(ccr).messages(request(OLD, stream=False))

    told = upstream.requests[2].json["messages"][-1]["content"][0]
    assert (True, "I cannot say.") == (told["is_error"], got.text)
    assert "no pictures today" in told["content"]


# The tool by itself.


def made(options: JSON | None = None, answer: Any = "red", model: str = "big", **router: str) -> tuple[Any, list[Any]]:
    """The tool for a target, and the questions that it asked."""
    asked: list[Any] = []

    async def ask_other(request: Any, route: str) -> JSON:
        asked.append((request.body, route))
        await asyncio.sleep(0)
        if isinstance(answer, Exception):
            raise answer
        return samples.message(samples.text(answer))

    async def fetch(wire: Any) -> Any:
        raise AssertionError("nothing is fetched")

    ctx = ToolContext(
        target=Target(provider="acme", model=model, base_url="https://acme.example"),
        router={"image": "eye,sharp", **router},
        config={},
        ask=ask_other,
        fetch=fetch,
        note=lambda key, value: asked.append((key, value)) if "cut" in str(value) else None,
    )
    return plugin.ImageAgent(plugin.Options(**(options or {})), ctx), asked


def shown(*messages: JSON, **fields: Any) -> Any:
    """The body that the tool makes."""
    tool, _ = made()
    return tool.on_request(as_request(request(list(messages), **fields))).body


async def run(tool: Any, messages: list[JSON], **arguments: Any) -> ToolResult:
    tool.on_request(as_request(request(messages)))
    given = {"imageId": ["1"], "task": "x", **arguments}
    answer: ToolResult = await tool.run(ToolCall(id="t", name="analyzeImage", input=given))
    return answer


@pytest.mark.parametrize("route", ["", " ", "acme,big", "ACME , BIG", "acme/big", "acme,big,high"])
def test_without_another_model(route: str) -> None:
    """Without ``Router.image``, and on that very route, the tool has no part."""
    tool, _ = made(image=route)

    assert tool.on_request(as_request(request(OLD))) is None


def test_pictures_in_results() -> None:
    """Pictures in the result of a tool get numbers too, and the rest of the result stays."""
    body = shown(user(result(samples.text("a"), ONE, samples.text("b")), TWO), ANSWER, user(samples.text("x")))

    inner, own = body["messages"][0]["content"]
    assert ["a", "[Image #1] (", "b"] == [block["text"][:12] for block in inner["content"]]
    assert "[Image #2] (" == own["text"][:12]


def test_the_request_is_not_changed() -> None:
    """The client's request stays what it was, and messages without pictures are shared."""
    given = request([*OLD, ANSWER])
    before = repr(given)
    tool, _ = made()

    body = tool.on_request(as_request(given)).body

    assert before == repr(given)
    assert body["messages"][1] is given["messages"][1]


def test_numbers_of_the_client() -> None:
    """Where the user's words name pasted pictures by the client's numbers, they get ours."""
    body = shown(
        user(result(ONE)),
        ANSWER,
        user(samples.text("compare [Image #1] with [Image #2]"), TWO, ONE),
        ANSWER,
        user(samples.text("and [Image #1] with [Image #3]?"), TWO),
        ANSWER,
        {"role": "user", "content": "once more [Image #2], and [Image #9]"},
    )

    texts = [message["content"][0].get("text") for message in body["messages"] if message["role"] == "user"]
    assert [
        None,
        "compare [Image #2] with [Image #3]",
        "and [Image #2] with [Image #4]?",
        "once more [Image #3], and [Image]",
    ] == texts


def test_system_prompts() -> None:
    """The instruction comes after the system prompt, however that is written."""
    texts = [
        [block["text"][:6] for block in shown(*OLD, system=system)["system"]]
        for system in ("Be me.", [samples.text("Be me.")], None)
    ]

    assert [["Be me.", "You ca"], ["Be me.", "You ca"], ["You ca"]] == texts


def test_cache_marks_stay() -> None:
    """A mark on a picture is on its number."""
    mark = {"type": "ephemeral"}
    body = shown(user({**ONE, "cache_control": mark}))

    assert mark == body["messages"][0]["content"][0]["cache_control"]


def test_a_tool_of_the_same_name() -> None:
    """The client's own ``analyzeImage`` stays the client's."""
    tool, _ = made()
    body = tool.on_request(as_request(request(OLD, tools=[{"name": "analyzeImage"}]))).body

    assert (["analyzeImage_", "analyzeImage"], ("analyzeImage_",)) == (
        [item["name"] for item in body["tools"]],
        tuple(tool.names()),
    )


@pytest.mark.parametrize("number", ["2", 2, "#2", "[Image #2]", "Image 2"])
async def test_ways_to_name_a_picture(number: Any) -> None:
    """Models write the number in all ways; one that is not in a list is taken too."""
    tool, asked = made()

    await run(tool, [user(ONE, TWO)], imageId=number)

    assert TWO["source"] == asked[0][0]["messages"][0]["content"][1]["source"]


@pytest.mark.parametrize("numbers", [["3"], ["1", "3"], [], None, ["first"]])
async def test_pictures_that_are_not_there(numbers: Any) -> None:
    """An unknown number is an error that names those there are; nobody is asked."""
    tool, asked = made()

    told = await run(tool, [user(ONE, TWO)], imageId=numbers)

    assert (True, []) == (told.is_error, asked)
    assert 'There are "1", "2".' in str(told.content)


async def test_the_same_question_is_asked_once() -> None:
    """Equal calls, also at the same time, share one answer; another task is another question."""
    tool, asked = made()
    tool.on_request(as_request(request(OLD)))

    async def once(task: str) -> ToolResult:
        given = {"imageId": ["1"], "task": task}
        answer: ToolResult = await tool.run(ToolCall(id="t", name="analyzeImage", input=given))
        return answer

    both = await asyncio.gather(once("a"), once("a"))
    await once("a")
    await once("b")

    assert ([ToolResult(content="red")] * 2, 2) == (both, len(asked))


async def test_a_failure_is_not_remembered() -> None:
    """After a failure the same question is asked again."""
    tool, asked = made(answer=ValueError("down"))

    for _ in range(2):
        with pytest.raises(ValueError, match="down"):
            await run(tool, OLD)

    assert 2 == len(asked)


async def test_silence_is_a_failure() -> None:
    """An answer without text is none."""
    tool, _ = made(answer=" ")

    with pytest.raises(ValueError, match="eye,sharp said nothing"):
        await run(tool, OLD)


async def test_who_looks_gets_the_clients_metadata() -> None:
    """The user and session of the request go along, and the limit of the options holds."""
    tool, asked = made({"max_tokens": 7})
    tool.on_request(as_request(request(OLD, metadata={"user_id": "u"})))

    await tool.run(ToolCall(id="t", name="analyzeImage", input={"imageId": ["1"], "task": "x"}))

    assert ({"user_id": "u"}, 7) == (asked[0][0]["metadata"], asked[0][0]["max_tokens"])


# Regions.

HALF = {"x": 50, "y": 0, "w": 50, "h": 100, "units": "pct"}


def opened(source: JSON) -> Any:
    return Image.open(io.BytesIO(base64.b64decode(source["data"])))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
@pytest.mark.parametrize("region", [HALF, {"x": 40, "y": 0, "w": 900, "h": 40, "units": "px"}])
def test_regions_are_cut_out(kind: str, region: JSON) -> None:
    """Per cent and pixels name the same half; what is outside is left out."""
    cut = crop(picture(80, 40, kind)["source"], region)

    found = opened(cut)
    assert ((40, 40), "image/jpeg" if kind == "JPEG" else "image/png") == (found.size, cut["media_type"])
    red, _, blue = found.convert("RGB").getpixel((30, 20))
    assert blue > 200 > 60 > red


@pytest.mark.parametrize(
    ("source", "region", "reason"),
    [
        (picture()["source"], {**HALF, "x": 100}, "outside the picture of 8 x 4"),
        (picture()["source"], {**HALF, "w": "wide"}, "must be numbers"),
        (picture()["source"], {"x": 1}, "must be numbers"),
        (picture()["source"], {**HALF, "x": float("nan")}, "cannot be read"),
        (picture(data="AAAA")["source"], HALF, "cannot be read"),
        (picture(data="é")["source"], HALF, "cannot be read"),
        ({"type": "url", "url": "https://x.example/a.png"}, HALF, "part of the request"),
    ],
)
def test_regions_that_cannot_be_cut(source: JSON, region: JSON, reason: str) -> None:
    """The reason says why."""
    with pytest.raises(CannotCrop, match=reason):
        crop(source, region)


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow is optional, and its absence says how to get it."""
    source = picture()["source"]
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(CannotCrop, match="pip install"):
        crop(source, HALF)


async def test_regions_go_along() -> None:
    """A region is sent after the whole picture; one that cannot be cut out is sent in words, and noted."""
    tool, asked = made()

    await run(tool, [user(picture())], regions=[{"name": "right", **HALF}, {**HALF, "x": 200}, "nonsense"])

    note, (body, _) = asked
    kinds = [block.get("text") or opened(block["source"]).size for block in body["messages"][0]["content"]]
    assert [
        "[Image #1]",
        (8, 4),
        "[Image #1, right]",
        (4, 4),
        "Look at this part of Image #1: region 2 (x=200, y=0, w=50, h=100, units=pct).",
        "The task: x",
    ] == kinds
    assert note[1].startswith("Image #1, region 2: not cut out: it is outside")
