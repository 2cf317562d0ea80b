"""Heatmaps of several probes side by side, and of their balanced combination."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rys.errors import PlotError
from rys.plot._heatmap import draw_block_map
from rys.plot.block_gains import compute_balanced_map, compute_block_map
from rys.plot.figures import Size, require_matplotlib
from rys.plot.style import join_title, model_name, set_title
from rys.plot.sweep_data import CachedResults, probes_of
from rys.sweep.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["heatmaps", "heatmaps_size"]


def heatmaps(
    sweep: Results, probes: Sequence[str] | None = None, *, figure: Any = None
) -> list[Axes]:
    """Draw a heatmap of every probe and, for two or more, of their balanced combination.

    Args:
        sweep: A `rys.Sweep`, or what `rys.sweep.results.open_results` returns.
        probes: Probes to show. None = all.
        figure: A matplotlib Figure or SubFigure to draw in. None = a new one.

    Raises:
        PlotError: No block was measured.
        RequestError: The sweep has no such probe.
    """
    sweep = CachedResults(sweep)  # every map asks for the report again
    chosen = probes_of(sweep.results()) if probes is None else list(probes)
    found = [compute_block_map(sweep, probe) for probe in chosen]
    if len(chosen) > 1:
        found.append(compute_balanced_map(sweep))
    if not found:
        raise PlotError(f"{sweep.path} has no probe whose blocks could be shown")
    # Not before the numbers are known: an error must not leave an empty figure in a notebook.
    if figure is None:
        require_matplotlib()
        from matplotlib import pyplot as plt

        figure = plt.figure(figsize=heatmaps_size(len(found)), layout="constrained")
    panels = []
    for number, one in enumerate(found, 1):
        ax = figure.add_subplot(*_grid(len(found)), number)
        draw_block_map(ax, one)
        set_title(ax, "", join_title(one.what, one.missing))
        panels.append(ax)
    # The model once for all panels, which say only what differs.
    figure.suptitle(f"{model_name(sweep)}: blocks that run twice", fontsize="medium")
    return panels


def heatmaps_size(n: int) -> Size:
    """Return the size of a figure for n heatmaps."""
    n_row, n_column = _grid(n)
    return 4.6 * n_column, 3.9 * n_row + 0.4


def _grid(n: int) -> tuple[int, int]:
    """Return rows and columns: up to three in a row, more in about a square."""
    n_column = n if n < 4 else math.ceil(math.sqrt(n))
    return math.ceil(n / n_column), n_column
