"""Every recorded answer gives what it says, however its bytes arrive, streamed and whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ccr_plugin_openai_responses import Responses

from ccr_core import Event, assemble
from ccr_core.testing import as_request, ask, check_dialect, context, decode, recordings

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
ALL = recordings.recordings(ROOT, "openai-responses")
DIALECT = Responses()


def named(name: str) -> recordings.Recording:
    """The one recording whose name ends so."""
    (found,) = (one for one in ALL if one.name.endswith(name))
    return found


def read(name: str, notes: list[tuple[str, Any]] | None = None, **body: Any) -> dict[str, Any]:
    """The message that a recording becomes, for a request with ``body``."""
    recording = named(name)
    request = as_request(ask(**body))
    ctx = context(dialect=DIALECT, notes=notes)
    events: list[Event]
    if recording.stream:
        decoded = decode(DIALECT, [recording.response], request, ctx)
        if decoded.error is not None:
            raise decoded.error
        events = decoded.sequenced
    else:
        events = list(DIALECT.decode_body(json.loads(recording.response), request, ctx))
    return assemble(events)


def test_there_are_31_recordings() -> None:
    """The checks below run over all that there is."""
    assert 31 == len(ALL)


@pytest.mark.parametrize("recording", ALL, ids=str)
def test_the_dialect_passes_the_checks_of_the_test_kit(recording: recordings.Recording) -> None:
    """Meaning, cuts, lawful beginnings of what is cut off, the whole twin: the checks for dialects find nothing."""
    check_dialect(DIALECT, [recording])
