"""Fixtures that several test files share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import toys


@pytest.fixture(scope="session")
def upstream() -> toys.Upstream:
    """Return upstream's own programs, from the cache folder; building them takes minutes, once."""
    try:
        return toys.upstream()
    except toys.NotHereError as error:
        pytest.skip(str(error))


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Return a folder that does not outlive the test: pytest keeps its own, and toys are large."""
    with tempfile.TemporaryDirectory(prefix="rys-toys-") as folder:
        yield Path(folder)
