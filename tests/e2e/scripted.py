"""A provider that says exactly what a test tells it to, and remembers what it was asked.

It speaks OpenAI chat completions (`POST …/chat/completions`) and Anthropic Messages (`POST …/messages`),
streamed and whole, on a loopback port of its own. A test writes a *script*: a function from the received
request to a reply, or a list of replies (or such functions) used one after the other. Replies are the same
for both formats:

* `Say` - a good answer: thinking, text, tool calls (several calls arrive interleaved), slow if wanted;
* `Fail` - a status and an error body instead of an answer;
* `Break` - an answer that begins well and goes wrong: an error in the stream, a reset connection, an end
  without an end mark, a silence, a page of HTML.

Rules: the upstream is as strict as the strictest real service (`chat_faults`), so a request that such a
service would refuse is noted in `problems`; so is a script that raises, or that is asked more often than it
has replies. Tests assert that `problems` is empty. Standard library only; it does not know the code under
test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

JSON = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool call in an answer. The id is made by the upstream."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Say:
    """A good answer; `stop` overrides the reason to stop.

    Times in seconds: `pause` between its pieces, `silence` once, after the first piece.
    """

    text: str = ""
    calls: Sequence[Call] = ()
    thinking: str = ""
    pause: float = 0.0
    silence: float = 0.0
    stop: str = ""
    input_tokens: int = 1200
    output_tokens: int = 34


@dataclass(frozen=True, kw_only=True)
class Fail:
    """An error instead of an answer; `retry_after` is in seconds."""

    status: int
    message: str
    retry_after: int | None = None


@dataclass(frozen=True, kw_only=True)
class Break:
    """An answer that says `text`, starts `call`, and then goes wrong.

    `error`: an error object in the stream, then a clean end. `reset`: the connection is reset. `end`: the
    stream ends cleanly without reason to stop and without end mark. `hang`: nothing more is sent until the
    client leaves. `html`: status 200 with a page. With neither text nor call, `reset` comes before any byte
    of the answer.
    """

    how: Literal["error", "reset", "end", "hang", "html"]
    text: str = ""
    call: Call | None = None
    message: str = "the model fell over"


Reply = Say | Fail | Break


@dataclass(kw_only=True)
class Received:
    """One request to the model, as it came in, with views that are the same for both formats.

    `at` is monotonic time in seconds; `client_left` is set when the connection closed before the answer was
    whole.
    """

    number: int
    path: str
    headers: Mapping[str, str]
    body: JSON
    at: float = field(default_factory=time.monotonic)
    client_left: threading.Event = field(default_factory=threading.Event)

    @property
    def is_chat(self) -> bool:
        """Whether this is an OpenAI chat request (else Anthropic Messages)."""
        return self.path.endswith("/chat/completions")

    @property
    def model(self) -> str:
        return str(self.body.get("model"))

    @property
    def tools(self) -> list[str]:
        """The names of the tools on offer."""
        tools = self.body.get("tools") or []
        return [tool["function"]["name"] if self.is_chat else tool["name"] for tool in tools]

    def said_by(self, *roles: str) -> str:
        """All text of the messages with these roles, joined by newlines; tool results do not count."""
        return "\n".join(text for role, text in self._texts() if role in roles)

    @property
    def text(self) -> str:
        """All text of all messages and of the system prompt, whatever the role."""
        return "\n".join(text for _, text in self._texts())

    def _texts(self) -> Iterator[tuple[str, str]]:
        for text in _texts_of(self.body.get("system")):
            yield "system", text
        for message in self.body["messages"]:
            if message["role"] != "tool":
                for text in _texts_of(message.get("content")):
                    yield message["role"], text

    @property
    def results(self) -> dict[str, str]:
        """Call id → text of its result, for every tool result in the conversation."""
        found: dict[str, str] = {}
        for message in self.body["messages"]:
            if message["role"] == "tool":
                found[message["tool_call_id"]] = "\n".join(_texts_of(message["content"]))
            elif isinstance(message.get("content"), list):
                for block in message["content"]:
                    if block.get("type") == "tool_result":
                        found[block["tool_use_id"]] = "\n".join(_texts_of(block.get("content")))
        return found

    @property
    def calls(self) -> dict[str, tuple[str, JSON]]:
        """Call id → (tool name, arguments), for every call the model is told that it made."""
        found: dict[str, tuple[str, JSON]] = {}
        for message in self.body["messages"]:
            for call in message.get("tool_calls") or ():
                found[call["id"]] = call["function"]["name"], json.loads(call["function"]["arguments"])
            if isinstance(message.get("content"), list):
                for block in message["content"]:
                    if block.get("type") == "tool_use":
                        found[block["id"]] = block["name"], block["input"]
        return found

    @property
    def images(self) -> list[tuple[str, bytes]]:
        """(media type, bytes) of every picture in the request, in tool results too."""
        return list(_images_in(self.body["messages"]))


Script = Callable[[Received], Reply] | Sequence[Reply | Callable[[Received], Reply]]


def _texts_of(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if block.get("type") == "text":
                yield block["text"]


def _images_in(value: Any) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, list):
        for item in value:
            yield from _images_in(item)
    elif isinstance(value, dict):
        if value.get("type") == "image_url":
            head, _, data = value["image_url"]["url"].partition(";base64,")
            yield head.removeprefix("data:"), base64.b64decode(data)
        elif value.get("type") == "image" and value["source"]["type"] == "base64":
            yield value["source"]["media_type"], base64.b64decode(value["source"]["data"])
        else:
            for item in value.values():
                yield from _images_in(item)


# What api.openai.com takes for chat completions; it answers 400 to any other name.
# fmt: off
_CHAT_FIELDS = frozenset(
    {
        "audio", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "metadata", "modalities", "model", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_retention",
        "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop",
        "store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs",
        "top_p", "user", "verbosity", "web_search_options",
    }
)
# fmt: on
_PARTS = {
    "system": {"text"},
    "developer": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}
_MESSAGE_FIELDS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    # reasoning_content is no OpenAI field, but the services that stream it want it back.
    "assistant": {"role", "content", "name", "tool_calls", "refusal", "audio", "reasoning_content"},
    "tool": {"role", "content", "tool_call_id"},
}


def chat_faults(body: JSON) -> list[str]:
    """Everything for which a strict OpenAI-chat service would refuse this request; empty if lawful."""
    faults = [f"unknown field {name}" for name in sorted(body.keys() - _CHAT_FIELDS)]
    faults += _tool_faults(body)
    waiting: list[str] = []
    for index, message in enumerate(body["messages"]):
        where = f"messages[{index}]"
        role = message.get("role")
        if role not in _PARTS:
            faults.append(f"{where}: role {role!r}")
            continue
        faults += [f"{where}: unknown field {name}" for name in sorted(message.keys() - _MESSAGE_FIELDS[role])]
        if role == "tool":
            if message.get("tool_call_id") in waiting:
                waiting.remove(message["tool_call_id"])
            else:
                faults.append(f"{where}: a result for {message.get('tool_call_id')!r}, which nobody called")
        elif waiting:
            faults.append(f"{where}: {role} message before the results of {waiting}")
            waiting = []
        faults += [f"{where}: {fault}" for fault in _content_faults(role, message)]
        if role == "assistant":
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
    if waiting:
        faults.append(f"no results for {waiting}")
    return faults


def _tool_faults(body: JSON) -> Iterator[str]:
    for tool in body.get("tools") or ():
        function = tool.get("function") or {}
        name = function.get("name", "")
        if tool.keys() != {"type", "function"} or tool["type"] != "function":
            yield f"tool {name}: unknown shape {sorted(tool)}"
        if function.keys() - {"name", "description", "parameters", "strict"}:
            yield f"tool {name}: unknown fields {sorted(function)}"
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            yield f"tool name {name!r}"
        if name == "DeferredToolPlaceholder":
            yield "the client's placeholder tool was passed on"
        if not isinstance(function.get("parameters", {}), dict):
            yield f"tool {name}: parameters are no schema"
    if "tools" in body and not body["tools"]:
        yield "empty list of tools"


def _content_faults(role: str, message: JSON) -> Iterator[str]:
    content = message.get("content")
    calls = message.get("tool_calls")
    if content is None:
        if role != "assistant" or not calls:
            yield "no content"
    elif isinstance(content, list):
        if not content:
            yield "empty content list"
        for part in content:
            kind = part.get("type")
            if kind not in _PARTS[role]:
                yield f"{role} content of type {kind!r}"
            elif part.keys() != {"type", kind}:
                yield f"{kind} part with fields {sorted(part)}"
    elif not isinstance(content, str):
        yield f"content is {type(content).__name__}"
    for call in calls or ():
        if call.keys() != {"id", "type", "function"} or call["function"].keys() != {"name", "arguments"}:
            yield f"tool call with fields {sorted(call)} {sorted(call.get('function', {}))}"
        elif not isinstance(json.loads(call["function"]["arguments"]), dict):
            yield f"arguments of {call['id']} are no object"


class Upstream:
    """The scripted provider; a context manager that serves on a thread of its own while it is open.

    `requests` holds every model request in order of arrival, `problems` everything that a test must not
    overlook.
    """

    def __init__(self, script: Script = ()) -> None:
        self.requests: list[Received] = []
        self.problems: list[str] = []
        self.counted = 0
        self.port = 0
        self._script = script
        self._step = 0
        self._calls = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="scripted-upstream", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def play(self, script: Script) -> None:
        """Use another script from the next request on."""
        self._script, self._step = script, 0

    def __enter__(self) -> Upstream:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the scripted upstream did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        connections: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                while await self._one_request(reader, writer):
                    pass
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the other side is gone, or the test is over
            except Exception as error:
                self.problems.append(f"the upstream failed: {error!r}")
            finally:
                connections.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*tuple(connections), return_exceptions=True)

    async def _one_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to be closed."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        raw = await _read_body(reader, headers)
        path = target.partition("?")[0]
        out = _Out(reader, writer)
        if method == "POST" and path.endswith("/count_tokens"):
            self.counted += 1
            await out.whole(200, {"input_tokens": len(raw) // 4})
        elif method == "POST" and path.endswith(("/chat/completions", "/messages")):
            received = Received(number=len(self.requests) + 1, path=path, headers=headers, body=json.loads(raw))
            self.requests.append(received)
            try:
                return await self._answer(received, out)
            except (OSError, _ClientLeft):
                received.client_left.set()
                return False
        elif method == "HEAD":
            await out.whole(200, None)
        else:
            await out.whole(404, {"error": {"message": f"no such path: {method} {path}", "type": "not_found"}})
        return True

    async def _answer(self, received: Received, out: _Out) -> bool:
        if received.is_chat:
            self.problems += [f"request {received.number}: {fault}" for fault in chat_faults(received.body)]
        try:
            reply = self._next_reply(received)
        except Exception as error:
            self.problems.append(f"request {received.number}: the script raised {error!r}")
            reply = Fail(status=400, message=f"the test's script raised {error!r}")
        if isinstance(reply, Fail):
            headers = {} if reply.retry_after is None else {"retry-after": str(reply.retry_after)}
            await out.whole(reply.status, _error_body(received, reply.message, reply.status), headers)
            return True
        if isinstance(reply, Break) and reply.how == "html":
            await out.page("<html><body>please log in</body></html>")
            return True
        if isinstance(reply, Break) and reply.how == "reset" and not reply.text and reply.call is None:
            await out.reset()
            return False
        speak = _Chat if received.is_chat else _Messages
        voice = speak(received, self._new_call_id)
        if received.body.get("stream"):
            return await self._stream(voice, reply, out)
        if isinstance(reply, Break):
            if reply.how == "hang":
                await out.silence()
            elif reply.how == "error":
                await out.whole(500, _error_body(received, reply.message, 500))
                return True
            await out.cut_body(json.dumps(voice.whole(Say(text=reply.text))).encode())
            return False
        await out.sleep(reply.pause + reply.silence)
        await out.whole(200, voice.whole(reply))
        return True

    async def _stream(self, voice: _Chat | _Messages, reply: Say | Break, out: _Out) -> bool:
        await out.start_stream()
        if isinstance(reply, Say):
            for number, piece in enumerate(voice.stream(reply)):
                await out.piece(piece)
                if wait := reply.pause + (0 if number else reply.silence):
                    await out.sleep(wait)
            await out.end_stream()
            return True
        for piece in voice.beginning(reply):
            await out.piece(piece)
        await out.sleep(0.1)  # let what was said arrive first
        if reply.how == "error":
            await out.piece(voice.error(reply.message))
        elif reply.how == "reset":
            await out.reset()
            return False
        elif reply.how == "hang":
            await out.silence()
        await out.end_stream()
        return True

    def _next_reply(self, received: Received) -> Reply:
        if callable(self._script):
            return self._script(received)
        if self._step >= len(self._script):
            raise LookupError(f"the script has no reply number {self._step + 1}")
        step = self._script[self._step]
        self._step += 1
        return step(received) if callable(step) else step

    def _new_call_id(self) -> str:
        self._calls += 1
        return f"call_{self._calls:04d}"


class _ClientLeft(Exception):
    """The client closed the connection while it was still being answered."""


class _Out:
    """The answering side of one HTTP/1.1 exchange."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def whole(self, status: int, body: JSON | None, headers: Mapping[str, str] | None = None) -> None:
        await self._send_whole(status, "application/json", json.dumps(body).encode() if body else b"", headers or {})

    async def page(self, html: str) -> None:
        await self._send_whole(200, "text/html", html.encode(), {})

    async def _send_whole(self, status: int, kind: str, data: bytes, headers: Mapping[str, str]) -> None:
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n{extra}\r\n"
        await self._write(head.encode() + data)

    async def cut_body(self, data: bytes) -> None:
        """A whole answer of which only the first half arrives."""
        head = f"HTTP/1.1 200 -\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        await self._write(head.encode() + data[: len(data) // 2])
        await self.sleep(0.1)
        await self.reset()

    async def start_stream(self) -> None:
        await self._write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )

    async def piece(self, data: bytes) -> None:
        await self._write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end_stream(self) -> None:
        await self._write(b"0\r\n\r\n")

    async def reset(self) -> None:
        """Close with a TCP reset: a socket that lingers for no time sends RST instead of FIN."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def sleep(self, seconds: float) -> None:
        """Wait; raises _ClientLeft as soon as the client has gone."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.05))
            self._look()

    async def silence(self) -> None:
        await self.sleep(600)

    async def _write(self, data: bytes) -> None:
        self._look()
        self._writer.write(data)
        await self._writer.drain()

    def _look(self) -> None:
        if self._reader.at_eof() or self._reader.exception() or self._writer.transport.is_closing():
            raise _ClientLeft


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts: list[bytes] = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return b"".join(parts)
    return await reader.readexactly(int(headers.get("content-length", "0")))


def _error_body(received: Received, message: str, status: int) -> JSON:
    if received.is_chat:
        kind = {429: "rate_limit_exceeded", 400: "invalid_request_error"}.get(status, "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}
    kind = {429: "rate_limit_error", 400: "invalid_request_error", 529: "overloaded_error"}.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def _cut(text: str, size: int = 7) -> list[str]:
    """The text in small pieces, as models stream it."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def _interleave(calls: Sequence[tuple[int, Call]]) -> Iterator[tuple[int, str]]:
    """(index, piece of arguments) of several calls, in turn."""
    queues = [(index, _cut(json.dumps(dict(call.arguments)), 11)) for index, call in calls]
    while any(pieces for _, pieces in queues):
        for index, pieces in queues:
            if pieces:
                yield index, pieces.pop(0)


class _Chat:
    """Writes replies as OpenAI chat completions."""

    def __init__(self, received: Received, new_id: Callable[[], str]) -> None:
        self._body = received.body
        self._id = f"chatcmpl-{received.number}"
        self._new_id = new_id

    def _data(self, value: JSON) -> bytes:
        return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"

    def _chunk(self, delta: JSON, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._data({**self._frame("chat.completion.chunk"), "choices": [choice]})

    def _frame(self, kind: str) -> JSON:
        return {"id": self._id, "object": kind, "created": 1760000000, "model": self._body.get("model")}

    def _call_start(self, index: int, call: Call) -> JSON:
        function = {"name": call.name, "arguments": ""}
        return {"tool_calls": [{"index": index, "id": self._new_id(), "type": "function", "function": function}]}

    def stream(self, reply: Say) -> Iterator[bytes]:
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in _cut(reply.thinking):
            yield self._chunk({"reasoning_content": piece})
        for piece in _cut(reply.text):
            yield self._chunk({"content": piece})
        for index, call in enumerate(reply.calls):
            yield self._chunk(self._call_start(index, call))
        for index, piece in _interleave(list(enumerate(reply.calls))):
            yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield self._chunk({}, reply.stop or ("tool_calls" if reply.calls else "stop"))
        if (self._body.get("stream_options") or {}).get("include_usage"):
            yield self._data({**self._frame("chat.completion.chunk"), "choices": [], "usage": self._usage(reply)})
        yield b"data: [DONE]\n\n"

    def beginning(self, reply: Break) -> Iterator[bytes]:
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in _cut(reply.text):
            yield self._chunk({"content": piece})
        if reply.call is not None:
            yield self._chunk(self._call_start(0, reply.call))
            pieces = list(_interleave([(0, reply.call)]))
            for index, piece in pieces[: max(1, len(pieces) // 2)]:
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def error(self, message: str) -> bytes:
        return self._data({"error": {"message": message, "type": "server_error", "code": 500}})

    def whole(self, reply: Say) -> JSON:
        message: JSON = {"role": "assistant", "content": reply.text or None}
        if reply.thinking:
            message["reasoning_content"] = reply.thinking
        if reply.calls:
            message["tool_calls"] = [
                {
                    "id": self._new_id(),
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
                }
                for call in reply.calls
            ]
        finish = reply.stop or ("tool_calls" if reply.calls else "stop")
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return {**self._frame("chat.completion"), "choices": [choice], "usage": self._usage(reply)}

    def _usage(self, reply: Say) -> JSON:
        return {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
        }


class _Messages:
    """Writes replies as Anthropic messages."""

    def __init__(self, received: Received, new_id: Callable[[], str]) -> None:
        self._body = received.body
        self._id = f"msg_{received.number:04d}"
        self._new_id = new_id

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
        return f"event: {kind}\ndata: {data}\n\n".encode()

    def _start(self, input_tokens: int) -> bytes:
        usage = {"input_tokens": input_tokens, "output_tokens": 1}
        message = {**self._frame(), "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return self._event("message_start", message=message)

    def _frame(self) -> JSON:
        return {"id": self._id, "type": "message", "role": "assistant", "model": self._body.get("model")}

    def _block(self, index: int, block: JSON, deltas: Sequence[JSON]) -> Iterator[bytes]:
        yield self._event("content_block_start", index=index, content_block=block)
        for delta in deltas:
            yield self._event("content_block_delta", index=index, delta=delta)
        yield self._event("content_block_stop", index=index)

    def _call_block(self, call: Call) -> tuple[JSON, list[JSON]]:
        block = {"type": "tool_use", "id": self._new_id(), "name": call.name, "input": {}}
        pieces = _cut(json.dumps(dict(call.arguments)), 11)
        return block, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]

    def _text_block(self, text: str) -> tuple[JSON, list[JSON]]:
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in _cut(text)]

    def stream(self, reply: Say) -> Iterator[bytes]:
        yield self._start(reply.input_tokens)
        blocks: list[tuple[JSON, list[JSON]]] = []
        if reply.thinking:
            deltas: list[JSON] = [{"type": "thinking_delta", "thinking": piece} for piece in _cut(reply.thinking)]
            deltas.append({"type": "signature_delta", "signature": "c2lnbmVk"})
            blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
        if reply.text:
            blocks.append(self._text_block(reply.text))
        blocks += [self._call_block(call) for call in reply.calls]
        for index, (block, deltas) in enumerate(blocks):
            yield from self._block(index, block, deltas)
        stop = reply.stop or ("tool_use" if reply.calls else "end_turn")
        delta = {"stop_reason": stop, "stop_sequence": None}
        yield self._event("message_delta", delta=delta, usage={"output_tokens": reply.output_tokens})
        yield self._event("message_stop")

    def beginning(self, reply: Break) -> Iterator[bytes]:
        yield self._start(1200)
        block, deltas = self._text_block(reply.text) if reply.call is None else self._call_block(reply.call)
        yield from list(self._block(0, block, deltas[: max(1, len(deltas) // 2)]))[:-1]

    def error(self, message: str) -> bytes:
        return self._event("error", error={"type": "api_error", "message": message})

    def whole(self, reply: Say) -> JSON:
        content: list[JSON] = []
        if reply.thinking:
            content.append({"type": "thinking", "thinking": reply.thinking, "signature": "c2lnbmVk"})
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        content += [
            {"type": "tool_use", "id": self._new_id(), "name": call.name, "input": dict(call.arguments)}
            for call in reply.calls
        ]
        usage = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
        stop = reply.stop or ("tool_use" if reply.calls else "end_turn")
        return {
            **self._frame(),
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage,
        }
