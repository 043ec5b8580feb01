"""How the files of the web UI are served, and what they may and may not hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_ui
import pytest
from ccr_plugin_ui.site import POLICY, TYPES, WEB, Site, read

from ccr_core import PageSpec

BUDGET = 200_000
NODE = shutil.which("node") or ""
FILES = sorted(path for path in WEB.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]


def get(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """What the site answers."""
    given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    status, got, content = Site().answer(method, path, given)
    return status, {name.decode(): value.decode() for name, value in got}, content


def table(language: str) -> dict[str, str]:
    """The texts of a language: the module is JSON behind `export default`."""
    text = (WEB / f"{language}.js").read_text("utf-8").partition("export default")[2]
    groups: dict[str, str | dict[str, str]] = json.loads(text)
    texts = {name: {"": value} if isinstance(value, str) else value for name, value in groups.items()}
    return {f"{group}.{name}".rstrip("."): text for group, names in texts.items() for name, text in names.items()}


def test_hook() -> None:
    """The plugin offers one page, which everyone may load: it holds no data."""
    assert [("ui", "/ui", "open", True)] == [
        (page.name, page.mount, page.access, page.default) for page in ccr_plugin_ui.ccr_pages()
    ]


@pytest.mark.parametrize("path", ["/ui/", "/ui/index.html"])
def test_index(path: str) -> None:
    """The page comes with the policy that keeps everything else out."""
    status, headers, content = get(path)

    assert 200 == status
    assert (WEB / "index.html").read_bytes() == content
    assert {
        "content-type": "text/html; charset=utf-8",
        "content-length": str(len(content)),
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "cache-control": "no-cache",
    }.items() <= headers.items()


def test_policy() -> None:
    """Nothing but this router's own scripts, styles, pictures and data; no frames, forms or bases."""
    rules = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))

    assert {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    } == rules


def test_slash_is_added() -> None:
    """The address without a slash leads to the one with it, on which relative addresses rest."""
    status, headers, _ = get("/ui")

    assert (308, "/ui/") == (status, headers["location"])


def test_unchanged_is_not_sent_again() -> None:
    """A browser that has the file is told so; one with an older file gets the new one."""
    _, headers, content = get("/ui/app.js")

    assert (304, b"") == get("/ui/app.js", if_none_match=f'"other", W/{headers["etag"]}')[::2]
    assert (200, content) == get("/ui/app.js", if_none_match='"other"')[::2]


def test_head_has_no_body() -> None:
    """HEAD is answered as GET, without the content."""
    _, expected, content = get("/ui/app.css")
    status, headers, body = get("/ui/app.css", "HEAD")

    assert (200, expected, b"") == (status, headers, body)
    assert str(len(content)) == headers["content-length"]


@pytest.mark.parametrize(
    "path",
    [
        "/ui/../site.py",
        "/ui/../../ccr_plugin_ui/site.py",
        "/ui/..%2fsite.py",
        "/ui//etc/passwd",
        "/ui/./app.js",
        "/ui/views/../app.js",
        "/ui/app.js/",
        "/ui/views",
        "/ui/py.typed",
        "/uix/app.js",
        "/app.js",
        "/ui/app.js\0",
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    """Only the names of the table are answered: no other folder, no listing, no near miss."""
    assert 404 == get(path)[0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(method: str) -> None:
    """Files are read, never written."""
    status, headers, _ = get("/ui/", method)

    assert (405, "GET, HEAD") == (status, headers["allow"])


@attrs.frozen
class Offered:
    """A page of another plugin, as the router tells of it."""

    spec: PageSpec


class Router:
    """A router in which one more plugin has a page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pages(self) -> list[Any]:
        """Two pages, one of them with files."""
        return [Offered(PageSpec(name="ui")), Offered(PageSpec(name="weather", files=str(self.folder)))]


def test_files_of_other_plugins(tmp_path: Path) -> None:
    """They are served from the folder that the plugin names, and from nowhere else."""
    folder = tmp_path / "weather"
    (folder / "inner").mkdir(parents=True)
    for path in (folder / "index.js", folder / "inner" / "more.css", folder / "secret.py", tmp_path / "outside.js"):
        path.write_text(path.name)
    (folder / "link.js").symlink_to(tmp_path / "outside.js")
    site = Site(Router(folder))  # type: ignore[arg-type]

    asked = {
        path: site.answer("GET", f"/ui/pages/{path}", {}) for path in ("weather/index.js", "weather/inner/more.css")
    }
    assert {"weather/index.js": b"index.js", "weather/inner/more.css": b"more.css"} == {
        path: content for path, (_, _, content) in asked.items()
    }
    assert POLICY.encode() == dict(asked["weather/index.js"][1])[b"content-security-policy"]
    wrong = (
        "weather/secret.py",
        "weather/link.js",
        "weather/../outside.js",
        "weather/",
        "weather",
        "ui/index.html",
        "",
    )
    assert {404} == {site.answer("GET", f"/ui/pages/{path}", {})[0] for path in wrong}


def test_only_known_kinds_are_in_the_folder() -> None:
    """Whatever is in the folder is served, with the right type."""
    assert {path.relative_to(WEB).as_posix() for path in FILES} | {""} == set(read())
    assert set() == {path.suffix for path in FILES} - set(TYPES)


def test_size() -> None:
    """All files together are under 200 kB, as they are."""
    assert BUDGET > sum(path.stat().st_size for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    """No file names another server; names of XML and of the services' documentation are no addresses to load."""
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")

    assert [] == re.findall(r"""(?:https?:)?//[\w-]+\.[\w.-]+[^\s'"`]*""", re.sub(r"^\s*//.*$", "", text, flags=re.M))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_markup_and_no_code_from_text(path: Path) -> None:
    """Texts of requests, plugins and files are shown as text: nothing is parsed as HTML or run as code."""
    banned = r"(?:inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\bstyle: ['`]"

    assert [] == re.findall(banned, path.read_text("utf-8"))


def test_no_inline_script_or_style() -> None:
    """The policy would not let them run."""
    text = (WEB / "index.html").read_text("utf-8")

    assert [] == re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("path", SCRIPTS if NODE else [], ids=lambda path: path.name)
def test_syntax(path: Path, tmp_path: Path) -> None:
    """Every module can be parsed (where there is no node, the tests in a browser find out)."""
    module = tmp_path / f"{path.stem}.mjs"
    module.write_bytes(path.read_bytes())
    done = subprocess.run([NODE, "--check", str(module)], capture_output=True, text=True, timeout=60, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_languages_have_the_same_keys() -> None:
    """A text that one language has, the other has, with the same places for values."""
    english, chinese = table("en"), table("zh")

    assert sorted(english) == sorted(chinese)
    assert {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in english.items()} == {
        key: sorted(re.findall(r"\{\w+\}", text)) for key, text in chinese.items()
    }


def test_every_text_is_in_the_table() -> None:
    """Whatever the page asks a text for is there, and nothing is there for nobody."""
    source = "\n".join(path.read_text("utf-8") for path in SCRIPTS if path.stem not in ("en", "zh"))
    asked = {*re.findall(r"\b(?:t|known)\('([^']+)'", source), *re.findall(r"'(nav\.[a-z-]+)'", source)}
    asked |= {key for pair in re.findall(r"\bt\(\w[\w. !&|]* \? '([\w.-]+)' : '([\w.-]+)'", source) for key in pair}
    beginnings = tuple(each for each in re.findall(r"\b(?:t|known)\(`([^`$]+)\$", source))
    keys = set(table("en"))

    assert set() == asked - keys
    assert [] == sorted(key for key in keys - asked if not key.startswith(beginnings))
