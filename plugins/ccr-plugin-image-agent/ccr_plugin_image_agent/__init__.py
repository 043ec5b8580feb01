"""Pictures for models that cannot see: the router has the model of ``Router.image`` look at them.

The model of the conversation gets ``[Image #n]`` in place of each picture and a tool, ``analyzeImage``, by which it
asks about them.  The router runs the calls itself: it sends pictures and question to ``Router.image``, in process, and
gives the answer back.  Nothing is kept after the exchange.

Numbers count the pictures of the user's messages from the beginning of the conversation, so that they stay the same
from turn to turn, as long as the conversation only grows.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from ccr_core import (
    JSON,
    Request,
    ServerTool,
    ServerToolSpec,
    ToolCall,
    ToolContext,
    ToolResult,
    blocks_of,
    find_route,
    hookimpl,
    text_of,
)

TOOL = "analyzeImage"
"""The tool's name, unless the client has one of that name."""

MOST = 8
"""Regions that are cut out for one call."""

CANNOT_SEE = (
    "You cannot see pictures yourself. Where the conversation holds one, you read [Image #n] in its place. When an "
    "answer depends on what a picture shows, call the tool {tool} with the numbers of the pictures and a task; "
    "somebody who can see looks at them for you. Do not guess what a picture shows, and do not say that you cannot "
    "see it without having asked."
)

LOOK = (
    "You look at pictures for somebody who cannot see them and who knows nothing of them but what you say. Do the "
    "task, exactly and completely; quote text that you see word for word. Say what cannot be made out, and nothing "
    "else."
)

_LITERAL = re.compile(r"\[Image #(\d+)\]")
"""How clients mark in the user's words where a pasted picture belongs, with numbers of their own."""


@attrs.frozen(kw_only=True)
class Options:
    """Which models can see for themselves, as globs of ``model`` or ``provider,model``, and how much is said."""

    vision_models: tuple[str, ...] = ()
    max_tokens: int = attrs.field(default=4096, validator=attrs.validators.ge(1))


class ImageAgent(ServerTool[Options]):
    """Takes part where a picture goes to a model other than that of ``Router.image``."""

    def __init__(self, options: Options, ctx: ToolContext) -> None:
        super().__init__(options, ctx)
        self._route = str(ctx.router.get("image") or "").strip()
        self._name = TOOL
        self._request = Request({})
        self._pictures: dict[int, JSON] = {}
        self._answers: dict[str, asyncio.Future[str]] = {}

    def on_request(self, request: Request) -> Request | None:
        """The request with numbers instead of pictures; ``None`` if there are none, or the model can see."""
        if not self._route or self._can_see() or not any(_pictures(request.messages)):
            return None
        taken = {tool.get("name") for tool in request.tools}
        while self._name in taken:
            self._name += "_"
        self._request = request
        numbered = Numbered(self._name)
        messages = [numbered.message(message) for message in request.messages]
        self._pictures = numbered.pictures
        self.ctx.note("image-agent", f"{len(self._pictures)} pictures for {self._route} to look at")
        say = {"type": "text", "text": CANNOT_SEE.format(tool=self._name)}
        return request.with_(
            messages=messages,
            system=[*request.system_blocks(), say],
            tools=[_tool(self._name), *request.tools],
        )

    def _can_see(self) -> bool:
        target = self.ctx.target
        names = (target.model.lower(), f"{target.provider},{target.model}".lower())
        if any(fnmatch.fnmatchcase(name, glob.lower()) for glob in self.options.vision_models for name in names):
            return True
        route = find_route(self._route, {target.provider: (target.model,)})
        return route is not None and route.model == target.model

    def names(self) -> Iterable[str]:
        """``analyzeImage``."""
        return (self._name,)

    async def run(self, call: ToolCall) -> ToolResult:
        """Have the pictures looked at; the same question is asked only once."""
        task = str(call.input.get("task") or "").strip() or "Describe what you see."
        wanted = call.input.get("imageId")
        numbers = [_number(item) for item in (wanted if isinstance(wanted, list) else [wanted])]
        known = [number for number in dict.fromkeys(numbers) if number in self._pictures]
        if len(known) < len(set(numbers)) or not known:
            there = ", ".join(f'"{number}"' for number in self._pictures)
            return ToolResult(content=f"There is no such picture: {wanted!r}. There are {there}.", is_error=True)
        regions = [item for item in _list(call.input.get("regions")) if isinstance(item, Mapping)]
        key = json.dumps([known, task, regions], sort_keys=True, default=str)
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = asyncio.ensure_future(self._ask(known, task, regions))
        try:
            return ToolResult(content=await answer)
        except Exception:
            self._answers.pop(key, None)
            raise

    async def _ask(self, numbers: list[int], task: str, regions: list[Mapping[str, Any]]) -> str:
        content: list[JSON] = []
        for number in numbers:
            source = self._pictures[number]
            content += [{"type": "text", "text": f"[Image #{number}]"}, {"type": "image", "source": source}]
            if regions:
                content += await asyncio.to_thread(self._regions, number, source, regions)
        body = {
            "model": self._route,
            "max_tokens": self.options.max_tokens,
            "system": [{"type": "text", "text": LOOK}],
            "messages": [{"role": "user", "content": [*content, {"type": "text", "text": f"The task: {task}"}]}],
            **({"metadata": self._request.body["metadata"]} if "metadata" in self._request.body else {}),
        }
        said = text_of((await self.ctx.ask(attrs.evolve(self._request, body=body), self._route)).get("content"))
        if not said.strip():
            raise ValueError(f"{self._route} said nothing")
        return said

    def _regions(self, number: int, source: JSON, regions: list[Mapping[str, Any]]) -> list[JSON]:
        """The regions cut out, or, where that cannot be done, in words."""
        from ccr_plugin_image_agent.crop import CannotCrop, crop

        if len(regions) > MOST:
            self.ctx.note("image-agent", f"only the first {MOST} of {len(regions)} regions are looked at")
        blocks: list[JSON] = []
        for place, region in enumerate(regions[:MOST], start=1):
            name = str(region.get("name") or f"region {place}")
            try:
                cut = crop(source, region)
                blocks += [{"type": "text", "text": f"[Image #{number}, {name}]"}, {"type": "image", "source": cut}]
            except CannotCrop as error:
                self.ctx.note("image-agent", f"Image #{number}, {name}: not cut out: {error}")
                words = ", ".join(f"{side}={region.get(side)}" for side in ("x", "y", "w", "h", "units"))
                blocks.append({"type": "text", "text": f"Look at this part of Image #{number}: {name} ({words})."})
        return blocks


class Numbered:
    """Goes through the messages of a conversation, in order, and puts numbers in the place of pictures."""

    def __init__(self, tool: str) -> None:
        self.pictures: dict[int, JSON] = {}
        self._hint = f"a picture; {tool} tells what it shows"
        self._literals: dict[str, int] = {}

    def message(self, message: JSON) -> JSON:
        """``message`` without pictures; itself if it has none and names none."""
        content = message.get("content")
        if message.get("role") != "user":
            return message
        blocks = blocks_of(content)
        made, pasted = [], []
        for block in blocks:
            made.append(self._block(block))
            if block.get("type") == "image":
                pasted.append(len(self.pictures))
        if pasted:
            self._learn(blocks, pasted)
        renamed = [
            self._renamed(block, new) if block.get("type") == "text" else new
            for block, new in zip(blocks, made, strict=True)
        ]
        if all(new is old for new, old in zip(renamed, blocks, strict=True)):
            return message
        return {**message, "content": renamed}

    def _learn(self, blocks: list[JSON], pasted: list[int]) -> None:
        """What the user's numbers mean, where as many are named as there are pictures in the message.

        Clients count what the user pastes; tool results hold no pasted pictures.
        """
        words = [str(block.get("text")) for block in blocks if block.get("type") == "text"]
        named = sorted({int(number) for text in words for number in _LITERAL.findall(text)})
        new = [number for number in named if str(number) not in self._literals]
        meant = named if len(named) == len(pasted) else new
        if len(meant) == len(pasted):
            self._literals.update(zip(map(str, meant), pasted, strict=True))

    def _block(self, block: JSON) -> JSON:
        if block.get("type") == "image":
            number = len(self.pictures) + 1
            self.pictures[number] = block.get("source") or {}
            kept = {name: block[name] for name in ("cache_control",) if name in block}
            return {"type": "text", "text": f"[Image #{number}] ({self._hint})", **kept}
        if any(_within(block)):
            return {**block, "content": [self._block(inner) for inner in blocks_of(block["content"])]}
        return block

    def _renamed(self, block: JSON, made: JSON) -> JSON:
        """The user's words with our numbers for the client's; a number that means nothing here is left out."""
        text = str(block.get("text"))
        if not _LITERAL.search(text):
            return made
        known = self._literals
        changed = _LITERAL.sub(lambda found: f"[Image #{known[found[1]]}]" if found[1] in known else "[Image]", text)
        return {**made, "text": changed} if changed != text else made


def _within(block: JSON) -> Iterator[JSON]:
    """The pictures inside a tool result."""
    if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
        yield from (inner for inner in blocks_of(block["content"]) if inner.get("type") == "image")


def _pictures(messages: list[JSON]) -> Iterator[JSON]:
    for message in messages:
        content = message.get("content")
        if message.get("role") == "user" and isinstance(content, list):
            for block in blocks_of(content):
                if block.get("type") == "image":
                    yield block
                yield from _within(block)


def _number(value: Any) -> int:
    """The number in ``"2"``, ``2``, ``"#2"`` or ``"[Image #2]"``; -1 if there is none."""
    found = re.search(r"\d+", str(value))
    return int(found[0]) if found else -1


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _tool(name: str) -> JSON:
    side = {"type": "number"}
    return {
        "name": name,
        "description": (
            "Have somebody who can see look at pictures of the conversation and do a task for you: describe, read the "
            "text, compare, count, find. Whoever looks knows nothing of the conversation, so put all that matters into "
            "the task. Ask again, with regions, where details are small."
        ),
        "input_schema": {
            "type": "object",
            "properties": {
                "imageId": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": 'The numbers of the pictures: ["1"] for [Image #1].',
                },
                "task": {"type": "string", "description": "What is to be found out."},
                "regions": {
                    "type": "array",
                    "description": "Parts of the pictures to be looked at closely.",
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": {"type": "string"},
                            "x": {**side, "description": "Left edge, from the left."},
                            "y": {**side, "description": "Upper edge, from the top."},
                            "w": {**side, "description": "Width."},
                            "h": {**side, "description": "Height."},
                            "units": {"type": "string", "enum": ["px", "pct"], "description": "Pixels or per cent."},
                        },
                        "required": ["x", "y", "w", "h", "units"],
                    },
                },
            },
            "required": ["imageId", "task"],
        },
    }


@hookimpl
def ccr_server_tools() -> Iterable[ServerToolSpec]:
    """Offer the tool ``image-agent``."""
    yield ServerToolSpec(
        name="image-agent",
        factory=ImageAgent,
        options=Options,
        summary="Router.image looks at pictures for models that cannot see.",
    )
