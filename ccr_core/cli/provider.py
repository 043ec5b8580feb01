"""``ccr provider``: add, remove, list and try providers.

Keys never come from the command line, where others can see them: they are named by a variable, or read from standard
input.  The test sends its request through the configured chain of this very process, with the provider's
transformers, key and proxy, and without any rule or fallback in between.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import click

from ccr_core.cli.edits import Draft, draft, save, secret
from ccr_core.cli.output import emit, facts, fail, note, paint, table
from ccr_core.config import did_you_mean, mask
from ccr_core.config_edit import Change, Delete, Set
from ccr_core.errors import CcrError

if TYPE_CHECKING:
    from ccr_core.dialect import Ingress
    from ccr_core.runtime import Provider, Runtime

QUESTION = 'Call the tool "report" with the word "pong".'
TOOL = {
    "name": "report",
    "description": "Report a word.",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}


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


def key_state(each: Provider) -> str:
    """What is known of a provider's key: ``set``, ``none needed``, ``missing``, ``sign-in``, or the unset variable."""
    if each.config.auth_type == "oauth":
        return f"sign-in {each.config.oauth_provider or each.name}"
    if each.spec is not None and each.spec.key_style == "none":
        return "none needed"
    if not each.keys:
        return "missing"
    first = each.config.api_key or ""
    if first.startswith("$"):  # a resolved reference is not seen any more
        return f"{first} is not set"
    return "set" if len(each.keys) == 1 else f"{len(each.keys)} keys"


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
    if not name.strip() or "," in name:
        raise CcrError(f'"{name}" cannot be the name of a provider: it is empty, or has a comma in it')
    taken = next((each for each in now.config.providers if each.name.lower() == name.lower()), None)
    if taken is not None:
        raise CcrError(f"there is a provider {taken.name} already, at {taken.where} of {now.path}")


def entry_for(
    now: Draft,
    name: str,
    *,
    url: str | None = None,
    key_env: str | None = None,
    key: str | None = None,
    models: tuple[str, ...] = (),
    dialect: str | None = None,
    oauth: str | None = None,
    transformers: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The entry of a new provider, with no more in it than is needed."""
    preset = now.registry.providers.get(name)
    spec = preset.value if preset is not None else None
    sign_in = now.registry.auth.get(oauth) if oauth is not None else None
    if oauth is not None and sign_in is None:
        near = did_you_mean(oauth, now.registry.auth)
        raise CcrError(f'there is no sign-in "{oauth}"{near}; known: {", ".join(now.registry.auth) or "none"}')
    if sum((key_env is not None, key is not None, oauth is not None)) > 1:
        raise CcrError("give one of --key-env, --key and --oauth")
    entry: dict[str, Any] = {"name": name}
    if url is None and spec is None:
        if sign_in is None:
            near = did_you_mean(name, now.registry.providers)
            raise CcrError(f'no plugin knows a service "{name}"{near}; give its address with --url')
        url = sign_in.value.base_url
    if url is not None:
        if "://" not in url:
            raise CcrError(f'"{url}" is no address; it begins with https:// or http://')
        entry["api_base_url"] = url
    if oauth is not None:
        entry |= {"auth_type": "oauth", "oauth_provider": oauth}
        models = models or (sign_in.value.models if sign_in is not None else ())
    elif key is not None:
        entry["api_key"] = key
    elif key_env is not None:
        entry["api_key"] = f"${{{key_env.strip('${}')}}}" if not key_env.isupper() else f"${key_env}"
    elif spec is not None and spec.key_env:
        entry["api_key"] = f"${spec.key_env}"
    if models:
        entry["models"] = list(models)
    elif spec is None or not spec.models:
        raise CcrError(f"give at least one model of {name} with --model")
    if dialect:
        entry["dialect"] = dialect
    if transformers:
        entry["transformer"] = {"use": list(transformers)}
    return entry


def appended(now: Draft, entry: Mapping[str, Any], as_default: bool) -> tuple[list[Change], str | None]:
    """The changes that add an entry, and the default route if they set one: when asked to, or if there is none."""
    changes: list[Change] = [now.append(entry)]
    if not as_default and now.config.router.default:
        return changes, None
    preset = now.registry.providers.get(entry["name"])
    models = entry.get("models") or (preset.value.models if preset is not None else ())
    route = f"{entry['name']},{models[0]}"
    return [*changes, Set((now.router_at(), "default"), route)], route


def show(result: Mapping[str, Any]) -> None:
    """Print the result of a test."""
    mark = paint("works", "green") if result["ok"] else paint("fails", "red")
    print(f"{result['provider']},{result['model']} {mark}")
    facts(
        [
            ("  error", result["error"]),
            ("  status", result["status"]),
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
    """Send one small request to a model of ``each`` (its first if absent); what came of it, as plain data.

    ``status`` is that of the answer, ``first`` and ``duration`` are in seconds from the sending on, ``streaming`` and
    ``tools`` are a word or a sentence, ``error`` says what is wrong.
    """
    name = model or next(iter(each.models), None)
    if name is None:
        return _result(each, "?", error=f"{each.name} lists no model; name one with --model")
    key = key_state(each)
    if key == "missing" or key.endswith(" is not set"):
        return _result(each, name, error=f"it has no key: {key}")
    return asyncio.run(_try(runtime, each, name, timeout))


async def _try(runtime: Runtime, each: Provider, model: str, seconds: float) -> dict[str, Any]:
    from ccr_core.upstream import HttpSender

    config = runtime.config
    sender = HttpSender(connect_seconds=config.limits.connect_s, proxy_url=config.proxy_url, no_proxy=config.no_proxy)
    try:
        async with asyncio.timeout(seconds):
            result = await _ask(runtime, each, model, sender, tools=True)
            if not result["ok"] and result["status"] in (400, 404, 422):
                second = await _ask(runtime, each, model, sender, tools=False)
                if second["ok"]:
                    return {**second, "tools": f"refused: {result['error']}"}
            return result
    except TimeoutError:
        return _result(each, model, error=f"no whole answer within {seconds:g} s")
    finally:
        await sender.aclose()


async def _ask(runtime: Runtime, each: Provider, model: str, sender: Any, *, tools: bool) -> dict[str, Any]:
    from ccr_core.config import Retry
    from ccr_core.engine import Engine

    only = attrs.evolve(
        runtime,
        rules=(_only(each, model),),
        server_tools=(),
        config=attrs.evolve(runtime.config, fallback={}, retry=Retry(attempts=0)),
    )
    body = {
        "model": model,
        "max_tokens": 1024,
        "stream": True,
        "messages": [{"role": "user", "content": QUESTION if tools else "Answer with the word pong."}],
        **({"tools": [TOOL]} if tools else {}),
    }
    client = _Reader()
    await Engine(only, sender).serve(_ingress(runtime), "/v1/messages", json.dumps(body).encode(), {}, client)
    return _judged(each, model, client, tools)


def _only(each: Provider, model: str) -> Any:
    """A rule that sends everything to one model."""
    from ccr_core.routing import Decision, Rule
    from ccr_core.spec import RuleSpec

    spec = RuleSpec(name="test", decide=lambda request, ctx: Decision(f"{each.name},{model}", "it is tested"))
    return Rule(spec, None, "ccr")


def _ingress(runtime: Runtime) -> Ingress:
    found = next((item.value for item in runtime.ingresses if item.value.name == "anthropic"), None)
    if found is None:
        raise CcrError("no plugin offers the ingress anthropic; install ccr-plugin-anthropic")
    return found


class _Reader:
    """The :class:`~ccr_core.engine.Client` that notes what comes when."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.status = 0
        self.times: list[float] = []
        self.data = b""

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status

    async def write(self, data: bytes, last: bool = False) -> None:
        if data:
            self.times.append(time.monotonic() - self.since)
        self.data += data


def _judged(each: Provider, model: str, client: _Reader, tools: bool) -> dict[str, Any]:
    """What an answer of the Messages API says of its provider."""
    if client.status != 200:
        return _result(each, model, status=client.status, error=_message(client.data))
    events = []
    for line in client.data.decode(errors="replace").splitlines():
        if line.startswith("data:"):
            events.append(json.loads(line[5:]))
    failed = next((event["error"]["message"] for event in events if event["type"] == "error"), None)
    usage: dict[str, Any] = {}
    called = False
    for event in events:
        usage |= (event.get("message") or {}).get("usage") or event.get("usage") or {}
        called = called or (event.get("content_block") or {}).get("type") == "tool_use"
    pieces = len(client.times)
    return _result(
        each,
        model,
        status=client.status,
        error=failed or ("" if any(event["type"] == "message_stop" for event in events) else "the answer has no end"),
        first=client.times[0],
        duration=client.times[-1],
        streaming=f"yes, in {pieces} pieces" if pieces > 1 else "the answer came in one piece",
        tools="" if not tools else "called" if called else "offered, but not called",
        usage={key: value for key, value in usage.items() if value},
    )


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace")[:300]


def _result(each: Provider, model: str, **found: Any) -> dict[str, Any]:
    result = {
        "provider": each.name,
        "model": model,
        "ok": not found["error"],
        "error": "",
        "status": 0,
        "first": None,
        "duration": None,
        "streaming": "",
        "tools": "",
        "usage": {},
        **found,
    }
    return result
