"""Thinking on its way through a client of Responses, which stores ``reasoning`` items and sends them back.

The text goes out as the summary, and what a provider needs to recognise its own thinking as ``encrypted_content``:
clients are used to keep that without looking into it.
"""

from __future__ import annotations

from typing import Any

from ccr_core import JSON

_SIGNED = "ccr."
_HIDDEN = "ccr-hidden."


def encrypted_of(block: JSON) -> str | None:
    """The ``encrypted_content`` for a complete block of thinking; ``None`` if it has nothing to keep."""
    if block.get("type") == "redacted_thinking":
        return _HIDDEN + str(block.get("data") or "")
    return _SIGNED + str(block["signature"]) if block.get("signature") else None


def thinking_of(item: JSON) -> tuple[JSON | None, bool]:
    """The block for a ``reasoning`` item, ``None`` if nothing is in it; and whether it is foreign.

    What another service has encrypted means nothing to the providers behind this router.
    """
    encrypted = item.get("encrypted_content")
    encrypted = encrypted if isinstance(encrypted, str) else ""
    if encrypted.startswith(_HIDDEN):
        return {"type": "redacted_thinking", "data": encrypted.removeprefix(_HIDDEN)}, False
    text = _texts(item.get("summary")) or _texts(item.get("content"))
    own = encrypted.startswith(_SIGNED)
    signature = encrypted.removeprefix(_SIGNED) if own else ""
    block = {"type": "thinking", "thinking": text, "signature": signature} if text or signature else None
    return block, bool(encrypted) and not own


def _texts(parts: Any) -> str:
    return "\n\n".join(
        part["text"]
        for part in (parts if isinstance(parts, list) else ())
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )
