"""Which preset is meant by a provider entry of the configuration, and at which address the service is.

People write a name and nothing else, a whole endpoint, the base that a service documents, what it tells them to put
into ``ANTHROPIC_BASE_URL``, or the bare host.  All of these must lead to the same service, in the format that the
address belongs to.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from ccr_core.config import ProviderConfig
from ccr_core.plugins import Contributed, Registry
from ccr_core.spec import ProviderSpec


def find_preset(entry: ProviderConfig, dialect: str | None, registry: Registry) -> Contributed[ProviderSpec] | None:
    """The preset for ``entry``: by its URL, else by its name if it has no URL of its own.

    A service may have several.  Of those, one that speaks ``dialect`` (what the configuration says or implies) comes
    first, then the one whose path agrees with the entry's the furthest, then the first.
    """
    presets = [*registry.providers.values()]
    if not entry.api_base_url:
        named = registry.providers.get(entry.name) or registry.providers.get(entry.name.lower())
        if named is None or dialect in (None, named.value.dialect):
            return named
        kin = [each for each in presets if _is_at(each.value, _split(named.value.base_url))]
        return next((each for each in kin if each.value.dialect == dialect), named)
    url = _split(entry.api_base_url)
    path = _segments(url)

    def closeness(contributed: Contributed[ProviderSpec]) -> tuple[bool, int, bool]:
        known = _segments(_split(contributed.value.base_url))
        shared = _shared(path, known)
        return contributed.value.dialect == dialect, shared, 0 < shared == len(known)

    return max((each for each in presets if _is_at(each.value, url)), key=closeness, default=None)


def address_of(entry: ProviderConfig, spec: ProviderSpec | None) -> str | None:
    """The address to use: the entry's own, with the path of the preset where it gives no more than the host.

    ``None`` if there is none; a preset whose address has no host (``https:///v1``) leaves that to the user.
    """
    known = urlsplit(spec.base_url) if spec else None
    if not entry.api_base_url:
        return spec.base_url if spec and known and (known.hostname or known.scheme == "embedded") else None
    url = _split(entry.api_base_url)
    if known is None or url.scheme == "embedded" or url.path.strip("/") or not known.path:
        return entry.api_base_url
    return url._replace(path=known.path).geturl().removeprefix("" if "://" in entry.api_base_url else "https://")


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    return parts if parts.scheme in ("http", "https", "embedded") else urlsplit(f"https://{url}")


def _segments(url: SplitResult) -> list[str]:
    return [part for part in url.path.split("/") if part]


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    return len([*itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))])


def _is_at(spec: ProviderSpec, url: SplitResult) -> bool:
    """Whether ``url`` is on a host of the preset.

    A pattern with a port, or the preset's own address with one, is meant with it: many servers are on ``localhost``.
    """
    if url.scheme == "embedded":
        return spec.base_url.partition(":")[2] == url.path
    host = (url.hostname or "").lower()
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError:  # no number: whoever connects will say so
        return False
    own = urlsplit(spec.base_url)
    patterns = [*spec.hosts]
    if own.hostname:
        patterns.append(f"{own.hostname}:{own.port}" if own.port else own.hostname)
    return any(fnmatch.fnmatchcase(f"{host}:{port}" if ":" in one else host, one.lower()) for one in patterns)
