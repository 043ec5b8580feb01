"""``ccr explain``: what would happen to a request.  Sends nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from ccr_core.cli.output import emit, facts, fail, paint, printable
from ccr_core.config import is_secret, mask
from ccr_core.errors import CcrError

ID = "req_"
"""What the ids of requests begin with."""

MARKS = {"decided": "green", "failed": "red"}


@click.command(short_help="Say where a request would go, and why.")
@click.argument("request", required=False, default="-", metavar="[FILE|ID]")
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME: VALUE", help="A header of the request.")
@click.option("--config", type=click.Path(path_type=Path), help="The configuration file to use.")
@click.option("--body", "with_body", is_flag=True, help="Also print the body that would be sent.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with everything.")
def explain(request: str, headers: tuple[str, ...], config: Path | None, with_body: bool, as_json: bool) -> int:
    """Say where a request would go, and why: every rule with its answer, the chain, and what each step changes.

    FILE is a request to /v1/messages as JSON; without it, or with "-", it is read from standard input. Nothing is
    sent. Keys are not shown. With the ID of a request that was made (req_…), it says what happened to that.

    \b
    Examples:
      ccr explain request.json
      echo '{"model": "claude-opus-4-5", "messages": [{"role": "user", "content": "hi"}]}' | ccr explain
      ccr explain request.json -H "x-claude-code-agent-id: a1" --json
      ccr explain req_0a1b2c3d4e5f

    Exit code: 0; 1 when no model would be chosen, or the request or the configuration cannot be used.
    """
    if request.startswith(ID) and not Path(request).exists():
        return _made(request, as_json)
    body = _request(request)
    given = dict(_header(text) for text in headers)
    result = _explained(body, given, config)
    if "headers" in result:
        result["headers"] = mask(result["headers"])
    for step in result.get("steps", ()):
        for change in step["changed"]:
            _hide(change)
    if as_json:
        emit(result)
    else:
        _print(result, with_body)
    return 1 if "error" in result else 0


def _made(id: str, as_json: bool) -> int:
    """What happened to a request that was made, as the plugin tells it that keeps the history."""
    from ccr_core.cli.group import command_of

    command = command_of("requests")
    if command is None:
        raise CcrError("no plugin keeps the requests; install ccr-plugin-history")
    result = command.main(["show", id, *(["--json"] if as_json else [])], "ccr requests", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _request(source: str) -> dict[str, Any]:
    if source == "-" and sys.stdin.isatty():
        raise CcrError("give a request as JSON on standard input, or name a file (ccr explain --help)")
    try:
        text = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        body = json.loads(text)
    except OSError as error:
        raise CcrError(f"cannot read {source}: {error.strerror or error}") from error
    except ValueError as error:
        raise CcrError(f"the request is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise CcrError('the request is no JSON object such as {"model": …, "messages": […]}')
    return body


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f'"{text}" is no header; write it as "name: value"')
    return name.strip().lower(), value.strip()


def _explained(body: dict[str, Any], headers: dict[str, str], path: Path | None) -> dict[str, Any]:
    import asyncio

    from ccr_core import config as configuration
    from ccr_core import explain, plugins, runtime

    config = configuration.load(path)
    registry = plugins.load(disabled=config.disabled_plugins)
    return dict(asyncio.run(explain.explain(runtime.build(config, registry, watch=False), body, headers)))


def _hide(change: dict[str, Any]) -> None:
    """Mask the values of a change to something secret."""
    name = change["path"].rpartition(".")[2]
    if change["path"].startswith("headers") and is_secret(name):
        change["before"], change["after"] = (mask({name: change[key]})[name] for key in ("before", "after"))


def _say(text: str) -> None:
    print(printable(text, painted=True))


def _print(result: dict[str, Any], with_body: bool) -> None:
    _say(f"requested  {result.get('requested')}")
    for answer in result.get("rules", ()):
        state = paint(f"{answer['state']:<9}", MARKS.get(answer["state"], "dim"))
        _say(f"rule       {state} {answer['rule']}: {answer['why']}")
    if "error" in result:
        fail(str(result["error"]))
        return
    route = result["route"]
    text = ",".join(part for part in (route["provider"], route["model"], route.get("level")) if part)
    facts(
        [
            ("route    ", paint(text, "bold")),
            ("because", f"{result['rule']}: {result['why']}"),
            ("scenario", result.get("scenario")),
            ("tokens", result.get("tokens")),
            ("fallbacks", "; ".join(result.get("fallbacks", ()))),
            ("preset", result.get("preset")),
            ("dialect", result.get("dialect")),
        ]
    )
    steps = result.get("steps", ())
    if not steps:
        _say("steps      none")
    for step in steps:
        changed = step["changed"]
        _say(f"step       {step['name']} ({step['plugin']}, {step['where']}), {step['stage']}: {_count(changed)}")
        for change in changed:
            _say(f"             {change['path']}: {_json(change['before'])} -> {_json(change['after'])}")
    if result.get("returning"):
        _say(f"answers    pass {', then '.join(result['returning'])}")
    _say(f"url        {mask(result['url'])}")
    for name, value in result.get("headers", {}).items():
        _say(f"header     {name}: {value}")
    for item in result.get("notes", ()):
        _say(f"note       {item['key']}: {_json(item['value'])}")
    if with_body:
        _say("body")
        emit(result.get("body"))


def _count(changed: list[Any]) -> str:
    return "no change" if not changed else "1 change" if len(changed) == 1 else f"{len(changed)} changes"


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."
