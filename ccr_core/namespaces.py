"""Presets in service: ``/preset/<name>/v1/messages`` and so on, each with a runtime and an engine of its own.

Rules: what is the router's own (address, key, observers, limits, proxy unless the preset has one) is that of the main
configuration; providers, routes and transformers are the preset's, and those of the main configuration only where a
preset has no providers at all.  A preset that cannot be used is told as such and hurts nobody else; one whose files
change is built anew while the former goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from ccr_core import presets
from ccr_core.config import Config, from_document
from ccr_core.engine import Engine
from ccr_core.errors import CcrError, ConfigError
from ccr_core.observe import Observation, Watch
from ccr_core.reload import SECONDS, SETTLED, Stamp, pause, stamps
from ccr_core.runtime import Runtime, build, files_of
from ccr_core.upstream import Sender

log = logging.getLogger("ccr.presets")

OWN = frozenset(
    {
        *("Providers", "providers", "Router", "router", "transformers", "transformer", "fallback", "StatusLine"),
        *("CUSTOM_ROUTER_PATH", "REWRITE_SYSTEM_PROMPT", "forceUseImageAgent", "plugins", "Plugins"),
        *presets.NOT_OURS,
    }
)
"""Keys of the main configuration that a preset does not take over."""

PROXIES = ("HTTPS_PROXY", "https_proxy", "httpsProxy", "PROXY_URL")


def document(manifest: presets.Manifest, main: Config) -> dict[str, Any]:
    """The configuration of a preset, completed by what it takes over from the main one."""
    own = {key: value for key, value in manifest.document().items() if key not in (*presets.CLIENT, *presets.NOT_OURS)}
    taken = {key: value for key, value in main.raw.items() if key not in OWN and key not in own}
    if any(own.get(key) for key in PROXIES):
        taken = {key: value for key, value in taken.items() if key not in PROXIES}
    if not own.get("Providers") and not own.get("providers"):
        taken["Providers"] = main.raw.get("Providers") or main.raw.get("providers") or []
        folder = main.source.parent if main.source else Path()
        paths = [
            {**entry, "path": str(folder / Path(entry["path"]).expanduser())}
            for entry in main.raw.get("transformers") or ()
        ]
        taken["transformers"] = [*paths, *own.pop("transformers", [])]
        if "transformer" in main.raw and "transformer" not in own:
            taken["transformer"] = main.raw["transformer"]
    return {**taken, **own}


def configuration(manifest: presets.Manifest, main: Config) -> Config:
    """The checked configuration of a preset; ``ConfigError`` if it cannot be used, or answers are missing."""
    faults = manifest.faults(manifest.values)
    if faults:
        raise ConfigError(f"{'; '.join(faults)}; to answer: ccr preset install {manifest.name}")
    config = from_document(document(manifest, main), source=manifest.path)
    return attrs.evolve(config, apikey=main.apikey, host=main.host, port=main.port)


class Shared(Watch):
    """The watch of the main runtime, which alone ends it."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def wants(self, kind: type) -> bool:
        return self._watch.wants(kind)

    def tell(self, observation: Observation) -> None:
        self._watch.tell(observation)

    def close(self) -> None:
        """Nothing: the main runtime's end is the observers' end."""


@attrs.define
class Space:
    """A preset in service, or the reason why it is not; ``files`` are those that it was made from."""

    files: dict[Path, Stamp | None]
    engine: Engine | None = None
    problem: str | None = None
    sender: Sender | None = None
    """A sender of its own, where it has a proxy of its own."""


class Namespaces:
    """The presets of a folder, beside the engine ``main``.

    ``connect`` makes a sender for a configuration whose network settings differ from the main one's.
    """

    def __init__(self, folder: Path | None, main: Engine, connect: Callable[[Config, Config], Sender | None]) -> None:
        self.folder = folder
        self.main = main
        self.spaces: dict[str, Space] = {}
        self.on_engine: Callable[[str, Engine | None], None] | None = None
        """Called with each engine that is new, and with ``None`` for one that is gone."""
        self.on_change: Callable[[], None] | None = None
        """Called when presets were taken into service or out of it."""
        self._soon = asyncio.Event()
        self._connect = connect
        self._old: set[str] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def engine(self, name: str) -> Engine:
        """The engine of a preset; ``ConfigError`` with the reason if it is not in service."""
        space = self.spaces.get(name)
        if space is None:
            raise ConfigError(f"there is no preset {name!r}; installed: {', '.join(self.spaces) or 'none'}")
        if space.engine is None:
            raise ConfigError(f"the preset {name} cannot be used: {space.problem}")
        return space.engine

    def load(self) -> None:
        """Build all presets now, before anything is served."""
        for name, files in self._found().items():
            self._use(name, files, *self._build(name, files, self.main.runtime))

    async def run(self, seconds: float = SECONDS) -> None:
        """Look at the presets for ever."""
        while True:
            await pause(self._soon, seconds)
            await self.look()

    def soon(self) -> None:
        """Look now: somebody knows that something has changed."""
        self._soon.set()

    async def look(self) -> bool:
        """Take presets that are new or changed into service and those that are gone out of it; whether any was."""
        found = self._found()
        gone = [name for name in self.spaces if name not in found]
        changed = [name for name, files in found.items() if name in self._old or self._differs(name, files)]
        if changed and any(name not in self._old for name in changed):
            await asyncio.sleep(SETTLED)
            now = self._found()
            changed = [name for name in changed if now.get(name) == found[name]]
        for name in gone:
            self._drop(name)
            log.info("the preset %s is gone", name)
        for name in changed:
            main = self.main.runtime
            built = await asyncio.to_thread(self._build, name, found[name], main)
            self._use(name, found[name], *built)
            if main is self.main.runtime:
                self._old.discard(name)
        if (gone or changed) and self.on_change is not None:
            self.on_change()
        return bool(gone or changed)

    def follow(self) -> None:
        """The main runtime is another one now: its observers are used from here on, the rest follows at a look."""
        shared = Shared(self.main.runtime.watch)
        for name, space in self.spaces.items():
            self._old.add(name)
            if space.engine is not None:
                space.engine.swap(attrs.evolve(space.engine.runtime, watch=shared))
                if space.sender is None:
                    space.engine.sender = self.main.sender

    async def close(self) -> None:
        """Close the connections of presets with a proxy of their own."""
        for space in self.spaces.values():
            if space.sender is not None:
                await space.sender.aclose()
        for task in self._closing:
            await task

    def to_json(self) -> dict[str, Any]:
        """How each preset stands, for ``GET /api/status``."""
        return {
            name: {
                "problem": space.problem,
                "providers": {each: list(models) for each, models in space.engine.runtime.models.items()}
                if space.engine
                else {},
                "default": space.engine.runtime.config.router.default if space.engine else None,
            }
            for name, space in self.spaces.items()
        }

    def _found(self) -> dict[str, dict[Path, Stamp | None]]:
        """The files of every installed preset with their stamps: the manifest, and what the one in use was made of."""
        if self.folder is None:
            return {}
        found = {}
        with contextlib.suppress(OSError):
            for name in presets.installed(self.folder.parent):
                known = self.spaces.get(name)
                manifest = self.folder / name / presets.FILE
                found[name] = stamps(known.files if known is not None and manifest in known.files else [manifest])
        return found

    def _differs(self, name: str, files: Mapping[Path, Stamp | None]) -> bool:
        return name not in self.spaces or self.spaces[name].files != files

    def _build(
        self, name: str, files: dict[Path, Stamp | None], main: Runtime
    ) -> tuple[Runtime | None, str | None, Iterable[Path]]:
        """The runtime of a preset, or what is wrong with it, and the files that it is made from."""
        assert self.folder is not None
        more: Iterable[Path] = ()
        try:
            manifest = presets.read(self.folder / name)
            config = configuration(manifest, main.config)
            more = files_of(config)
            return attrs.evolve(build(config, main.registry, watch=False), watch=Shared(main.watch)), None, more
        except CcrError as error:
            return None, error.message, more
        except Exception as error:
            return None, f"{type(error).__name__}: {error}", more

    def _use(
        self,
        name: str,
        files: dict[Path, Stamp | None],
        runtime: Runtime | None,
        problem: str | None,
        more: Iterable[Path],
    ) -> None:
        space = self.spaces.get(name)
        seen = {**stamps(path for path in more if path not in files), **files}
        if problem is not None:
            kept = space is not None and space.engine is not None
            log.warning("the preset %s %s: %s", name, "stays as it was" if kept else "cannot be used", problem)
        if runtime is None:
            if space is None:
                self.spaces[name] = Space(files=seen, problem=problem)
            else:
                space.files, space.problem = seen, problem
            return
        for warning in runtime.warnings:
            log.info("the preset %s: %s", name, warning)
        if space is None:
            space = self.spaces[name] = Space(files=seen)
        # What was read meanwhile may be older than the main runtime that is in use by now.
        runtime = attrs.evolve(runtime, watch=Shared(self.main.runtime.watch))
        old, space.sender = space.sender, self._connect(runtime.config, self.main.runtime.config)
        self._end(old)
        sender = space.sender or self.main.sender
        if space.engine is None:
            space.engine = Engine(runtime, sender)
            if self.on_engine is not None:
                self.on_engine(name, space.engine)
        else:
            space.engine.swap(runtime)
            space.engine.sender = sender
        space.files, space.problem = seen, None
        log.info("the preset %s is served at /preset/%s", name, name)

    def _drop(self, name: str) -> None:
        self._end(self.spaces.pop(name).sender)
        self._old.discard(name)
        if self.on_engine is not None:
            self.on_engine(name, None)

    def _end(self, sender: Sender | None) -> None:
        """Close a sender's idle connections; replies under way keep theirs."""
        if sender is not None:
            task = asyncio.ensure_future(sender.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
