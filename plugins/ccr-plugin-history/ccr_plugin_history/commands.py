"""``ccr requests`` and ``ccr usage``: the history for people and for programs.

They read the file, so they work whether or not the router runs.  Into a pipe goes plain text.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ccr_core import home, printable
from ccr_plugin_history import FILE, query, store

JSON = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])
FOLLOW_SECONDS = 0.5
COLOURS = {"done": "32", "failed": "31", "lost": "31", "left": "33", "running": "36"}

COLUMNS = (
    *("id", "time", "state", "status", "requested", "provider", "model", "scenario", "rule", "stream", "attempts"),
    *("first", "duration", "tokens_per_second", *query.TOKENS, "cost", "stop_reason", "error", "session"),
    *("agent_id", "agent_type", "parent_agent_id", "class", "project", "path", "size", "why"),
)


def filters(function: Function) -> Function:
    """The options by which requests are chosen."""
    for name, what in (
        ("--until", "Only those before: 1h, 2026-11-22, …"),
        ("--since", "Only those since: 90s, 15m, 2h, 7d, 2026-11-22, 2026-11-22T14:00."),
        ("--status", "ok, error, running, or a number such as 429."),
        ("--project", "Only those of a folder in which the client works."),
        ("--agent", "Only those of an agent, by its id or type; main: the conversation itself."),
        ("--provider", "Only those of a provider."),
        ("--model", "Only those of a model: its name, or provider,model."),
        ("--session", "Only those of a session."),
    ):
        function = click.option(name, help=what)(function)
    return function


def _filter(given: Mapping[str, str | None]) -> query.Filter:
    now = time.time()
    moments = {name: query.moment(text, now) if (text := given[name]) else None for name in ("since", "until")}
    named = {name: given[name] for name in ("session", "model", "provider", "agent", "project", "status")}
    return query.Filter(**named, **moments)  # type: ignore[arg-type]


def _path() -> Path:
    return home() / FILE


# --- requests ---------------------------------------------------------------------------------------------------


@click.group(invoke_without_command=True, short_help="Show the requests that were made, and why they went where.")
@filters
@click.option("-f", "--follow", is_flag=True, help="Go on, until Ctrl-C: each request when it ends.")
@click.option("-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="How many of the last ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a request each line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with a line of names.")
@click.pass_context
def requests(
    ctx: click.Context, /, follow: bool, lines: int, as_json: bool, as_csv: bool, **given: str | None
) -> int | None:
    """Show the requests that were made, newest last.

    "?" is what is not known, such as the price of a model that is in no catalogue. The end of an id is enough to
    name a request.

    \b
    Examples:
      ccr requests
      ccr requests -f --session 5f0c2a1e-…
      ccr requests --status error --since 2h
      ccr requests --csv -n 100000 > requests.csv
      ccr requests show 3f2a

    Exit code: 0; 1 when the history cannot be read.
    """
    if ctx.invoked_subcommand is not None:
        return None
    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both")
    wanted = _filter(given)
    show = _json_line if as_json else _csv_line if as_csv else _line
    if as_csv:
        csv.writer(sys.stdout).writerow(COLUMNS)
    path = _path()
    after = query.page(path, query.Filter(), limit=1)["after"]
    for request in _last(path, wanted, lines):
        show(request)
    if not path.exists() and not follow:
        print(f"there is no {path} yet: no request was answered, or the observer history is off", file=sys.stderr)
    if follow:
        try:
            sys.stdout.flush()
            for request in _ending(path, wanted, after):
                show(request)
                sys.stdout.flush()
        except KeyboardInterrupt:
            pass
    return 0


@requests.command(short_help="All that is known of one request.")
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(id: str, as_json: bool) -> int:
    """All that is known of one request: what happened when, every rule's answer, the attempts, what was converted or
    lost. The end of its ID will do.

    \b
    Examples:
      ccr requests show 3f2a
      ccr requests show req_0a1b2c3d4e5f --json

    Exit code: 0; 1 when there is no such request.
    """
    request = query.one(_path(), id)
    if as_json:
        print(json.dumps(request, indent=2, ensure_ascii=False))
    else:
        _print(request)
    return 0


@requests.command(short_help="Remove the whole history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> int:
    """Remove the whole history: requests, sums, bodies.

    \b
    Example:
      ccr requests clear

    Exit code: 0; 1 when it cannot be removed, or the answer was no.
    """
    if not yes and not click.confirm(f"Remove all requests from {_path()}?", err=True):
        return 1
    print(f"removed {store.clear(_path())} request(s)")
    return 0


def _last(path: Path, wanted: query.Filter, count: int) -> Iterator[JSON]:
    """The last ``count`` requests, oldest first."""
    pages: list[JSON] = []
    before: str | None = None
    while count > 0:
        page = query.page(path, wanted, before, min(count, query.LIMIT))
        pages += page["requests"]
        count -= len(page["requests"])
        before = page["before"]
        if before is None:
            break
    return reversed(pages)


def _ending(path: Path, wanted: query.Filter, after: str) -> Iterator[JSON]:
    """Requests as they end, for ever."""
    told: set[str] = set()
    while True:
        changed = query.changes(path, wanted, after)
        after = changed["after"]
        for request in changed["requests"]:
            if request["state"] != "running" and request["id"] not in told:
                told.add(request["id"])
                yield request
        if not changed["more"]:
            time.sleep(FOLLOW_SECONDS)


def _json_line(request: JSON) -> None:
    print(json.dumps(request, ensure_ascii=False, separators=(",", ":")))


def _csv_line(request: JSON) -> None:
    values = {**request, **request["tokens"], "time": _iso(request["at"])}
    values["error"] = request["error"]["message"] if request["error"] else None
    csv.writer(sys.stdout).writerow([_cell(values.get(name)) for name in COLUMNS])


def _cell(value: Any) -> Any:
    """A value as a table may show it: a text that a spreadsheet would take for a formula begins with a quote."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _line(request: JSON) -> None:
    tokens = request["tokens"]
    known = tokens["input"] is not None or tokens["output"] is not None
    cached = (tokens["cache_read"] or 0) + (tokens["cache_write"] or 0)
    inside = f"{tokens['input'] or 0}{f'+{cached}c' if cached else ''}"
    error = request["error"]
    parts = [
        _local(request["at"]),
        _paint(f"{request['status'] or request['state']!s:<7}", COLOURS[request["state"]]),
        f"{_seconds(request['duration']):>7}",
        printable(_route(request)),
        f"({printable(request['scenario'])})" if request["scenario"] else "",
        f"{inside} > {tokens['output'] or 0}" if known else "",
        "" if request["state"] == "running" else _money(request["cost"]),
        request["id"][-8:],
        printable(error["message"][:120]) if error else "",
    ]
    print("  ".join(part for part in parts if part))


def _print(request: JSON) -> None:
    tokens = request["tokens"]
    error = request["error"]
    agent = " ".join(part for part in (request["agent_type"], request["agent_id"]) if part)
    kinds = [(kind.replace("_", " "), tokens[kind]) for kind in query.TOKENS if tokens[kind] is not None]
    rows = [
        ("request", request["id"]),
        ("time", _iso(request["at"])),
        ("state", ", ".join(str(part) for part in (request["state"], request["status"]) if part)),
        ("error", f"{error['kind']}: {error['message']}" if error else None),
        ("requested", f"{request['requested']} ({'stream' if request['stream'] else 'whole'}) at {request['path']}"),
        ("route", _route(request)),
        ("because", f"{request['rule'] or request['scenario']}: {request['why']}" if request["why"] else None),
        ("scenario", request["scenario"]),
        ("tokens", ", ".join(f"{count} {kind}" for kind, count in kinds) or None),
        ("cost", _money(request["cost"])),
        ("first", _seconds(request["first"]) if request["first"] is not None else None),
        ("duration", _seconds(request["duration"]) if request["duration"] is not None else None),
        ("speed", f"{request['tokens_per_second']} tokens/s" if request["tokens_per_second"] else None),
        ("session", request["session"]),
        ("agent", f"{agent} (of {request['parent_agent_id']})" if request["parent_agent_id"] else agent),
        ("class", request["class"]),
        ("project", request["project"]),
    ]
    for name, value in rows:
        if value:
            print(printable(f"{name:<10} {value}"))
    for step in request["timeline"]:
        print(printable(f"{'+' + _seconds(step['offset']):>10} {step['what']:<9} {step['text']}"))
    for answer in request["explanation"]:
        print(printable(f"rule       {answer['state']:<9} {answer['rule']}: {answer['why']}"))
    for note in request["notes"]:
        value = note["value"]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        print(printable(f"note       {note['key']}: {text}"))
    for body in request["bodies"]:
        what = body["kind"] if body["attempt"] is None else f"{body['kind']} {body['attempt']}"
        print(f"body       {what}, {body['size']} bytes{', the beginning of it' if body['cut'] else ''}")
        print(printable(body["content"]))


# --- usage ------------------------------------------------------------------------------------------------------


@click.command(short_help="Sums of tokens and cost.")
@click.option("--by", type=click.Choice([*query.KEYS]), default="day", show_default=True, help="What to sum up by.")
@filters
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with a line of names.")
def usage(by: str, as_json: bool, as_csv: bool, **given: str | None) -> int:
    """Sums of requests, tokens and cost.

    A cost with "+?" lacks requests to models whose price is not known.

    \b
    Examples:
      ccr usage
      ccr usage --by model --since 7d
      ccr usage --by project --csv > projects.csv

    Exit code: 0; 1 when the history cannot be read.
    """
    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both")
    result = query.usage(_path(), by, _filter(given))
    if as_json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return 0
    if as_csv:
        writer = csv.writer(sys.stdout)
        names = ("requests", "errors", *query.TOKENS, "cost", "unpriced", "duration")
        writer.writerow([by, *names])
        for group in result["groups"]:
            values = {**group, **group["tokens"]}
            writer.writerow([_cell(group["key"]), *(values[name] for name in names)])
        return 0
    none = "main" if by == "agent" else "?"
    rows = [_sums(group["key"] or none, group) for group in result["groups"]]
    _table((by, "requests", "errors", "input", "output", "cached", "cost"), [*rows, _sums("total", result["total"])])
    return 0


def _sums(key: str, sums: JSON) -> tuple[str, ...]:
    key = printable(key)
    tokens = sums["tokens"]
    cost = _money(sums["cost"]) if sums["requests"] else "$0"
    if sums["cost"] is not None and sums["unpriced"]:
        cost += "+?"
    counts = (
        sums["requests"],
        sums["errors"],
        tokens["input"],
        tokens["output"],
        tokens["cache_read"] + tokens["cache_write"],
    )
    return key, *(f"{count:,}" for count in counts), cost


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The first column to the left, the others to the right."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for number, line in enumerate(lines):
        first, *others = zip(line, widths, strict=True)
        text = "  ".join((first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)))
        print(_paint(text, "1") if number in (0, len(lines) - 1) else text)


# --- words ------------------------------------------------------------------------------------------------------


def _paint(text: str, colour: str) -> str:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def _route(request: JSON) -> str:
    return f"{request['provider']},{request['model']}" if request["provider"] else "-"


def _local(at: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at))


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(at))


def _seconds(value: float | None) -> str:
    if value is None:
        return "…"
    return f"{value:.2f}s" if value < 100 else f"{value:.0f}s"


def _money(value: float | None) -> str:
    """US dollars, with as many digits as small sums need; ``?``: not known."""
    if value is None:
        return "?"
    return f"${value:.2f}" if value >= 1 or value == 0 else f"${value:.4f}"
