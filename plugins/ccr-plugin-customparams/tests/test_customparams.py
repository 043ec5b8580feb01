"""The transformer ``customparams``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_customparams as plugin
import ccr_plugin_openai_chat
import pytest

from ccr_core.testing import Make, Trial, ask, check_plugin, check_transformer, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.rule]
(SPEC,) = plugin.ccr_transformers()
OPTIONS = {"seed": 7, "max_tokens": 1, "metadata": {"a": {"b": [1]}}}


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC, OPTIONS, bodies=[{"metadata": {"a": {"c": 1}}}])


@pytest.mark.parametrize(
    ("body", "options", "expected"),
    [
        ({"a": 1}, {"b": {"c": [1]}}, {"a": 1, "b": {"c": [1]}}),
        ({"a": {"x": 1, "y": {"z": 1}}}, {"a": {"x": 2, "y": {"w": 3}}}, {"a": {"x": 2, "y": {"z": 1, "w": 3}}}),
        ({"a": {"x": {"y": 1}}}, {"a": {"x": 5}}, {"a": {"x": 5}}),
        ({"a": {"x": 1}}, {"a": {"x": {"y": 5}}}, {"a": {"x": {"y": 5}}}),
        ({"a": None}, {"a": 1}, {"a": None}),
        ({}, {}, {}),
    ],
    ids=["missing", "objects", "a value for an object", "an object for a value", "null is a value", "nothing"],
)
def test_joining(body: dict[str, Any], options: dict[str, Any], expected: dict[str, Any]) -> None:
    """What is missing is added, and objects are joined at every depth."""
    assert expected == Trial(SPEC, options).wire(body).body


@pytest.mark.parametrize("held", [0.5, [1], "x", {"y": 1}], ids=["number", "list", "text", "object"])
def test_what_the_request_says_stays(held: Any) -> None:
    """A value of the request is not replaced, and the note says that the option had no effect."""
    trial = Trial(SPEC, {"a": 1})

    assert {"a": held} == trial.wire({"a": held}).body
    assert [("customparams", "a not set: the request has its own value for it")] == trial.notes


def test_the_same_value_is_no_news() -> None:
    """If the request already says the same there is nothing to note."""
    trial = Trial(SPEC, {"a": 1})

    assert ({"a": 1}, []) == (trial.wire({"a": 1}).body, trial.notes)


async def test_in_a_router(ccr: Make) -> None:
    """Any names pass the check of the configuration, and reach the body in the provider's format."""
    router = ccr(config(use=[["customparams", OPTIONS]]), plugins=PLUGINS)

    body = (await router.explain(ask()))["body"]

    assert (7, {"a": {"b": [1]}}, 1024) == (body["seed"], body["metadata"], body["max_tokens"])
