"""What all plots share: axes, colours that most eyes can tell apart, titles, labels that do not
overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rys._util.printable import printable
from rys.errors import PlotError, PlotLibraryError
from rys.sweep.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["PlotError", "PlotLibraryError"]

# Okabe and Ito, Color Universal Design (2008): these differ for colour-blind eyes as well
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8a8a8a"
DIVERGING = (
    "RdBu"  # red below 0, blue above: apart without red-green vision, and symmetrical in lightness
)
UNMEASURED = "#dcdcdc"  # darker than the white of 0
SMALL = 8  # points, of legends and labels

TITLE_LENGTH = 48
SIZES = {  # inches
    "heatmap": (6.4, 5.2),
    "skyline": (7.2, 3.6),
    "repeats": (7.6, 3.4),
    "pareto": (8.4, 4.6),
    "race": (7.2, 4.4),
    "shrinkage": (8.0, 4.8),
    "anatomy": (8.8, 4.2),
    "influence": (8.4, 3.6),
}


def require_matplotlib() -> None:
    """Raise PlotLibraryError if matplotlib is missing."""
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise PlotLibraryError(
            f'plots need matplotlib ({error}): pip install "rys[plot]"'
        ) from None


def axes_or_new(ax: Axes | None, kind: str) -> Axes:
    """Return the given axes, or those of a new figure of a plot's own size, which a notebook shows
    by itself.
    """
    if ax is not None:
        return ax
    require_matplotlib()
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=SIZES[kind], layout="constrained")[1]


class Once:
    """Read results once, however many plots are made of them."""

    def __init__(self, sweep: Results) -> None:
        self.path, self.meta = sweep.path, sweep.meta
        self.report = cache(sweep.report)
        self._results = cache(sweep.results)

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return what the sweep's own method returns."""
        return self._results(probe)


def plain(text: str) -> str:
    """Return text of unknown origin so that matplotlib draws it as it is: no formulae, no control
    characters.
    """
    return printable(text).replace("$", r"\$")


def shortened(text: str, length: int = TITLE_LENGTH) -> str:
    """Return a text with an ellipsis in its middle if it is longer than that."""
    if len(text) <= length:
        return text
    kept = length - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def model_name(sweep: Results) -> str:
    """Return the name of the model, or of the file if it is not known, fit for a title."""
    return plain(shortened(Path(str(sweep.meta.get("model") or sweep.path)).name))


def joined(*parts: str | None) -> str:
    """Return the parts that there are, as one line of a title."""
    return plain(", ".join(shortened(part) for part in parts if part))


def set_title(ax: Axes, first: str, second: str) -> None:
    """Write two lines above a plot."""
    ax.set_title(f"{first}\n{second}" if first else second, loc="left", fontsize="medium")


def legend_beside(ax: Axes, rows: Sequence[str] = ()) -> None:
    """Put the legend to the right of a plot, with further rows of text below it."""
    from matplotlib.lines import Line2D

    handles = [
        *ax.get_legend_handles_labels()[0],
        *(Line2D([], [], linestyle="", label=plain(row)) for row in rows),
    ]
    ax.legend(
        handles=handles, fontsize=SMALL, loc="upper left", bbox_to_anchor=(1, 1), frameon=False
    )


def whole_ticks(axis: Any) -> None:
    """Let an axis have ticks at whole numbers, as many as its length has room for."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def draw_matrix(
    ax: Axes,
    values: npt.NDArray[np.float64],
    first_row: int,
    first_column: int,
    limit: float,
    label: str,
) -> None:
    """Draw values around 0, NaN blank, with a colour bar that says where it clips.

    first_row, first_column: coordinates of values[0, 0]; rows go down. limit: value of the
        strongest colours.
    """
    n_row, n_column = values.shape
    ax.set_facecolor(UNMEASURED)
    extent = (
        first_column - 0.5,
        first_column + n_column - 0.5,
        first_row + n_row - 0.5,
        first_row - 0.5,
    )
    image = ax.imshow(
        values,
        cmap=DIVERGING,
        vmin=-limit,
        vmax=limit,
        extent=extent,
        interpolation="nearest",
        aspect="auto",
    )
    is_clipped = bool(np.nanmin(values) < -limit), bool(np.nanmax(values) > limit)
    extend = {
        (False, False): "neither",
        (True, False): "min",
        (False, True): "max",
        (True, True): "both",
    }[is_clipped]
    ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.04, 1)), extend=extend, label=label)
    whole_ticks(ax.xaxis)
    whole_ticks(ax.yaxis)


def draw_dots(
    ax: Axes, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], n_column: int
) -> None:
    """Put dots on cells whose interval contains 0. n_column: of all cells, which decides how small
    the dots are.
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
