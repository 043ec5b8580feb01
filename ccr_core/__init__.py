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
    "spec": (
        "AuthSpec",
        "CatalogueSpec",
        "CheckSpec",
        "CounterSpec",
        "Embedded",
        "Endpoint",
        "ObserverSpec",
        "PageSpec",
        "ProviderSpec",
        "RuleSpec",
        "ServerToolSpec",
        "TokenStoreSpec",
        "TransformerSpec",
    ),
    "alike": ("Alike", "Pattern", "Piece"),
    "asked": (
        "AskedThinking",
        "BUDGETS",
        "CallIds",
        "FOREIGN_THINKING",
        "LEVELS",
        "answer_schema",
        "as_error",
        "described",
        "is_server_tool",
        "level_of",
        "long_names",
        "offered_tools",
        "result_text",
        "schema_in_words",
        "short_name",
        "thinking_of",
        "wants_search",
    ),
    "dialect": (
        "Context",
        "Dialect",
        "Ingress",
        "Outcome",
        "Target",
        "WireReply",
        "WireRequest",
        "error_text",
        "reading",
    ),
    "pages": ("Running",),
    "checks": ("CheckContext", "Finding", "ProviderFacts"),
    "transform": ("Transformer",),
    "servertool": ("ServerTool", "ToolCall", "ToolContext", "ToolResult"),
    "routing": ("Decision", "Pass", "Route", "RouteContext", "find_route"),
    "push": ("Pipe", "Push", "Stage"),
    "sse": ("Chunk", "SseParser", "parse_event"),
    "events": (
        "BlockDelta",
        "BlockKey",
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
    "auth": (
        "AccountError",
        "ApiKey",
        "Ask",
        "Auth",
        "AuthOptions",
        "AwaitCallback",
        "Call",
        "Command",
        "Flow",
        "Limited",
        "Listen",
        "Now",
        "OfferedModel",
        "OpenUrl",
        "Say",
        "ShowCode",
        "Sleep",
        "Token",
        "Window",
        "Wish",
    ),
    "flows": (
        "BrowserGrant",
        "Pkce",
        "account_id",
        "answer_of",
        "browser_login",
        "claims_of",
        "device_login",
        "error_code_of",
        "get_call",
        "new_state",
        "pkce",
        "post_call",
        "token_of",
        "url_with",
    ),
    "health": ("retry_after",),
    "tokenstore": ("FileStore", "TokenStore"),
    "shape": ("Shape", "json_text"),
    "tokens": ("Counter", "count_request"),
    "catalogue": ("Catalogue", "ModelFacts", "Prices", "Subject"),
    "observe": (
        "Answered",
        "Arrived",
        "Body",
        "Failed",
        "Finished",
        "Observation",
        "Observer",
        "Routed",
        "Sent",
        "Streamed",
    ),
    "locks": ("alone",),
    "cli.output": ("printable",),
    "config": ("home",),
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
    if not importlib.import_module(f"{__name__}.deprecated").warn(name):
        globals()[name] = value
    return value


if TYPE_CHECKING:
    # Named twice so that type checkers see them as exported.
    from ccr_core.alike import Alike as Alike
    from ccr_core.alike import Pattern as Pattern
    from ccr_core.alike import Piece as Piece
    from ccr_core.asked import BUDGETS as BUDGETS
    from ccr_core.asked import FOREIGN_THINKING as FOREIGN_THINKING
    from ccr_core.asked import LEVELS as LEVELS
    from ccr_core.asked import AskedThinking as AskedThinking
    from ccr_core.asked import CallIds as CallIds
    from ccr_core.asked import answer_schema as answer_schema
    from ccr_core.asked import as_error as as_error
    from ccr_core.asked import described as described
    from ccr_core.asked import is_server_tool as is_server_tool
    from ccr_core.asked import level_of as level_of
    from ccr_core.asked import long_names as long_names
    from ccr_core.asked import offered_tools as offered_tools
    from ccr_core.asked import result_text as result_text
    from ccr_core.asked import schema_in_words as schema_in_words
    from ccr_core.asked import short_name as short_name
    from ccr_core.asked import thinking_of as thinking_of
    from ccr_core.asked import wants_search as wants_search
    from ccr_core.auth import AccountError as AccountError
    from ccr_core.auth import ApiKey as ApiKey
    from ccr_core.auth import Ask as Ask
    from ccr_core.auth import Auth as Auth
    from ccr_core.auth import AuthOptions as AuthOptions
    from ccr_core.auth import AwaitCallback as AwaitCallback
    from ccr_core.auth import Call as Call
    from ccr_core.auth import Command as Command
    from ccr_core.auth import Flow as Flow
    from ccr_core.auth import Limited as Limited
    from ccr_core.auth import Listen as Listen
    from ccr_core.auth import Now as Now
    from ccr_core.auth import OfferedModel as OfferedModel
    from ccr_core.auth import OpenUrl as OpenUrl
    from ccr_core.auth import Say as Say
    from ccr_core.auth import ShowCode as ShowCode
    from ccr_core.auth import Sleep as Sleep
    from ccr_core.auth import Token as Token
    from ccr_core.auth import Window as Window
    from ccr_core.auth import Wish as Wish
    from ccr_core.catalogue import (
        Catalogue as Catalogue,
    )
    from ccr_core.catalogue import (
        ModelFacts as ModelFacts,
    )
    from ccr_core.catalogue import (
        Prices as Prices,
    )
    from ccr_core.catalogue import (
        Subject as Subject,
    )
    from ccr_core.checks import CheckContext as CheckContext
    from ccr_core.checks import Finding as Finding
    from ccr_core.checks import ProviderFacts as ProviderFacts
    from ccr_core.cli.output import printable as printable
    from ccr_core.config import (
        home as home,
    )
    from ccr_core.dialect import (
        Context as Context,
    )
    from ccr_core.dialect import (
        Dialect as Dialect,
    )
    from ccr_core.dialect import (
        Ingress as Ingress,
    )
    from ccr_core.dialect import (
        Outcome as Outcome,
    )
    from ccr_core.dialect import (
        Target as Target,
    )
    from ccr_core.dialect import (
        WireReply as WireReply,
    )
    from ccr_core.dialect import (
        WireRequest as WireRequest,
    )
    from ccr_core.dialect import (
        error_text as error_text,
    )
    from ccr_core.dialect import (
        reading as reading,
    )
    from ccr_core.errors import (
        AuthError as AuthError,
    )
    from ccr_core.errors import (
        CcrError as CcrError,
    )
    from ccr_core.errors import (
        ConfigError as ConfigError,
    )
    from ccr_core.errors import (
        PluginError as PluginError,
    )
    from ccr_core.errors import (
        ProtocolError as ProtocolError,
    )
    from ccr_core.errors import (
        RequestError as RequestError,
    )
    from ccr_core.errors import (
        RoutingError as RoutingError,
    )
    from ccr_core.errors import (
        UpstreamError as UpstreamError,
    )
    from ccr_core.errors import (
        kind_of as kind_of,
    )
    from ccr_core.events import (
        BlockDelta as BlockDelta,
    )
    from ccr_core.events import (
        BlockKey as BlockKey,
    )
    from ccr_core.events import (
        BlockStart as BlockStart,
    )
    from ccr_core.events import (
        BlockStop as BlockStop,
    )
    from ccr_core.events import (
        Event as Event,
    )
    from ccr_core.events import (
        MessageDelta as MessageDelta,
    )
    from ccr_core.events import (
        MessageStart as MessageStart,
    )
    from ccr_core.events import (
        MessageStop as MessageStop,
    )
    from ccr_core.events import (
        Ping as Ping,
    )
    from ccr_core.events import (
        StreamError as StreamError,
    )
    from ccr_core.events import (
        Unknown as Unknown,
    )
    from ccr_core.events import (
        assemble as assemble,
    )
    from ccr_core.events import (
        explode as explode,
    )
    from ccr_core.events import (
        explode_block as explode_block,
    )
    from ccr_core.events import (
        parse_arguments as parse_arguments,
    )
    from ccr_core.flows import BrowserGrant as BrowserGrant
    from ccr_core.flows import Pkce as Pkce
    from ccr_core.flows import account_id as account_id
    from ccr_core.flows import answer_of as answer_of
    from ccr_core.flows import browser_login as browser_login
    from ccr_core.flows import claims_of as claims_of
    from ccr_core.flows import device_login as device_login
    from ccr_core.flows import error_code_of as error_code_of
    from ccr_core.flows import get_call as get_call
    from ccr_core.flows import new_state as new_state
    from ccr_core.flows import pkce as pkce
    from ccr_core.flows import post_call as post_call
    from ccr_core.flows import token_of as token_of
    from ccr_core.flows import url_with as url_with
    from ccr_core.health import retry_after as retry_after
    from ccr_core.hookspecs import hookimpl as hookimpl
    from ccr_core.locks import alone as alone
    from ccr_core.messages import (
        JSON as JSON,
    )
    from ccr_core.messages import (
        Headers as Headers,
    )
    from ccr_core.messages import (
        Hints as Hints,
    )
    from ccr_core.messages import (
        Request as Request,
    )
    from ccr_core.messages import (
        blocks_of as blocks_of,
    )
    from ccr_core.messages import (
        hints_of as hints_of,
    )
    from ccr_core.messages import (
        loads as loads,
    )
    from ccr_core.messages import (
        map_blocks as map_blocks,
    )
    from ccr_core.messages import (
        new_id as new_id,
    )
    from ccr_core.messages import (
        parse_body as parse_body,
    )
    from ccr_core.messages import (
        seal as seal,
    )
    from ccr_core.messages import (
        text_of as text_of,
    )
    from ccr_core.messages import (
        unseal as unseal,
    )
    from ccr_core.messages import (
        walk_blocks as walk_blocks,
    )
    from ccr_core.observe import (
        Answered as Answered,
    )
    from ccr_core.observe import (
        Arrived as Arrived,
    )
    from ccr_core.observe import (
        Body as Body,
    )
    from ccr_core.observe import (
        Failed as Failed,
    )
    from ccr_core.observe import (
        Finished as Finished,
    )
    from ccr_core.observe import (
        Observation as Observation,
    )
    from ccr_core.observe import (
        Observer as Observer,
    )
    from ccr_core.observe import (
        Routed as Routed,
    )
    from ccr_core.observe import (
        Sent as Sent,
    )
    from ccr_core.observe import (
        Streamed as Streamed,
    )
    from ccr_core.pages import Running as Running
    from ccr_core.push import Pipe as Pipe
    from ccr_core.push import Push as Push
    from ccr_core.push import Stage as Stage
    from ccr_core.routing import Decision as Decision
    from ccr_core.routing import Pass as Pass
    from ccr_core.routing import Route as Route
    from ccr_core.routing import RouteContext as RouteContext
    from ccr_core.routing import find_route as find_route
    from ccr_core.servertool import (
        ServerTool as ServerTool,
    )
    from ccr_core.servertool import (
        ToolCall as ToolCall,
    )
    from ccr_core.servertool import (
        ToolContext as ToolContext,
    )
    from ccr_core.servertool import (
        ToolResult as ToolResult,
    )
    from ccr_core.shape import Shape as Shape
    from ccr_core.shape import json_text as json_text
    from ccr_core.spec import (
        AuthSpec as AuthSpec,
    )
    from ccr_core.spec import (
        CatalogueSpec as CatalogueSpec,
    )
    from ccr_core.spec import (
        CheckSpec as CheckSpec,
    )
    from ccr_core.spec import (
        CounterSpec as CounterSpec,
    )
    from ccr_core.spec import (
        Embedded as Embedded,
    )
    from ccr_core.spec import (
        Endpoint as Endpoint,
    )
    from ccr_core.spec import (
        ObserverSpec as ObserverSpec,
    )
    from ccr_core.spec import (
        PageSpec as PageSpec,
    )
    from ccr_core.spec import (
        ProviderSpec as ProviderSpec,
    )
    from ccr_core.spec import (
        RuleSpec as RuleSpec,
    )
    from ccr_core.spec import (
        ServerToolSpec as ServerToolSpec,
    )
    from ccr_core.spec import (
        TokenStoreSpec as TokenStoreSpec,
    )
    from ccr_core.spec import (
        TransformerSpec as TransformerSpec,
    )
    from ccr_core.sse import Chunk as Chunk
    from ccr_core.sse import SseParser as SseParser
    from ccr_core.sse import parse_event as parse_event
    from ccr_core.tokens import Counter as Counter
    from ccr_core.tokens import count_request as count_request
    from ccr_core.tokenstore import FileStore as FileStore
    from ccr_core.tokenstore import TokenStore as TokenStore
    from ccr_core.transform import Transformer as Transformer
