"""What plots and reports read: results of a sweep, whoever measured it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rys.errors import RequestError, StoreError
from rys.sweep.imported import ImportedSweep
from rys.sweep.store import SQLITE_MAGIC
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

    n_layer: of the model, for JSON lines that do not say it. Raises StoreError if the file is
        neither, or damaged.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    if start.startswith(SQLITE_MAGIC):
        sweep = Sweep.open(path)
        known = sweep.meta.get("n_layer")
        if n_layer not in (None, known):
            sweep.close()
            raise RequestError(
                f"n_layer is {n_layer}, but {path} is of a model with {known} layers"
            )
        return sweep
    if not start:
        raise StoreError(f"{path} is empty")
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"{":
        raise StoreError(
            f"{path} is neither the file of a sweep of rys (an SQLite database) nor JSON lines, one object a line, as "
            f"llm-circuit-finder writes them"
        )
    return ImportedSweep(path, n_layer)
