"""Taking out of a text what looks like a key, a token or a password.

It is a net, not a proof: it knows the usual forms of keys and the usual names of fields that hold secrets.  That is why
bodies are kept only where somebody switched that on.

What is looked through comes from anywhere, so each pattern takes time in proportion to the text: what may come before
a certain word has a limit, or begins where nothing like it stands before.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

_FORMS = re.compile(
    r"((?:bearer |basic |(?:(?<!\w)|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4}))"
    r"(?:sk|pk|rk|gsk|xai|nvapi|hf|ghp|gho|ghu|ghs|github_pat|glpat|AKIA|AIza|ya29|eyJ)[-_.]?)[A-Za-z0-9]{0,2})[A-Za-z0-9+/_.~=-]{12,}",
    re.IGNORECASE,
)
"""Keys and tokens as services make them, where a word begins: an escape of JSON before it is no part of it."""

_FIELDS = re.compile(
    r'((?:(?<!\\)\\*"|\')[\w-]{0,60}(?:api[_-]?key|secret|password|passwd|authorization|access[_-]?token|refresh[_-]?token'
    r"""|cookie)[\w-]{0,60}(?:\\*"|')\s*:\s*(?:\\*"|'))[^"'\\]+""",
    re.IGNORECASE,
)
"""Fields of JSON, also of JSON inside a text, that hold secrets by their name."""

_SETTINGS = re.compile(
    r"((?<![\w-])[\w-]{0,60}(?:API_?KEY|SECRET|PASSWORD|PASSWD|TOKEN)=)[^\s\"'\\&;]{6,}",
)
"""``NAME_API_KEY=…`` as in shells and files of settings."""

_BLOCK = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|\Z)", re.DOTALL)


def redact(text: str) -> str:
    """``text`` with what looks secret cut to its first characters."""
    text = _BLOCK.sub(r"\1…\2", text)
    for pattern in (_FIELDS, _SETTINGS, _FORMS):
        text = pattern.sub(r"\1…", text)
    return text


@lru_cache(maxsize=256)
def bare(url: str) -> str:
    """A URL without user, password, query and fragment, where keys like to be."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
