"""Gains of blocks (i, j) that run twice, as numbers: what heatmap, heatmaps and skyline draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rys.errors import PlotError
from rys.plot.sweep_data import confirmed_gains, contains_zero, n_layer_of, probes_of
from rys.sweep.block_map import block_matrix
from rys.sweep.results import Results

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BlockMap", "compute_balanced_map", "compute_block_map"]


@dataclass(frozen=True)
class BlockMap:
    """Gains of the blocks of a model with L layers.

    Attributes:
        gain: float64 [L, L], row i, column j - 1. NaN where nothing was measured.
        what: What the gain is of, in words for a title. Empty if there is one probe only.
        is_uncertain: bool [L, L], where the 95% interval contains 0.
        best: (i, j) of the block with the largest gain among those that answered every item.
            None if no block did.
        confirmed: (i, j) of the blocks that were confirmed on fresh items.
        has_intervals: False if the sweep's file has no intervals.
        label: What the numbers are, for a colour bar.
    """

    gain: npt.NDArray[np.float64]
    what: str
    is_uncertain: npt.NDArray[np.bool_]
    best: tuple[int, int] | None
    confirmed: list[tuple[int, int]]
    has_intervals: bool
    label: str = "difference to the baseline"

    @property
    def missing(self) -> str:
        """What a title should say is missing."""
        return "" if self.has_intervals else "no intervals"


def compute_block_map(sweep: Results, probe: str | None = None) -> BlockMap:
    """Return the differences to the baseline of one probe, or the mean over all.

    Raises:
        PlotError: No block was measured.
        RequestError: The sweep has no such probe.
    """
    frame = sweep.results(probe)
    what = probe or ("mean over probes" if len(probes_of(frame)) > 1 else "")
    return _map_of(sweep, frame, "effect", what)


def compute_balanced_map(sweep: Results) -> BlockMap:
    """Return the mean over probes of the z-scores of the measured paths' differences.

    Probes whose scores vary little count as much as those whose scores vary widely. 0 is the
    average path. A block is uncertain if the 95% interval of its mean difference over the probes
    contains 0.

    Raises:
        PlotError: No block was measured.
    """
    frame = sweep.results()
    names = [f"{probe}_difference" for probe in probes_of(frame)]
    differences = frame[names].where(frame["effect"].notna())
    # A probe on which all paths score the same has no deviation; its z-scores are 0.
    deviations = differences.std(ddof=0).replace(0.0, 1.0)
    scores = (differences - differences.mean()) / deviations
    frame = frame.assign(z=scores.mean(axis=1, skipna=False))
    frame = frame.sort_values("z", ascending=False, kind="stable")
    return _map_of(sweep, frame, "z", "balanced: mean of z-scores", "mean z-score")


def _map_of(
    sweep: Results,
    frame: pd.DataFrame,
    column: str,
    what: str,
    label: str = "difference to the baseline",
) -> BlockMap:
    """Return the map of a column. The frame is sorted by it, best first."""
    n_layer = n_layer_of(sweep)
    gain = block_matrix(frame, n_layer, column)
    if np.isnan(gain).all():
        raise PlotError(
            f"{sweep.path} has no block that runs twice with a measured gain; "
            "sweep some with --blocks (rys.space.blocks)"
        )
    frame = frame.assign(uncertain=contains_zero(frame))
    # The matrix holds 0 and 1 as floats, and NaN outside of the blocks.
    is_uncertain = block_matrix(frame, n_layer, "uncertain") == 1
    blocks = frame.loc[frame["status"] == "done", "block"].dropna()
    # Repeats and skips can be confirmed as well; they are not blocks.
    confirmed = [gain.block for gain in confirmed_gains(sweep)]
    return BlockMap(
        gain=gain,
        what=what,
        is_uncertain=is_uncertain & ~np.isnan(gain),
        best=blocks.iloc[0] if len(blocks) else None,
        confirmed=[block for block in confirmed if block],
        has_intervals=bool(frame["low"].notna().any()),
        label=label,
    )
