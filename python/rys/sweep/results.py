"""What plots and reports read: the results of a sweep, whoever measured it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rys.errors import RequestError, StoreError
from rys.sweep.imported import ImportedSweep
from rys.sweep.report import SweepReport
from rys.sweep.store import SQLITE_MAGIC
from rys.sweep.sweep_file import SweepFile

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "open_results"]


class Results(Protocol):
    """The common part of SweepFile and ImportedSweep."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def n_layer(self) -> int:
        """Layers of the model."""

    @property
    def model(self) -> str | None:
        """The model's file; None if unknown."""

    @property
    def is_imported(self) -> bool:
        """Whether another program measured the sweep."""

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return one row per candidate, best first, judged by one probe or by all."""

    def report(self) -> SweepReport:
        """Return verdict, confirmation and provenance."""


def open_results(path: str | os.PathLike[str], n_layer: int | None = None) -> Results:
    """Open the file of a sweep: a store of rys, or JSON lines of another program.

    Args:
        path: The file.
        n_layer: Layers of the model, for JSON lines that do not say it.

    Raises:
        StoreError: The file is neither, or damaged.
        RequestError: The file says another number of layers.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    if start.startswith(SQLITE_MAGIC):
        sweep = SweepFile.open(path)
        known = sweep.n_layer
        if n_layer not in (None, known):
            sweep.close()
            raise RequestError(
                f"n_layer is {n_layer}, but {path} is of a model with {known} layers"
            )
        return sweep
    if not start:
        raise StoreError(f"{path} is empty")
    # A byte order mark, as programs for Windows write it, may stand before the first line.
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"{":
        raise StoreError(
            f"{path} is neither the file of a sweep of rys (an SQLite database) nor JSON lines, "
            f"one object a line, as llm-circuit-finder writes them"
        )
    return ImportedSweep(path, n_layer)
