"""The core of ccr: what plugins are written against.

Every public name is listed here and resolved at its first use, so that ``import ccr_core`` costs nothing and a
command imports only what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "hookspecs": ("hookimpl",),
    "spec": ("CounterSpec", "Embedded", "ObserverSpec", "ProviderSpec", "RuleSpec", "TransformerSpec"),
    "dialect": (
        "Context",
        "Dialect",
        "Ingress",
        "Outcome",
        "Target",
        "WireReply",
        "WireRequest",
        "error_text",
    ),
    "transform": ("Transformer",),
    "routing": ("Decision", "Pass", "Route", "RouteContext"),
    "push": ("Pipe", "Push", "Stage"),
    "sse": ("Chunk", "SseParser"),
    "events": (
        "BlockDelta",
        "BlockStart",
        "BlockStop",
        "Event",
        "MessageDelta",
        "MessageStart",
        "MessageStop",
        "Ping",
        "StreamError",
        "Unknown",
        "assemble",
        "explode",
        "explode_block",
        "parse_arguments",
    ),
    "messages": (
        "JSON",
        "Headers",
        "Hints",
        "Request",
        "blocks_of",
        "hints_of",
        "loads",
        "map_blocks",
        "new_id",
        "parse_body",
        "seal",
        "text_of",
        "unseal",
        "walk_blocks",
    ),
    "auth": ("ApiKey", "Auth", "Token"),
    "tokens": ("Counter", "count_request"),
    "observe": (
        "Answered",
        "Arrived",
        "Failed",
        "Finished",
        "Observation",
        "Observer",
        "Routed",
        "Sent",
        "Streamed",
    ),
    "errors": (
        "AuthError",
        "CcrError",
        "ConfigError",
        "PluginError",
        "ProtocolError",
        "RequestError",
        "RoutingError",
        "UpstreamError",
        "kind_of",
    ),
}

_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from ccr_core.auth import ApiKey, Auth, Token
    from ccr_core.dialect import (
        Context,
        Dialect,
        Ingress,
        Outcome,
        Target,
        WireReply,
        WireRequest,
        error_text,
    )
    from ccr_core.errors import (
        AuthError,
        CcrError,
        ConfigError,
        PluginError,
        ProtocolError,
        RequestError,
        RoutingError,
        UpstreamError,
        kind_of,
    )
    from ccr_core.events import (
        BlockDelta,
        BlockStart,
        BlockStop,
        Event,
        MessageDelta,
        MessageStart,
        MessageStop,
        Ping,
        StreamError,
        Unknown,
        assemble,
        explode,
        explode_block,
        parse_arguments,
    )
    from ccr_core.hookspecs import hookimpl
    from ccr_core.messages import (
        JSON,
        Headers,
        Hints,
        Request,
        blocks_of,
        hints_of,
        loads,
        map_blocks,
        new_id,
        parse_body,
        seal,
        text_of,
        unseal,
        walk_blocks,
    )
    from ccr_core.observe import (
        Answered,
        Arrived,
        Failed,
        Finished,
        Observation,
        Observer,
        Routed,
        Sent,
        Streamed,
    )
    from ccr_core.push import Pipe, Push, Stage
    from ccr_core.routing import Decision, Pass, Route, RouteContext
    from ccr_core.spec import (
        CounterSpec,
        Embedded,
        ObserverSpec,
        ProviderSpec,
        RuleSpec,
        TransformerSpec,
    )
    from ccr_core.sse import Chunk, SseParser
    from ccr_core.tokens import Counter, count_request
    from ccr_core.transform import Transformer
