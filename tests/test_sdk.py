"""The official Python SDK of Anthropic, unmodified, against a real router process.

One `ccr start` with a private home serves all tests.  Its providers are the echo model and a scripted one on a
loopback port, which speaks OpenAI's chat format (``up``) and Anthropic's (``ant``).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_tool

sys.path.insert(0, str(Path(__file__).parent / "e2e"))

from scripted import Break, Call, Fail, Received, Say, Upstream

KEY = "the-key-of-the-router"
SECONDS = 20.0
"""How long any one step may take."""


@pytest.fixture(scope="module")
def provider() -> Iterator[Upstream]:
    """The scripted provider."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def url(provider: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the router."""
    folder = tmp_path_factory.mktemp("sdk")
    scripted = {"api_key": "sk-provider", "models": ["m"]}
    document = {
        "PORT": 0,
        "APIKEY": KEY,
        "Providers": [
            {"name": "echo"},
            {"name": "up", "api_base_url": f"{provider.url}/v1/chat/completions", **scripted},
            {"name": "ant", "api_base_url": f"{provider.url}/v1/messages", "dialect": "anthropic", **scripted},
        ],
        "Router": {"default": "echo,echo"},
        "limits": {"body_mb": 1},
        "retry": {"attempts": 0},
    }
    (folder / "config.json").write_text(json.dumps(document))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "CCR_HOME": str(folder)}
    with (folder / "err.txt").open("w") as err:
        router = subprocess.Popen(
            [sys.executable, "-m", "ccr_core.cli", "start"],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        )
    assert router.stdout is not None
    try:
        said = next((line for line in router.stdout if "is running at http://" in line), "")
        assert said, (folder / "err.txt").read_text()
        yield said.partition("is running at ")[2].split()[0]
        router.send_signal(signal.SIGTERM)
        router.communicate(timeout=SECONDS)
    finally:
        router.kill()
        router.communicate(timeout=SECONDS)
    assert "Traceback" not in (folder / "err.txt").read_text()


@pytest.fixture
def client(url: str) -> Iterator[Anthropic]:
    """The SDK's client; it does not try again unless told so."""
    with Anthropic(base_url=url, api_key=KEY, max_retries=0, timeout=SECONDS) as client:
        yield client


@pytest.fixture
def play(provider: Upstream) -> Iterator[Callable[..., None]]:
    """Give the scripted provider its answers; afterwards nothing may be wrong with what it was asked."""
    provider.problems.clear()
    yield lambda *script: provider.play(script)
    assert [] == provider.problems


def ask(text: str, model: str = "echo,echo", **fields: Any) -> dict[str, Any]:
    """The arguments of a request with one message."""
    return {"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": text}], **fields}


TOOL = {
    "name": "get_weather",
    "description": "The weather of a town.",
    "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}
BOTH = pytest.mark.parametrize("model", ["up,m", "ant,m"])
"""Over a provider of either format."""


# --- answers ------------------------------------------------------------------------------------------------


def test_plain(client: Anthropic) -> None:
    """A whole answer is a message with text, usage and a reason to stop."""
    message = client.messages.create(**ask("say The quick brown fox."))

    assert [("text", "The quick brown fox.")] == [(block.type, block.text) for block in message.content]
    assert ("message", "assistant", "end_turn") == (message.type, message.role, message.stop_reason)
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message._request_id


def test_stream(client: Anthropic) -> None:
    """The stream gives the text piece by piece, and the same message at its end."""
    with client.messages.stream(**ask("words 40")) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()

    assert len(pieces) > 5
    assert ["".join(pieces)] == [block.text for block in message.content]
    assert ["".join(pieces)] == [block.text for block in client.messages.create(**ask("words 40")).content]


def test_raw_events(client: Anthropic) -> None:
    """``create(stream=True)`` gives the events of the API, in their order."""
    with client.messages.create(stream=True, **ask("say yes")) as stream:
        kinds = [event.type for event in stream]

    assert ["message_start", "content_block_start"] == kinds[:2]
    assert ["content_block_stop", "message_delta", "message_stop"] == kinds[-3:]


@BOTH
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_thinking_and_tools(client: Anthropic, play: Callable[..., None], model: str, stream: bool) -> None:
    """Thinking, text and parallel tool calls arrive as blocks, whatever the provider speaks."""
    play(
        Say(
            thinking="Two towns, two calls.",
            text="I look it up.",
            calls=[Call(name="get_weather", arguments={"town": town}) for town in ("Kraków", "Oslo")],
            input_tokens=321,
            output_tokens=45,
        )
    )
    arguments = ask("How is the weather?", model, tools=[TOOL], thinking={"type": "enabled", "budget_tokens": 1024})

    if stream:
        with client.messages.stream(**arguments) as answer:
            message = answer.get_final_message()
    else:
        message = client.messages.create(**arguments)

    blocks: list[Any] = list(message.content)
    thinking, text, *calls = blocks
    assert ("thinking", "Two towns, two calls.") == (thinking.type, thinking.thinking)
    assert ("text", "I look it up.") == (text.type, text.text)
    assert [("get_weather", {"town": "Kraków"}), ("get_weather", {"town": "Oslo"})] == [
        (call.name, call.input) for call in calls
    ]
    assert 2 == len({call.id for call in calls})
    assert ("tool_use", 321, 45) == (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens)


@BOTH
def test_tool_runner(client: Anthropic, play: Callable[..., None], provider: Upstream, model: str) -> None:
    """The SDK's own loop runs a tool and hands its result back, over the beta endpoint.

    Newer versions ask the provider to remember the conversation; told that it does not, they send all of it.
    """

    @beta_tool
    def get_weather(town: str) -> str:
        """The weather of a town."""
        return f"{town}: rain"

    def last(received: Received) -> Say:
        return Say(text=" / ".join(received.results.values()))

    play(Say(calls=[Call(name="get_weather", arguments={"town": "Oslo"})]), last)

    message = client.beta.messages.tool_runner(**ask("Weather?", model, tools=[get_weather])).until_done()

    assert ["Oslo: rain"] == [block.text for block in message.content]
    first, second = provider.requests[-2:]
    assert [["get_weather"]] * 2 == [each.tools for each in (first, second)]
    assert "Weather?" == second.said_by("user")


async def test_async_client(url: str) -> None:
    """The asynchronous client works as well."""
    async with AsyncAnthropic(base_url=url, auth_token=KEY, api_key=None, max_retries=0, timeout=SECONDS) as client:
        async with client.messages.stream(**ask("think Hm.\nsay Done.", thinking={"type": "adaptive"})) as stream:
            message = await stream.get_final_message()
        counted = await client.messages.count_tokens(model="echo,echo", messages=[{"role": "user", "content": "Hi"}])

    assert ["thinking", "text"] == [block.type for block in message.content]
    assert counted.input_tokens > 0


def test_count_tokens(client: Anthropic) -> None:
    """More text and more tools count for more, and nothing is asked of a provider."""
    messages = [{"role": "user", "content": "word " * 100}]
    few = client.messages.count_tokens(model="up,m", messages=messages)
    more = client.messages.count_tokens(model="up,m", messages=messages, tools=[TOOL], system="Be brief.")

    assert 80 < few.input_tokens < 200
    assert few.input_tokens < more.input_tokens


def test_models(client: Anthropic) -> None:
    """The models of all providers are listed, and each can be asked for."""
    listed = {model.id: model for model in client.models.list()}

    assert {"echo,echo", "up,m", "ant,m"} <= listed.keys()
    assert [*listed.values()] == [client.models.retrieve(name) for name in listed]
    assert ("model", "m (up)") == (listed["up,m"].type, listed["up,m"].display_name)


# --- errors -------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize(
    ("status", "raised", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_refusals(
    client: Anthropic,
    play: Callable[..., None],
    model: str,
    stream: bool,
    status: int,
    raised: type[anthropic.APIStatusError],
    kind: str,
) -> None:
    """What a provider refuses is the SDK's exception for that status, with the provider's words."""
    play(Fail(status=status, message="because of this"))

    with pytest.raises(raised, match="because of this") as caught:
        client.messages.create(stream=stream, **ask("Hello", model))

    assert status == caught.value.status_code
    # The scripted Anthropic provider has no kind of its own for every status; the router passes on what it says.
    assert model == "ant,m" or kind == caught.value.body["error"]["type"]  # type: ignore[index]
    assert caught.value.request_id


@BOTH
def test_retry_after(
    url: str, play: Callable[..., None], model: str, monkeypatch: pytest.MonkeyPatch, provider: Upstream
) -> None:
    """The SDK waits as long as the provider says, asks again, and gets its answer."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    play(Fail(status=429, message="slow down", retry_after=7), Say(text="At last."))
    before = len(provider.requests)

    with Anthropic(base_url=url, api_key=KEY, max_retries=1, timeout=SECONDS) as client:
        message = client.messages.create(**ask("Hello", model))

    assert ["At last."] == [block.text for block in message.content]
    assert [7.0] == waits
    assert 2 == len(provider.requests) - before


@BOTH
@pytest.mark.parametrize("how", ["error", "reset", "end"])
def test_a_stream_that_breaks(client: Anthropic, play: Callable[..., None], model: str, how: Any) -> None:
    """An error in the stream, a dropped connection and a missing end raise; what came before was delivered."""
    play(Break(how=how, text="This far and no further", message="the model fell over"))
    pieces: list[str] = []

    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(**ask("Go on", model)) as stream,
    ):
        pieces += stream.text_stream

    assert "This far and no further".startswith("".join(pieces))
    assert pieces
    error = caught.value.body["error"]  # type: ignore[index]
    assert "api_error" == error["type"]
    assert how != "error" or "the model fell over" in error["message"]


@BOTH
@pytest.mark.parametrize("how", ["reset", "html"])
def test_no_answer_at_all(client: Anthropic, play: Callable[..., None], model: str, how: Any) -> None:
    """A connection that ends before the answer, or a page instead of one, is an error with a status of its own."""
    # Twice: a kept connection that closes before any answer is no news, the router asks again over a new one.
    play(Break(how=how), Break(how=how))

    with pytest.raises(anthropic.InternalServerError) as caught:
        client.messages.create(stream=True, **ask("Hello", model))

    assert 502 == caught.value.status_code


@BOTH
def test_a_plain_answer_that_breaks(client: Anthropic, play: Callable[..., None], model: str) -> None:
    """Half a message is no message."""
    play(Break(how="reset", text="This far and no further"))

    with pytest.raises(anthropic.InternalServerError):
        client.messages.create(**ask("Hello", model))


def test_errors_of_the_router_itself(client: Anthropic, url: str) -> None:
    """What the router refuses has the SDK's exceptions as well: no model, no key, no conversation, too much."""
    with pytest.raises(anthropic.NotFoundError, match="nobody,m"):
        client.models.retrieve("nobody,m")
    with pytest.raises(anthropic.BadRequestError, match="at least one message"):
        client.messages.create(model="up,m", max_tokens=1, messages=[])
    with pytest.raises(anthropic.APIStatusError, match="larger than") as caught:
        client.messages.create(**ask("x" * 2_000_000))
    assert 413 == caught.value.status_code
    with (
        Anthropic(base_url=url, api_key="wrong", max_retries=0, timeout=SECONDS) as stranger,
        pytest.raises(anthropic.AuthenticationError, match="key is missing or wrong"),
    ):
        stranger.messages.create(**ask("Hello"))
