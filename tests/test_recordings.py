"""Every recorded answer, through a whole router: what the provider said is what the client gets.

However the client asks (streamed or not), however the provider answered, however the bytes were cut on the way.  What
a recording means says an oracle that shares no code with the dialects (``ccr_core.testing.recordings``).  Recordings
whose dialect no installed plugin speaks are left out, those of the formats that this project promises never are.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_rule_default
import pytest

from ccr_core import Event, Transformer, TransformerSpec, hookimpl
from ccr_core.plugins import load
from ccr_core.testing import Upstream, ask, check_stream, config, pieces, recordings
from ccr_core.testing.pytest_plugin import Make
from ccr_core.testing.recordings import Recording

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

INSTALLED = load(environ={}).dialects
"""The dialects that the installed plugins offer."""

RECORDED = [one for one in recordings.recordings(Path(__file__).parent / "recordings") if one.dialect in INSTALLED]

CUTS = (None, 1, 7, 4096)
"""Into how many bytes an answer is cut; ``None``: not at all."""

LONG = 6_000
"""Bytes of a stream above which its middle is not cut byte by byte, for the sake of time."""


class Onlooker(Transformer[None]):
    """Looks at every event and changes none: with it in the chain no answer passes as bytes."""

    def feed(self, event: Event) -> Iterable[Event]:
        return (event,)


class Onlookers:
    """The plugin that offers it."""

    @hookimpl
    def ccr_transformers(self) -> Iterable[TransformerSpec]:
        return [TransformerSpec(name="onlooker", factory=Onlooker, summary="For tests.")]


def plugins(dialect: str) -> list[Any]:
    """What a router needs to speak to a provider in ``dialect``, and to Anthropic's clients."""
    (point,) = entry_points(group="ccr", name=INSTALLED[dialect].plugin.name)
    return list({id(each): each for each in (ccr_plugin_anthropic, ccr_plugin_rule_default, point.load())}.values())


def cut(recording: Recording, size: int | None) -> list[bytes]:
    """The answer in pieces of ``size`` bytes; of a long one cut byte by byte the middle in pieces of 13 bytes."""
    data = recording.response
    if size is None or not data:
        return [data]
    if size == 1 and len(data) > LONG:
        head, middle, tail = data[: LONG // 2], data[LONG // 2 : -LONG // 2], data[-LONG // 2 :]
        return [*pieces(head, 1), *pieces(middle, 13), *pieces(tail, 1)]
    return list(pieces(data, size))


def roads() -> Iterable[Any]:
    """Each recording on each road that its answers may take: converted, and as bytes where that is possible."""
    for recording in RECORDED:
        for road in ("converted", "relayed") if recording.dialect == "anthropic" else ("converted",):
            yield pytest.param(recording, road, id=f"{recording}-{road}")


def test_the_formats_of_the_project_are_there() -> None:
    """The tests below run over all recordings of the formats that are always installed."""
    count = {name: len([one for one in RECORDED if one.dialect == name]) for name in ("anthropic", "openai-chat")}
    assert {"anthropic": 31, "openai-chat": 42} == count


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize(("recording", "road"), [*roads()])
async def test_the_client_gets_what_the_provider_said(
    ccr: Make, upstream: Upstream, recording: Recording, road: str, stream: bool
) -> None:
    """Text, thinking, tool calls, stop reason and usage are those of the recording; so is a failure."""
    use = ["onlooker"] if road == "converted" else []
    router = ccr(
        config(use=use, dialect=recording.dialect),
        plugins=[*plugins(recording.dialect), Onlookers()],
    )
    expected = recordings.expected(recording)
    for size in CUTS:
        upstream.stream(cut(recording, size), status=recording.status, headers=recording.headers)

        answer = await router.messages(ask(stream=stream))

        if expected.failure is None:
            assert (200, True, None) == (answer.status, answer.complete, answer.error)
            assert [] == expected.differences(answer.message)
        else:
            assert answer.error is not None
            assert [] == expected.failure.differences(answer.error["message"], answer.status)
            assert (False, expected.text if answer.streamed else "") == (answer.complete, answer.text)
        # What fails before it says anything is answered with a status, as if it had never begun.
        unsaid = expected.failure is not None and not (expected.text or expected.thinking or expected.calls)
        assert unsaid or stream is answer.streamed
        if answer.streamed:
            check_stream(answer.events, complete=expected.failure is None)
