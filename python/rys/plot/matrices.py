"""Matrices of differences around 0, as coloured cells with dots on those that may be chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rys.plot.style import DIVERGING, UNMEASURED, integer_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_dots", "draw_matrix"]


def draw_matrix(
    ax: Axes,
    values: npt.NDArray[np.float64],
    first_row: int,
    first_column: int,
    limit: float,
    label: str,
) -> None:
    """Draw values around 0 with a colour bar that says where the colours clip.

    Args:
        ax: Axes to draw in. Rows go down.
        values: float64 [n_row, n_column]. NaN cells show the colour of what was not measured.
        first_row: y coordinate of values[0].
        first_column: x coordinate of values[:, 0].
        limit: Size of a value that gets the strongest colours.
        label: Of the colour bar.
    """
    n_row, n_column = values.shape
    # Cell edges lie half a unit beside the whole coordinates of the cells.
    left, right = first_column - 0.5, first_column + n_column - 0.5
    bottom, top = first_row + n_row - 0.5, first_row - 0.5
    ax.set_facecolor(UNMEASURED)
    image = ax.imshow(
        values,
        cmap=DIVERGING,
        vmin=-limit,  # as far below 0 as above, so that white is 0
        vmax=limit,
        extent=(left, right, bottom, top),
        interpolation="nearest",
        aspect="auto",
    )
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    is_clipped = bool(np.nanmin(values) < -limit), bool(np.nanmax(values) > limit)
    extend = ends.get(is_clipped, "both")
    ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.04, 1)), extend=extend, label=label)
    integer_ticks(ax.xaxis)
    integer_ticks(ax.yaxis)


def draw_dots(
    ax: Axes, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], n_column: int
) -> None:
    """Put dots on cells whose 95% interval contains 0.

    Args:
        ax: Axes to draw in.
        rows: int [K], y coordinates of the cells.
        columns: int [K], x coordinates of the cells.
        n_column: Number of columns of the matrix: the more, the smaller the dots.
    """
    size = max(1.6, min(4.0, 80 / n_column))
    ax.plot(
        columns,
        rows,
        "o",
        color="0.25",
        markersize=size,
        markeredgewidth=0,
        label="95% interval contains 0",
    )
