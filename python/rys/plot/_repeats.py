"""Single layers by how often they are visited in a row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rys.errors import PlotError
from rys.plot.figures import SweepPlot, axes_or_new
from rys.plot.matrices import draw_dots, draw_matrix
from rys.plot.style import SMALL, join_title, model_name, set_title
from rys.plot.sweep_data import contains_zero, n_layer_of
from rys.sweep.block_map import colour_limit
from rys.sweep.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["REPEATS", "compute_repeat_matrix", "repeats"]

SIZE = (7.6, 3.4)
FIRST_ROW = 2  # visits in a row: one visit is the baseline


def compute_repeat_matrix(
    frame: pd.DataFrame, n_layer: int, column: str = "effect"
) -> npt.NDArray[np.float64]:
    """Return a column's values of the paths that repeat one layer.

    Args:
        frame: Results of a sweep.
        n_layer: Layers of the model.
        column: Whose values are returned.

    Returns:
        float64 [K, n_layer], row k for k + 2 visits in a row. NaN where a path was not tried.
        K is 0 if no path is of this form.
    """
    found = {}
    for layers, value in zip(frame["layers"], frame[column], strict=True):
        repeated = _repeated_layer(layers, n_layer)
        if repeated:
            found[repeated] = value
    most = max((times for _, times in found), default=1)
    values = np.full((most - 1, n_layer), np.nan)
    for (layer, times), value in found.items():
        values[times - FIRST_ROW, layer] = value
    return values


def _repeated_layer(layers: Sequence[int], n_layer: int) -> tuple[int, int] | None:
    """Return the one layer that a path repeats and its visits in a row, None for other paths."""
    times = len(layers) - n_layer + 1
    layer = next((a for a, b in pairwise(layers) if a == b), None)
    if layer is None:
        return None
    # A second repeated layer, or any other change, makes the path differ from this.
    expected = [*range(layer), *[layer] * times, *range(layer + 1, n_layer)]
    return (layer, times) if list(layers) == expected else None


def repeats(sweep: Results, probe: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw what it gains or costs to visit a single layer 2, 3, ... times in a row.

    Args:
        sweep: A `rys.Sweep`, or what `rys.sweep.results.open_results` returns.
        probe: Probe to show. None = the mean over probes.
        ax: Axes to draw in. None = those of a new figure.

    Raises:
        PlotError: The sweep has no such paths.
        RequestError: The sweep has no such probe.
    """
    n_layer = n_layer_of(sweep)
    frame = sweep.results(probe)
    values = compute_repeat_matrix(frame, n_layer)
    if np.isnan(values).all():
        raise PlotError(
            f"{sweep.path} has no path that repeats a single layer; sweep some with --repeats 2 3 4"
        )
    frame = frame.assign(uncertain=contains_zero(frame))
    is_uncertain = compute_repeat_matrix(frame, n_layer, "uncertain") == 1
    ax = axes_or_new(ax, SIZE)
    draw_matrix(ax, values, FIRST_ROW, 0, colour_limit(values), "difference to the baseline")
    rows, columns = np.nonzero(is_uncertain)
    if len(rows):
        draw_dots(ax, rows + FIRST_ROW, columns, n_layer)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=SMALL, frameon=False)
    ax.set_xlabel("layer")
    ax.set_ylabel("visits in a row")
    missing = "" if frame["low"].notna().any() else "no intervals"
    set_title(ax, model_name(sweep), join_title("Single layers that repeat", probe, missing))
    return ax


REPEATS = SweepPlot(repeats, size=SIZE, takes_probe=True)
