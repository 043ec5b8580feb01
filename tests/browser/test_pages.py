"""Every page in both colour schemes and on a wide and a narrow screen: no error, no fault for axe, a picture."""

from __future__ import annotations

from typing import Any

import pytest
from people import Home, example
from scripted import Say, Upstream

PAGES = {
    "overview": "Overview",
    "requests": "Requests",
    "logs": "Logs",
    "providers": "Providers",
    "providers/add": "Add a provider",
    "providers/add/deepseek": "Add deepseek",
    "providers/up": "up",
    "routing": "Routing",
    "transformers": "Transformers",
    "presets": "Presets",
    "presets/add": "Presets",
    "statusline": "Status line",
    "settings": "Settings",
    "raw": "Raw file",
    "signin": "Sign-in",
    "plugins": "Plugins",
    "health": "Health",
}


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages(home: Home, person: Any, scheme: str, width: int) -> None:
    """Each page is drawn from the real API, fits the window, and axe finds nothing serious."""
    with Upstream([Say(text="Hello there.")] * 6) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        for text in ("one", "two", "three"):
            home.message(text)
        reader = person(width=width, scheme=scheme)
        found = {}
        for place in PAGES:
            reader.go(place)
            reader.page.wait_for_timeout(300)
            reader.picture(place.replace("/", "-"))
            found[place] = (reader.heading(), reader.faults(), reader.too_wide() > 0)
        expected = {place: (title, [], False) for place, title in PAGES.items()}
        assert expected == found


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 360])
def test_request(home: Home, person: Any, width: int) -> None:
    """One request with everything that is known of it, reached from the list by the keyboard."""
    with Upstream([Say(text="Hello there.")]) as upstream:
        home.write(dict(example(upstream.url, observers={"history": {"bodies": True}})))
        home.start(SPARE_KEY="k")
        home.message("Good morning!")
        reader = person(width=width)
        page = reader.go("requests")
        page.locator("tbody a").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".rules")
        reader.picture("request")

        assert "up / m1" == reader.heading()
        assert "decided" in page.inner_text(".rules")
        assert ([], False) == (reader.faults(), reader.too_wide() > 0)


@pytest.mark.browser
def test_chinese(home: Home, person: Any) -> None:
    """A browser that prefers Chinese gets it; the choice of another language stays."""
    with Upstream([]) as upstream:
        home.write(dict(example(upstream.url)))
        home.start(SPARE_KEY="k")
        reader = person(language="zh-CN")
        reader.go("routing")
        reader.picture("chinese")
        assert ("路由", "zh", []) == (
            reader.heading(),
            reader.page.evaluate("document.documentElement.lang"),
            reader.faults(),
        )

        reader.page.select_option(".side-foot label:nth-of-type(2) select", "en")
        reader.page.wait_for_selector("h1:text('Routing')")
        reader.page.reload()
        reader.page.wait_for_selector("h1:text('Routing')")
