"""What the operations work with: the running application, and the one way in which its configuration is changed.

A change is made to the text of the file, looked at as a whole (:mod:`ccr_core.api.guard`, the reader of the
configuration, the plugins), written with a copy kept, and taken up at once.  Whoever made it for another state of the
file than the present one is told so, and nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from ccr_core import config_edit, plugins
from ccr_core.api import guard
from ccr_core.api.masks import MASK, masked, secrets
from ccr_core.api.operation import Refused, refuse
from ccr_core.config import (
    Config,
    Document,
    PathProblem,
    Problem,
    Problems,
    find,
    from_document,
    nearest_place,
    parse,
    proxy_change,
    read_text,
)
from ccr_core.errors import ConfigError
from ccr_core.messages import JSON
from ccr_core.plugins import Registry
from ccr_core.runtime import Provider, Runtime, build

if TYPE_CHECKING:
    from ccr_core.server import App


@attrs.frozen
class Draft:
    """The configuration file as it is now."""

    path: Path
    text: str

    @property
    def version(self) -> str:
        """What tells this text from any other."""
        return config_edit.version_of(self.text)

    @property
    def syntax(self) -> str:
        """``json5`` or ``toml``."""
        return "toml" if self.path.suffix == ".toml" else "json5"

    def document(self) -> Document:
        """The text, parsed; ``ConfigError`` if that is not possible."""
        return parse(self.text, self.path)

    def data(self) -> dict[str, Any]:
        """The data in it, of which no key may be there twice."""
        document = self.document()
        Problems(list(document.repeated)).raise_if_any(self.path)
        return document.data


@attrs.frozen
class Made:
    """A text, put together with the plugins."""

    config: Config
    runtime: Runtime


class Desk:
    """The application, and what operations keep between requests."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.kept: dict[Any, Any] = {}
        """What a module of operations keeps for itself, by a key of its own."""

        self.bound = (app.engine.runtime.config.host, app.engine.runtime.config.port)
        """``HOST`` and ``PORT`` as they were when the router started, or the API was first used."""

        self._lock = asyncio.Lock()
        self._made: tuple[str, Runtime] | None = None

    @property
    def runtime(self) -> Runtime:
        """What serves requests now."""
        return self.app.engine.runtime

    @property
    def registry(self) -> Registry:
        """The plugins that are loaded."""
        return self.runtime.registry

    def draft(self) -> Draft:
        """The configuration file as it is now."""
        path = self.runtime.config.source or find().path
        if path is None:
            raise Refused("there is no configuration file; ccr start writes a first one", 409)
        return Draft(path, read_text(path))

    def present(self) -> tuple[Draft, Runtime]:
        """The file, and what it means: the running router's own view of it, or that of what is written meanwhile.

        A file that cannot be used leaves the running one.
        """
        draft = self.draft()
        running = self.runtime
        try:
            document = draft.document()
            if document.data == running.config.raw:
                return draft, running
            if self._made is None or self._made[0] != draft.version:
                self._made = draft.version, self.made(draft.text, draft.path).runtime
            return draft, self._made[1]
        except ConfigError:
            return draft, running

    def provider(self, name: str) -> Provider:
        """A provider that requests may go to; :class:`Refused` with the known ones if there is none."""
        known = self.runtime.providers
        found = known.get(name) or next((each for key, each in known.items() if key.lower() == name.lower()), None)
        if found is None:
            raise Refused(f"there is no provider {name!r} in use; there are: {', '.join(known) or 'none'}", 404)
        return found

    def clean(self, value: Any) -> Any:
        """Plain data without any secret of the configuration, wherever it may stand in it."""
        text = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        return orjson.loads(cleaned(text, self.runtime.config))

    # What a text means.

    def made(self, text: str, path: Path, shown: str | None = None, paths: Collection[str] | None = None) -> Made:
        """Put a text together with the plugins; ``ConfigError`` with every problem and its place in this text.

        ``shown`` is the same text as somebody sees it, with masks in it: then the places are in that.  ``paths`` are
        the only ones that its options may hold (absent: any).
        """
        try:
            document = parse(text, path)
            config = from_document(document.data, source=path, repeated=document.repeated)
            return Made(config, build(config, self._plugins(config), watch=False, paths=paths))
        except ConfigError as error:
            raise ConfigError(error.message, placed(error, shown or text, path)) from None

    def _plugins(self, config: Config) -> Registry:
        if set(config.disabled_plugins) == set(self.runtime.config.disabled_plugins):
            return self.registry
        return plugins.load(disabled=config.disabled_plugins)

    # Changes.

    async def save(
        self, version: str, change: Callable[[Draft], str], accept_host: bool = False, shown: str | None = None
    ) -> JSON:
        """Let ``change`` make the new text, check it, write it, and take it up.

        Gives ``version``, ``applied``, ``reason`` and ``warnings``.  Raises :class:`Refused`: 409 if ``version`` is
        not that of the file, 403 for what only the owner of the machine may do, 400 with all problems.
        """
        async with self._lock:
            before = self.runtime.config.proxy_url
            written, made = await asyncio.to_thread(self._write, version, change, accept_host, shown)
            proxy = proxy_change(before, made.config.proxy_url)
            applied, reason = await self._taken_up(made.config)
        warnings = [*made.runtime.warnings, *([proxy] if proxy else [])]
        return {"version": written, "applied": applied, "reason": reason, "warnings": warnings}

    def _write(
        self, version: str, change: Callable[[Draft], str], accept_host: bool, shown: str | None
    ) -> tuple[str, Made]:
        draft = self.draft()
        if version != draft.version:
            raise conflict(draft)
        text, made = self.checked(draft, change, accept_host, shown)
        try:
            return config_edit.replace(draft.path, draft.text, text), made
        except config_edit.Conflict:
            raise conflict(self.draft()) from None

    def checked(
        self, draft: Draft, change: Callable[[Draft], str], accept_host: bool, shown: str | None = None
    ) -> tuple[str, Made]:
        """The new text and what it means, after every check; raises as :meth:`save` does."""
        try:
            text = change(draft)
            after = parse(text, draft.path).data
        except ConfigError as error:
            raise refuse(error.problems or [Problem("", error.message)]) from None
        try:
            before = draft.document().data
        except ConfigError:
            before = dict(self.runtime.config.raw)  # the last one that could be used
        denied = guard.denied(before, after)
        if denied:
            raise refuse(with_places(denied, shown or text, draft.path), 403, kind="permission_error")
        try:
            made = self.made(text, draft.path, shown, self.present()[1].paths)
        except ConfigError as error:
            raise refused(error) from None
        hosts = [] if accept_host else guard.new_hosts(before, after, self.runtime, made.runtime)
        if hosts:
            raise refuse(with_places(hosts, shown or text, draft.path), accept_host=True)
        return text, made

    async def _taken_up(self, config: Config) -> tuple[bool, str | None]:
        reload = self.app.reload
        if reload is None:
            return False, "this router does not follow its files; restart it: ccr restart"
        if not await reload.now():
            return False, cleaned(reload.problem or "", config)
        now = self.runtime.config
        if self.bound != (now.host, now.port):
            return True, "HOST and PORT count from the next start on: ccr restart"
        return True, None


def refused(error: ConfigError, end: str = "nothing was changed") -> Refused:
    """The error for a configuration that cannot be used: forbidden, if it holds a path that is not there already;
    ``end`` says what to do then."""
    problems = error.problems or [Problem("", error.message)]
    paths = [each for each in problems if isinstance(each, PathProblem)]
    return refuse(paths, 403, end, kind="permission_error") if paths else refuse(problems)


def conflict(draft: Draft) -> Refused:
    """The error for a change that was made for another state of the file."""
    return Refused(
        f"{draft.path} was changed by someone else meanwhile; load it again and repeat the change",
        409,
        kind="conflict",
        version=draft.version,
    )


def placed(error: ConfigError, text: str, path: Path) -> list[Problem]:
    """The problems of an error, with their places in ``text``."""
    return with_places(error.problems or [Problem("", error.message)], text, path)


def with_places(problems: Sequence[Problem], text: str, path: Path) -> list[Problem]:
    """Problems with line and column, as far as the text tells."""
    try:
        known = config_edit.places_in(text, path)
    except ConfigError:
        known = {}
    found = []
    for each in problems:
        place = nearest_place(known, each.path) if each.line is None else None
        found.append(attrs.evolve(each, line=place[0], column=place[1]) if place is not None else each)
    return found


def cleaned(text: str, config: Config) -> str:
    """``text`` without the secrets of a configuration, also those of the environment.

    One that is a word of the configuration elsewhere, as in ``"name": "ollama", "api_key": "ollama"``, is none.
    """
    words = orjson.dumps(masked(config.resolved), default=str).decode()
    found = {each for each in (*secrets(config.raw), *secrets(config.resolved)) if each not in words}
    for secret in sorted(found, key=len, reverse=True):
        if len(secret) >= 6:
            text = text.replace(secret, MASK).replace(orjson.dumps(secret).decode()[1:-1], MASK)
    return text
