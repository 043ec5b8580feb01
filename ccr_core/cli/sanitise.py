"""A configuration without its secrets, for others: what is kept is on a list, everything else becomes a question.

Rule: names of secrets are endless, so what is harmless is named instead.  A text stays where its place is known to
hold no secret (names of models, routes, texts of the status line), or where it is a plain word or a number; a
reference such as ``$NAME`` stays everywhere.  Any other text becomes ``#{id}`` with a question for it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import attrs

from ccr_core.config import PLAIN_HEADERS, is_comment, is_secret

KEPT = (
    "Providers",
    "providers",
    "Router",
    "router",
    "transformers",
    "transformer",
    "fallback",
    "StatusLine",
    "CUSTOM_ROUTER_PATH",
    "REWRITE_SYSTEM_PROMPT",
    "forceUseImageAgent",
    "server_tools",
    "plugins",
    "Plugins",
    "limits",
    "retry",
    "API_TIMEOUT_MS",
    "NON_INTERACTIVE_MODE",
    "disabled_plugins",
)
"""Keys of a configuration that mean something elsewhere; address, key, proxy and logging belong to a machine."""

PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        r"[Pp]roviders\.\d+\.(name|dialect|auth_type|oauth_provider)",
        r"[Pp]roviders\.\d+\.models\.\d+(\.name)?",
        r"([Pp]roviders\.\d+\.)?transformer\.(.+\.)?use\.\d+(\.0)?",
        r"[Rr]outer\.[^.]+(\.[^.]+)?",
        r"fallback\.[^.]+\.\d+",
        r"StatusLine\..*",
        r"transformers\.\d+\.(path|name)",
        r"CUSTOM_ROUTER_PATH|REWRITE_SYSTEM_PROMPT",
        r"disabled_plugins\.\d+|[Pp]lugins\.\d+\.name",
        r"[Pp]roviders\.\d+\.tokenizer\.(default|models\..+)\.(type|encoding|model|requestFormat|responseField)",
    )
)
"""Places whose texts are no secrets."""

PARAMETERS = frozenset({"api-version", "version", "alt", "deployment", "region", "model"})
"""Parameters of addresses whose values are no secrets."""

_REFERENCE = re.compile(r"\$\{[^}]+\}|\$[A-Z_][A-Z0-9_]*")
_PLAIN = re.compile(r"(Bearer )?|[A-Za-z][A-Za-z _./-]{0,40}|-?\d{1,12}(\.\d{1,6})?|true|false")
_USER = re.compile(r"(?<=://)[^/?#@\s]+(?=@)")
_QUERY = re.compile(r"(?<=[?&])([^=&#\s]+)=([^&#\s]+)")


@attrs.define
class Sanitised:
    """The configuration for others, its questions, and what was left out."""

    config: dict[str, Any]
    schema: list[dict[str, Any]]
    left_out: list[str]


def sanitise(raw: Mapping[str, Any], secrets: bool = False) -> Sanitised:
    """``raw`` (a document as written) without what belongs to this machine and its owner; remarks are dropped.

    With ``secrets`` these stay where they are.
    """
    config = {key: copy.deepcopy(value) for key, value in raw.items() if key in KEPT}
    left_out = [key for key in raw if key not in KEPT and not is_comment(key)]
    for name in ("Router", "router"):
        # Requests of the user's own; what they say is nobody else's business.
        if isinstance(config.get(name), dict) and config[name].pop("tests", None) is not None:
            left_out.append(f"{name}.tests")
    walk = _Walk(config, secrets)
    return Sanitised(config=walk.clean(config, ()), schema=walk.schema, left_out=left_out)


class _Walk:
    def __init__(self, config: Mapping[str, Any], secrets: bool) -> None:
        self.config = config
        self.secrets = secrets
        self.schema: list[dict[str, Any]] = []

    def clean(self, value: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(value, Mapping):
            return {key: self.clean(item, (*path, key)) for key, item in value.items() if not is_comment(key)}
        if isinstance(value, list):
            return [self.clean(item, (*path, place)) for place, item in enumerate(value)]
        if not isinstance(value, str) or self.secrets:
            return value
        return self._text(value, path)

    def _text(self, value: str, path: tuple[str | int, ...]) -> str:
        rest = _REFERENCE.sub("", value)
        named = next((key for key in reversed(path) if isinstance(key, str)), "")
        secret = any(is_secret(key) for key in path)
        if rest in ("", "Bearer "):
            return value
        if not secret and any(pattern.fullmatch(".".join(map(str, path))) for pattern in PLACES):
            return value
        if not secret and "://" in value:
            return self._address(value, path)
        if "headers" in path:
            return value if named.lower() in PLAIN_HEADERS else self._question(path)
        return value if not secret and _PLAIN.fullmatch(rest) else self._question(path)

    def _address(self, value: str, path: tuple[str | int, ...]) -> str:
        value = _USER.sub(lambda match: self._question((*path, "login")), value)
        return _QUERY.sub(
            lambda match: (
                match[0]
                if match[1].lower() in PARAMETERS or _REFERENCE.fullmatch(match[2])
                else f"{match[1]}={self._question((*path, match[1]))}"
            ),
            value,
        )

    def _question(self, path: tuple[str | int, ...]) -> str:
        """Add a question for the value at ``path``; what stands for its answer."""
        owner, rest = "", path
        if len(path) > 2 and path[0] in ("Providers", "providers"):
            entry = self.config[path[0]][path[1]]
            owner = str(entry.get("name") or path[1]) if isinstance(entry, Mapping) else str(path[1])
            rest = path[2:]
        words = [str(part) for part in rest if part not in ("use", "options")]
        if words[:1] == ["api_key"] and words[-1] == "key":
            words.pop()  # one of several keys: {"key": …, "weight": …}
        base = re.sub(r"\W+", "_", "_".join([*([owner] if owner else []), *words]), flags=re.A).strip("_").lower()
        taken = {item["id"] for item in self.schema}
        name = base or "value"
        number = 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        what = "API key" if words[:1] == ["api_key"] else " ".join(words)
        label = f"{what} of {owner}" if owner else what
        prompt = "the value itself, or $NAME for an environment variable"
        self.schema.append({"id": name, "type": "password", "label": label, "prompt": prompt})
        return f"#{{{name}}}"
