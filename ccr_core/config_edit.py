"""Places in a configuration file, and changes to it that leave everything else as the user wrote it.

Reading is the business of :mod:`ccr_core.config`; this module is imported only to change a file or to say on
which line a problem is.  Its rules:

* a change replaces only the text of the value it concerns: comments, order, unknown keys, ``$NAME``
  references, indentation and line ends stay;
* the result is parsed again by the real parser and must hold exactly the data that the change should give, or
  the file is not touched: the small scanner here can refuse, it cannot damage;
* a file is replaced in one step, after a copy was kept; a full disk or a crash leaves the old file.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ccr_core.config import Key, join, parse, read_text
from ccr_core.errors import ConfigError

BACKUPS = 3
"""How many copies of earlier versions are kept beside a configuration file."""


# --- changes ------------------------------------------------------------------------------------------------


@attrs.frozen
class Set:
    """Give the value at ``path`` (created with the objects around it if missing; one past the end of a list
    appends)."""

    path: tuple[Key, ...]
    value: Any


@attrs.frozen
class Insert:
    """Put ``value`` into a list before the element that is now at ``path``."""

    path: tuple[Key, ...]
    value: Any


@attrs.frozen
class Delete:
    """Remove the key or the element at ``path``."""

    path: tuple[Key, ...]


Change = Set | Insert | Delete


def diff(old: Any, new: Any, path: tuple[Key, ...] = ()) -> list[Change]:
    """The smallest changes, in order of application, that turn ``old`` into ``new``.

    To save a document that was shown masked: ``diff(mask(raw), edited)`` holds what the user changed and
    nothing else.
    """
    if same(old, new):
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        changes: list[Change] = [Delete((*path, key)) for key in old if key not in new]
        for key, value in new.items():
            changes += diff(old[key], value, (*path, key)) if key in old else [Set((*path, key), value)]
        return changes
    if isinstance(old, list) and isinstance(new, list):
        start = 0
        while start < min(len(old), len(new)) and same(old[start], new[start]):
            start += 1
        end = 0
        while end < min(len(old), len(new)) - start and same(old[-1 - end], new[-1 - end]):
            end += 1
        common = min(len(old), len(new)) - end  # elements from start to here are changed one by one
        changes = []
        for index in range(start, common):
            changes += diff(old[index], new[index], (*path, index))
        changes += [Delete((*path, index)) for index in reversed(range(common, len(old) - end))]
        changes += [Insert((*path, index), new[index]) for index in range(common, len(new) - end)]
        return changes
    return [Set(path, new)]


def same(one: Any, other: Any) -> bool:
    """Equal data: like ``==`` but ``1``, ``1.0`` and ``true`` differ, and not-a-number equals itself."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


def apply(data: Any, change: Change) -> Any:
    """``data`` (changed in place) after ``change``; :class:`ConfigError` if the path leads nowhere."""
    if not change.path:
        raise ConfigError("a change needs a path; the whole document cannot be replaced")
    node = data
    for depth, key in enumerate(change.path[:-1]):
        if isinstance(change, Set) and isinstance(node, dict) and isinstance(key, str) and key not in node:
            node[key] = {}
        node = _child(node, key, change.path[: depth + 1])
    last = change.path[-1]
    if isinstance(node, dict) and isinstance(last, str) and isinstance(change, Set):
        node[last] = copy.deepcopy(change.value)
    elif isinstance(node, list) and isinstance(last, int) and not isinstance(change, Delete):
        if not 0 <= last <= len(node):
            raise ConfigError(f"{join('', *change.path)}: the list has {len(node)} elements")
        if isinstance(change, Insert) or last == len(node):
            node.insert(last, copy.deepcopy(change.value))
        else:
            node[last] = copy.deepcopy(change.value)
    elif isinstance(change, Delete):
        _child(node, last, change.path)
        del node[last]
    else:
        kind = "list" if isinstance(node, list) else "object" if isinstance(node, dict) else "value"
        raise ConfigError(f"{join('', *change.path)}: no such place, {join('', *change.path[:-1])} is a {kind}")
    return data


def _child(node: Any, key: Key, path: Sequence[Key]) -> Any:
    if isinstance(node, dict) and isinstance(key, str) and key in node:
        return node[key]
    if isinstance(node, list) and isinstance(key, int) and 0 <= key < len(node):
        return node[key]
    raise ConfigError(f"{join('', *path)}: there is no such key in the configuration")


# --- the scanner --------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<blank>[\s\ufeff]+)
      | (?P<comment>//[^\n\r\u2028\u2029]*|/\*.*?\*/)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<sign>[{}\[\]:,])
      | (?P<word>[^\s{}\[\]:,"'/\ufeff]+)""",
    re.X | re.S,
)


@attrs.frozen
class Token:
    kind: str
    text: str
    start: int
    end: int


@attrs.define
class Node:
    """A value in the text, from ``start`` to ``end``.  ``keys`` is None for a list; ``items`` is None for a
    scalar.

    ``heads`` is where each item begins, key included; ``commas`` where the comma after it is (None after a
    last item without).
    """

    start: int
    end: int = 0
    keys: list[str] | None = None
    items: list[Node] | None = None
    heads: list[int] = attrs.field(factory=list)
    commas: list[int | None] = attrs.field(factory=list)


def tokens(text: str) -> list[Token]:
    """The tokens of a JSON5 text that a parser has accepted, blanks and comments included."""
    result = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ConfigError(f"cannot find my way in the configuration at character {position}")
        result.append(Token(match.lastgroup or "", match[0], position, match.end()))
        position = match.end()
    return result


def scan(text: str) -> Node:
    """The places of all values in a JSON5 text that a parser has accepted."""
    stream = (token for token in tokens(text) if token.kind not in ("blank", "comment"))

    def value(token: Token) -> Node:
        node = Node(token.start, token.end)
        if token.text not in ("{", "["):
            return node
        node.keys = [] if token.text == "{" else None
        node.items = []
        for token in stream:
            if token.text in ("}", "]"):
                node.end = token.end
                break
            if token.text == ",":
                node.commas[-1] = token.start
                continue
            node.heads.append(token.start)
            node.commas.append(None)
            if node.keys is not None:
                node.keys.append(_key_text(token.text))
                next(stream)  # the colon
                token = next(stream)
            node.items.append(value(token))
        return node

    return value(next(stream))


def _key_text(text: str) -> str:
    if "\\" in text:
        import pyjson5

        return str(next(iter(pyjson5.decode(f"{{{text}:0}}"))))
    return text[1:-1] if text[0] in "\"'" else text


def _line_column(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def repeated_keys(text: str) -> list[tuple[str, str, int, int]]:
    """Keys that an object of a JSON5 text has twice: path, message, line and column of the later one."""
    found: list[tuple[str, str, int, int]] = []

    def walk(node: Node, path: str) -> None:
        seen: set[str] = set()
        for index, item in enumerate(node.items or ()):
            key: Key = node.keys[index] if node.keys is not None else index
            if isinstance(key, str):
                if key in seen:
                    message = "this key is given twice; remove one of them"
                    found.append((join(path, key), message, *_line_column(text, node.heads[index])))
                seen.add(key)
            walk(item, join(path, key))

    walk(scan(text), "")
    return found


def places(path: Path) -> dict[str, tuple[int, int]]:
    """Line and column (from 1) of the paths in a file, as :func:`ccr_core.config.join` writes them.

    JSON5: of every key and list element.  TOML: of every table and every key on a line of its own, not inside
    inline values.
    """
    text = read_text(path)
    if path.suffix == ".toml":
        return _toml_places(text)
    found: dict[str, tuple[int, int]] = {}

    def walk(node: Node, path: str) -> None:
        for index, item in enumerate(node.items or ()):
            inner = join(path, node.keys[index] if node.keys is not None else index)
            found[inner] = _line_column(text, node.heads[index])
            walk(item, inner)

    parse(text, path)
    walk(scan(text), "")
    return found


_TOML_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}]|\n|[^\S\n]+|[^"\'#\[\]{}\n\s]+',
    re.S,
)
_TOML_KEY = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_TOML_LINE = re.compile(
    rf"[ \t]*(?P<open>\[\[?)?[ \t]*(?P<path>{_TOML_KEY}(?:[ \t]*\.[ \t]*{_TOML_KEY})*)[ \t]*(?:\]|=)"
)


def _toml_places(text: str) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    counts: dict[str, int] = {}
    table = ""
    depth = position = 0
    fresh = True  # at the beginning of a line that is not inside a value
    while position < len(text):
        line = _TOML_LINE.match(text, position) if fresh else None
        fresh = False
        if line:
            names = [_toml_key(part) for part in re.findall(_TOML_KEY, line["path"])]
            where = "" if line["open"] else table
            for index, name in enumerate(names):
                where = join(where, name)
                if line["open"] == "[[" and index == len(names) - 1:
                    counts[where] = counts.get(where, -1) + 1
                    for old in [key for key in counts if key.startswith(f"{where}[{counts[where]}]")]:
                        del counts[old]
                found.setdefault(where, _line_column(text, line.start("path")))
                if line["open"] and where in counts:
                    where = join(where, counts[where])
                    found.setdefault(where, _line_column(text, line.start("path")))
            if line["open"]:
                table = where
            position = line.end() if not line["open"] else text.find("\n", line.end())
            if position < 0:
                break
            continue
        match = _TOML_TOKEN.match(text, position)
        if match is None:
            break
        depth += (match[0] in "[{") - (match[0] in "]}")
        fresh = match[0] == "\n" and depth == 0
        position = match.end()
    return found


def _toml_key(text: str) -> str:
    if text[0] == '"':
        return str(json.loads(text))
    return text[1:-1] if text[0] == "'" else text
