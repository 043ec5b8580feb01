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

import contextlib
import copy
import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from ccr_core.config import HIDDEN, Key, Problems, is_secret, join, parse, read_text
from ccr_core.errors import ConfigError
from ccr_core.locks import alone

LOCK_SECONDS = 5.0
"""How long a writer waits for another one."""

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
    return places_in(read_text(path), path)


def places_in(text: str, path: Path) -> dict[str, tuple[int, int]]:
    """:func:`places` of a text that may not be in the file yet; ``path`` tells the syntax."""
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


# --- changing JSON5 text ------------------------------------------------------------------------------------


def change_json(text: str, change: Change) -> str:
    """The JSON5 text after one change, whose parent exists.  Comments stay, also those about a deleted element."""
    node = scan(text)
    for key in change.path[:-1]:
        node = (node.items or [])[_index(node, key)]
    last = change.path[-1]
    position = _index(node, last)
    if isinstance(change, Delete):
        return _delete(text, node, position)
    if isinstance(change, Insert) or position == len(node.items or []):
        return _insert(text, node, position, last, change.value)
    old = (node.items or [])[position]
    style = _Style(text)
    return text[: old.start] + style.dump(change.value, style.indent(node.heads[position])) + text[old.end :]


def _index(node: Node, key: Key) -> int:
    """Which item of a node a key is; for a new key, the number of items."""
    if isinstance(key, int):
        return key
    keys = node.keys or []
    return keys.index(key) if key in keys else len(keys)


class _Style:
    """How a JSON5 text is laid out: its line end, its unit of indentation, whether keys are quoted."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        found = re.search(r"\n([ \t]+)[^\s/*]", text)
        self.unit = found[1] if found else "  "

    def indent(self, offset: int) -> str:
        """The blanks at the beginning of the line of ``offset``."""
        line = self.text[self.text.rfind("\n", 0, offset) + 1 : offset]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def dump(self, value: Any, indent: str) -> str:
        """A value as JSON: on one line if that is short and holds no object in a list, else one item a line."""
        line = json.dumps(value, ensure_ascii=False)
        if not isinstance(value, Mapping | list) or not value or (len(line) <= 80 and not _deep(value)):
            return line
        inner = indent + self.unit
        if isinstance(value, list):
            items = [self.dump(item, inner) for item in value]
        else:
            items = [f"{json.dumps(key, ensure_ascii=False)}: {self.dump(item, inner)}" for key, item in value.items()]
        opening, closing = "[]" if isinstance(value, list) else "{}"
        between = f",{self.newline}{inner}"
        return f"{opening}{self.newline}{inner}{between.join(items)}{self.newline}{indent}{closing}"


def _deep(value: Any) -> bool:
    """Whether a value is better written over several lines."""
    if isinstance(value, Mapping):
        return len(value) > 2 or any(isinstance(item, Mapping) for item in value.values())
    return any(isinstance(item, Mapping) for item in value)


def _insert(text: str, node: Node, place: int, key: Key, value: Any) -> str:
    """Put an item into the object or list ``node`` before its item ``place`` (its number of items: at the end)."""
    style = _Style(text)
    items = node.items or []
    outer = style.indent(node.start)
    if items:
        lines = "\n" in text[node.start : node.heads[0]]
        indent = style.indent(node.heads[0]) if lines else outer
    else:
        lines = isinstance(value, Mapping | list) or "\n" in text[node.start : node.end] or node.keys is not None
        indent = outer + style.unit
    item = style.dump(value, indent) if lines else json.dumps(value, ensure_ascii=False)
    if node.keys is not None:
        bare = items and text[node.heads[-1]] not in "\"'" and re.fullmatch(r"[A-Za-z_$][\w$]*", str(key), re.A)
        item = f"{key if bare else json.dumps(key, ensure_ascii=False)}: {item}"
    last = node.end - 1  # the closing bracket
    if not items:
        inside = text[node.start + 1 : last].rstrip()
        if lines:
            inside += f"{style.newline}{indent}{item}{style.newline}{outer}"
        else:
            inside += item
        return text[: node.start + 1] + inside + text[last:]
    if place == 0:
        before, comma = node.start + 1, None
    else:
        before, comma = items[place - 1].end, node.commas[place - 1]
    at = _end_of_remarks(text, before if comma is None else comma + 1, last) if lines else (comma or before)
    head, tail = text[before:at], text[at:]
    if place == 0:  # the comma goes after the new item
        gap = f"{style.newline}{indent}" if lines else ""
        return text[:before] + head + f"{gap}{item},{'' if lines else ' '}" + tail
    gap = f"{style.newline}{indent}" if lines else " "
    if comma is None:  # the comma goes after the item before, in front of its remark
        if lines and "\n" not in text[at:last]:
            tail = f"{style.newline}{outer}{tail.lstrip(' ')}"
        return f"{text[:before]},{head}{gap}{item}{tail}"
    if not lines:  # the old comma stands between, a new one follows
        return f"{text[:before]}, {item}{head}{tail}"
    return f"{text[:before]}{head}{gap}{item},{tail}"


def _end_of_remarks(text: str, start: int, limit: int) -> int:
    """The end of the comments that follow on the line of ``start``, unless another item follows them there."""
    end = position = start
    while position < limit:
        match = _TOKEN.match(text, position, limit)
        if match is None or match.lastgroup not in ("blank", "comment"):
            return start
        position = match.end()
        if match.lastgroup == "comment":
            end = position
        elif re.search(r"[\n\r\u2028\u2029]", match[0]):
            break
    return end


def _delete(text: str, node: Node, position: int) -> str:
    """Take an item out of an object or a list, with one comma and, if nothing else is left there, its lines."""
    start, end = node.heads[position], (node.items or [])[position].end
    cuts = [(start, end)]
    comma = node.commas[position]
    if comma is None and position:
        comma = node.commas[position - 1]
    if comma is not None:
        cuts.append((comma, comma + 1))
    for low, high in sorted(cuts, reverse=True):
        before, after = text[:low], text[high:]
        line, rest = before[before.rfind("\n") + 1 :], after.partition("\n")[0]
        if not line.strip() and not rest.strip() and "\n" in before and "\n" in after:
            before, after = before[: before.rfind("\n") + 1], after.partition("\n")[2]
        elif (low, high) == (start, end) and after[:1] == " " and (not line.strip() or line[-1:] in " [{"):
            after = after.lstrip(" ")
        text = before + after
    return text


def reordered_json(text: str, path: Sequence[Key], order: Sequence[int]) -> str:
    """The JSON5 text with the elements of the list at ``path`` in another order, each with its own remarks."""
    node = scan(text)
    for key in path:
        node = (node.items or [])[_index(node, key)]
    items = node.items or []
    last = node.end - 1
    starts, remarks = [node.start + 1], []
    for place, item in enumerate(items):
        comma = node.commas[place]
        after = item.end if comma is None else comma + 1
        end = _end_of_remarks(text, after, last)
        remarks.append(text[after:end])
        starts.append(end)
    units = [text[starts[place] : item.end] for place, item in enumerate(items)]
    if not all("\n" in unit for unit in units):  # on one line: the blanks belong to the places
        gaps = [unit[: len(unit) - len(unit.lstrip())] for unit in units]
        units = [f"{gap}{units[was].lstrip()}" for gap, was in zip(gaps, order, strict=True)]
    else:
        units = [units[was] for was in order]
    parts = []
    for place, (unit, was) in enumerate(zip(units, order, strict=True)):
        comma = node.commas[place]
        gap = text[items[place].end : comma] if comma is not None and not text[items[place].end : comma].strip() else ""
        parts.append(f"{unit}{gap}{',' if comma is not None else ''}{remarks[was]}")
    return f"{text[: node.start + 1]}{''.join(parts)}{text[starts[-1] :]}"


# --- changing TOML text -------------------------------------------------------------------------------------


def change_toml(text: str, change: Change) -> str:
    """The TOML text after one change, whose parent exists, made by tomlkit."""
    import tomlkit
    from tomlkit.items import AoT

    document = tomlkit.parse(text)
    node: Any = document
    for key in change.path[:-1]:
        node = node[key]
    last = change.path[-1]
    if isinstance(change, Delete):
        del node[last]
    elif isinstance(change, Set) or isinstance(last, str):
        node[last] = change.value
    elif isinstance(node, AoT):
        node.insert(last, tomlkit.item(change.value))
    elif (
        isinstance(change.value, Mapping)
        and len(change.path) == 2
        and node.as_string() == "[]"
        and not node.trivia.comment
    ):
        name = str(change.path[0])  # an empty list becomes [[tables]], which belong after the plain keys
        del document[name]
        document[name] = [change.value]
    else:
        node.insert(last, change.value)
    return _beside_its_table(text, tomlkit.dumps(document))


def _beside_its_table(before: str, after: str) -> str:
    """``after``, in which a line was added to ``before`` at the end of a table, with that line moved up to the others.

    At the end of a table are the remarks about what follows it.  Any other text is returned as it is.
    """
    import tomllib

    old, new = before.splitlines(), after.splitlines()
    at = next((place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), len(old))
    if len(new) != len(old) + 1 or new[:at] + new[at + 1 :] != old:
        return after
    up = at
    while up > 0 and (not new[up - 1].strip() or new[up - 1].lstrip().startswith("#")):
        up -= 1
    if up == 0 or up == at:
        return after
    if new[up - 1].lstrip().startswith("["):
        while up < at and new[up].strip():  # remarks right under the head are about the table
            up += 1
    moved = "\n".join([*new[:up], new[at], *new[up:at], *new[at + 1 :]]) + ("\n" if after.endswith("\n") else "")
    try:
        return moved if tomllib.loads(moved) == tomllib.loads(after) else after
    except tomllib.TOMLDecodeError:
        return after


def reordered_toml(text: str, name: str, order: Sequence[int]) -> str:
    """The TOML text with the tables ``[[name]]`` in another order, each with the remarks right above it.

    ``ConfigError`` where they are not written so, one after the other.
    """
    lines = text.splitlines(keepends=True)
    found = places_in(text, Path("x.toml"))
    heads = [found[join(name, place)][0] - 1 for place in range(len(order)) if join(name, place) in found]
    outside = [
        line - 1
        for where, (line, _) in found.items()
        if not where.startswith((f"{name}.", f"{name}[")) and where != name and line - 1 > min(heads, default=0)
    ]
    if len(heads) != len(order) or not all(re.match(rf"\s*\[\[\s*{re.escape(name)}\s*\]\]", lines[at]) for at in heads):
        raise ConfigError(f"{name} is not written as [[{name}]] tables; move them by hand")
    end = min((line for line in outside), default=len(lines))
    if any(at > end for at in heads):
        raise ConfigError(f"there are other tables between those of {name}; move them by hand")
    bounds = [*heads, end]
    for place, at in enumerate(bounds):
        while at > 0 and lines[at - 1].lstrip().startswith("#"):
            at -= 1
        bounds[place] = at
    blocks = ["".join(lines[start:stop]) for start, stop in itertools.pairwise(bounds)]
    bare = [block.rstrip("\n") + "\n" for block in blocks]  # the blank lines after them belong to the places
    moved = [
        bare[was] + block[len(bare[place]) :] for place, (was, block) in enumerate(zip(order, blocks, strict=True))
    ]
    return "".join([*lines[: bounds[0]], *moved, *lines[bounds[-1] :]])


def reordered(text: str, path: Path, name: str, order: Sequence[int]) -> str:
    """The text of a configuration file with the elements of its list ``name`` in another order.

    ``order`` says for each place which element it gets.  The result is parsed again and compared.
    """
    data = copy.deepcopy(parse(text, path).data)
    moved = reordered_toml(text, name, order) if path.suffix == ".toml" else reordered_json(text, [name], order)
    data[name] = [data[name][was] for was in order]
    if not same(parse(moved, path).data, data):
        raise ConfigError(f"cannot move the elements of {name} in {path} without touching other things")
    return moved


# --- files --------------------------------------------------------------------------------------------------


def version(path: Path) -> str:
    """A digest of what is in the file, to be given to :func:`edit` as ``expect``; empty if there is no file."""
    try:
        return _digest(path.read_bytes())
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def version_of(text: str) -> str:
    """The version of a file that holds ``text``."""
    return _digest(text.encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def edit(path: Path, changes: Iterable[Change], expect: str | None = None) -> str:
    """Change a configuration file and return its new :func:`version`.

    ``expect`` is the version that the changes were made for.  Where an object or a list is set over another one, only
    what differs in it is rewritten.  The old file is kept as a copy, newest three; the new one has mode 0600.

    Raises :class:`ConfigError`, leaving the file as it was: it was changed meanwhile, a path leads nowhere, a value is
    masked or cannot be written in this syntax, the result would not hold the data expected, or the disk refuses.
    """
    old = read_text(path)
    if expect is not None and version_of(old) != expect:
        raise Conflict(f"{path} was changed by someone else meanwhile; load it again and repeat the change")
    return replace(path, old, changed(old, changes, path))


class Conflict(ConfigError):
    """The file is not the one any more that the change was made for."""


def replace(path: Path, old: str, text: str) -> str:
    """Write ``text`` over a configuration file that holds ``old``, of which a copy is kept; give its new version.

    Raises :class:`Conflict` if the file holds something else by now, and :class:`ConfigError` if the disk refuses;
    the file is then as it was.
    """
    if text == old:
        return version_of(old)
    with _alone(path):
        _back_up(path, old.encode())
        try:
            if path.read_bytes() != old.encode():
                raise Conflict(f"{path} was changed by someone else just now; nothing was written")
            _replace(path.resolve(), text.encode())
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror or error}; it is as it was") from error
    return version_of(text)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes of ccr from writing beside ``path`` meanwhile; the lock is on its folder, so that no file of
    it stays."""
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(alone(path.parent, LOCK_SECONDS))
        except OSError as error:
            why = error.strerror or error
            raise ConfigError(f"cannot write in {path.parent}: {why}; {path} is as it was") from error
        if not held:
            raise Conflict(f"{path} is being written by another process; try again")
        yield


def changed(text: str, changes: Iterable[Change], path: Path) -> str:
    """The text of a configuration file after ``changes``; ``path`` tells the syntax and is used in messages.

    The result is parsed again and compared with the data that the changes should give.
    """
    changes = list(changes)
    document = parse(text, path)
    Problems(list(document.repeated)).raise_if_any(path)
    data = document.data
    change_text = change_toml if path.suffix == ".toml" else change_json
    for change in changes:
        if not isinstance(change, Delete):
            _refuse_masked(change.value, change.path)
        before = copy.deepcopy(data)
        data = apply(data, change)
        try:
            for step in diff(before, data) if isinstance(change, Set) else [change]:
                text = change_text(text, step)
        except Exception as error:  # null in TOML, or a limit of tomlkit
            raise ConfigError(f"cannot write {join('', *change.path)} to {path}: {error}") from error
    try:
        written = parse(text, path).data
    except ConfigError:
        written = {}
    if not same(written, data):
        places = ", ".join(join("", *change.path) for change in changes)
        raise ConfigError(f"cannot change {places} in {path} without touching other things; edit the file by hand")
    return text


def _refuse_masked(value: Any, path: tuple[Key, ...]) -> None:
    if isinstance(value, Mapping | list):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            _refuse_masked(item, (*path, key))
    elif isinstance(value, str) and HIDDEN in value and any(map(is_secret, path)):
        raise ConfigError(f"{join('', *path)}: this is a masked value, not the secret itself; nothing was written")


def write_new(path: Path, text: str) -> None:
    """Create a file of mode 0600, and its folder.  :class:`ConfigError` if it exists or cannot be written whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already; nothing was written") from error
    except OSError as error:
        raise ConfigError(f"cannot create {path}: {error.strerror or error}") from error
    try:
        _fill(descriptor, text.encode())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def write_whole(path: Path, text: str) -> None:
    """Put ``text`` where ``path`` is in one step, in a file of mode 0600; :class:`ConfigError` if the disk refuses."""
    try:
        _replace(path, text.encode())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}; it is as it was") from error


def _fill(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, content: bytes) -> None:
    """Put ``content`` where ``path`` is in one step: a reader sees the old or the new, never a part."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")  # mode 0600
    try:
        _fill(descriptor, content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _back_up(path: Path, content: bytes) -> None:
    """Keep a copy beside ``path`` and the newest :data:`BACKUPS` of them."""
    stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    copy_path = path.with_name(f"{path.name}.{re.sub('[:.]', '-', stamp)}.bak")
    try:
        _replace(copy_path, content)
        copies = sorted(path.parent.glob(f"{path.name}.*.bak"), key=lambda each: each.name)
        for each in copies[:-BACKUPS]:
            each.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot keep a copy of {path}: {error.strerror or error}; it is as it was") from error
