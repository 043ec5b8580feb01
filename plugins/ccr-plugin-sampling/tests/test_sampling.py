"""The transformer ``sampling``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_openai_chat
import ccr_plugin_sampling as plugin
import pytest

from ccr_core import ConfigError
from ccr_core.testing import Make, Trial, ask, check_plugin, check_transformer, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.dialect, standins.rule]
(SPEC,) = plugin.ccr_transformers()
ALL = {"max_tokens": 100, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)
    check_transformer(SPEC, ALL)


@pytest.mark.parametrize("options", [ALL, {name: str(value) for name, value in ALL.items()}], ids=["numbers", "quoted"])
async def test_everything_is_set(ccr: Make, options: dict[str, Any]) -> None:
    """Each parameter reaches a service with the chat completions format, also where the client has its own."""
    router = ccr(config(use=[["sampling", options]]), plugins=PLUGINS)

    explained = await router.explain(ask(temperature=1, top_k=5))

    assert ALL == {name: explained["body"].get(name) for name in ALL}
    assert [] == explained["notes"]


async def test_other_formats(ccr: Make) -> None:
    """A format without repetition penalty gets the others, and a note."""
    router = ccr(config(use=[["sampling", ALL]], dialect="plain"), plugins=PLUGINS)

    explained = await router.explain(ask())

    assert {**ALL, "repetition_penalty": None} == {name: explained["body"].get(name) for name in ALL}
    assert [{"key": "sampling", "value": "repetition_penalty left out: this format does not have it"}] == (
        explained["notes"]
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({"max_tokens": 500}, 100), ({"max_tokens": 50}, 50), ({}, None)],
    ids=["larger", "smaller", "none"],
)
def test_max_tokens_is_a_cap(asked: dict[str, Any], expected: int | None) -> None:
    """A larger limit of the client is lowered; a smaller one and none stay."""
    request = Trial(SPEC, {"max_tokens": 100}).request({"messages": [], **asked})

    assert expected == request.body.get("max_tokens")


def test_nothing_to_do() -> None:
    """Without options the request is handed on, not copied."""
    body = ask()

    assert body is Trial(SPEC).request(body).body


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": "hot"}, 'must be a number, got "hot"'),
        ({"top_k": "1.5"}, 'must be a whole number, got "1.5"'),
        ({"max_tokens": 0}, "must be at least 1, got 0"),
        ({"topp": 1}, 'did you mean "top_p"'),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    """An option that cannot be used is refused with its name and the reason."""
    with pytest.raises(ConfigError, match=words):
        Trial(SPEC, options)
