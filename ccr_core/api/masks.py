"""Secrets never leave: what goes out has masks in their places, and a mask that comes back means what was there.

Rules: a secret is told by its key, by its place (a header that is not known to be harmless) or by its looks; a
reference such as ``$NAME`` is none.  A mask is only understood at the place it was given for: anywhere else, or inside
a text that was changed otherwise, it is a problem, because nobody knows any more what it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ccr_core import config_edit
from ccr_core.config import PLAIN_HEADERS, Key, Problems, is_secret, join, parse
from ccr_core.config_edit import Set, same
from ccr_core.errors import ConfigError

MASK = "********"
"""What stands for a secret."""

_REFERENCE = re.compile(r"\$\{[^}]+\}|\$[A-Z_][A-Z0-9_]*")
_LOOKS = re.compile(
    r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}|\bgh[a-z]_\w{20,}|\bgithub_pat_\w{20,}|\bAIza[\w-]{30,}|\bxox[a-z]-[\w-]{10,}"
    r"|\bya29\.[\w-]{10,}|\bAKIA[0-9A-Z]{16}|\bgsk_\w{20,}|\bhf_\w{20,}|\beyJ[\w-]{8,2000}+\.[\w-]{8,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.S,
)
_BEARER = re.compile(r"(\b[Bb]earer\s+)(?![$*])[\w.~+/=-]{12,}")
_ADDRESS = re.compile(r"(://[^/?#@:\s]*:)([^/?#@\s]+)(@)|(://)([^/?#@:\s]{8,})(@)")
_QUERY = re.compile(r"([?&](?:[\w-]*key|[\w-]*token|sig|signature|secret|password)=)([^&#\s\"']+)", re.I)
_REMARK = re.compile(
    r"""((?:[\w-]{0,60}(?:key|token|secret|password|authorization)|passwd)["']?\s*[:=]\s*["']?(?:Bearer )?)"""
    r"""(?!\$)([^\s"',}\]]{4,})""",
    re.I,
)


# --- values ---------------------------------------------------------------------------------------------------


@attrs.frozen
class Place:
    """What is known of a place in a document: whether it holds a secret, and whether it is among headers."""

    secret: bool = False
    headers: bool = False

    def inside(self, key: Key) -> Place:
        """The place below it."""
        if isinstance(key, int):
            return self
        header = self.headers and key.lower() not in PLAIN_HEADERS
        secret = (self.secret and key != "weight") or header or is_secret(key)
        return Place(secret, key == "headers" or key.endswith("_headers"))


TOP = Place()


def hidden(text: str, place: Place = TOP) -> str:
    """``text`` as it is shown at a place."""
    if place.secret:
        return text if _REFERENCE.sub("", text).strip() in ("", "Bearer") else MASK
    text = _ADDRESS.sub(lambda m: f"{m[1]}{_kept(m[2])}{m[3]}" if m[1] else f"{m[4]}{_kept(m[5])}{m[6]}", text)
    text = _QUERY.sub(lambda m: f"{m[1]}{_kept(m[2])}", text)
    return _BEARER.sub(lambda m: f"{m[1]}{MASK}", _LOOKS.sub(MASK, text))


def _kept(text: str) -> str:
    return text if _REFERENCE.fullmatch(text) else MASK


def masked(value: Any, place: Place = TOP) -> Any:
    """A copy of plain data with masks in it."""
    if isinstance(value, Mapping):
        return {key: masked(item, place.inside(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, place) for item in value]
    return hidden(value, place) if isinstance(value, str) else value


def place_of(path: Sequence[Key]) -> Place:
    """What is known of the place at ``path``."""
    place = TOP
    for key in path:
        place = place.inside(key)
    return place


def secrets(value: Any, place: Place = TOP) -> Iterator[str]:
    """Every text of a document that is shown only with a mask."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from secrets(item, place.inside(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets(item, place)
    elif isinstance(value, str) and hidden(value, place) != value:
        yield value


def restored(new: Any, old: Any, problems: Problems, path: tuple[Key, ...] = ()) -> Any:
    """``new``, which came from outside, with the secrets of ``old`` in place of their masks.

    ``old`` is what is at the same place now (``None``: nothing).  A mask that stands for nothing is added to
    ``problems``.
    """
    if isinstance(new, Mapping):
        present = old if isinstance(old, Mapping) else {}
        return {key: restored(item, present.get(key), problems, (*path, key)) for key, item in new.items()}
    if isinstance(new, list):
        before = old if isinstance(old, list) else []
        partners = pairs(new, before, place_of(path))
        return [
            restored(item, before[other] if other is not None else None, problems, (*path, index))
            for index, (item, other) in enumerate(zip(new, partners, strict=True))
        ]
    if not isinstance(new, str) or MASK not in new or (isinstance(old, str) and old == new):
        return new
    if isinstance(old, str) and hidden(old, place_of(path)) == new:
        return old
    problems.add(join("", *path), "this is a mask, and it is not known for what; give the value itself")
    return new


def pairs(new: Sequence[Any], old: Sequence[Any], place: Place = TOP) -> list[int | None]:
    """For each element of ``new``, which of ``old`` it was; ``None`` for one that is new, or where nobody can tell.

    Elements with names are known by these; others by their position, as far as that is certain.
    """
    names, olds = [_name(item) for item in new], [_name(item) for item in old]
    result: list[int | None] = [None] * len(new)
    if _distinct(names) and _distinct(olds):
        where = {name: index for index, name in enumerate(olds)}
        result = [where.get(name) for name in names]
    elif len(new) != len(old):
        shown = [masked(item, place) for item in old]
        start = end = 0
        while start < min(len(new), len(old)) and same(new[start], shown[start]):
            result[start] = start
            start += 1
        while end < min(len(new), len(old)) - start and same(new[-1 - end], shown[-1 - end]):
            result[-1 - end] = len(old) - 1 - end
            end += 1
        for index, item in enumerate(new):
            alike = sum(same(item, other) for other in shown)
            if _has_mask(item) and sum(same(item, other) for other in new) < alike:
                result[index] = None  # one of several that look the same is gone: which is not known
        return result
    if len(new) == len(old):
        taken = {index for index in result if index is not None}
        result = [
            index if other is None and index not in taken else other for index, other in enumerate(result)
        ]  # renamed, or without a name
    return result


def _has_mask(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_mask, value.values()))
    return any(map(_has_mask, value)) if isinstance(value, list) else isinstance(value, str) and MASK in value


def _name(item: Any) -> Any:
    """By what an element of a list is known: ``name`` or ``path`` of an object, the transformer of a step."""
    if isinstance(item, Mapping):
        return next((item[key] for key in ("name", "path", "id") if isinstance(item.get(key), str)), None)
    if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], Mapping):
        return item[0]
    return None


def _distinct(names: Sequence[Any]) -> bool:
    return None not in names and len(set(names)) == len(names)


# --- texts ----------------------------------------------------------------------------------------------------

_JSON = re.compile(
    r"""(?P<remark>//[^\n\r]*|/\*.*?(?:\*/|\Z))
      | (?P<string>"(?:[^"\\\n]|\\.|\\\n)*"?|'(?:[^'\\\n]|\\.|\\\n)*'?)
      | (?P<sign>[{}\[\]:,])
      | (?P<word>[^\s{}\[\]:,"'/]+)
      | (?P<other>\s+|.)""",
    re.X | re.S,
)
_TOML = re.compile(
    r'''(?P<remark>\#[^\n]*)
      | (?P<string>"""(?:[^\\]|\\.)*?(?:"{3,5}|\Z)|\'\'\'.*?(?:\'{3,5}|\Z)|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?)
      | (?P<sign>[{}\[\]=,])
      | (?P<word>[^\s{}\[\]=,"'\#]+)
      | (?P<other>\n|[^\S\n]+|.)''',
    re.X | re.S,
)


def masked_text(text: str, path: Path) -> str:
    """The text of a configuration file with masks in place of secrets, also in remarks; it may be broken.

    ``path`` tells the syntax.
    """
    toml = path.suffix == ".toml"
    parts = []
    for kind, part, place in _toml_parts(text) if toml else _json_parts(text):
        if kind == "remark":
            part = hidden(_REMARK.sub(lambda m: f"{m[1]}{MASK}", part))
        elif kind == "value":
            quote = next(mark for mark in ('"""', "'''", '"', "'") if part.startswith(mark))
            closed = len(part) >= 2 * len(quote) and part.endswith(quote)
            inner = part[len(quote) : -len(quote)] if closed else part[len(quote) :]
            part = f"{quote}{hidden(inner, place)}{quote if closed else ''}"
        parts.append(part)
    shown = "".join(parts)
    try:
        data = parse(text, path).data
        if not same(parse(shown, path).data, masked(data)):
            raise ValueError
    except ConfigError:
        return shown  # it was broken before: nothing to compare with
    except ValueError:
        # Written in a way that only a parser understands, such as with escapes: value by value then.
        change = config_edit.change_toml if toml else config_edit.change_json
        for step in config_edit.diff(parse(shown, path).data, masked(data)):
            shown = change(shown, step)
    return shown


def _json_parts(text: str) -> Iterator[tuple[str, str, Place]]:
    """Pieces of a JSON5 text in order: what they are (``remark``, ``value``: a string that is one), text, place."""
    stack: list[tuple[Place, bool]] = [(TOP, False)]  # of each open bracket: what is inside it, and whether it has keys
    here = TOP  # the place of the value that comes next
    last: list[Any] | None = None  # the string or word that may be a key
    pieces: list[list[Any]] = []
    for match in _JSON.finditer(text):
        kind, part = match.lastgroup or "", match[0]
        if kind == "sign":
            if part in "{[":
                stack.append((here, part == "{"))
            elif part in "}]":
                if len(stack) > 1:
                    stack.pop()
                here = stack[-1][0]
            elif part == ":" and stack[-1][1] and last is not None:
                if last[0] == "value":
                    last[0] = "key"
                here = stack[-1][0].inside(last[1].strip("\"'"))
            elif part == ",":
                here = stack[-1][0]
            last = None
        piece = ["value" if kind == "string" else kind, part, here]
        if kind in ("string", "word"):
            last = piece
        pieces.append(piece)
    for kind, part, place in pieces:
        yield kind, part, place


def _toml_parts(text: str) -> Iterator[tuple[str, str, Place]]:
    """The same for TOML."""
    table = here = TOP
    stack: list[tuple[Place, bool]] = []  # of each open bracket of a value: what is inside it, and whether it has keys
    keys: list[str] = []
    in_value = False  # behind an equals sign, on the outermost level
    header = False  # inside [table] or [[table]]
    for match in _TOML.finditer(text):
        kind, part = match.lastgroup or "", match[0]
        naming = header or not in_value if not stack else stack[-1][1] and not in_value
        if kind == "string" and naming:
            keys.append(part.strip("\"'"))
            yield "key", part, here
            continue
        if kind == "word" and naming:
            keys += [word for word in part.split(".") if word]
        elif kind == "sign":
            if part == "=" and naming:
                here, in_value = _below(stack[-1][0] if stack else table, keys), True
                keys = []
            elif part == "[" and not in_value and not stack:
                header = True
            elif part == "]" and header:
                header, table = False, _below(TOP, keys)
            elif part in "{[" and in_value:
                stack.append((here, part == "{"))
                in_value = part == "["
            elif part in "}]" and stack:
                here, _ = stack.pop()
                in_value, keys = True, []
            elif part == "," and stack:
                here, in_value, keys = stack[-1][0], not stack[-1][1], []
        elif part == "\n" and not stack:
            in_value, header, keys = False, False, []
        yield "value" if kind == "string" else kind, part, here


def _below(place: Place, keys: Sequence[str]) -> Place:
    for key in keys:
        place = place.inside(key)
    return place


def restored_text(new: str, old: str, path: Path, problems: Problems) -> str:
    """A text that came from outside with the secrets of ``old``, the present text, in place of their masks.

    Values are found again by their path, remarks by their words; where ``old`` was broken, lines by theirs.  Raises
    ``ConfigError`` if ``new`` cannot be parsed.
    """
    if MASK not in new:
        return new
    data = parse(new, path).data
    try:
        before = parse(old, path).data
    except ConfigError:
        before = None
        new = _by_words(new, old, path, lambda text: [(None, line) for line in text.splitlines(keepends=True)])
        data = parse(new, path).data
    parts: Callable[[str], Iterator[tuple[str, str, Place]]] = _toml_parts if path.suffix == ".toml" else _json_parts
    new = _by_words(new, old, path, lambda text: [(kind, part) for kind, part, _ in parts(text)], "remark")
    found = Problems()
    meant = restored(data, before if before is not None else data, found)
    steps = list(_differences(data, meant))
    new = _as_written(new, old, path, steps, meant) or _changed(new, path, steps)
    problems.items += found.items
    parsed = before is not None
    known = {part.strip() for kind, part, _ in parts(old) if kind == "remark"}
    position = 0
    for kind, part, _ in parts(new):
        if MASK in part and (kind == "remark" or (kind == "value" and not parsed)) and part.strip() not in known:
            offset = position + part.index(MASK)
            line, column = text_place(new, offset)
            problems.add("", "this is a mask, and it is not known for what; give the value itself", line, column)
        position += len(part)
    return new


def text_place(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of a character."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _changed(text: str, path: Path, steps: Sequence[Set]) -> str:
    change = config_edit.change_toml if path.suffix == ".toml" else config_edit.change_json
    for step in steps:
        text = change(text, step)
    return text


def _as_written(new: str, old: str, path: Path, steps: Sequence[Set], meant: Any) -> str | None:
    """``new`` with the values of ``steps`` in it just as they are written in ``old``, quotes and all.

    ``None`` if that does not give ``meant``.
    """
    parts = _toml_parts if path.suffix == ".toml" else _json_parts
    shown, real = list(parts(masked_text(old, path))), list(parts(old))
    if len(shown) != len(real):
        return None
    literals = [(mask[1], raw[1]) for mask, raw in zip(shown, real, strict=True) if mask[1] != raw[1]]
    waiting = list(steps)
    pieces = []
    for kind, part, _ in parts(new):
        if kind == "value" and MASK in part and waiting:
            value = str(waiting.pop(0).value)
            part = next((raw for (mask, raw) in literals if mask == part and value in raw), part)
        pieces.append(part)
    text = "".join(pieces)
    try:
        return text if same(parse(text, path).data, meant) else None
    except ConfigError:
        return None


def _differences(one: Any, other: Any, path: tuple[Key, ...] = ()) -> Iterator[Set]:
    """The single texts in which two documents of the same shape differ."""
    if isinstance(one, Mapping):
        for key, item in one.items():
            yield from _differences(item, other[key], (*path, key))
    elif isinstance(one, list):
        for index, item in enumerate(one):
            yield from _differences(item, other[index], (*path, index))
    elif isinstance(one, str) and one != other:
        yield Set(path, other)


def _by_words(
    new: str, old: str, path: Path, cut: Callable[[str], list[tuple[str | None, str]]], only: str | None = None
) -> str:
    """``new`` with those pieces that are, word for word, what was shown of a piece of ``old`` replaced by that."""
    meant: dict[str, list[str]] = {}
    shown, real = cut(masked_text(old, path)), cut(old)
    if len(shown) != len(real):
        return new
    for (kind, text), (_, was) in zip(shown, real, strict=True):
        if kind == only and MASK in text:
            meant.setdefault(text.strip(), []).append(was.strip())
    parts = []
    for kind, text in cut(new):
        words = text.strip()
        if kind == only and meant.get(words):
            text = text.replace(words, meant[words].pop(0))
        parts.append(text)
    return "".join(parts)
