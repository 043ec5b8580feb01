"""`ccr plugins`: showing, switching, installing, auditing and beginning plugins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from test_third_party import SECONDS, Place

from ccr_core.cli import packages, scaffold
from ccr_core.errors import CcrError

CONFIG = """{
  // mine
  "PORT": 0,
  "Providers": [{"name": "echo", "models": ["echo"]}], // built in
}
"""


def configured(ccr: Any, text: str = CONFIG) -> Path:
    """A configuration with remarks."""
    ccr.folder.mkdir(parents=True)
    path: Path = ccr.folder / "config.json"
    path.write_text(text)
    return path


def states(ccr: Any) -> dict[str, str]:
    """State by plugin."""
    return {row["name"]: row["state"] for row in json.loads(ccr.ok("plugins", "list", "--json"))["plugins"]}


def test_show(ccr: Any) -> None:
    """A plugin is shown by its name or its distribution, with what it offers and its options."""
    configured(ccr)
    by_name = json.loads(ccr.ok("plugins", "show", "request-log", "--json"))
    assert by_name == json.loads(ccr.ok("plugin", "show", "ccr-plugin-request-log", "--json"))
    assert ("active", True) == (by_name["state"], by_name["used"])
    assert [
        {
            "kind": "observer",
            "name": "request-log",
            "summary": "One JSON line per request in logs/requests.jsonl.",
            "options": ["max_mb", "keep"],
        }
    ] == by_name["offered"]
    assert "options: max_mb, keep" in ccr.ok("plugins", "show", "request-log")


@pytest.mark.parametrize("word", ["show", "enable", "disable", "remove"])
def test_unknown_plugin(ccr: Any, word: str) -> None:
    """An unknown name is an error, with the nearest one where there is one."""
    configured(ccr)
    done = ccr.run("plugins", word, "request-lug")
    assert 1 == done.returncode
    assert 'there is no plugin "request-lug"' in done.stderr
    if word != "remove":
        assert 'did you mean "request-log"?' in done.stderr


def test_switching(ccr: Any) -> None:
    """Disabling and enabling change one key of the configuration and leave the rest as it was written."""
    path = configured(ccr)
    ccr.ok("plugins", "disable", "request-log", "ccr-plugin-maxtoken")
    assert "// mine" in path.read_text()
    assert {"disabled"} == {states(ccr)[name] for name in ("request-log", "maxtoken")}

    ccr.ok("plugins", "enable", "maxtoken")
    assert ("disabled", "active") == tuple(states(ccr)[name] for name in ("request-log", "maxtoken"))
    ccr.ok("plugins", "enable", "ccr-plugin-request-log")
    assert CONFIG == path.read_text()
    assert "nothing to do" in ccr.ok("plugins", "enable", "request-log")


def test_switching_by_distribution(ccr: Any) -> None:
    """What is disabled by its distribution's name is enabled by its own, and what is not installed can be enabled."""
    configured(ccr, '{"PORT": 0, "disabled_plugins": ["ccr-plugin-maxtoken", "gone"]}')
    ccr.ok("plugins", "enable", "maxtoken", "gone")
    assert "active" == states(ccr)["maxtoken"]


def test_disabling_what_is_needed(ccr: Any) -> None:
    """If the configuration cannot be used without the plugin, that is said."""
    configured(ccr)
    done = ccr.run("plugins", "disable", "echo")
    assert 0 == done.returncode
    assert "warning: the configuration cannot be used like this" in done.stderr


def test_switching_without_configuration(ccr: Any) -> None:
    """Without a configuration there is nothing to write in."""
    done = ccr.run("plugins", "disable", "echo")
    assert (1, True) == (done.returncode, "there is no configuration" in done.stderr)


# --- beginning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_new(ccr: Any, kind: str) -> None:
    """A package as it is begun has tests that pass, and what it says next is possible."""
    said = ccr.ok("plugins", "new", "my-thing", "--kind", kind)
    folder = ccr.root / "ccr-plugin-my-thing"
    assert "cd ccr-plugin-my-thing" in said
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**ccr.env, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "@" not in "".join(path.read_text() for path in folder.rglob("README.md"))


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_new_is_tidy(tmp_path: Path, kind: str) -> None:
    """What is begun satisfies the same linter and formatter as ccr itself."""
    folder = tmp_path / "p"
    scaffold.write(folder, scaffold.files("two-words", kind, 'Says "so".'))
    for words in (
        ["check", "--line-length", "120", "--select", "E,F,W,B,UP"],
        ["format", "--check", "--line-length", "120"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache", "."], cwd=folder, capture_output=True, text=True
        )
        assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize("name", ["Upper", "1st", "a b", "../x", "-x", ""])
def test_new_with_an_odd_name(ccr: Any, name: str) -> None:
    """A name that cannot be one is refused before anything is written."""
    done = ccr.run("plugins", "new", "--", name)
    assert 1 == done.returncode
    assert "cannot be the name of a plugin" in done.stderr


def test_new_never_overwrites(ccr: Any) -> None:
    """A folder that is there is left alone."""
    (ccr.root / "ccr-plugin-one").mkdir()
    done = ccr.run("plugins", "new", "ccr-plugin-one")
    assert (1, []) == (done.returncode, os.listdir(ccr.root / "ccr-plugin-one"))


# --- installing ---------------------------------------------------------------------------------------------


@attrs.frozen
class Offline(Place):
    """An environment in which installing asks no index, so that `ccr plugins install` can be tried."""

    @property
    def environ(self) -> dict[str, str]:
        return {
            **super().environ,
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the other way round
            "PIP_NO_CACHE_DIR": "1",
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An environment with a package that was begun here and installed by `ccr plugins install`."""
    made = Offline.make(tmp_path_factory.mktemp("plugins"))
    (made.folder / "ccr-home" / "config.json").write_text('{"Providers": [{"name": "echo", "models": ["echo"]}]}')
    done = made.ccr("plugins", "new", "fresh", "--folder", str(made.folder / "fresh"))
    assert 0 == done.returncode, done.stderr
    return made


def audit(place: Place) -> dict[str, str]:
    """State by distribution of what was begun here (the packages of the environment beside it are not ours)."""
    rows = json.loads(place.ccr("plugins", "audit", "--json").stdout)["plugins"]
    return {row["distribution"]: row["state"] for row in rows if row["distribution"] == "ccr-plugin-fresh"}


def test_install_audit_remove(place: Place) -> None:
    """A plugin is installed after a yes, shown, noted, found to be changed when it is, and removed."""
    source = str(place.folder / "fresh")
    refused = place.ccr("plugins", "install", source, input="")
    assert (1, True) == (refused.returncode, "nothing was installed" in refused.stderr)
    assert "fresh" not in place.plugins()

    done = place.ccr("plugins", "install", source, "--yes")
    assert 0 == done.returncode, done.stderr
    assert "fresh (ccr-plugin-fresh 0.1.0) is active\n  transformers: fresh\n" == done.stdout
    noted = json.loads((place.folder / "ccr-home" / "plugins.lock").read_text())["plugins"]["ccr-plugin-fresh"]
    assert ("0.1.0", 64) == (noted["version"], len(noted["sha256"]))
    assert {"ccr-plugin-fresh": "same"} == audit(place)

    where = place.run("-c", "import ccr_plugin_fresh as it; print(it.__file__)").stdout.strip()
    Path(where).write_text(Path(where).read_text() + "# changed\n")
    assert {"ccr-plugin-fresh": "changed"} == audit(place)
    assert 1 == place.ccr("plugins", "audit").returncode
    place.ccr("plugins", "audit", "--accept")
    assert {"ccr-plugin-fresh": "same"} == audit(place)

    done = place.ccr("plugins", "remove", "fresh", "--yes")
    assert 0 == done.returncode, done.stderr
    assert "fresh" not in place.plugins()
    assert {} == audit(place)


def test_own_plugins_are_not_removed(ccr: Any) -> None:
    """What ccr is made of can only be disabled."""
    done = ccr.run("plugins", "remove", "request-log", "--yes")
    assert 1 == done.returncode
    assert "is part of ccr; leave it out with: ccr plugins disable request-log" in done.stderr


def test_options_of_the_installer_are_refused(ccr: Any) -> None:
    """Nothing that begins like an option reaches the installer."""
    assert 2 == ccr.run("plugins", "install", "--", "--index-url=http://x").returncode


@pytest.mark.parametrize(
    ("file", "kind", "install", "remove"),
    [
        ("uv-receipt.toml", "uv tool", ["uv", "pip", "install", "--python", "PY", "x"], ["uv", "pip", "uninstall"]),
        ("pipx_metadata.json", "pipx", ["pipx", "inject", "tool", "x"], ["pipx", "uninject", "tool", "x"]),
        ("pyvenv.cfg", "venv", ["PY", "-m", "pip", "--disable-pip-version-check", "install", "x"], ["PY", "-m", "pip"]),
        (None, "system", ["PY", "-m", "pip", "--disable-pip-version-check", "install", "x"], ["PY", "-m", "pip"]),
    ],
)
def test_environments(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str | None,
    kind: str,
    install: list[str],
    remove: list[str],
) -> None:
    """Each kind of environment is recognised, and gets the command of the program that made it."""
    prefix = tmp_path / "tool"
    prefix.mkdir()
    if file is not None:
        (prefix / file).touch()
    monkeypatch.setattr(packages.shutil, "which", lambda name: name)
    found = packages.place(prefix)
    assert kind == found.kind

    def shown(words: list[str]) -> list[str]:
        return ["PY" if word == found.python else word for word in packages.command(words, found.python)]

    assert install == shown(found.install(["x"]))
    assert remove == shown(found.remove("x"))[: len(remove)]


def test_no_installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pip and uv that is said, with what helps."""
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CcrError, match="ensurepip"):
        packages.place(tmp_path).install(["x"])


def test_comparing() -> None:
    """Each way in which the lock file and the environment may differ has its word."""

    def there(name: str, version: str = "1", digest: str | None = "d") -> packages.Installed:
        return packages.Installed(name, version, digest, (name,))

    found = {
        each.name: each
        for each in (there("a"), there("b", "2"), there("c", digest="x"), there("d"), there("e", digest=None))
    }
    noted = {name: {"version": "1", "sha256": "d"} for name in ("a", "b", "c", "e", "gone")}
    assert {
        "a": "same",
        "b": "other version",
        "c": "changed",
        "d": "not noted",
        "e": "in place",
        "gone": "missing",
    } == {each.name: each.state for each in packages.compare(noted, found)}


def test_broken_lock(ccr: Any) -> None:
    """A lock file that cannot be read is an error, not a clean bill."""
    ccr.folder.mkdir(parents=True)
    (ccr.folder / "plugins.lock").write_text("[]")
    done = ccr.run("plugins", "audit")
    assert (1, True) == (done.returncode, "plugins.lock; mend it" in done.stderr)
