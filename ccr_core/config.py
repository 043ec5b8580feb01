"""The configuration: where it is, what it means, and what is wrong with it.

One schema, two syntaxes (JSON5 in ``config.json``, TOML in ``config.toml``).  Rules of this module:

* a file is read once into frozen classes; nothing is looked up in it later;
* references to environment variables are resolved once, everywhere; the document as written is kept beside the
  resolved one, because what is written back must never contain a resolved secret;
* types are strict (``"7"`` is no number, ``"false"`` is no truth value) and all problems are reported at once, each
  with its path and its place in the file; the same converter (:func:`structure`) serves the options of every plugin;
* an unknown key is an error with the nearest known key, except at the top level, where old files have all sorts;
* no message shows a secret.

Heavy imports (cattrs, the JSON5 parser, the editor) happen inside functions: importing this module is cheap.
"""

from __future__ import annotations

import enum
import functools
import os
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin
from urllib.parse import urlsplit

import attrs

from ccr_core.catalogue import Prices
from ccr_core.errors import ConfigError

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")

NAMES = ("config.json", "config.toml")
"""File names in :func:`home`, the one that wins first."""

OLD_KEYS = frozenset(
    {
        "$schema",
        "ANTHROPIC_SMALL_FAST_MODEL",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_LOCATION",
        "GOOGLE_CLOUD_PROJECT",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_MODEL",
    }
)
"""Top-level keys that files written for older tools have; accepted without a warning and without effect here."""


# --- paths inside a document --------------------------------------------------------------------------------


Key = str | int
_BARE = re.compile(r"[\w$@/-]+")
_SEGMENT = re.compile(r'\.?([\w$@/-]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]')


def join(where: str, *keys: Key) -> str:
    """``join("Providers[0]", "transformer", "gpt-4.1")`` is ``Providers[0].transformer["gpt-4.1"]``."""
    for key in keys:
        if isinstance(key, int):
            where = f"{where}[{key}]"
        elif _BARE.fullmatch(key):
            where = f"{where}.{key}" if where else key
        else:
            where = f"{where}[{_json(key)}]"
    return where


def parse_path(text: str) -> tuple[Key, ...]:
    """The keys of a path written as :func:`join` writes it; :class:`ConfigError` if it is no such path."""
    import json

    keys: list[Key] = []
    position = 0
    while position < len(text):
        match = _SEGMENT.match(text, position)
        if match is None or (match[0][0] == ".") != bool(keys and match[1]):
            raise ConfigError(f"{text!r} is not a path; write it like Providers[0].models[1]")
        keys.append(match[1] if match[1] else int(match[2]) if match[2] else json.loads(match[3]))
        position = match.end()
    return tuple(keys)


def is_comment(key: str) -> bool:
    """Whether a key only holds a remark (``"// why": "…"``, ``"_comment": "…"``) and is otherwise ignored."""
    return key.startswith(("//", "_comment"))


# --- secrets ------------------------------------------------------------------------------------------------

_SECRET = re.compile(
    r"((api|private|access|account|master|signing|subscription)keys?|token|authorization|cookie|credentials?)$"
    r"|secret|passw"
)
_REFERENCE = re.compile(r"\$\{([^}]+)\}|\$([A-Z_][A-Z0-9_]*)")
_USERINFO = re.compile(r"(://[^/?#@:\s]*):[^/?#@\s]*@|([?&](?:key|api_?key|token|access_token)=)[^&#\s]+", re.I)
PLAIN_HEADERS = frozenset(
    {
        *("accept", "anthropic-beta", "anthropic-version", "content-type", "http-referer", "referer", "user-agent"),
        *("x-title", "openai-beta", "x-app"),
    }
)
"""Headers whose values are no secrets."""

HIDDEN = "…"
"""The mark inside a masked value; :mod:`ccr_core.config_edit` refuses to write a secret that contains it."""


def is_secret(key: Key) -> bool:
    """Whether a key names something that must not be shown: ``api_key``, ``x-api-key``, ``APIKEY``, ``password`` …"""
    if isinstance(key, int):
        return False
    name = re.sub(r"[-_ ]", "", key.lower())
    return name == "key" or _SECRET.search(name) is not None


def mask(value: Any) -> Any:
    """A copy of a raw document for display: secrets as ``sk-…1234``, references such as ``$KEY`` as they are.

    Passwords and keys inside URLs are masked wherever they are.
    """
    return _mask(value, False)


def _is_secret_path(path: str) -> bool:
    return any(is_secret(word) for word in re.findall(_BARE, path))


def _mask(value: Any, secret: bool) -> Any:
    if isinstance(value, Mapping):
        return {key: _mask(item, is_secret(key) or (secret and key != "weight")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(item, secret) for item in value]
    if not isinstance(value, str):
        return value
    if not secret:
        return _USERINFO.sub(lambda m: f"{m[1]}:{HIDDEN}@" if m[1] else f"{m[2]}{HIDDEN}", value)
    if not value or _REFERENCE.fullmatch(value):
        return value
    return f"{value[:3]}{HIDDEN}{value[-4:]}" if len(value) >= 16 else HIDDEN


def without_user(url: str) -> str:
    """The address of a proxy as it may be shown: scheme, host and port, no credentials."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def proxy_change(before: str | None, after: str | None) -> str | None:
    """What is said of another proxy, which can see where requests go and, of plain ``http``, what is in them."""
    if before == after:
        return None
    return f"requests go through {f'the proxy {without_user(after)}' if after else 'no proxy'} from now on (PROXY_URL)"


# --- problems -----------------------------------------------------------------------------------------------


@attrs.frozen
class Problem:
    """One thing that is wrong: the path in the document, what is wrong there, and (if known) line and column from
    1."""

    path: str
    message: str
    line: int | None = None
    column: int | None = None


@attrs.frozen
class PathProblem(Problem):
    """A path that may not be set by whoever wants to."""


@attrs.define
class Problems:
    """Everything that is wrong with a configuration, gathered so that the user sees it all at once.

    The core and every reader of plugin options add to one of these; whoever owns it calls :meth:`raise_if_any`.

    ``paths`` are the values of all options that are paths (their type is ``Path``), as they are written.  Where
    ``only`` is given another one is a problem: who changes a configuration from afar must not choose which files of
    this machine are read.
    """

    items: list[Problem] = attrs.field(factory=list)
    paths: set[str] = attrs.field(factory=set)
    only: Collection[str] | None = None

    def add(self, path: str, message: str, line: int | None = None, column: int | None = None) -> None:
        self.items.append(Problem(path, message, line, column))

    def unknown(self, path: str, key: str, known: Iterable[str], noun: str = "key") -> None:
        """Add "unknown key" for ``key`` in the object at ``path``, with the nearest of the ``known`` ones."""
        self.add(join(path, key), f"unknown {noun}{did_you_mean(key, known)}")

    def path(self, where: str, value: str) -> None:
        """Note the value of an option that is a path, which may be a problem."""
        self.paths.add(value)
        if self.only is not None and value not in self.only:
            text = "a path to a file cannot be set here; set it in the file itself, which ccr config path names"
            self.items.append(PathProblem(where, text))

    def text(self, file: Path | None) -> str:
        """All problems as text, a line each.  Line numbers are looked up in ``file`` now, if it can still be read."""
        places: Mapping[str, tuple[int, int]] = {}
        if file is not None and any(item.line is None for item in self.items):
            from ccr_core.config_edit import places as places_of

            try:
                places = places_of(file)
            except (ConfigError, OSError):
                places = {}
        many = f"{len(self.items)} problems" if len(self.items) > 1 else "1 problem"
        width = min(max((len(item.path) for item in self.items), default=0), 60)
        lines = [f"{many} in {file.name if file else 'the configuration'}"]
        placed = [
            ((item.line, item.column or 1) if item.line else nearest_place(places, item.path), item)
            for item in self.items
        ]
        for place, item in sorted(placed, key=lambda pair: pair[0] or (0, 0)):
            end = f"   (line {place[0]}, column {place[1]})" if place else ""
            lines.append(f"  {item.path:{width}}   {item.message}{end}")
        return "\n".join(lines)

    def raise_if_any(self, file: Path | None) -> None:
        """Raise one :class:`ConfigError` with every problem, if there is one.  ``file`` is ``Config.source``."""
        if self.items:
            raise ConfigError(self.text(file), self.items)


def nearest_place(places: Mapping[str, tuple[int, int]], path: str) -> tuple[int, int] | None:
    """The place of a path, or of the nearest object around it (a missing key has no place of its own)."""
    while places and path:
        if path in places:
            return places[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean "max_tokens"?`` or nothing, to be appended to a message about an unknown name."""
    import difflib

    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, 1, 0.6)
    return f"; did you mean {_json(by_lower[near[0]])}?" if near else ""


# --- the strict converter -----------------------------------------------------------------------------------


def structure(cls: type[T], value: Any, where: str, problems: Problems, noun: str = "key") -> T | None:
    """Make an instance of the attrs class ``cls`` from a parsed object, strictly.

    Understood types: ``bool int float str None Any Path``, ``Literal``, enums (by value), ``tuple[X, ...]``,
    ``list[X]``, ``Mapping[str, X]``, unions and attrs classes, nested in any way.  ``float`` takes an integer too;
    nothing else is converted.  The key of a field is its name unless its metadata says otherwise (``metadata={"key":
    "longContext"}``; ``None``: not from a file).  ``noun`` is what an unknown key is called, such as ``option of
    maxtoken``.

    Returns None after adding every problem found, each with its path under ``where``.  What is given for a ``Path`` is
    noted, see :class:`Problems`.
    """
    result: T | None = structure_value(cls, value, where, problems, noun)
    return result


def structure_value(kind: Any, value: Any, where: str, problems: Problems, noun: str = "key") -> Any:
    """:func:`structure` for any of the types it understands, such as ``tuple[str, ...]``; None if there was a
    problem."""
    try:
        result = _converter().structure(value, kind)
    except Exception as error:
        _explain(error, kind, where, problems, noun)
        return None
    before = len(problems.items)
    for place, path in _paths(result, value, where):
        problems.path(place, path)
    return result if len(problems.items) == before else None


def _paths(result: Any, given: Any, where: str) -> Iterator[tuple[str, str]]:
    """What was given where ``result`` has paths, with its place; defaults do not count."""
    if isinstance(result, Path):
        if isinstance(given, str):
            yield where, given
    elif isinstance(given, Mapping):
        if isinstance(result, Mapping):
            inner = [(key, result[key]) for key in result if key in given]
        elif attrs.has(type(result)):
            fields = attrs.fields(type(result))
            inner = [(key, getattr(result, field.name)) for field in fields if (key := _key(field)) in given]
        else:
            inner = []
        for key, part in inner:
            yield from _paths(part, given[key], join(where, key))
    elif isinstance(given, list | tuple) and isinstance(result, list | tuple):
        for index, (part, item) in enumerate(zip(result, given, strict=False)):
            yield from _paths(part, item, join(where, index))


def structure_parts(
    classes: Sequence[type[Any]],
    table: Mapping[str, Any],
    where: str,
    problems: Problems,
    also: Collection[str] = (),
    noun: str = "key",
) -> list[Any]:
    """Let several attrs classes each take their own keys out of one table, as the routing rules do with ``Router``.

    Returns one instance for each class (None where there was a problem), in order.  A key that none of them knows and
    that is not in ``also`` is a problem.  Two classes may share a key.
    """
    known = [keys_of(cls) for cls in classes]
    every = {key for keys in known for key in keys}.union(also)
    for key in table:
        if key not in every and not is_comment(key):
            problems.unknown(where, key, every, noun)
    parts = [{key: item for key, item in table.items() if key in keys} for keys in known]
    return [structure(cls, part, where, problems, noun) for cls, part in zip(classes, parts, strict=True)]


def keys_of(cls: type[Any]) -> tuple[str, ...]:
    """The keys that an attrs class takes from a file, in order."""
    return tuple(key for field in attrs.fields(cls) if (key := _key(field)) is not None)


def _key(field: attrs.Attribute[Any]) -> str | None:
    key: str | None = field.metadata.get("key", field.name)
    return key


class _Unexpected(Exception):
    """A value of the wrong type; becomes ``expected <what>, got <value>``."""

    def __init__(self, what: str, value: Any) -> None:
        super().__init__(what)
        self.what = what
        self.value = value


_SCALARS: dict[Any, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("an integer", (int,)),
    float: ("a number", (int, float)),
    str: ("a string", (str,)),
    Path: ("a path", (str,)),
    type(None): ("null", (type(None),)),
}


def _describe(kind: Any) -> str:
    """What a type is called in a message."""
    origin = get_origin(kind)
    if kind in _SCALARS:
        return _SCALARS[kind][0]
    if origin is Literal:
        return "one of " + ", ".join(_json(choice) for choice in get_args(kind))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in get_args(kind) if part is not type(None))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(_json(member.value) for member in kind)
    if (origin or kind) in (tuple, list, Sequence):
        return "a list"
    return "an object"


@functools.cache
def _converter() -> Converter:
    """The one converter.  cattrs does the dispatch, the classes and the error tree; the hooks here make it strict."""
    from cattrs import BaseValidationError, Converter
    from cattrs.cols import list_structure_factory
    from cattrs.gen import make_dict_structure_fn, mapping_structure_factory, override

    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, (what, accepted) in _SCALARS.items():

        def scalar(
            value: Any, _: Any, kind: Any = kind, what: str = what, accepted: tuple[type, ...] = accepted
        ) -> Any:
            if type(value) not in accepted:
                raise _Unexpected(what, value)
            return kind(value) if kind is Path else value

        converter.register_structure_hook(kind, scalar)

    def is_choice(kind: Any) -> bool:
        return get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, enum.Enum))

    def choice(kind: Any) -> Callable[[Any, Any], Any]:
        members = list(get_args(kind) or kind)

        def pick(value: Any, _: Any) -> Any:
            for member in members:
                plain = member.value if isinstance(member, enum.Enum) else member
                if type(plain) is type(value) and plain == value:  # 1 is not True
                    return member
            raise _Unexpected(_describe(kind), value)

        return pick

    def is_union(kind: Any) -> bool:
        return get_origin(kind) in (Union, types.UnionType)

    def union(kind: Any) -> Callable[[Any, Any], Any]:
        hooks = [(part, converter.get_structure_hook(part)) for part in get_args(kind)]

        def first_that_fits(value: Any, _: Any) -> Any:
            nested: BaseException | None = None
            for part, hook in hooks:
                try:
                    return hook(value, part)
                except BaseValidationError as error:
                    nested = nested or error  # the shape fits, something inside is wrong: say what
                except _Unexpected:
                    pass
            raise nested or _Unexpected(_describe(kind), value)

        return first_that_fits

    def is_container(kind: Any) -> bool:
        return (get_origin(kind) or kind) in (tuple, list, Sequence, dict, Mapping) or attrs.has(kind)

    def container(kind: Any) -> Callable[[Any, Any], Any]:
        """cattrs' own hook, behind a check of the shape (it would take a string for a list of letters)."""
        origin = get_origin(kind) or kind
        hook: Any
        if attrs.has(kind):
            keys = {field.name: _key(field) for field in attrs.fields(origin)}
            renamed = {name: override(rename=key, omit=key is None) for name, key in keys.items()}
            hook = make_dict_structure_fn(kind, converter, **renamed)  # type: ignore[arg-type]
        elif origin in (dict, Mapping):
            hook = mapping_structure_factory(kind, converter, dict)
        else:
            hook = list_structure_factory(kind, converter)
        what = _describe(kind)
        shape: tuple[type, ...] = (list, tuple) if what == "a list" else (Mapping,)

        def checked(value: Any, kind: Any) -> Any:
            if not isinstance(value, shape):
                raise _Unexpected(what, value)
            result = hook(value, kind)
            return tuple(result) if origin is tuple else result

        return checked

    converter.register_structure_hook_factory(is_container, container)
    converter.register_structure_hook_factory(is_choice, choice)
    converter.register_structure_hook_factory(is_union, union)
    return converter


def _explain(error: BaseException, kind: Any, where: str, problems: Problems, noun: str) -> None:
    """Turn the error tree of cattrs into problems."""
    from cattrs import BaseValidationError, ForbiddenExtraKeysError
    from cattrs.errors import AttributeValidationNote, IterableValidationNote

    if isinstance(error, BaseValidationError):
        fields = attrs.fields_dict(error.cl) if attrs.has(error.cl) else {}
        for inner in error.exceptions:
            for note in getattr(inner, "__notes__", ()):
                if isinstance(note, AttributeValidationNote):
                    place = join(where, _key(fields[note.name]) or note.name)
                elif isinstance(note, IterableValidationNote):
                    place = join(where, note.index)
                else:
                    continue
                _explain(inner, note.type, place, problems, noun)
                break
            else:
                _explain(inner, error.cl, where, problems, noun)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            problems.unknown(where, key, keys_of(error.cl), noun)
    elif isinstance(error, _Unexpected):
        problems.add(where, f"expected {error.what}, got {_show(error.value, where)}")
    elif isinstance(error, KeyError):
        problems.add(where, f"missing; expected {_describe(kind)}")
    elif isinstance(error, ValueError | TypeError | ConfigError):  # a validator of the class refused: 'name' must be …
        name = re.match(r"'(\w+)' ", text := str(error.args[0] if error.args else error))
        place = join(where, name[1]) if name else where
        problems.add(place, "not a valid value" if _is_secret_path(place) else text[name.end() if name else 0 :])
    else:
        raise error


def _show(value: Any, where: str) -> str:
    """A value as a message shows it: short, on one line, and never a secret."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str) and _is_secret_path(where):
        return "a string (not shown)"
    text = _json(_mask(value, False))
    return text if len(text) <= 60 else f"{text[:56]}…{text[-1]}"


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


# --- classes ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class StepUse:
    """One use of a transformer: its name, its options as written, and where the configuration says so.

    Problems with the options belong at ``options_where``.
    """

    name: str
    options: Mapping[str, Any] = attrs.field(factory=dict)
    where: str = ""

    @property
    def options_where(self) -> str:
        """Where the options are: the second element of ``[name, options]``."""
        return join(self.where, 1)


@attrs.frozen(kw_only=True)
class TransformerUse:
    """A ``transformer`` block: the steps for all models, and those added for single models (exact model name)."""

    use: tuple[StepUse, ...] = ()
    models: Mapping[str, tuple[StepUse, ...]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class CustomTransformer:
    """An entry of ``transformers``: a file that defines a transformer, its default options and its name."""

    path: Path
    options: Mapping[str, Any] = attrs.field(factory=dict)
    name: str | None = None


@attrs.frozen(kw_only=True)
class PluginUse:
    """An entry of the older ``plugins`` list; off unless ``enabled``."""

    name: str
    enabled: bool = False
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ModelInfo:
    """What the configuration says of one model; ``context`` and ``max_output`` in tokens, ``prices`` in US dollars
    per million tokens."""

    name: str
    context: int | None = None
    max_output: int | None = None
    prices: Prices | None = None


@attrs.frozen(kw_only=True)
class ApiKey:
    """One of several keys of a provider; ``weight`` is its share of the requests relative to the others."""

    key: str = attrs.field(repr=False)
    weight: float = 1


@attrs.frozen(kw_only=True)
class ProviderConfig:
    """One entry of ``Providers``, as the file has it (a preset may still fill in what it lacks)."""

    name: str
    api_base_url: str | None = None
    api_key: str | None = attrs.field(default=None, repr=False)
    models: tuple[str, ...] = ()
    transformer: TransformerUse = TransformerUse()
    auth_type: Literal["apikey", "oauth"] | None = None
    oauth_provider: str | None = None
    dialect: str | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    tokenizer: Mapping[str, Any] | None = None
    first_byte_s: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    enabled: bool = True
    api_keys: tuple[ApiKey, ...] = attrs.field(default=(), metadata={"key": None})
    model_info: Mapping[str, ModelInfo] = attrs.field(factory=dict, metadata={"key": None})
    where: str = attrs.field(default="", metadata={"key": None})

    @property
    def lacks(self) -> tuple[str, ...]:
        """The keys that a provider needs and this entry has not; one that a preset does not supply makes it
        unusable."""
        oauth = self.auth_type == "oauth"
        needed = {
            "api_base_url": self.api_base_url,
            "oauth_provider" if oauth else "api_key": self.oauth_provider if oauth else self.api_key,
            "models": self.models,
        }
        return tuple(key for key, value in needed.items() if not value)


@attrs.frozen(kw_only=True)
class RouterConfig:
    """The ``Router`` table.  ``options`` holds every key but these two: the routing rules own them (see
    :func:`structure_parts`).  ``rules`` is the order of the rules; None means the documented default order."""

    default: str | None = None
    rules: tuple[str, ...] | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict, metadata={"key": None})
    where: str = attrs.field(default="Router", metadata={"key": None})


@attrs.frozen(kw_only=True)
class Limits:
    """Sizes and times.  ``body_mb``: largest request body; ``header_kb``: largest request head; ``connect_s``: to
    reach a provider; ``first_byte_s``: until its answer begins (None: ``API_TIMEOUT_MS``); ``idle_s``: between two
    reads of an answer; ``ping_s``: silence after which the client gets a ping."""

    body_mb: float = attrs.field(default=50, validator=attrs.validators.gt(0))
    header_kb: float = attrs.field(default=64, validator=attrs.validators.gt(0))
    connect_s: float = attrs.field(default=10, validator=attrs.validators.gt(0))
    first_byte_s: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    idle_s: float = attrs.field(default=300, validator=attrs.validators.gt(0))
    ping_s: float = attrs.field(default=15, validator=attrs.validators.gt(0))
    tool_rounds: int = attrs.field(default=8, validator=attrs.validators.gt(0))


@attrs.frozen(kw_only=True)
class Management:
    """Who may manage the router over HTTP.  ``enabled``: whether ``/api`` and the pages exist at all; ``remote``: also
    while the router is bound to more than loopback."""

    enabled: bool = True
    remote: bool = False


@attrs.frozen(kw_only=True)
class Retry:
    """What is tried again, before the first event only.

    ``attempts`` is how often the last route left is tried again after a failure that may pass, ``max_seconds`` how
    long the waits for that may be together.  ``also`` lists further statuses after which the fallback routes are
    tried, such as 400 or 404.
    """

    attempts: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    max_seconds: float = attrs.field(default=10, validator=attrs.validators.ge(0))
    also: tuple[int, ...] = ()


@attrs.frozen
class Unresolved:
    """A reference to an environment variable that is not set or empty; the text stayed as it is."""

    path: str
    name: str


def _keys(*keys: str) -> dict[str, Any]:
    """The keys of a field of :class:`Config`: the first is the one to write, all are read, earlier ones win."""
    return {"keys": keys}


@attrs.frozen(kw_only=True)
class Config:
    """A whole configuration, checked as far as it can be without plugins.

    ``raw`` is the document as written (references in place), ``resolved`` the same with references replaced and
    remarks dropped: never write or show the latter.  ``unknown`` are unknown top-level keys; ``warnings`` are
    complete sentences for the user.
    """

    providers: tuple[ProviderConfig, ...] = attrs.field(default=(), metadata=_keys("Providers", "providers"))
    router: RouterConfig = attrs.field(default=RouterConfig(), metadata=_keys("Router", "router"))
    apikey: str | None = attrs.field(default=None, metadata=_keys("APIKEY"), repr=False)
    host: str = attrs.field(default="127.0.0.1", metadata=_keys("HOST"))
    port: int = attrs.field(default=3456, metadata=_keys("PORT"))
    workers: int = attrs.field(default=1, metadata=_keys("workers"))
    proxy_url: str | None = attrs.field(
        default=None, metadata=_keys("HTTPS_PROXY", "https_proxy", "httpsProxy", "PROXY_URL"), repr=False
    )
    no_proxy: tuple[str, ...] = attrs.field(default=(), metadata=_keys("NO_PROXY", "no_proxy", "noProxy"))
    log: bool = attrs.field(default=True, metadata=_keys("LOG"))
    log_level: Literal["fatal", "error", "warn", "info", "debug", "trace"] = attrs.field(
        default="info", metadata=_keys("LOG_LEVEL")
    )
    api_timeout_ms: int = attrs.field(default=600_000, metadata=_keys("API_TIMEOUT_MS"))
    non_interactive: bool = attrs.field(default=False, metadata=_keys("NON_INTERACTIVE_MODE"))
    claude_path: str = attrs.field(default="claude", metadata=_keys("CLAUDE_PATH"))
    transformer: TransformerUse = attrs.field(default=TransformerUse(), metadata=_keys("transformer"))
    transformers: tuple[CustomTransformer, ...] = attrs.field(default=(), metadata=_keys("transformers"))
    fallback: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, metadata=_keys("fallback"))
    observers: Mapping[str, Mapping[str, Any] | bool] = attrs.field(factory=dict, metadata=_keys("observers"))
    server_tools: Mapping[str, Mapping[str, Any] | bool] = attrs.field(factory=dict, metadata=_keys("server_tools"))
    pages: Mapping[str, Mapping[str, Any] | bool] = attrs.field(factory=dict, metadata=_keys("pages"))
    management: Management = attrs.field(default=Management(), metadata=_keys("management"))
    answer_model: Literal["auto", "provider", "requested"] = attrs.field(default="auto", metadata=_keys("answer_model"))
    count_tokens: Literal["local", "upstream"] = attrs.field(default="local", metadata=_keys("count_tokens"))
    oauth: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, metadata=_keys("oauth"), repr=False)
    token_store: str | Mapping[str, Any] | None = attrs.field(default=None, metadata=_keys("token_store"), repr=False)
    disabled_plugins: tuple[str, ...] = attrs.field(default=(), metadata=_keys("disabled_plugins"))
    plugins_lock: Literal["off", "warn", "enforce"] = attrs.field(default="off", metadata=_keys("plugins_lock"))
    plugins: tuple[PluginUse, ...] = attrs.field(default=(), metadata=_keys("plugins", "Plugins"))
    status_line: Mapping[str, Any] | None = attrs.field(default=None, metadata=_keys("StatusLine"))
    custom_router_path: Path | None = attrs.field(default=None, metadata=_keys("CUSTOM_ROUTER_PATH"))
    rewrite_system_prompt: Path | None = attrs.field(default=None, metadata=_keys("REWRITE_SYSTEM_PROMPT"))
    force_use_image_agent: bool = attrs.field(default=False, metadata=_keys("forceUseImageAgent"))
    limits: Limits = attrs.field(default=Limits(), metadata=_keys("limits"))
    retry: Retry = attrs.field(default=Retry(), metadata=_keys("retry"))
    source: Path | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    resolved: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    unknown: tuple[str, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    warnings: tuple[str, ...] = ()


def top_level_keys() -> tuple[str, ...]:
    """Every top-level key that has a meaning, aliases included."""
    return tuple(key for field in attrs.fields(Config) for key in field.metadata.get("keys", ()))


# --- finding and reading ------------------------------------------------------------------------------------


def home(env: Mapping[str, str] | None = None) -> Path:
    """The folder of everything that belongs to the router: ``$CCR_HOME``, else ``~/.claude-code-router``."""
    chosen = (os.environ if env is None else env).get("CCR_HOME")
    return Path(chosen).expanduser() if chosen else Path.home() / ".claude-code-router"


@attrs.frozen
class Found:
    """The configuration file in use (None: there is none) and those beside it that are not read."""

    path: Path | None
    ignored: tuple[Path, ...] = ()


def find(path: Path | None = None, env: Mapping[str, str] | None = None) -> Found:
    """Which file is the configuration: ``path`` if given, else the first of :data:`NAMES` that exists in
    :func:`home`."""
    if path is not None:
        return Found(path.expanduser())
    folder = home(env)
    there = [candidate for name in NAMES if (candidate := folder / name).exists()]
    return Found(there[0], tuple(there[1:])) if there else Found(None)


@attrs.frozen
class Document:
    """A parsed file: the data and the keys that were given twice (JSON only; TOML forbids it)."""

    data: dict[str, Any]
    repeated: tuple[Problem, ...] = ()


def read_text(path: Path) -> str:
    """The text of a configuration file; :class:`ConfigError` with the cause if it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {path}: it is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        step = f"; make it readable with: chmod u+r {path}" if isinstance(error, PermissionError) else ""
        raise ConfigError(f"cannot read {path}: {error.strerror or error}{step}") from error


def parse(text: str, path: Path) -> Document:
    """Parse TOML (if ``path`` ends so) or JSON5.  A syntax error is a :class:`ConfigError` with file, line and
    column."""
    document = _parse_toml(text, path) if path.suffix == ".toml" else _parse_json(text, path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}: expected an object with keys such as Providers, got {_show(document.data, '')}")
    return document


def read(path: Path) -> dict[str, Any]:
    """The document in a file as it is written: aliases, unknown keys and references untouched."""
    document = parse(read_text(path), path)
    Problems(list(document.repeated)).raise_if_any(path)
    return document.data


def _parse_toml(text: str, path: Path) -> Document:
    import tomllib

    try:
        return Document(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
        line, column = (place[1], place[2]) if place and place[1] else (None, None)
        reason = str(error)[: place.start()] if place else str(error)
        where = f"line {line}, column {column}" if line else "end of file"
        reason = f"{reason[:1].lower()}{reason[1:]}"
        at = (int(line), int(column)) if line and column else (text.count("\n") + 1, 1)
        raise ConfigError(f"{path}, {where}: {reason}", [Problem("", reason, *at)]) from error


def _parse_json(text: str, path: Path) -> Document:
    """Strict JSON by the standard library, the rest by a JSON5 parser that is only then imported."""
    import json

    twice = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        result = dict(pairs)
        twice = twice or len(result) != len(pairs)
        return result

    try:
        data: Any = json.loads(text, object_pairs_hook=members)
    except (ValueError, RecursionError):
        data, twice = _parse_json5(text, path), True  # it does not tell: look
    if not twice:
        return Document(data)
    from ccr_core.config_edit import repeated_keys

    return Document(data, tuple(Problem(*found) for found in repeated_keys(text)))


def _parse_json5(text: str, path: Path) -> Any:
    import pyjson5

    try:
        return pyjson5.decode(text)
    except pyjson5.Json5DecoderException as error:
        reason = str(error.args[0])  # the other arguments hold what was read so far, secrets included
        near = re.search(r" near (\d+)", reason)
        offset = max(int(near[1]) - 1, 0) if near else 0
        reason = reason.replace(near[0], "") if near else reason
        reason = re.sub(r"U\+([0-9a-f]{4,6})", lambda m: repr(chr(int(m[1], 16))), reason)
        reason = re.sub(r"b'(\w+)'", lambda m: "value" if m[1] == "JSON5Value" else m[1], reason)
        line = text.count("\n", 0, offset) + 1
        column = offset - text.rfind("\n", 0, offset)
        reason = f"{reason[:1].lower()}{reason[1:]}"
        message = f"{path}, line {line}, column {column}: {reason}"
        raise ConfigError(message, [Problem("", reason, line, column)]) from None


# --- from a document to a Config ----------------------------------------------------------------------------


def load(path: Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Read the configuration (``path``, or what :func:`find` finds).  ``env`` is the environment, by default the real
    one.

    Raises :class:`ConfigError`: no file, unreadable, a syntax error, or the list of all problems.
    """
    found = find(path, env)
    if found.path is None:
        raise ConfigError(f"there is no configuration: neither {' nor '.join(NAMES)} exists in {home(env)}")
    document = parse(read_text(found.path), found.path)
    return from_document(document.data, env, found.path, document.repeated)


def from_document(
    raw: Mapping[str, Any],
    env: Mapping[str, str] | None = None,
    source: Path | None = None,
    repeated: Iterable[Problem] = (),
) -> Config:
    """Make a :class:`Config` of a parsed document.  ``source`` is the file it came from, for messages and relative
    paths.

    Raises one :class:`ConfigError` that lists all problems.
    """
    env = os.environ if env is None else env
    problems = Problems(list(repeated))
    warnings: list[str] = []
    unresolved: list[Unresolved] = []
    document = resolve(raw, env, unresolved)
    values: dict[str, Any] = {}
    for field in attrs.fields(attrs.resolve_types(Config)):
        present = [key for key in field.metadata.get("keys", ()) if document.get(key) not in (None, "")]
        for key in present[1:]:
            warnings.append(f"{key} is ignored because {present[0]} is set too")
        if present:
            reader = _READERS.get(field.name)
            value, where = document[present[0]], present[0]
            values[field.name] = (
                reader(value, where, problems) if reader else structure_value(field.type, value, where, problems)
            )
    known = set(top_level_keys()) | OLD_KEYS
    unknown = tuple(key for key in document if key not in known)
    warnings += [f"unknown key {_json(key)} is ignored{did_you_mean(key, known)}" for key in unknown]
    for reference in unresolved:
        if _is_secret_path(reference.path):
            warnings.append(f"{reference.path}: the environment variable {reference.name} is not set")
    problems.raise_if_any(source)

    config = Config(**values, source=source, raw=raw, resolved=document, unknown=unknown, unresolved=tuple(unresolved))
    return attrs.evolve(
        config,
        router=_with_default(config, warnings),
        limits=attrs.evolve(config.limits, first_byte_s=config.limits.first_byte_s or config.api_timeout_ms / 1000),
        no_proxy=config.no_proxy or _hosts(env.get("NO_PROXY") or env.get("no_proxy") or ""),
        claude_path=values.get("claude_path") or env.get("CLAUDE_PATH") or "claude",
        transformers=tuple(attrs.evolve(it, path=_absolute(it.path, source)) for it in config.transformers),
        custom_router_path=_absolute(config.custom_router_path, source),
        rewrite_system_prompt=_absolute(config.rewrite_system_prompt, source),
        warnings=tuple(warnings),
    )


def resolve(value: Any, env: Mapping[str, str], unresolved: list[Unresolved], path: str = "") -> Any:
    """A copy with ``$NAME`` and ``${NAME}`` replaced in every string value and remarks (:func:`is_comment`) dropped.

    A variable that is unset or empty leaves the text as it is and is added to ``unresolved``.  Done once: what a
    variable holds is not looked at again.
    """
    if isinstance(value, Mapping):
        return {
            key: resolve(item, env, unresolved, join(path, key)) for key, item in value.items() if not is_comment(key)
        }
    if isinstance(value, list):
        return [resolve(item, env, unresolved, join(path, index)) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        found = env.get(name)
        if not found:
            unresolved.append(Unresolved(path, name))
        return found or match[0]

    return _REFERENCE.sub(replace, value)


def _with_default(config: Config, warnings: list[str]) -> RouterConfig:
    """The router, with the first model of the first provider where the file names no default."""
    if config.router.default:
        return config.router
    for provider in config.providers:
        if provider.enabled and provider.models:
            default = f"{provider.name},{provider.models[0]}"
            warnings.append(f"Router.default is not set; using the first model, {_json(default)}")
            return attrs.evolve(config.router, default=default)
    return config.router


def _absolute(path: Any, source: Path | None) -> Any:
    """``~`` expanded; a relative path is relative to the configuration file."""
    if path is None:
        return None
    return (source.parent if source else Path()) / path.expanduser()


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def _no_proxy(value: Any, where: str, problems: Problems) -> Any:
    if isinstance(value, str):
        return _hosts(value)
    return structure_value(tuple[str, ...], value, where, problems)


def _number(low: int, high: int) -> Callable[[Any, str, Problems], int | None]:
    """A reader for an integer in a range, also written as a string, as a reference to the environment always is."""

    def read_number(value: Any, where: str, problems: Problems) -> int | None:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,15}\s*", value):
            value = int(value)
        number: int | None = structure_value(int, value, where, problems)
        if number is not None and not low <= number <= high:
            problems.add(where, f"expected an integer from {low} to {high}, got {number}")
        return number

    return read_number


def _router(value: Any, where: str, problems: Problems) -> RouterConfig | None:
    if not isinstance(value, Mapping):
        problems.add(where, f"expected an object, got {_show(value, where)}")
        return None
    own = {key: item for key, item in value.items() if key in ("default", "rules")}
    rest = {key: item for key, item in value.items() if key not in own}
    router = structure(RouterConfig, own, where, problems)
    return router and attrs.evolve(router, options=rest, where=where)


def _providers(value: Any, where: str, problems: Problems) -> Any:
    if not isinstance(value, list):
        problems.add(where, f"expected a list, got {_show(value, where)}")
        return None
    first: dict[str, str] = {}
    providers = []
    for index, item in enumerate(value):
        place = join(where, index)
        providers.append(_provider(item, place, problems))
        name = item.get("name") if isinstance(item, Mapping) else None
        if isinstance(name, str) and name and first.setdefault(name, place) != place:
            problems.add(join(place, "name"), f"{_json(name)} is already the name of {first[name]}")
    return tuple(providers)


def _provider(value: Any, where: str, problems: Problems) -> ProviderConfig | None:
    if not isinstance(value, Mapping):
        problems.add(where, f"expected an object, got {_show(value, where)}")
        return None
    plain = {key: item for key, item in value.items() if item not in (None, "")}
    transformer = _transformer(plain.pop("transformer", {}), join(where, "transformer"), problems)
    given = structure_value(str | tuple[str | ApiKey, ...], plain.pop("api_key", []), join(where, "api_key"), problems)
    given = (given,) if isinstance(given, str) else given or ()
    keys = tuple(key if isinstance(key, ApiKey) else ApiKey(key=key) for key in given)
    models = structure_value(tuple[str | ModelInfo, ...], plain.pop("models", []), join(where, "models"), problems)
    infos = [model if isinstance(model, ModelInfo) else ModelInfo(name=model) for model in models or ()]
    provider = structure(ProviderConfig, plain, where, problems)
    return provider and attrs.evolve(
        provider,
        api_key=keys[0].key if keys else None,
        api_keys=keys,
        models=tuple(info.name for info in infos),
        model_info={info.name: info for info in infos},
        transformer=transformer,
        where=where,
    )


def _transformer(value: Any, where: str, problems: Problems) -> TransformerUse:
    if not isinstance(value, Mapping):
        problems.add(where, f'expected an object such as {{"use": ["name"]}}, got {_show(value, where)}')
        return TransformerUse()
    models: dict[str, tuple[StepUse, ...]] = {}
    for model, part in value.items():
        place = join(where, model)
        if model == "use":
            continue
        if not isinstance(part, Mapping):
            problems.add(place, f'expected {{"use": […]}} for the model {_json(model)}, got {_show(part, place)}')
            continue
        for key in part:
            if key != "use":
                problems.unknown(place, key, ["use"])
        models[model] = _steps(part.get("use", []), join(place, "use"), problems)
    return TransformerUse(use=_steps(value.get("use", []), join(where, "use"), problems), models=models)


def _steps(value: Any, where: str, problems: Problems) -> tuple[StepUse, ...]:
    if not isinstance(value, list):
        problems.add(where, f"expected a list of transformer names, got {_show(value, where)}")
        return ()
    steps = []
    for index, item in enumerate(value):
        match item:
            case str(name) | [str(name)]:
                steps.append(StepUse(name=name, where=join(where, index)))
            case [str(name), Mapping() as options]:
                steps.append(StepUse(name=name, options=options, where=join(where, index)))
            case _:
                got = _show(item, where)
                problems.add(join(where, index), f"expected a name or [name, {{options}}], got {got}")
    return tuple(steps)


_READERS: Mapping[str, Callable[[Any, str, Problems], Any]] = {
    "providers": _providers,
    "router": _router,
    "port": _number(0, 65535),
    "workers": _number(1, 64),
    "api_timeout_ms": _number(1, 10**9),
    "no_proxy": _no_proxy,
    "transformer": _transformer,
}
"""Fields of :class:`Config` whose form in the file is not simply that of their type."""
