"""A real browser before a real router: fixtures, and the rule about a missing browser.

With Chromium and axe-core installed the tests run. Without them they fail with what to install where they are wanted
(`CI=true` or `CCR_E2E=1`); elsewhere they are left out, and a line of pytest's report says so.

The browser is the distribution's (`apt-get install chromium`); Playwright's own is never fetched. Every page that a
test opens is watched: whatever the console calls an error, an uncaught exception or a violation of the content
security policy fails the test. Pictures are kept in `tests/browser/pictures`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

from install_axe import SCRIPT  # noqa: E402
from install_clients import ClientsError, folder, installed  # noqa: E402
from people import Home, Person  # noqa: E402

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def chromium() -> str | None:
    """The program, if it is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def wanted() -> bool:
    """Whether a missing browser is a failure."""
    return os.environ.get("CI", "").lower() in ("true", "1") or os.environ.get("CCR_E2E") == "1"


def missing() -> str:
    """Why there can be no test in a browser; empty when there can."""
    if chromium() is None:
        return "there is no Chromium: apt-get install chromium"
    return "" if SCRIPT.is_file() else "axe-core is not installed: run `python tests/e2e/install_axe.py`"


def no_clients() -> bool:
    """Whether there is no Claude Code for the tests that need one, too."""
    try:
        installed(folder())
    except ClientsError:
        return True
    return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these tests out where there is no browser and none is wanted."""
    ours = [item for item in items if HERE in item.path.parents and not wanted()]
    out = [item for item in ours if missing() or (item.get_closest_marker("e2e") and no_clients())]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def pytest_report_collectionfinish() -> list[str]:
    """Say in the report what became of the tests in a browser."""
    why = missing()
    return [f"tests in a browser are left out: {why}"] if why and not wanted() else []


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests; each has contexts of its own, which share nothing."""
    why = missing()
    if why:
        pytest.fail(why, pytrace=False)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A fresh HOME for a router, which ends with the test."""
    home = Home(tmp_path)
    try:
        yield home
    finally:
        home.close()


@pytest.fixture
def person(browser: Any, home: Home) -> Iterator[Any]:
    """Opens a browser for one more person: `person(width=390, scheme="dark")`; all are checked at the end."""
    people: list[Person] = []

    def another(**given: Any) -> Person:
        people.append(Person(browser, home, **given))
        return people[-1]

    yield another
    complaints = [complaint for each in people for complaint in each.end()]
    assert [] == complaints
