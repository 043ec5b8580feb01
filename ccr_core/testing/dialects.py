"""Checks of the two ends of an exchange: dialects (what providers speak) and ingresses (what clients speak)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from ccr_core.dialect import Context, Dialect, Ingress, Outcome, Target, WireReply, WireRequest
from ccr_core.errors import (
    STATUSES,
    AuthError,
    CcrError,
    ConfigError,
    PluginError,
    RequestError,
    RoutingError,
    UpstreamError,
)
from ccr_core.events import Event, Ping, StreamError, assemble, explode
from ccr_core.messages import JSON, Request
from ccr_core.push import Pipe, Stage
from ccr_core.sequence import Sequencer
from ccr_core.testing.bodies import as_request, ask, claude_code_history, claude_code_request
from ccr_core.testing.grammar import check_stream, to_wire
from ccr_core.testing.recordings import (
    Expected,
    Meaning,
    Recording,
    expected,
    fold_anthropic,
    is_end,
    whole,
)
from ccr_core.testing.samples import (
    PLAIN,
    SEED,
    Findings,
    frozen_copy,
    pieces,
    random_pieces,
    reason,
    recut,
    steady_ids,
)

BYTE_BY_BYTE = 12_000
"""A longer recording is fed byte by byte at its beginning and its end only."""

_USAGE = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def context(
    model: str = "big", *, dialect: Dialect | None = None, notes: list[tuple[str, Any]] | None = None
) -> Context:
    """A context as the engine makes it, for the provider ``acme``; ``notes`` gathers what is noted."""
    options = dialect.options() if dialect is not None and dialect.options is not None else None
    target = Target(provider="acme", model=model, base_url="https://api.example/v1", options=options)
    gathered = notes if notes is not None else []
    return Context(exchange_id="test", target=target, note=lambda key, value: gathered.append((key, value)))


@attrs.frozen
class Decoded:
    """What came out of a decoder: its events, those that left the Sequencer, and how it failed, if it did."""

    events: list[Event]
    sequenced: list[Event]
    error: BaseException | None

    @property
    def so_far(self) -> JSON:
        """The message that the sequenced events make, complete or not."""
        message = fold_anthropic(event for event in to_wire(self.sequenced) if event["type"] != "error").body
        return message or {"content": []}


def decode(dialect: Dialect, parts: Iterable[bytes], request: Request, ctx: Context) -> Decoded:
    """Send the bytes of a streamed answer, in ``parts``, through framing, decoder and Sequencer, as the engine does."""
    events: list[Event] = []

    def watch(event: Event) -> tuple[Event]:
        events.append(event)
        return (event,)

    decoder = dialect.decoder(request, ctx)
    pipe = Pipe(
        [
            Stage.of(dialect.framing(), "framing"),
            Stage.of(decoder, "decoder"),
            Stage(watch, lambda: (), "watch", "ccr-core"),
            Stage.of(Sequencer(), "sequence"),
        ]
    )
    out: list[Event] = []
    error: BaseException | None = None
    try:
        for part in parts:
            pipe.push(part, out)
        pipe.end(out)
    except CcrError as raised:
        error = raised
    return Decoded(events, out, error)


def check_dialect(
    dialect: Dialect,
    recordings: Iterable[Recording],
    *,
    request: Callable[[Recording], Request] | None = None,
    oracle: Callable[[Recording], Expected | None] | None = None,
    is_end: Callable[[Any], bool] | None = None,
    cuts: int = 6,
    seed: int = SEED,
) -> None:
    """Raise ``AssertionError`` with everything that is wrong with ``dialect``.

    Each streamed recording is fed whole, in pieces of 1, 7 and 4096 bytes and at ``cuts`` random cuts: the events
    are the same each time, lawful after the Sequencer, and mean what the oracle says; so does the whole answer that
    the stream amounts to.  Cut off at its events and inside them it gives a lawful beginning and then
    ``ProtocolError`` or another ``UpstreamError``, never a normal end that lacks something.  Refusals map to a kind.
    Requests are encoded without being changed.

    ``request`` makes the request that a recording answers (default: a short one that names the recorded tools).
    ``oracle`` and ``is_end`` (whether the data of a chunk may end an answer) are needed for formats that
    ``ccr_core.testing.recordings`` does not know.  Random cuts begin at ``seed``.
    """
    findings = Findings(f"dialect {dialect.name}")
    known = oracle or _oracle
    for recording in recordings:
        says = known(recording)
        asked = request(recording) if request else request_for(recording, says)
        with steady_ids():
            if recording.failed:
                _check_refusal(dialect, recording, says, findings)
            elif recording.stream:
                _check_streamed(dialect, recording, says, asked, is_end, cuts, seed, findings)
            else:
                _check_whole(dialect, recording.name, json.loads(recording.response), says, asked, findings)
    _check_errors(dialect, findings)
    _check_encode(dialect, findings)
    findings.report()


def _oracle(recording: Recording) -> Expected | None:
    try:
        return expected(recording)
    except LookupError:
        return None


def request_for(recording: Recording, says: Expected | None) -> Request:
    """A request that ``recording`` may be the answer to."""
    if recording.dialect == "anthropic" and recording.request is not None:
        return as_request(recording.request)
    names = sorted({call.name for call in says.calls}) if says else []
    return as_request(ask(tools=names, stream=recording.stream, model=recording.model))


# --- one recording ------------------------------------------------------------------------------------------


def _check_streamed(
    dialect: Dialect,
    recording: Recording,
    says: Expected | None,
    request: Request,
    ends: Callable[[Any], bool] | None,
    cuts: int,
    seed: int,
    findings: Findings,
) -> None:
    data = recording.response
    ctx = context(recording.model, dialect=dialect)

    def run(parts: Iterable[bytes]) -> Decoded:
        with steady_ids():
            return decode(dialect, parts, request, ctx)

    full = run([data])
    for how, parts in _ways(data, cuts, seed):
        again = run(parts)
        if again.events != full.events or repr(again.error) != repr(full.error):
            findings.add(recording.name, f"{how} gives other events than the whole: {_first(full, again)}")
            break
    if full.error is not None and not isinstance(full.error, UpstreamError):
        findings.add(recording.name, f"the decoder failed: {full.error}")
        return
    findings.add(recording.name, *_unlawful(full.sequenced, complete=full.error is None))
    if says is not None and says.failure is not None:
        if full.error is None:
            findings.add(recording.name, "the provider failed in mid-stream, and the answer ended normally")
            return
        findings.add(recording.name, *says.failure.differences(str(full.error), None))
        findings.add(recording.name, *attrs.evolve(says, open=False).differences(full.so_far))
        return
    if full.error is not None:
        findings.add(recording.name, f"a good answer was refused: {full.error}")
        return
    message = assemble(full.sequenced)
    if says is not None:
        findings.add(recording.name, *says.differences(message))
        _check_twin(dialect, recording, message, says, request, findings)
    _check_cut_off(dialect, recording, full, run, ends, findings)
    _check_relay(dialect, recording, message, request, ctx, cuts, seed, findings)


def _ways(data: bytes, cuts: int, seed: int) -> Iterator[tuple[str, Iterable[bytes]]]:
    if len(data) <= BYTE_BY_BYTE:
        yield "fed byte by byte, it", pieces(data, 1)
    else:
        end = BYTE_BY_BYTE // 4
        middle = data[BYTE_BY_BYTE - end : -end]
        yield (
            "fed byte by byte at both ends, it",
            [*pieces(data[: BYTE_BY_BYTE - end], 1), *pieces(middle, 61), *pieces(data[-end:], 1)],
        )
    yield "cut into 7 bytes, it", pieces(data, 7)
    yield "cut into 4096 bytes, it", pieces(data, 4096)
    for number in range(cuts):
        yield f"cut at random (seed {seed + number}), it", random_pieces(data, seed + number)


def _first(one: Decoded, other: Decoded) -> str:
    for number, (left, right) in enumerate(zip(one.events, other.events, strict=False)):
        if left != right:
            return f"event {number} was {left!r}, is {right!r}"
    return f"there were {len(one.events)} ({one.error!r}), there are {len(other.events)} ({other.error!r})"


def _unlawful(events: Iterable[Any], *, complete: bool | None) -> list[str]:
    try:
        check_stream(events, complete=complete)
    except AssertionError as error:
        return [str(error)]
    return []


def _check_whole(
    dialect: Dialect, name: str, body: JSON, says: Expected | None, request: Request, findings: Findings
) -> JSON | None:
    """Decode a whole answer; its message, if it is one."""
    before = frozen_copy(body)
    sequencer = Sequencer()
    events: list[Event] = []
    try:
        for event in dialect.decode_body(body, request, context(request.model, dialect=dialect)):
            events += sequencer.feed(event)
        events += sequencer.flush()
    except UpstreamError as error:
        if says is None or says.failure is None:
            findings.add(name, f"a good whole answer was refused: {error}")
        return None
    except Exception as error:
        findings.add(name, f"decode_body failed: {reason(error)}")
        return None
    if before != frozen_copy(body):
        findings.add(name, "decode_body changed the body it was given")
    if says is not None and says.failure is not None:
        findings.add(name, "the provider failed, and the whole answer is a success")
        return None
    findings.add(name, *_unlawful(events, complete=True))
    message = assemble(events)
    if says is not None:
        findings.add(name, *(f"not streamed: {line}" for line in says.differences(message)))
    return message


def _check_twin(
    dialect: Dialect, recording: Recording, message: JSON, says: Expected, request: Request, findings: Findings
) -> None:
    """The stream means the same as the whole answer that it amounts to."""
    try:
        body = whole(recording).body
    except LookupError:
        return
    with steady_ids():
        twin = _check_whole(dialect, recording.name, body, says, request, findings)
    if twin is None:
        return
    if Meaning.of(message) != Meaning.of(twin):
        findings.add(recording.name, f"streamed it means {Meaning.of(message)}, not streamed {Meaning.of(twin)}")
    figures = [{field: one["usage"].get(field) or 0 for field in _USAGE} for one in (message, twin)]
    if figures[0] != figures[1]:
        findings.add(recording.name, f"streamed it has the usage {figures[0]}, not streamed {figures[1]}")


def _check_cut_off(
    dialect: Dialect,
    recording: Recording,
    full: Decoded,
    run: Callable[[Iterable[bytes]], Decoded],
    ends: Callable[[Any], bool] | None,
    findings: Findings,
) -> None:
    data = recording.response
    ends = ends or (lambda chunk: is_end(recording.dialect, chunk))
    meant = Meaning.of(assemble(full.sequenced))
    for size in _places(data):
        part = data[:size]
        got = run([part])
        findings.add(
            f"{recording.name} cut after {size} of {len(data)} bytes", *_unlawful(got.sequenced, complete=None)
        )
        if got.error is not None:
            if not isinstance(got.error, UpstreamError):
                findings.add(recording.name, f"cut after {size} bytes it fails with {reason(got.error)}")
            elif got.sequenced != full.sequenced[: len(got.sequenced)]:
                findings.add(recording.name, f"cut after {size} bytes it begins otherwise than the whole")
            continue
        if not any(ends(chunk.data) for chunk in dialect.framing().feed(part)):
            findings.add(recording.name, f"cut after {size} of {len(data)} bytes it ends as if it were complete")
        elif Meaning.of(assemble(got.sequenced)) != meant:
            findings.add(recording.name, f"cut after {size} of {len(data)} bytes it ends normally, and something lacks")


def _places(data: bytes) -> list[int]:
    """Where to cut a stream off: after its events and inside them; of long streams the two ends and some between."""
    bounds = [0]
    at = 0
    while at < len(data):
        found = min((end for end in (data.find(mark, at) for mark in (b"\n\n", b"\r\n\r\n")) if end >= 0), default=-1)
        if found < 0:
            break
        at = found + (4 if data[found : found + 1] == b"\r" else 2)
        bounds.append(at)
    inside = [(one + other) // 2 for one, other in itertools.pairwise(bounds)]
    if len(bounds) < 2:
        inside = [len(data) // 3, len(data) * 2 // 3]
    return sorted({place for place in (*_some(bounds[:-1]), *_some(inside)) if place < len(data)})


def _some(places: Sequence[int], most: int = 24) -> list[int]:
    if len(places) <= most:
        return list(places)
    ends = most // 3
    middle = places[ends:-ends]
    return [*places[:ends], *middle[:: max(1, len(middle) // ends)], *places[-ends:]]


def _check_relay(
    dialect: Dialect,
    recording: Recording,
    message: JSON,
    request: Request,
    ctx: Context,
    cuts: int,
    seed: int,
    findings: Findings,
) -> None:
    """A relay passes the bytes on as they are, knows what they meant, and does not end what was cut."""
    if dialect.relay(request, ctx, Outcome()) is None:
        return
    data = recording.response
    for how, parts in _ways(data, cuts, seed):
        outcome = Outcome()
        relay = dialect.relay(request, ctx, outcome)
        assert relay is not None
        try:
            passed = b"".join([*(out for part in parts for out in relay.feed(part)), *relay.flush()])
        except UpstreamError as error:
            findings.add(recording.name, f"relay: {how} was refused: {error}")
            return
        if passed != data:
            findings.add(recording.name, f"relay: {how} comes out changed")
            return
        told = (outcome.complete, outcome.stop_reason, {f: outcome.usage.get(f) or 0 for f in _USAGE})
        meant = (True, message["stop_reason"], {f: message["usage"].get(f) or 0 for f in _USAGE})
        if told != meant:
            findings.add(recording.name, f"relay: {how} has the outcome {told}, expected {meant}")
            return
    for size in _places(data):
        relay = dialect.relay(request, ctx, Outcome())
        assert relay is not None
        try:
            passed = b"".join([*relay.feed(data[:size]), *relay.flush()])
        except UpstreamError:
            continue
        if Meaning.of(fold_anthropic(_parsed(dialect, passed)).body) != Meaning.of(message):
            findings.add(recording.name, f"relay: cut after {size} of {len(data)} bytes it ends normally")


def _parsed(dialect: Dialect, data: bytes) -> Iterator[JSON]:
    return (chunk.data for chunk in dialect.framing().feed(data) if isinstance(chunk.data, dict))


# --- errors and requests ------------------------------------------------------------------------------------


def _check_refusal(dialect: Dialect, recording: Recording, says: Expected | None, findings: Findings) -> None:
    reply = WireReply(status=recording.status, headers=recording.headers, body=recording.response)
    error = dialect.decode_error(reply)
    if error.kind not in STATUSES:
        findings.add(recording.name, f"decode_error gives the kind {error.kind!r}; known: {', '.join(STATUSES)}")
    if says is not None and says.failure is not None:
        findings.add(recording.name, *says.failure.differences(error.message, error.status))


_BODIES: Mapping[str, bytes] = {
    "an object": b'{"error": {"message": "too much", "type": "x", "code": "y"}}',
    "a text": b"too much",
    "a list": b'[{"error": {"code": 1, "message": "too much", "status": "Z"}}]',
    "an odd object": b'{"error": "too much"}',
    "a page": b"<html><body><h1>too much</h1></body></html>",
    "nothing": b"",
    "null": b"null",
    "no text at all": b"\xff\xfe\x00",
}


def _check_errors(dialect: Dialect, findings: Findings) -> None:
    for status in (400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529):
        for what, body in _BODIES.items():
            where = f"decode_error of {what} with status {status}"
            try:
                error = dialect.decode_error(WireReply(status=status, headers={"retry-after": "7"}, body=body))
            except Exception as raised:
                findings.add(where, f"fails: {reason(raised)}")
                continue
            if error.kind not in STATUSES:
                findings.add(where, f"gives the kind {error.kind!r}; known: {', '.join(STATUSES)}")
            if error.status // 100 != status // 100 or (status == 429 and error.status != 429):
                findings.add(where, f"gives status {error.status}")
            if b"too much" in body and "too much" not in error.message:
                findings.add(where, f"loses the provider's words: {error.message!r}")
            if not error.message:
                findings.add(where, "has no message")
            if error.headers.get("retry-after") != "7":
                findings.add(where, "loses retry-after")


def sample_requests() -> dict[str, JSON]:
    """Bodies of requests that every dialect, transformer and rule must take, by what is in them."""
    return {
        "a short one": ask(),
        "a plain one": ask(stream=False),
        "one with tools": ask(tools=["get_weather"], tool_choice={"type": "auto"}),
        "one of Claude Code": claude_code_request(),
        "a long one of Claude Code": claude_code_request(history=claude_code_history()),
    }


def _check_encode(dialect: Dialect, findings: Findings) -> None:
    for what, body in sample_requests().items():
        before = frozen_copy(body)
        try:
            with steady_ids():
                wire = dialect.encode(as_request(body), context(dialect=dialect))
            with steady_ids():
                again = dialect.encode(as_request(body), context(dialect=dialect))
        except Exception as error:
            findings.add(f"encode of {what}", f"fails: {reason(error)}")
            continue
        if before != frozen_copy(body):
            findings.add(f"encode of {what}", "changed the request it was given")
        if not isinstance(wire, WireRequest) or not wire.url.startswith("https://api.example/"):
            findings.add(f"encode of {what}", f"does not go to the base URL: {wire!r}"[:200])
        elif wire != again:
            findings.add(f"encode of {what}", "gives another request the second time")
        else:
            try:
                frozen_copy(wire.body)
            except TypeError as error:
                findings.add(f"encode of {what}", f"gives a body that is not JSON: {error}")
            if any(name != name.lower() for name in wire.headers):
                findings.add(f"encode of {what}", "gives header names that are not in lower case")


# --- ingress ------------------------------------------------------------------------------------------------

_BROKEN: Mapping[str, bytes] = {
    "nothing": b"",
    "half an object": b'{"model": "x", ',
    "a list": b"[]",
    "a text": b'"x"',
    "no text at all": b"\xff\xfe",
    "numbers for fields": b'{"model": 5, "messages": 7}',
    "no conversation": b'{"model": "x"}',
}

_ERRORS: tuple[CcrError, ...] = (
    ConfigError("told"),
    RequestError("told", 413),
    RoutingError("told"),
    AuthError("told"),
    PluginError("p", "s", "m", ValueError("told")),
    UpstreamError("told", 429, headers={"retry-after": "7"}),
    UpstreamError("told", 529),
)


def check_ingress(
    ingress: Ingress,
    dialect: Dialect,
    *,
    bodies: Iterable[JSON],
    messages: Mapping[str, JSON] = PLAIN,
    exact: bool = False,
    cuts: int = 4,
    seed: int = SEED,
) -> None:
    """Raise ``AssertionError`` with everything that is wrong with ``ingress``: the mirror of :func:`check_dialect`.

    ``bodies`` are requests of such clients: each becomes a canonical request.  Broken ones are refused with
    ``RequestError``.  Each of ``messages``, cut into events in several ways and with pings between, is encoded as a
    stream and whole; ``dialect``, which must speak the same format, reads both back to the same meaning (``exact``:
    to the same message).  An error is told at any time, and keeps its status, words and ``retry-after``.
    """
    findings = Findings(f"ingress {ingress.name}")
    request = as_request(ask())
    for number, body in enumerate(bodies):
        try:
            decoded = ingress.decode(json.dumps(body).encode(), {"content-type": "application/json"})
        except Exception as error:
            findings.add(f"body {number}", f"is refused: {reason(error)}")
            continue
        request = decoded
        if not isinstance(decoded.body.get("messages"), list) or not decoded.body["messages"]:
            findings.add(f"body {number}", "gives a request without messages")
        if decoded.ingress != ingress.name:
            findings.add(f"body {number}", f"gives a request of the ingress {decoded.ingress!r}")
        if decoded.stream != (body.get("stream") is True):
            findings.add(f"body {number}", f"asks for stream={body.get('stream')!r} and gets {decoded.stream}")
    for what, broken in _BROKEN.items():
        try:
            ingress.decode(broken, {})
        except RequestError:
            continue
        except Exception as error:
            findings.add(f"a body that is {what}", f"fails with {reason(error)} instead of RequestError")
        else:
            findings.add(f"a body that is {what}", "is accepted")
    for what, message in messages.items():
        _check_told(ingress, dialect, what, message, request, exact, cuts, seed, findings)
    for told in _ERRORS:
        reply = ingress.encode_error(told)
        where = f"encode_error of {type(told).__name__}"
        if reply.status != told.status or b"told" not in reply.body:
            findings.add(where, f"gives status {reply.status} and {reply.body!r}")
        if isinstance(told, UpstreamError) and told.headers.items() - dict(reply.headers).items():
            findings.add(where, f"loses {told.headers}")
    if ingress.count_paths and b"42" not in ingress.encode_count(42):
        findings.add("encode_count", f"does not tell the count: {ingress.encode_count(42)!r}")
    findings.report()


def _check_told(
    ingress: Ingress,
    dialect: Dialect,
    what: str,
    message: JSON,
    request: Request,
    exact: bool,
    cuts: int,
    seed: int,
    findings: Findings,
) -> None:
    ctx = context(message["model"], dialect=dialect)

    def same(where: str, got: JSON) -> None:
        one, other = (message, got) if exact else (Meaning.of(message), Meaning.of(got))
        if one != other:
            findings.add(where, f"expected {one}, got {other}")

    events = list(_sequenced(explode(message)))
    for number in range(cuts):
        where = f"{what}, streamed (seed {seed + number})"
        encoder = ingress.encoder(request)
        out: list[bytes] = []
        try:
            for event in recut(events, seed + number):
                out += encoder.feed(event)
                out += encoder.feed(Ping()) if number else ()
            out += encoder.flush()
        except Exception as error:
            findings.add(where, f"the encoder failed: {reason(error)}")
            return
        got = decode(dialect, [b"".join(out)], request, ctx)
        if got.error is not None:
            findings.add(where, f"it cannot be read back: {got.error}")
            return
        same(where, assemble(got.sequenced))
    for size in (1, len(events) // 2, len(events) - 1):
        encoder = ingress.encoder(request)
        begun = [part for event in events[:size] for part in encoder.feed(event)]
        failed = [*begun, *encoder.feed(StreamError("overloaded_error", "told"))]
        got = decode(dialect, [b"".join(failed)], request, ctx)
        if got.error is None or "told" not in str(got.error):
            findings.add(f"{what}, failing after {size} events", f"the client does not read the error: {got.error!r}")
    body = json.loads(ingress.encode_message(message, request))
    try:
        same(f"{what}, whole", assemble(list(_sequenced(dialect.decode_body(body, request, ctx)))))
    except CcrError as error:
        findings.add(f"{what}, whole", f"it cannot be read back: {error}")


def _sequenced(events: Iterable[Event]) -> Iterator[Event]:
    sequencer = Sequencer()
    for event in events:
        yield from sequencer.feed(event)
    yield from sequencer.flush()
