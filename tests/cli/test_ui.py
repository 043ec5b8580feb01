"""`ccr ui`: a link that works once, and a browser that is led to it without telling it to others."""

from __future__ import annotations

from typing import Any

CONFIG = {"Providers": [{"name": "echo", "api_base_url": "http://echo.invalid", "api_key": "k", "models": ["echo"]}]}


def test_without_the_plugin_it_says_what_is_missing(ccr: Any) -> None:
    """A router without a web UI is started, and named."""
    ccr.write_config(CONFIG)
    done = ccr.run("ui", "--no-browser", env={"CCR_PLUGINS": "anthropic,openai-chat"})

    assert 1 == done.returncode
    assert "" == done.stdout
    assert "error: the web UI is not installed; install it with: ccr plugins install ccr-plugin-ui" in done.stderr
    assert ccr.ok("stop").startswith("ccr is stopped")


def test_switched_off_it_says_so(ccr: Any) -> None:
    """The router's own reason is shown."""
    ccr.write_config({**CONFIG, "management": {"enabled": False}})
    done = ccr.run("ui", "--no-browser")

    assert 1 == done.returncode
    assert "management is switched off (management.enabled)" in done.stderr or "is not installed" in done.stderr
    assert ccr.ok("stop").startswith("ccr is stopped")
