"""The envelope."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from ccr_plugin_oauth_gemini import CodeAssist

from ccr_core import Context, Request, Target, assemble, hints_of
from ccr_core.testing import as_request, ask, check_dialect, decode, expected, pieces, recordings
from ccr_core.testing.recordings import Recording

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
PLAIN = {one.name: one for one in recordings.recordings(ROOT, "gemini")}


def wrapped(recording: Recording) -> Recording:
    """The same answer as Code Assist gives it."""
    if recording.failed:
        return recording
    if not recording.stream:
        data = json.dumps({"response": json.loads(recording.response), "traceId": "t"}).encode()
    else:
        data = b"".join(
            b"data: " + json.dumps({"response": event, "traceId": "t"}).encode() + b"\r\n\r\n"
            for event in recording.events()
        )
    return attrs.evolve(recording, response=data)


def test_dialect() -> None:
    """The dialect keeps the rules of dialects; refusals map as those of the plain format do."""
    check_dialect(CodeAssist(), [one for one in PLAIN.values() if one.failed])


@pytest.mark.parametrize("name", [name for name, one in PLAIN.items() if not one.failed])
def test_recordings(name: str) -> None:
    """Every recorded answer, in the envelope, means what it means without, however it is cut."""
    plain, recording = PLAIN[name], wrapped(PLAIN[name])
    request = as_request(ask(tools=["Read"], thinking={"type": "adaptive"}))
    if recording.stream:
        decoded = decode(CodeAssist(), pieces(recording.response, 7), request, ctx())
        assert decoded.error is None
        message = assemble(decoded.sequenced)
    else:
        message = assemble(CodeAssist().decode_body(json.loads(recording.response), request, ctx()))

    assert [] == expected(plain).differences(message)


def ctx(base: str = "https://cloudcode-pa.googleapis.com/v1internal") -> Context:
    return Context(exchange_id="t", target=Target(provider="gemini", model="gemini-2.5-pro", base_url=base))


@pytest.mark.parametrize("base", ["", ":generateContent", ":streamGenerateContent?alt=sse", "/"])
def test_urls(base: str) -> None:
    """A base with a method has it replaced."""
    whole = "https://cloudcode-pa.googleapis.com/v1internal"
    made = ctx(whole + base)

    assert f"{whole}:generateContent" == CodeAssist().url(made, False)
    assert f"{whole}:streamGenerateContent?alt=sse" == CodeAssist().url(made, True)


def conversation(*contents: Any, session: str = "s-1") -> Request:
    """A request of a session whose user has said ``contents``, each answered but the last."""
    messages: list[dict[str, Any]] = []
    for content in contents:
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": "ok"}]
    body = {**ask(), "messages": messages[:-1]}
    headers = {"x-claude-code-session-id": session}
    return attrs.evolve(as_request(body), headers=headers, hints=hints_of(body, headers))


def test_ids() -> None:
    """The id of a prompt is the same while its tools run, and another for the next prompt and the next session."""
    result = [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]

    def sent(request: Request) -> Any:
        body = CodeAssist().encode(request, ctx()).body
        assert body is not None
        return body

    first, during, after = (sent(conversation(*each)) for each in (["a"], ["a", result], ["a", "b"]))

    assert "s-1" == first["request"]["session_id"]
    assert first["user_prompt_id"] == during["user_prompt_id"]
    assert first["user_prompt_id"] != after["user_prompt_id"]
    assert first["user_prompt_id"] != sent(conversation("a", session="s-2"))["user_prompt_id"]


def test_no_session() -> None:
    """Without a session each request has its own id, and names none."""
    bodies = [
        CodeAssist().encode(as_request(ask()), attrs.evolve(ctx(), exchange_id=name)).body or {} for name in ("a", "b")
    ]

    assert bodies[0]["user_prompt_id"] != bodies[1]["user_prompt_id"]
    assert "session_id" not in bodies[0]["request"]
