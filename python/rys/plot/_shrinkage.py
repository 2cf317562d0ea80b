"""What the confirmation left of the search's gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rys.errors import PlotError
from rys.plot.figures import SweepPlot, axes_or_new
from rys.plot.intervals import draw_intervals
from rys.plot.style import (
    BLUE,
    GREY,
    MAX_LEGEND_ROWS,
    ORANGE,
    draw_baseline,
    legend_beside,
    model_name,
    set_title,
    shorten,
)
from rys.plot.sweep_data import confirm_rows, is_imported
from rys.sweep.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["SHRINKAGE", "collect_confirm_stage", "shrinkage"]

SIZE = (8.0, 4.8)
STYLES = {"confirmed": ("D", ORANGE), "not confirmed": ("o", BLUE), "control": ("s", GREY)}


def collect_confirm_stage(sweep: Results) -> pd.DataFrame:
    """Return one row per path of the confirm stage.

    Returns:
        The columns path, role, search, effect, low, high. role is "confirmed", "not confirmed" or
        "control". search is the gain in the search, NaN for controls that the search did not try.

    Raises:
        PlotError: The sweep has no confirm stage.
    """
    import pandas as pd

    columns = {
        "path": "path",
        "role": "role",
        "search_effect": "search",
        "effect": "effect",
        "low": "low",
        "high": "high",
    }
    frame = pd.DataFrame(confirm_rows(sweep), columns=[*columns]).rename(columns=columns)
    # A path of a confirm stage that was interrupted has no effect yet.
    frame = frame[frame["effect"].notna()].reset_index(drop=True)
    if not len(frame):
        remedy = f"`rys sweep --resume {sweep.path}` runs it"
        if is_imported(sweep):
            remedy = "files of other programs never have one: sweep again with rys"
        raise PlotError(f"{sweep.path} has no confirm stage; {remedy}")
    return frame


def shrinkage(sweep: Results, *, ax: Axes | None = None) -> Axes:
    """Draw the gain on fresh items against that of the search.

    Points below the diagonal shrank: the winner's curse. Controls that the search did not try
    stand at the left edge.

    Args:
        sweep: A `rys.Sweep`, or what `rys.sweep.results.open_results` returns.
        ax: Axes to draw in. None = those of a new figure.

    Raises:
        PlotError: The sweep has no confirm stage.
    """
    frame = collect_confirm_stage(sweep)
    low, high, margin = _limits(frame)
    ax = axes_or_new(ax, SIZE)
    dashed: dict[str, Any] = {"color": "0.4", "linewidth": 0.8, "linestyle": "--"}
    ax.plot([low, high], [low, high], label="as in the search", **dashed)
    draw_baseline(ax)
    for role, (marker, colour) in STYLES.items():
        rows = frame[frame["role"] == role]
        if len(rows):
            x = rows["search"].fillna(low + margin / 2)  # at the left edge, inside of it
            draw_intervals(ax, x, rows, marker, colour, role)
    # The same ends on both axes make the dashed line the diagonal.
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_xlabel("gain in the search")
    ax.set_ylabel("gain on fresh items")
    legend_beside(ax, _candidate_rows(frame))
    set_title(ax, model_name(sweep), "What the confirmation left of the search's gains")
    return ax


SHRINKAGE = SweepPlot(shrinkage, size=SIZE, takes_probe=False)


def _limits(frame: pd.DataFrame) -> tuple[float, float, float]:
    """Return the ends of both axes and the margin in them, so that all points and 0 fit."""
    known = frame[["search", "low", "high"]].to_numpy(np.float64).ravel()
    ends = np.append(known[~np.isnan(known)], 0.0)
    margin = 0.06 * (float(np.ptp(ends)) or 1.0)
    return float(ends.min()) - margin, float(ends.max()) + margin, margin


def _candidate_rows(frame: pd.DataFrame) -> list[str]:
    """Return the first candidates as lines for the legend."""
    rows = []
    for _, row in frame[frame["role"] != "control"].head(MAX_LEGEND_ROWS).iterrows():
        path = shorten(row["path"], 28)
        rows.append(f"{row['search']:+.3f} became {row['effect']:+.3f}: {path}")
    return rows
