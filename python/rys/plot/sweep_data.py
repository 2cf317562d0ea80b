"""What plots read of a sweep: all access to its settings, its report and its frame's columns."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from rys.sweep.report import PathGain
from rys.sweep.results import Results
from rys.sweep.trial import Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ELIMINATED",
    "CachedResults",
    "Row",
    "confirm_rows",
    "confirmed_gains",
    "contains_zero",
    "is_imported",
    "model_title",
    "n_layer_of",
    "notes_of",
    "probes_of",
]

Row = dict[str, Any]  # of the confirm stage
ELIMINATED = Status.ELIMINATED.value


class CachedResults:
    """Results of a sweep that are computed once, however many plots are drawn of them."""

    def __init__(self, sweep: Results) -> None:
        self.path, self.n_layer = sweep.path, sweep.n_layer
        self.model, self.is_imported = sweep.model, sweep.is_imported
        # A report of a confirmed sweep resamples its scores thousands of times.
        self.report = cache(sweep.report)
        self._results = cache(sweep.results)

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return what the sweep's own method returns."""
        return self._results(probe)


def n_layer_of(sweep: Results) -> int:
    """Return the number of layers of the model."""
    return sweep.n_layer


def model_title(sweep: Results) -> str:
    """Return the model's path or name, or the path of the sweep's file where it is not known."""
    return str(sweep.model or sweep.path)


def is_imported(sweep: Results) -> bool:
    """Return whether another program measured the sweep."""
    return sweep.is_imported


def notes_of(sweep: Results) -> list[str]:
    """Return what a reader should know about how the file was read."""
    return list(sweep.report().notes)


def confirmed_gains(sweep: Results) -> list[PathGain]:
    """Return the confirmed paths, largest gain first."""
    return list(sweep.report().confirmed)


def confirm_rows(sweep: Results) -> list[Row]:
    """Return the rows of the confirm stage with a role, candidates first, then controls.

    Returns:
        Per path `path`, `search_effect`, `effect`, `low`, `high`, and `role`: "confirmed",
        "not confirmed" or "control". The list is empty before the confirm stage.
    """
    report = sweep.report()
    rows = []
    for top in report.top:
        rows.append(asdict(top) | {"role": "confirmed" if top.confirmed else "not confirmed"})
    for control in report.controls:
        rows.append(asdict(control) | {"role": "control"})
    return rows


def probes_of(frame: pd.DataFrame) -> list[str]:
    """Return the probes of a sweep's results."""
    ending = "_difference"
    return [name.removesuffix(ending) for name in frame.columns if name.endswith(ending)]


def contains_zero(frame: pd.DataFrame) -> pd.Series:
    """Return per row whether the 95% interval contains 0; False where there is no interval."""
    # Comparisons with NaN are False.
    return (frame["low"] <= 0) & (frame["high"] >= 0)
