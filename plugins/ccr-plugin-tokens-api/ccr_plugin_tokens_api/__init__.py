"""The counter ``api`` of ``tokenizer`` blocks: a service that counts.

All that is new in a request goes to the service in one question; its answer is shared out by length, so that each text
is asked about once.  While the service does not answer, counts are estimates: nobody waits long for a count.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs
import orjson

from ccr_core import JSON, Counter, CounterSpec, hookimpl, loads

log = logging.getLogger("ccr.tokens-api")

SECONDS = 5.0
"""How long the service may take."""

REST = 60.0
"""Seconds after a failure in which it is not asked."""

LARGEST = 64 * 1024
"""Bytes of an answer that are read."""


@attrs.frozen(kw_only=True)
class Options:
    """The service, what it is sent, and where in its answer the number is."""

    url: str = ""
    api_key: str = attrs.field(default="", repr=False, metadata={"key": "apiKey"})
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    request_format: Literal["standard", "anthropic", "openai", "custom"] = attrs.field(
        default="standard", metadata={"key": "requestFormat"}
    )
    response_field: str = attrs.field(default="token_count", metadata={"key": "responseField"})
    model: str = ""

    def __attrs_post_init__(self) -> None:
        """The address is needed."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url is missing: the address of the service that counts")


class ApiCounter(Counter):
    """Asks the service, in a thread."""

    name = "api"
    slow = True

    def __init__(self, options: Options) -> None:
        self._options = options
        self._not_before = 0.0

    def count(self, text: str) -> int:
        """The tokens of one text; an estimate while the service does not answer.  Never raises."""
        return self.count_all([text])[0]

    def count_all(self, texts: Sequence[str]) -> Sequence[int]:
        """The tokens of each text, by one question about all."""
        estimates = [super(ApiCounter, self).count(text) for text in texts]
        if time.monotonic() < self._not_before:
            return estimates
        try:
            total = self._ask("\n".join(texts))
        except Exception as error:
            self._not_before = time.monotonic() + REST
            log.warning("%s does not count (%s); for %.0f s counts are estimates", self._options.url, error, REST)
            return estimates
        return share(total, estimates)

    def _ask(self, text: str) -> int:
        from urllib.request import Request, urlopen

        headers = {"content-type": "application/json", "accept": "application/json"}
        if self._options.api_key:
            headers["authorization"] = f"Bearer {self._options.api_key}"
        headers |= self._options.headers
        wire = Request(self._options.url, orjson.dumps(body(self._options, text)), headers, method="POST")
        with urlopen(wire, timeout=SECONDS) as reply:
            return number(loads(reply.read(LARGEST)), self._options.response_field)


def body(options: Options, text: str) -> JSON:
    """What the service is sent about ``text``."""
    text = text.encode("utf-8", "replace").decode()
    if options.request_format == "custom":
        made: JSON = {"text": text}
    elif options.request_format == "openai":
        made = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": text}]}
    else:
        made = {"messages": [{"role": "user", "content": text}]}
    return {**made, "model": options.model} if options.model else made


def number(answer: Any, path: str) -> int:
    """The number at a dotted path (``usage.total``, ``data.0.tokens``); raises ``ValueError`` if there is none."""
    found = answer
    for part in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            found = None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or found < 0:
        raise ValueError(f"its answer has no number at {path}")
    return round(found)


def share(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` in whole parts in the proportion of ``weights``, which add up to it."""
    left, rest = total, sum(weights)
    out = []
    for weight in weights:
        part = round(left * weight / rest) if rest else left
        out.append(part)
        left, rest = left - part, rest - weight
    return out


@hookimpl
def ccr_token_counters() -> Iterable[CounterSpec]:
    """Offer the counter ``api``."""
    yield CounterSpec(
        name="api",
        factory=ApiCounter,
        models=(),
        options=Options,
        summary="A service that counts, for tokenizer blocks.",
    )
