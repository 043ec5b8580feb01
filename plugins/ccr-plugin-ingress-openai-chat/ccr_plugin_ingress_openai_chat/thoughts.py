"""Thinking on its way through a client that knows chat completions only.

The text goes out as ``reasoning_content``.  What a provider needs to recognise its own thinking goes beside it, as an
entry of ``reasoning_details``: a client that sends back the messages it got (OpenAI's SDKs do, with all fields) brings
it back.  The entries hold no text, for it would be shown twice; they hold the length of theirs instead.
"""

from __future__ import annotations

from typing import Any

from ccr_core import JSON

FORMAT = "ccr"
"""Marks entries of ours; those of other services mean nothing to the providers behind this router."""


def detail_of(block: JSON, index: int) -> JSON | None:
    """The entry for a complete block of thinking; ``None`` if it has nothing to keep."""
    if block.get("type") == "redacted_thinking":
        return {"type": "reasoning.encrypted", "data": block.get("data"), "format": FORMAT, "index": index}
    signature = block.get("signature")
    if not signature:
        return None
    length = len(str(block.get("thinking") or ""))
    return {"type": "reasoning.text", "signature": signature, "length": length, "format": FORMAT, "index": index}


def thinking_blocks(message: JSON) -> list[JSON]:
    """The thinking of an assistant ``message`` that a client sends back.

    Text without entries of ours, or changed so that it does not fit them, has no signature: providers that sign
    theirs will not get to see it.
    """
    given = message.get("reasoning_content")
    given = message.get("reasoning") if given is None else given
    text = given if isinstance(given, str) else ""
    details: Any = message.get("reasoning_details")
    own = [one for one in details or () if isinstance(one, dict) and one.get("format") == FORMAT]
    signed = [one for one in own if isinstance(one.get("signature"), str)]
    if len(signed) == 1:
        lengths: list[Any] = [len(text)]
    else:
        lengths = [one.get("length") for one in signed]
    fits = bool(signed) and all(type(one) is int and one >= 0 for one in lengths) and sum(lengths) == len(text)
    left = iter(lengths)
    blocks: list[JSON] = []
    at = 0
    for one in own:
        if one.get("type") == "reasoning.encrypted" and isinstance(one.get("data"), str):
            blocks.append({"type": "redacted_thinking", "data": one["data"]})
        elif fits and isinstance(one.get("signature"), str):
            end = at + next(left)
            blocks.append({"type": "thinking", "thinking": text[at:end], "signature": one["signature"]})
            at = end
    if text and not fits:
        blocks.insert(0, {"type": "thinking", "thinking": text, "signature": ""})
    return blocks
