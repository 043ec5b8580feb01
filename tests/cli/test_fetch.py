"""Presets from elsewhere: every way to get one, and what is refused."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import stat
import struct
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccr_core import fetch
from ccr_core.errors import CcrError

MANIFEST = json.dumps({"name": "p", "Providers": []})


def packed(*files: tuple[Any, str], **options: Any) -> bytes:
    """A zip file with these names (or entries) and texts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, text in files:
            archive.writestr(name, text)
    return stream.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    """An entry that is a symbolic link."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def listed(folder: Path) -> dict[str, str]:
    """The files of a folder and their texts."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("root", ["", "some-preset-main/"])
def test_unpack(tmp_path: Path, root: str) -> None:
    """Files are unpacked with modes of ours, a single folder around them is left out, hidden ones are not taken."""
    script = zipfile.ZipInfo(f"{root}scripts/line.py")
    script.external_attr = (stat.S_IFREG | 0o6777) << 16
    data = packed((f"{root}manifest.json", MANIFEST), (script, "x"), (f"{root}.git/config", "x"))
    fetch.unpack(data, tmp_path / "to", "z")

    assert {"manifest.json": MANIFEST, "scripts/line.py": "x"} == listed(tmp_path / "to")
    modes = [(tmp_path / "to" / name).stat().st_mode & 0o7777 for name in ("manifest.json", "scripts/line.py")]
    assert [0o600, 0o700] == modes


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([("../evil", "x")], "would be outside"),
        ([("a/../../evil", "x")], "would be outside"),
        ([("/etc/evil", "x")], "would be outside"),
        ([("..\\evil", "x")], "is not safe"),
        ([("C:evil", "x")], "is not safe"),
        ([(link("scripts"), "/etc")], "is a link"),
        ([(link("x.py"), "../../../etc/passwd")], "is a link"),
        ([("a.py", "x"), ("A.py", "y")], "twice"),
        ([("a", "x"), ("a/b", "y")], "a name is a file and a folder"),
        ([("a/b", "y"), ("a", "x")], "a name is a file and a folder"),
        ([("a" * 300, "x")], "File name too long"),
        ([(f"f{number}", "x") for number in range(fetch.MOST_FILES + 1)], "more than 500 files"),
        ([("big", "\0" * (fetch.MOST_BYTES + 1))], "holds more than 10 MB"),
    ],
)
def test_unpack_refuses(tmp_path: Path, files: list[tuple[Any, str]], reason: str) -> None:
    """What could write elsewhere, or fill the disk, is refused, and nothing is outside of the folder."""
    data = packed(("manifest.json", MANIFEST), *files, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CcrError) as caught:
        fetch.unpack(data, tmp_path / "in" / "to", "z.zip")
    assert reason in caught.value.message
    assert {"to"} >= {path.name for path in (tmp_path / "in").glob("*")} if (tmp_path / "in").exists() else True
    assert {"in"} >= {path.name for path in tmp_path.iterdir()}


def test_unpack_does_not_believe_sizes(tmp_path: Path) -> None:
    """An archive that lies about the size of a file is not unpacked without limit."""
    data = bytearray(packed(("manifest.json", MANIFEST), ("big", "\0" * 30_000_000), compression=zipfile.ZIP_DEFLATED))
    place = data.rfind(b"PK\x01\x02")
    struct.pack_into("<L", data, place + 24, 10)
    with pytest.raises(CcrError):
        fetch.unpack(bytes(data), tmp_path / "to", "z.zip")
    assert 1_000_000 > sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip", packed(("x/manifest.json", "{}"), ("y/other", "")), packed()])
def test_unpack_no_preset(tmp_path: Path, data: bytes) -> None:
    """What is no zip file, or has no manifest where it belongs, is said to be so."""
    with pytest.raises(CcrError):
        fetch.unpack(data, tmp_path / "to", "z.zip")


def test_folder(tmp_path: Path) -> None:
    """A folder is copied without what is hidden; a link in it is refused."""
    source = tmp_path / "mine"
    (source / "scripts").mkdir(parents=True)
    for name in ("manifest.json", "scripts/a.py", ".env", "manifest.json.1.bak"):
        (source / name).write_text(MANIFEST)
    found = fetch.fetch(str(source), tmp_path / "to")
    assert ("mine", "local") == (found.name, found.kind)
    assert {"manifest.json", "scripts/a.py"} == set(listed(tmp_path / "to"))
    (source / "x").symlink_to("/etc/passwd")
    with pytest.raises(CcrError) as caught:
        fetch.fetch(str(source), tmp_path / "other")
    assert "is a link" in caught.value.message


def test_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository is got without its history; a branch can be named; what is no repository is said to be so."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    source = tmp_path / "some.git"
    source.mkdir()

    def git(*words: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@x.invalid")
        subprocess.run(["git", *who, *words], cwd=source, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    (source / "manifest.json").write_text(MANIFEST)
    git("add", ".")
    git("commit", "-qm", "x")
    git("checkout", "-qb", "other")
    (source / "more.py").write_text("x")
    git("add", ".")
    git("commit", "-qm", "y")
    git("checkout", "-q", "main")

    found = fetch.fetch(f"file://{source}", tmp_path / "to")
    assert ("some", f"file://{source}") == (found.name, found.repository)
    assert {"manifest.json"} == set(listed(tmp_path / "to"))
    fetch.fetch(f"file://{source}#other", tmp_path / "branch")
    assert {"manifest.json", "more.py"} == set(listed(tmp_path / "branch"))
    for address in (f"file://{tmp_path}/none.git", "ext::sh -c 'touch evil' .git", "git+-uevil.git"):
        with pytest.raises(CcrError):
            fetch.fetch(address, tmp_path / "none")


@pytest.mark.parametrize(
    "text",
    [
        "o/r",
        "https://github.com/o/r",
        "https://github.com/o/r.git",
        "git@github.com:o/r.git",
        "ssh://git@github.com/o/r",
    ],
)
def test_repositories(text: str) -> None:
    """All ways to write a repository of GitHub mean the same archive."""
    entry = fetch.Listed(id="x", name="x", data={"repo": text})
    assert "https://github.com/o/r/archive/refs/heads/main.zip" == entry.address


@pytest.mark.parametrize("text", ["o", "o/r/x", "https://evil.example/o/r", "o/..", "../r", "o/r?x"])
def test_no_repositories(text: str) -> None:
    """What is no repository of GitHub is no address at all."""
    with pytest.raises(CcrError):
        fetch.github(text)


class Site:
    """A web site on this machine: paths and what is there; a text is where it leads.

    A path in ``slow`` begins like this, and never ends.
    """

    def __init__(self) -> None:
        self.pages: dict[str, bytes | str] = {}
        self.slow: dict[str, bytes] = {}
        self.over, self.ended = threading.Event(), threading.Event()
        site = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = site.pages.get(self.path)
                if self.path in site.slow:
                    self.drip(site.slow[self.path])
                    return
                self.send_response(404 if page is None else 302 if isinstance(page, str) else 200)
                if isinstance(page, str):
                    self.send_header("location", page)
                self.end_headers()
                if isinstance(page, bytes):
                    self.wfile.write(page)

            def drip(self, text: bytes) -> None:
                """A byte at a time, until nobody listens any more."""
                with contextlib.suppress(OSError):
                    self.wfile.write(text)
                    while not site.over.wait(0.02):
                        self.wfile.write(b"x")
                site.ended.set()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def site() -> Iterator[Site]:
    """A web site."""
    site = Site()
    yield site
    site.over.set()
    site.server.shutdown()
    site.server.server_close()


def test_download(tmp_path: Path, site: Site) -> None:
    """A zip file is downloaded; other schemes, redirections out of here, and what is too large are refused."""
    site.pages = {"/p.zip": packed(("manifest.json", MANIFEST)), "/r.zip": "/p.zip", "/e.zip": "http://evil.invalid/x"}
    site.pages["/big.zip"] = b"\0" * (fetch.MOST_DOWNLOAD + 1)
    site.pages["/f.zip"] = "file:///etc/passwd"
    for name in ("p", "r"):
        assert name == fetch.fetch(f"{site.url}/{name}.zip", tmp_path / name).name
        assert {"manifest.json"} == set(listed(tmp_path / name))
    for url, reason in (
        ("http://evil.invalid/x.zip", "only https:// is safe"),
        (f"{site.url}/e.zip", "only https:// is safe"),
        (f"{site.url}/f.zip", "cannot get"),
        (f"{site.url}/big.zip", "larger than 10 MB"),
        (f"{site.url}/none.zip", "status 404"),
        ("http://127.0.0.1:1/x.zip", "cannot get"),
    ):
        with pytest.raises(CcrError) as caught:
            fetch.fetch(url, tmp_path / "none")
        assert reason in caught.value.message


@pytest.mark.parametrize("begins", [b"HTTP/1.0 200 OK\r\n\r\nPK", b"HTTP/1.0 200 OK\r\nx-long: "], ids=["body", "head"])
def test_a_slow_download(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, begins: bytes) -> None:
    """A server that sends a little now and then is not waited for beyond the limit, and is left."""
    monkeypatch.setattr(fetch, "TOTAL_SECONDS", 0.3)
    site.slow["/p.zip"] = begins

    with pytest.raises(CcrError) as caught:
        fetch.fetch(f"{site.url}/p.zip", tmp_path / "p")

    assert "did not come within 0.3 s" in caught.value.message
    assert not (tmp_path / "p").exists()
    if begins.endswith(b"PK"):
        assert site.ended.wait(10)


def test_a_download_that_is_cut(tmp_path: Path, site: Site) -> None:
    """What ends before its announced length is not taken for whole."""
    site.slow["/p.zip"] = b"HTTP/1.0 200 OK\r\ncontent-length: 99\r\n\r\nPK"
    site.over.set()

    with pytest.raises(CcrError) as caught:
        fetch.fetch(f"{site.url}/p.zip", tmp_path / "p")

    assert caught.value.message.endswith("/p.zip: it was cut off")


def test_market(site: Site) -> None:
    """A preset is found by its id, its name, or its name in other letters; junk in the list does no harm."""
    entries = [{"id": "b", "name": "a"}, {"id": "a", "name": "First"}, {"id": "c", "name": "Other"}, {}, 7]
    site.pages["/index.json"] = json.dumps(entries).encode()
    found = fetch.market(f"{site.url}/index.json")
    assert ["a", "First", "Other"] == [each.name for each in found]
    assert ["First", "First", "Other"] == [fetch.pick(found, name).name for name in ("a", "first", "Other")]
    with pytest.raises(CcrError) as caught:
        fetch.pick(found, "Othr")
    assert "did you mean Other?" in caught.value.message
    site.pages["/index.json"] = b"<html>"
    with pytest.raises(CcrError):
        fetch.market(f"{site.url}/index.json")


def test_market_checksum(tmp_path: Path, site: Site) -> None:
    """What has another checksum than the list says is not unpacked."""
    site.pages["/p.zip"] = packed(("manifest.json", MANIFEST))
    data = {"name": "x", "url": f"{site.url}/p.zip", "checksum": "0" * 64}
    with pytest.raises(CcrError) as caught:
        fetch.from_market(fetch.Listed(id="x", name="x", data=data), tmp_path / "to")
    assert "has not the checksum" in caught.value.message
    assert not (tmp_path / "to").exists()
