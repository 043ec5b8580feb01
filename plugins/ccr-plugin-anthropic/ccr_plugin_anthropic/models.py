"""What is known of Claude models by their names.

Names come in many spellings: ``claude-3-5-sonnet-20241022``, ``claude-opus-4-1``, ``anthropic/claude-sonnet-4.5``,
``eu.anthropic.claude-haiku-4-5-20251001-v1:0``, ``claude-sonnet-4@20250514``.  Of a name that is not understood
nothing is known, and nothing is changed for it.

Source: the models page and the extended-thinking and effort pages of Anthropic's documentation, 2026.
"""

from __future__ import annotations

import functools
import re

import attrs

_NAME = re.compile(
    r"claude-(?:(?P<early>\d(?:[-.]\d)?)-)?(?P<family>opus|sonnet|haiku|fable)"
    r"(?:-(?P<major>\d{1,2})(?!\d)(?:[-.](?P<minor>\d{1,2})(?!\d))?)?"
)


@attrs.frozen
class Claude:
    """A Claude model: family and version."""

    family: str
    version: tuple[int, int]

    @property
    def thinks(self) -> bool:
        """Whether it has extended thinking at all."""
        return self.version >= (3, 7)

    @property
    def adaptive(self) -> bool:
        """Whether it takes ``thinking: adaptive``."""
        return self.version >= (4, 6)

    @property
    def budgets(self) -> bool:
        """Whether it takes ``thinking: enabled`` with a budget."""
        return (3, 7) <= self.version < (4, 7)

    @property
    def effort(self) -> bool:
        """Whether it takes ``output_config.effort``."""
        return self.version >= (4, 6) or (self.family == "opus" and self.version == (4, 5))

    @property
    def efforts(self) -> tuple[str, ...]:
        """The effort levels it takes, lowest first."""
        if self.version >= (4, 7):
            return ("low", "medium", "high", "xhigh", "max")
        return ("low", "medium", "high", "max") if self.version >= (4, 6) else ("low", "medium", "high")

    @property
    def system_messages(self) -> bool:
        """Whether it takes messages with the role ``system``."""
        return self.version >= (4, 8)

    @property
    def max_tokens(self) -> int:
        """Output tokens that it surely can give, for a request that does not say."""
        if self.version >= (4, 0):
            return 32_000
        return 8192 if self.version >= (3, 5) else 4096


@functools.lru_cache(maxsize=256)
def claude(model: str) -> Claude | None:
    """The Claude model that ``model`` names, or ``None`` if it is another or not understood."""
    found = _NAME.search(model.lower())
    if found is None:
        return None
    if found["early"]:
        major, _, minor = found["early"].replace(".", "-").partition("-")
        return Claude(found["family"], (int(major), int(minor or 0)))
    if found["major"]:
        return Claude(found["family"], (int(found["major"]), int(found["minor"] or 0)))
    return None
