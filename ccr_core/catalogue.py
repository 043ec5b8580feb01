"""What is known of models: windows, output limits, prices, what they take.

The configuration wins; what it leaves open is asked of the catalogues that plugins offer.  A catalogue is data that
comes with a package: it is looked into while a request waits, so it asks nobody and answers at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

log = logging.getLogger("ccr.catalogue")

HOUR = 2 / 1.25
"""What a cache entry for an hour costs, in such for five minutes: Anthropic asks 2 and 1.25 times the input's price."""

KEPT = 2000
"""Models whose facts are remembered."""


@attrs.frozen(kw_only=True)
class Prices:
    """US dollars per million tokens, by kind; ``None`` where it is not known.

    ``cache_write`` is for entries of five minutes, ``cache_write_1h`` for those of an hour.
    """

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None

    def cost(self, usage: Mapping[str, Any]) -> float | None:
        """What an answer costs in US dollars, from its ``usage`` in the form of the Messages API.

        Where caches have no price of their own, their tokens cost what other input does; an entry for an hour costs
        :data:`HOUR` times one for five minutes.  ``None`` if the price of any token is not known, or no token was
        reported: that is not the same as nothing to pay.
        """
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        hour = self.cache_write_1h
        if hour is None:
            hour = write if self.cache_write is None else self.cache_write * HOUR
        written = _count(usage, "cache_creation_input_tokens")
        # Of what was written; reported since a request may ask for both kinds of entries.
        kinds = usage.get("cache_creation")
        long = _count(kinds, "ephemeral_1h_input_tokens") if written and isinstance(kinds, Mapping) else None
        total, reported = 0.0, False
        for count, price in (
            (_count(usage, "input_tokens"), self.input),
            (_count(usage, "output_tokens"), self.output),
            (_count(usage, "cache_read_input_tokens"), read),
            (written and written - min(long or 0, written), write),
            (written and min(long or 0, written), hour),
        ):
            if count is not None:
                reported = True
                if count and price is None:
                    return None
                total += count * (price or 0.0)
        return total / 1e6 if reported else None


def _count(usage: Mapping[str, Any], kind: str) -> float | None:
    count = usage.get(kind)
    return count if isinstance(count, int | float) and not isinstance(count, bool) else None


@attrs.frozen(kw_only=True)
class ModelFacts:
    """What is known of one model at one service; ``None`` is not known.

    ``context`` and ``max_output`` are tokens; ``inputs`` is what it takes (``text``, ``image``, ``pdf``, ``audio``,
    ``video``); ``title`` is its name for people.
    """

    context: int | None = None
    max_output: int | None = None
    prices: Prices | None = None
    inputs: frozenset[str] | None = None
    title: str | None = None

    def over(self, other: ModelFacts | None) -> ModelFacts:
        """These facts, and those of ``other`` where these leave something open."""
        if other is None:
            return self
        return ModelFacts(
            **{
                field.name: getattr(other, field.name) if mine is None else mine
                for field in attrs.fields(ModelFacts)
                for mine in (getattr(self, field.name),)
            }
        )


@attrs.frozen(kw_only=True)
class Subject:
    """The model that is asked about: ``provider`` as the configuration calls it, ``preset`` the service, if known."""

    provider: str
    model: str
    base_url: str = ""
    preset: str | None = None


class Catalogue:
    """A source of facts.  Made at its first use, which may take as long as reading a file does."""

    def facts(self, subject: Subject) -> ModelFacts | None:
        """What is known of ``subject``; ``None`` if nothing is."""
        raise NotImplementedError


class Facts:
    """All catalogues: the first that knows something wins, field by field.

    ``sources`` are names, plugins and factories of catalogues, in order.  One that raises is left out from then on.
    """

    def __init__(self, sources: Iterable[tuple[str, str, Callable[[], Catalogue]]] = ()) -> None:
        self._sources = list(sources)
        self._made: dict[str, Catalogue] = {}
        self._known: dict[Subject, ModelFacts] = {}

    def of(self, subject: Subject) -> ModelFacts:
        """What is known of ``subject``; never raises."""
        known = self._known.get(subject)
        if known is None:
            known = ModelFacts()
            for source in list(self._sources):
                known = known.over(self._ask(source, subject))
            self._known[subject] = known
            if len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
        return known

    def _ask(self, source: tuple[str, str, Callable[[], Catalogue]], subject: Subject) -> ModelFacts | None:
        name, plugin, factory = source
        try:
            catalogue = self._made.get(name)
            if catalogue is None:
                catalogue = self._made[name] = factory()
            said = catalogue.facts(subject)
            if not isinstance(said, (ModelFacts, type(None))):
                raise TypeError(f"expected ModelFacts, got {said!r}")
            return said
        except Exception:
            log.warning("catalogue %s (plugin %s) failed and is left out", name, plugin, exc_info=True)
            self._sources.remove(source)
            return None
