"""What the history knows of a task of real Claude Code."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
from rig import Rig, ccr_program
from scripted import Received, Reply, Say
from test_claude_code import WithExpert

pytestmark = pytest.mark.e2e

HINTS = {"CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}


class Thoughtful(WithExpert):
    """Takes a moment for its answers, as models do: Claude Code writes meanwhile where it works."""

    def __call__(self, request: Received) -> Reply:
        answer = super().__call__(request)
        assert isinstance(answer, Say)
        return dataclasses.replace(answer, silence=0.5)


def requests(rig: Rig, count: int) -> list[dict[str, object]]:
    """The requests of the history, oldest first, once ``count`` of them have ended."""
    end = time.monotonic() + 30
    while True:
        program = rig.start([ccr_program(), "requests", "--json", "--status", "ok"], rig.ccr_env())
        assert program.wait(60) == 0, program.stderr
        found = [json.loads(line) for line in program.stdout.splitlines()]
        if len(found) >= count or time.monotonic() > end:
            return found
        time.sleep(0.2)


def test_a_task_with_a_sub_agent(rig: Rig) -> None:
    """Every request is there, all of one session and project, and those of the agent are told from the others."""
    script = Thoughtful()
    rig.play(script)
    assert rig.claude("Ask the expert.", env=HINTS).answer == "The expert says: It is 324 metres."

    count = len(rig.upstream.requests)
    found = requests(rig, count)
    assert count == len(found)
    assert 1 == len({request["session"] for request in found})
    assert {str(rig.project.resolve())} == {request["project"] for request in found}
    assert {("done", "up", 200)} == {(request["state"], request["provider"], request["status"]) for request in found}
    assert all(isinstance(request["tokens"], dict) and request["tokens"]["output"] for request in found)
    agents = [request["agent_type"] for request in found if request["agent_id"] is not None]
    # The older client does not say of what kind its agents are.
    assert agents == ["general-purpose" if rig.client.label == "newest" else None] * len(script.theirs)
