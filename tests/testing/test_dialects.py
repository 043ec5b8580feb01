"""``check_dialect`` and ``check_ingress`` accept the plain stand-ins and find what a dialect can do wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ccr_core import (
    JSON,
    BlockDelta,
    CcrError,
    Chunk,
    Context,
    Event,
    Headers,
    MessageStop,
    Outcome,
    Push,
    Request,
    SseParser,
    StreamError,
    UpstreamError,
    WireReply,
    WireRequest,
    new_id,
)
from ccr_core.testing import Recording, ask, check_dialect, check_ingress, claude_code_request
from ccr_core.testing.recordings import recordings
from ccr_core.testing.samples import SEED
from ccr_core.testing.standins import PlainDialect, PlainIngress

ALL = recordings(Path(__file__).parents[1] / "recordings", "anthropic")
TEXT = [r for r in ALL if r.name.endswith(("anthropic-text.stream", "anthropic.model-thinking-part-stream.0"))]
TOOLS = [r for r in ALL if r.name.endswith(("anthropic-tool-no-args.stream", "output.mixed-tools-no-output.0"))]
REFUSED = [r for r in ALL if r.failed]


def test_a_good_dialect_passes() -> None:
    """
    The stand-in speaks the Messages API and passes with all its recordings.
    """
    check_dialect(PlainDialect(), ALL)


class Filtered(Push[Chunk, Event]):
    """The decoder of the stand-in, with its events passed through ``change``."""

    def __init__(self, inner: Push[Chunk, Event], change: Any) -> None:
        self.inner, self.change = inner, change

    def feed(self, item: Chunk) -> Iterable[Event]:
        for event in self.inner.feed(item):
            yield from self.change(event)

    def flush(self) -> Iterable[Event]:
        return self.inner.flush()


class EndsAnyway(PlainDialect):
    """Takes the end of the connection for the end of the answer."""

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        class Tidy(Filtered):
            done = False

            def feed(self, item: Chunk) -> Iterable[Event]:
                for event in super().feed(item):
                    self.done = self.done or isinstance(event, MessageStop)
                    yield event

            def flush(self) -> Iterable[Event]:
                return () if self.done else (MessageStop(),)

        return Tidy(super().decoder(request, ctx), lambda event: (event,))


class LinesAreReads(Push[bytes, Chunk]):
    """Believes that each read holds whole events."""

    def feed(self, item: bytes) -> Iterable[Chunk]:
        for part in item.split(b"\n\n"):
            data = part.partition(b"data:")[2].strip()
            if data:
                yield from PlainDialect.framing().feed(b"data: " + data + b"\n\n")


class CutsReads(PlainDialect):
    """Cannot put an event together that came in two reads."""

    framing = LinesAreReads


class LosesText(PlainDialect):
    """Drops every delta with a full stop."""

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        def change(event: Event) -> Iterable[Event]:
            return () if isinstance(event, BlockDelta) and "." in str(event.delta.get("text")) else (event,)

        return Filtered(super().decoder(request, ctx), change)


class TwoRoads(PlainDialect):
    """Has a second branch for whole answers, which gives another stop reason."""

    def decode_body(self, body: JSON, request: Request, ctx: Context) -> Iterable[Event]:
        return super().decode_body({**body, "stop_reason": "end_turn"}, request, ctx)


class Crashes(PlainDialect):
    """Fails with an exception of its own."""

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        def change(event: Event) -> Iterable[Event]:
            raise KeyError("nope")

        return Filtered(super().decoder(request, ctx), change)


class SwallowsErrors(PlainDialect):
    """Does not read errors."""

    def decode_error(self, reply: WireReply) -> UpstreamError:
        return UpstreamError("it failed", 500, "oh_no")


class ChangesRequests(PlainDialect):
    """Changes the request in place."""

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        request.body["model"] = ctx.target.model
        return super().encode(request, ctx)


class Random(PlainDialect):
    """Sends what nobody asked for, and not to the base URL."""

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        return WireRequest(url="https://elsewhere.example/", body=request.body)


class Relays(PlainDialect):
    """Passes bytes on, loses some, and never complains."""

    def relay(self, request: Request, ctx: Context, outcome: Outcome) -> Push[bytes, bytes]:
        class Lossy(Push[bytes, bytes]):
            def feed(self, item: bytes) -> Iterable[bytes]:
                return (item.replace(b"e", b""),)

        return Lossy()


class RelaysAll(PlainDialect):
    """Passes bytes on without looking at them."""

    def relay(self, request: Request, ctx: Context, outcome: Outcome) -> Push[bytes, bytes]:
        class Blind(Push[bytes, bytes]):
            def feed(self, item: bytes) -> Iterable[bytes]:
                return (item,)

        return Blind()


@pytest.mark.parametrize(
    ("dialect", "cases", "complaint"),
    [
        (EndsAnyway(), TEXT, "ends as if it were complete"),
        (CutsReads(), TEXT, "fed byte by byte, it gives other events"),
        (LosesText(), TEXT, "text: expected \"Hello! I'm doing well"),
        (LosesText(), TEXT, "streamed it means"),
        (TwoRoads(), TOOLS, "not streamed: stop_reason: expected 'tool_use', got 'end_turn'"),
        (Crashes(), TEXT, "KeyError: 'nope'"),
        (SwallowsErrors(), REFUSED, "expected the provider's words"),
        (SwallowsErrors(), REFUSED, "gives the kind 'oh_no'; known: invalid_request_error"),
        (SwallowsErrors(), [], "loses retry-after"),
        (ChangesRequests(), [], "encode of a short one: changed the request it was given"),
        (Random(), [], "does not go to the base URL"),
        (Relays(), TEXT, "relay: fed byte by byte, it comes out changed"),
        (RelaysAll(), TEXT, "relay: fed byte by byte, it has the outcome (False, None"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PlainDialect) else "",
)
def test_a_faulty_dialect_is_found_out(dialect: PlainDialect, cases: list[Recording], complaint: str) -> None:
    """
    Each fault is reported with the recording in which it shows.
    """
    with pytest.raises(AssertionError) as raised:
        check_dialect(dialect, cases)

    assert complaint in str(raised.value)


def test_the_seed_of_a_random_cut_is_told() -> None:
    """
    A fault that shows at some random cut can be found again.
    """

    class OftenEmpty(SseParser):
        def feed(self, item: bytes) -> Iterable[Chunk]:
            if not item:
                raise UpstreamError("an empty read")
            return list(super().feed(item))

    class Dialect(PlainDialect):
        framing = OftenEmpty

    with pytest.raises(AssertionError, match=rf"cut at random \(seed {SEED}\), it gives other events"):
        check_dialect(Dialect(), TEXT)


def test_ids_that_a_decoder_makes_are_no_difference() -> None:
    """
    Providers that give no ids leave it to the decoder to make some, and each run would make others.
    """

    class MakesIds(PlainDialect):
        def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
            def change(event: Event) -> Iterable[Event]:
                block = getattr(event, "block", {})
                if block.get("type") == "tool_use":
                    event = type(event)(event.key, {**block, "id": new_id("toolu")})  # type: ignore[union-attr, call-arg, arg-type]
                return (event,)

            return Filtered(super().decoder(request, ctx), change)

    check_dialect(MakesIds(), TOOLS)


def test_a_failure_in_mid_stream_must_not_be_swallowed() -> None:
    """
    A dialect that reads an error event as nothing is found out.
    """
    failure = b'data: {"type": "error", "error": {"type": "api_error", "message": "boom"}}\n\n'
    data = TEXT[0].response.replace(b"event: message_delta", failure + b"event: message_delta")
    broken = Recording(
        name="broken",
        dialect="anthropic",
        provider="x",
        model="x",
        stream=True,
        status=200,
        features=frozenset(),
        content_type="text/event-stream",
        response=data,
    )

    class Deaf(PlainDialect):
        def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
            def change(event: Event) -> Iterable[Event]:
                return () if isinstance(event, StreamError) else (event,)

            return Filtered(super().decoder(request, ctx), change)

    check_dialect(PlainDialect(), [broken])
    with pytest.raises(AssertionError, match="failed in mid-stream, and the answer ended normally"):
        check_dialect(Deaf(), [broken])


def test_a_good_ingress_passes() -> None:
    """
    The stand-in passes, down to every field of the message.
    """
    check_ingress(PlainIngress(), PlainDialect(), bodies=[ask(), ask(stream=False), claude_code_request()], exact=True)


class TakesAnything(PlainIngress):
    """Refuses nothing."""

    def decode(self, body: bytes, headers: Headers) -> Request:
        try:
            return super().decode(body, headers)
        except CcrError:
            return Request({"messages": []})


class Fails(PlainIngress):
    """Answers every error with 500."""

    def encode_error(self, error: CcrError) -> WireReply:
        return WireReply(status=500, body=b"sorry")


class Forgets(PlainIngress):
    """Leaves the thinking out of whole answers."""

    def encode_message(self, message: JSON, request: Request) -> bytes:
        content = [block for block in message["content"] if block["type"] != "thinking"]
        return super().encode_message({**message, "content": content}, request)


class Silent(PlainIngress):
    """Does not tell errors inside a stream."""

    def encoder(self, request: Request) -> Push[Event, bytes]:
        inner = super().encoder(request)

        class Encoder(Push[Event, bytes]):
            def feed(self, item: Event) -> Iterable[bytes]:
                return () if isinstance(item, StreamError) else inner.feed(item)

        return Encoder()


class Other(PlainIngress):
    """Says that it is another, and always wants a stream."""

    def decode(self, body: bytes, headers: Headers) -> Request:
        request = super().decode(body, headers)
        return Request({**request.body, "stream": True}, ingress="other")


@pytest.mark.parametrize(
    ("ingress", "complaint"),
    [
        (TakesAnything(), "a body that is nothing: is accepted"),
        (Fails(), "encode_error of RequestError: gives status 500"),
        (Fails(), "loses {'retry-after': '7'}"),
        (Forgets(), "thinking, whole: expected"),
        (Silent(), "the client does not read the error"),
        (Other(), "gives a request of the ingress 'other'"),
        (Other(), "asks for stream=None and gets True"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PlainIngress) else "",
)
def test_a_faulty_ingress_is_found_out(ingress: PlainIngress, complaint: str) -> None:
    """
    Each fault of a client format is reported.
    """
    with pytest.raises(AssertionError) as raised:
        check_ingress(ingress, PlainDialect(), bodies=[ask(stream=False)])

    assert complaint in str(raised.value)
