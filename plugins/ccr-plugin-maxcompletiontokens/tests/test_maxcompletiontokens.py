"""The transformer ``maxcompletiontokens``."""

from __future__ import annotations

import ccr_plugin_maxcompletiontokens as plugin
import ccr_plugin_maxtoken
import ccr_plugin_openai_chat
import pytest

from ccr_core.testing import Make, ask, check_plugin, check_transformer, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_maxtoken, ccr_plugin_openai_chat, standins.ingress, standins.dialect, standins.rule]
(SPEC,) = plugin.ccr_transformers()


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)


@pytest.mark.parametrize("first", [True, False], ids=["before maxtoken", "after maxtoken"])
async def test_the_limit_goes_under_its_newer_name(ccr: Make, first: bool) -> None:
    """Whatever the order of the steps, only the newer name is sent, with the limit of the other step."""
    limit = ["maxtoken", {"max_tokens": 100}]
    use = ["MaxCompletionTokens", limit] if first else [limit, "MaxCompletionTokens"]

    body = (await ccr(config(use=use), plugins=PLUGINS).explain(ask()))["body"]

    assert (100, False) == (body["max_completion_tokens"], "max_tokens" in body)


async def test_other_formats_are_left_alone(ccr: Make) -> None:
    """A provider that speaks the Messages API gets the name that it knows."""
    router = ccr(config(use=["maxcompletiontokens"], dialect="plain"), plugins=PLUGINS)

    body = (await router.explain(ask()))["body"]

    assert (1024, False) == (body["max_tokens"], "max_completion_tokens" in body)
