"""Counting the tokens of a request: the counter and the memo.

A counter counts a *string*.  What of a request is counted, and what a provider puts around it, is the counter's
:class:`~ccr_core.shape.Shape`.  The memo is keyed by the text, so that a conversation that grows by one message costs
one message.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from ccr_core.messages import JSON
from ccr_core.shape import Shape

log = logging.getLogger("ccr.tokens")


class Counter:
    """Counts the tokens of a text.  A ``slow`` one (it asks a service) is used in a thread."""

    name = "estimate"
    slow = False

    def count(self, text: str) -> int:
        """The number of tokens; never raises.  This one estimates from the length in bytes and characters."""
        wide = len(text.encode("utf-8", "replace")) - len(text)
        return round((len(text) - wide / 2) / 4.2 + wide / 2.4) if wide > 0 else round(len(text) / 4.2)

    def shape(self, model: str) -> Shape:
        """What of a request for ``model`` is counted, and what the provider puts around it."""
        return Shape(model)

    def count_all(self, texts: Sequence[str]) -> Sequence[int]:
        """The number of tokens of each; a ``slow`` counter may ask for all of them at once."""
        return [self.count(text) for text in texts]


class Memo:
    """Remembers counts by text; the least recently used go first.

    ``size`` is the number of texts, of long ones and of short ones each; short ones are kept as they are, and all
    forgotten at once.  If the counter raises, the log says so, and from then on counts are estimates.
    """

    def __init__(self, counter: Counter, size: int = 8192, shortest: int = 64) -> None:
        self._counter = counter
        self._size = size
        self._shortest = shortest
        self._known: OrderedDict[int, int] = OrderedDict()
        self._short: dict[str, int] = {}
        self.failed = False

    @property
    def slow(self) -> bool:
        """Whether counting waits for somebody else."""
        return self._counter.slow

    def parts(self, body: JSON, model: str) -> list[str | int]:
        """The parts of ``body`` as the counter wants them for ``model``; long texts come in pieces.

        Raises ``RecursionError`` for a body that is nested too deeply, and nothing else.
        """
        try:
            return list(_pieces(self._counter.shape(model).parts(body)))
        except RecursionError:
            raise
        except Exception:
            log.warning("the shape of token counter %s failed", self._counter.name, exc_info=True)
            return list(_pieces(Shape(model).parts(body)))

    def count_parts(self, parts: Iterable[str | int]) -> int:
        """The count of all ``parts``; those that are not known yet go to the counter together, short ones too."""
        total, new = 0, []
        for part in parts:
            known = part if isinstance(part, int) else self._known.get(hash((part, len(part))))
            if known is None:
                new.append(str(part))
            else:
                total += known
        if not new:
            return total
        texts = list(dict.fromkeys(new))
        counts = dict(zip(texts, self._count_all(texts), strict=True))
        for text, count in counts.items():
            self._known[hash((text, len(text)))] = count
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return total + sum(counts[text] for text in new)

    def _count_all(self, texts: list[str]) -> Sequence[int]:
        try:
            counts = self._counter.count_all(texts)
            if len(counts) != len(texts):
                raise ValueError(f"{len(counts)} counts of {len(texts)} texts")
            return counts
        except Exception:
            return [self._count_as_failed(text) for text in texts]

    def _count_as_failed(self, text: str) -> int:
        if not self.failed:
            log.warning("token counter %s failed; counts are estimates", self._counter.name, exc_info=True)
            self._counter, self.failed = Counter(), True
        return self._counter.count(text)

    def count(self, text: str) -> int:
        """The count of ``text``."""
        if len(text) < self._shortest:
            short = self._short.get(text)
            if short is None:
                if len(self._short) >= self._size:
                    self._short.clear()
                short = self._short[text] = self._count(text)
            return short
        # A 64-bit salted hash with the length: a clash would need some 2^32 texts, and costs a wrong estimate.
        digest = hash((text, len(text)))
        known = self._known.get(digest)
        if known is None:
            known = self._known[digest] = self._count(text)
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        else:
            # A slow counter's memo is used in several threads: another may just have dropped it.
            try:
                self._known.move_to_end(digest)
            except KeyError:
                pass
        return known

    def _count(self, text: str) -> int:
        try:
            return self._counter.count(text)
        except Exception:
            return self._count_as_failed(text)


LONG_TEXT = 64 * 1024
"""Characters from which a text is counted in pieces."""


def _pieces(parts: Iterable[str | int]) -> Iterator[str | int]:
    for part in parts:
        if isinstance(part, str) and len(part) > LONG_TEXT:
            yield from cut(part)
        else:
            yield part


def cut(text: str, size: int = 32 * 1024) -> Iterator[str]:
    """``text`` in pieces of at most ``size`` characters, cut before white space where there is some.

    For counting long texts bit by bit: vocabularies do not join a word with the white space before it to the last
    word, so cutting there changes no count.
    """
    start = 0
    while len(text) - start > size:
        end = start + size
        least = start + size // 2 + 1
        found = max(text.rfind(" ", least, end), text.rfind("\n", least, end))
        end = found if found > 0 else end
        yield text[start:end]
        start = end
    yield text[start:]


def count_request(body: JSON, count: Callable[[str], int], shape: Shape | None = None) -> int:
    """The tokens of a Messages API ``body`` (``system``, ``messages``, ``tools``), using ``count`` for each text.

    ``shape`` is that of the model's family; without one the sum is nobody's in particular.
    """
    parts = (shape or Shape()).parts(body)
    return sum(part if isinstance(part, int) else count(part) for part in parts)
