"""Fixtures for tests of plugins; opt in with ``pytest_plugins = ["ccr_core.testing.pytest_plugin"]``.

Nothing that is installed takes part in a test: plugins are passed to :func:`ccr`.

(There are no assertions to rewrite here, so a test may import this module before pytest does: PYTEST_DONT_REWRITE.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from ccr_core.testing.harness import Harness
from ccr_core.testing.harness import Make as Make
from ccr_core.testing.upstream import Upstream

if TYPE_CHECKING:
    from ccr_core.testing.loopback import Vendor


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """The provider of the test; see :class:`ccr_core.testing.Upstream`.

    At the end the test fails if there was a request that it did not expect, or an answer that nobody fetched.
    """
    made = Upstream()
    yield made
    made.verify()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A web server on this machine that knows no path until the test says so; see :mod:`ccr_core.testing.loopback`."""
    from ccr_core.testing.loopback import Vendor

    with Vendor() as made:
        yield made


@pytest_asyncio.fixture
async def ccr(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes routers: ``ccr(config, plugins=[…])`` gives a :class:`ccr_core.testing.Harness`.

    Its files are in a folder of the test.  All are closed at the end.
    """
    monkeypatch.setenv("CCR_HOME", str(tmp_path / "ccr-home"))
    made: list[Harness] = []

    def make(config: Mapping[str, Any], plugins: Iterable[Any] = ()) -> Harness:
        made.append(Harness(config, plugins, upstream))
        return made[-1]

    yield make
    for harness in made:
        await harness.aclose()
