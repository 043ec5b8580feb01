"""Changes to configuration files: the data become what was asked for, everything else stays as the user wrote it."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import pyjson5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import config_edit
from ccr_core.config import mask, read
from ccr_core.config_edit import (
    Change,
    Delete,
    Insert,
    Set,
    apply,
    changed,
    diff,
    edit,
    places,
    repeated_keys,
    same,
    tokens,
    version,
    write_new,
)
from ccr_core.errors import ConfigError

JSON = Path("config.json")
TOML = Path("config.toml")

JSON5_TEXT = """\
// my providers
{
  APIKEY: '$CCR_KEY', // the client's key
  "PORT": 3456,
  /* two of them */
  "Providers": [
    {
      "name": "deepseek", // cheap
      "api_base_url": "https://api.deepseek.com/chat/completions",
      "api_key": "$DEEPSEEK_KEY",
      "models": ["deepseek-chat", "deepseek-reasoner"],
    },
    { name: 'local', models: [] }, // at home
  ],
  "mine": { "left": "alone" }, "Router": {}
}
"""

TOML_TEXT = """\
# my providers
APIKEY = "$CCR_KEY" # the client's key
PORT = 3456

# the cheap one
[[Providers]]
name = "deepseek" # cheap
api_key = "$DEEPSEEK_KEY"
models = ["deepseek-chat", "deepseek-reasoner"]

[Providers.transformer]
use = [
  "deepseek", # first
  ["maxtoken", {max_tokens = 4096}],
]

[[Providers]]
name = "local"

[Router]
default = "deepseek,deepseek-chat"
"""


def lines_changed(old: str, new: str) -> tuple[list[str], list[str]]:
    """The lines that were taken out and those that were put in."""
    import difflib

    delta = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    return [line[2:] for line in delta if line[0] == "-"], [line[2:] for line in delta if line[0] == "+"]


@pytest.mark.parametrize(
    ("change", "removed", "added"),
    [
        (Set(("PORT",), 4000), ['  "PORT": 3456,'], ['  "PORT": 4000,']),
        (
            Set(("APIKEY",), "$OTHER"),
            ["  APIKEY: '$CCR_KEY', // the client's key"],
            ['  APIKEY: "$OTHER", // the client\'s key'],
        ),
        (
            Set(("Providers", 0, "models", 2), "new"),
            ['      "models": ["deepseek-chat", "deepseek-reasoner"],'],
            ['      "models": ["deepseek-chat", "deepseek-reasoner", "new"],'],
        ),
        (Set(("Providers", 0, "enabled"), False), [], ['      "enabled": false,']),
        (
            Set(("Providers", 1, "api_key"), "$K"),
            ["    { name: 'local', models: [] }, // at home"],
            ["    { name: 'local', models: [], api_key: \"$K\" }, // at home"],
        ),
        (
            Set(("Providers", 2), {"name": "x", "models": ["a"], "transformer": {"use": ["b"]}}),
            [],
            [
                "    {",
                '      "name": "x",',
                '      "models": ["a"],',
                '      "transformer": {"use": ["b"]}',
                "    },",
            ],
        ),
        (
            Set(("Router", "default"), "local,a"),
            ['  "mine": { "left": "alone" }, "Router": {}'],
            ['  "mine": { "left": "alone" }, "Router": {', '    "default": "local,a"', "  }"],
        ),
        (
            Set(("LOG",), False),
            ['  "mine": { "left": "alone" }, "Router": {}'],
            ['  "mine": { "left": "alone" }, "Router": {},', '  "LOG": false'],
        ),
        (Delete(("PORT",)), ['  "PORT": 3456,'], []),
        (Delete(("Providers", 1)), ["    { name: 'local', models: [] }, // at home"], ["    // at home"]),
        (
            Delete(("Providers", 0, "models", 0)),
            ['      "models": ["deepseek-chat", "deepseek-reasoner"],'],
            ['      "models": ["deepseek-reasoner"],'],
        ),
        (Delete(("Router",)), ['  "mine": { "left": "alone" }, "Router": {}'], ['  "mine": { "left": "alone" } ']),
        (Insert(("Providers", 0), {"name": "x"}), [], ['    {"name": "x"},']),
    ],
    ids=str,
)
def test_a_change_of_json5_touches_only_its_own_lines(change: Change, removed: list[str], added: list[str]) -> None:
    """Comments, quoting, order, trailing commas and references stay; only the lines of the value change."""
    new = changed(JSON5_TEXT, [change], JSON)
    assert (removed, added) == lines_changed(JSON5_TEXT, new)


@pytest.mark.parametrize(
    ("change", "removed", "added"),
    [
        (Set(("PORT",), 4000), ["PORT = 3456"], ["PORT = 4000"]),
        (Set(("HOST",), "0.0.0.0"), [], ['HOST = "0.0.0.0"']),
        (
            Set(("APIKEY",), "$OTHER"),
            ['APIKEY = "$CCR_KEY" # the client\'s key'],
            ['APIKEY = "$OTHER" # the client\'s key'],
        ),
        (
            Set(("Providers", 0, "transformer", "use", 1, 1, "max_tokens"), 99),
            ['  ["maxtoken", {max_tokens = 4096}],'],
            ['  ["maxtoken", {max_tokens = 99}],'],
        ),
        (
            Set(("Providers", 0, "models", 2), "new"),
            ['models = ["deepseek-chat", "deepseek-reasoner"]'],
            ['models = ["deepseek-chat", "deepseek-reasoner", "new"]'],
        ),
        (Set(("Providers", 1, "enabled"), False), [], ["enabled = false"]),
        (Set(("Router", "think"), "local,b"), [], ['think = "local,b"']),
        (Set(("limits", "idle_s"), 20), [], ["", "[limits]", "idle_s = 20"]),
        (Delete(("PORT",)), ["PORT = 3456"], []),
        (Delete(("Router", "default")), ['default = "deepseek,deepseek-chat"'], []),
    ],
    ids=str,
)
def test_a_change_of_toml_touches_only_its_own_lines(change: Change, removed: list[str], added: list[str]) -> None:
    """The same holds for TOML."""
    new = changed(TOML_TEXT, [change], TOML)
    assert (removed, added) == lines_changed(TOML_TEXT, new)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '[Router]\n# where to\ndefault = "a,b"\n\n# The first one.\n[[Providers]]\nname = "a"\n',
            '[Router]\n# where to\ndefault = "a,b"\nthink = "a,c"\n\n# The first one.\n[[Providers]]\nname = "a"\n',
        ),
        (
            '[Router]\n# where to\n# default = "a,b"\n\n# The first one.\n[[Providers]]\nname = "a"\n',
            '[Router]\n# where to\n# default = "a,b"\nthink = "a,c"\n\n# The first one.\n[[Providers]]\nname = "a"\n',
        ),
        ("[Router]\n", '[Router]\nthink = "a,c"\n'),
        ('[Router]\ndefault = "a,b"', '[Router]\ndefault = "a,b"\nthink = "a,c"\n'),
        (
            '[Router]\ndefault = """\n# no remark\n"""\n# end\n',
            '[Router]\ndefault = """\n# no remark\n"""\nthink = "a,c"\n# end\n',
        ),
    ],
)
def test_a_new_key_stands_beside_the_others_of_its_table(before: str, after: str) -> None:
    """Remarks at the end of a table are about what follows: a new key comes before them."""
    assert after == changed(before, [Set(("Router", "think"), "a,c")], TOML)


def test_providers_can_be_added_and_removed_in_toml() -> None:
    """A new provider becomes a table of its own, whatever its keys; the others keep their remarks."""
    provider = {"name": "x", "transformer": {"use": ["a", ["b", {"c": 1}]]}, "models": ["m"]}
    new = changed(TOML_TEXT, [Set(("Providers", 2), provider), Delete(("Providers", 1))], TOML)
    assert [tomllib.loads(TOML_TEXT)["Providers"][0], provider] == tomllib.loads(new)["Providers"]
    assert new.startswith(TOML_TEXT.partition('[[Providers]]\nname = "local"')[0])


def test_the_first_provider_of_an_empty_toml_list_becomes_a_table() -> None:
    """The starter file has ``Providers = []``; adding to it gives readable TOML."""
    text = "Providers = []\nPORT = 1 # one\n\n[Router]\n"
    new = changed(text, [Set(("Providers", 0), {"name": "x"})], TOML)
    assert 'PORT = 1 # one\n\n[Router]\n\n[[Providers]]\nname = "x"' in new + "\n"


def test_an_object_set_over_another_keeps_the_remarks_on_what_is_the_same() -> None:
    """The web UI sends whole documents: only what differs is rewritten."""
    document = pyjson5.decode(JSON5_TEXT)
    document["Providers"][0]["models"].append("third")
    new = changed(JSON5_TEXT, [Set(("Providers",), document["Providers"])], JSON)
    assert JSON5_TEXT.replace('reasoner"]', 'reasoner", "third"]') == new


def test_a_masked_document_can_be_edited_and_saved() -> None:
    """What was shown masked and sent back is not a change; only the real change is written, and no masked secret."""
    raw = {"APIKEY": "sk-1234567890abcdef", "Providers": [{"name": "a", "api_key": "$A"}], "PORT": 1}
    shown = mask(raw)
    shown["PORT"] = 2
    assert [Set(("PORT",), 2)] == diff(mask(raw), shown)
    with pytest.raises(ConfigError, match="APIKEY: this is a masked value"):
        changed(json.dumps(raw), [Set(("APIKEY",), shown["APIKEY"])], JSON)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Set(("Providers", 7), {}), r"Providers\[7\]: the list has 2 elements"),
        (Set(("PORT", "x"), 1), "PORT.x: no such place, PORT is a value"),
        (Delete(("nothing",)), "nothing: there is no such key"),
        (Delete(("Providers", 7)), r"Providers\[7\]: there is no such key"),
        (Set((), {}), "a change needs a path"),
        (Insert(("PORT",), 1), "PORT: no such place"),
    ],
    ids=str,
)
@pytest.mark.parametrize(("text", "path"), [(JSON5_TEXT, JSON), (TOML_TEXT, TOML)], ids=["json5", "toml"])
def test_a_path_that_leads_nowhere_is_refused(text: str, path: Path, change: Change, message: str) -> None:
    """The message names the path and what is wrong with it."""
    with pytest.raises(ConfigError, match=message):
        changed(text, [change], path)


def test_null_is_refused_in_toml() -> None:
    """TOML has no null: the change fails, it is not dropped in silence."""
    with pytest.raises(ConfigError, match="cannot write PORT"):
        changed(TOML_TEXT, [Set(("PORT",), None)], TOML)


def test_a_result_that_is_not_what_was_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the editor itself were wrong, the file would stay as it is."""
    monkeypatch.setattr(config_edit, "change_json", lambda text, change: text.replace("3456", "1"))
    with pytest.raises(ConfigError, match=r"cannot change LOG in config\.json without"):
        changed(JSON5_TEXT, [Set(("LOG",), False)], JSON)


# --- files --------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file that others may read."""
    path = tmp_path / "config.json"
    path.write_text(JSON5_TEXT)
    path.chmod(0o644)
    return path


def test_an_edit_keeps_a_copy_and_makes_the_file_private(file: Path) -> None:
    """The old text is in a .bak file beside it; both are readable by the owner only."""
    edit(file, [Set(("PORT",), 1)])
    (copy,) = file.parent.glob("config.json.*.bak")
    assert copy.read_text() == JSON5_TEXT
    assert read(file)["PORT"] == 1
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, copy)] == [0o600, 0o600]
    assert re.fullmatch(r"config\.json\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{6}Z\.bak", copy.name)


def test_the_newest_three_copies_are_kept(file: Path) -> None:
    """Older copies go; nothing else in the folder is left behind."""
    for port in range(1, 6):
        edit(file, [Set(("PORT",), port)])
    copies = sorted(file.parent.glob("config.json.*.bak"))
    assert [read(path.rename(path.with_suffix(".json")))["PORT"] for path in copies] == [2, 3, 4]
    assert len(list(file.parent.iterdir())) == 4


def test_an_edit_without_effect_writes_nothing(file: Path) -> None:
    """Setting what is there already leaves the file and makes no copy."""
    edit(file, [Set(("PORT",), 3456)])
    assert [file] == list(file.parent.iterdir())


def test_an_edit_for_an_older_version_is_refused(file: Path) -> None:
    """Two people who edit at once do not overwrite each other."""
    seen = version(file)
    newer = edit(file, [Set(("PORT",), 1)], expect=seen)
    assert version(file) == newer
    with pytest.raises(ConfigError, match="changed by someone else"):
        edit(file, [Set(("PORT",), 2)], expect=seen)
    assert read(file)["PORT"] == 1


def test_a_link_is_followed(file: Path, tmp_path: Path) -> None:
    """A configuration kept elsewhere stays there; the link stays a link, and the copy is beside the link."""
    folder = tmp_path / "home"
    folder.mkdir()
    link = folder / "config.json"
    link.symlink_to(file)
    edit(link, [Set(("PORT",), 1)])
    assert link.is_symlink()
    assert read(file)["PORT"] == 1
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("failing", [1, 2], ids=["copy", "file"])
def test_a_full_disk_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    """Whether the copy or the file itself cannot be written: the old text stays, no part of the new one is left."""
    calls = 0
    fsync = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += stat.S_ISREG(os.fstat(descriptor).st_mode)
        if calls == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left on device; it is as it was"):
        edit(file, [Set(("PORT",), 1)])
    assert file.read_text() == JSON5_TEXT
    assert [path for path in file.parent.iterdir() if path.suffix == ".tmp"] == []


def test_a_new_file_never_replaces_another(tmp_path: Path) -> None:
    """A first configuration is private, makes its folder, and is written only where nothing is."""
    path = tmp_path / "deep" / "config.toml"
    write_new(path, "PORT = 1\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="exists already"):
        write_new(path, "PORT = 2\n")
    assert path.read_text() == "PORT = 1\n"


def test_a_new_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk does not leave half a configuration."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        write_new(tmp_path / "config.json", "{}")
    assert list(tmp_path.iterdir()) == []


def test_the_version_of_no_file_is_empty(tmp_path: Path) -> None:
    """So that "there was none" can be expected too."""
    assert version(tmp_path / "config.json") == ""


# --- places -------------------------------------------------------------------------------------------------


def test_places_in_json5(file: Path) -> None:
    """Every key and element has the line and column where it begins."""
    found = places(file)
    assert [
        found[path]
        for path in ("APIKEY", "Providers", "Providers[0]", "Providers[0].models[1]", "Providers[1].models", "Router")
    ] == [(3, 3), (6, 3), (7, 5), (11, 35), (13, 22), (15, 32)]


def test_places_in_toml(tmp_path: Path) -> None:
    """Tables, elements of table lists and keys are found; text inside strings and lists is not taken for them."""
    path = tmp_path / "config.toml"
    text = TOML_TEXT + '"a.b".c = """\n[x]\ny = 1\n"""\nd = [\n [1], # ]\n]\n[[Providers.more]]\nlast = 1\n'
    path.write_text(text)
    found = places(path)
    lines = text.splitlines()
    assert {
        "APIKEY": 2,
        "Providers": 6,
        "Providers[0]": 6,
        "Providers[0].models": 9,
        "Providers[0].transformer": 11,
        "Providers[0].transformer.use": 12,
        "Providers[1]": 17,
        "Providers[1].name": 18,
        "Router.default": 21,
        'Router["a.b"].c': 22,
        "Router.d": 26,
        "Providers[1].more[0].last": len(lines),
    } == {
        key: found[key][0]
        for key in found
        if key in ("APIKEY", "Providers", "Providers[0]", "Providers[0].models", "Providers[0].transformer",
                   "Providers[0].transformer.use", "Providers[1]", "Providers[1].name", "Router.default",
                   'Router["a.b"].c', "Router.d", "Providers[1].more[0].last", "x", "Router.y")
    }  # fmt: skip


def test_repeated_keys_are_found_however_they_are_written() -> None:
    """Quotes and escapes do not hide that two keys are the same."""
    text = '{a: 1, b: {\'c\': 1, "\\u0063": 2},\n "a": 3}'
    assert [(path, line, column) for path, _, line, column in repeated_keys(text)] == [("b.c", 1, 20), ("a", 2, 2)]


# --- properties ---------------------------------------------------------------------------------------------

BLANKS = st.sampled_from(["", " ", "\n", "\n  ", "\r\n\t", " /* a, [b] */ ", " // it's: {\n", '\n // "x"\n  ', "/**/"])
NAMES = st.sampled_from(["a", "b", "PORT", "gpt-4.1", "$x", "name", 'q"t', "ü", "use"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.sampled_from(["", "$KEY", "a//b", "x, y]", "q\"'\\", "line\nline", "ü"]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@st.composite
def json5_texts(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A JSON5 document with remarks in every place, and its data."""

    def scalar(value: Any) -> str:
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        if isinstance(value, str) and "'" not in value and draw(st.booleans()):
            return "'" + text[1:-1].replace('\\"', '"') + "'"
        return text

    def name(key: str) -> str:
        return key if re.fullmatch(r"[A-Za-z_$][\w$]*", key) and draw(st.booleans()) else scalar(key)

    def render(value: Any) -> str:
        if not isinstance(value, dict | list):
            return scalar(value)
        if isinstance(value, list):
            items = [draw(BLANKS) + render(item) + draw(BLANKS) for item in value]
        else:
            items = [
                draw(BLANKS) + name(key) + draw(BLANKS) + ":" + draw(BLANKS) + render(item) + draw(BLANKS)
                for key, item in value.items()
            ]
        inside = ",".join(items) + ("," + draw(BLANKS) if len(items) > 0 and draw(st.booleans()) else draw(BLANKS))
        return f"[{inside}]" if isinstance(value, list) else f"{{{inside}}}"

    data = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    return draw(BLANKS) + render(data) + draw(BLANKS), data


def any_change(draw: st.DrawFn, data: Any, toml: bool = False) -> Change:
    """A change that is possible in ``data``; in TOML a list of tables holds nothing else."""
    values = TOML_VALUES if toml else VALUES
    path: list[str | int] = []
    node = data
    while True:
        keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        inner = [key for key in keys if isinstance(node[key], dict | list)]
        if not inner or draw(st.booleans()):
            break
        path.append(draw(st.sampled_from(inner)))
        node = node[path[-1]]
    here = tuple(path)
    if toml and isinstance(node, list) and node and isinstance(node[0], dict):
        values = st.dictionaries(NAMES, TOML_VALUES, max_size=3)
    if len(keys) > 0 and draw(st.booleans()):
        key = draw(st.sampled_from(keys))
        if toml and key == "Providers":
            values = st.lists(st.dictionaries(NAMES, TOML_VALUES, max_size=3), max_size=3)
        return Delete((*here, key)) if draw(st.booleans()) else Set((*here, key), draw(values))
    if isinstance(node, list):
        return Insert((*here, draw(st.integers(0, len(node)))), draw(values))
    return Set((*here, draw(NAMES)), draw(values))


def target(text: str, path: tuple[str | int, ...]) -> tuple[int, int]:
    """Where the value at a path is in the text; an empty range if it is not there."""
    node = config_edit.scan(text)
    start = end = 0
    for key in path:
        keys: list[Any] = node.keys if node.keys is not None else list(range(len(node.items or [])))
        if key not in keys:
            return 0, 0
        start = node.heads[keys.index(key)]
        node = (node.items or [])[keys.index(key)]
        end = node.end
    return start, end


def is_part(small: list[str], large: list[str]) -> bool:
    """Whether ``small`` is ``large`` with some elements left out."""
    rest = iter(large)
    return all(any(item == other for other in rest) for item in small)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_any_json5_gives_the_data_and_keeps_the_rest(data: st.DataObject) -> None:
    """The data are as asked for, and every other remark, name and value is still there, in order."""
    text, document = data.draw(json5_texts())
    assert same(document, pyjson5.decode(text))
    change = data.draw(st.composite(any_change)(document))
    new = changed(text, [change], JSON)
    expected = apply(pyjson5.decode(text), change)
    assert same(expected, pyjson5.decode(new))
    low, high = (0, 0) if isinstance(change, Insert) else target(text, change.path)
    words = ("comment", "string", "word")
    others = [token.text for token in tokens(text) if token.kind in words and not low <= token.start < high]
    assert is_part(others, [token.text for token in tokens(new) if token.kind in words])


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES)
def test_the_difference_of_two_values_leads_from_one_to_the_other(old: Any, new: Any) -> None:
    """Applying the changes in order gives the new document."""
    document = {"root": old}
    for change in diff({"root": old}, {"root": new}):
        document = apply(document, change)
    assert same({"root": new}, document)


TOML_SCALARS = st.one_of(st.booleans(), st.integers(-9, 9), st.sampled_from(["", "$KEY", "a # b", "[x]", 'q"', "ü"]))
TOML_VALUES: st.SearchStrategy[Any] = st.one_of(
    TOML_SCALARS, st.lists(TOML_SCALARS, max_size=3), st.dictionaries(NAMES, TOML_SCALARS, max_size=2)
)


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    """A TOML document with plain keys, tables and a list of tables, and remarks."""

    def name(key: str) -> str:
        return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)

    def pairs(values: dict[str, Any]) -> list[str]:
        lines = []
        for key, value in values.items():
            if draw(st.booleans()):
                lines.append(f"# about {key} = [1]")
            if isinstance(value, list) and draw(st.booleans()):
                inside = "".join(f"  {json.dumps(item, ensure_ascii=False)}, # one\n" for item in value)
                text = f"[\n{inside}]"
            else:
                text = json.dumps(value, ensure_ascii=False)
            lines.append(f"{name(key)} = {text}" + draw(st.sampled_from(["", " # why"])))
        return lines

    flat = st.dictionaries(NAMES, TOML_SCALARS | st.lists(TOML_SCALARS, max_size=3), max_size=3)
    lines = ["# top", *pairs(draw(flat))]
    for index in range(draw(st.integers(0, 2))):
        lines += ["", f"# provider {index}", "[[Providers]]", *pairs(draw(flat))]
        if draw(st.booleans()):
            lines += ["", "[Providers.transformer]", *pairs(draw(flat))]
    if draw(st.booleans()):
        lines += ["", "[Router] # routes", *pairs(draw(flat))]
    return "\n".join(lines) + "\n"


@settings(max_examples=300, deadline=None, derandomize=True)  # the rare corner of tomlkit is no news here
@given(st.data())
def test_any_change_of_any_toml_gives_the_data_and_keeps_the_remarks(data: st.DataObject) -> None:
    """Whatever the document: the data are as asked for, and remarks that stand outside the changed value stay."""
    text = data.draw(toml_texts())
    document = tomllib.loads(text)
    change = data.draw(st.composite(any_change)(document, toml=True))
    new = changed(text, [change], TOML)
    assert same(apply(tomllib.loads(text), change), tomllib.loads(new))
    old: Any = document
    for key in change.path:
        inside = key in old if isinstance(old, dict) else isinstance(old, list) and key in range(len(old))
        old = old[key] if inside else None
    if isinstance(change, Insert) or (isinstance(change, Set) and not isinstance(old, dict | list)):
        one_line = isinstance(change.value, dict) and old is not None  # a scalar made a table: its line is gone
        remarks = re.compile(r"^#.*$" if one_line else r"^#.*$| # (?:why|routes)$", re.M)
        assert remarks.findall(text) == remarks.findall(new)
