"""The first hour with the router, in a browser: from nothing to a task of Claude Code that one can see, and further."""

from __future__ import annotations

from typing import Any

import pytest
from install_clients import Client, folder, installed
from people import Home
from rig import QUIET, Process
from scripted import Say, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.e2e]


def newest() -> Client:
    """The newest Claude Code that is installed for the tests."""
    return installed(folder())["newest"]


def task(home: Home, prompt: str) -> str:
    """A task for Claude Code through the router; what it printed."""
    project = home.folder / "project"
    project.mkdir(exist_ok=True)
    environ = {
        **home.environ,
        **QUIET,
        "ANTHROPIC_BASE_URL": home.url,
        "ANTHROPIC_AUTH_TOKEN": "dummy",
        "IS_SANDBOX": "1",
    }
    run = Process([newest().program, "-p", prompt], env=environ, cwd=project, logs=home.folder / "claude")
    code = run.wait(120)
    assert 0 == code, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_first_hour(home: Home, person: Any, scheme: str, width: int) -> None:
    """Add a provider from a preset, test it, set routes, see a real task live, add a transformer, break the file."""
    with Upstream(lambda _: Say(text="The sky is blue.")) as upstream:
        home.write({"PORT": home.port, "Providers": [], "Router": {}})
        home.start()
        somebody = person(scheme=scheme, width=width)
        page = somebody.page

        # First run: the page says what to do.
        assert "Getting started" in page.inner_text("main")
        somebody.picture("story-1-first-run")
        page.click("a:text('Add a provider')")

        # A provider from a preset; its host stands beside the field of the key.
        page.fill("input[type=search]", "deepseek")
        page.click(".preset:has-text('deepseek') >> nth=0")
        page.wait_for_selector(".key-box")
        assert "api.deepseek.com" in page.inner_text(".key-box")
        page.fill("input[type=url], .field[data-path=api_base_url] input", f"{upstream.url}/v1/chat/completions")
        assert f"127.0.0.1:{upstream.port}" in page.inner_text(".key-box")
        page.fill(".field[data-path=api_key] input", "sk-of-the-test-0123456789")
        page.fill(".field[data-path=models] input", "deepseek-chat")
        page.press(".field[data-path=models] input", "Enter")
        somebody.picture("story-2-provider")
        page.click("button:text('Add provider')")
        page.wait_for_selector("h1:text-is('deepseek')")
        assert "sk-of-the-test" not in page.content()

        # One small real request.
        page.click("button:text('Run the test')")
        page.wait_for_selector(".notice.ok")
        somebody.picture("story-3-test")

        # Routes.
        somebody.go("routing")
        page.fill("input[data-key=default]", "deepseek,deepseek-chat")
        page.fill("input[data-key=think]", "deepseek,deepseek-chat")
        page.select_option(".field[data-path='Router.think'] select", "high")
        somebody.save()
        route = "deepseek,deepseek-chat"
        assert (route, f"{route},high") == (home.data()["Router"]["default"], home.data()["Router"]["think"])
        somebody.picture("story-4-routes")

        # What a service of this address costs nobody knows but its user: the file itself takes that.
        somebody.go("raw")
        text = page.input_value(".editor textarea")
        priced = '{"name": "deepseek-chat", "prices": {"input": 3, "output": 15}}]'
        page.fill(".editor textarea", text.replace('"deepseek-chat"]', priced))
        somebody.save()
        assert 3 == home.data()["Providers"][0]["models"][-1]["prices"]["input"]

        # A task of the real client appears by itself, with its explanation.
        somebody.go("requests")
        page.wait_for_selector("tbody tr")
        before = page.locator("tbody tr").count()
        assert "The sky is blue." in task(home, "What colour is the sky?")
        page.wait_for_selector(f"tbody tr[data-state=done]:nth-last-child({before + 1})")
        somebody.picture("story-5-live")
        page.click("tbody tr[data-state=done] a >> nth=0")
        page.wait_for_selector(".rules")
        assert "decided" in page.inner_text(".rules")
        assert "deepseek / deepseek-chat" == somebody.heading()
        assert page.inner_text(".tile:has-text('Cost') .value").startswith("$0.0")
        somebody.picture("story-6-request")

        # A transformer with an option, in a form made from its own description.
        somebody.go("transformers/deepseek")
        page.fill("input[aria-label='Add a step: All models']", "maxtoken")
        page.click("button[aria-label='Add: All models']")
        page.fill(".field[data-path$='.max_tokens'] input", "2048")
        somebody.save()
        assert {"use": [["maxtoken", {"max_tokens": 2048}]]} == home.data()["Providers"][0]["transformer"]
        somebody.picture("story-7-transformer")
        task(home, "And the sea?")
        assert 2048 == upstream.requests[-1].body["max_tokens"]

        # Breaking the file: the problem is marked at its line, and nothing is written.
        before = home.config.read_bytes()
        somebody.expects("400")
        somebody.go("raw")
        text = page.input_value(".editor textarea")
        line = next(place for place, each in enumerate(text.split("\n"), 1) if '"think"' in each)
        page.fill(".editor textarea", text.replace('"think"', '"thinc"'))
        page.wait_for_selector(".gutter .bad")
        assert str(line) == page.inner_text(".gutter .bad >> nth=0")
        page.click("button:text-is('Save')")
        page.wait_for_selector(".toast.bad")
        assert "thinc" in page.inner_text("#problems")
        assert before == home.config.read_bytes()
        somebody.picture("story-8-broken")
        page.click("button:text-is('Discard')")
