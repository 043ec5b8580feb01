"""The transformer ``streamoptions``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_openai_chat
import ccr_plugin_streamoptions as plugin
import pytest

from ccr_core.testing import Make, ask, check_plugin, check_transformer, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.rule]
(SPEC,) = plugin.ccr_transformers()


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)


@pytest.mark.parametrize(
    ("use", "stream", "expected"),
    [
        ("streamoptions", True, {"include_usage": True}),
        (["streamoptions", {"include_usage": False}], True, None),
        ("streamoptions", False, None),
    ],
    ids=["streamed", "switched off", "whole"],
)
async def test_usage_is_asked_for(ccr: Make, use: Any, stream: bool, expected: Any) -> None:
    """A streamed request asks for counts, even if a preset's options do not, and only if the configuration agrees."""
    explained = await ccr(config(use=[use]), plugins=PLUGINS).explain(ask(stream=stream))

    assert expected == explained["body"].get("stream_options")


async def test_the_providers_own_options_win(ccr: Make) -> None:
    """What the provider entry says of the dialect is stronger than the transformer."""
    router = ccr(config(use=["streamoptions"], options={"stream_usage": "never"}), plugins=PLUGINS)

    assert "stream_options" not in (await router.explain(ask()))["body"]
