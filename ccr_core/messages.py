"""The canonical request: a request of the Anthropic Messages API, and what the core needs to know of its parts.

Bodies stay plain JSON objects, so that fields nobody here knows survive.  They are never changed in place: whoever
changes something makes a copy of the way down to it (:meth:`Request.with_`), and shares the rest.
"""

from __future__ import annotations

import base64
import functools
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
import orjson

from ccr_core.errors import RequestError

JSON: TypeAlias = dict[str, Any]
"""A JSON object as parsed."""

Headers: TypeAlias = Mapping[str, str]
"""HTTP headers with lower-case names; of repeated ones the values are joined by ``", "``."""


@attrs.frozen
class Hints:
    """What the client says about its request in headers of its own; all optional.

    Source: observed requests of Claude Code (``x-claude-code-*``, with ``CLAUDE_CODE_GATEWAY_HINT_HEADERS=1``)
    and the ``metadata.user_id`` of the body, which is a JSON text with a ``session_id`` (older clients:
    ``user_…_session_<uuid>``).
    """

    session: str | None = None
    request_class: str | None = None
    agent_type: str | None = None
    agent_id: str | None = None
    parent_agent_id: str | None = None
    compaction: str | None = None


@attrs.frozen
class Request:
    """One request in canonical form.

    ``body`` is the Messages API body.  ``headers`` are the client's, lower-case.  ``ingress`` names the client
    format that it came in.  ``notes`` are remarks of the ingress about what it left out or changed, as key and value;
    they become notes of the exchange.
    """

    body: JSON
    headers: Headers = attrs.Factory(dict)
    hints: Hints = Hints()
    ingress: str = "anthropic"
    notes: tuple[tuple[str, Any], ...] = ()

    def with_(self, **changes: Any) -> Request:
        """A copy whose body has ``changes``; a value of ``...`` removes the field."""
        body = {**self.body, **changes}
        for name, value in changes.items():
            if value is ...:
                del body[name]
        return Request(body, self.headers, self.hints, self.ingress, self.notes)

    @property
    def model(self) -> str:
        """The model as the client names it."""
        return str(self.body.get("model") or "")

    @property
    def messages(self) -> list[JSON]:
        """The conversation; entries with the role ``system`` may stand among the others."""
        return self.body["messages"]  # type: ignore[no-any-return]

    @property
    def tools(self) -> list[JSON]:
        """The tools offered, client and server tools alike."""
        return self.body.get("tools") or []

    @property
    def stream(self) -> bool:
        """Whether the client wants a stream of events."""
        return self.body.get("stream") is True

    @property
    def thinking(self) -> bool:
        """Whether the client asks for thinking; ``disabled`` is not asking."""
        thinking = self.body.get("thinking")
        return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")

    def require_whole(self) -> None:
        """Raise ``RequestError`` if the provider is asked to remember the conversation (the field ``thread``).

        For every dialect and service that remembers none: answered without what was said before, such a request would
        be another one.  Source of the error's code: Anthropic's Python SDK, which then sends the whole conversation.
        """
        if self.body.get("thread") is not None:
            raise RequestError(
                "thread: this provider keeps no conversations; send the whole conversation, without thread",
                details={"error_code": "thread_unsupported_request", "unsupported": ["thread"]},
            )

    def system_blocks(self) -> list[JSON]:
        """The system prompt as blocks, whichever way it was written."""
        system = self.body.get("system")
        if isinstance(system, str):
            return [{"type": "text", "text": system}] if system else []
        return list(system or ())


def loads(data: bytes | str) -> Any:
    """Parse JSON; raise ``ValueError``.

    Text cut in the middle of a character by a JavaScript client arrives as a lone surrogate, which is legal in JSON
    and illegal in UTF-8.  It becomes U+FFFD; refusing the request would end a conversation for good.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        value = json.loads(data, parse_constant=_no_constant, parse_int=_int)
        return json.loads(
            json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )


def _int(digits: str) -> int | float:
    """A whole number as orjson reads it: beyond 64 bits it cannot be written again, so it becomes a float."""
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(digits)


def _no_constant(name: str) -> None:
    """``NaN`` and ``Infinity`` are no JSON, although Python's parser takes them."""
    raise ValueError(f"{name} is not a JSON value")


def parse_body(data: bytes) -> JSON:
    """The body of a client's request as a JSON object; raise ``RequestError`` saying what is wrong with it."""
    try:
        body = loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestError(f"the request body must be a JSON object, got {type(body).__name__}")
    return body


_CLAUDE_CODE = re.compile(r"claude-cli/(\d+)\.(\d+)\.(\d+)")

COMPARES_NAMES = (2, 1, 330)
"""The first version of Claude Code that is known not to mind the name of the model in an answer."""


def compares_names(request: Request) -> bool:
    """Whether the client drops the thinking of an answer whose ``model`` is not the name that it asked for.

    Claude Code 2.1.197 does, 2.1.330 does not (both tried); what lies between is taken for the older.
    """
    return _compares_names(request.headers.get("user-agent", ""))


@functools.lru_cache(maxsize=64)
def _compares_names(agent: str) -> bool:
    found = _CLAUDE_CODE.match(agent)
    return found is not None and tuple(map(int, found.groups())) < COMPARES_NAMES


def hints_of(body: JSON, headers: Headers) -> Hints:
    """Read the client's hints; whatever is malformed is treated as absent."""
    session = headers.get("x-claude-code-session-id") or _session(body)
    return Hints(
        session=session,
        request_class=headers.get("x-claude-code-request-class"),
        agent_type=headers.get("x-claude-code-agent-type"),
        agent_id=headers.get("x-claude-code-agent-id"),
        parent_agent_id=headers.get("x-claude-code-parent-agent-id"),
        compaction=headers.get("x-claude-code-compaction"),
    )


def _session(body: JSON) -> str | None:
    metadata = body.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user, str):
        return None
    if user.startswith("{"):
        try:
            found = orjson.loads(user).get("session_id")
        except orjson.JSONDecodeError:
            return None
        return found if isinstance(found, str) else None
    return user.partition("_session_")[2] or None


def blocks_of(content: Any) -> list[JSON]:
    """The content of a message or tool result as blocks, whichever way it was written."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [block for block in content or () if isinstance(block, dict)]


def text_of(content: Any) -> str:
    """The text of a message's or tool result's content, blocks joined by a line break."""
    return "\n".join(str(block.get("text", "")) for block in blocks_of(content) if block.get("type") == "text")


def map_blocks(messages: list[JSON], change: Callable[[JSON], JSON | None]) -> list[JSON]:
    """``messages`` with every content block (not those inside tool results) passed through ``change``.

    ``None`` removes a block.  Messages without a changed block are shared, not copied.
    """
    changed = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            blocks = [change(block) for block in content]
            if any(new is not old for new, old in zip(blocks, content, strict=True)):
                message = {**message, "content": [block for block in blocks if block is not None]}
        changed.append(message)
    return changed


def walk_blocks(request: Request) -> Iterator[JSON]:
    """Every content block of a request: system, messages, and those inside tool results."""
    yield from request.system_blocks()
    for message in request.messages:
        for block in blocks_of(message.get("content")):
            yield block
            if block.get("type") == "tool_result":
                yield from blocks_of(block.get("content"))


def new_id(prefix: str) -> str:
    """A fresh id such as ``msg_…`` or ``toolu_…``, for providers that give none.  Unique, not secret."""
    return f"{prefix}_{random.getrandbits(96):024x}"


_SEAL = "ccr1."


def seal(family: str, data: JSON) -> str:
    """A ``signature`` for a thinking block, holding what a provider family needs to get its reasoning back.

    The client stores and replays signatures untouched, so this survives restarts.  ``family`` says who may read it.
    """
    payload = base64.urlsafe_b64encode(orjson.dumps(data)).rstrip(b"=").decode()
    return f"{_SEAL}{family}.{payload}"


def unseal(signature: Any) -> tuple[str, JSON] | None:
    """Family and data of a signature made by :func:`seal`; ``None`` for any other."""
    if not isinstance(signature, str) or not signature.startswith(_SEAL):
        return None
    family, _, payload = signature[len(_SEAL) :].rpartition(".")
    try:
        data = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    return (family, data) if family and isinstance(data, dict) else None
