"""Getting in, and staying out."""

from __future__ import annotations

from typing import Any

import pytest
from people import Home, example
from scripted import Upstream

pytestmark = pytest.mark.browser


def test_link_and_token(home: Home, person: Any) -> None:
    """A link works once and leaves no code in the address; without a session the page asks for the management token."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        link = home.link()
        first = person(signed_in=False)
        first.page.goto(link)
        first.page.wait_for_selector(".tiles")
        assert "code=" not in first.page.url

        second = person(signed_in=False, width=390, scheme="dark")
        second.expects("401", "403")
        page = second.page
        page.goto(link)
        page.wait_for_selector("form.sign-in")
        assert "code=" not in page.url
        assert "ccr ui" in page.inner_text("main")
        second.picture("sign-in-page")
        assert [] == second.faults()
        page.fill("form.sign-in input", "wrong")
        page.press("form.sign-in input", "Enter")
        page.wait_for_selector("form.sign-in .error:not(:empty)")
        page.fill("form.sign-in input", (home.ccr / "management.token").read_text())
        page.press("form.sign-in input", "Enter")
        page.wait_for_selector(".page h1")

        page.reload()
        page.wait_for_selector(".page h1")
        if page.is_visible("#opener"):
            page.click("#opener")
        page.click("button:text('Sign out')")
        page.wait_for_selector("form.sign-in")
        page.reload()
        page.wait_for_selector("form.sign-in")


def test_keyboard(home: Home, person: Any) -> None:
    """The first tab leads past the navigation, a new page has the focus on its heading, and a dialog gives it back."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        somebody = person()
        page = somebody.go("providers")
        assert "H1" == page.evaluate("document.activeElement.tagName")
        page.reload()
        page.wait_for_selector(".provider")
        page.keyboard.press("Tab")
        assert "Skip to the content" == page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        assert "main" == page.evaluate("document.activeElement.id")

        somebody.go("routing")
        page.focus("input[data-key=think]")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert "up,m1" == page.input_value("input[data-key=think]")
        page.focus("button:text('Add a test')")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        assert "Add a test" == page.evaluate("document.activeElement.textContent")
