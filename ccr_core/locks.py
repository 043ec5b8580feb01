"""Locks between processes: several workers, commands and other programs share the files of ccr's folder.

Rules:

* a lock is the operating system's and dies with the process that holds it, so none is ever left behind;
* it keeps out whoever asks for the same one, threads of the same process included; who does not ask is not stopped;
* a lock file is never deleted: another process may already wait for it.  Where a folder can be locked in its place,
  no file stays at all;
* where the system or the disk knows no such locks, everybody gets theirs; for a disk the log says so once.  Windows
  has them for files, not for folders, and none that are shared.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("ccr.locks")

POLL_SECONDS = 0.01
"""How often a lock is tried that may not be waited for without an end."""

_NO_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What file systems answer that have no locks, or, over a network, none of folders."""


@contextlib.contextmanager
def alone(path: Path, seconds: float | None = None) -> Iterator[bool]:
    """Keep out everyone else who asks for ``path``, in any process, while the block runs.

    ``path`` is a folder, or a file that is there for this only; one that is missing is made, for its owner alone.
    Waits for as long as it takes or, where ``seconds`` is given, for so long at most: then it gives ``False`` if the
    lock could not be had, and the block runs without it.  ``OSError`` if ``path`` cannot be opened.
    """
    folder = path.is_dir()
    if folder and os.name == "nt":  # pragma: no cover
        yield True
        return
    file = os.open(path, os.O_RDONLY) if folder else open_lock(path)
    try:
        held = take(file, wait=seconds is None)
        if not held and seconds is not None:
            end = time.monotonic() + seconds
            while not held and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
                held = take(file)
        try:
            yield held
        finally:
            if held:
                release(file)
    finally:
        os.close(file)


def open_lock(path: Path) -> int:
    """Open the lock file ``path``, which is made if it is missing, for :func:`take`."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def take(file: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file, or try to; whether it is held now.  ``wait`` waits for as long as it takes.

    A ``shared`` lock is held by any number at once and keeps out the others; either kind may become the other.  A lock
    goes with the last process that has this open file, a child that inherited it included.
    """
    if os.name == "nt":  # pragma: no cover
        return shared or _take_on_windows(file, wait)
    import fcntl

    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _say_none(error.strerror or str(error))
    return True


def release(file: int) -> None:
    """Give a lock back, also when a child still has the file open."""
    if os.name == "nt":  # pragma: no cover
        import msvcrt

        os.lseek(file, 0, os.SEEK_SET)
        with contextlib.suppress(OSError):  # it was a shared one
            msvcrt.locking(file, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
        return
    import fcntl

    with contextlib.suppress(OSError):  # of a disk without locks
        fcntl.flock(file, fcntl.LOCK_UN)


def _take_on_windows(file: int, wait: bool) -> bool:  # pragma: no cover
    import msvcrt

    while True:
        try:
            os.lseek(file, 0, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            return True
        except OSError:
            if not wait:
                return False
            time.sleep(POLL_SECONDS)


@functools.cache
def _say_none(why: str) -> None:
    log.warning("this disk cannot lock files (%s): of two processes that write at once one may undo the other", why)
