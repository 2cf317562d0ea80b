"""Figures and axes to draw in, and the kinds of plots that `rys plot` offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from rys.errors import PlotLibraryError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Size", "SweepPlot", "axes_or_new", "figure_without_window", "require_matplotlib"]

Size: TypeAlias = tuple[float, float]  # width and height in inches


@dataclass(frozen=True)
class SweepPlot:
    """A plot of a sweep, as `rys plot --kind` offers it.

    Attributes:
        function: Draws a sweep in the axes `ax=`. Its name is the name of the kind.
        size: Of a figure with this plot alone.
        takes_probe: Whether the function has `probe=` and can show one probe alone.
    """

    function: Callable[..., Axes]
    size: Size
    takes_probe: bool

    @property
    def name(self) -> str:
        """Name of the kind."""
        return self.function.__name__


def require_matplotlib() -> None:
    """Check that matplotlib can be imported.

    Raises:
        PlotLibraryError: matplotlib cannot be imported.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise PlotLibraryError(
            f'plots need matplotlib ({error}): pip install "rys[plot]"'
        ) from None


def axes_or_new(ax: Axes | None, size: Size) -> Axes:
    """Return the given axes, or the axes of a new figure.

    Args:
        ax: Axes that the caller gave, or None.
        size: Of the new figure. A notebook shows the figure by itself.

    Raises:
        PlotLibraryError: A figure is needed and matplotlib is missing.
    """
    if ax is not None:
        return ax
    require_matplotlib()
    from matplotlib import pyplot as plt

    # The constrained layout makes room for a legend beside the axes.
    return plt.subplots(figsize=size, layout="constrained")[1]


def figure_without_window(size: Size) -> Any:
    """Return a new matplotlib Figure that pyplot, and so any window, knows nothing of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
