"""The skyline of the heatmap: mean gains by the start and by the end of the blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rys.plot.block_gains import BlockMap, compute_block_map
from rys.plot.figures import SweepPlot, axes_or_new
from rys.plot.style import (
    BLUE,
    ORANGE,
    SMALL,
    draw_baseline,
    integer_ticks,
    join_title,
    model_name,
    set_title,
)
from rys.sweep.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SKYLINE", "Skyline", "compute_skyline", "skyline"]

SIZE = (7.2, 3.6)


@dataclass(frozen=True)
class Skyline:
    """Mean gains of the measured blocks by start and by end, of a model with L layers.

    Attributes:
        by_start: float64 [L], mean of the blocks that start at layer i. NaN where there are none.
        by_end: float64 [L], mean of the blocks that end at j, at index j - 1. NaN likewise.
        what: What the gain is of, in words for a title.
        start_peak: i of the largest mean among those of at least half as many blocks as the most
            have. The other means, at the corners of the triangle, are mostly noise.
        end_peak: j of the largest mean, with the same restriction.
    """

    by_start: npt.NDArray[np.float64]
    by_end: npt.NDArray[np.float64]
    what: str
    start_peak: int
    end_peak: int


def compute_skyline(found: BlockMap) -> Skyline:
    """Return the row and column means of a block map."""
    by_start, start_peak = _means(found.gain, axis=1)
    # Column j - 1 holds the blocks that end at j.
    by_end, end_peak = _means(found.gain, axis=0)
    return Skyline(by_start, by_end, found.what, start_peak, end_peak + 1)


def _means(gain: npt.NDArray[np.float64], axis: int) -> tuple[npt.NDArray[np.float64], int]:
    """Return the means along an axis and the index of the largest that many blocks share."""
    n_blocks = (~np.isnan(gain)).sum(axis=axis)
    # np.nanmean would warn where there are no blocks
    mean = np.where(n_blocks > 0, np.nansum(gain, axis=axis) / np.maximum(n_blocks, 1), np.nan)
    has_many = 2 * n_blocks >= n_blocks.max()
    return mean, int(np.nanargmax(np.where(has_many, mean, np.nan)))


def skyline(sweep: Results, probe: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the mean gain of all blocks that start at a layer, and of all that end there.

    The two peaks show where the blocks that help begin and end.

    Args:
        sweep: A `rys.Sweep`, or what `rys.sweep.results.open_results` returns.
        probe: Probe to show. None = the mean over probes.
        ax: Axes to draw in. None = those of a new figure.

    Raises:
        PlotError: No block was measured.
        RequestError: The sweep has no such probe.
    """
    found = compute_skyline(compute_block_map(sweep, probe))
    ax = axes_or_new(ax, SIZE)
    n_layer = len(found.by_start)
    lines = (
        ("start i", found.by_start, 0, found.start_peak, BLUE, "-"),
        ("end j", found.by_end, 1, found.end_peak, ORANGE, "--"),
    )
    for name, means, first, peak, colour, style in lines:
        label = f"by {name}, highest at {peak}"
        layers = np.arange(first, first + n_layer)
        ax.plot(layers, means, style, color=colour, drawstyle="steps-mid", label=label)
        ax.plot([peak], [means[peak - first]], "o", color=colour, markersize=5)
    draw_baseline(ax)
    ax.set_xlim(-0.5, n_layer + 0.5)  # ends reach n_layer, starts n_layer - 1
    integer_ticks(ax.xaxis)
    ax.set_xlabel("start i, end j (exclusive)")
    ax.set_ylabel("mean difference")
    ax.legend(fontsize=SMALL)
    title = join_title("Mean gain of the blocks by start and end", found.what)
    set_title(ax, model_name(sweep), title)
    return ax


SKYLINE = SweepPlot(skyline, size=SIZE, takes_probe=True)
