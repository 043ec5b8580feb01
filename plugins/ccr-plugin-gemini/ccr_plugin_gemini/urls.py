"""From what people paste as base URL to the endpoint."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit, urlunsplit

_ACTION = re.compile(r":(?:streamGenerateContent|generateContent|countTokens)$")
_MODEL = re.compile(r"/(?:models|tunedModels)(?:/[^/]*)?$")
_VERSION = re.compile(r"/v\d+[a-z0-9]*$")


def endpoint(base_url: str, model: str, stream: bool, version: str = "v1beta") -> str:
    """The full URL for ``model``.

    ``base_url`` is a bare host, or ends in a version (``/v1beta``), in ``/models`` or in a complete endpoint, whose
    model and action are replaced.  A query is kept; a streamed answer is asked for as server-sent events.
    """
    parts = urlsplit(base_url if "://" in base_url else f"https://{base_url}")
    path = _MODEL.sub("", _ACTION.sub("", parts.path.rstrip("/"))).rstrip("/")
    if not _VERSION.search(path):
        path = f"{path}/{version}"
    name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    action = "streamGenerateContent" if stream else "generateContent"
    fields = [field for field in parts.query.split("&") if field and not field.startswith("alt=")]
    if stream:
        fields.append("alt=sse")
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/{quote(name)}:{action}", "&".join(fields), ""))
