"""``ccr provider``: add, remove, list and try providers.

Keys never come from the command line, where others can see them: they are named by a variable, or read from standard
input.  The test sends its request through the configured chain of this very process, with the provider's
transformers, key and proxy, and without any rule or fallback in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ccr_core import entries
from ccr_core.cli.edits import Draft, draft, save, secret
from ccr_core.cli.output import emit, facts, fail, note, paint, table
from ccr_core.config import mask
from ccr_core.config_edit import Change, Delete
from ccr_core.errors import CcrError
from ccr_core.probe import attempt, key_state

if TYPE_CHECKING:
    from ccr_core.runtime import Provider, Runtime


@click.group(short_help="Add, remove, list and try providers.")
def provider() -> None:
    """Add, remove, list and try providers.

    \b
    Examples:
      ccr provider list --presets
      ccr provider add openrouter --model anthropic/claude-sonnet-4
      ccr provider test openrouter
    """


@provider.command("list", short_help="List the providers.")
@click.option("--presets", is_flag=True, help="List the services that need only be named.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(presets: bool, as_json: bool) -> int:
    """List the providers of the configuration, or the services that ccr and its plugins know.

    \b
    Examples:
      ccr provider list
      ccr provider list --presets --json

    Exit code: 0; 1 when the configuration cannot be used.
    """
    if presets:
        return _list_presets(as_json)
    rows = [_row(each) for each in draft().runtime.providers.values()]
    if as_json:
        emit(rows)
        return 0
    table(
        ("NAME", "SPEAKS", "KEY", "MODELS", "URL"),
        [(row["name"], row["dialect"], row["key"], str(len(row["models"])), row["url"]) for row in rows],
    )
    return 0


def _row(each: Provider) -> dict[str, Any]:
    return {
        "name": each.name,
        "dialect": each.plan.dialect.name,
        "url": mask(each.base_url),
        "key": key_state(each),
        "models": list(each.models),
        "transformers": [step.spec.name for step in each.plan.steps],
    }


def _list_presets(as_json: bool) -> int:
    from ccr_core import plugins

    specs = [each.value for each in plugins.load().providers.values()]
    rows: list[dict[str, Any]] = [
        {
            "name": spec.name,
            "url": spec.base_url,
            "dialect": spec.dialect,
            "key_env": spec.key_env,
            "models": list(spec.models),
            "summary": spec.summary,
        }
        for spec in sorted(specs, key=lambda spec: spec.name)
    ]
    if as_json:
        emit(rows)
        return 0
    table(
        ("NAME", "KEY", "MODELS", "WHAT IT IS"),
        [(row["name"], row["key_env"] or "-", str(len(row["models"])), row["summary"]) for row in rows],
    )
    return 0


@provider.command(short_help="Add a provider.")
@click.argument("name")
@click.option("--url", help="The address of its API. Not needed for a service that ccr knows.")
@click.option("--key-env", metavar="VARIABLE", help="The environment variable that holds its key.")
@click.option("--key", is_flag=True, help="Read its key from standard input, and keep it in the configuration.")
@click.option("--model", "models", multiple=True, help="A model of it; may be given several times.")
@click.option("--dialect", help="The format that it speaks, where its address does not tell.")
@click.option("--oauth", metavar="SIGN-IN", help="Use an account that you sign in to with ccr auth login SIGN-IN.")
@click.option("--transformer", "transformers", multiple=True, help="A transformer to use; may be given several times.")
@click.option("--default", "as_default", is_flag=True, help="Let the default route lead to its first model.")
def add(name: str, as_default: bool, key: bool, **given: Any) -> int:
    """Add a provider.

    A service that ccr knows (see ccr provider list --presets) needs only its name; its key is then taken from the
    usual environment variable. The configuration holds only the name of a variable, unless you choose --key.

    \b
    Examples:
      ccr provider add deepseek
      ccr provider add local --url http://localhost:8080/v1/chat/completions --key-env LOCAL_KEY --model qwen3
      ccr provider add gateway --url https://gateway.example/v1/messages --key --model big < key.txt
      ccr provider add codex --oauth codex --model gpt-5.3-codex

    Exit code: 0; 1 when the name is taken or the provider could not be used.
    """
    now = draft(create=True)
    check_name(now, name)
    entry = entry_for(now, name, key=secret("key") if key else None, **given)
    changes, route = appended(now, entry, as_default)
    save(now, changes)
    print(f"{name} is added" + (f"; default is {route}" if route else ""))
    if route is None:
        after = draft()
        models = after.runtime.providers[name].models if name in after.runtime.providers else ()
        if models:
            note(
                f"requests go to {after.config.router.default} as before; to change that:"
                f" ccr model set default {name},{models[0]}"
            )
    return 0


@provider.command(short_help="Remove a provider.")
@click.argument("name")
def remove(name: str) -> int:
    """Remove a provider.

    One that a route leads to is not removed; change the route first.

    \b
    Example:
      ccr provider remove openrouter

    Exit code: 0; 1 when there is no such provider, or a route leads to it.
    """
    from ccr_core.cli.model import routes

    now = draft()
    found = now.provider(name)
    used = [
        key
        for key, value in routes(now).items()
        if (route := now.runtime.find(value)) is not None and route.provider == found.name
    ]
    if used:
        raise CcrError(
            f"{found.name} is in use: {', '.join(used)} lead to it; ccr model set {used[0]} PROVIDER,MODEL changes that"
        )
    lists = [
        scenario
        for scenario, names in now.config.fallback.items()
        if any((route := now.runtime.find(text)) is not None and route.provider == found.name for text in names)
    ]
    save(now, [Delete(now.place(found))])
    print(f"{found.name} is removed")
    if lists:
        note(f"note: fallback.{', fallback.'.join(lists)} still name it, without effect")
    return 0


@provider.command(short_help="Send a small real request.")
@click.argument("name", required=False)
@click.option("--model", help="The model to ask, instead of the first one.")
@click.option("--timeout", type=click.FloatRange(0.1), default=60, show_default=True, help="Seconds to wait.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(name: str | None, model: str | None, timeout: float, as_json: bool) -> int:
    """Send one small real request to a provider, or to each, and say how it fared.

    The request goes through the provider's own transformers, key and proxy; no router need run. It costs a few
    tokens. It is streamed and offers a tool; if the provider refuses that, a second one without the tool is sent.

    \b
    Examples:
      ccr provider test openrouter
      ccr provider test openrouter --model qwen/qwen3-coder
      ccr provider test --json

    Exit code: 0 when every answer was complete, 1 otherwise.
    """
    now = draft()
    chosen = [now.provider(name)] if name is not None else list(now.runtime.providers.values())
    results = []
    for each in chosen:
        result = try_provider(now.runtime, each, model, timeout)
        results.append(result)
        if not as_json:
            show(result)
    if as_json:
        emit(results if name is None else results[0])
    if not results:
        return fail("there is no provider; ccr provider add NAME adds one")
    return 0 if all(result["ok"] for result in results) else 1


# --- what the dialog uses too ---------------------------------------------------------------------------------


def check_name(now: Draft, name: str) -> None:
    """Raise ``CcrError`` if a new provider cannot have this name."""
    entries.check_name(now.config, name, now.path)


def entry_for(now: Draft, name: str, **given: Any) -> dict[str, Any]:
    """The entry of a new provider; see :func:`ccr_core.entries.entry_for`."""
    return entries.entry_for(now.registry, name, **given, hints=(" with --url", " with --model"))


def appended(now: Draft, entry: Mapping[str, Any], as_default: bool) -> tuple[list[Change], str | None]:
    """The changes that add an entry; see :func:`ccr_core.entries.appended`."""
    return entries.appended(now.config, now.registry, entry, as_default)


def show(result: Mapping[str, Any]) -> None:
    """Print the result of a test."""
    mark = paint("works", "green") if result["ok"] else paint("fails", "red")
    print(f"{result['provider']},{result['model']} {mark}")
    facts(
        [
            ("  error", result["error"]),
            ("  status", result["status"] or None),
            ("  first byte", _seconds(result["first"])),
            ("  whole answer", _seconds(result["duration"])),
            ("  streaming", result["streaming"]),
            ("  tools", result["tools"]),
            ("  tokens", _tokens(result["usage"])),
        ]
    )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _tokens(usage: Mapping[str, Any]) -> str:
    return f"{usage.get('input_tokens', '?')} in, {usage.get('output_tokens', '?')} out" if usage else ""


def try_provider(runtime: Runtime, each: Provider, model: str | None = None, timeout: float = 60) -> dict[str, Any]:
    """See :func:`ccr_core.probe.attempt`."""
    return asyncio.run(attempt(runtime, each, model, timeout))
