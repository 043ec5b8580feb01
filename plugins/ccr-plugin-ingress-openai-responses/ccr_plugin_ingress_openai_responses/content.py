"""Content parts of messages and of results to blocks."""

from __future__ import annotations

from typing import Any

from ccr_plugin_ingress_openai_chat.content import blocks_by, document_of, source_of

from ccr_core import JSON, RequestError


def blocks_of_content(content: Any, where: str, *, media: bool = True) -> list[JSON]:
    """The blocks of ``content``: a text or a list of parts; without ``media`` only text may be in it.

    Raises ``RequestError`` that names the place for a part that is malformed or has no counterpart.
    """
    return blocks_by(_block, content, where, media)


def _block(part: Any, where: str, media: bool) -> JSON | None:
    if not isinstance(part, dict):
        raise RequestError(f"{where}: must be an object")
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text", "refusal"):
        field = "refusal" if kind == "refusal" else "text"
        text = part.get(field)
        if not isinstance(text, str):
            raise RequestError(f"{where}.{field}: must be a string")
        # An empty text block is refused by the Messages API and says nothing.
        return {"type": "text", "text": text} if text else None
    if media and kind == "input_image":
        url = part.get("image_url")
        if not isinstance(url, str) or not url:
            raise RequestError(f"{where}.image_url: is required; this router stores no files, so file_id means nothing")
        return {"type": "image", "source": source_of(url, f"{where}.image_url")}
    if media and kind == "input_file":
        return _file(part, where)
    here = "by this router" if media else "here"
    raise RequestError(f'{where}.type: parts of type "{kind}" are not supported {here}')


def _file(part: JSON, where: str) -> JSON:
    field = "file_url" if part.get("file_url") else "file_data"
    data = part.get(field)
    if not isinstance(data, str) or not data:
        raise RequestError(
            f"{where}.file_data: is required; this router stores no files, so file_id means nothing here"
        )
    name = part.get("filename")
    if field == "file_data" and not data.startswith("data:"):
        kind = "text/plain" if isinstance(name, str) and name.endswith((".txt", ".md")) else "application/pdf"
        data = f"data:{kind};base64,{data}"
    block = document_of(source_of(data, f"{where}.{field}"), f"{where}.{field}")
    return {**block, "title": name} if isinstance(name, str) and name and block["type"] == "document" else block
