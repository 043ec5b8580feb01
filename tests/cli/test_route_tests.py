"""ccr config test."""

from __future__ import annotations

import json
from typing import Any

PROVIDER = {"name": "up", "api_base_url": "https://up.example/v1/messages", "api_key": "sk-x", "models": ["m", "deep"]}


def configure(ccr: Any, *tests: Any, **router: Any) -> None:
    """Write a configuration with route tests."""
    ccr.write_config({"Providers": [PROVIDER], "Router": {"default": "up,m", **router, "tests": list(tests)}})


def test_all_pass(ccr: Any) -> None:
    """Tests that pass are listed with where they go and why, exit code 0."""
    plan = {"name": "plan mode", "request": {"plan": True}, "expect": {"route": "up,deep", "rule": "think"}}
    configure(ccr, plan, {"request": {}, "expect": "up,m"}, think="up,deep")

    done = ccr.run("config", "test")

    assert (0, "all 2 route tests pass\n") == (done.returncode, done.stderr)
    assert [
        ["RESULT", "TEST", "GOES", "TO", "BECAUSE"],
        ["passes", "plan", "mode", "up,deep", "think:", "plan", "mode"],
        ["passes", "Router.tests[1]", "up,m", "default:", "Router.default"],
    ] == [line.split() for line in done.stdout.splitlines()]


def test_one_fails(ccr: Any) -> None:
    """A test that fails is explained by every rule's answer, exit code 1."""
    configure(ccr, {"name": "think", "request": {"thinking": "adaptive"}, "expect": "up,deep"}, think="up,deep")

    done = ccr.run("config", "test")

    assert (1, "error: 1 of 1 route tests failed\n") == (done.returncode, done.stderr)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "think (Router.tests[0])" in lines
    assert "expected the route up,deep, got up,m" in lines
    assert "passed    think: thinking is adaptive; neither plan mode nor ultrathink" in lines
    assert "decided   default: up,m: Router.default" in lines


def test_json(ccr: Any) -> None:
    """As JSON there is everything."""
    configure(ccr, {"request": {}, "expect": "up,m"}, {"request": {"model": "no,m"}, "expect": "up,m"})

    done = ccr.run("config", "test", "--json")
    found = json.loads(done.stdout)

    assert (1, False, 1, 1) == (done.returncode, found["ok"], found["passed"], found["failed"])
    assert [True, False] == [test["ok"] for test in found["tests"]]
    assert ["up,m", None] == [test["route"] for test in found["tests"]]
    assert "default" == found["tests"][0]["rules"][-1]["rule"]


def test_mistakes_in_tests(ccr: Any) -> None:
    """A mistake in a test is an error with its place in the file."""
    configure(ccr, {"request": {}, "expect": "up,m"}, {"request": {"foo": 1}, "expect": "up,m"})
    done = ccr.run("config", "test")
    assert (1, "") == (done.returncode, done.stdout)
    assert "Router.tests[1].request.foo   unknown key   (line 1, column" in done.stderr


def test_no_tests(ccr: Any) -> None:
    """Where there is nothing to test, nothing has passed."""
    ccr.write_config({"Providers": [PROVIDER]})
    done = ccr.run("config", "test")
    assert (1, "error: there are no route tests; write Router.tests, see docs/configuration.md\n") == (
        done.returncode,
        done.stderr,
    )


def test_configuration_that_cannot_be_used(ccr: Any) -> None:
    """The configuration itself is checked first."""
    configure(ccr, {"request": {}, "expect": "up,m"}, think="nobody,m")
    assert 'no provider for "nobody,m"' in ccr.run("config", "test").stderr


def test_custom_router_is_asked(ccr: Any) -> None:
    """The user's own rule takes part, and files beside another configuration are found."""
    (ccr.root / "route.py").write_text(
        "def route(req, config):\n    return 'up,deep' if 'deep' in req.text else None\n"
    )
    tests = [{"request": {"text": "go deep"}, "expect": "up,deep"}, {"request": {}, "expect": "up,m"}]
    document = {"Providers": [PROVIDER], "CUSTOM_ROUTER_PATH": "route.py", "Router": {"tests": tests}}
    (ccr.root / "other.json").write_text(json.dumps(document))
    assert "custom-router" in ccr.ok("config", "test", "--config", "other.json")


def test_they_are_known_and_stay_here(ccr: Any) -> None:
    """A configuration with route tests gives no warning; a preset made of it leaves them out."""
    configure(ccr, {"request": {"text": "my own words"}, "expect": "up,m"})
    assert [] == json.loads(ccr.ok("config", "check", "--json"))["warnings"]
    assert "left out   Router.tests" in ccr.ok("preset", "export", "mine").replace("PORT, ", "")
    assert "my own words" not in (ccr.folder / "presets" / "mine" / "manifest.json").read_text()
