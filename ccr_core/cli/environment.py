"""The environment in which Claude Code speaks to the router.

What each variable does was observed with the client, see docs/cli.md.  Rules: the variables that make the connection
are always ours; a variable that only tunes the client is left as the user has set it; what would lead the client past
the router is removed; nothing of the configuration but its own key goes into it.

Where requests go to Anthropic with the client's own login, the client gets no token from here and keeps that login.
It sends it as ``authorization``, so the router's key goes beside it, as ``x-ccr-key``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from ccr_core.cli import process
from ccr_core.config import Config, ProviderConfig, find, from_document, load

NO_KEY = "ccr-needs-no-key"
"""What the client presents to a router without ``APIKEY``: it refuses to start without any token."""

REMOVED = (
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
)
"""Variables that would add a second credential, or another way to a model."""

LOGIN = "CLAUDE_CODE_OAUTH_TOKEN"
"""The client's own login where it is in no file: where requests go with that login it stays."""

HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
"""Headers that the client adds to its requests, one a line."""

PAST_PROXY = ("127.0.0.1", "localhost")
"""What must not go through a proxy: the client would send even these through one."""

SOMETIMES = ("ANTHROPIC_AUTH_TOKEN", HEADERS, "CLAUDE_CODE_ATTRIBUTION_HEADER", "CLAUDE_CODE_MAX_CONTEXT_TOKENS")
"""Variables that are set for some configurations only."""

QUIET = {"CI": "true", "FORCE_COLOR": "0", "NODE_NO_READLINE": "1", "TERM": "dumb"}
"""What ``NON_INTERACTIVE_MODE`` sets."""


@attrs.frozen(kw_only=True)
class Environment:
    """Variables for the client: ``always`` are set whatever the user has, ``unless_set`` only where he has not."""

    always: Mapping[str, str]
    unless_set: Mapping[str, str]
    removed: tuple[str, ...] = REMOVED

    def chosen(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables to set beside those of ``env``."""
        return {**{name: value for name, value in self.unless_set.items() if not env.get(name)}, **self.always}

    def names(self) -> tuple[str, ...]:
        """Every variable that may be set."""
        return (*self.always, *self.unless_set)


def environment(
    config: Config, url: str, env: Mapping[str, str] = os.environ, *, token: str | None = None
) -> Environment:
    """The client's environment for a router at ``url``; ``env`` is the present one, to whose lists ours are added.

    With a ``token`` the client presents that one, whatever the configuration says.
    """
    always = {"ANTHROPIC_BASE_URL": url, "NO_PROXY": past_proxy(env.get("NO_PROXY", ""), url)}
    own_login = token is None and uses_own_login(config)
    if not own_login:
        always["ANTHROPIC_AUTH_TOKEN"] = token or config.apikey or NO_KEY
    elif config.apikey:
        always[HEADERS] = with_key(env.get(HEADERS, ""), config.apikey)
    if env.get("no_proxy"):
        always["no_proxy"] = past_proxy(env["no_proxy"], url)  # where both are set this one may be read
    if config.non_interactive:
        always |= QUIET
    unless_set = {
        "API_TIMEOUT_MS": str(config.api_timeout_ms),
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
        "DISABLE_COST_WARNINGS": "true",
        "DISABLE_TELEMETRY": "true",
    }
    if not goes_to_anthropic(config):
        unless_set["CLAUDE_CODE_ATTRIBUTION_HEADER"] = "0"
    window = window_of_default(config)
    if window is not None:
        unless_set["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(window)
    removed = ("ANTHROPIC_AUTH_TOKEN", *(name for name in REMOVED if name != LOGIN)) if own_login else REMOVED
    return Environment(always=always, unless_set=unless_set, removed=removed)


def with_key(present: str, key: str) -> str:
    """``present`` (a value of ``ANTHROPIC_CUSTOM_HEADERS``) with the router's key, instead of one that is there."""
    lines = [line for line in present.splitlines() if line.strip() and not line.lower().startswith("x-ccr-key:")]
    return "\n".join([*lines, *([f"x-ccr-key: {key}"] if key else [])])


def configured(folder: Path) -> tuple[Config, str]:
    """The configuration and the address of the router of ``folder``, whether or not it runs; starts and writes nothing.

    A running router's own configuration file wins.  Without any file the defaults hold.
    """
    run = process.look(folder).run
    if run is not None and run.config is not None:
        return load(Path(run.config)), run.url
    config = load() if find().path is not None else from_document({})
    if run is not None:
        return config, run.url
    return config, process.url_of(config.host if config.apikey else "127.0.0.1", process.service_port(config.port))


def past_proxy(present: str, url: str) -> str:
    """``present`` (a value of ``NO_PROXY``) with the addresses of this machine and of the router added."""
    from urllib.parse import urlsplit

    entries = [entry for entry in (part.strip() for part in present.split(",")) if entry]
    if "*" in entries:
        return present
    wanted = [*PAST_PROXY, urlsplit(url).hostname or ""]
    return ",".join([*entries, *(each for each in dict.fromkeys(wanted) if each and each not in entries)])


def goes_to_anthropic(config: Config) -> bool:
    """Whether requests go to Anthropic itself by default: only there the client's accounting line has a meaning."""
    from urllib.parse import urlsplit

    found = _default(config)
    if found is None:
        return False
    provider = found[0]
    if provider.api_base_url:
        host = (urlsplit(provider.api_base_url).hostname or "").lower()
        return host == "anthropic.com" or host.endswith(".anthropic.com")
    return (provider.oauth_provider or provider.name).lower() == "anthropic"


def uses_own_login(config: Config) -> bool:
    """Whether requests go by default to Anthropic with the login that the client itself has."""
    found = _default(config)
    if found is None or found[0].auth_type != "oauth":
        return False
    return (found[0].oauth_provider or found[0].name) == "anthropic"


def window_of_default(config: Config) -> int | None:
    """The context window of the default model in tokens, if the configuration says it."""
    found = _default(config)
    if found is None:
        return None
    info = found[0].model_info.get(found[1])
    return info.context if info else None


def _default(config: Config) -> tuple[ProviderConfig, str] | None:
    """The provider and the model that ``Router.default`` names."""
    from ccr_core.routing import find_route

    providers = {provider.name: provider for provider in config.providers if provider.enabled}
    route = find_route(config.router.default or "", {name: each.models for name, each in providers.items()})
    return None if route is None else (providers[route.provider], route.model)
