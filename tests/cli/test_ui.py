"""`ccr ui`: a link that works once, and a browser that is led to it without telling it to others."""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIG = {"Providers": [{"name": "echo"}], "Router": {"default": "echo,echo"}}


def sign_in(url: str, code: str) -> int:
    """The status of using a link's code."""
    request = urllib.request.Request(
        f"{url}/api/session", json.dumps({"code": code}).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def browser(ccr: Any) -> Path:
    """A program that stands for the browser: it writes down how it was started, and what it was shown."""
    seen: Path = ccr.root / "seen"
    program = ccr.bin / "surf"
    program.write_text(
        f"#!{sys.executable}\nimport sys, urllib.parse, urllib.request\n"
        f"page = urllib.request.url2pathname(urllib.parse.urlparse(sys.argv[1]).path)\n"
        f"open({str(seen)!r} + '~', 'w').write(sys.argv[1] + '\\n' + open(page).read())\n"
        f"import os; os.replace({str(seen)!r} + '~', {str(seen)!r})\n"
    )
    program.chmod(0o755)
    ccr.env["BROWSER"] = f"{program} %s"
    return seen


def test_the_browser_is_led_to_a_link_that_works_once(
    ccr: Any, browser: Path, wait_for: Callable[[Callable[[], Any]], Any]
) -> None:
    """The link is in a private file, not among the arguments of the browser, which everyone on the machine sees."""
    ccr.write_config(CONFIG)
    said = ccr.ok("ui")
    url = ccr.ok("status", "--json")
    url = json.loads(url)["url"]
    wait_for(browser.exists)
    given, _, page = browser.read_text().partition("\n")
    code = re.search(r"/ui/#code=([\w-]+)", page)

    assert f"the web UI is open at {url}/ui/\n" == said
    assert code is not None
    assert code[1] not in given
    assert code[1] not in said
    assert 0o600 == Path(given.removeprefix("file://")).stat().st_mode & 0o777
    assert [200, 401] == [sign_in(url, code[1]), sign_in(url, code[1])]


def test_the_link_can_be_had_without_a_browser(ccr: Any) -> None:
    """As a line, or as JSON with its end."""
    ccr.write_config(CONFIG)
    line = ccr.ok("ui", "--no-browser").strip()
    told = json.loads(ccr.ok("ui", "--json"))
    url, _, code = line.partition("/ui/#code=")

    assert ["expires", "url"] == sorted(told)
    assert told["url"].startswith(f"{url}/ui/#code=")
    assert 200 == sign_in(url, code)
    assert 200 == sign_in(url, told["url"].partition("#code=")[2])


def test_without_the_plugin_it_says_what_is_missing(ccr: Any) -> None:
    """A router without a web UI is started, and named."""
    ccr.write_config(CONFIG)
    done = ccr.run("ui", "--no-browser", env={"CCR_PLUGINS": "anthropic,echo"})

    assert 1 == done.returncode
    assert "" == done.stdout
    assert "error: the web UI is not installed; install it with: ccr plugins install ccr-plugin-ui" in done.stderr


def test_switched_off_it_says_so(ccr: Any) -> None:
    """The router's own reason is shown."""
    ccr.write_config({**CONFIG, "management": {"enabled": False}})
    done = ccr.run("ui", "--no-browser")

    assert (1, "") == (done.returncode, done.stdout)
    assert "error: management is switched off (management.enabled)" in done.stderr
