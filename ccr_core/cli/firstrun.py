"""The first configuration: written once, from what is found on this machine, when there is none.

Found are the variables that usually hold a provider's key, and model servers of this machine that answer.  Keys are
never copied: the file refers to the variable.  Nothing is ever overwritten, and everything that was found or not
found is said on standard error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from ccr_core.cli.output import note
from ccr_core.config import find, home
from ccr_core.errors import ConfigError

if TYPE_CHECKING:
    from ccr_core.spec import ProviderSpec

NAME = "config.toml"
ECHO = "echo"
"""The preset of the built-in model that needs nothing."""

HEAD = """\
# The configuration of ccr. It was written at the first start; from now on it is yours.
# "ccr config check" checks it. A running router takes a change up by itself; HOST and PORT with "ccr restart".
#
# $NAME stands for the environment variable NAME, so that no secret need be in this file.

# The port on this machine.
PORT = 3456

# With a key, clients must present it; without one, only this machine may connect.
# APIKEY = "$CCR_APIKEY"

[Router]
# Where requests go unless a rule decides otherwise: "provider,model".
"""

AFTER = """
# More providers: name, address, key and models. Any service that speaks OpenAI's chat format will do.
# [[Providers]]
# name = "example"
# api_base_url = "https://api.example.com/v1/chat/completions"
# api_key = "$EXAMPLE_API_KEY"
# models = ["some-model"]
"""


@attrs.frozen
class Discovered:
    """A provider that can be used here: its preset, its models, and how it was found."""

    spec: ProviderSpec
    models: tuple[str, ...]
    how: str


def ensure(path: Path | None, env: Mapping[str, str] = os.environ) -> Path:
    """The configuration file; written if there is none.  ``path`` is the one the user named: never written."""
    found = find(path).path
    if found is not None:
        return found
    from ccr_core import plugins

    specs = [each.value for each in plugins.load().providers.values()]
    usable = discover(specs, env)
    target = home() / NAME
    try:
        from ccr_core.config_edit import write_new

        write_new(target, starter(usable))
    except ConfigError:
        if (found := find().path) is not None:  # somebody else was faster
            return found
        raise
    _tell(target, usable)
    return target


def discover(specs: Iterable[ProviderSpec], env: Mapping[str, str]) -> list[Discovered]:
    """What can be used here: the providers whose key is in the environment, the servers that answer, else echo."""
    specs = list(specs)
    keyed: dict[str, Discovered] = {}
    for spec in specs:
        if spec.key_env and env.get(spec.key_env) and urlsplit(spec.base_url).hostname:
            keyed.setdefault(spec.key_env, Discovered(spec, spec.models, f"its key is in {spec.key_env}"))
    local = []
    for spec in specs:
        models = served(spec.probe) if spec.probe else None
        if models is not None:
            local.append(Discovered(spec, models or spec.models, f"it answers at {spec.probe}"))
    result = [*keyed.values(), *local]
    if not any(each.models for each in result):
        # Without a model to go to, the echo model answers.
        result += [Discovered(spec, spec.models or (ECHO,), "built in") for spec in specs if spec.name == ECHO]
    return result


def served(probe: str, timeout: float = 0.5) -> tuple[str, ...] | None:
    """The models of a model server at ``probe`` that can hold a conversation; ``None`` if there is no such server.

    A model server is what answers with a listing: ``{"data": [{"id": …}]}`` (OpenAI) or ``{"models": [{"name": …}]}``
    (Ollama).  Other programs use these ports, too, and answer whatever they are asked.
    """
    import http.client

    parts = urlsplit(probe)
    try:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
        try:
            connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}")
            answer = connection.getresponse()
            text = answer.read(1_000_000)
        finally:
            connection.close()
        if answer.status != 200:
            return None
    except (OSError, http.client.HTTPException):
        return None
    try:
        data = json.loads(text)
        # llama.cpp gives both.
        items = next(data[key] for key in ("data", "models") if isinstance(data.get(key), list))
        return tuple(str(item.get("id") or item["name"]) for item in items if _converses(item))
    except (ValueError, TypeError, AttributeError, KeyError, StopIteration):
        return None


_NO_CHAT = re.compile(r"embed|rerank|minilm|whisper|(^|[/_-])(bge|gte|e5)[-_]", re.I)
"""Names of models that make vectors, an order or a transcript; servers list them beside the others."""


def _converses(item: Mapping[str, Any]) -> bool:
    """Whether a listed model is one to talk with, as far as its name and what Ollama says of its family tell."""
    details = item.get("details") or {}
    families = (details.get("family"), *(details.get("families") or ()))
    name = str(item.get("id") or item.get("name"))
    return not _NO_CHAT.search(name) and not any("bert" in str(family) for family in families)


def starter(usable: Sequence[Discovered]) -> str:
    """The text of the first configuration."""
    import tomli_w

    parts = [HEAD]
    default = _default(usable)
    parts.append(tomli_w.dumps({"default": default}) if default else '# default = "provider,model"\n')
    for each in usable:
        entry: dict[str, object] = {"name": each.spec.name}
        if each.spec.key_env:
            entry["api_key"] = f"${each.spec.key_env}"
        entry["models"] = list(each.models)
        about = " ".join(each.spec.summary.split()).rstrip(".") or each.spec.name
        todo = "" if each.models else "# Name the models that you want to use here.\n"
        parts.append(f"\n# {about}: {each.how}.\n{todo}[[Providers]]\n{tomli_w.dumps(entry)}")
    return "".join([*parts, AFTER])


def _default(usable: Sequence[Discovered]) -> str | None:
    return next((f"{each.spec.name},{each.models[0]}" for each in usable if each.models), None)


def _tell(path: Path, usable: Sequence[Discovered]) -> None:
    note(f"there was no configuration, so a first one is written: {path}")
    for each in usable:
        count = len(each.models)
        models = "1 model" if count == 1 else f"{count} models" if count else "name its models in the file"
        note(f"  {each.spec.name}: {each.how}; {models}")
    if not any(each.spec.name != ECHO for each in usable):
        note("  no provider key in the environment and no model server on this machine were found")
        if usable:
            note("  until there is one, the built-in echo model answers: it only shows that everything works")
        note("  to use a real model: ccr provider add NAME (ccr provider list --presets lists them), or ccr model")
    default = _default(usable)
    note(f"  requests go to {default}" if default else "  no model could be chosen: set Router.default in the file")
    note('  next: "ccr code" runs Claude Code through it; a change of the file takes effect by itself')
