"""Routers of projects and sessions."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from toy import FakeSender, ask, call, stream, toy_config, toy_plugin, toy_registry

from ccr_core import Counter, CounterSpec, Decision, Pass, Request, RouteContext, RuleSpec
from ccr_core.config import RouterConfig
from ccr_core.projects import Projects, digest, is_trusted, shared_file, trusted
from ccr_core.runtime import Runtime, build
from ccr_core.server import create_app

SESSION = "5e551074-0000-4000-8000-000000000001"
FOLDER = "-home-me-work"


class Rig:
    """Claude Code's folder of transcripts, ccr's own, and a repository."""

    def __init__(self, root: Path) -> None:
        self.home = root / "ccr"
        self.transcripts = root / "projects"
        self.repository = root / "work"
        for folder in (self.home, self.transcripts, self.repository / ".git"):
            folder.mkdir(parents=True)
        self.projects = Projects(self.home, self.transcripts)

    def converse(self, session: str = SESSION, folder: str = FOLDER, **entry: Any) -> None:
        """Write a transcript, as Claude Code does after the first request."""
        lines = [{"type": "summary", "summary": 'a "cwd" of no meaning'}, {"cwd": str(self.repository), **entry}]
        path = self.transcripts / folder / f"{session}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(json.dumps(line) for line in lines))

    def project(self, router: Any, name: str = "config.json", folder: str = FOLDER) -> Path:
        """Write the router of a project (or of a session, by its name)."""
        path = self.home / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(router if isinstance(router, str) else json.dumps({"Router": router}))
        return path

    def share(self, text: str, trust: bool = True) -> Path:
        """Write the repository's own file, and trust it."""
        path = self.repository / ".ccr.toml"
        path.write_text(text)
        if trust:
            (self.home / "trusted.json").write_text(json.dumps({str(path.resolve()): digest(text)}))
        return path

    def overlay(self, session: str = SESSION) -> dict[str, Any]:
        return dict(self.projects.overlay(session))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """The folders."""
    return Rig(tmp_path)


def test_project_of_a_session(rig: Rig) -> None:
    """
    A session belongs to the folder that has its transcript; others have nothing to do with it.
    """
    rig.converse()
    rig.converse("another", "-home-me-other")
    rig.project({"default": "a,m"})
    rig.project({"default": "b,m"}, folder="-home-me-other")

    assert {"default": "a,m"} == rig.overlay()
    assert {"default": "b,m"} == rig.overlay("another")
    assert {} == rig.overlay("unknown")


def test_where_a_session_works(rig: Rig) -> None:
    """
    A session's project is the folder that its transcript tells, else the name of that of the transcripts.
    """
    rig.converse()
    rig.converse("another", "-home-me-other", cwd=None)
    assert None is rig.projects.project(SESSION)

    rig.overlay()
    rig.overlay("another")

    assert [str(rig.repository), "-home-me-other", None] == [
        rig.projects.project(session) for session in (SESSION, "another", "unknown")
    ]


def test_session_over_project_over_repository(rig: Rig) -> None:
    """
    The three are laid over each other key by key; the special wins.
    """
    rig.converse()
    rig.share('[Router]\ndefault = "repository,m"\nthink = "repository,m"\nbackground = "repository,m"')
    rig.project({"think": "project,m", "background": "project,m"})
    rig.project({"background": "session,m"}, f"{SESSION}.json")

    expected = {"default": "repository,m", "think": "project,m", "background": "session,m"}
    assert expected == rig.overlay()


@pytest.mark.parametrize("session", ["", "../x", "a/b", "..", "a.b", "a\x00b", "a b", "ä", "a\n"])
def test_bad_ids_are_nobodys(rig: Rig, session: str) -> None:
    """
    An id that could lead elsewhere in a path is never looked for.
    """
    rig.converse("x", ".")
    rig.project({"default": "a,m"}, folder=".")
    rig.project({"default": "a,m"})

    assert {} == rig.overlay(session)


def test_new_conversation_is_found_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A session without a transcript is looked for again, but not at every request.
    """
    now = time.monotonic()
    monkeypatch.setattr("ccr_core.projects.time.monotonic", lambda: now)
    rig.project({"default": "a,m"})
    assert {} == rig.overlay()

    rig.converse()
    now += 2.9
    assert {} == rig.overlay()
    now += 0.2

    assert {"default": "a,m"} == rig.overlay()


def test_a_short_task_is_placed_at_its_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Its transcript comes while it is answered: who asks at the end finds it, and not by looking all the time.
    """
    now = time.monotonic()
    monkeypatch.setattr("ccr_core.projects.time.monotonic", lambda: now)
    rig.overlay()
    rig.converse()

    assert None is rig.projects.project(SESSION)
    assert None is rig.projects.project(SESSION, look=True)
    now += 0.3
    assert None is rig.projects.project(SESSION)
    assert str(rig.repository) == rig.projects.project(SESSION, look=True)
    assert None is rig.projects.project("never-asked", look=True)


def test_found_sessions_are_not_looked_for_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Once found, a session costs no walk through the folders.
    """
    rig.converse()
    rig.project({"default": "a,m"})
    rig.overlay()

    def scandir(path: Any) -> Any:
        raise AssertionError("looked again")

    monkeypatch.setattr(os, "scandir", scandir)
    assert {"default": "a,m"} == rig.overlay()


def test_what_is_remembered_is_bounded(rig: Rig) -> None:
    """
    Ids of clients cannot fill the memory.
    """
    for number in range(2500):
        rig.overlay(f"s{number}")
    assert 1000 >= len(rig.projects._missing)


def test_changed_files_are_read_again(rig: Rig) -> None:
    """
    A project's file takes effect with the next request, and so does its end.
    """
    rig.converse()
    path = rig.project({"default": "a,m"})
    assert {"default": "a,m"} == rig.overlay()

    rig.project({"default": "b,longer"})
    assert {"default": "b,longer"} == rig.overlay()

    path.unlink()
    assert {} == rig.overlay()


def test_unchanged_files_are_not_read_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What has not changed is looked at, not read.
    """
    rig.converse()
    rig.project({"default": "a,m"})
    rig.overlay()

    def read_text(self: Path, *args: Any) -> str:
        raise AssertionError(f"read {self}")

    monkeypatch.setattr(Path, "read_text", read_text)
    assert {"default": "a,m"} == rig.overlay()


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "line 1"), ("[]", "expected an object"), ('{"Router": "a,m"}', "Router must be a table"), ("\xff", "")],
)
def test_broken_files(rig: Rig, caplog: pytest.LogCaptureFixture, text: str, why: str) -> None:
    """
    A broken file is not used and does not stop a request; the log says so once, with the reason.
    """
    rig.converse()
    path = rig.project({"default": "a,m"}, f"{SESSION}.json")
    path.write_bytes(text.encode("latin-1"))
    rig.project({"default": "b,m"})

    assert [{"default": "b,m"}] * 2 == [rig.overlay(), rig.overlay()]

    messages = [record.message for record in caplog.records]
    assert 1 == len(messages)
    assert f"{path} is not used" in messages[0]
    assert why in messages[0]


def test_json5_and_remarks(rig: Rig) -> None:
    """
    A project's file may be written as freely as the configuration.
    """
    rig.converse()
    rig.project("{ Router: { default: 'a,m', }, }  // mine")
    assert {"default": "a,m"} == rig.overlay()


def test_file_without_router(rig: Rig) -> None:
    """
    A file may hold other things.
    """
    rig.converse()
    rig.project('{"other": 1}')
    assert {} == rig.overlay()


def test_repository_counts_only_when_trusted(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """
    What a repository brings is not used until its very text is trusted; the log says how.
    """
    caplog.set_level(logging.INFO, "ccr.projects")
    rig.converse()
    path = rig.share('[Router]\ndefault = "a,m"', trust=False)

    assert {} == rig.overlay()
    assert f"{path} is not used: ccr trust {path.parent}" in caplog.text

    rig.share('[Router]\ndefault = "a,m"')
    assert {"default": "a,m"} == rig.overlay()


def test_changed_text_is_not_trusted(rig: Rig) -> None:
    """
    With any change of the text the trust is gone; with the old text it is back.
    """
    rig.converse()
    text = '[Router]\ndefault = "a,m"'
    path = rig.share(text)
    assert {"default": "a,m"} == rig.overlay()

    path.write_text('[Router]\ndefault = "evil,m"')
    assert {} == rig.overlay()

    path.write_text(text)
    assert {"default": "a,m"} == rig.overlay()


def test_revoked_trust_ends_at_once(rig: Rig) -> None:
    """
    When the trust is taken back the file is no longer used, although it has not changed.
    """
    rig.converse()
    rig.share('[Router]\ndefault = "a,m"')
    assert {"default": "a,m"} == rig.overlay()

    (rig.home / "trusted.json").unlink()

    assert {} == rig.overlay()


def test_trust_is_of_one_place(rig: Rig, tmp_path: Path) -> None:
    """
    The same text in another repository is not trusted.
    """
    text = '[Router]\ndefault = "a,m"'
    path = rig.share(text)
    other = tmp_path / ".ccr.toml"
    other.write_text(text)

    assert is_trusted(path, text, rig.home)
    assert not is_trusted(other, text, rig.home)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "\x00"])
def test_broken_list_of_trust_trusts_nothing(rig: Rig, text: str) -> None:
    """
    A damaged list is an empty one.
    """
    (rig.home / "trusted.json").write_text(text)
    assert {} == trusted(rig.home)


def test_broken_shared_file(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """
    Even a trusted file may be broken.
    """
    rig.converse()
    path = rig.share("[Router")
    assert {} == rig.overlay()
    assert f"{path} is not used" in caplog.text


def test_shared_file_is_that_of_the_repository(tmp_path: Path) -> None:
    """
    From a folder it is looked for upwards, to the root of the repository and not beyond.
    """
    inner = tmp_path / "repository" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / ".ccr.toml").write_text("")
    (tmp_path / "repository" / ".git").mkdir()
    assert None is shared_file(inner)

    (tmp_path / "repository" / ".ccr.toml").write_text("")
    assert tmp_path / "repository" / ".ccr.toml" == shared_file(inner)

    (inner / ".ccr.toml").write_text("")
    assert inner / ".ccr.toml" == shared_file(inner)


@pytest.mark.parametrize("lines", ["", "not json\n", '["cwd"]\n', '{"cwd": 1}\n', '{"cwd": "relative"}\n', '{"cwd'])
def test_transcripts_that_tell_no_directory(rig: Rig, lines: str) -> None:
    """
    A transcript of another form means that there is no repository; a later line may still name it.
    """
    rig.project({"default": "a,m"})
    rig.share('[Router]\nthink = "b,m"')
    rig.converse()
    path = rig.transcripts / FOLDER / f"{SESSION}.jsonl"
    path.write_text(lines)
    assert {"default": "a,m"} == rig.overlay()

    path.write_text(json.dumps({"cwd": str(rig.repository)}))
    assert {"default": "a,m", "think": "b,m"} == rig.overlay()


# --- laid over the configuration's own ----------------------------------------------------------------------


@attrs.frozen
class Options:
    """The keys of the rule of these tests."""

    think: str | None = attrs.field(default=None, metadata={"route": True})
    depth: int = 1


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """``think`` for texts that begin so, else the default."""
    if ctx.options.think and str(request.messages[0]["content"]).startswith("think"):
        return Decision(ctx.options.think, f"depth {ctx.options.depth}")
    return Decision(ctx.router["default"], "the default")


def runtime(**router: Any) -> Runtime:
    """A runtime with the providers toy and spare, and one rule."""
    plugin = toy_plugin(ccr_rules=lambda: [RuleSpec(name="default", decide=decide, options=Options)])
    return build(toy_config(router=RouterConfig(default="toy,m", options=router)), toy_registry(plugin))


def test_view_without_overlay() -> None:
    """
    Without a project the rules are the runtime's own.
    """
    made = runtime(think="toy,deep")
    assert made.rules is made.view().rules is made.view({}).rules
    assert {"default": "toy,m", "think": "toy,deep"} == made.view().router


def test_view_merges_key_by_key() -> None:
    """
    A project's key replaces that key and no other, for options of rules and for the section alike.
    """
    view = runtime(think="toy,deep", depth=2).view({"think": "spare,m"})

    assert {"default": "toy,m", "think": "spare,m", "depth": 2} == view.router
    assert [Options("spare,m", 2)] == [rule.options for rule in view.rules]
    assert None is view.problem


def test_views_are_made_once() -> None:
    """
    Every request of a project has the same view.
    """
    made = runtime()
    assert made.view({"think": "toy,a"}) is made.view({"think": "toy,a"})
    assert made.view({"think": "toy,a"}) is not made.view({"think": "toy,b"})


@pytest.mark.parametrize(
    ("overlay", "why"),
    [
        ({"default": "nobody,m"}, "Router.default: no provider for 'nobody,m'"),
        ({"default": 7}, "Router.default: no provider for 7"),
        ({"think": "nobody,m"}, 'Router.think: no provider for "nobody,m"'),
        ({"depth": "deep"}, "Router.depth: expected an integer"),
        ({"thnik": "toy,m"}, 'Router.thnik: unknown key; did you mean "think"?'),
    ],
)
def test_overlay_that_cannot_be_used(caplog: pytest.LogCaptureFixture, overlay: dict[str, Any], why: str) -> None:
    """
    A project's router with a mistake is not used at all, and the log says why, once.
    """
    made = runtime(think="toy,deep")

    view = made.view({"think": "spare,m", **overlay})
    made.view({"think": "spare,m", **overlay})

    assert {"default": "toy,m", "think": "toy,deep"} == view.router
    assert made.rules == view.rules
    assert why in (view.problem or "")
    assert [True] == [why in record.message for record in caplog.records]


async def test_requests_of_a_project(rig: Rig) -> None:
    """
    A request whose session belongs to a project goes where that says; others go as before.
    """
    sender = FakeSender(*(stream(b'data: {"end":true}\n\n') for _ in range(3)))
    app = create_app(runtime(think="toy,deep"), sender)
    app.engine.projects = rig.projects
    rig.converse()
    rig.project({"default": "spare,m", "think": "spare,deep"})

    async def route(text: str, **headers: str) -> str:
        got = await call(app, "POST", "/toy", ask(text, stream=True), headers)
        return got.headers["x-ccr-route"].partition(";")[0]

    session = {"x-claude-code-session-id": SESSION}
    assert "spare,m" == await route("hi", **session)
    assert "spare,deep" == await route("think", **session)
    assert "toy,deep" == await route("think")


class Times(Counter):
    """Counts every text as so many tokens."""

    def __init__(self, times: int) -> None:
        self.times = times

    def count(self, text: str) -> int:
        return self.times


async def test_requests_of_a_project_are_counted_for_its_default(rig: Rig) -> None:
    """
    Where a request goes nowhere by name, the default of its project says for whose model it is counted.
    """
    counters = [
        CounterSpec(name="few", factory=lambda: Times(10), models=("m",)),
        CounterSpec(name="many", factory=lambda: Times(90), models=("deep",)),
    ]
    plugin = toy_plugin(ccr_token_counters=lambda: counters)
    app = create_app(build(toy_config(), toy_registry(plugin)), FakeSender())
    app.engine.projects = rig.projects
    rig.converse()
    rig.project({"default": "spare,deep"})

    async def counted(session: str, model: str = "x") -> int:
        got = await call(app, "POST", "/toy/count", ask("hi", model=model), {"x-claude-code-session-id": session})
        return got.json["tokens"]  # type: ignore[no-any-return]

    assert [13, 93, 13] == [await counted("other"), await counted(SESSION), await counted(SESSION, "toy,m")]
