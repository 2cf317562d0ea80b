"""Candidates of the search: single layers by how often they repeat, and gain against extra slots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rys.plot.drawing import (
    BLUE,
    GREY,
    ORANGE,
    SMALL,
    PlotError,
    axes_or_new,
    draw_dots,
    draw_matrix,
    joined,
    legend_beside,
    model_name,
    set_title,
    shortened,
    whole_ticks,
)  # fmt: skip
from rys.sweep.analysis import pareto_front
from rys.sweep.block_map import colour_limit
from rys.sweep.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["pareto", "pareto_points", "repeat_matrix", "repeats"]

MAX_ROWS = 12  # of the front, in the legend


def repeated_layer(layers: Sequence[int], n_layer: int) -> tuple[int, int] | None:
    """Return the one layer that a path repeats in place, and its visits in a row; None for paths of
    another form.
    """
    times = len(layers) - n_layer + 1
    layer = next((a for a, b in pairwise(layers) if a == b), None)
    if layer is None or list(layers) != [
        *range(layer),
        *[layer] * times,
        *range(layer + 1, n_layer),
    ]:
        return None
    return layer, times


def repeat_matrix(
    frame: pd.DataFrame, n_layer: int, column: str = "effect"
) -> npt.NDArray[np.float64]:
    """Return a column's values of paths that repeat one layer: float64 [K, n_layer], row k for k +
    2 visits in a row.

    NaN where a path was not tried. K is 0 if no path is of this form.
    """
    found = {
        where: value
        for layers, value in zip(frame["layers"], frame[column], strict=True)
        if (where := repeated_layer(layers, n_layer))
    }
    values = np.full((max((times for _, times in found), default=1) - 1, n_layer), np.nan)
    for (layer, times), value in found.items():
        values[times - 2, layer] = value
    return values


def repeats(sweep: Results, probe: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw what it gains or costs to visit a single layer 2, 3, ... times in a row.

    probe: None = the mean over probes. Raises PlotError if the sweep has no such paths.
    """
    n_layer = int(sweep.meta["n_layer"])
    frame = sweep.results(probe)
    values = repeat_matrix(frame, n_layer)
    if np.isnan(values).all():
        raise PlotError(
            f"{sweep.path} has no path that repeats a single layer; sweep some with --repeats 2 3 4"
        )
    uncertain = repeat_matrix(
        frame.assign(uncertain=(frame["low"] <= 0) & (frame["high"] >= 0)), n_layer, "uncertain"
    )
    ax = axes_or_new(ax, "repeats")
    draw_matrix(ax, values, 2, 0, colour_limit(values), "difference to the baseline")
    rows, columns = np.nonzero(uncertain == 1)
    if len(rows):
        draw_dots(ax, rows + 2, columns, n_layer)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=SMALL, frameon=False)
    ax.set_xlabel("layer")
    ax.set_ylabel("visits in a row")
    lack = "" if frame["low"].notna().any() else "no intervals"
    set_title(ax, model_name(sweep), joined("Single layers that repeat", probe, lack))
    return ax


def pareto_points(
    sweep: Results, probe: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the measured candidates, those of the front, and the confirmed paths with the gain on
    fresh items.

    The columns that matter: path, extra_slots, effect, low, high. Raises PlotError if nothing was
    measured.
    """
    import pandas as pd

    frame = sweep.results(probe)
    measured = frame[frame["effect"].notna() & frame["status"].isin(["done", "partial", "left"])]
    if not len(measured):
        raise PlotError(f"{sweep.path} has no measured candidate yet; run the sweep first")
    columns = ["path", "extra_slots", "effect", "low", "high"]
    held = [] if probe else [
        [row["layer_path"], row["extra_slots"], row["effect"], *row["interval"]] for row in sweep.report()["confirmed"]
    ]  # fmt: skip
    return measured, pareto_front(frame), pd.DataFrame(held, columns=columns)


def pareto(sweep: Results, probe: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw gain against extra slots, which cost time and memory; those that none beats with as few
    are the front.

    Intervals are of 95%: those of the front from the search, those of the confirmed paths from
    fresh items.

    probe: None = the mean over probes. Raises PlotError if nothing was measured.
    """
    measured, front, confirmed = pareto_points(sweep, probe)
    ax = axes_or_new(ax, "pareto")
    ended = measured["status"] != "left"
    for rows, colour, name in (
        (measured[~ended], "0.8", "left the race, not compared"),
        (measured[ended], GREY, "candidates"),
    ):
        if len(rows):
            ax.plot(
                rows["extra_slots"],
                rows["effect"],
                ".",
                color=colour,
                markersize=4,
                label=name,
                zorder=1,
            )
    if len(confirmed):
        x = confirmed["extra_slots"] + 0.25  # beside what the search said
        draw_intervals(ax, x, confirmed, "D", ORANGE, "confirmed, on fresh items")
    if len(front):
        draw_intervals(
            ax, front["extra_slots"], front, "o", BLUE, "no other gains more with as few:"
        )
        ax.step(
            front["extra_slots"], front["effect"], where="post", color=BLUE, linewidth=1, zorder=2
        )
    ax.axhline(0, color="0.4", linewidth=0.8)
    whole_ticks(ax.xaxis)
    ax.set_xlabel("extra slots")
    ax.set_ylabel("difference to the baseline")
    rows = [
        f"{slots:+d}: {effect:+.3f}  {shortened(path, 28)}"
        for slots, effect, path in zip(
            front["extra_slots"], front["effect"], front["path"], strict=True
        )
    ][-MAX_ROWS:]
    top = max(0.0, float(measured["effect"].max()))
    n_below = int((measured["effect"] < -2 * top).sum()) if top else 0
    if n_below:  # what ruins the model would press the rest together
        ax.set_ylim(bottom=-2 * top)
    legend_beside(ax, rows)
    lack = "" if measured["low"].notna().any() else "no intervals"
    set_title(
        ax,
        model_name(sweep),
        joined(
            "Gain against extra slots", probe, lack, f"{n_below:,} more below" if n_below else ""
        ),
    )
    return ax


def draw_intervals(
    ax: Axes, x: Any, rows: pd.DataFrame, marker: str, colour: str, label: str
) -> None:
    """Draw effects with their intervals, where there are any. rows: effect, low and high."""
    reach = np.abs(
        rows[["low", "high"]].to_numpy(np.float64).T - rows["effect"].to_numpy(np.float64)
    )
    ax.errorbar(
        x, rows["effect"], np.nan_to_num(reach), fmt=marker, color=colour, markersize=5, elinewidth=1, capsize=2,
        label=label, zorder=3,
    )  # fmt: skip
