"""From the events of an answer to ours.

An answer is a list of items.  A stream announces each (``output_item.added``), lets it grow by deltas, and gives it
whole in the end (``output_item.done``); services leave out any of these, so each item is read from whatever comes,
and of a whole thing only what the deltas did not bring.  A whole answer is read as a stream of its last event:
there is no second reader.

Items are told apart by their place (``output_index``); ids are not to be trusted, some gateways change them with
every event.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import attrs
import orjson

from ccr_core import (
    JSON,
    BlockDelta,
    BlockStart,
    BlockStop,
    CallIds,
    Chunk,
    Context,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Pattern,
    Piece,
    ProtocolError,
    Push,
    Request,
    StreamError,
    explode_block,
    long_names,
    new_id,
    reading,
    short_name,
    wants_search,
)

from .dialect import TEXT
from .errors import read_error
from .items import Items, runs_itself, search_blocks, search_results
from .options import Options
from .reasoning import keeps, sealed

STOPS = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}
"""Why an answer is incomplete → stop reason."""

_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


@attrs.define(eq=False)
class _Grown:
    """Something that grows by deltas: a text, a section of a summary, the arguments of a call."""

    key: Hashable
    sent: list[str] = attrs.Factory(list)
    """The pieces so far, also those that wait to be given."""
    begun: bool = False
    open: bool = False
    cited: list[JSON] = attrs.Factory(list)
    """The annotations that were seen."""
    waiting: list[JSON] = attrs.Factory(list)
    """Citations that came before the text."""


@attrs.define(eq=False)
class _Item:
    """An item in the making."""

    number: int
    kind: str
    parts: dict[Any, _Grown] = attrs.Factory(dict)
    name: str = ""
    shown: str = ""
    """Of a thought: which text of it is shown, ``summary`` or ``content``."""
    open: bool = False
    done: bool = False


class Decoder(Push[Chunk, Event]):
    """Reads one answer."""

    def __init__(self, request: Request, ctx: Context, options: Options) -> None:
        self._request = request
        self._ctx = ctx
        self._options = options
        self._names = long_names(request, lambda name: short_name(name, options.name_max))
        self._call_ids = CallIds(request)
        self._others = Items(request, options, self._call_ids.fresh)
        self._started = False
        self._done = False
        self._count = 0
        self._items: dict[Any, _Item] = {}
        self._last: _Item | None = None
        self._ids: dict[str, _Item] = {}
        """Id → item, for events that do not say their place."""
        self._seen: set[tuple[str, str]] = set()
        """What names the items that are done."""
        self._calls = False
        self._spoke = False
        self._searches = 0
        self._sources: dict[str, str] = {}
        self._listed: set[str] = set()
        self._noted: set[str] = set()

        # The text that grows now: by far the most events are more of it.
        self._place: tuple[Any, Any] | None = None
        self._text: _Grown = _Grown(None)
        self._plain: Pattern | None = None
        """The pattern of the events that are known to be more of it."""
        self._at = 0
        """Where the text is among their values."""

    def feed(self, item: Chunk) -> Iterable[Event]:
        """Take the next event."""
        if type(item) is Piece and item.pattern is self._plain:
            delta = item.values[self._at]
            if type(delta) is str:
                self._text.sent.append(delta)
                return (BlockDelta(self._text.key, {"type": "text_delta", "text": delta}),)
        data = item.data
        try:
            if (
                data["type"] == "response.output_text.delta"
                and self._place is not None
                and (data["output_index"], data["content_index"]) == self._place
            ):
                delta = data["delta"]
                if type(delta) is str:
                    self._text.sent.append(delta)
                    if type(item) is Piece:
                        self._plain, self._at = item.pattern, item.pattern.paths.index(TEXT)
                    return (BlockDelta(self._text.key, {"type": "text_delta", "text": delta}),)
        except (KeyError, TypeError):
            pass
        if self._done:
            return ()
        if not isinstance(data, dict):
            if data and data != "[DONE]":
                self._note("unread", f"the provider sent something that is no JSON object: {str(data)[:200]}")
            return ()
        out: list[Event] = []
        kind = str(data.get("type") or item.event or "")
        method = _EVENTS.get(kind)
        if method is not None:
            with reading(data):
                method(self, data, out)
        elif kind == "error" or (data.get("error") and not kind.startswith("response.")):
            with reading(data):
                self._fail(data, out)
        elif not _quiet(kind):
            self._note("unread", f"the provider sent an event of unknown type: {kind or str(data)[:200]}")
        return out

    # --- the answer ------------------------------------------------------------------------------------------------

    def _begin(self, response: JSON, out: list[Event]) -> None:
        if not self._started:
            self._started = True
            model = str(response.get("model") or self._ctx.target.model)
            out.append(MessageStart(str(response.get("id") or new_id("msg")), model))

    def _created(self, data: JSON, out: list[Event]) -> None:
        self._begin(_object(data.get("response")), out)

    def _failed(self, data: JSON, out: list[Event]) -> None:
        self._fail(_object(data.get("response")) or data, out)

    def _fail(self, data: JSON, out: list[Event]) -> None:
        body: Any = {name: data[name] for name in ("error", "code", "message", "detail") if data.get(name)}
        error = read_error(body or "the provider reports that its answer failed, and no reason")
        out.append(StreamError(error.kind, error.message, error.status))

    def _finished(self, data: JSON, out: list[Event]) -> None:
        response = _object(data.get("response"))
        if response.get("error") or response.get("status") in ("failed", "cancelled"):
            self._fail(response, out)
            return
        self._begin(response, out)
        self._left(response.get("output"), out)
        for item in self._items.values():
            self._close(item, {}, out)
        self._listing(out)
        out.append(MessageDelta(self._stop_reason(response), usage=self._usage(response)))
        out.append(MessageStop())
        self._done = True
        self._place = self._plain = None

    def _left(self, output: Any, out: list[Event]) -> None:
        """Read what the whole answer holds and its events did not bring."""
        for place, whole in enumerate(output if isinstance(output, list) else ()):
            if not isinstance(whole, dict):
                continue
            item = self._items.get(place)
            if (item is not None and item.done) or not self._seen.isdisjoint(_names(whole)):
                continue
            self._whole(item or self._new(place, whole), whole, out)

    def _stop_reason(self, response: JSON) -> str:
        reason = str(_object(response.get("incomplete_details")).get("reason") or "")
        if response.get("status") == "incomplete" or reason:
            if reason in STOPS:
                return STOPS[reason]
            self._note("stop_reason", f"the answer is incomplete: {reason or 'no reason given'}")
        return "tool_use" if self._calls else "end_turn"

    def _usage(self, response: JSON) -> JSON:
        usage = _object(response.get("usage"))
        total = _int(usage.get("input_tokens"))
        if total is None:
            self._note("usage", "the provider gave no token counts")
            return {}
        details = _object(usage.get("input_tokens_details"))
        cached, written = _int(details.get("cached_tokens")), _int(details.get("cache_write_tokens"))
        counts: JSON = {
            "input_tokens": max(0, total - (cached or 0) - (written or 0)),
            "output_tokens": _int(usage.get("output_tokens")) or 0,
            "cache_read_input_tokens": cached or 0,
        }
        if written is not None:
            counts["cache_creation_input_tokens"] = written
        if thinking := _int(_object(usage.get("output_tokens_details")).get("reasoning_tokens")):
            counts["output_tokens_details"] = {"thinking_tokens": thinking}
        if self._searches:
            counts["server_tool_use"] = {"web_search_requests": self._searches}
        return counts

    def flush(self) -> Iterable[Event]:
        """No more events; raise ``ProtocolError`` unless the answer was told to be complete."""
        if not self._done:
            what = "ended before its end mark (response.completed)" if self._started else "is empty"
            raise ProtocolError(f"the provider's answer {what}")
        return ()

    # --- items -----------------------------------------------------------------------------------------------------

    def _new(self, place: Any, whole: JSON) -> _Item:
        self._count += 1
        item = _Item(self._count, str(whole.get("type") or ""))
        if place is None or (place in self._items and self._items[place].done):
            # A service that counts wrong: the number of the item stands for its place.
            place = ("item", self._count) if place is None else place
            if place in self._items:
                self._items[("old", self._count)] = self._items[place]
        self._items[place] = self._last = item
        if whole.get("id"):
            self._ids[str(whole["id"])] = item
        return item

    def _item(self, data: JSON, kind: str) -> _Item:
        """The item that an event is about; a new one of ``kind`` if it was not announced."""
        place = data.get("output_index")
        item = self._items.get(place) if place is not None else self._ids.get(str(data.get("item_id")))
        if item is None and place is None and self._last is not None and self._last.kind == kind:
            item = self._last
        return item or self._new(place, {"type": kind, "id": data.get("item_id")})

    def _added(self, data: JSON, out: list[Event]) -> None:
        self._begin({}, out)
        whole = _object(data.get("item"))
        place = data.get("output_index")
        known = self._items.get(place) if place is not None else None
        item = self._new(place, whole) if known is None or known.done else known
        if item.kind == "function_call":
            self._name(item, whole, out)

    def _item_done(self, data: JSON, out: list[Event]) -> None:
        self._begin({}, out)
        whole = _object(data.get("item"))
        place = data.get("output_index")
        item = self._items.get(place) if place is not None else self._ids.get(str(whole.get("id")))
        if item is not None and item.done:
            if not self._seen.isdisjoint(_names(whole)):
                return
            item = None
        self._whole(item or self._new(place, whole), whole, out)

    def _whole(self, item: _Item, whole: JSON, out: list[Event]) -> None:
        """Give what of ``whole`` was not given, and end the item."""
        item.kind = str(whole.get("type") or item.kind)
        if item.kind == "message":
            self._whole_message(item, whole, out)
        elif item.kind == "reasoning":
            self._whole_thought(item, whole, out)
        elif item.kind == "function_call":
            self._name(item, whole, out)
            arguments = whole.get("arguments")
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
            self._rest(item, "arguments", text, "input_json_delta", out)
        elif item.kind != "compaction":
            self._other(item, whole, out)
        self._close(item, whole, out)
        self._seen.update(_names(whole))

    def _close(self, item: _Item, whole: JSON, out: list[Event]) -> None:
        """Stop the blocks of ``item``."""
        if item.done:
            return
        item.done = True
        if item.kind in ("reasoning", "compaction"):
            if not item.open and keeps(whole, self._options):
                self._open(item, out)
            if item.open:
                signature = sealed({"type": item.kind, **whole}, item.shown, self._ctx, self._options)
                out.append(BlockDelta(item.number, {"type": "signature_delta", "signature": signature}))
                out.append(BlockStop(item.number))
            elif item.kind == "compaction":
                self._note("unread", "a compaction without content left out")
        elif item.kind == "function_call":
            if item.open:
                out.append(BlockStop(item.number))
            elif item.parts:
                raise ProtocolError("the provider sent arguments of a tool call and not its name")
        else:
            for part in item.parts.values():
                self._stop(part, out)

    # --- text ------------------------------------------------------------------------------------------------------

    def _part(self, item: _Item, place: Any) -> _Grown:
        part = item.parts.get(place)
        if part is None:
            part = item.parts[place] = _Grown((item.number, place))
        return part

    def _text_delta(self, data: JSON, out: list[Event]) -> None:
        self._begin({}, out)
        item = self._item(data, "message")
        place = data.get("content_index", 0)
        part = self._part(item, place)
        self._say(part, _str(data.get("delta")), out)
        if part.open and "output_index" in data and "content_index" in data:
            self._place, self._text, self._plain = (data["output_index"], place), part, None

    def _text_done(self, data: JSON, out: list[Event]) -> None:
        self._begin({}, out)
        item = self._item(data, "message")
        if not item.done:
            self._say_rest(item, data.get("content_index", 0), _str(data.get("text", data.get("refusal"))), out)

    def _part_done(self, data: JSON, out: list[Event]) -> None:
        """The end of a part of a message; of other items too, at some services."""
        whole = _object(data.get("part"))
        if whole.get("type") in ("output_text", "text", "refusal"):
            self._begin({}, out)
            item = self._item(data, "message")
            if not item.done:
                self._whole_part(item, data.get("content_index", 0), whole, out)

    def _annotated(self, data: JSON, out: list[Event]) -> None:
        self._begin({}, out)
        part = self._part(self._item(data, "message"), data.get("content_index", 0))
        self._cite(part, data.get("annotation"), out)

    def _whole_message(self, item: _Item, whole: JSON, out: list[Event]) -> None:
        content = whole.get("content")
        if isinstance(content, str):
            content = [{"type": "output_text", "text": content}]
        for place, part in enumerate(content if isinstance(content, list) else ()):
            self._whole_part(item, place, _object(part), out)

    def _whole_part(self, item: _Item, place: Any, whole: JSON, out: list[Event]) -> None:
        if whole.get("type") == "refusal":
            self._note("refusal", "the model declined; its words are the text of the answer")
        elif whole.get("type") not in ("output_text", "text"):
            self._note("unread", f"a content part of type {whole.get('type')} has no counterpart")
            return
        self._say_rest(item, place, _str(whole.get("text") or whole.get("refusal")), out)
        part = self._part(item, place)
        for annotation in whole.get("annotations") or ():
            self._cite(part, annotation, out)
        self._stop(part, out)

    def _say_rest(self, item: _Item, place: Any, text: str, out: list[Event]) -> None:
        part = self._part(item, place)
        rest = self._missing(part, text)
        if rest:
            self._say(part, rest, out)

    def _say(self, part: _Grown, text: str, out: list[Event]) -> None:
        if not text:
            return
        part.sent.append(text)
        if not part.open:
            text = text if part.begun else "".join(part.sent)
            if text.isspace():
                # Blanks are not worth a block, and other services refuse one.
                return
            part.begun = part.open = self._spoke = True
            out.append(BlockStart(part.key, {"type": "text", "text": ""}))
            for citation in part.waiting:
                out.append(BlockDelta(part.key, {"type": "citations_delta", "citation": citation}))
            part.waiting = []
        out.append(BlockDelta(part.key, {"type": "text_delta", "text": text}))

    def _stop(self, part: _Grown, out: list[Event]) -> None:
        if part.open:
            part.open = False
            out.append(BlockStop(part.key))
            if part is self._text:
                self._place = self._plain = None

    def _missing(self, part: _Grown, whole: str) -> str:
        """What of ``whole`` the deltas did not bring."""
        sent = "".join(part.sent)
        if whole.startswith(sent):
            return whole[len(sent) :]
        if whole and part.sent:
            self._note("text", "the provider's last word on a text differs from what it had streamed")
        return ""

    def _rest(self, item: _Item, place: Any, whole: str, kind: str, out: list[Event]) -> None:
        rest = self._missing(self._part(item, place), whole)
        if rest:
            self._grow(item, place, rest, kind, out)

    def _grow(self, item: _Item, place: Any, text: str, kind: str, out: list[Event]) -> None:
        self._part(item, place).sent.append(text)
        if item.open and text:
            out.append(BlockDelta(item.number, {"type": kind, _FIELDS[kind]: text}))

    # --- citations -------------------------------------------------------------------------------------------------

    def _cite(self, part: _Grown, annotation: Any, out: list[Event]) -> None:
        if not isinstance(annotation, dict) or annotation in part.cited:
            return
        part.cited.append(annotation)
        kind = annotation.get("type")
        title = _str(annotation.get("title"))
        if kind == "url_citation" and annotation.get("url"):
            url = str(annotation["url"])
            self._sources[url] = title or self._sources.get(url, "")
            citation: JSON = {
                "type": "web_search_result_location",
                "url": url,
                "title": title or None,
                "cited_text": "",
                "encrypted_index": "",
            }
        else:
            name = annotation.get("filename") or annotation.get("file_id")
            self._note("annotations", f"the text refers to the file {name} ({kind}), which is not told the client")
            return
        if part.open:
            out.append(BlockDelta(part.key, {"type": "citations_delta", "citation": citation}))
        else:
            part.waiting.append(citation)

    def _listing(self, out: list[Event]) -> None:
        """Give the cited sources as results of a search, if the client asked for one or no text could bear them."""
        new = [(url, title) for url, title in self._sources.items() if url not in self._listed]
        if new and (wants_search(self._request) or not self._spoke):
            query = self._others.queries[-1] if self._others.queries else ""
            for block in search_blocks(query, search_results(new)):
                self._give(block, out)

    def _give(self, block: JSON, out: list[Event]) -> None:
        self._count += 1
        out += explode_block(("block", self._count), block)

    # --- thinking --------------------------------------------------------------------------------------------------

    def _open(self, item: _Item, out: list[Event]) -> None:
        item.open = True
        out.append(BlockStart(item.number, {"type": "thinking", "thinking": "", "signature": ""}))

    def _summary_delta(self, data: JSON, out: list[Event]) -> None:
        self._think(data, "summary", _str(data.get("delta")), data.get("summary_index", 0), out)

    def _summary_done(self, data: JSON, out: list[Event]) -> None:
        self._think_rest(data, "summary", _str(data.get("text")), data.get("summary_index", 0), out)

    def _raw_delta(self, data: JSON, out: list[Event]) -> None:
        self._think(data, "content", _str(data.get("delta")), data.get("content_index", 0), out)

    def _raw_done(self, data: JSON, out: list[Event]) -> None:
        self._think_rest(data, "content", _str(data.get("text")), data.get("content_index", 0), out)

    def _think_rest(self, data: JSON, shown: str, text: str, place: Any, out: list[Event]) -> None:
        item = self._item(data, "reasoning")
        if not item.done:
            rest = self._missing(self._part(item, (shown, place)), text)
            self._think(data, shown, rest, place, out)

    def _think(self, data: JSON, shown: str, text: str, place: Any, out: list[Event]) -> None:
        self._begin({}, out)
        self._ponder(self._item(data, "reasoning"), shown, text, place, out)

    def _ponder(self, item: _Item, shown: str, text: str, place: Any, out: list[Event]) -> None:
        """Add ``text`` to a thought.  Of a summary and the thinking itself only one is shown: what comes first."""
        if not text or item.shown not in ("", shown):
            return
        if not item.open:
            self._open(item, out)
        part = self._part(item, (shown, place))
        if item.shown and not part.sent:
            out.append(BlockDelta(item.number, {"type": "thinking_delta", "thinking": "\n\n"}))
        item.shown = shown
        self._grow(item, (shown, place), text, "thinking_delta", out)

    def _whole_thought(self, item: _Item, whole: JSON, out: list[Event]) -> None:
        for shown in ("summary", "content"):
            for place, part in enumerate(whole.get(shown) or ()):
                text = _str(_object(part).get("text"))
                self._ponder(item, shown, self._missing(self._part(item, (shown, place)), text), place, out)

    # --- calls -----------------------------------------------------------------------------------------------------

    def _name(self, item: _Item, whole: JSON, out: list[Event]) -> None:
        """Start the block of a call, once its name is known."""
        name = _str(whole.get("name"))
        if item.open or not name or item.done:
            return
        if runs_itself(name, self._options):
            item.kind = "hosted"
            self._note("tools", f"the provider ran its tool {name}")
            return
        item.open = self._calls = True
        ident = self._call_ids.fresh(str(whole.get("call_id") or whole.get("id") or ""))
        name = self._names.get(name, name)
        out.append(BlockStart(item.number, {"type": "tool_use", "id": ident, "name": name, "input": {}}))
        for part in item.parts.values():
            for text in part.sent:
                out.append(BlockDelta(item.number, {"type": "input_json_delta", "partial_json": text}))

    def _arguments_delta(self, data: JSON, out: list[Event]) -> None:
        self._begin({}, out)
        item = self._item(data, "function_call")
        if item.done:
            self._note("unread", "the provider sent more arguments for a call that was complete")
        else:
            self._grow(item, "arguments", _str(data.get("delta")), "input_json_delta", out)

    def _arguments_done(self, data: JSON, out: list[Event]) -> None:
        self._begin({}, out)
        item = self._item(data, "function_call")
        if not item.done:
            # Some services name the call here for the first time.
            self._name(item, data, out)
            self._rest(item, "arguments", _str(data.get("arguments")), "input_json_delta", out)

    # --- other items -----------------------------------------------------------------------------------------------

    def _other(self, item: _Item, whole: JSON, out: list[Event]) -> None:
        if item.kind == "hosted":
            return
        told = self._others.told(whole)
        self._calls = self._calls or told.call
        self._searches += told.searches
        if told.note:
            self._note("items", told.note)
        for block in told.blocks:
            self._give(block, out)
            if block["type"] == "text":
                self._spoke = True
            elif block["type"] == "web_search_tool_result" and isinstance(block["content"], list):
                self._listed.update(result["url"] for result in block["content"])

    def _note(self, key: str, value: str) -> None:
        if value not in self._noted:
            self._noted.add(value)
            self._ctx.note(key, value)


_EVENTS: dict[str, Callable[[Decoder, JSON, list[Event]], None]] = {
    "response.created": Decoder._created,
    "response.queued": Decoder._created,
    "response.in_progress": Decoder._created,
    "response.completed": Decoder._finished,
    "response.incomplete": Decoder._finished,
    "response.done": Decoder._finished,
    "response.failed": Decoder._failed,
    "response.cancelled": Decoder._failed,
    "response.output_item.added": Decoder._added,
    "response.output_item.done": Decoder._item_done,
    "response.content_part.done": Decoder._part_done,
    "response.output_text.delta": Decoder._text_delta,
    "response.output_text.done": Decoder._text_done,
    "response.output_text.annotation.added": Decoder._annotated,
    "response.refusal.delta": Decoder._text_delta,
    "response.refusal.done": Decoder._text_done,
    "response.reasoning_summary_text.delta": Decoder._summary_delta,
    "response.reasoning_summary_text.done": Decoder._summary_done,
    "response.reasoning_summary.delta": Decoder._summary_delta,
    "response.reasoning_text.delta": Decoder._raw_delta,
    "response.reasoning_text.done": Decoder._raw_done,
    "response.reasoning.delta": Decoder._raw_delta,
    "response.function_call_arguments.delta": Decoder._arguments_delta,
    "response.function_call_arguments.done": Decoder._arguments_done,
}

_NEWS = (
    "response.content_part.added",
    "response.reasoning_summary_part.",
    "response.reasoning_part.",
    "response.reasoning_summary.done",
    "response.reasoning.done",
    "response.custom_tool_call_input.",
    "response.apply_patch_call_operation_diff.",
    "response.shell_call_",
    "response.web_search_call.",
    "response.x_search_call.",
    "response.file_search_call.",
    "response.code_interpreter_call",
    "response.mcp_",
    "response.image_generation_call.",
    "response.compaction.",
    "response.metadata",
    "response.rate_limits",
    "codex.",
    "keepalive",
    "ping",
)
"""Events that tell nothing which the whole item does not tell again, or nothing at all."""


def _quiet(kind: str) -> bool:
    return kind.startswith(_NEWS)


def _names(whole: JSON) -> list[tuple[str, str]]:
    """What names an item; a call and its result have the same ``call_id``."""
    return [(str(whole.get("type")), str(whole[name])) for name in ("id", "call_id") if whole.get(name)]


def _object(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _int(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def decode_body(body: Any, request: Request, ctx: Context, options: Options) -> Iterable[Event]:
    """The events of a whole answer; raises ``ProtocolError`` if it is none."""
    body = _object(body)
    if not isinstance(body.get("output"), list) and not body.get("error"):
        error = body.get("detail") or body.get("message")
        if not error:
            found = orjson.dumps(body)[:500].decode(errors="replace")
            raise ProtocolError(f"the provider's answer has no output: {found}")
        body = {**body, "error": error}
    if body.get("status") in ("queued", "in_progress") and not body.get("error"):
        raise ProtocolError(f"the provider answers in the background (status {body['status']}); it must answer at once")
    decoder = Decoder(request, ctx, options)
    yield from decoder.feed(Chunk({"type": "response.completed", "response": body}))
