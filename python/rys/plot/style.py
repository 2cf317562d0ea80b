"""How all plots look: colours that most eyes can tell apart, titles, legends and ticks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rys._util.printable import printable
from rys.plot.sweep_data import model_title
from rys.sweep.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLUE",
    "DIVERGING",
    "GREY",
    "MAX_LEGEND_ROWS",
    "ORANGE",
    "SMALL",
    "UNMEASURED",
    "draw_baseline",
    "escape",
    "integer_ticks",
    "join_title",
    "legend_beside",
    "model_name",
    "set_title",
    "shorten",
]

# Okabe and Ito, Color Universal Design (2008): these differ for colour-blind eyes as well
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a8a8a"
# Red below 0, blue above: apart without red-green vision, and symmetrical in lightness
DIVERGING = "RdBu"
UNMEASURED = "#dcdcdc"  # darker than the white of 0
SMALL = 8  # points, of legends and labels
TITLE_LENGTH = 48  # characters that fit above the narrowest plot
MAX_LEGEND_ROWS = 12  # paths that fit below a legend beside the plot


def escape(text: str) -> str:
    """Return text of unknown origin so that matplotlib draws it as it is.

    Control characters are removed and dollar signs, which would begin a formula, are escaped.
    """
    return printable(text).replace("$", r"\$")


def shorten(text: str, length: int = TITLE_LENGTH) -> str:
    """Return a text with an ellipsis in its middle if it is longer than `length` characters."""
    if len(text) <= length:
        return text
    kept = length - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def model_name(sweep: Results) -> str:
    """Return the name of the model, or of the sweep's file, fit for a title."""
    return escape(shorten(Path(model_title(sweep)).name))


def join_title(*parts: str | None) -> str:
    """Return the parts that are not empty as one line of a title."""
    return escape(", ".join(shorten(part) for part in parts if part))


def set_title(ax: Axes, first: str, second: str) -> None:
    """Write two lines above a plot. Without a first line only the second is written."""
    ax.set_title(f"{first}\n{second}" if first else second, loc="left", fontsize="medium")


def legend_beside(ax: Axes, rows: Sequence[str] = ()) -> None:
    """Put the legend to the right of a plot, with further rows of text below it."""
    from matplotlib.lines import Line2D

    handles = ax.get_legend_handles_labels()[0]
    # An empty line with a label is how a legend takes text without a symbol.
    handles += [Line2D([], [], linestyle="", label=escape(row)) for row in rows]
    ax.legend(
        handles=handles, fontsize=SMALL, loc="upper left", bbox_to_anchor=(1, 1), frameon=False
    )


def integer_ticks(axis: Any) -> None:
    """Give a matplotlib Axis ticks at integers, as many as its length has room for."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def draw_baseline(ax: Axes) -> None:
    """Draw the line of no difference."""
    ax.axhline(0, color="0.4", linewidth=0.8)
