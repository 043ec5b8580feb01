"""What a configuration may say about a service that speaks the Gemini format.

What differs between models is known by their names (:mod:`ccr_plugin_gemini.families`); an option that is set wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs


@attrs.frozen(kw_only=True)
class Thinking:
    """How thinking is asked for and sent back."""

    style: Literal["auto", "budget", "level", "none"] = "auto"
    """The field that asks for it: ``thinkingBudget``, ``thinkingLevel``, none, or what the model takes."""

    levels: tuple[str, ...] = ()
    """The levels that the model knows, if others than those known for it; another becomes the nearest."""

    min_budget: int | None = None
    """The smallest number of thinking tokens, if another than that known for the model."""

    max_budget: int | None = None
    """The largest number of thinking tokens, if another than that known for the model."""

    replay: Literal["all", "signatures", "none"] = "all"
    """What goes back to the model that made it: the thoughts and their signatures, the signatures only, or nothing."""

    missing: Literal["auto", "skip", "none"] = "auto"
    """A call in the history that has no signature: ``skip`` sends the value that tells the service not to look for
    one, ``auto`` does so for models that insist on signatures."""

    room: int = 1024
    """A model that cannot stop thinking thinks inside the limit of the answer: a limit not above this number is
    raised by it."""


@attrs.frozen(kw_only=True)
class Tools:
    """What the service wants of tools and their results."""

    schema: Literal["json-schema", "openapi"] = "json-schema"
    """``json-schema``: schemas go out as ``parametersJsonSchema``; ``openapi``: as ``parameters``, in the much smaller
    language of that field."""

    name_max: int = 64
    """The longest tool name; a longer one is shortened and restored in the answer."""

    ids: bool = True
    """Whether calls and responses carry ids."""

    auto_mode: Literal["AUTO", "VALIDATED"] = "AUTO"
    """The mode when the model may choose; ``VALIDATED`` makes it keep to the schemas."""

    search: bool = True
    """Whether a wish for web search becomes ``googleSearch``."""

    fetch: bool = True
    """Whether a wish for web fetch becomes ``urlContext``."""

    code: bool = True
    """Whether a wish for code execution becomes ``codeExecution``."""

    mix: Literal["auto", "always", "never"] = "auto"
    """Whether Google's own tools and the client's are offered together; ``auto``: where the model takes that."""

    files: Literal["auto", "nested", "beside"] = "auto"
    """Where images and files of a result go: into the response, beside it, or where the model takes them."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the dialect ``gemini``."""

    max_output: int | None = None
    """The most tokens that may be asked for; the limit of the model applies as well."""

    limit_field: bool = True
    """Whether ``maxOutputTokens`` is sent at all."""

    structured: Literal["auto", "json-schema", "openapi", "words"] = "auto"
    """How a wished schema of the answer is passed on: as ``responseJsonSchema``, as ``responseSchema``, in words, or as
    the model takes it."""

    safety: Literal[
        "default", "OFF", "BLOCK_NONE", "BLOCK_ONLY_HIGH", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_LOW_AND_ABOVE"
    ] = "default"
    """The threshold for all categories of ``safetySettings``."""

    urls: bool = True
    """Whether images and files may be given by URL (``fileData``)."""

    drop: tuple[str, ...] = ()
    """Fields that are never sent: of the body, or of ``generationConfig``."""

    body: Mapping[str, Any] = attrs.field(factory=dict)
    """Further fields of the body; they do not replace what the request says, objects are joined."""

    thinking: Thinking = Thinking()
    """See :class:`Thinking`."""

    tools: Tools = Tools()
    """See :class:`Tools`."""
