"""Getting a preset from where it is: a folder, a zip file, a Git repository, or the marketplace.

Nothing that comes from elsewhere is trusted: an archive is looked through before a byte of it is written, links are
refused, sizes and numbers are limited, files get modes of our own, and nothing in it is run.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from ccr_core.errors import CcrError
from ccr_core.presets import FILE

if TYPE_CHECKING:
    import threading

INDEX = "https://pub-0dc3e1677e894f07bbea11b17a29e032.r2.dev/presets.json"
"""The list of the marketplace; ``CCR_PRESET_INDEX`` names another."""

MOST_FILES = 500
MOST_BYTES = 10 * 1024 * 1024
"""What a preset may be: it is a configuration and a few scripts."""

MOST_DOWNLOAD = 10 * 1024 * 1024
PIECE = 64 * 1024
SECONDS = 60
"""How long a server may be silent."""

TOTAL_SECONDS = 120.0
"""How long a download may take, however little comes at a time."""


@attrs.frozen(kw_only=True)
class Fetched:
    """Where a preset came from; its files are in the folder that was given."""

    name: str
    source: str
    kind: str
    repository: str | None = None


@attrs.frozen(kw_only=True)
class Listed:
    """An entry of the marketplace."""

    id: str
    name: str
    data: Mapping[str, Any]

    @property
    def address(self) -> str:
        """Where it is downloaded from: the main branch of its repository on GitHub, else the zip it names."""
        repository = self.data.get("repo")
        if repository:
            return f"https://github.com/{github(str(repository))}/archive/refs/heads/main.zip"
        url = str(self.data.get("url") or "")
        if not urlsplit(url).path.endswith(".zip"):
            raise CcrError(f"the marketplace names no repository of {self.name}")
        return url


def github(text: str) -> str:
    """``owner/repo`` of any way to write a repository of GitHub; ``CcrError`` for anything else."""
    match = re.fullmatch(
        r"(?:(?:git\+)?https?://(?:www\.)?github\.com/|(?:ssh://)?git@github\.com[:/])?"
        r"([A-Za-z0-9][A-Za-z0-9-]*)/([A-Za-z0-9_.-]+?)(?:\.git)?/?",
        text.strip(),
    )
    if match is None or match[2] in (".", ".."):
        raise CcrError(f"{text!r} is no repository of GitHub; it is written owner/repo")
    return f"{match[1]}/{match[2]}"


def is_address(source: str) -> bool:
    """Whether a source is to be got over the network, or with Git."""
    return bool(re.match(r"(git\+)?[a-z]+://|git@|ssh://", source)) or source.endswith(".git")


def fetch(source: str, into: Path, proxy: str | None = None) -> Fetched:
    """Put the preset at ``source`` into the new folder ``into``; ``CcrError`` if it cannot be had, or is not safe."""
    if not is_address(source):
        path = Path(source).expanduser()
        if path.is_dir():
            copy_folder(path, into)
            return Fetched(name=path.resolve().name, source=str(path.resolve()), kind="local")
        if path.is_file() and zipfile.is_zipfile(path):
            if path.stat().st_size > MOST_DOWNLOAD:
                raise CcrError(f"{path} is larger than {MOST_DOWNLOAD >> 20} MB; that is no preset")
            unpack(path.read_bytes(), into, str(path))
            return Fetched(name=path.stem, source=str(path.resolve()), kind="local")
        if not path.exists():
            raise CcrError(f"there is no folder or file {source}")
        raise CcrError(f"{source} is neither a folder with a {FILE} nor a zip file")
    if urlsplit(source).path.endswith(".zip"):
        unpack(download(source, proxy), into, source)
        return Fetched(name=PurePosixPath(urlsplit(source).path).stem, source=source, kind="registry")
    return clone(source, into)


def copy_folder(folder: Path, into: Path) -> None:
    """Copy a folder, without links, hidden files and backups, within the limits."""
    if not (folder / FILE).is_file():
        raise CcrError(f"there is no {FILE} in {folder}")
    count = size = 0
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in [*folders, *sorted(names)]:
            path = Path(root) / name
            if path.is_symlink():
                raise CcrError(f"{path} is a link; a preset holds its files itself")
        for name in sorted(names):
            path = Path(root) / name
            if name.startswith(".") or name.endswith(".bak"):
                continue
            mode = path.lstat()
            if not stat.S_ISREG(mode.st_mode):
                raise CcrError(f"{path} is no plain file")
            count, size = count + 1, size + mode.st_size
            _within(count, size, str(folder))
            _write(into / path.relative_to(folder), path.read_bytes(), bool(mode.st_mode & 0o100))


def unpack(data: bytes, into: Path, name: str) -> None:
    """Unpack a zip file, of which a single folder around everything is left out; everything is checked before."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CcrError(f"{name} is no usable zip file: {error}") from error
    with archive:
        plain = [entry for entry in entries if not entry.is_dir()]
        _within(len(entries), sum(entry.file_size for entry in plain), name)
        paths = [_checked(entry, name) for entry in plain]
        root = _root(paths, name)
        seen: set[str] = set()
        total = 0
        for entry, path in zip(plain, paths, strict=True):
            if root and path.parts[0] != root:
                continue
            inner = PurePosixPath(*path.parts[1:]) if root else path
            key = str(inner).casefold()
            if key in seen:
                raise CcrError(f"{name} has {inner} twice")
            seen.add(key)
            if any(part.startswith(".") for part in inner.parts):
                continue
            try:
                with archive.open(entry) as stream:
                    content = stream.read(MOST_BYTES - total + 1)  # what the list says of sizes may be wrong
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError) as error:
                raise CcrError(f"{name}: cannot read {inner}: {error}") from error
            total += len(content)
            _within(len(seen), total, name)
            try:
                _write(into / inner, content, bool(entry.external_attr >> 16 & 0o100))
            except (FileExistsError, IsADirectoryError, NotADirectoryError, ValueError):
                raise CcrError(f"{name}: {inner} cannot be unpacked: a name is a file and a folder") from None
            except OSError as error:
                raise CcrError(f"{name}: cannot write {str(inner)[:80]}: {error.strerror or error}") from error


def _checked(entry: zipfile.ZipInfo, name: str) -> PurePosixPath:
    """The path of an entry; ``CcrError`` if it leads out of the folder, or is a link or something encrypted."""
    raw = entry.filename
    path = PurePosixPath(raw)
    if "\\" in entry.orig_filename or "\0" in entry.orig_filename or ":" in raw:
        raise CcrError(f"{name} has a file with the name {entry.orig_filename!r}; that is not safe")
    if path.is_absolute() or not path.parts or any(part == ".." for part in raw.split("/")):
        raise CcrError(f"{name} has a file {raw!r} that would be outside of the preset")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise CcrError(f"{name}: {raw} is a link or no plain file; a preset holds its files itself")
    if entry.flag_bits & 1:
        raise CcrError(f"{name}: {raw} is encrypted")
    return path


def _root(paths: Sequence[PurePosixPath], name: str) -> str:
    """The folder in a zip file that holds the manifest; empty if that is at the top."""
    if PurePosixPath(FILE) in paths:
        return ""
    roots = {path.parts[0] for path in paths if len(path.parts) > 1}
    if len(roots) == 1 and PurePosixPath(next(iter(roots)), FILE) in paths:
        return roots.pop()
    raise CcrError(f"there is no {FILE} in {name}")


def _within(count: int, size: int, name: str) -> None:
    if count > MOST_FILES:
        raise CcrError(f"{name} has more than {MOST_FILES} files; that is no preset")
    if size > MOST_BYTES:
        raise CcrError(f"{name} holds more than {MOST_BYTES >> 20} MB; that is no preset")


def _write(path: Path, content: bytes, executable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700 if executable else 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def clone(source: str, into: Path) -> Fetched:
    """Get the files of a Git repository, without its history, submodules and hooks."""
    import tempfile

    url = source.removeprefix("git+")
    if url.startswith("-") or "::" in url.partition("/")[0]:
        raise CcrError(f"{source!r} is no address of a Git repository")
    url, _, branch = url.partition("#")
    program = shutil.which("git")
    if program is None:
        raise CcrError("git was not found; install it, or give the preset as a folder or a zip file")
    options = [
        *("-c", "protocol.ext.allow=never"),
        *("-c", "core.hooksPath=/dev/null"),
        *("-c", "filter.lfs.smudge=cat"),
    ]
    words = ["clone", "--quiet", "--depth", "1", "--no-tags", "--single-branch"]
    with tempfile.TemporaryDirectory(prefix="ccr-preset-") as folder:
        copy = Path(folder) / "repository"
        try:
            done = subprocess.run(
                [program, *options, *words, *(["--branch", branch] if branch else []), "--", url, str(copy)],
                env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TOTAL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CcrError(f"git did not get {url} within {TOTAL_SECONDS:g} s") from None
        if done.returncode:
            raise CcrError(f"git cannot get {url}: {done.stderr.strip() or done.returncode}")
        copy_folder(copy, into)
    name = PurePosixPath(urlsplit(url).path or url.rpartition(":")[2]).name.removesuffix(".git")
    return Fetched(name=name, source=source, kind="registry", repository=url)


def download(url: str, proxy: str | None = None) -> bytes:
    """What is at an address: by HTTPS, or HTTP on this machine, redirected nowhere else; ``CcrError`` if that fails,
    or takes longer than :data:`TOTAL_SECONDS`."""
    import threading
    from concurrent.futures import Future

    # The library limits each wait alone, and a server could answer a byte at a time for ever, in the head as well.
    found: Future[bytes] = Future()
    given_up = threading.Event()

    def run(found: Future[bytes]) -> None:
        try:
            found.set_result(_download(url, proxy, given_up))
        except BaseException as error:
            found.set_exception(error)
            del found  # else it and the error, with an open connection, would hold each other

    threading.Thread(target=run, args=(found,), name="ccr-download", daemon=True).start()
    try:
        return found.result(TOTAL_SECONDS)
    except TimeoutError:
        given_up.set()
        raise CcrError(f"{url} did not come within {TOTAL_SECONDS:g} s; try again, or download it yourself") from None
    finally:
        del found


def _download(url: str, proxy: str | None, given_up: threading.Event) -> bytes:
    """:func:`download`, which ends when nobody waits for it any more."""
    import http.client
    import urllib.error
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            _safe(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    _safe(url)
    own = _is_local(url)
    proxies = {} if own else {"http": proxy, "https": proxy} if proxy else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), Redirects())
    try:
        request = urllib.request.Request(url, headers={"user-agent": "ccr"})
        with opener.open(request, timeout=SECONDS) as answer:
            whole, data = answer.length or 0, bytearray()
            while len(data) <= MOST_DOWNLOAD and not given_up.is_set() and (piece := answer.read1(PIECE)):
                data += piece
    except urllib.error.HTTPError as error:
        raise CcrError(f"cannot get {url}: status {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise CcrError(f"cannot get {url}: {getattr(reason, 'strerror', None) or reason}") from error
    if len(data) > MOST_DOWNLOAD:
        raise CcrError(f"{url} is larger than {MOST_DOWNLOAD >> 20} MB; that is no preset")
    if len(data) < whole:
        raise CcrError(f"cannot get {url}: it was cut off")
    return bytes(data)


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _safe(url: str) -> None:
    scheme = urlsplit(url).scheme
    if scheme != "https" and not (scheme == "http" and _is_local(url)):
        raise CcrError(f"{url} is not fetched: only https:// is safe")


def market(index: str | None = None, proxy: str | None = None) -> list[Listed]:
    """The presets of the marketplace; what in its list has no name is left out."""
    url = index or os.environ.get("CCR_PRESET_INDEX") or INDEX
    try:
        data = json.loads(download(url, proxy))
    except ValueError as error:
        raise CcrError(f"{url} is no list of presets: {error}") from error
    if not isinstance(data, list):
        raise CcrError(f"{url} is no list of presets")
    return [
        Listed(id=str(each.get("id") or each["name"]), name=str(each["name"]), data=each)
        for each in data
        if isinstance(each, Mapping) and each.get("name")
    ]


def pick(entries: Sequence[Listed], wanted: str) -> Listed:
    """The entry with this id, else this name, else this name in other letters; ``CcrError`` if there is none."""
    import difflib

    for fits in (
        lambda each: each.id == wanted,
        lambda each: each.name == wanted,
        lambda each: each.name.lower() == wanted.lower(),
    ):
        found = next(filter(fits, entries), None)
        if found is not None:
            return found
    near = difflib.get_close_matches(wanted, [each.name for each in entries], 3, 0.5)
    raise CcrError(
        f'the marketplace has no preset "{wanted}"' + (f"; did you mean {' or '.join(near)}?" if near else "")
    )


def from_market(entry: Listed, into: Path, proxy: str | None = None) -> Fetched:
    """Put a preset of the marketplace into ``into``; its checksum, if the list has one, must be right."""
    url = entry.address
    data = download(url, proxy)
    wanted = str(entry.data.get("checksum") or "").lower().removeprefix("sha256:")
    if wanted and hashlib.sha256(data).hexdigest() != wanted:
        raise CcrError(f"{url} has not the checksum that the marketplace says; it is not installed")
    unpack(data, into, url)
    repository = entry.data.get("repo")
    return Fetched(
        name=entry.name,
        source=url,
        kind="registry",
        repository=f"https://github.com/{github(str(repository))}" if repository else None,
    )
