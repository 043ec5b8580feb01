"""What one does on the pages besides saving: explaining a route, running route tests, copying, filtering, designing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from people import Home, example
from scripted import Fail, Say, Upstream

pytestmark = pytest.mark.browser


def test_a_route_is_explained(home: Home, person: Any) -> None:
    """A described and a pasted request are answered by the real rules, and can be kept as a route test that runs."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        page = somebody.go("routing")
        page.click(".try label:has-text('Plan mode')")
        page.click(".try button:text('Explain')")
        page.wait_for_selector(".explained .notice.ok:has-text('up,m2,high')")
        assert "think" in page.inner_text(".rules li[data-state=decided]")
        assert [] == upstream.requests

        page.click("button:text('Keep as a test')")
        page.fill("dialog input >> nth=0", "planning")
        page.click("dialog button[type=submit]")
        page.click("button:text('Run them')")
        page.wait_for_selector(".badge:text('as expected') >> nth=1")
        somebody.save()
        assert {"name": "planning", "request": {"plan": True}, "expect": "up,m2,high"} == home.data()["Router"][
            "tests"
        ][1]

        page.click("summary:has-text('Or paste')")
        page.fill("details textarea", '{"model": "spare,s", "messages": [{"role": "user", "content": "hi"}]}')
        page.click("details button:text('Explain')")
        page.wait_for_selector(".explained .notice.ok:has-text('spare,s')")
        somebody.picture("explained")
        assert [] == somebody.faults()


def test_quick_fill(home: Home, person: Any) -> None:
    """Routes are filled in by the names of a provider's models, and nothing is written before Save."""
    models = ["claude-opus-4-5", "claude-haiku-4-5", "gpt-4o-vision"]
    provider = {"name": "mixed", "api_base_url": "http://127.0.0.1:9/v1/chat/completions", "api_key": "k"}
    home.write({"Providers": [{**provider, "models": models}], "Router": {"default": "mixed,gpt-4o-vision"}})
    home.start()
    somebody = person()
    page = somebody.go("routing")
    page.select_option("label:has-text('Quick fill') select", "mixed")
    filled = {
        key: page.input_value(f"input[data-key={key}]") for key in ("default", "background", "image", "longContext")
    }

    expected = {"default": "opus-4-5", "background": "haiku-4-5", "image": "4o-vision", "longContext": ""}
    assert [True] * 4 == [filled[key].endswith(end) for key, end in expected.items()]
    assert {"default": "mixed,gpt-4o-vision"} == home.data()["Router"]


def test_order_of_rules_and_fallback(home: Home, person: Any) -> None:
    """Rules are moved with the keyboard, a threshold is set in its rule, a fallback route is added, and saved."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        page = somebody.go("routing")
        page.focus("button[aria-label='Move background up']")
        page.keyboard.press("Enter")
        assert "Move background up" == page.evaluate("document.activeElement.ariaLabel")
        page.keyboard.press("Enter")
        page.fill(".field[data-path='Router.longContextThreshold'] input", "70000")
        page.click("button[aria-label='Add a route: Thinking']")
        page.fill("input[aria-label='Thinking 1']", "spare,s")
        somebody.save()

        router, order = home.data()["Router"], home.ask("GET", "/api/router")["order"]
        assert router["rules"] == order
        assert order.index("background") + 1 == order.index("image")
        assert 70000 == router["longContextThreshold"]
        assert {"default": ["spare,s"], "think": ["spare,s"]} == home.data()["fallback"]


def test_requests_are_filtered_and_copied(home: Home, person: Any) -> None:
    """Filters are in the address; a failed request shows why; a request is copied as a command."""
    with Upstream([Say(text="One."), Fail(status=400, message="no such thing")]) as upstream:
        home.write(dict(example(upstream.url, fallback={})))
        home.start(SPARE_KEY="k")
        home.message("one")
        with pytest.raises(OSError):
            home.message("two")
        somebody = person()
        page = somebody.go("requests")
        page.wait_for_selector("tbody tr >> nth=1")
        page.select_option(".field:has-text('Result') select", "error")
        page.wait_for_url("**/ui/#/requests?status=error")
        page.wait_for_selector("tbody tr[data-state=failed]")
        assert 1 == page.locator("tbody tr").count()
        page.click("tbody a")
        page.wait_for_selector(".notice.bad:has-text('no such thing')")
        somebody.picture("failed-request")
        assert [] == somebody.faults()
        page.click("button:text('Copy as curl')")
        page.wait_for_selector(".toast:has-text('Copied')")

        command = page.evaluate("navigator.clipboard.readText()")
        assert command.startswith(f"curl '{home.url}/v1/messages'")
        assert "$ANTHROPIC_AUTH_TOKEN" in command


def test_what_runs_is_followed(home: Home, person: Any) -> None:
    """A request is seen while it runs, and leaves the list of the running when it ends."""
    with Upstream(lambda _: Say(text="Slowly.", pause=1.0, silence=2.0)) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        page = somebody.go("requests?status=running")
        sending = threading.Thread(target=home.message, kwargs={"stream": True})
        sending.start()
        page.wait_for_selector("tbody tr[data-state=running]")
        sending.join()
        page.wait_for_selector("tbody tr", state="detached")


def test_status_line_is_designed(home: Home, person: Any) -> None:
    """A copy of a built-in style gets one more module; the picture follows, and the file has it after Save."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        page = somebody.go("statusline")
        page.click("button:text('Change a copy')")
        page.select_option("select[aria-label^='Add a module']", "cost")
        page.fill("details[open] .field:has-text('Text') input", "spent {{sessionCost}}")
        page.wait_for_selector(".terminal:has-text('spent $0.12')")
        somebody.picture("designer")
        assert [] == somebody.faults()
        somebody.save()

        modules = home.data()["StatusLine"]["default"]["modules"]
        assert {"type": "cost", "text": "spent {{sessionCost}}"} == modules[-1]
        assert "workDir" == modules[0]["type"]


def test_bodies_are_switched_on(home: Home, person: Any) -> None:
    """The options of an observer are a form as well; the next request is kept with its body."""
    with Upstream([Say(text="Kept.")]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        page = somebody.go("settings")
        page.click("details[data-offer=history] summary")
        page.select_option(".field[data-path='observers.history.bodies'] select", "true")
        somebody.save()
        assert {"bodies": True} == home.data()["observers"]["history"]

        home.message("Keep this.")
        somebody.go("requests")
        page.click("tbody tr[data-state=done] a")
        page.click("summary:has-text('Request of the client')")
        page.wait_for_selector("pre:has-text('Keep this.')")
