"""Trying out transformers and rules: one at a time for tests of what they do, and checks of what all must keep to."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from ccr_core.config import Problems, keys_of, structure
from ccr_core.dialect import Context, Target, WireRequest
from ccr_core.events import BlockDelta, Event, MessageDelta, MessageStop, Ping, StreamError, Unknown, assemble, explode
from ccr_core.messages import JSON, Request
from ccr_core.push import Pipe, Stage
from ccr_core.routing import Decision, Pass, RouteContext, find_route
from ccr_core.sequence import Sequencer
from ccr_core.spec import RuleSpec, TransformerSpec
from ccr_core.sse import Chunk
from ccr_core.testing.bodies import as_request, ask
from ccr_core.testing.dialects import sample_requests
from ccr_core.testing.grammar import check_stream
from ccr_core.testing.samples import RICH, SEED, Findings, frozen_copy, reason, recut, steady_ids
from ccr_core.transform import Chain, Step

PROVIDERS: Mapping[str, tuple[str, ...]] = {"acme": ("big", "small"), "local": ("tiny",)}
"""The providers that a rule finds in :func:`check_rule` unless others are given."""


def options_of(spec: Any, options: Any) -> Any:
    """``options`` as the configuration would make them for ``spec``: a mapping is read strictly, as from a file.

    Raises ``ConfigError`` for what is wrong with them.
    """
    if spec.options is None or (options is not None and not isinstance(options, Mapping)):
        return options
    problems = Problems()
    made = structure(spec.options, dict(options or {}), spec.name, problems, f"option of {spec.name}")
    problems.raise_if_any(None)
    return made


class Trial:
    """One attempt of the router with a single transformer in the chain.

    Use each trial for one request and its one answer, as the engine does; ``notes`` gathers what was noted.
    """

    def __init__(self, spec: TransformerSpec, options: Any = None, *, target: Target | None = None) -> None:
        self.notes: list[tuple[str, Any]] = []
        target = target or Target(provider="acme", model="big", base_url="https://api.example/v1")
        ctx = Context(exchange_id="test", target=target, note=lambda key, value: self.notes.append((key, value)))
        self._chain = Chain([Step(spec, options_of(spec, options), "test", "test")], ctx)

    def request(self, request: Request | JSON) -> Request:
        """The request after the transformer."""
        return self._chain.on_request(request if isinstance(request, Request) else as_request(request))

    def wire(self, wire: WireRequest | JSON) -> WireRequest:
        """The request in the provider's format after the transformer; a body alone will do."""
        if not isinstance(wire, WireRequest):
            wire = WireRequest(url="https://api.example/v1/chat/completions", body=wire)
        return self._chain.on_wire_request(wire)

    def chunks(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """The provider's chunks after the transformer."""
        return _through(self._chain.wire_stages(), chunks)

    def events(self, events: Iterable[Event]) -> list[Event]:
        """The events of an answer after the transformer; the end included."""
        return _through(self._chain.stages(), events)

    def message(self, answer: JSON | Iterable[Event]) -> JSON:
        """The message that an answer, whole or in events, has become when it reaches the client."""
        events = explode(answer) if isinstance(answer, dict) else answer
        sequencer = Stage.of(Sequencer(), "sequencer")
        return assemble(_through([*self._chain.stages(), sequencer], events))

    def stages(self) -> list[Stage]:
        """The transformer's place in the pipe; empty if it does not touch answers."""
        return self._chain.stages()


def _through(stages: Sequence[Stage], items: Iterable[Any]) -> list[Any]:
    if not stages:
        return list(items)
    pipe = Pipe(stages)
    out: list[Any] = []
    for item in items:
        pipe.push(item, out)
    pipe.end(out)
    return out


def check_transformer(
    spec: TransformerSpec,
    options: Any = None,
    *,
    requests: Mapping[str, JSON] | None = None,
    messages: Mapping[str, JSON] | None = None,
    bodies: Iterable[JSON] = (),
    chunks: Iterable[Sequence[Chunk]] = (),
    target: Target | None = None,
    cuts: int = 5,
    seed: int = SEED,
) -> None:
    """Raise ``AssertionError`` with everything that is wrong with a transformer.

    What it is given stays as it was.  Answers come out the same however their deltas are cut, in a stream or whole,
    and as lawful as they went in.  Pings, errors, events and blocks of unknown kinds pass unchanged, alone and
    between others.  Two attempts at a time do not disturb each other.  What was cut off does not come out complete.

    ``requests`` and ``messages`` (by what is in them) are tried beside the built-in ones; ``bodies`` are request
    bodies and ``chunks`` streams in the provider's format, for steps that work there.  Random cuts begin at ``seed``.
    """
    findings = Findings(f"transformer {spec.name}")
    if not spec.summary:
        findings.add("spec", "it has no summary")
    made = options_of(spec, options)

    def trial() -> Trial:
        return Trial(spec, made, target=target)

    for what, body in {**sample_requests(), **(requests or {})}.items():
        _check_request(trial, what, body, findings)
    for wire_body in (ask(), *bodies):
        _check_wire_request(trial, wire_body, findings)
    example = next(iter((requests or sample_requests()).values()))
    for what, message in {**RICH, **(messages or {})}.items():
        _check_answer(trial, example, what, message, cuts, seed, findings)
    for stream in (*chunks, [Chunk("[DONE]")], [Chunk({"x-unknown": [1, None]}, "x-unknown")]):
        _check_chunks(trial, stream, stream[0].event == "x-unknown", findings)
    findings.report()


def _check_request(trial: Any, what: str, body: JSON, findings: Findings) -> None:
    request = as_request(copy.deepcopy(body))
    before = frozen_copy(request.body)
    try:
        with steady_ids():
            after = trial().request(request)
        with steady_ids():
            again = trial().request(request)
    except Exception as error:
        findings.add(what, f"on_request failed: {reason(error)}")
        return
    if before != frozen_copy(request.body):
        findings.add(what, "on_request changed the request it was given; change a copy (request.with_)")
    try:
        if frozen_copy(after.body) != frozen_copy(again.body):
            findings.add(what, "on_request gives another request the second time")
    except TypeError as error:
        findings.add(what, f"on_request gave a body that is not JSON: {error}")


def _check_wire_request(trial: Any, body: JSON, findings: Findings) -> None:
    body = copy.deepcopy(body)
    wire = WireRequest(url="https://api.example/v1/chat/completions", headers={"x-kept": "1"}, body=body)
    before = frozen_copy(body)
    attempt = trial()
    try:
        attempt.request(ask())
        attempt.wire(wire)
    except Exception as error:
        findings.add("a body for the provider", f"on_wire_request failed: {reason(error)}")
        return
    if before != frozen_copy(body) or dict(wire.headers) != {"x-kept": "1"}:
        findings.add("a body for the provider", "on_wire_request changed what it was given; change a copy")


def _check_answer(
    trial: Any, example: JSON, what: str, message: JSON, cuts: int, seed: int, findings: Findings
) -> None:
    def attempt() -> Trial:
        made: Trial = trial()
        made.request(example)
        return made

    try:
        if not attempt().stages():
            return
    except Exception:
        # Reported where the request itself was tried.
        return
    events = list(explode(message))
    before = copy.deepcopy(events)
    try:
        with steady_ids():
            whole = attempt().message(events)
    except Exception as error:
        findings.add(what, f"fails: {reason(error)}")
        return
    if before != events:
        findings.add(what, "changed an event it was given; make another")
    for number in range(cuts):
        where = f"{what}, cut at random (seed {seed + number})"
        _check_cut(attempt, where, whole, list(recut(events, seed + number)), seed + number, findings)
    for block in message["content"]:
        if block["type"] == "vendor_block" and block not in whole["content"]:
            findings.add(what, f"a block of an unknown kind did not pass unchanged: {whole['content']}")
    with steady_ids():
        together = _interleaved(attempt(), attempt(), events)
    if together != [_without_ids(whole)] * 2:
        findings.add(what, "two answers at the same time disturb each other: keep state on self, not on the class")
    _check_cut_off(attempt, what, events, findings)


def _check_cut(attempt: Any, where: str, whole: JSON, events: list[Event], seed: int, findings: Findings) -> None:
    rng = random.Random(seed)
    strangers: list[Event] = []
    mixed: list[Event] = []
    for event in events:
        mixed.append(event)
        if rng.random() < 0.3:
            unknown = Unknown("x_unknown", {"type": "x_unknown", "n": len(strangers)})
            strangers.append(Ping() if rng.random() < 0.5 else unknown)
            mixed.append(strangers[-1])
    try:
        with steady_ids():
            plain = attempt().message(events)
        with steady_ids():
            out = attempt().events(mixed)
        sequencer = Sequencer()
        lawful = [told for event in out for told in sequencer.feed(event)]
    except Exception as error:
        findings.add(where, f"fails: {reason(error)}")
        return
    if plain != whole:
        findings.add(where, f"gives another message than uncut: expected {whole}, got {plain}")
    try:
        check_stream(lawful, complete=True)
    except AssertionError as error:
        findings.add(where, str(error))
        return
    if assemble(lawful) != whole:
        findings.add(where, f"gives another message with pings between: expected {whole}, got {assemble(lawful)}")
    passed = [event for event in out if isinstance(event, Ping | Unknown)]
    if passed != strangers:
        findings.add(where, f"pings and unknown events did not pass: expected {strangers}, got {passed}")


def _without_ids(message: JSON) -> JSON:
    return {
        **message,
        "content": [{key: block[key] for key in block if key != "id"} for block in message["content"]],
    }


def _interleaved(one: Trial, other: Trial, events: list[Event]) -> list[JSON]:
    pipes = [Pipe([*trial.stages(), Stage.of(Sequencer(), "sequencer")]) for trial in (one, other)]
    outs: list[list[Event]] = [[], []]
    for event in events:
        for pipe, out in zip(pipes, outs, strict=True):
            pipe.push(event, out)
    for pipe, out in zip(pipes, outs, strict=True):
        pipe.end(out)
    return [_without_ids(assemble(out)) for out in outs]


def _check_cut_off(attempt: Any, what: str, events: list[Event], findings: Findings) -> None:
    for size in range(1, len(events)):
        part = [event for event in events[:size] if not isinstance(event, MessageDelta | MessageStop)]
        try:
            out = attempt().events(part)
        except Exception as error:
            findings.add(what, f"fails when the answer is cut after {size} events: {reason(error)}")
            return
        if any(isinstance(event, MessageStop) for event in out):
            findings.add(what, f"cut after {size} events it comes out as if it were complete")
            return
    failure = StreamError("overloaded_error", "told")
    for size in range(1, len(events)):
        if failure not in attempt().events([*events[:size], failure]):
            findings.add(what, f"an error of the provider after {size} events does not pass")
            return
    novel = BlockDelta("new", {"type": "x_delta", "value": 1})
    if novel not in attempt().events([novel]):
        findings.add(what, "a delta of an unknown kind does not pass")


def _check_chunks(trial: Any, stream: Sequence[Chunk], stranger: bool, findings: Findings) -> None:
    before = copy.deepcopy(list(stream))
    attempt = trial()
    try:
        attempt.request(ask())
        out = attempt.chunks(stream)
    except Exception as error:
        findings.add("chunks of the provider", f"feed_wire failed: {reason(error)}")
        return
    if before != list(stream):
        findings.add("chunks of the provider", "feed_wire changed a chunk it was given; make another")
    if stranger and out != list(stream):
        findings.add("chunks of the provider", f"a chunk of an unknown kind did not pass unchanged: {out}")


# --- rules --------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class RuleCase:
    """A request and what a rule must say to it.

    ``model`` is the decision's model, ``None`` if the rule passes.  ``router`` is the ``Router`` section, of which
    the rule takes the keys of its options.  ``request_body`` is the body of the changed request that the rule gives,
    where that matters.
    """

    body: JSON = attrs.Factory(ask)
    model: str | None = None
    headers: Mapping[str, str] = attrs.Factory(dict)
    router: Mapping[str, Any] = attrs.Factory(dict)
    config: Mapping[str, Any] = attrs.Factory(dict)
    tokens: int | None = None
    last_usage: JSON | None = None
    providers: Mapping[str, Sequence[str]] = PROVIDERS
    windows: Mapping[str, int] = attrs.Factory(dict)
    scenario: str | None = None
    request_body: JSON | None = None


def ask_rule(spec: RuleSpec, case: RuleCase) -> Decision | Pass:
    """What the rule says to ``case``; coroutine functions are run to their end."""
    return _decide(spec, *_arguments(spec, case))


def _decide(spec: RuleSpec, request: Request, context: RouteContext) -> Decision | Pass:
    said: Any = spec.decide(request, context)
    if not isinstance(said, Decision | Pass):
        # In a thread of its own, so that it works inside and outside of a running loop.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            said = pool.submit(asyncio.run, _awaited(said)).result(timeout=10)
    if not isinstance(said, Decision | Pass):
        raise AssertionError(f"rule {spec.name} gave {said!r}; expected a Decision or a Pass")
    return said


async def _awaited(said: Any) -> Any:
    return await said


def _arguments(spec: RuleSpec, case: RuleCase) -> tuple[Request, RouteContext]:
    request = as_request(copy.deepcopy(case.body), case.headers)
    options = None
    if spec.options is not None:
        keys = keys_of(spec.options)
        options = options_of(spec, {key: value for key, value in case.router.items() if key in keys})
    context = RouteContext(
        options=options,
        router=case.router,
        config=case.config,
        hints=request.hints,
        requested_model=request.model,
        find=lambda text: find_route(text, case.providers),
        tokens=case.tokens,
        last_usage=case.last_usage,
        window=lambda route: case.windows.get(f"{route.provider},{route.model}"),
    )
    return request, context


def check_rule(spec: RuleSpec, cases: Iterable[RuleCase]) -> None:
    """Raise ``AssertionError`` with everything that is wrong with a rule.

    Each case is decided as it says, with a reason, twice the same, and without changing the request.  Requests of
    all shapes (a plain text for system, no metadata, an empty conversation) are no cause for an exception.
    """
    findings = Findings(f"rule {spec.name}")
    if not spec.summary:
        findings.add("spec", "it has no summary")
    cases = list(cases)
    for number, case in enumerate(cases):
        _check_case(spec, f"case {number}", case, findings)
    router = cases[0].router if cases else {}
    for what, body in {**sample_requests(), **_ODD}.items():
        case = RuleCase(body=body, router=router, tokens=100)
        request, context = _arguments(spec, case)
        before = frozen_copy(request.body)
        try:
            if not _decide(spec, request, context).why:
                findings.add(what, "it gives no reason")
        except Exception as error:
            findings.add(what, f"it fails: {reason(error)}")
        if before != frozen_copy(request.body):
            findings.add(what, "it changed the request")
    findings.report()


def _check_case(spec: RuleSpec, where: str, case: RuleCase, findings: Findings) -> None:
    try:
        said = ask_rule(spec, case)
        again = ask_rule(spec, case)
    except Exception as error:
        findings.add(where, f"it fails: {reason(error)}")
        return
    if said != again:
        findings.add(where, f"it says {said} and then {again}")
    if not said.why:
        findings.add(where, "it gives no reason")
    model = said.model if isinstance(said, Decision) else None
    if model != case.model:
        findings.add(where, f"expected {case.model or 'that it passes'}, got {model or 'that it passes'}: {said.why}")
    if isinstance(said, Decision) and find_route(said.model, case.providers) is None:
        findings.add(where, f"it chose {said.model!r}, and there is no such provider")
    if case.scenario is not None and isinstance(said, Decision) and said.scenario != case.scenario:
        findings.add(where, f"expected the scenario {case.scenario!r}, got {said.scenario!r}")
    if case.request_body is not None:
        body = said.request.body if said.request is not None else case.body
        if body != case.request_body:
            findings.add(where, f"expected the request {case.request_body}, got {body}")


_ODD: Mapping[str, JSON] = {
    "a system prompt that is a text": ask(system="Be brief."),
    "an empty conversation": {"model": "x", "messages": []},
    "an empty message": {"model": "x", "messages": [{"role": "user", "content": []}]},
    "no model": {"messages": [{"role": "user", "content": "x"}]},
    "strange metadata": ask(metadata={"user_id": "{broken"}),
    "fields that are null": {**ask(), "metadata": None, "thinking": None, "tools": None, "system": None},
    "a message of the system first": {"model": "x", "messages": [{"role": "system", "content": "x"}]},
    "a tool result alone": ask(
        messages=[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]
    ),
}
