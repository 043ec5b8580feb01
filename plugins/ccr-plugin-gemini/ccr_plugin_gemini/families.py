"""What is known of models by their names.

Sources: the vendor's pages on thinking, thought signatures and function calling; the models' own refusals.  A name
that is not understood is taken for a model of the newest generation if it begins with ``gemini``, and else for one
of which nothing is known.
"""

from __future__ import annotations

import functools
import re
from typing import Literal

import attrs

_GEMINI = re.compile(r"gemini-(?:(\d+(?:\.\d+)?)(?=-|$))?")
_GEMMA = re.compile(r"gemma-([123])(?![\d.])")


@attrs.frozen(kw_only=True)
class Family:
    """What models of one kind can do."""

    generation: float = 0
    """The number in the name, such as 2.5; 0 if it is not a Gemini model."""

    thinking: Literal["none", "budget", "level"] = "none"
    """How thinking is steered."""

    levels: tuple[str, ...] = ()
    """With ``level``: the levels, in order."""

    min_budget: int = 0
    """With ``budget``: the smallest number of tokens above 0."""

    max_budget: int = 24576
    """With ``budget``: the largest."""

    dynamic: bool = True
    """With ``budget``: whether -1 leaves it to the model."""

    can_stop: bool = True
    """Whether thinking can be switched off."""

    instruction: bool = True
    """Whether there may be a ``systemInstruction``."""

    @property
    def signs(self) -> bool:
        """Whether a call in the history must have its signature."""
        return self.generation >= 3

    @property
    def mixes(self) -> bool:
        """Whether Google's tools, the client's tools and a schema of the answer may come together."""
        return self.generation >= 3

    @property
    def nests(self) -> bool:
        """Whether a ``functionResponse`` may hold images and files."""
        return self.generation >= 3


@functools.lru_cache(maxsize=256)
def family_of(model: str) -> Family:
    """What is known of ``model``, whose name may have a path before it."""
    name = model.casefold().rpartition("/")[2]
    gemma = _GEMMA.match(name)
    if gemma:
        return Family(instruction=False)
    found = _GEMINI.match(name)
    if not found:
        return Family()
    generation = float(found[1] or 3)
    if generation < 2.5 or "-tts" in name or "-image" in name:
        return Family(generation=generation)
    if generation >= 3:
        if "flash" in name:
            return Family(
                generation=generation, thinking="level", levels=("minimal", "low", "medium", "high"), can_stop=False
            )
        levels = ("low", "high") if generation == 3 and found[1] else ("low", "medium", "high")
        return Family(generation=generation, thinking="level", levels=levels, can_stop=False)
    if "flash-lite" in name:
        return Family(generation=generation, thinking="budget", min_budget=512)
    if "flash" in name:
        return Family(generation=generation, thinking="budget", min_budget=1)
    return Family(generation=generation, thinking="budget", min_budget=128, max_budget=32768, can_stop=False)
