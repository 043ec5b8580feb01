"""Real Claude Code through `ccr start` over an OpenAI-chat provider: what people do with it every day.

Each test runs with both clients. The provider is scripted (`scripted.py`), so a test decides what "the
model" says and looks at what reached it; `conftest.py` checks after each test that no request had anything
in it for which a strict provider would refuse it.
"""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest
from rig import Rig
from scripted import Break, Call, Received, Reply, Say

pytestmark = pytest.mark.e2e


def png(width: int, height: int) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xc8\x28\x28" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def last_result(request: Received) -> str:
    """The text of the newest tool result."""
    return list(request.results.values())[-1]


# Text ------------------------------------------------------------------------------------------------------------


def test_text_answer(rig: Rig) -> None:
    """A streamed text arrives whole, with the provider's token counts."""
    words = "Zwölf Füchse 🦊 jagen — 漢字 und 4711.\n\n```python\nprint('<&>')\n```"
    rig.play([Say(text=words, input_tokens=2345, output_tokens=67)])
    run = rig.claude("Say something.")
    assert run.answer == words
    assert (run.result["usage"]["input_tokens"], run.result["usage"]["output_tokens"]) == (2345, 67)


def test_slow_answer(rig: Rig) -> None:
    """An answer that comes in slowly, and with a silence that the router fills with pings, is not given up."""
    rig.play([Say(text="one two three four five six seven", pause=0.1, silence=2.5)])
    assert rig.claude("Count.").answer == "one two three four five six seven"
    assert len(rig.upstream.requests) == 1


def test_request_reaches_the_default_model(rig: Rig) -> None:
    """A model name that is no route goes to the default route, with the provider's key and as a stream."""
    rig.play([Say(text="yes")])
    assert rig.claude("Are you there?").answer == "yes"
    [request] = rig.upstream.requests
    assert (request.model, request.body["stream"]) == ("m1" if rig.routed else request.model, True)
    assert request.headers["authorization"] == f"Bearer {'k' if rig.routed else 'dummy'}"
    assert "Are you there?" in request.said_by("user")


def test_thinking_is_shown_and_survives_a_tool_call(rig: Rig) -> None:
    """The provider's reasoning becomes thinking, and the turn that goes on after a tool call is accepted."""
    rig.play(
        [
            Say(thinking="The user wants a number.", calls=[Call(name="Bash", arguments={"command": "echo 7"})]),
            Say(thinking="It is 7.", text="seven"),
        ]
    )
    run = rig.claude("Which number?")
    assert run.answer == "seven"
    assert run.thinking == ["The user wants a number.", "It is 7."]


# Tools -----------------------------------------------------------------------------------------------------------


def test_bash(rig: Rig) -> None:
    """A Bash call runs in the project folder and its output reaches the model."""
    command = "pwd; echo token-$((40+2)); echo oops >&2"
    rig.play([Say(text="Running.", calls=[Call(name="Bash", arguments={"command": command})]), Say(text="done")])
    assert rig.claude("Run it.").answer == "done"
    printed = last_result(rig.upstream.requests[1])
    assert all(piece in printed for piece in (str(rig.project), "token-42", "oops"))


def test_failing_tool_is_reported_to_the_model(rig: Rig) -> None:
    """The words of a failed tool call reach the model."""
    call = Call(name="Bash", arguments={"command": "echo broken-pipe-17; exit 3"})
    rig.play([Say(calls=[call]), Say(text="it failed")])
    assert rig.claude("Run it.").answer == "it failed"
    assert "broken-pipe-17" in last_result(rig.upstream.requests[1])


def test_read(rig: Rig) -> None:
    """A file read by the client reaches the model with all its characters."""
    (rig.project / "notes.txt").write_text('first "line"\n\tsecond \\ line\n日本語 🦊\n')
    call = Call(name="Read", arguments={"file_path": str(rig.project / "notes.txt")})
    rig.play([Say(calls=[call]), Say(text="read")])
    assert rig.claude("Read the notes.").answer == "read"
    shown = last_result(rig.upstream.requests[1])
    assert all(piece in shown for piece in ('first "line"', "\tsecond \\ line", "日本語 🦊"))


def test_write(rig: Rig) -> None:
    """A file written on the model's order has exactly the model's text."""
    content = 'def f():\n\treturn "ä 🦊 \\n"\n'
    call = Call(name="Write", arguments={"file_path": str(rig.project / "made.py"), "content": content})
    rig.play([Say(calls=[call]), Say(text="written")])
    assert rig.claude("Write it.").answer == "written"
    assert (rig.project / "made.py").read_text() == content


def test_edit(rig: Rig) -> None:
    """Read, then Edit: the file has the new text, and the model sees its own earlier calls."""
    path = rig.project / "code.py"
    path.write_text("a = 1\nb = 2\n")
    edit = {"file_path": str(path), "old_string": "b = 2", "new_string": "b = 3  # 'three'"}
    rig.play(
        [
            Say(calls=[Call(name="Read", arguments={"file_path": str(path)})]),
            Say(calls=[Call(name="Edit", arguments=edit)]),
            Say(text="edited"),
        ]
    )
    assert rig.claude("Make b three.").answer == "edited"
    assert path.read_text() == "a = 1\nb = 3  # 'three'\n"
    called = list(rig.upstream.requests[2].calls.values())
    assert [name for name, _ in called] == ["Read", "Edit"]
    assert called[1][1].items() >= edit.items()


def test_parallel_tools(rig: Rig) -> None:
    """Three calls in one answer, their arguments interleaved, are all run; each result belongs to its call."""
    for name in ("one", "two"):
        (rig.project / f"{name}.txt").write_text(f"content of {name}\n")
    calls = [
        Call(name="Read", arguments={"file_path": str(rig.project / "one.txt")}),
        Call(name="Bash", arguments={"command": "echo parallel-$((20+3))", "description": "Print a number"}),
        Call(name="Read", arguments={"file_path": str(rig.project / "two.txt")}),
    ]
    rig.play([Say(text="All at once.", calls=calls), Say(text="all done")])
    assert rig.claude("Do three things.").answer == "all done"
    second = rig.upstream.requests[1]
    by_call = [(name, second.results[call]) for call, (name, _) in second.calls.items()]
    assert [name for name, _ in by_call] == ["Read", "Bash", "Read"]
    expected = ["content of one", "parallel-23", "content of two"]
    assert [words in result for words, (_, result) in zip(expected, by_call, strict=True)] == [True] * 3


def test_image_read(rig: Rig) -> None:
    """A picture read by the client reaches the model as a picture."""
    (rig.project / "red.png").write_bytes(png(24, 16))
    call = Call(name="Read", arguments={"file_path": str(rig.project / "red.png")})
    rig.play([Say(calls=[call]), Say(text="a red picture")])
    assert rig.claude("What is in red.png?").answer == "a red picture"
    [(kind, data)] = rig.upstream.requests[1].images
    assert kind == "image/png"
    assert struct.unpack(">II", data[16:24]) == (24, 16)


def test_several_rounds_of_tools(rig: Rig) -> None:
    """Six turns of one conversation stay in order."""
    rounds = [Say(calls=[Call(name="Bash", arguments={"command": f"echo round-{n}"})]) for n in range(5)]
    rig.play([*rounds, Say(text="five rounds")])
    assert rig.claude("Go on.").answer == "five rounds"
    assert list(rig.upstream.requests[5].results.values()) == [f"round-{n}" for n in range(5)]


# Longer conversations --------------------------------------------------------------------------------------------


def test_continue(rig: Rig) -> None:
    """`--continue`: the second run shows the model what was said in the first."""
    rig.play([Say(text="I will keep heliotrope in mind."), Say(text="heliotrope")])
    first = rig.claude("Remember the word heliotrope.")
    assert first.answer == "I will keep heliotrope in mind."
    second = rig.claude("Which word?", "--continue")
    assert second.answer == "heliotrope"
    request = rig.upstream.requests[1]
    assert "Remember the word heliotrope." in request.said_by("user")
    assert "I will keep heliotrope in mind." in request.said_by("assistant")
    assert "Which word?" in request.said_by("user")


# Sub-agents and models -------------------------------------------------------------------------------------------

TAG = "<CCR-SUBAGENT-MODEL>up,m2</CCR-SUBAGENT-MODEL>"


class WithExpert:
    """A model that asks one sub-agent and repeats what it said; `theirs` holds the sub-agent's own requests.

    The answer may come back as the result of the call or, from an agent in the background, as a later
    message.
    """

    def __init__(self, *, kind: str = "general-purpose", tag: str = "") -> None:
        prompt = f"{tag}Tell the height of the tower in metres."
        arguments = {"description": "Ask an expert", "prompt": prompt, "subagent_type": kind}
        self._call = Call(name="Agent", arguments=arguments)
        self.theirs: list[Received] = []

    def __call__(self, request: Received) -> Reply:
        asked, height = request.said_by("user"), "It is 324 metres."
        if "Ask the expert" not in asked:
            self.theirs.append(request)
            return Say(text=height)
        if height in asked or any(height in result for result in request.results.values()):
            return Say(text=f"The expert says: {height}")
        if not request.calls:
            return Say(text="I ask.", calls=[self._call])
        return Say(text="I wait for the expert.")


def add_agent(rig: Rig, head: str, prompt: str) -> None:
    """Put an agent file `expert` in the project."""
    folder = rig.project / ".claude" / "agents"
    folder.mkdir(parents=True)
    (folder / "expert.md").write_text(f"---\nname: expert\ndescription: knows towers\n{head}---\n{prompt}\n")


def test_sub_agent(rig: Rig) -> None:
    """A sub-agent gets a request of its own, and its answer comes back to the main conversation."""
    script = WithExpert()
    rig.play(script)
    assert rig.claude("Ask the expert.").answer == "The expert says: It is 324 metres."
    assert [("height of the tower" in request.said_by("user")) for request in script.theirs] == [True]


def test_explicit_model(rig: Rig) -> None:
    """`--model provider,model` is that model, in every request of the conversation."""
    rig.play([Say(calls=[Call(name="Bash", arguments={"command": "echo hi"})]), Say(text="m2 speaks")])
    assert rig.claude("Who are you?", model="up,m2").answer == "m2 speaks"
    expected = "m2" if rig.routed else "up,m2"
    assert [request.model for request in rig.upstream.requests] == [expected, expected]


@pytest.mark.parametrize(
    ("head", "prompt"),
    [("", f"{TAG}You know all towers."), ("model: up,m2\n", "You know all towers.")],
    ids=["tag", "model field"],
)
def test_agent_file_chooses_its_model(rig: Rig, head: str, prompt: str) -> None:
    """An agent file chooses the model of its sub-agent only, by tag or by field; the tag never goes upstream."""
    add_agent(rig, head, prompt)
    script = WithExpert(kind="expert")
    rig.play(script)
    assert rig.claude("Ask the expert.").answer == "The expert says: It is 324 metres."
    [theirs] = script.theirs
    ours = [request for request in rig.upstream.requests if request is not theirs]
    assert "You know all towers." in theirs.text
    if rig.routed:
        assert (theirs.model, {request.model for request in ours}) == ("m2", {"m1"})
        assert "CCR-SUBAGENT-MODEL" not in theirs.text


@pytest.mark.parametrize("model", ["sonnet", "up,m1"])
def test_tag_in_a_prompt_chooses_the_model(rig: Rig, model: str) -> None:
    """A tag at the start of a sub-agent's prompt beats even a chosen model, and does not go upstream."""
    script = WithExpert(tag=TAG)
    rig.play(script)
    assert rig.claude("Ask the expert.", model=model).answer == "The expert says: It is 324 metres."
    [theirs] = script.theirs
    assert "Tell the height of the tower" in theirs.said_by("user")
    if rig.routed:
        ours = {request.model for request in rig.upstream.requests if request is not theirs}
        assert (theirs.model, ours) == ("m2", {"m1"})
        assert "CCR-SUBAGENT-MODEL" not in theirs.text


# What the client sends about itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["sonnet", "up,m2", "claude-3-7-sonnet"])
def test_environment_notes_reach_the_model(rig: Rig, model: str) -> None:
    """The system prompt, the working directory and the project's notes reach the model, whatever shape they
    come in.

    For new and unknown models the client puts most of them into messages of role `system` after the first
    user message; for old ones into the system prompt and into reminders.
    """
    (rig.project / "CLAUDE.md").write_text("Always answer in the style of a lighthouse keeper.\n")
    rig.play([Say(text="Ahoy.")])
    assert rig.claude("Where are you?", model=model).answer == "Ahoy."
    text = rig.upstream.requests[0].text
    assert str(rig.project) in text
    assert "Always answer in the style of a lighthouse keeper." in text
    assert "Where are you?" in text
    assert len(rig.upstream.requests[0].said_by("system")) > 2000


def test_only_real_tools_are_offered(rig: Rig) -> None:
    """The model is offered the client's working tools with their schemas."""
    rig.play([Say(text="ready")])
    assert rig.claude("Ready?", model="up,m2").answer == "ready"
    [request] = rig.upstream.requests
    assert {"Agent", "Bash", "Edit", "Read", "Write"} <= set(request.tools)
    if request.is_chat:
        functions = {tool["function"]["name"]: tool["function"] for tool in request.body["tools"]}
        assert "command" in functions["Bash"]["parameters"]["properties"]
        assert functions["Bash"]["parameters"]["required"] == ["command"]
        assert len(functions["Bash"]["description"]) > 100


@pytest.mark.parametrize("client", ["newest"], indirect=True)
def test_tool_search_loads_a_deferred_tool(rig: Rig) -> None:
    """The model can load a tool that the client held back, is told its name and its schema, and can call it."""
    search = Call(name="ToolSearch", arguments={"query": "select:CronList", "max_results": 3})
    rig.play([Say(calls=[search]), Say(calls=[Call(name="CronList", arguments={})]), Say(text="none")])
    assert rig.claude("Which jobs?", model="up,m2").answer == "none"
    first, second, third = rig.upstream.requests
    assert ("CronList" in first.tools, "CronList" in second.tools) == (False, True)
    assert last_result(third) == "No scheduled jobs."
    if rig.routed:
        assert "CronList" in last_result(second)


def test_plan_mode(rig: Rig) -> None:
    """In plan mode the model is told so, may write its plan, and is refused any other change."""

    def plan_file(request: Received) -> str:
        found = re.search(r"\S+/\.claude/plans/\S+\.md", request.text)
        assert found is not None
        return found[0]

    forbidden = rig.project / "main.py"
    rig.play(
        [
            lambda request: Say(
                text="I plan.",
                calls=[
                    Call(name="Write", arguments={"file_path": plan_file(request), "content": "1. Think\n"}),
                    Call(name="Write", arguments={"file_path": str(forbidden), "content": "x = 1\n"}),
                ],
            ),
            Say(text="The plan: think."),
        ]
    )
    assert rig.claude("Plan the work.", mode="plan").answer == "The plan: think."
    first, second = rig.upstream.requests
    assert "Plan mode is active" in first.text
    assert Path(plan_file(first)).read_text() == "1. Think\n"
    assert "plan mode" in last_result(second)
    assert not forbidden.exists()


def test_context_is_counted_without_the_provider(rig: Rig) -> None:
    """`/context`, which counts about thirty texts at once, is answered without asking the provider."""
    run = rig.claude("/context")
    found = re.search(r"\| System tools \| ([\d.]+)k", run.answer)
    assert found is not None
    assert 2 < float(found[1]) < 60
    assert rig.upstream.requests == []
    if rig.routed:
        assert rig.upstream.counted == 0


# The connection --------------------------------------------------------------------------------------------------


def test_client_that_leaves_closes_the_upstream(rig: Rig) -> None:
    """When the client is killed in the middle of an answer, the provider's connection is closed soon after."""
    rig.play([Break(how="hang", text="I will think about this for a long time.")])
    client = rig.start_claude(rig.arguments("Think."))
    request = rig.wait_for_request()
    client.kill()
    assert request.client_left.wait(10)


def test_two_clients_at_once(rig: Rig) -> None:
    """Two conversations at the same time through one router do not mix."""

    def script(request: Received) -> Reply:
        word = "alpha" if "first" in request.said_by("user") else "omega"
        if not request.calls:
            return Say(calls=[Call(name="Bash", arguments={"command": f"sleep 0.3; echo {word}"})], pause=0.02)
        return Say(text=f"{last_result(request)} it is", pause=0.02)

    rig.play(script)
    both = [rig.start_claude(rig.arguments(prompt)) for prompt in ("Be first.", "Be last.")]
    assert [rig.finish(process).answer for process in both] == ["alpha it is", "omega it is"]
