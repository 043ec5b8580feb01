"""Content parts of messages to blocks."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from ccr_core import JSON, RequestError

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]+)*?;base64,", re.IGNORECASE)


def blocks_of_content(content: Any, where: str, *, media: bool = True) -> list[JSON]:
    """The blocks of a message's ``content``: a text or a list of parts; without ``media`` only text may be in it.

    Raises ``RequestError`` that names the place for a part that is malformed or has no counterpart.
    """
    return blocks_by(_block, content, where, media)


def blocks_by(read: Callable[[Any, str, bool], JSON | None], content: Any, where: str, media: bool) -> list[JSON]:
    """:func:`blocks_of_content` in a format whose parts ``read`` makes blocks of, or nothing."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise RequestError(f"{where}: must be a string or a list of content parts")
    blocks = (read(part, f"{where}[{place}]", media) for place, part in enumerate(content))
    return [block for block in blocks if block is not None]


def _block(part: Any, where: str, media: bool) -> JSON | None:
    if isinstance(part, str):
        part = {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise RequestError(f"{where}: must be an object")
    kind = part.get("type")
    if kind in ("text", "refusal"):
        text = part.get(kind)
        if not isinstance(text, str):
            raise RequestError(f"{where}.{kind}: must be a string")
        # An empty text block is refused by the Messages API and says nothing.
        return {"type": "text", "text": text} if text else None
    if media and kind == "image_url":
        return _image(part.get("image_url"), f"{where}.image_url")
    if media and kind == "file":
        return _file(part.get("file"), f"{where}.file")
    here = "here" if not media else "by this router"
    raise RequestError(f'{where}.type: parts of type "{kind}" are not supported {here}')


def _image(given: Any, where: str) -> JSON:
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str) or not url:
        raise RequestError(f"{where}.url: must be a string")
    return {"type": "image", "source": source_of(url, f"{where}.url")}


def _file(given: Any, where: str) -> JSON:
    if not isinstance(given, dict):
        raise RequestError(f"{where}: must be an object")
    data = given.get("file_data")
    if not isinstance(data, str) or not data:
        raise RequestError(
            f"{where}.file_data: is required; this router stores no files, so file_id means nothing here"
        )
    name = given.get("filename")
    if not data.startswith("data:"):
        kind = "text/plain" if isinstance(name, str) and name.endswith((".txt", ".md")) else "application/pdf"
        data = f"data:{kind};base64,{data}"
    block = document_of(source_of(data, f"{where}.file_data"), f"{where}.file_data")
    return {**block, "title": name} if isinstance(name, str) and name and block["type"] == "document" else block


def source_of(url: str, where: str) -> JSON:
    """The ``source`` for an ``http`` or ``data:`` URL."""
    if not url.startswith("data:"):
        if not url.startswith(("http://", "https://")):
            raise RequestError(f"{where}: must be an http, https or data URL")
        return {"type": "url", "url": url}
    head = _DATA_URL.match(url)
    if head is None:
        raise RequestError(f"{where}: a data URL must be base64: data:<type>;base64,<data>")
    kind = head["type"].lower()
    return {"type": "base64", "media_type": kind or "application/octet-stream", "data": url[head.end() :]}


def document_of(source: JSON, where: str) -> JSON:
    """The block for a file: an image, a PDF, or a text; ``RequestError`` for anything else."""
    kind = source.get("media_type", "")
    if source["type"] == "url" or kind == "application/pdf":
        return {"type": "document", "source": source}
    if kind.startswith("image/"):
        return {"type": "image", "source": source}
    if kind.startswith("text/") or kind == "application/json":
        try:
            text = base64.b64decode(source["data"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise RequestError(f"{where}: is not UTF-8 text in base64") from None
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}
    raise RequestError(f'{where}: files of type "{kind}" are not supported; send PDF, text or images')
