"""Everything public that is on its way out, with what takes its place: the one table behind every deprecation.

Rules (docs/architecture.md, Versions): what is named here still works.  Whoever implements a retired hook, or takes a
retired name from ``ccr_core``, gets a ``DeprecationWarning`` with the text of its entry, which test suites show.  An
entry stays for two minor releases at least, and has a line in docs/api-changes.md as long as it stays; then the entry
and what it names are removed together.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple


class Retired(NamedTuple):
    """Something that goes: ``since`` and ``until`` are versions of ``ccr-core``, ``instead`` says what to use."""

    since: str
    until: str
    instead: str

    def text(self, name: str) -> str:
        """What its user reads."""
        return f"{name} is deprecated since ccr-core {self.since} and will be removed in {self.until}: {self.instead}"


RETIRED: Mapping[str, Retired] = {}
"""By the name of a hook, or of what ``ccr_core`` exports."""


def warning_for(name: str) -> DeprecationWarning | None:
    """The warning for a retired name; ``None`` for any other."""
    retired = RETIRED.get(name)
    return DeprecationWarning(retired.text(name)) if retired is not None else None


def warn(name: str, stacklevel: int = 3) -> bool:
    """Warn whoever uses ``name``, if it is retired; whether it is.  ``stacklevel`` as for :func:`warnings.warn`."""
    warning = warning_for(name)
    if warning is not None:
        warnings.warn(warning, stacklevel=stacklevel)
    return warning is not None
