"""The few exceptions that somebody catches.

::

    CcrError(status, kind)
    ├── ConfigError      the configuration is wrong: every problem, each with its place
    ├── RequestError     the client's request is wrong
    ├── RoutingError     no provider or model for this request
    ├── AuthError        no usable credential; says the command that helps
    ├── PluginError      code of a plugin failed: which plugin, which step, which method
    └── UpstreamError    the provider refused, failed, or could not be reached
        └── ProtocolError   the provider broke its own protocol, or its answer was cut short

``kind`` is an error type of the Anthropic Messages API, so that an ingress needs one small table.  Messages start in
lower case, name the thing, and say what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

KINDS: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
"""HTTP status → error type, as the Messages API names them; see :func:`kind_of`."""

STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 504,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
    "api_error": 500,
}
"""Error type → HTTP status, for errors that arrive inside a stream and so have no status of their own."""


def kind_of(status: int) -> str:
    """The error type for an HTTP status; unknown 4xx are the client's, everything else is ``api_error``."""
    return KINDS.get(status) or ("invalid_request_error" if 400 <= status < 500 else "api_error")


class CcrError(Exception):
    """Base of all errors of the router.  ``status`` is what a client gets, ``kind`` the Anthropic error type."""

    status: int = 500
    kind: str = "api_error"
    details: Mapping[str, Any] | None = None
    """What a program should know of it, besides the words: the ``details`` of an error of the Messages API."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigError(CcrError):
    """The configuration cannot be used.  The message lists every problem with its place.

    ``problems`` are the same for programs (:class:`ccr_core.config.Problem`), where they are known one by one.
    """

    def __init__(self, message: str, problems: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class RequestError(CcrError):
    """The client's request is wrong; ``status`` says how (400 unless told otherwise)."""

    def __init__(self, message: str, status: int = 400, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind_of(status)
        self.details = details


class RoutingError(CcrError):
    """No provider or no model could be chosen.  ``answers`` is what each rule said, where rules were asked."""

    status = 404
    kind = "not_found_error"

    def __init__(self, message: str, answers: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.answers = tuple(answers)


class AuthError(CcrError):
    """There is no usable credential for a provider.  The message names the command that helps."""

    status = 401
    kind = "authentication_error"


class PluginError(CcrError):
    """Code of a plugin raised.  The exchange fails: a request with a step missing would be another request."""

    def __init__(self, plugin: str, step: str, method: str, error: BaseException) -> None:
        super().__init__(f"{step} (plugin {plugin}) failed in {method}: {type(error).__name__}: {error}")
        self.plugin = plugin
        self.step = step
        self.method = method


def limits_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a provider's answer, good or bad, from which a client shows what is left of a plan."""
    return {name: value for name, value in headers.items() if name.startswith("anthropic-ratelimit-")}


class UpstreamError(CcrError):
    """The provider refused or failed.

    ``headers`` are those of its answer that the client should see (``retry-after`` and the like), lower-case names.
    ``status`` keeps the provider's status class; failures of the network are 502 and 504.
    """

    PASSED: ClassVar[frozenset[str]] = frozenset(
        {"retry-after", "retry-after-ms", "x-should-retry", "request-id", "x-request-id"}
    )
    """The headers of a provider's refusal that a client should see, beside those that :func:`limits_of` gives."""

    def __init__(
        self,
        message: str,
        status: int = 502,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.details = details
        self.status = status
        self.kind = kind or kind_of(status)
        self.headers: dict[str, str] = {name: value for name, value in (headers or {}).items() if name in self.PASSED}
        self.headers |= limits_of(headers or {})


class Unreachable(UpstreamError):
    """No connection to the provider could be made: it has seen nothing of the request."""


class ProtocolError(UpstreamError):
    """The provider's answer was malformed or ended before its end mark."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 502, "api_error")
