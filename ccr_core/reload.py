"""Taking changes of the user's files into service while requests run.

Once a second the files that the runtime was made from are looked at.  When one has changed, a new runtime is built
beside the running one and takes its place; streams under way finish on the old one.  If it cannot be built the old
one stays, and the reason is in the log and in ``GET /api/status``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs

from ccr_core.config import Config
from ccr_core.errors import CcrError
from ccr_core.plugins import Registry
from ccr_core.runtime import Runtime, build, files_of

log = logging.getLogger("ccr.reload")

SECONDS = 1.0
"""How often the files are looked at."""

SETTLED = 0.05
"""Seconds that a changed file must stay the same before it is read."""


class Reload:
    """Watches the files of a runtime.

    ``read`` gives configuration and plugins as they are now; it runs in a thread, and so does the building.  ``use``
    takes the new runtime into service.
    """

    def __init__(
        self, runtime: Runtime, read: Callable[[], tuple[Config, Registry]], use: Callable[[Runtime], None]
    ) -> None:
        self._read = read
        self._use = use
        self._seen = stamps(runtime.files)
        self._lock = asyncio.Lock()
        self.problem: str | None = None
        self.last: float | None = None
        self.count = 0
        self.on_change: Callable[[], None] | None = None
        """Called when changed files were read, whether or not they can be used."""
        self._soon = asyncio.Event()

    async def run(self, seconds: float = SECONDS) -> None:
        """Look at the files for ever."""
        while True:
            await pause(self._soon, seconds)
            await self.look()

    def soon(self) -> None:
        """Look now: somebody knows that something has changed."""
        self._soon.set()

    async def look(self) -> bool:
        """Look once; whether a new runtime took over."""
        now = stamps(self._seen)
        if now == self._seen:
            return False
        # A file that is being written changes again at once: it is read when it has been the same for a moment.
        # An empty one has been cut for writing, which some editors do.
        await asyncio.sleep(SETTLED)
        empty = [file for file, stamp in now.items() if stamp is not None and not stamp.size]
        if stamps(self._seen) != now or any(now[file] != self._seen[file] for file in empty):
            return False
        self._seen = now
        return await self.again()

    async def now(self) -> bool:
        """Take up what has just been written, without waiting for a look; whether that worked."""
        self._seen = stamps(self._seen)
        return await self.again()

    async def again(self) -> bool:
        """Build and use a new runtime now; whether that worked."""
        async with self._lock:
            try:
                runtime = await asyncio.to_thread(self._build)
                self._use(runtime)
            except Exception as error:
                self.problem = error.message if isinstance(error, CcrError) else f"{type(error).__name__}: {error}"
                log.error("the changed configuration is not used; the one before stays: %s", self.problem)
                return False
            finally:
                if self.on_change is not None:
                    self.on_change()
            self.problem, self.last = None, time.time()
            self.count += 1
        for warning in runtime.warnings:
            log.warning("%s", warning)
        log.info("the changed configuration is in use")
        return True

    def _build(self) -> Runtime:
        config, registry = self._read()
        # From now on the files that it names are watched, whether or not it can be used: what is wrong may be in one
        # of them.  Their stamps are from before they are read, so that no change is missed.
        files = files_of(config)
        new = stamps(file for file in files if file not in self._seen)
        self._seen = {file: self._seen[file] if file in self._seen else new[file] for file in files}
        runtime = build(config, registry)
        runtime.warm()
        return runtime

    def to_json(self) -> dict[str, Any]:
        """How it stands, for ``GET /api/status``."""
        files = [str(file) for file in self._seen]
        return {"files": files, "last": self.last, "count": self.count, "problem": self.problem}


async def pause(soon: asyncio.Event, seconds: float) -> None:
    """Wait for ``seconds``, or until ``soon`` is set, which is then cleared."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await soon.wait()
    soon.clear()


@attrs.frozen
class Stamp:
    """What tells a changed file from the same one."""

    time: int
    size: int
    number: int


def stamps(files: Iterable[Path]) -> dict[Path, Stamp | None]:
    """The stamps of files; ``None`` for one that is missing."""
    found: dict[Path, Stamp | None] = {}
    for file in files:
        try:
            stat = os.stat(file)
        except OSError:
            found[file] = None
        else:
            found[file] = Stamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found
