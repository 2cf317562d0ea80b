"""Blocks (i, j) that run twice: the heatmap over start and end, several side by side, and its
skyline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rys.layer_path import LayerPath
from rys.plot.drawing import (
    BLUE,
    ORANGE,
    SMALL,
    UNMEASURED,
    Once,
    PlotError,
    axes_or_new,
    draw_dots,
    draw_matrix,
    joined,
    model_name,
    require_matplotlib,
    set_title,
    whole_ticks,
)  # fmt: skip
from rys.sweep.block_map import block_matrix, colour_limit
from rys.sweep.results import Results
from rys.sweep.space import repeated_block

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = [
    "BlockMap",
    "Skyline",
    "balanced_map",
    "block_map",
    "heatmap",
    "heatmaps",
    "skyline",
    "skyline_of",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BlockMap:
    """Hold the gains of the blocks of a model with L layers.

    gain: float64 [L, L], row i, column j - 1, NaN where nothing was measured. what: the gain of
        what, in words.
    is_uncertain: bool [L, L], where the 95% interval contains 0. best: (i, j) of the best that
        answered everything.
    confirmed: (i, j) of those that held on fresh items. has_intervals: False if the file knows
        none.
    """

    gain: Floats
    what: str
    is_uncertain: npt.NDArray[np.bool_]
    best: tuple[int, int] | None
    confirmed: list[tuple[int, int]]
    has_intervals: bool

    @property
    def lack(self) -> str:
        """What a title should say is not there."""
        return "" if self.has_intervals else "no intervals"


def block_map(sweep: Results, probe: str | None = None) -> BlockMap:
    """Return the differences to the baseline of one probe, or the mean over all.

    Raises PlotError without blocks.
    """
    frame = sweep.results(probe)
    frame = frame.assign(uncertain=(frame["low"] <= 0) & (frame["high"] >= 0))
    what = probe or ("mean over probes" if len(probes_of(frame)) > 1 else "")
    return _map_of(sweep, frame, "effect", what, has_intervals=bool(frame["low"].notna().any()))


def probes_of(frame: pd.DataFrame) -> list[str]:
    """Return the probes of a sweep's results."""
    return [
        name.removesuffix("_difference") for name in frame.columns if name.endswith("_difference")
    ]


def balanced_map(sweep: Results) -> BlockMap:
    """Return the mean over probes of the z-scores of their differences, over the paths that were
    measured.

    Probes whose scores vary little count as much as those whose scores vary widely; 0 is the
    average path. Uncertain are the blocks whose mean difference over the probes has a 95% interval
    that contains 0.
    """
    frame = sweep.results()
    names = [f"{probe}_difference" for probe in probes_of(frame)]
    differences = frame[names].where(frame["effect"].notna())
    deviations = differences.std(ddof=0).replace(0.0, 1.0)
    frame = frame.assign(
        z=((differences - differences.mean()) / deviations).mean(axis=1, skipna=False)
    )
    frame = frame.assign(uncertain=(frame["low"] <= 0) & (frame["high"] >= 0))
    frame = frame.sort_values("z", ascending=False, kind="stable")
    has_intervals = bool(frame["low"].notna().any())
    return _map_of(sweep, frame, "z", "balanced: mean of z-scores", has_intervals)


def _map_of(
    sweep: Results, frame: pd.DataFrame, column: str, what: str, has_intervals: bool
) -> BlockMap:
    n_layer = int(sweep.meta["n_layer"])
    gain = block_matrix(frame, n_layer, column)
    if np.isnan(gain).all():
        raise PlotError(
            f"{sweep.path} has no block that runs twice with a measured gain; "
            "sweep some with --blocks (rys.space.blocks)"
        )
    done = frame[frame["status"] == "done"]
    in_order = (repeated_block(LayerPath(list(layers), n_layer)) for layers in done["layers"])
    confirmed = (
        repeated_block(LayerPath(row["layer_path"], n_layer)) for row in sweep.report()["confirmed"]
    )
    return BlockMap(
        gain=gain,
        what=what,
        is_uncertain=(block_matrix(frame, n_layer, "uncertain") == 1) & ~np.isnan(gain),
        best=next((block for block in in_order if block), None),
        confirmed=[block for block in confirmed if block],
        has_intervals=has_intervals,
    )


def heatmap(sweep: Results, probe: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw what repeating each block gains or costs: starts i go down, ends j across.

    Colours are centred on 0 and clip as `colour_limit` says. Dots lie on cells whose 95% interval
    contains 0, squares around blocks that were confirmed, a star on the best of the search.

    sweep: a rys.Sweep, or what rys.sweep.results.open_results returns. probe: None = the mean over
        probes.
    Raises PlotError if no block was measured, RequestError if there is no such probe.
    """
    found = block_map(sweep, probe)
    ax = axes_or_new(ax, "heatmap")
    _draw(ax, found, "difference to the baseline")
    set_title(ax, model_name(sweep), joined("Blocks that run twice", found.what, found.lack))
    return ax


def heatmaps(
    sweep: Results, probes: Sequence[str] | None = None, *, figure: Any = None
) -> list[Axes]:
    """Draw a heatmap for every probe and, for two or more, one of their balanced combination.

    probes: None = all. figure: a matplotlib Figure or SubFigure to draw in; None = a new one.
    """
    sweep = Once(sweep)
    chosen = probes_of(sweep.results()) if probes is None else list(probes)
    found = [block_map(sweep, probe) for probe in chosen]
    if len(chosen) > 1:
        found.append(balanced_map(sweep))
    if not found:
        raise PlotError(f"{sweep.path} has no probe whose blocks could be shown")
    if figure is None:
        require_matplotlib()
        from matplotlib import pyplot as plt

        figure = plt.figure(figsize=heatmaps_size(len(found)), layout="constrained")
    panels = [figure.add_subplot(*_grid(len(found)), k + 1) for k in range(len(found))]
    for ax, one in zip(panels, found, strict=True):
        _draw(
            ax,
            one,
            "mean z-score" if one.what.startswith("balanced") else "difference to the baseline",
        )
        set_title(ax, "", joined(one.what, one.lack))
    figure.suptitle(f"{model_name(sweep)}: blocks that run twice", fontsize="medium")
    return panels


def heatmaps_size(n: int) -> tuple[float, float]:
    """Return the inches that n heatmaps side by side need."""
    n_row, n_column = _grid(n)
    return 4.6 * n_column, 3.9 * n_row + 0.4


def _grid(n: int) -> tuple[int, int]:
    n_column = n if n < 4 else math.ceil(math.sqrt(n))
    return math.ceil(n / n_column), n_column


def _draw(ax: Axes, found: BlockMap, label: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Rectangle

    draw_matrix(ax, found.gain, 0, 1, colour_limit(found.gain), label)
    ax.set_xlabel("end j (exclusive)")
    ax.set_ylabel("start i")
    handles: list[Any] = []
    if found.best:
        i, j = found.best
        size = max(6.0, min(11.0, 260 / len(found.gain)))
        star: dict[str, Any] = {
            "marker": "*",
            "markersize": size,
            "markerfacecolor": "white",
            "markeredgecolor": "black",
        }
        ax.plot([j], [i], linestyle="", zorder=4, **star)
        held = (
            ", confirmed" if found.best in found.confirmed else ""
        )  # the star hides the square of a small cell
        handles.append(Line2D([], [], linestyle="", label=f"best: ({i}, {j}){held}", **star))
    for i, j in found.confirmed:
        for colour, width in (("white", 2.6), ("black", 1.3)):
            square = Rectangle(
                (j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=width, zorder=3
            )
            ax.add_patch(square)
    if found.confirmed:
        handles.append(Patch(fill=False, edgecolor="black", linewidth=1.3, label="confirmed"))
    if found.is_uncertain.any():
        rows, columns = np.nonzero(found.is_uncertain)
        draw_dots(ax, rows, columns + 1, len(found.gain))
        handles += ax.get_legend_handles_labels()[0]
    if np.isnan(found.gain[np.triu_indices_from(found.gain)]).any():
        handles.append(Patch(facecolor=UNMEASURED, edgecolor="0.6", label="not measured"))
    if handles:  # below the diagonal there are no blocks
        ax.legend(handles=handles, loc="lower left", fontsize=SMALL)


@dataclass(frozen=True)
class Skyline:
    """Hold the mean gain of the measured blocks that start at a layer, and of those that end before
    one.

    by_start: float64 [L], of layer i. by_end: float64 [L], of end j at index j - 1. NaN where there
        are none.
    start_peak, end_peak: i and j of the largest means, of those over at least half as many blocks
        as the most have:
    a corner of the triangle has few blocks, whose mean is mostly noise.
    """

    by_start: Floats
    by_end: Floats
    what: str
    start_peak: int
    end_peak: int


def skyline_of(found: BlockMap) -> Skyline:
    """Return the row and column means of a block map."""

    n = ~np.isnan(found.gain)
    means, peaks = [], []
    for axis in (1, 0):
        count = n.sum(axis=axis)
        mean = np.where(count > 0, np.nansum(found.gain, axis=axis) / np.maximum(count, 1), np.nan)
        means.append(mean)
        peaks.append(int(np.nanargmax(np.where(2 * count >= count.max(), mean, np.nan))))
    return Skyline(means[0], means[1], found.what, peaks[0], peaks[1] + 1)


def skyline(sweep: Results, probe: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the mean gain of all blocks that start at a layer, and of all that end there: where the
    circuit begins and ends.

    probe: None = the mean over probes. Raises PlotError if no block was measured.
    """
    found = skyline_of(block_map(sweep, probe))
    ax = axes_or_new(ax, "skyline")
    n_layer = len(found.by_start)
    lines = (
        ("start i", found.by_start, 0, found.start_peak, BLUE, "-"),
        ("end j", found.by_end, 1, found.end_peak, ORANGE, "--"),
    )
    for name, values, first, peak, colour, style in lines:
        layers = np.arange(first, first + n_layer)
        ax.plot(
            layers,
            values,
            style,
            color=colour,
            drawstyle="steps-mid",
            label=f"by {name}, highest at {peak}",
        )
        ax.plot([peak], [values[peak - first]], "o", color=colour, markersize=5)
    ax.axhline(0, color="0.4", linewidth=0.8)
    ax.set_xlim(-0.5, n_layer + 0.5)
    whole_ticks(ax.xaxis)
    ax.set_xlabel("start i, end j (exclusive)")
    ax.set_ylabel("mean difference")
    ax.legend(fontsize=SMALL)
    set_title(ax, model_name(sweep), joined("Mean gain of the blocks by start and end", found.what))
    return ax
