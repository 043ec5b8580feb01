"""Recorded answers and requests of Anthropic, through the ingress and the dialect."""

from __future__ import annotations

from pathlib import Path

from ccr_plugin_anthropic.dialect import Anthropic
from ccr_plugin_anthropic.ingress import AnthropicIngress

from ccr_core.testing.dialects import check_dialect, check_ingress
from ccr_core.testing.recordings import recordings

ROOT = Path(__file__).parents[3] / "tests" / "recordings"


def test_dialect() -> None:
    """Every recorded answer means what it says, streamed and whole, at any cut, passed on and decoded."""
    found = recordings(ROOT, "anthropic")

    assert 31 == len(found)
    check_dialect(Anthropic(), found)


def test_ingress() -> None:
    """Every recorded request is taken; every kind of answer is told so that it reads back to itself."""
    bodies = [one.request for one in recordings(ROOT, "anthropic") if one.request is not None]

    assert 19 == len(bodies)
    check_ingress(AnthropicIngress(), Anthropic(), bodies=bodies, exact=True)
