"""Effects with their intervals, as dots with error bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["draw_intervals"]


def draw_intervals(
    ax: Axes, x: Any, rows: pd.DataFrame, marker: str, colour: str, label: str
) -> None:
    """Draw effects with their intervals.

    Args:
        ax: Axes to draw in.
        x: float [N], where the rows stand.
        rows: N rows with the columns effect, low and high. NaN bounds draw no bar.
        marker: Of matplotlib.
        colour: Of dots and bars.
        label: In the legend.
    """
    effects = rows["effect"].to_numpy(np.float64)
    bounds = rows[["low", "high"]].to_numpy(np.float64).T
    ax.errorbar(
        x,
        rows["effect"],
        np.nan_to_num(np.abs(bounds - effects)),  # matplotlib wants lengths, and draws no NaN
        fmt=marker,
        color=colour,
        markersize=5,
        elinewidth=1,
        capsize=2,
        label=label,
        zorder=3,
    )
