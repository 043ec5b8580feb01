"""What differs between services and models that speak Responses, as data.

The defaults suit OpenAI itself and servers that follow it; what is known of OpenAI's own models is in :data:`KNOWN`.
"""

from __future__ import annotations

import fnmatch
import functools
import typing
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs


@attrs.frozen(kw_only=True, eq=False)
class Options:
    """Options of the dialect ``openai-responses``."""

    instructions: Literal["system_prompt", "empty", "none"] = "system_prompt"
    """What the field ``instructions`` holds: the system prompt, an empty text, or the field is left out.  With the
    last two the system prompt is the first message."""

    system_role: Literal["system", "developer", "user"] = "system"
    """The role of system messages among the others; ``user``: they become reminders of the user."""

    assistant_text: Literal["string", "parts"] = "string"
    """How the model's own earlier text is sent: as a string, or as a list of ``output_text`` parts."""

    phase: bool = False
    """Whether earlier texts of the model are marked as commentary (tool calls follow) or final answer."""

    images: Literal["none", "inline", "url"] = "url"
    """Which images pass: none, only those whose data is in the request, or also those given by URL."""

    documents: Literal["none", "file", "file_or_url"] = "file_or_url"
    """Which documents pass as files: none (a remark takes their place), those whose data is there, also by URL."""

    tool_output: Literal["parts", "text"] = "parts"
    """Whether results of tools may hold images and files; otherwise these follow in a message of the user."""

    thinking: bool = True
    """Whether thinking may be asked for.  Models that cannot think refuse a request that does."""

    levels: tuple[str, ...] = ("low", "medium", "high")
    """The levels (``reasoning.effort``) that the service knows; another one becomes the nearest of them.  None: the
    model thinks as it likes."""

    can_disable: bool = True
    """Whether the service takes a wish not to think (level ``none``); otherwise it gets its lowest level."""

    summary: Literal["auto", "concise", "detailed", "none"] = "auto"
    """Which summary of its thinking the model is asked for."""

    encrypted: bool = True
    """Whether encrypted thinking is asked for.  Without it thinking cannot be sent back to those who hide it."""

    replay: Literal["none", "tool_loop", "always"] = "always"
    """Which thinking goes back: none, that since the last message of the user, or all."""

    family: str | None = None
    """Who may read the thinking again.  Unless set, the host name of the base URL."""

    store: bool = False
    """Whether the service keeps the answers (for 30 days, at OpenAI)."""

    sampling: Literal["auto", "always", "never"] = "auto"
    """Whether ``temperature`` and ``top_p`` are sent; ``auto``: unless thinking is asked for."""

    max_output: int | None = None
    """The most tokens that may be asked for; the limit of the model applies as well."""

    min_output: int = 16
    """The fewest tokens that may be asked for."""

    force_stream: bool = False
    """Ask for a stream also when the client does not."""

    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How a wished JSON schema of the answer is passed on; with the last two it is also described in words."""

    schema: Literal["none", "light", "basic"] = "light"
    """How far schemas of tools are simplified: not at all, to the keywords that mean something, or to those that
    nearly every service knows."""

    schema_without: tuple[str, ...] = ()
    """Further keywords of schemas that the service refuses; what they say is put into words."""

    name_max: int = 64
    """The longest tool name; a longer one is shortened and restored in the answer."""

    id_max: int = 64
    """The longest id of a tool call."""

    max_tools: int | None = None
    """The most tools that may be offered."""

    parallel_flag: bool = True
    """Whether ``parallel_tool_calls: false`` may be sent."""

    web_search: Literal["none", "web_search", "web_search_preview"] = "none"
    """The provider's own tool that stands for web search; ``none``: the wish is left out."""

    code_execution: bool = False
    """Whether the provider's tool ``code_interpreter`` stands for code execution."""

    provider_tools: tuple[str, ...] = ()
    """Names (or patterns) of tools that the service runs itself although it tells of them as calls."""

    session_field: str | None = "prompt_cache_key"
    """A body field that gets a stable id of the session."""

    session_header: str | None = None
    """A header that gets a stable id of the session."""

    cache_marks: int = 0
    """How many cache marks are kept, as ``prompt_cache_breakpoint``; at most 4."""

    fast: str | None = None
    """The ``service_tier`` for a request with ``speed: fast``."""

    include: tuple[str, ...] = ()
    """Further entries of ``include``, such as ``web_search_call.action.sources``."""

    drop: tuple[str, ...] = ()
    """Fields of the request body that are never sent."""

    body: Mapping[str, Any] = attrs.field(factory=dict)
    """Further fields of the request body; they do not replace what the request itself says."""

    models: Mapping[str, ModelOptions] = attrs.field(factory=dict)
    """Other options for some models: from a pattern of the model name to the options that differ.  All that match
    apply, in the order written."""


if TYPE_CHECKING:
    ModelOptions = Any
else:
    ModelOptions = attrs.make_class(
        "ModelOptions",
        {
            name: attrs.field(default=None, type=kind | None)
            for name, kind in typing.get_type_hints(Options, localns={"ModelOptions": Any}).items()
            if name != "models"
        },
        frozen=True,
        kw_only=True,
    )
"""What may differ for some models: every option but ``models``."""

_PLAIN: Mapping[str, Any] = {"thinking": False, "sampling": "always"}

KNOWN: Mapping[str, Mapping[str, Any]] = {
    "gpt-3*": _PLAIN,
    "gpt-4*": _PLAIN,
    "chatgpt-*": _PLAIN,
    "o[0-9]*": {"sampling": "never", "can_disable": False},
    "gpt-5*": {"sampling": "never", "can_disable": False, "levels": ("minimal", "low", "medium", "high")},
    "gpt-5.1*": {"can_disable": True, "levels": ("none", "low", "medium", "high")},
    "gpt-5.[2-9]*": {"can_disable": True, "levels": ("none", "low", "medium", "high", "xhigh")},
    "gpt-[6-9]*": {"sampling": "never", "levels": ("none", "low", "medium", "high", "xhigh", "max")},
    "gpt-5*codex*": {"can_disable": False, "levels": ("low", "medium", "high")},
    "gpt-5.1-codex-max*": {"levels": ("low", "medium", "high", "xhigh")},
    "gpt-5.[2-9]*codex*": {"levels": ("low", "medium", "high", "xhigh")},
    "gpt-5-pro*": {"levels": ("high",)},
    "gpt-5.[2-9]-pro*": {"can_disable": False, "levels": ("medium", "high", "xhigh")},
    "gpt-*-chat*": {**_PLAIN, "sampling": "never"},
    "gpt-5.3-codex*": {"phase": True},
    "gpt-5.[4-9]*": {"phase": True},
    "gpt-[6-9].*": {"phase": True},
}
"""What is known of models of OpenAI, by patterns of their names; options of the configuration win."""


@functools.lru_cache(maxsize=256)
def for_model(options: Options, model: str) -> Options:
    """``options`` as they are for ``model``.

    Gateways put the maker before the name (``openai/gpt-5.5``, ``openai.gpt-5.5``); it does not matter for
    :data:`KNOWN`, and may be left out in patterns.
    """
    full = model.casefold()
    name = full.rpartition("/")[2].removeprefix("openai.")
    changes: dict[str, Any] = {}
    for pattern, known in KNOWN.items():
        if fnmatch.fnmatchcase(name, pattern):
            changes.update(known)
    # What the configuration says for all models wins over what is known of one: it is there on purpose.
    changes = {option: value for option, value in changes.items() if getattr(options, option) == _default(option)}
    for pattern, given in options.models.items():
        if fnmatch.fnmatchcase(full, pattern.casefold()) or fnmatch.fnmatchcase(name, pattern.casefold()):
            changes.update({option: value for option, value in _fields(given) if value is not None})
    return attrs.evolve(options, **changes) if changes else options


def _fields(given: Any) -> Iterable[tuple[str, Any]]:
    return ((field.name, getattr(given, field.name)) for field in attrs.fields(type(given)))


def _default(option: str) -> Any:
    return getattr(attrs.fields(Options), option).default
