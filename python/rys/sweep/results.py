"""What plots and reports read: results of a sweep, whoever measured it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rys.sweep.imported import ImportedSweep
from rys.sweep.store import StoreError
from rys.sweep.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "open_results"]


class Results(Protocol):
    """Name what rys.Sweep and ImportedSweep have in common."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def meta(self) -> dict[str, Any]:
        """Settings, n_layer among them."""

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return one row per candidate, best first, judged by one probe or by all."""

    def report(self) -> dict[str, Any]:
        """Return verdict, confirm stage and provenance."""


def open_results(path: str | os.PathLike[str], n_layer: int | None = None) -> Results:
    """Open the file of a sweep: a store of rys, or JSON lines of another program.

    n_layer: of the model, for JSON lines that do not say it. Raises StoreError if the file is neither, or damaged.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(16).lstrip()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    if start.startswith(b"{"):
        return ImportedSweep(path, n_layer)
    return Sweep.open(path)
