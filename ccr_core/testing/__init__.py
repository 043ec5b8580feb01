"""The public test kit: what plugins are tested with, ours and anyone's.  See ``docs/testing.md``.

Names resolve at their first use, so that a test loads only what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "bodies": (
        "as_request",
        "ask",
        "claude_code_headers",
        "claude_code_history",
        "claude_code_request",
        "claude_code_tools",
        "tool",
    ),
    "dialects": ("Decoded", "check_dialect", "check_ingress", "context", "decode", "sample_requests"),
    "flows": ("replay",),
    "grammar": ("check_stream", "to_wire"),
    "harness": ("Answer", "Harness", "Make", "Stream", "StreamEvent", "config"),
    "plugin": ("check_plugin", "entry_module", "private_uses"),
    "recordings": ("Call", "Expected", "Failure", "Meaning", "Recording", "expected", "whole"),
    "samples": ("PLAIN", "RICH", "SEED", "message", "pieces", "random_pieces", "recut", "steady_ids"),
    "served": ("Line", "Served", "serving"),
    "steps": ("RuleCase", "Trial", "ask_rule", "check_rule", "check_transformer"),
    "upstream": ("Received", "Upstream", "sse", "streamed"),
}

_WHERE = {name: module for module, names in _HOME.items() for name in names}

_MODULES = ("loopback", "recordings", "samples", "signins", "standins")

__all__ = sorted({*_WHERE, *_MODULES})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    # Named twice so that type checkers see them as exported.
    from ccr_core.testing import loopback as loopback
    from ccr_core.testing import recordings as recordings
    from ccr_core.testing import samples as samples
    from ccr_core.testing import signins as signins
    from ccr_core.testing import standins as standins
    from ccr_core.testing.bodies import as_request as as_request
    from ccr_core.testing.bodies import ask as ask
    from ccr_core.testing.bodies import claude_code_headers as claude_code_headers
    from ccr_core.testing.bodies import claude_code_history as claude_code_history
    from ccr_core.testing.bodies import claude_code_request as claude_code_request
    from ccr_core.testing.bodies import claude_code_tools as claude_code_tools
    from ccr_core.testing.bodies import tool as tool
    from ccr_core.testing.dialects import Decoded as Decoded
    from ccr_core.testing.dialects import check_dialect as check_dialect
    from ccr_core.testing.dialects import check_ingress as check_ingress
    from ccr_core.testing.dialects import context as context
    from ccr_core.testing.dialects import decode as decode
    from ccr_core.testing.dialects import sample_requests as sample_requests
    from ccr_core.testing.flows import replay as replay
    from ccr_core.testing.grammar import check_stream as check_stream
    from ccr_core.testing.grammar import to_wire as to_wire
    from ccr_core.testing.harness import Answer as Answer
    from ccr_core.testing.harness import Harness as Harness
    from ccr_core.testing.harness import Make as Make
    from ccr_core.testing.harness import Stream as Stream
    from ccr_core.testing.harness import StreamEvent as StreamEvent
    from ccr_core.testing.harness import config as config
    from ccr_core.testing.plugin import check_plugin as check_plugin
    from ccr_core.testing.plugin import entry_module as entry_module
    from ccr_core.testing.plugin import private_uses as private_uses
    from ccr_core.testing.recordings import Call as Call
    from ccr_core.testing.recordings import Expected as Expected
    from ccr_core.testing.recordings import Failure as Failure
    from ccr_core.testing.recordings import Meaning as Meaning
    from ccr_core.testing.recordings import Recording as Recording
    from ccr_core.testing.recordings import expected as expected
    from ccr_core.testing.recordings import whole as whole
    from ccr_core.testing.samples import PLAIN as PLAIN
    from ccr_core.testing.samples import RICH as RICH
    from ccr_core.testing.samples import SEED as SEED
    from ccr_core.testing.samples import message as message
    from ccr_core.testing.samples import pieces as pieces
    from ccr_core.testing.samples import random_pieces as random_pieces
    from ccr_core.testing.samples import recut as recut
    from ccr_core.testing.samples import steady_ids as steady_ids
    from ccr_core.testing.served import Line as Line
    from ccr_core.testing.served import Served as Served
    from ccr_core.testing.served import serving as serving
    from ccr_core.testing.steps import RuleCase as RuleCase
    from ccr_core.testing.steps import Trial as Trial
    from ccr_core.testing.steps import ask_rule as ask_rule
    from ccr_core.testing.steps import check_rule as check_rule
    from ccr_core.testing.steps import check_transformer as check_transformer
    from ccr_core.testing.upstream import Received as Received
    from ccr_core.testing.upstream import Upstream as Upstream
    from ccr_core.testing.upstream import sse as sse
    from ccr_core.testing.upstream import streamed as streamed
