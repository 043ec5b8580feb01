"""The exceptions: what a client is told."""

from __future__ import annotations

import pytest

from ccr_core import (
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
from ccr_core.errors import KINDS, STATUSES


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
        (302, "api_error"),
    ],
)
def test_kind_of(status: int, kind: str) -> None:
    """A status has an error type of the Messages API; unknown refusals are the client's fault."""
    assert kind == kind_of(status)


def test_kinds_have_statuses() -> None:
    """Every kind that a status gives has a status itself, for errors inside a stream."""
    assert set() == set(KINDS.values()) - set(STATUSES)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (CcrError("x"), 500, "api_error"),
        (ConfigError("x"), 500, "api_error"),
        (RequestError("x"), 400, "invalid_request_error"),
        (RequestError("x", 413), 413, "request_too_large"),
        (RoutingError("x"), 404, "not_found_error"),
        (AuthError("x"), 401, "authentication_error"),
        (PluginError("p", "s", "m", ValueError("x")), 500, "api_error"),
        (UpstreamError("x"), 502, "api_error"),
        (UpstreamError("x", 429), 429, "rate_limit_error"),
        (UpstreamError("x", 400, "odd_error"), 400, "odd_error"),
        (ProtocolError("x"), 502, "api_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, CcrError) else None,
)
def test_status_and_kind(error: CcrError, status: int, kind: str) -> None:
    """Each error knows the status and the type with which a client is answered, and its message."""
    assert (status, kind, str(error)) == (error.status, error.kind, error.message)


def test_the_tree() -> None:
    """Whoever catches failures of providers catches broken protocols too, and everything is a ``CcrError``."""
    assert issubclass(ProtocolError, UpstreamError)
    kinds = (ConfigError, RequestError, RoutingError, AuthError, PluginError, UpstreamError)
    assert all(issubclass(kind, CcrError) for kind in kinds)


def test_plugin_error() -> None:
    """A plugin's failure names the plugin, the step, the method and the exception."""
    error = PluginError("ccr-plugin-x 1.0", "maxtoken at Providers[0]", "on_request", KeyError("a"))

    assert "maxtoken at Providers[0] (plugin ccr-plugin-x 1.0) failed in on_request: KeyError: 'a'" == error.message


def test_headers_of_a_refusal() -> None:
    """Of a provider's headers the client sees those that tell it when to try again, and the request's id."""
    headers = {"retry-after": "5", "x-should-retry": "true", "request-id": "r", "set-cookie": "secret", "server": "x"}

    assert {"retry-after": "5", "x-should-retry": "true", "request-id": "r"} == UpstreamError(
        "x", 429, None, headers
    ).headers
    assert {} == UpstreamError("x").headers
