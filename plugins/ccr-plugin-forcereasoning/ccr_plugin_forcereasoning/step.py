"""What is said to the model, what of its thinking it sees again, and how its answer is read."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_plugin_extrathinktag.split import Splitter

from ccr_core import JSON, Context, Event, Request, Transformer, blocks_of, seal

from . import Options

TAG = "reasoning_content"

INSTRUCTION = (
    f"Before you answer or call a tool, think the matter through step by step. Write your thinking first, between "
    f"<{TAG}> and </{TAG}>, and begin your reply with <{TAG}>. After </{TAG}> give your answer or call tools as usual; "
    "do not mention the tags."
)


class ForceReasoning(Transformer[Options]):
    """Tells the model to think in a tag, shows it its thinking in that tag, and takes it out of the answer."""

    def __init__(self, options: Options, ctx: Context) -> None:
        super().__init__(options, ctx)
        self._splitter = Splitter(TAG, seal("forcereasoning", {"m": ctx.target.model}), ctx.note)

    def on_request(self, request: Request) -> Request:
        """The request with earlier thinking as tagged text and the instruction after the last words of the user."""
        messages = self._shown(request.messages)
        config = request.body.get("output_config")
        if isinstance(config, dict) and config.get("format"):
            # An answer of a given form has no room for a tag.
            self.ctx.note("forcereasoning", "the model is not told to think: its answer must have a given form")
        else:
            messages = _instructed(messages)
        return request if messages is request.messages else request.with_(messages=messages)

    def _shown(self, messages: list[JSON]) -> list[JSON]:
        shown = list(messages)
        left = self.options.keep
        for place in range(len(messages) - 1, -1, -1):
            message = messages[place]
            content = message.get("content")
            if message.get("role") != "assistant" or not isinstance(content, list):
                continue
            if not any(block.get("type") == "thinking" and block.get("thinking") for block in content):
                continue
            alone = all(block.get("type") in ("thinking", "redacted_thinking") for block in content)
            if left > 0 or alone:
                shown[place] = {**message, "content": [_tagged(block) for block in content]}
            left -= 1
        return shown if any(new is not old for new, old in zip(shown, messages, strict=True)) else messages

    def feed(self, event: Event) -> Iterable[Event]:
        """Make thinking of what stands in the tag."""
        return self._splitter.feed(event)

    def flush(self) -> Iterable[Event]:
        """Give the text that waited."""
        return self._splitter.flush()


def _tagged(block: JSON) -> JSON:
    if block.get("type") != "thinking" or not block.get("thinking"):
        return block
    return {"type": "text", "text": f"<{TAG}>\n{block['thinking']}\n</{TAG}>"}


def _instructed(messages: list[JSON]) -> list[JSON]:
    """``messages`` with the instruction; a started answer of the assistant at the end must stay the last."""
    if not messages or messages[-1].get("role") == "assistant":
        return messages
    last = messages[-1]
    said = {"type": "text", "text": INSTRUCTION}
    if last.get("role") != "user":
        return [*messages, {"role": "user", "content": [said]}]
    content = last.get("content")
    blocks = blocks_of(content)
    # Before the words of a plain message, but never before results of tools: those must come first.
    blocks = [said, *blocks] if isinstance(content, str) else [*blocks, said]
    return [*messages[:-1], {**last, "content": blocks}]
