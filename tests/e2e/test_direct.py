"""The harness itself: both clients against the scripted provider, with no router between."""

from __future__ import annotations

import pytest
from rig import Rig
from scripted import Call, Say

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("rig", ["direct"], indirect=True)]


def test_a_client_gets_a_text_answer(rig: Rig) -> None:
    """A client without router takes a scripted answer whole."""
    rig.play([Say(text="Grüße aus der Höhle: 🦊 and 4711.")])
    run = rig.claude("Say hello.")
    assert run.answer == "Grüße aus der Höhle: 🦊 and 4711."
    assert [request.path for request in rig.upstream.requests] == ["/v1/messages"]


def test_a_client_runs_a_tool(rig: Rig) -> None:
    """A client without router executes a scripted tool call and sends the result."""
    rig.play(
        [
            Say(text="Looking.", calls=[Call(name="Bash", arguments={"command": "echo t-$((40+2))"})]),
            lambda request: Say(text=f"It printed {next(iter(request.results.values()))}."),
        ]
    )
    run = rig.claude("Run it.")
    assert run.answer == "It printed t-42."
