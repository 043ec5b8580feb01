"""What all tests of the core share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Each test leaves the environment as it found it: commands that are run in process may change it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
