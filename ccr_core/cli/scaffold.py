"""The files of a new plugin package, as ``ccr plugins new`` writes them.

The package works as it is: it can be installed, its tests pass, and what it offers can be named in a configuration.
The texts use ``@name@`` (with hyphens), ``@module@``, ``@Class@`` and so on; docs/writing-a-plugin.md explains them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ccr_core.errors import CcrError

PYPROJECT = """\
[project]
name = "ccr-plugin-@name@"
version = "0.1.0"
description = "@summary@"
readme = "README.md"
license = "MIT"
requires-python = ">=3.11"
dependencies = ["ccr-core>=0.1"]

[project.optional-dependencies]
testing = ["ccr-core[testing]>=0.1"]

# This line is how ccr finds the plugin: its name, and the module that holds its hooks.
[project.entry-points.ccr]
@name@ = "@module@"

[build-system]
requires = ["uv_build>=0.9"]
build-backend = "uv_build"

[tool.uv.build-backend]
module-root = ""

[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
"""

TRANSFORMER = '''\
"""The transformer ``@name@``."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from ccr_core import Event, Request, Transformer, TransformerSpec, hookimpl


@attrs.frozen
class Options:
    """``note``: a sentence that is added to the system prompt; empty: none."""

    note: str = ""


class @Class@(Transformer[Options]):
    """Changes requests on their way out and answers on their way back.  Made anew for each attempt."""

    def on_request(self, request: Request) -> Request:
        """The request as it goes on: a changed copy, never a change of what is given."""
        if not self.options.note:
            return request
        return request.with_(system=[*request.system_blocks(), {"type": "text", "text": self.options.note}])

    def feed(self, event: Event) -> Iterable[Event]:
        """The events in place of one event of the answer.  Remove this method if answers stay as they are."""
        return (event,)


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``@name@``."""
    yield TransformerSpec(name="@name@", factory=@Class@, options=Options, summary="@summary@")
'''

TRANSFORMER_README = """\
# ccr-plugin-@name@

@summary@

One contribution: the transformer `@name@`.

```json
{ "transformer": { "use": [["@name@", { "note": "Be brief." }]] } }
```

| option | default | meaning |
| --- | --- | --- |
| `note` | none | a sentence that is added to the system prompt |
"""

TRANSFORMER_TEST = '''\
"""The transformer ``@name@``."""

from __future__ import annotations

import pytest
from ccr_core.testing import Make, Trial, Upstream, ask, check_plugin, check_transformer, config, standins
from ccr_core.testing.samples import message, text

import @module@ as plugin

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

SPEC = next(iter(plugin.ccr_transformers()))


def test_it_keeps_to_the_rules() -> None:
    """Nothing given is altered, any cut of the answer gives the same, and what it does not know passes."""
    check_transformer(SPEC, {"note": "Be brief."})


def test_the_package_is_complete() -> None:
    """Hooks, options, README and imports are as they should be."""
    check_plugin(plugin)


@pytest.mark.parametrize(("options", "expected"), [({}, ["Hi."]), ({"note": "Be brief."}, ["Hi.", "Be brief."])])
def test_the_request(options: dict[str, str], expected: list[str]) -> None:
    """The system prompt gets the note, if there is one."""
    request = Trial(SPEC, options).request(ask(system="Hi."))

    assert expected == [block["text"] for block in request.system_blocks()]


async def test_in_a_router(ccr: Make, upstream: Upstream) -> None:
    """A whole router sends the note and gives the answer."""
    upstream.reply(message(text("so")))
    router = ccr(
        config(use=[["@name@", {"note": "Be brief."}]], dialect="plain"),
        plugins=[plugin, standins.ingress, standins.dialect, standins.rule],
    )

    answer = await router.messages(ask("hello", stream=False))

    assert "so" == answer.text
    assert "Be brief." == answer.sent[0].json["system"][-1]["text"]
'''

RULE = '''\
"""The routing rule ``@name@``."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from ccr_core import Decision, Pass, Request, RouteContext, RuleSpec, hookimpl


@attrs.frozen
class Options:
    """Keys of the ``Router`` section: ``@field@`` is the route for requests that have tools."""

    @field@: str | None = attrs.field(default=None, metadata={"route": True})


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """``Router.@field@`` where the request has tools; both answers say why, because a person will read it."""
    options: Options = ctx.options
    if options.@field@ is None:
        return Pass("Router.@field@ is not set")
    if not request.tools:
        return Pass("the request has no tools")
    return Decision(options.@field@, f"the request has {len(request.tools)} tools", scenario="@name@")


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``@name@``."""
    yield RuleSpec(name="@name@", decide=decide, options=Options, summary="@summary@")
'''

RULE_README = """\
# ccr-plugin-@name@

@summary@

One contribution: the rule `@name@`, which is asked where `Router.rules` names it.

```json
{ "Router": { "rules": ["subagent-tag", "explicit", "@name@", "default"], "@field@": "provider,model" } }
```

| key of `Router` | default | meaning |
| --- | --- | --- |
| `@field@` | none | the route for requests that have tools |
"""

RULE_TEST = '''\
"""The rule ``@name@``."""

from __future__ import annotations

from ccr_core.testing import RuleCase, ask, check_plugin, check_rule

import @module@ as plugin

SPEC = next(iter(plugin.ccr_rules()))
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {}}}


def test_the_package_is_complete() -> None:
    """Hooks, options, README and imports are as they should be."""
    check_plugin(plugin)


def test_decisions() -> None:
    """It decides for requests with tools where its route is set, and passes otherwise."""
    router = {"@field@": "local,tiny"}
    check_rule(
        SPEC,
        [
            RuleCase(body=ask(tools=[TOOL]), router=router, model="local,tiny"),
            RuleCase(body=ask(), router=router),
            RuleCase(body=ask(tools=[TOOL])),
        ],
    )
'''

PROVIDER = '''\
"""The provider preset ``@name@``."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """Offer the preset ``@name@``."""
    yield ProviderSpec(
        name="@name@",
        base_url="https://api.example.com/v1/chat/completions",
        dialect="openai-chat",
        key_env="@ENV@_API_KEY",
        models=("model-1",),
        summary="@summary@",
    )
'''

PROVIDER_README = """\
# ccr-plugin-@name@

@summary@

One contribution: the provider preset `@name@`. With the key in `@ENV@_API_KEY` an entry needs no more than its name:

```json
{ "Providers": [{ "name": "@name@", "api_key": "$@ENV@_API_KEY" }] }
```
"""

PROVIDER_TEST = '''\
"""The preset ``@name@``."""

from __future__ import annotations

from ccr_core.testing import check_plugin

import @module@ as plugin


def test_the_package_is_complete() -> None:
    """The preset, README and imports are as they should be."""
    check_plugin(plugin)


def test_the_preset() -> None:
    """It goes to the service, with the key that usually belongs to it."""
    (spec,) = plugin.ccr_providers()

    assert ("@name@", "openai-chat", "@ENV@_API_KEY") == (spec.name, spec.dialect, spec.key_env)
    assert spec.base_url.startswith("https://")
'''

KINDS: Mapping[str, tuple[str, str, str]] = {
    "transformer": (TRANSFORMER, TRANSFORMER_README, TRANSFORMER_TEST),
    "rule": (RULE, RULE_README, RULE_TEST),
    "provider": (PROVIDER, PROVIDER_README, PROVIDER_TEST),
}
"""Kind of plugin → its module, its readme, its tests."""


def files(name: str, kind: str, summary: str) -> dict[str, str]:
    """The files of the package ``ccr-plugin-<name>``: path below its folder → text."""
    module = f"ccr_plugin_{name.replace('-', '_')}"
    words = name.split("-")
    put = {
        "@name@": name,
        "@module@": module,
        "@Class@": "".join(word.capitalize() for word in words),
        "@field@": words[0] + "".join(word.capitalize() for word in words[1:]),
        "@ENV@": name.replace("-", "_").upper(),
        "@summary@": summary.replace("\\", "").replace('"', "'"),
    }
    source, readme, tests = KINDS[kind]
    texts = {
        "pyproject.toml": PYPROJECT,
        "README.md": readme,
        f"{module}/__init__.py": source,
        f"{module}/py.typed": "",
        f"tests/test_{name.replace('-', '_')}.py": tests,
    }
    return {path: re.sub("|".join(put), lambda match: put[match[0]], text) for path, text in texts.items()}


def check_name(name: str) -> str:
    """The plugin's name, without the prefix of its distribution; ``CcrError`` if it cannot be one."""
    name = name.removeprefix("ccr-plugin-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise CcrError(f'"{name}" cannot be the name of a plugin; use small letters, digits and hyphens: my-rule')
    return name


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files into the new ``folder``; ``CcrError`` if it is there already, or cannot be written."""
    try:
        folder.mkdir(parents=True)
        for path, text in texts.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, "utf-8")
    except FileExistsError as error:
        raise CcrError(f"{folder} is there already; nothing was written") from error
    except OSError as error:
        raise CcrError(f"cannot write {folder}: {error.strerror or error}") from error
