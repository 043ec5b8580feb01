"""From what people paste as base URL to the endpoint."""

from __future__ import annotations

import functools
import re
from urllib.parse import urlsplit, urlunsplit

_BASE = re.compile(r"/(v\d+[a-z0-9]*|openai|openapi|compat|beta|api|inference|deployments/[^/]+)$")
"""Paths that are a base, not an endpoint."""

_LOCAL = re.compile(r"(localhost|127\.|0\.0\.0\.0|\[::1\]|host\.docker\.internal)")


@functools.lru_cache(maxsize=256)
def endpoint(base_url: str) -> str:
    """The full URL for ``base_url``: a complete endpoint, a base such as ``https://host/v1``, or a bare host.

    A path that looks like neither is taken for a complete endpoint.  The query is kept.
    """
    if "://" not in base_url:
        base_url = ("http://" if _LOCAL.match(base_url) else "https://") + base_url
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if not path:
        path = "/v1/chat/completions"
    elif _BASE.search(path.casefold()):
        path += "/chat/completions"
    elif not path.casefold().endswith("/completions"):
        path = parts.path
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


@functools.lru_cache(maxsize=256)
def host(base_url: str) -> str:
    """The host name (with port, if any) of ``base_url`` in small letters."""
    return urlsplit(base_url if "://" in base_url else f"//{base_url}").netloc.rpartition("@")[2].casefold()
