"""The heatmap of the blocks (i, j) that run twice, over start and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rys.plot.block_gains import BlockMap, compute_block_map
from rys.plot.figures import SweepPlot, axes_or_new
from rys.plot.matrices import draw_dots, draw_matrix
from rys.plot.style import SMALL, UNMEASURED, join_title, model_name, set_title
from rys.sweep.block_map import colour_limit
from rys.sweep.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["HEATMAP", "draw_block_map", "heatmap"]

SIZE = (6.4, 5.2)


def heatmap(sweep: Results, probe: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw what repeating each block gains or costs: starts i go down, ends j across.

    Colours are centred on 0 and clip as `rys.sweep.block_map.colour_limit` says. Dots lie on
    cells whose 95% interval contains 0, squares around blocks that were confirmed, and a star on
    the best block of the search.

    Args:
        sweep: A `rys.Sweep`, or what `rys.sweep.results.open_results` returns.
        probe: Probe to show. None = the mean over probes.
        ax: Axes to draw in. None = those of a new figure.

    Raises:
        PlotError: No block was measured.
        RequestError: The sweep has no such probe.
    """
    found = compute_block_map(sweep, probe)
    ax = axes_or_new(ax, SIZE)
    draw_block_map(ax, found)
    title = join_title("Blocks that run twice", found.what, found.missing)
    set_title(ax, model_name(sweep), title)
    return ax


HEATMAP = SweepPlot(heatmap, size=SIZE, takes_probe=True)


def draw_block_map(ax: Axes, found: BlockMap) -> None:
    """Draw the cells of a block map, its marks and their legend."""
    from matplotlib.patches import Patch

    n_layer = len(found.gain)
    draw_matrix(ax, found.gain, 0, 1, colour_limit(found.gain), found.label)
    ax.set_xlabel("end j (exclusive)")
    ax.set_ylabel("start i")
    handles: list[Any] = []
    if found.best:
        handles.append(_draw_star(ax, found))
    for block in found.confirmed:
        _draw_square(ax, *block)
    if found.confirmed:
        handles.append(Patch(fill=False, edgecolor="black", linewidth=1.3, label="confirmed"))
    if found.is_uncertain.any():
        rows, columns = np.nonzero(found.is_uncertain)
        draw_dots(ax, rows, columns + 1, n_layer)
        handles += ax.get_legend_handles_labels()[0]
    if np.isnan(found.gain[np.triu_indices(n_layer)]).any():
        handles.append(Patch(facecolor=UNMEASURED, edgecolor="0.6", label="not measured"))
    if handles:
        # Below the diagonal, at the lower left, there are no blocks that a legend could hide.
        ax.legend(handles=handles, loc="lower left", fontsize=SMALL)


def _draw_star(ax: Axes, found: BlockMap) -> Any:
    """Put a star on the best block. Return its entry for the legend."""
    from matplotlib.lines import Line2D

    assert found.best
    i, j = found.best
    star: dict[str, Any] = {
        "marker": "*",
        "markersize": max(6.0, min(11.0, 260 / len(found.gain))),
        "markerfacecolor": "white",
        "markeredgecolor": "black",
        "linestyle": "",
    }
    ax.plot([j], [i], zorder=4, **star)
    # The star hides the square around a small cell, so the legend says it as well.
    confirmed = ", confirmed" if found.best in found.confirmed else ""
    return Line2D([], [], label=f"best: ({i}, {j}){confirmed}", **star)


def _draw_square(ax: Axes, i: int, j: int) -> None:
    """Draw the square around a confirmed block."""
    from matplotlib.patches import Rectangle

    # White below black, so that it is seen on dark and on light cells.
    for colour, width in (("white", 2.6), ("black", 1.3)):
        corner = (j - 0.5, i - 0.5)
        ax.add_patch(
            Rectangle(corner, 1, 1, fill=False, edgecolor=colour, linewidth=width, zorder=3)
        )
