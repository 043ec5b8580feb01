"""``ccr statusline``: one line about the conversation, from what the client says of it and the router has measured.

The client runs this after each turn, so it must be quick.  Rules of this module:

* it imports the standard library only, and of that what the line needs: no command-line parser, no configuration, no
  HTTP (the option parser with ``--install`` is :mod:`ccr_core.cli.statusline_command`);
* what a theme does not show is not looked up;
* a preset is read with the whole of :mod:`ccr_core.presets` only where answers change its status line;
* whatever is missing or broken (no transcript yet, no configuration, a failing script) leaves its part empty, and the
  exit code is 0; only input that is no JSON is an error.
"""

from __future__ import annotations

import json
import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

TAIL = 512 * 1024
"""How much of the end of a transcript is read for the last answer."""
SCRIPT_SECONDS = 5.0
FRESH_SECONDS = 3.0
"""How long a speed counts as the present one."""
MOST = 10
"""The most modules of a powerline."""

COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
RGB = {
    "black": (0, 0, 0),
    "red": (205, 49, 49),
    "green": (13, 188, 121),
    "yellow": (229, 229, 16),
    "blue": (36, 114, 200),
    "magenta": (188, 63, 188),
    "cyan": (17, 168, 205),
    "white": (229, 229, 229),
    "bright_black": (102, 102, 102),
    "bright_red": (241, 76, 76),
    "bright_green": (35, 209, 139),
    "bright_yellow": (245, 245, 67),
    "bright_blue": (59, 142, 234),
    "bright_magenta": (214, 112, 214),
    "bright_cyan": (41, 184, 219),
    "bright_white": (255, 255, 255),
    "bright_orange": (255, 135, 0),
    "bright_purple": (175, 0, 255),
}
"""Names of colours as they are shown in 24 bits (in a powerline, whose separators need one colour twice)."""
UNKNOWN_BACKGROUND = (33, 150, 243)
SEPARATOR = "\ue0b0"
RESET = "\x1b[0m"

_COMMON = (
    ("workDir", "\U000f024b", "{{workDirName}}", "blue"),
    ("gitBranch", "\ue725", "{{gitBranch}}", "magenta"),
    ("model", "\U000f06a9", "{{model}}", "cyan"),
    ("usage", "↑", "{{inputTokens}}", "green"),
    ("usage", "↓", "{{outputTokens}}", "yellow"),
)


def _modules(rows: Sequence[tuple[str, str, str, str]], *, background: bool = False) -> list[dict[str, Any]]:
    if background:
        return [
            {"type": kind, "icon": icon, "text": text, "color": "white", "background": f"bg_bright_{colour}"}
            for kind, icon, text, colour in rows
        ]
    return [
        {"type": kind, "icon": icon, "text": text, "color": f"bright_{colour}"} for kind, icon, text, colour in rows
    ]


def theme_named(name: str) -> list[dict[str, Any]] | None:
    """The modules of a built-in theme; ``None`` if there is none of this name."""
    if name == "default":
        return _modules(_COMMON)
    if name == "powerline":
        return _modules(_COMMON, background=True)
    if name == "simple":
        plain = [(kind, "" if kind != "usage" else icon, text, colour) for kind, icon, text, colour in _COMMON]
        return _modules(plain)
    if name == "full":
        more = (
            ("context", "🪟", "{{contextPercent}}% / {{contextWindowSize}}", "green"),
            ("speed", "⚡", "{{tokenSpeed}} t/s {{isStreaming}}", "yellow"),
            ("cost", "💰", "{{cost}}", "magenta"),
            ("duration", "⏱️", "{{duration}}", "white"),
            ("lines", "📝", "+{{linesAdded}}/-{{linesRemoved}}", "cyan"),
        )
        return _modules((*_COMMON[:3], *more))
    if name == "router":
        rows = (
            *_COMMON[:2],
            ("model", "\U000f06a9", "{{route}}", "cyan"),
            ("speed", "⚡", "{{tokensPerSecond}} t/s", "yellow"),
            ("speed", "⏱️", "{{timeToFirstToken}}", "white"),
            ("cost", "💰", "{{sessionCost}}", "magenta"),
        )
        return _modules(rows)
    return None


# --- what is known ----------------------------------------------------------------------------------------------


def home() -> str:
    """The folder of ccr, as :func:`ccr_core.config.home` has it."""
    chosen = os.environ.get("CCR_HOME")
    return os.path.expanduser(chosen) if chosen else os.path.join(os.path.expanduser("~"), ".claude-code-router")


_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[{}\[\]:,]|[^\s{}\[\]:,"'/]+|\s+|.""", re.S
)


def loads(text: str) -> Any:
    """JSON, or the JSON5 that people write: comments, trailing commas, bare keys, single quotes.

    ``ValueError`` if it is neither.  Only what is left of JSON5 (hexadecimal numbers, odd escapes) is not understood.
    """
    try:
        return json.loads(text)
    except ValueError:
        pass
    out: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token.isspace() or token.startswith(("//", "/*")):
            continue
        if token in "}]" and out and out[-1] == ",":
            out.pop()
        if token[0] == "'":
            inner = re.sub(r'\\\'|(?<!\\)"', lambda found: "'" if found[0] == "\\'" else '\\"', token[1:-1])
            token = f'"{inner}"'
        elif token == ":" and out and re.fullmatch(r"[^\W\d][\w$]*|[$_][\w$]*", out[-1]):
            out[-1] = f'"{out[-1]}"'
        out.append(re.sub(r"\\\r?\n", "", token) if token[0] == '"' else token)
    return json.loads("".join(out), strict=False)


def _object(path: str) -> dict[str, Any]:
    """The object in a JSON, JSON5 or TOML file; empty if there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if path.endswith(".toml"):
            import tomllib

            return tomllib.loads(text)
        data = loads(text)
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _resolved(value: Any) -> Any:
    """References to environment variables replaced, as in the rest of the configuration."""
    if isinstance(value, dict):
        return {key: _resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item) for item in value]
    if isinstance(value, str) and "$" in value:
        return re.sub(r"\$\{([^}]+)\}|\$([A-Z_][A-Z0-9_]*)", lambda m: os.environ.get(m[1] or m[2]) or m[0], value)
    return value


def _part(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _number(data: Any, *keys: str) -> float:
    value = _part(data, *keys)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _text(data: Any, *keys: str) -> str:
    value = _part(data, *keys)
    return value if isinstance(value, str) else ""


def branch(folder: str) -> str:
    """The branch that is checked out in ``folder`` or above it, read from git's own files; empty if there is none."""
    while folder:
        dot = os.path.join(folder, ".git")
        if os.path.exists(dot):
            try:
                if os.path.isfile(dot):  # a worktree or submodule: "gitdir: <path>"
                    with open(dot, encoding="utf-8") as file:
                        dot = os.path.join(folder, file.read().partition(":")[2].strip())
                with open(os.path.join(dot, "HEAD"), encoding="utf-8") as file:
                    reference = file.read().strip()
            except (OSError, ValueError):
                return ""
            return reference.removeprefix("ref: refs/heads/") if reference.startswith("ref: refs/heads/") else ""
        parent = os.path.dirname(folder)
        folder = parent if parent != folder else ""
    return ""


def last_answer(path: str) -> dict[str, Any]:
    """The last message of a model in a transcript; empty if it cannot be read or has none yet."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return {}
    for line in reversed(lines):
        if b'"assistant"' not in line:
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        message = _part(entry, "message")
        if _text(entry, "type") == "assistant" and _text(message, "model") not in ("", "<synthetic>"):
            return dict(message)
    return {}


def measured(session: str) -> dict[str, Any]:
    """What the router measured in this session (the file of the observer ``session-stats``); empty if it has none."""
    if not session:
        return {}
    name = session
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", session):
        import hashlib

        name = hashlib.sha256(session.encode()).hexdigest()[:32]
    return _object(os.path.join(home(), "run", "sessions", f"{name}.json"))


# --- how it is written ------------------------------------------------------------------------------------------


def count(value: float) -> str:
    """``999``, ``1.2k``."""
    return f"{value / 1000:.1f}k" if value > 1000 else f"{value:g}"


def money(dollars: float) -> str:
    """``0.42¢``, ``$1.20``; empty for nothing."""
    return "" if dollars <= 0 else f"{dollars * 100:.2f}¢" if dollars < 0.01 else f"${dollars:.2f}"


def span(milliseconds: float) -> str:
    """``250ms``, ``2.5s``, ``3m20s``; empty for nothing."""
    if milliseconds <= 0:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f}s"
    return f"{int(milliseconds // 60_000)}m{int(milliseconds % 60_000 // 1000)}s"


class Variables:
    """The values of ``{{name}}``, each looked up at its first use."""

    def __init__(self, given: Mapping[str, Any], config: Callable[[], dict[str, Any]]) -> None:
        self._given = given
        self._config = config
        self._known: dict[str, Any] = {}

    @property
    def folder(self) -> str:
        return _text(self._given, "workspace", "current_dir") or _text(self._given, "cwd")

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = make()
        return self._known[key]

    @property
    def _answer(self) -> dict[str, Any]:
        return dict(self._once("answer", lambda: last_answer(_text(self._given, "transcript_path"))))

    @property
    def _stats(self) -> dict[str, Any]:
        return dict(self._once("stats", lambda: measured(_text(self._given, "session_id"))))

    def get(self, name: str) -> str:
        """The value of a variable as text; empty for an unknown one, or when something fails."""
        make = _VARIABLES.get(name)
        if make is None:
            return ""
        try:
            return str(self._once(f"={name}", lambda: make(self)))
        except Exception as error:
            print(f"statusline: {name}: {error}", file=sys.stderr)
            return ""

    def all(self) -> dict[str, str]:
        """Every variable, for scripts."""
        return {name: self.get(name) for name in _VARIABLES}

    def model(self) -> str:
        default = _text(self._project(), "Router", "default") or _text(self._config(), "Router", "default")
        return (
            _text(self._stats, "last", "model")
            or _text(self._answer, "model")
            or (default.split(",")[1].strip() if "," in default else "")
            or _text(self._given, "model", "display_name")
        )

    def _project(self) -> dict[str, Any]:
        return _object(os.path.join(self.folder, ".claude-code-router", "config.json")) if self.folder else {}

    def tokens(self, key: str) -> str:
        for source in (_part(self._answer, "usage"), _part(self._stats, "last"), self._usage):
            if isinstance(source, dict) and key in source:
                return count(_number(source, key))
        return "0"

    @property
    def _usage(self) -> Any:
        return _part(self._given, "context_window", "current_usage")

    def percent(self) -> str:
        size = _number(self._given, "context_window", "context_window_size")
        parts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        used = sum(_number(self._usage, part) for part in parts)
        return str(int(used / size * 100 + 0.5)) if size else "0"

    def window(self) -> str:
        size = _number(self._given, "context_window", "context_window_size")
        return f"{size / 1000:.0f}k" if size > 1000 else f"{size:g}"

    def speed(self) -> str:
        import time

        age = time.time() - _number(self._stats, "last", "at")
        return f"{_number(self._stats, 'last', 'tokens_per_second'):.0f}" if age <= FRESH_SECONDS else "0"

    def streaming(self, word: str) -> str:
        return word if _part(self._stats, "streaming") is True else ""

    def lasting_speed(self) -> str:
        speed = _number(self._stats, "last", "tokens_per_second")
        return f"{speed:.0f}" if speed else ""

    def lines(self) -> str:
        return str(int(_number(self._given, "cost", "total_lines_added") - self.removed()))

    def removed(self) -> int:
        return int(_number(self._given, "cost", "total_lines_removed"))


_VARIABLES: dict[str, Callable[[Variables], Any]] = {
    "workDirName": lambda it: os.path.basename(it.folder.rstrip("/")),
    "gitBranch": lambda it: branch(it.folder),
    "model": Variables.model,
    "inputTokens": lambda it: it.tokens("input_tokens"),
    "outputTokens": lambda it: it.tokens("output_tokens"),
    "totalInputTokens": lambda it: count(_number(it._given, "context_window", "total_input_tokens")),
    "totalOutputTokens": lambda it: count(_number(it._given, "context_window", "total_output_tokens")),
    "contextPercent": Variables.percent,
    "contextWindowSize": Variables.window,
    "tokenSpeed": Variables.speed,
    "isStreaming": lambda it: it.streaming("streaming"),
    "streamingIndicator": lambda it: it.streaming("[Streaming]"),
    "timeToFirstToken": lambda it: span(_number(it._stats, "last", "ttft_ms")),
    "cost": lambda it: money(_number(it._given, "cost", "total_cost_usd")),
    "duration": lambda it: span(_number(it._given, "cost", "total_duration_ms")),
    "linesAdded": lambda it: int(_number(it._given, "cost", "total_lines_added")),
    "linesRemoved": Variables.removed,
    "netLines": Variables.lines,
    "version": lambda it: _text(it._given, "version"),
    "sessionId": lambda it: _text(it._given, "session_id")[:8],
    "route": lambda it: _text(it._stats, "last", "route"),
    "provider": lambda it: _text(it._stats, "last", "provider"),
    "scenario": lambda it: _text(it._stats, "last", "scenario"),
    "tokensPerSecond": Variables.lasting_speed,
    "requestCost": lambda it: money(_number(it._stats, "last", "cost")),
    "sessionCost": lambda it: money(_number(it._stats, "total", "cost")),
    "sessionRequests": lambda it: int(_number(it._stats, "total", "requests")),
}
NAMES = tuple(_VARIABLES)
"""Every variable."""


# --- scripts ----------------------------------------------------------------------------------------------------

_NODE = (
    "const f=require(process.argv[1]);let t='';process.stdin.on('data',d=>t+=d).on('end',async()=>{"
    "const v=JSON.parse(t),o=v.options;delete v.options;const g=f&&f.default||f;"
    "process.stdout.write(String(await(typeof g==='function'?g(v,o):g)))})"
)


def script(path: str, variables: Mapping[str, str], options: Any) -> str:
    """What a script says: the function of a Python file, or the output of any program.

    A Python file (``*.py``) has a function ``statusline(variables, options)`` (or ``main``), perhaps a coroutine
    function, or a text ``statusline``.  A file ``*.js`` is given to ``node`` and exports such a function or text.
    Anything else is run, with the variables and ``options`` as one JSON object on standard input.
    """
    if path.endswith(".py"):
        with open(path, encoding="utf-8") as file:
            names: dict[str, Any] = {"__name__": "ccr_statusline_script", "__file__": path}
            exec(compile(file.read(), path, "exec", dont_inherit=True), names)
        found = names.get("statusline", names.get("main", ""))
        result = _call(found, dict(variables), options) if callable(found) else found
        if hasattr(result, "__await__"):
            import asyncio

            async def wait() -> Any:
                return await result

            result = asyncio.run(wait())
        return _one_line("" if result is None else str(result))
    import subprocess

    words = ["node", "-e", _NODE, path] if path.endswith((".js", ".cjs")) else [path]
    given = json.dumps({**variables, "options": options})
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=SCRIPT_SECONDS, check=True)
    return _one_line(done.stdout)


def _call(function: Callable[..., Any], variables: dict[str, str], options: Any) -> Any:
    """Call with as many of the two arguments as the function takes."""
    code = getattr(function, "__code__", None)
    return function(variables) if code is not None and code.co_argcount == 1 else function(variables, options)


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()


# --- the line ---------------------------------------------------------------------------------------------------


def contents(module: Mapping[str, Any], variables: Variables) -> str:
    """Icon and text of a module with the variables put in; empty if there is no text."""
    if _text(module, "type") == "script":
        try:
            text = script(_text(module, "scriptPath"), variables.all(), module.get("options"))
        except Exception as error:
            print(f"statusline: {_text(module, 'scriptPath')}: {error}", file=sys.stderr)
            text = ""
    else:
        text = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: variables.get(match[1]), _text(module, "text")).strip()
    icon = _text(module, "icon")
    return f"{icon} {text}" if icon and text else text


def _hex(colour: str) -> tuple[int, int, int] | None:
    digits = colour.removeprefix("#")
    if re.fullmatch(r"[0-9a-fA-F]{3}", digits):
        digits = "".join(digit * 2 for digit in digits)
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
        return None
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def code(colour: str, *, background: bool = False) -> str:
    """The escape sequence of a colour, by name (``cyan``, ``bright_cyan``, ``bg_cyan``) or ``#hex``; may be empty."""
    name = colour.removeprefix("bg_")
    base = 40 if background else 30
    plain = name.removeprefix("bright_")
    if plain in COLOURS:
        return f"\x1b[{base + COLOURS.index(plain) + (60 if name != plain else 0)}m"
    rgb = RGB.get(name) or _hex(name)
    return f"\x1b[{base + 8};2;{rgb[0]};{rgb[1]};{rgb[2]}m" if rgb else ""


def _no_colour() -> bool:
    return bool(os.environ.get("NO_COLOR"))


def plain(modules: Sequence[Mapping[str, Any]], variables: Variables) -> str:
    """The modules that have something to say, one blank between them."""
    parts = []
    for module in modules:
        text = contents(module, variables)
        if not text:
            continue
        codes = code(_text(module, "background"), background=True) + code(_text(module, "color"))
        parts.append(f"{codes}{text}{RESET}" if codes and not _no_colour() else text)
    return " ".join(parts)


def powerline(modules: Sequence[Mapping[str, Any]], variables: Variables) -> str:
    """The modules as blocks of colour with arrows between them, in 24-bit colours."""
    shown: list[tuple[str, str, str]] = []
    for module in modules[:MOST]:
        text = contents(module, variables)
        if text:
            shown.append((text, _text(module, "color") or "white", _text(module, "background") or "bg_bright_blue"))
    if _no_colour():
        return " > ".join(text for text, _, _ in shown)
    parts = []
    for position, (text, colour, background) in enumerate(shown):
        red, green, blue = rgb(background) or UNKNOWN_BACKGROUND
        front = rgb(colour) or RGB["white"]
        parts.append(f"\x1b[48;2;{red};{green};{blue}m\x1b[38;2;{front[0]};{front[1]};{front[2]}m {text} {RESET}")
        if position + 1 < len(shown):
            next_red, next_green, next_blue = rgb(shown[position + 1][2]) or UNKNOWN_BACKGROUND
            parts.append(
                f"\x1b[48;2;{next_red};{next_green};{next_blue}m\x1b[38;2;{red};{green};{blue}m{SEPARATOR}{RESET}"
            )
    return "".join(parts)


def rgb(colour: str) -> tuple[int, int, int] | None:
    """A colour in 24 bits, by name or ``#hex``; ``None`` if it is neither."""
    name = colour.removeprefix("bg_")
    return RGB.get(name) or _hex(name)


def configuration() -> dict[str, Any]:
    """The configuration as far as the status line needs it; empty if there is none, or it cannot be read."""
    folder = home()
    for name in ("config.json", "config.toml"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return _object(path)
    return {}


def of_preset(name: str) -> dict[str, Any]:
    """The ``StatusLine`` of an installed preset as it is in effect; scripts are looked for in the preset's folder."""
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        return {}
    folder = os.path.join(home(), "presets", name)
    manifest = _object(os.path.join(folder, "manifest.json"))
    line = _part(manifest, "template", "StatusLine") or manifest.get("StatusLine")
    if _depends_on_answers(manifest, line):
        # Only then is the whole of presets needed, which takes a while to import.
        from pathlib import Path

        from ccr_core import presets

        line = presets.read(Path(folder)).document().get("StatusLine")
    if not isinstance(line, dict):
        return {}

    def put(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: os.path.join(folder, os.path.expanduser(item))
                if key == "scriptPath" and isinstance(item, str)
                else put(item)
                for key, item in value.items()
            }
        return [put(item) for item in value] if isinstance(value, list) else value

    return dict(put(line))


def _depends_on_answers(manifest: Mapping[str, Any], line: Any) -> bool:
    """Whether answers to a preset's questions change its status line: by name, by a mapping, or by a path."""
    mappings = manifest.get("configMappings")
    places = [_text(each, "target") for each in (mappings if isinstance(mappings, list) else ())]
    places += list(_part(manifest, "userValues") or ())
    return "#{" in json.dumps(line) or any(place.startswith("StatusLine") for place in places)


def chosen(lines: Sequence[Mapping[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Style and modules: of the first of these ``StatusLine`` blocks that has a usable style, else a built-in theme."""
    for line in lines:
        style = _text(line, "currentStyle") or "default"
        modules = _part(line, style, "modules")
        if not isinstance(modules, list) and line:
            modules = theme_named(style)
        if isinstance(modules, list):
            return style, [module for module in modules if isinstance(module, dict)]
    simple = os.environ.get("USE_SIMPLE_ICONS") == "true" or os.environ.get("TERM") in ("dumb", "unknown")
    style = "simple" if simple else "default"
    return style, theme_named(style) or []


def render(given: Mapping[str, Any], preset: str | None = None) -> str:
    """The line for what the client says, ``given``."""
    known: list[dict[str, Any]] = []

    def read() -> dict[str, Any]:
        if not known:
            known.append(configuration())
        return known[0]

    lines = []
    if preset:
        try:
            lines.append(of_preset(preset))
        except Exception as error:
            print(f"statusline: the preset {preset}: {error}", file=sys.stderr)
    lines.append(_part(read(), "StatusLine") or {})
    style, modules = chosen([_resolved(line) for line in lines if isinstance(line, dict)])
    base = home()
    for module in modules:
        path = os.path.expanduser(_text(module, "scriptPath"))
        if path:
            module["scriptPath"] = os.path.join(base, path)
    variables = Variables(given, read)
    return powerline(modules, variables) if style == "powerline" else plain(modules, variables)


def main(args: Sequence[str]) -> int:
    """``ccr statusline [preset]``: read the client's JSON, print the line, give the exit code."""
    try:
        given = json.loads(sys.stdin.buffer.read())
        if not isinstance(given, dict):
            raise ValueError("not an object")
    except ValueError as error:
        print(f"error: standard input is not the JSON that Claude Code gives a status line: {error}", file=sys.stderr)
        return 1
    try:
        line = render(given, args[0] if args else None)
    except Exception as error:
        print(f"statusline: {type(error).__name__}: {error}", file=sys.stderr)
        line = ""
    # Not in the encoding of the terminal, which here is none: the client reads UTF-8.
    sys.stdout.buffer.write(f"{line}\n".encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
    return 0
