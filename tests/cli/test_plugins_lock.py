"""`plugins_lock`: a start that compares the installed plugins with what was noted, before it imports any of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccr_core.cli import packages
from ccr_core.errors import ConfigError

ECHO = {"Providers": [{"name": "echo", "models": ["echo"]}], "Router": {"default": "echo,echo"}}


def distribution(site: Path, name: str, text: str = "") -> Path:
    """Put a distribution with one plugin of the same name into a folder of packages; gives its module."""
    module = f"third_{name}"
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: third-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ccr]\n{name} = {module}\n")
    (info / "RECORD").write_text(f"{module}.py,,\n{info.name}/METADATA,,\n{info.name}/entry_points.txt,,\n")
    path = site / f"{module}.py"
    path.write_text(text)
    return path


@pytest.fixture
def site(ccr: Any) -> Path:
    """A folder of packages in which the plugin `one` is installed and noted; it leaves a mark when it is imported."""
    folder: Path = ccr.root / "site"
    distribution(folder, "one", f"open({str(ccr.root / 'imported')!r}, 'a').write('one')\n")
    ccr.env["PYTHONPATH"] = str(folder)
    ccr.ok("plugins", "audit", "--accept")
    return folder


def change(site: Path) -> None:
    (site / "third_one.py").write_text((site / "third_one.py").read_text() + "# changed\n")


def remove(site: Path) -> None:
    for path in (site / "third_one-1.0.dist-info").iterdir():
        path.unlink()
    (site / "third_one-1.0.dist-info").rmdir()


def replace(site: Path) -> None:
    path = site / "third_one-1.0.dist-info" / "METADATA"
    path.write_text(path.read_text().replace("Version: 1.0", "Version: 2.0"))


DIFFERENCES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "changed": (change, "third-one: files of version 1.0 were changed since they were noted"),
    "missing": (remove, "third-one: version 1.0 was noted, but it is not installed"),
    "other version": (replace, "third-one: version 2.0, but 1.0 was noted"),
    "not noted": (lambda site: distribution(site, "two"), "third-two: version 1.0 is installed, but was not noted"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_enforced(ccr: Any, site: Path, name: str) -> None:
    """What differs is named in one message with the next step, the router does not start, and no plugin is imported."""
    make, said = DIFFERENCES[name]
    ccr.write_config({**ECHO, "plugins_lock": "enforce"})
    make(site)
    done = ccr.run("start")
    assert (1, 1) == (done.returncode, done.stderr.count("error: ")), done.stderr
    assert f"the installed plugins are not those of {ccr.folder / 'plugins.lock'}:\n  {said}\n" in done.stderr
    assert "ccr plugins audit --accept" in done.stderr
    assert not (ccr.root / "imported").exists()
    assert {} == ccr.state


def test_accepted(ccr: Any, site: Path) -> None:
    """As noted the router starts; a restart after a change leaves it running, and one that is accepted works."""
    ccr.write_config({**ECHO, "plugins_lock": "enforce"})
    ccr.ok("start", "-d")
    pid = ccr.state["pid"]
    change(site)
    done = ccr.run("restart")
    assert (1, pid) == (done.returncode, ccr.state["pid"])
    assert "third-one: files of version 1.0 were changed" in done.stderr
    ccr.ok("plugins", "audit", "--accept")
    ccr.ok("restart")
    assert pid != ccr.state["pid"]


def test_reload_is_checked(ccr: Any, site: Path, wait_for: Callable[[Callable[[], Any]], Any]) -> None:
    """A change of the configuration does not let in what was installed since."""
    ccr.write_config({**ECHO, "plugins_lock": "enforce"})
    ccr.ok("start", "-d")
    distribution(site, "two", f"open({str(ccr.root / 'imported two')!r}, 'w')\n")
    ccr.write_config({**ECHO, "plugins_lock": "enforce", "LOG_LEVEL": "debug"})
    problem = wait_for(lambda: json.loads(ccr.ok("status", "--json"))["reload"]["problem"])
    assert "third-two: version 1.0 is installed, but was not noted" in problem
    assert not (ccr.root / "imported two").exists()


def test_warned(ccr: Any, site: Path) -> None:
    """With `warn` the difference is said, and the router starts."""
    ccr.write_config({**ECHO, "plugins_lock": "warn"})
    change(site)
    ccr.ok("start", "-d")
    said = Path(ccr.state["log"]).read_text()
    assert "warning: the installed plugins are not those of" in said
    assert "third-one: files of version 1.0 were changed" in said


def test_off(ccr: Any, site: Path) -> None:
    """Without the key the file is not even read."""
    ccr.write_config(ECHO)
    (ccr.folder / "plugins.lock").write_text("[]")
    ccr.ok("start", "-d")
    assert "plugins.lock" not in Path(ccr.state["log"]).read_text()


def test_unreadable(ccr: Any, site: Path) -> None:
    """A lock file that cannot be read is no clean bill."""
    ccr.write_config({**ECHO, "plugins_lock": "enforce"})
    (ccr.folder / "plugins.lock").write_text("[]")
    done = ccr.run("start")
    assert (1, True) == (done.returncode, "plugins.lock; mend it" in done.stderr)


@pytest.mark.parametrize(
    ("disabled", "environ", "expected"),
    [
        ((), {}, ["third-one", "third-two"]),
        (("one",), {}, ["third-two"]),
        (("third_two",), {}, ["third-one"]),
        ((), {"CCR_PLUGINS": "echo,two"}, ["third-two"]),
        ((), {"CCR_PLUGINS": ""}, []),
    ],
)
def test_what_is_left_out_is_not_compared(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    disabled: tuple[str, ...],
    environ: dict[str, str],
    expected: list[str],
) -> None:
    """A plugin that is not loaded keeps nothing from starting; the empty lock file notes none."""
    distribution(tmp_path, "one")
    distribution(tmp_path, "two")
    monkeypatch.syspath_prepend(tmp_path)
    found = packages.differences(tmp_path, disabled, environ)
    assert expected == [each.name for each in found if each.name.startswith("third-")]


def test_nothing_differs(tmp_path: Path) -> None:
    """An environment that is as noted has no differences, and nothing is raised."""
    packages.write_lock(tmp_path, {name: each.to_json() for name, each in packages.installed().items()})
    assert () == packages.differences(tmp_path)
    packages.enforce(tmp_path, "enforce", ())
    packages.write_lock(tmp_path, {"gone": {"version": "1", "sha256": "d"}})
    with pytest.raises(ConfigError, match="gone: version 1 was noted, but it is not installed"):
        packages.enforce(tmp_path, "enforce", ())


def test_doctor(ccr: Any, site: Path) -> None:
    """The differences are findings of the doctor, with what mends them."""
    ccr.write_config({**ECHO, "plugins_lock": "enforce"})
    change(site)
    done = ccr.run("doctor", "plugins", "--json")
    wrong = [each for each in json.loads(done.stdout)["findings"] if each["level"] == "error"]
    assert 1 == done.returncode
    assert ["third-one is not as plugins.lock has it: changed; so the router does not start"] == [
        each["text"] for each in wrong
    ]
