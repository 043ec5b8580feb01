"""A rule that chooses nothing and changes the system prompt: ``REWRITE_SYSTEM_PROMPT``.

The file's text takes the place of the client's instructions; what describes the environment (directory, platform, git)
stays.  Older Claude Code puts that into ``<env>`` tags, newer under the heading ``# Environment`` (observed, 2026).

A file that cannot be read never stops a request: the prompt stays as it is, and the log, the explanation and the start
of the router say why.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ccr_core import JSON, Pass, Request, RouteContext, RuleSpec, hookimpl

log = logging.getLogger("ccr.rule-rewrite-prompt")

_ENVIRONMENT = re.compile(r"<env>|^# Environment[ \t]*$", re.MULTILINE)
"""Where the part of the prompt begins that stays."""

_SUBAGENT = "cc_is_subagent=true;"
"""What Claude Code writes into the first system block of a sub-agent's request."""


def decide(request: Request, ctx: RouteContext) -> Pass:
    """Always a ``Pass``, with the changed request where the prompt is Claude Code's own."""
    named = ctx.config.get("REWRITE_SYSTEM_PROMPT")
    if not isinstance(named, str) or not named:
        return Pass("REWRITE_SYSTEM_PROMPT is not set")
    blocks = request.system_blocks()
    if ctx.hints.agent_id is not None or any(_SUBAGENT in str(block.get("text", "")) for block in blocks[:1]):
        return Pass("the prompt is a sub-agent's")
    found = [(place, at) for place, block in enumerate(blocks) if (at := _begins(block)) is not None]
    if not found:
        return Pass("no system block describes the environment")
    path = Path(named).expanduser()
    try:
        text = read(path)
    except (OSError, ValueError) as error:
        return Pass(f"the prompt stays: {_told(path, error)}")
    place, at = found[0]
    changed = {**blocks[place], "text": text + str(blocks[place]["text"])[at:]}
    return Pass(
        f"the prompt begins with {path.name}",
        request.with_(system=[*blocks[:place], changed, *blocks[place + 1 :]]),
    )


def _begins(block: JSON) -> int | None:
    """Where a block's last description of the environment begins."""
    last = None
    for match in _ENVIRONMENT.finditer(str(block.get("text") or "")):
        last = match.start()
    return last


_known: dict[Path, tuple[tuple[int, int], str]] = {}
_warned: set[str] = set()


def read(path: Path) -> str:
    """The text of the file, read again when it has changed; raises ``OSError`` or ``ValueError``."""
    found = path.stat()
    state = (found.st_mtime_ns, found.st_size)
    if path not in _known or _known[path][0] != state:
        _known[path] = (state, path.read_text("utf-8"))
    return _known[path][1]


def _told(path: Path, error: Exception) -> str:
    """What is wrong with the file; the log says it once."""
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    words = f"cannot read {path}, named by REWRITE_SYSTEM_PROMPT: {what}"
    if words not in _warned:
        _warned.add(words)
        log.warning("%s; the prompt stays as it is", words)
    return words


def check(options: None, config: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with the file, told at start."""
    named = config.get("REWRITE_SYSTEM_PROMPT")
    if isinstance(named, str) and named:
        path = Path(named).expanduser()
        try:
            if not read(path).strip():
                yield f"{path}, named by REWRITE_SYSTEM_PROMPT, is empty"
        except (OSError, ValueError) as error:
            yield _told(path, error)


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``rewrite-prompt``."""
    yield RuleSpec(
        name="rewrite-prompt",
        decide=decide,
        always=True,
        check=check,
        summary="Puts the text of REWRITE_SYSTEM_PROMPT in the place of Claude Code's instructions.",
    )
