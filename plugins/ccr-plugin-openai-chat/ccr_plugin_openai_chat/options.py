"""What differs between services that speak chat completions, as data.

The defaults suit a plain server of which nothing is known: only what every server understands is sent, and
everything that any server has been seen to answer is understood.  Presets and configurations set the rest.
"""

from __future__ import annotations

import fnmatch
import functools
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Reasoning:
    """How thinking is asked for, read and sent back."""

    style: Literal[
        "none",
        "reasoning_effort",
        "reasoning",
        "thinking",
        "enable_thinking",
        "chat_template_kwargs",
        "disable_reasoning",
    ] = "none"
    """The field that asks for it.  ``none``: it is not asked for, except that a level in the route goes out as
    ``reasoning_effort``."""

    levels: tuple[str, ...] = ("low", "medium", "high")
    """The levels that the service knows; another one becomes the nearest of them."""

    effort_too: bool = False
    """With the styles ``thinking``, ``enable_thinking`` and ``chat_template_kwargs``: send ``reasoning_effort`` too."""

    can_disable: bool = True
    """Whether the service takes a wish not to think; otherwise it gets its lowest level."""

    forced_tools: bool = True
    """Whether a tool may be forced while the model thinks.  Otherwise such a request is made without thinking, as the
    Messages API itself wants it; where thinking cannot be switched off, the tool is not forced."""

    min_budget: int | None = None
    """The smallest number of thinking tokens that may be asked for."""

    max_budget: int | None = None
    """The largest number of thinking tokens that may be asked for."""

    extra: Mapping[str, Any] = attrs.field(factory=dict)
    """Further keys of the object that asks for thinking, such as ``clear_thinking`` or ``exclude``."""

    fields: tuple[str, ...] = ("reasoning_content", "reasoning", "reasoning_text")
    """Where thinking is read from; the first one that has text is taken, for the others repeat it."""

    inline_think: Literal["auto", "open", "never"] = "auto"
    """``auto``: a ``<think>`` at the very start of the text is thinking.  ``open``: the text begins inside of it (some
    chat templates swallow the opening tag).  ``never``: it is text."""

    replay: Literal["none", "tool_loop", "always", "required_empty"] = "tool_loop"
    """Which thinking goes back: none, that since the last message of the user, all, or all with an empty text where
    there is none."""

    replay_as: Literal["received", "reasoning_content", "reasoning", "reasoning_details", "think_tags", "parts"] = (
        "received"
    )
    """How it goes back; ``received``: in the field in which it came."""

    empty_text: str = ""
    """What ``required_empty`` sends where there is no thinking."""

    family: str | None = None
    """Who may read the thinking again.  Unless set, the host name of the base URL."""


@attrs.frozen(kw_only=True)
class Tools:
    """What the service wants of tools, their schemas, names and ids."""

    schema: Literal["none", "light", "inline-refs", "mfjs", "basic"] = "light"
    """How far schemas are simplified: not at all, without editorial keywords, also without references, the Moonshot
    flavour, or only the keywords that nearly every service knows."""

    name_max: int = 64
    """The longest tool name; a longer one is shortened and restored in the answer."""

    id_style: Literal["any", "max40", "alnum9"] = "any"
    """Which ids of tool calls the service takes: any, at most 40 characters, or exactly nine letters and digits."""

    choice_required: Literal["required", "any", "auto"] = "required"
    """The word for "some tool must be called"; ``auto``: the service cannot be told."""

    forced: Literal["object", "filter", "auto"] = "object"
    """How one tool is forced: by naming it, by offering no other, or not at all."""

    parallel_flag: bool = True
    """Whether ``parallel_tool_calls: false`` may be sent."""

    max_count: int | None = None
    """The most tools that may be offered."""

    description_max: int | None = None
    """The longest description of a tool, in characters."""

    web_search: Literal["none", "openrouter", "web_search_options", "enable_search", "glm"] = "none"
    """How a wish for web search is passed on: a server tool of OpenRouter, the field ``web_search_options``, the field
    ``enable_search``, a tool as Z.ai wants it; ``none``: the tool is left out."""


@attrs.frozen(kw_only=True)
class Content:
    """What messages may hold."""

    images: Literal["none", "inline", "url"] = "url"
    """Which images pass: none, only those whose data is in the request, or also those given by URL."""

    image_in_tool: bool = False
    """Whether a tool message may hold images; otherwise they follow in a user message."""

    documents: Literal["none", "file", "file_or_url", "document_url"] = "none"
    """How a PDF passes: not (a remark takes its place), as a ``file`` part, the same also by URL, or as a
    ``document_url`` part."""

    empty: Literal["null", "", "omit"] = "null"
    """The content of an assistant message that holds only tool calls."""

    prefill: Literal["none", "as_is", "prefix", "partial"] = "none"
    """What becomes of a last message of the assistant: a user message is put after it, it stays as it is, or it is
    marked with ``prefix`` or ``partial``."""

    system_role: Literal["system", "developer", "user"] = "system"
    """The role of the system prompt; ``user``: it is put before the first user message."""

    inline_system: Literal["keep", "user"] = "keep"
    """System messages in the course of the conversation stay, or become a reminder in a user message."""

    merge_users: bool = False
    """Whether user messages that follow each other are joined, for templates that demand alternation."""

    after_tool: str = ""
    """If not empty: an assistant message with this text is put between a tool message and a user message."""


@attrs.frozen(kw_only=True, eq=False)
class Options:
    """Options of the dialect ``openai-chat``."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens", "none"] = "max_tokens"
    """The field that limits the answer."""

    max_output: int | None = None
    """The most tokens that may be asked for; the limit of the model applies as well."""

    stream_usage: Literal["option", "never"] = "option"
    """Whether ``stream_options: {include_usage: true}`` is sent with a streamed request."""

    force_stream: bool = False
    """Ask for a stream also when the client does not."""

    top_k: bool = False
    """Whether the service knows ``top_k``."""

    stop_max: int = 4
    """The most stop sequences that are sent."""

    structured: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How a wished JSON schema of the answer is passed on; with the last two it is also described in words."""

    drop: tuple[str, ...] = ()
    """Fields of the request body that are never sent."""

    body: Mapping[str, Any] = attrs.field(factory=dict)
    """Further fields of the request body; they do not replace what the request itself says."""

    cache_marks: int = 0
    """How many cache marks (``cache_control``) are kept; at most 4."""

    session_field: str | None = None
    """A body field that gets a stable id of the session, such as ``prompt_cache_key``."""

    session_header: str | None = None
    """A header that gets a stable id of the session."""

    ends_without_mark: bool = False
    """Whether the service is known to end its streams with neither a finish reason nor ``[DONE]``."""

    finish: Mapping[str, str] = attrs.field(factory=dict)
    """Further finish reasons and the stop reasons that they mean."""

    reasoning_tokens: Literal["included", "separate"] = "included"
    """Whether ``completion_tokens`` counts the tokens of thinking."""

    reasoning: Reasoning = Reasoning()
    """See :class:`Reasoning`."""

    tools: Tools = Tools()
    """See :class:`Tools`."""

    content: Content = Content()
    """See :class:`Content`."""

    models: Mapping[str, ModelOptions] = attrs.field(factory=dict)
    """Other options for some models: from a pattern of the model name to the options that differ.  All that match
    apply, in the order written."""


def _partial(cls: type[Any], *without: str) -> type[Any]:
    """A class with the fields of ``cls``, none of which need be given; those of nested classes neither."""
    types = typing.get_type_hints(cls, localns={"ModelOptions": None})
    fields: dict[str, Any] = {}
    for name, kind in types.items():
        if name not in without:
            wanted: Any = _partial(kind) if attrs.has(kind) else kind
            fields[name] = attrs.field(default=None, type=wanted | None)
    return attrs.make_class(f"Model{cls.__name__}", fields, frozen=True, kw_only=True)


if TYPE_CHECKING:
    ModelOptions = Any
else:
    ModelOptions = _partial(Options, "models")
"""What may differ for some models: every option but ``models``."""


@functools.lru_cache(maxsize=256)
def for_model(options: Options, model: str) -> Options:
    """``options`` as they are for ``model``."""
    name = model.casefold()
    for pattern, changes in options.models.items():
        if fnmatch.fnmatchcase(name, pattern.casefold()):
            options = _changed(options, changes)
    return options


def _changed(options: T, changes: Any) -> T:
    given = {}
    for field in attrs.fields(type(changes)):
        value = getattr(changes, field.name)
        if value is not None:
            given[field.name] = _changed(getattr(options, field.name), value) if attrs.has(type(value)) else value
    return attrs.evolve(options, **given)  # type: ignore[misc]
