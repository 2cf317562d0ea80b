"""Gain against extra slots, and the front: the paths that no other beats with as few slots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rys.errors import PlotError
from rys.plot.figures import SweepPlot, axes_or_new
from rys.plot.intervals import draw_intervals
from rys.plot.style import (
    BLUE,
    GREY,
    MAX_LEGEND_ROWS,
    ORANGE,
    draw_baseline,
    integer_ticks,
    join_title,
    legend_beside,
    model_name,
    set_title,
    shorten,
)
from rys.plot.sweep_data import ELIMINATED, confirmed_gains
from rys.sweep.analysis import pareto_front
from rys.sweep.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["PARETO", "compute_pareto_points", "pareto"]

SIZE = (8.4, 4.6)
MEASURED = ("done", "partial", ELIMINATED)  # the statuses that have an effect to show


def compute_pareto_points(
    sweep: Results, probe: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the measured candidates, those of the front, and the confirmed paths.

    Returns:
        Three frames with the columns path, extra_slots, effect, low and high among others. The
        effects of the confirmed paths are those on fresh items. There are none for a single
        probe, since the confirm stage judges the mean over probes.

    Raises:
        PlotError: Nothing was measured.
        RequestError: The sweep has no such probe.
    """
    import pandas as pd

    frame = sweep.results(probe)
    measured = frame[frame["effect"].notna() & frame["status"].isin(MEASURED)]
    if not len(measured):
        raise PlotError(f"{sweep.path} has no measured candidate yet; run the sweep first")
    confirmed = []
    for gain in [] if probe else confirmed_gains(sweep):
        low, high = gain.interval or (math.nan, math.nan)
        confirmed.append([gain.layer_path, gain.extra_slots, gain.effect, low, high])
    columns = ["path", "extra_slots", "effect", "low", "high"]
    return measured, pareto_front(frame), pd.DataFrame(confirmed, columns=columns)


def pareto(sweep: Results, probe: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw gain against extra slots, which cost time and memory, and mark the front.

    The front holds the paths that no other path beats with as few extra slots. Intervals are
    95% intervals: on the front from the search, for confirmed paths from fresh items.

    Args:
        sweep: A `rys.Sweep`, or what `rys.sweep.results.open_results` returns.
        probe: Probe to show. None = the mean over probes.
        ax: Axes to draw in. None = those of a new figure.

    Raises:
        PlotError: Nothing was measured.
        RequestError: The sweep has no such probe.
    """
    measured, front, confirmed = compute_pareto_points(sweep, probe)
    ax = axes_or_new(ax, SIZE)
    # Those that were eliminated answered fewer items, so their effects cannot be compared.
    is_compared = measured["status"] != ELIMINATED
    _draw_candidates(ax, measured[~is_compared], "0.8", "eliminated, not compared")
    _draw_candidates(ax, measured[is_compared], GREY, "candidates")
    if len(confirmed):
        x = confirmed["extra_slots"] + 0.25  # beside the dot of the search
        draw_intervals(ax, x, confirmed, "D", ORANGE, "confirmed, on fresh items")
    if len(front):
        slots, effects = front["extra_slots"], front["effect"]
        draw_intervals(ax, slots, front, "o", BLUE, "no other gains more with as few:")
        # Post: what so many slots buy holds until the next path of the front.
        ax.step(slots, effects, where="post", color=BLUE, linewidth=1, zorder=2)
    draw_baseline(ax)
    integer_ticks(ax.xaxis)
    ax.set_xlabel("extra slots")
    ax.set_ylabel("difference to the baseline")
    n_below = _cut_off_losses(ax, measured["effect"])
    legend_beside(ax, _front_rows(front))
    missing = "" if measured["low"].notna().any() else "no intervals"
    below = f"{n_below:,} more below" if n_below else ""
    title = join_title("Gain against extra slots", probe, missing, below)
    set_title(ax, model_name(sweep), title)
    return ax


PARETO = SweepPlot(pareto, size=SIZE, takes_probe=True)


def _draw_candidates(ax: Axes, rows: pd.DataFrame, colour: str, label: str) -> None:
    """Draw candidates as dots, if there are any."""
    if len(rows):
        slots, effects = rows["extra_slots"], rows["effect"]
        ax.plot(slots, effects, ".", color=colour, markersize=4, label=label, zorder=1)


def _cut_off_losses(ax: Axes, effects: pd.Series) -> int:
    """End the y axis at a loss of twice the best gain. Return how many effects lie below.

    Paths that break the model would otherwise press all others together.
    """
    best = max(0.0, float(effects.max()))
    if not best:  # without a gain the losses are all there is to see
        return 0
    n_below = int((effects < -2 * best).sum())
    if n_below:
        ax.set_ylim(bottom=-2 * best)
    return n_below


def _front_rows(front: pd.DataFrame) -> list[str]:
    """Return the paths of the front as lines for the legend, the longest paths if they are many."""
    rows = []
    for _, row in front.tail(MAX_LEGEND_ROWS).iterrows():
        path = shorten(row["path"], 28)
        rows.append(f"{row['extra_slots']:+d}: {row['effect']:+.3f}  {path}")
    return rows
