"""The rule ``custom-router``."""

from __future__ import annotations

import asyncio
import copy
import os
from pathlib import Path
from typing import Any

import ccr_plugin_rule_custom_router as plugin
import pytest

from ccr_core import Decision, Pass, RuleSpec
from ccr_core.testing import (
    RuleCase,
    as_request,
    ask,
    ask_rule,
    check_rule,
    claude_code_headers,
    claude_code_history,
    claude_code_request,
)


@pytest.fixture
def rule() -> RuleSpec:
    [rule] = plugin.ccr_rules()
    return rule


def write(path: Path, source: str) -> Path:
    path.write_text(source)
    return path


def case(path: Path | str, **more: Any) -> RuleCase:
    config = {"CUSTOM_ROUTER_PATH": str(path), "Router": {"default": "acme,big"}, **more.pop("config", {})}
    return RuleCase(config=config, **more)


def mark(counter: Path) -> str:
    """A line that leaves a mark each time it is executed."""
    return f"with open({str(counter)!r}, 'a') as file: file.write('x')"


def failure(rule: RuleSpec, given: RuleCase) -> str:
    """What the rule says is wrong."""
    with pytest.raises(plugin.CustomRouterError) as caught:
        ask_rule(rule, given)
    return str(caught.value)


def test_plain_and_async(rule: RuleSpec, tmp_path: Path) -> None:
    """A plain function and a coroutine function decide alike; nothing returned leaves it to the other rules."""
    plain = write(
        tmp_path / "plain.py", 'def route(req, config):\n    return "acme,small" if "cheap" in req.text else None\n'
    )
    later = write(
        tmp_path / "later.py",
        'import asyncio\nasync def route(req, config):\n    await asyncio.sleep(0)\n    return "acme,big,high"\n',
    )
    empty = write(tmp_path / "empty.py", 'def route(req, config):\n    return ""\n')
    check_rule(
        rule,
        [
            case(plain, body=ask("the cheap one"), model="acme,small", scenario="default"),
            case(plain, body=ask("the other one")),
            case(later, model="acme,big,high"),
            case(empty),
            RuleCase(),
            RuleCase(config={"CUSTOM_ROUTER_PATH": ""}),
        ],
    )


def test_reasons(rule: RuleSpec, tmp_path: Path) -> None:
    """The reason names the file."""
    path = write(tmp_path / "mine.py", "def route(req, config):\n    return config.get('answer')\n")
    said = [
        ask_rule(rule, case(path, config={"answer": "acme,small"})),
        ask_rule(rule, case(path)),
        ask_rule(rule, RuleCase()),
    ]

    assert [
        Decision("acme,small", "mine.py chose it"),
        Pass("mine.py leaves it to the other rules"),
        Pass("CUSTOM_ROUTER_PATH is not set"),
    ] == said


def seen(rule: RuleSpec, tmp_path: Path, expression: str, given: RuleCase) -> Any:
    """What ``expression`` is inside of a custom router."""
    path = write(tmp_path / "seen.py", f"def route(req, config):\n    return repr({expression})\n")
    said = ask_rule(rule, case(path, body=given.body, headers=given.headers, tokens=given.tokens))
    assert isinstance(said, Decision)
    return eval(said.model)


def test_request(rule: RuleSpec, tmp_path: Path) -> None:
    """The request's parts have the names that the README gives them."""
    headers = {**claude_code_headers(request_class="subagent"), "x-claude-code-agent-type": "Explore"}
    given = RuleCase(body=claude_code_request("Look around."), headers=headers, tokens=321)
    expression = (
        "(req.text, req.first_text, req.model, req.session_id, req.token_count, req.hints.request_class,"
        " req.hints.agent_type, req.headers['x-app'], req.body['max_tokens'], req.last_usage)"
    )

    assert (
        "Look around.",
        "Look around.",
        "acme,big",
        headers["x-claude-code-session-id"],
        321,
        "subagent",
        "Explore",
        "cli",
        32000,
        None,
    ) == seen(rule, tmp_path, expression, given)


def test_text(rule: RuleSpec, tmp_path: Path) -> None:
    """The texts are the user's own: no tool results, no reminders, nobody else's."""
    history = claude_code_history()
    tools = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]
    bodies = [
        claude_code_request("First."),
        claude_code_request("First.", history=history[:6]),
        claude_code_request("First.", history=history),
        ask(messages=tools),
        ask("plain"),
    ]

    got = [seen(rule, tmp_path, "(req.first_text, req.text)", RuleCase(body=body)) for body in bodies]

    assert [("First.", "First."), ("First.", "First."), ("First.", "Go on."), ("", ""), ("plain", "plain")] == got


def test_token_count_without_a_count(rule: RuleSpec, tmp_path: Path) -> None:
    """If no rule has the request counted, the count is an estimate, not nothing."""
    assert 90 < seen(rule, tmp_path, "req.token_count", RuleCase(body=ask("word " * 100))) < 180


def test_router_in_effect(rule: RuleSpec, tmp_path: Path) -> None:
    """``config["Router"]`` is the section in effect, with what it leaves out."""
    path = write(
        tmp_path / "r.py", 'def route(req, config):\n    return ";".join(sorted(map(str, config["Router"].items())))\n'
    )
    said = ask_rule(rule, case(path, router={"think": "acme,small"}))

    assert isinstance(said, Decision)
    assert "('default', 'acme,big');('think', 'acme,small')" == said.model


async def test_copies(rule: RuleSpec, tmp_path: Path) -> None:
    """Whatever the function does to what it is given changes neither request nor configuration."""
    path = write(
        tmp_path / "rude.py",
        "def route(req, config):\n"
        "    req.body['messages'][0]['content'][1]['text'] = 'changed'\n"
        "    req.body.clear(); req.headers.clear()\n"
        "    config['Router']['default'] = 'x'; config.clear()\n",
    )
    request = as_request(claude_code_request("Keep me."), claude_code_headers())
    given = {"CUSTOM_ROUTER_PATH": str(path), "Router": {"default": "acme,big"}}
    before = copy.deepcopy((request.body, dict(request.headers), given))
    context = RuleCase()
    await plugin.decide(request, _context(context, given, request))

    assert before == (request.body, dict(request.headers), given)


def _context(given: RuleCase, config: dict[str, Any], request: Any) -> Any:
    from ccr_core import RouteContext

    return RouteContext(
        options=None,
        router=given.router,
        config=config,
        hints=request.hints,
        requested_model=request.model,
        find=lambda text: None,
    )


def test_changed_file(rule: RuleSpec, tmp_path: Path) -> None:
    """A file is executed once, and again when it has changed, even within the same second."""
    counter = tmp_path / "count"
    source = f"{mark(counter)}\ndef route(req, config): return 'acme,%s'\n"
    path = write(tmp_path / "mine.py", source % "small")
    first = [ask_rule(rule, case(path)) for _ in range(3)]
    write(path, source % "big")
    second = ask_rule(rule, case(path))
    write(path, source % "BIG")
    os.utime(path, ns=(1, 1))
    third = ask_rule(rule, case(path))

    assert ["acme,small"] * 3 == [said.model for said in first if isinstance(said, Decision)]
    assert ["acme,big", "acme,BIG"] == [said.model for said in (second, third) if isinstance(said, Decision)]
    assert "xxx" == counter.read_text()


def test_broken_file_is_not_executed_again(rule: RuleSpec, tmp_path: Path) -> None:
    """A file that fails is tried again only after it has changed."""
    counter = tmp_path / "count"
    path = write(tmp_path / "mine.py", f"{mark(counter)}\n1 / 0\n")
    failures = [failure(rule, case(path)) for _ in range(3)]
    write(path, "def route(req, config): return 'acme,small'\n")

    assert ["mine.py, line 2: ZeroDivisionError: division by zero"] * 3 == failures
    assert "x" == counter.read_text()
    assert isinstance(ask_rule(rule, case(path)), Decision)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def route(req, config)\n    pass\n", "mine.py, line 1: SyntaxError: expected ':'"),
        ("import surely_not_there\n", "mine.py, line 1: ModuleNotFoundError: No module named 'surely_not_there'"),
        ("def router(req, config): pass\n", "mine.py defines no function route(req, config)"),
        ("route = 'acme,big'\n", "mine.py defines no function route(req, config)"),
        (
            "def route(req, config):\n    x = 1\n    return req.body['nothing']\n",
            "mine.py, line 3: KeyError: 'nothing'",
        ),
        ("async def route(req, config):\n    raise ValueError('no')\n", "mine.py, line 2: ValueError: no"),
        ("async def route(req, config):\n    raise TimeoutError('own')\n", "mine.py, line 2: TimeoutError: own"),
        ("def route(req, config):\n    raise TimeoutError('own')\n", "mine.py, line 2: TimeoutError: own"),
        ("def route(req): pass\n", "mine.py: TypeError: route() takes 1 positional argument but 2 were given"),
        ("def route(req, config): return 7\n", 'mine.py: route() must return "provider,model" or None, got 7'),
    ],
)
def test_errors(rule: RuleSpec, tmp_path: Path, source: str, expected: str) -> None:
    """Whatever is wrong is told with file and line."""
    assert expected == failure(rule, case(write(tmp_path / "mine.py", source)))


def test_javascript(rule: RuleSpec, tmp_path: Path) -> None:
    """A file of the older tool is refused with what to write instead."""
    path = write(tmp_path / "custom-router.js", "module.exports = async () => null\n")

    assert (
        f"{path} is not Python: custom routers are .py files now; write "
        'def route(req, config): return "provider,model"  (or None), and name that file in CUSTOM_ROUTER_PATH'
    ) == failure(rule, case(path))


def test_missing_file(rule: RuleSpec, tmp_path: Path) -> None:
    """A file that is not there is named."""
    path = tmp_path / "gone.py"

    assert f"cannot read {path}: No such file or directory" == failure(rule, case(path))


def test_slow(rule: RuleSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An async function that does not come back is given up."""
    monkeypatch.setattr(plugin, "SECONDS", 0.05)
    path = write(tmp_path / "slow.py", "import asyncio\nasync def route(req, config):\n    await asyncio.sleep(60)\n")

    assert "slow.py: route() took longer than 0.05 s" == failure(rule, case(path))


async def test_cancelled(tmp_path: Path) -> None:
    """When the client leaves, the function is left too."""
    path = write(tmp_path / "slow.py", "import asyncio\nasync def route(req, config):\n    await asyncio.sleep(60)\n")
    request = as_request(ask())
    task = asyncio.create_task(plugin.decide(request, _context(RuleCase(), {"CUSTOM_ROUTER_PATH": str(path)}, request)))
    await asyncio.sleep(0.01)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


def test_home(rule: RuleSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the user's folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "mine.py", "def route(req, config): return 'acme,small'\n")

    assert Decision("acme,small", "mine.py chose it") == ask_rule(rule, case("~/mine.py"))


@pytest.mark.parametrize(
    ("source", "warnings"),
    [
        ("def route(req, config): return None\n", []),
        ("1 / 0\n", ["mine.py, line 1: ZeroDivisionError: division by zero"]),
    ],
)
def test_check(tmp_path: Path, source: str, warnings: list[str]) -> None:
    """A file that cannot be used is a warning at start; where none is named there is nothing to warn of."""
    path = write(tmp_path / "mine.py", source)

    assert warnings == [*plugin.check(None, {"CUSTOM_ROUTER_PATH": str(path)})]
    assert [] == [*plugin.check(None, {})]


def test_dataclasses(rule: RuleSpec, tmp_path: Path) -> None:
    """The file is a module like others: classes that look for theirs find it."""
    path = write(
        tmp_path / "mine.py",
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass R:\n    model: str = 'small'\n"
        "def route(req, config): return f'acme,{R().model}'\n",
    )

    assert Decision("acme,small", "mine.py chose it") == ask_rule(rule, case(path))
