"""Presets: folders with a ``manifest.json`` that hold a configuration of their own, and questions to complete it.

The format is that of the presets people have (JSON5, flat: metadata, the questions in ``schema``, and configuration
side by side).  This module reads manifests, asks nothing and writes nothing; it imports nothing of the server, since
the status line reads presets too.

``#{id}`` and ``{{id}}`` in the strings of a manifest stand for the answer to the question ``id``.  The second form is
only taken for one where a question has that name, and never inside ``StatusLine``, whose texts have variables of
their own.  An answer may be a reference such as ``$NAME``, as everywhere in a configuration.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ccr_core.config import home, parse, parse_path, read_text
from ccr_core.errors import ConfigError

FILE = "manifest.json"

METADATA = (
    "name",
    "version",
    "description",
    "author",
    "homepage",
    "repository",
    "license",
    "keywords",
    "ccrVersion",
    "source",
    "sourceType",
    "checksum",
)
DYNAMIC = ("schema", "template", "configMappings", "userValues")
CLIENT = ("noServer", "provider", "claudeCodeSettings")
"""Keys that are for the client that is started with a preset, and for no router."""

NOT_OURS = ("APIKEY", "HOST", "PORT")
"""Keys that belong to the router itself: in a preset they have no effect."""

TYPES = ("password", "input", "select", "multiselect", "confirm", "editor", "number")

_HASH = re.compile(r"#\{([^{}]+)\}")
_BRACES = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
_NAME = re.compile(r"[^\W_][^/\\\x00-\x1f]{0,99}")


def presets_folder(folder: Path | None = None) -> Path:
    """Where the presets are, in ccr's folder."""
    return (folder or home()) / "presets"


def check_name(name: str) -> None:
    """Raise ``ConfigError`` if a preset cannot be called so: names are folders, and parts of addresses."""
    if not _NAME.fullmatch(name) or ".." in name or name != name.strip():
        raise ConfigError(
            f"{name!r} cannot be the name of a preset; it begins with a letter or digit, and has no slash, no"
            ' backslash and no ".."'
        )


def installed(folder: Path | None = None) -> list[str]:
    """The names of the installed presets, in order."""
    try:
        entries = sorted(presets_folder(folder).iterdir())
    except OSError:
        return []
    return [each.name for each in entries if not each.name.startswith(".") and (each / FILE).is_file()]


def exists(name: str, folder: Path | None = None) -> bool:
    """Whether a preset of this name is installed."""
    try:
        check_name(name)
    except ConfigError:
        return False
    return (presets_folder(folder) / name / FILE).is_file()


# --- questions ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Condition:
    """A condition on the answer to another question; operators ``eq ne in nin gt lt gte lte exists``."""

    field: str
    operator: str = "eq"
    value: Any = None

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds for these answers; values of different kinds are never greater or less."""
        given = values.get(self.field)
        match self.operator:
            case "eq":
                return bool(given == self.value)
            case "ne":
                return bool(given != self.value)
            case "in":
                return isinstance(self.value, list) and given in self.value
            case "nin":
                return isinstance(self.value, list) and given not in self.value
            case "exists":
                return given is not None
        try:
            left, right = float(given), float(self.value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        return {"gt": left > right, "lt": left < right, "gte": left >= right, "lte": left <= right}[self.operator]


OPERATORS = ("eq", "ne", "in", "nin", "gt", "lt", "gte", "lte", "exists")


@attrs.frozen(kw_only=True)
class Option:
    """Something that can be chosen."""

    label: str
    value: Any
    description: str = ""
    disabled: bool = False


@attrs.frozen(kw_only=True)
class Question:
    """An item of ``schema``; without a type it is asked as plain text."""

    id: str
    type: str = "input"
    label: str = ""
    prompt: str = ""
    placeholder: str = ""
    options: Any = None
    when: tuple[Condition, ...] = ()
    default: Any = None
    required: bool = True
    validator: str | None = None
    min: float | None = None
    max: float | None = None
    depends_on: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return self.label or self.id

    def visible(self, values: Mapping[str, Any]) -> bool:
        """Whether it is asked, given the answers to others."""
        return all(condition.holds(values) for condition in self.when)

    def initial(self) -> Any:
        """The answer that is suggested."""
        if self.default is not None:
            return self.default
        return {"confirm": False, "multiselect": [], "number": 0}.get(self.type, "")

    def convert(self, text: str) -> Any:
        """An answer that was given as text, in the type of the question; ``ConfigError`` if it has not that form."""
        if self.type == "number":
            try:
                return int(text) if re.fullmatch(r"\s*[+-]?\d+\s*", text) else float(text)
            except ValueError:
                raise ConfigError(f"{self.title} must be a number") from None
        if self.type == "confirm":
            if text.lower() not in ("true", "false", "yes", "no", "y", "n"):
                raise ConfigError(f"{self.title} must be yes or no")
            return text.lower() in ("true", "yes", "y")
        if self.type == "multiselect":
            return [word.strip() for word in text.split(",") if word.strip()]
        return text

    def fault(self, value: Any) -> str | None:
        """What is wrong with an answer; ``None`` if nothing is."""
        if value in (None, "", []):
            return f"{self.title} is required" if self.required else None
        if self.type == "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return f"{self.title} must be a number"
            if self.min is not None and value < self.min:
                return f"{self.title} must be at least {self.min:g}"
            if self.max is not None and value > self.max:
                return f"{self.title} must be at most {self.max:g}"
        if self.type == "confirm" and not isinstance(value, bool):
            return f"{self.title} must be yes or no"
        if self.validator and isinstance(value, str) and not value.startswith("$"):
            try:
                if not re.search(self.validator, value):
                    return f"{self.title} does not have the form {self.validator}"
            except re.error:
                return None
        return None


# --- manifests ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Manifest:
    """A preset as its file has it: ``data`` is the whole document, ``folder`` where its other files are."""

    name: str
    folder: Path
    data: Mapping[str, Any] = attrs.field(repr=False)
    questions: tuple[Question, ...] = ()

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    @property
    def metadata(self) -> dict[str, Any]:
        """What the preset says of itself."""
        return {key: self.data[key] for key in METADATA if key in self.data}

    @property
    def values(self) -> dict[str, Any]:
        """The answers that are kept in it."""
        return dict(self.data.get("userValues") or {})

    @property
    def config(self) -> dict[str, Any]:
        """The configuration in it as written: what is neither metadata nor questions."""
        return {key: value for key, value in self.data.items() if key not in (*METADATA, *DYNAMIC)}

    def ordered(self) -> list[Question]:
        """The questions so that each comes after those on which it depends; otherwise in the order given."""
        by_id = {question.id: question for question in self.questions}
        done: dict[str, Question] = {}

        def put(question: Question, above: tuple[str, ...]) -> None:
            if question.id in done or question.id in above:
                return  # a circle is cut
            for other in (*question.depends_on, *(condition.field for condition in question.when)):
                if other in by_id:
                    put(by_id[other], (*above, question.id))
            done.setdefault(question.id, question)

        for question in self.questions:
            put(question, ())
        return list(done.values())

    def options(self, question: Question, values: Mapping[str, Any]) -> list[Option]:
        """What can be chosen: written out, the providers of the manifest, or the models of a chosen provider."""
        given = question.options
        if isinstance(given, list):
            return _options(given)
        kind = given.get("type") if isinstance(given, Mapping) else None
        if kind == "static":
            return _options(given.get("options") or [])
        if kind == "providers":
            return [
                Option(label=name, value=name, description=str(each.get("api_base_url") or ""))
                for each in self._providers()
                if (name := str(each.get("name") or ""))
            ]
        if kind == "models":
            chosen = substitute(str(given.get("providerField") or ""), values, self.ids)
            for each in self._providers():
                if chosen and chosen in (each.get("name"), each.get("id")):
                    names = [item["name"] if isinstance(item, Mapping) else item for item in each.get("models") or ()]
                    return [Option(label=str(name), value=str(name)) for name in names]
        return []

    def _providers(self) -> list[Mapping[str, Any]]:
        for table in (self.data, self.data.get("template") or {}):
            entries = table.get("Providers") or table.get("providers")
            if isinstance(entries, list):
                return [each for each in entries if isinstance(each, Mapping)]
        return []

    @property
    def ids(self) -> frozenset[str]:
        """The names of the questions."""
        return frozenset(question.id for question in self.questions)

    def settled(self, values: Mapping[str, Any], defaults: bool = True) -> dict[str, Any]:
        """The answers with defaults filled in, and without those to questions that are not asked."""
        settled = {key: value for key, value in values.items() if key not in self.ids}
        for question in self.ordered():
            if question.visible(settled):
                value = values.get(question.id)
                if value is None and defaults:
                    value = question.initial()
                if value is not None:
                    settled[question.id] = value
        return settled

    def faults(self, values: Mapping[str, Any]) -> list[str]:
        """What is missing or wrong in the answers; what is wrong in an answer that need not be given is not here."""
        settled = self.settled(values)
        asked = [question for question in self.ordered() if question.visible(settled)]
        return [
            fault
            for question in asked
            if question.required and (fault := question.fault(settled.get(question.id))) is not None
        ]

    def document(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The configuration with the answers in it (those kept, unless others are given), references still as such.

        Paths of files in it lead to the preset's folder.
        """
        given = self.values if values is None else dict(values)
        answers = self.settled(given)
        ids = self.ids
        if isinstance(self.data.get("template"), Mapping):
            document = _filled(self.data["template"], answers, ids)
            # What belongs to the client may stand beside the template.
            for key in (*CLIENT, "StatusLine"):
                if key in self.data and key not in document:
                    document[key] = _filled(self.data[key], answers, ids, key == "StatusLine")
        else:
            document = {
                key: _filled(value, answers, ids, key == "StatusLine")
                for key, value in self.config.items()
                if key not in ids
            }
        for mapping in self.data.get("configMappings") or ():
            if isinstance(mapping, Mapping) and all(each.holds(answers) for each in _conditions(mapping.get("when"))):
                value = mapping.get("value")
                if isinstance(value, str):
                    value = _typed(value, answers, ids)
                if value is not None:
                    _put(document, str(mapping.get("target") or ""), value)
        for key, value in given.items():
            if key not in ids and ("." in key or "[" in key):
                _put(document, key, value)
        return _with_own_files(document, self.folder)


def read(folder: Path) -> Manifest:
    """The preset in a folder; ``ConfigError`` if there is none or it cannot be understood."""
    path = folder / FILE
    if not path.is_file():
        raise ConfigError(f"there is no {FILE} in {folder}")
    return manifest(parse(read_text(path), path).data, folder)


def manifest(data: Mapping[str, Any], folder: Path) -> Manifest:
    """The preset of a parsed document; ``ConfigError`` with what cannot be understood."""
    faults: list[str] = []
    questions = []
    schema = data.get("schema")
    schema = [] if schema is None else schema
    if not isinstance(schema, list):
        faults.append("schema: expected a list")
        schema = []
    for place, item in enumerate(schema):
        try:
            questions.append(_question(item))
        except (ValueError, TypeError) as error:
            faults.append(f"schema[{place}]: {error}")
    if len({question.id for question in questions}) != len(questions):
        faults.append("schema: two questions have the same id")
    for key, kind in (("template", Mapping), ("userValues", Mapping), ("configMappings", list)):
        if key in data and data[key] is not None and not isinstance(data[key], kind):
            faults.append(f"{key}: expected {'a list' if kind is list else 'an object'}")
    if faults:
        raise ConfigError(f"{folder / FILE}: {'; '.join(faults)}")
    return Manifest(name=folder.name, folder=folder, data=data, questions=tuple(questions))


def _question(item: Any) -> Question:
    if not isinstance(item, Mapping) or not isinstance(item.get("id"), str) or not item["id"]:
        raise ValueError("expected an object with an id")
    kind = item.get("type") or "input"
    if kind not in TYPES:
        raise ValueError(f'no type "{kind}"; there are {", ".join(TYPES)}')
    depends = item.get("dependsOn") or ()
    return Question(
        id=item["id"],
        type=kind,
        label=str(item.get("label") or ""),
        prompt=str(item.get("prompt") or ""),
        placeholder=str(item.get("placeholder") or ""),
        options=item.get("options"),
        when=_conditions(item.get("when")),
        default=item.get("defaultValue"),
        required=item.get("required") is not False,
        validator=item["validator"] if isinstance(item.get("validator"), str) else None,
        min=item.get("min"),
        max=item.get("max"),
        depends_on=(depends,) if isinstance(depends, str) else tuple(map(str, depends)),
    )


def _conditions(given: Any) -> tuple[Condition, ...]:
    items = given if isinstance(given, list) else [given] if given else []
    made = []
    for item in items:
        if not isinstance(item, Mapping) or not item.get("field"):
            raise ValueError("when: expected {field, operator, value}")
        operator = item.get("operator") or "eq"
        if operator not in OPERATORS:
            raise ValueError(f'when: no operator "{operator}"; there are {", ".join(OPERATORS)}')
        made.append(Condition(field=str(item["field"]), operator=operator, value=item.get("value")))
    return tuple(made)


def _options(items: Iterable[Any]) -> list[Option]:
    return [
        Option(
            label=str(item.get("label") or item.get("value")),
            value=item.get("value"),
            description=str(item.get("description") or ""),
            disabled=bool(item.get("disabled")),
        )
        if isinstance(item, Mapping)
        else Option(label=str(item), value=item)
        for item in items
    ]


# --- answers into configuration -------------------------------------------------------------------------------


def substitute(text: str, values: Mapping[str, Any], ids: frozenset[str], braces: bool = True) -> str:
    """``text`` with the answers in place of their names; an unknown ``#{id}`` becomes nothing."""
    text = _HASH.sub(lambda match: _as_text(values.get(match[1].strip())), text)
    if braces:
        text = _BRACES.sub(lambda match: _as_text(values.get(match[1])) if match[1] in ids else match[0], text)
    return text


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return json.dumps(value, ensure_ascii=False)


def _typed(text: str, values: Mapping[str, Any], ids: frozenset[str]) -> Any:
    """The answer itself, with its type, where ``text`` is nothing but its name; else the text with answers in it."""
    whole = _HASH.fullmatch(text) or _BRACES.fullmatch(text)
    if whole is not None and whole[1] in ids:
        return values.get(whole[1])
    return substitute(text, values, ids)


def _filled(value: Any, values: Mapping[str, Any], ids: frozenset[str], status_line: bool = False) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, values, ids, status_line or key == "StatusLine") for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values, ids, status_line) for item in value]
    return substitute(value, values, ids, braces=not status_line) if isinstance(value, str) else copy.deepcopy(value)


def _put(document: dict[str, Any], where: str, value: Any) -> None:
    """Set the value at a path such as ``Providers[0].api_key``; what is missing on the way is made."""
    keys = parse_path(where)
    if not keys or not isinstance(keys[0], str):
        raise ConfigError(f"{where!r} is no place in a configuration")
    node: Any = document
    for key, following in zip(keys, (*keys[1:], None), strict=True):
        empty: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(node, list) and isinstance(key, int):
            if key > len(node):
                raise ConfigError(f"{where}: the list has only {len(node)} elements")
            if key == len(node):
                node.append(empty)
        elif isinstance(node, dict) and isinstance(key, str):
            node.setdefault(key, empty)
        else:
            raise ConfigError(f"{where}: there is no such place")
        if following is None:
            node[key] = value
        else:
            node = node[key]


FILES = ("path", "scriptPath", "CUSTOM_ROUTER_PATH", "REWRITE_SYSTEM_PROMPT")
"""Keys that name a file, in the places of :func:`files_in`."""


def files_in(document: Mapping[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every place of a configuration that names a file of the user's: the object and the key."""
    found: list[tuple[dict[str, Any], str]] = []
    for key in ("CUSTOM_ROUTER_PATH", "REWRITE_SYSTEM_PROMPT"):
        if isinstance(document.get(key), str) and document[key]:
            found.append((document, key))  # type: ignore[arg-type]
    for each in document.get("transformers") or ():
        if isinstance(each, dict) and isinstance(each.get("path"), str):
            found.append((each, "path"))

    def modules(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("scriptPath"), str) and node["scriptPath"]:
                found.append((node, "scriptPath"))
            for item in node.values():
                modules(item)
        elif isinstance(node, list):
            for item in node:
                modules(item)

    modules(document.get("StatusLine"))
    return found


def _with_own_files(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    for node, key in files_in(document):
        node[key] = str(folder / Path(node[key]).expanduser())
    return document


# --- what a preset brings ---------------------------------------------------------------------------------------


def digest(folder: Path, data: Mapping[str, Any]) -> str:
    """A checksum over all files of a preset, and its manifest without what an installation adds to it."""
    own = {key: value for key, value in data.items() if key not in ("userValues", "checksum", *ORIGIN)}
    total = hashlib.sha256(json.dumps(own, sort_keys=True, ensure_ascii=False).encode())
    for path in sorted(files(folder), key=lambda path: path.as_posix()):
        if path.as_posix() != FILE:
            content = hashlib.sha256((folder / path).read_bytes()).hexdigest()
            total.update(f"\0{path.as_posix()}\0{content}".encode())
    return f"sha256:{total.hexdigest()}"


ORIGIN = ("repository", "source", "sourceType")
"""What an installation notes about where a preset came from."""


def files(folder: Path) -> Sequence[Path]:
    """The files of a preset, relative to its folder; copies of manifests left out."""
    return [
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and not (path.parent == folder and re.fullmatch(r"manifest\.json\..*\.bak", path.name))
    ]
