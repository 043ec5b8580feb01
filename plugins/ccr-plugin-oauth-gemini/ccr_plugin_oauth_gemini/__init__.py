"""Gemini Code Assist: a sign-in with Google, the set-up of a project, and the envelope around the Gemini format.

Other services that stand on the same ground (a Google account, ``v1internal``) build on the public classes here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ccr_core import AuthSpec, Dialect, Endpoint, hookimpl

if TYPE_CHECKING:
    from .auth import AnyCodeAssist as AnyCodeAssist
    from .auth import CodeAssistAuth as CodeAssistAuth
    from .auth import CodeAssistOptions as CodeAssistOptions
    from .auth import answered as answered
    from .auth import unix as unix
    from .dialect import CodeAssist as CodeAssist
    from .google import GoogleAuth as GoogleAuth
    from .google import GoogleOptions as GoogleOptions
    from .google import bearer as bearer
    from .refusals import refused as refused

_HOME = {
    "AnyCodeAssist": "auth",
    "CodeAssist": "dialect",
    "CodeAssistAuth": "auth",
    "CodeAssistOptions": "auth",
    "GoogleAuth": "google",
    "GoogleOptions": "google",
    "answered": "auth",
    "bearer": "google",
    "refused": "refusals",
    "unix": "auth",
}

__all__ = [
    "AnyCodeAssist",
    "CodeAssist",
    "CodeAssistAuth",
    "CodeAssistOptions",
    "GoogleAuth",
    "GoogleOptions",
    "answered",
    "bearer",
    "refused",
    "unix",
]

RISK = (
    "Google calls the use of this sign-in by other software than its own a breach of its terms; accounts have been "
    "restricted for it.\nSince June 2026 it serves Code Assist Standard and Enterprise licences only: free, AI Pro and "
    "AI Ultra accounts are refused."
)
"""What the vendor says against this use."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


@hookimpl
def ccr_dialects() -> Iterable[Dialect]:
    """The dialect ``code-assist``."""
    from .dialect import CodeAssist

    return [CodeAssist()]


@hookimpl
def ccr_auth() -> Iterable[AuthSpec]:
    """The sign-in ``gemini``."""
    from .auth import CodeAssistAuth, CodeAssistOptions

    return [
        AuthSpec(
            name="gemini",
            factory=CodeAssistAuth,
            options=CodeAssistOptions,
            base_url="https://cloudcode-pa.googleapis.com",
            endpoints=(Endpoint(name="code-assist", dialect="code-assist", path="/v1internal"),),
            hosts=("cloudcode-pa.googleapis.com",),
            legacy=("generativelanguage.googleapis.com",),
            models=(
                "gemini-3.1-pro-preview",
                "gemini-3-pro-preview",
                "gemini-3-flash-preview",
                "gemini-3.1-flash-lite",
                "gemini-2.5-pro",
                "gemini-2.5-flash",
            ),
            risk=RISK,
            summary="Gemini Code Assist (Standard or Enterprise), with a Google account.",
        )
    ]
