"""What plots read of a sweep: all access to its settings, its report and its frame's columns."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from rys.layer_path import LayerPath
from rys.sweep.results import Results
from rys.sweep.space import repeated_block

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ELIMINATED",
    "CachedResults",
    "Row",
    "block_of",
    "confirm_rows",
    "confirmed_rows",
    "contains_zero",
    "is_imported",
    "model_title",
    "n_layer_of",
    "notes_of",
    "probes_of",
]

Row = dict[str, Any]  # of the confirm stage
ELIMINATED = "left"  # the status of candidates that a race has dropped


class CachedResults:
    """Results of a sweep that are computed once, however many plots are drawn of them."""

    def __init__(self, sweep: Results) -> None:
        self.path, self.meta = sweep.path, sweep.meta
        # A report of a confirmed sweep resamples its scores thousands of times.
        self.report = cache(sweep.report)
        self._results = cache(sweep.results)

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return what the sweep's own method returns."""
        return self._results(probe)


def n_layer_of(sweep: Results) -> int:
    """Return the number of layers of the model."""
    return int(sweep.meta["n_layer"])


def model_title(sweep: Results) -> str:
    """Return the model's path or name, or the path of the sweep's file where it is not known."""
    return str(sweep.meta.get("model") or sweep.path)


def is_imported(sweep: Results) -> bool:
    """Return whether another program measured the sweep."""
    return bool(sweep.meta.get("imported"))


def notes_of(sweep: Results) -> list[str]:
    """Return what a reader should know about how the file was read."""
    return list(sweep.report()["notes"])


def confirmed_rows(sweep: Results) -> list[Row]:
    """Return the confirmed paths: `layer_path`, `extra_slots`, `effect`, `interval` of each."""
    return list(sweep.report()["confirmed"])


def confirm_rows(sweep: Results) -> list[Row]:
    """Return the rows of the confirm stage with a role, candidates first, then controls.

    Returns:
        Per path `path`, `search_effect`, `effect`, `low`, `high`, and `role`: "confirmed",
        "not confirmed" or "control". The list is empty before the confirm stage.
    """
    report = sweep.report()
    rows = []
    for row in report["top"]:
        rows.append(row | {"role": "confirmed" if row["confirmed"] else "not confirmed"})
    for row in report["controls"]:
        rows.append(row | {"role": "control"})
    return rows


def probes_of(frame: pd.DataFrame) -> list[str]:
    """Return the probes of a sweep's results."""
    ending = "_difference"
    return [name.removesuffix(ending) for name in frame.columns if name.endswith(ending)]


def contains_zero(frame: pd.DataFrame) -> pd.Series:
    """Return per row whether the 95% interval contains 0; False where there is no interval."""
    # Comparisons with NaN are False.
    return (frame["low"] <= 0) & (frame["high"] >= 0)


def block_of(path: str | tuple[int, ...], n_layer: int) -> tuple[int, int] | None:
    """Return the block (i, j) that a path runs twice, None for paths of another form.

    Args:
        path: Path in its notation, or the layers that it visits.
        n_layer: Layers of the model.
    """
    layers = path if isinstance(path, str) else list(path)
    return repeated_block(LayerPath(layers, n_layer))
