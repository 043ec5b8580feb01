"""Serving the files of the page, and nothing else.

Rules of this module:

* what can be asked for is a table made from the package's own folder when it is first needed: a path is looked up in
  it and never joined to a folder, so there is no way out of it;
* every answer has the policy that lets the page load scripts, styles and data from this router only;
* files are kept in memory (they are small) and have an entity tag, so a browser asks each time and is told "unchanged";
  an upgraded router can never be mixed with an old page;
* below ``pages/<name>/`` are the files that other plugins bring for their pages, each out of its own folder only, read
  anew each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import attrs

from ccr_core import Running

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WEB = Path(__file__).with_name("web")
"""Where the files are."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy: nothing from elsewhere, nothing inline, nobody's frame."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
}
"""What is served; a file of another kind in the folder is not."""


@attrs.frozen
class Asset:
    """A file as it is sent."""

    content: bytes
    type: str
    tag: str


def read(folder: Path = WEB) -> dict[str, Asset]:
    """Every file of the page by its path below the page's address; ``index.html`` is also the empty path."""
    assets = {name: load(file) for name, file in files(folder)}
    assets[""] = assets["index.html"]
    return assets


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files in ``folder`` that may be served, with their paths in it; nothing that a link leads to elsewhere."""
    root = folder.resolve()
    for file in sorted(root.rglob("*")):
        if file.suffix in TYPES and file.is_file() and file.resolve().is_relative_to(root):
            yield file.relative_to(root).as_posix(), file


def load(file: Path) -> Asset:
    """A file as it is sent."""
    content = file.read_bytes()
    return Asset(content, TYPES[file.suffix], f'"{hashlib.sha256(content).hexdigest()[:24]}"')


class Site:
    """The page as an ASGI application below the path ``base``; ``router`` knows the pages of other plugins."""

    def __init__(self, router: Running | None = None, base: str = "/ui", folder: Path = WEB) -> None:
        self._router = router
        self._base = base
        self._folder = folder
        self._assets: Mapping[str, Asset] | None = None

    def _of_plugin(self, path: str) -> Asset | None:
        """A file that another plugin brings: ``<page>/<path in its folder>``."""
        name, _, wanted = path.partition("/")
        for page in self._router.pages() if self._router is not None else ():
            if page.spec.name == name and page.spec.files:
                return next((load(file) for known, file in files(Path(page.spec.files)) if known == wanted), None)
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for a file."""
        if scope["type"] != "http":
            return
        status, headers, content = self.answer(scope["method"], scope["path"], dict(scope["headers"]))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def answer(
        self, method: str, path: str, headers: Mapping[bytes, bytes]
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body for a request; ``headers`` are those of the request, names in lower case."""
        if method not in ("GET", "HEAD"):
            return _plain(405, b"only GET and HEAD\n", (b"allow", b"GET, HEAD"))
        if path == self._base:
            return _plain(308, b"", (b"location", f"{self._base}/".encode()))
        if self._assets is None:
            self._assets = read(self._folder)
        inner = path.removeprefix(f"{self._base}/")
        asset = self._of_plugin(inner[6:]) if inner.startswith("pages/") else self._assets.get(inner)
        if asset is None or not path.startswith(f"{self._base}/"):
            return _plain(404, b"there is no such page\n")
        tag = asset.tag.encode()
        common = [
            (b"etag", tag),
            (b"cache-control", b"no-cache"),
            (b"content-security-policy", POLICY.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]
        known = [each.strip().removeprefix(b"W/") for each in headers.get(b"if-none-match", b"").split(b",")]
        if tag in known:
            return 304, common, b""
        common += [(b"content-type", asset.type.encode()), (b"content-length", b"%d" % len(asset.content))]
        return 200, common, b"" if method == "HEAD" else asset.content


def _plain(status: int, text: bytes, *more: tuple[bytes, bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return (
        status,
        [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"content-security-policy", POLICY.encode()),
            (b"x-content-type-options", b"nosniff"),
            *more,
        ],
        text,
    )
