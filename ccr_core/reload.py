"""Taking changes of the user's files into service while requests run.

Once a second the files that the runtime was made from are looked at.  When one has changed, a new runtime is built
beside the running one and takes its place; streams under way finish on the old one.  If it cannot be built the old
one stays, and the reason is in the log and in ``GET /api/status``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ccr_core.errors import CcrError
from ccr_core.runtime import Runtime

log = logging.getLogger("ccr.reload")

SECONDS = 1.0
"""How often the files are looked at."""


class Reload:
    """Watches the files of a runtime.

    ``make`` builds a new runtime from them; it runs in a thread.  ``use`` takes it into service.
    """

    def __init__(self, runtime: Runtime, make: Callable[[], Runtime], use: Callable[[Runtime], None]) -> None:
        self._make = make
        self._use = use
        self._files = runtime.files
        self._seen = stamps(self._files)
        self.problem: str | None = None
        self.last: float | None = None
        self.count = 0

    async def run(self, seconds: float = SECONDS) -> None:
        """Look at the files for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()

    async def look(self) -> bool:
        """Look once; whether a new runtime took over."""
        now = stamps(self._files)
        if now == self._seen:
            return False
        # A file that is being written changes again at once: it is read when it has been the same for a moment.
        await asyncio.sleep(0.05)
        if stamps(self._files) != now:
            return False
        self._seen = now
        return await self.again()

    async def again(self) -> bool:
        """Build and use a new runtime now; whether that worked."""
        try:
            runtime = await asyncio.to_thread(self._make)
        except Exception as error:
            self.problem = error.message if isinstance(error, CcrError) else f"{type(error).__name__}: {error}"
            log.error("the changed configuration is not used; the one before stays: %s", self.problem)
            return False
        if set(runtime.files) != set(self._files):
            self._files = runtime.files
            self._seen = stamps(self._files)
        self._use(runtime)
        self.problem, self.last = None, time.time()
        self.count += 1
        for warning in runtime.warnings:
            log.warning("%s", warning)
        log.info("the changed configuration is in use")
        return True

    def to_json(self) -> dict[str, Any]:
        """How it stands, for ``GET /api/status``."""
        return {"files": [str(file) for file in self._files], "last": self.last, "problem": self.problem}


def stamps(files: Iterable[Path]) -> tuple[Any, ...]:
    """What tells a changed file from the same one; a missing file has a stamp too."""
    found: list[Any] = []
    for file in files:
        try:
            stat = os.stat(file)
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)
