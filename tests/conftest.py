"""Fixtures that several test files share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rys
from rys.sweep.sweep_file import SweepFile
from support import toys


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


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SweepFile]:
    """Return a small sweep of the reference model, confirmed, open for reading."""
    path = tmp_path_factory.mktemp("sweep") / "finished.db"
    blocks = rys.space.blocks([3, 4], stride=2)
    small: dict[str, Any] = {"items": 16, "top": 2, "min_effect": 0.3}
    with (
        rys.reference_model(n_ctx=1024) as model,
        rys.Sweep(model, "reference", blocks, store=path, **small) as sweep,
    ):
        sweep.run()
        sweep.confirm()
    with rys.Sweep.open(path) as sweep:
        yield sweep
