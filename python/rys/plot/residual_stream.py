"""The residual stream slot by slot: what the plots of models share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rys.engine.model import Model
from rys.plot.style import GREY, integer_ticks, join_title, legend_beside, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["finish_slot_plot", "repeated_slots", "to_unit_length"]


def to_unit_length(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return vectors [..., D] scaled to length 1. Vectors of length 0 stay as they are."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    # A stream that cancels out exactly has length 0; its cosine with anything is then 0, not NaN.
    unit: npt.NDArray[np.float64] = vectors / np.where(length == 0, 1.0, length)
    return unit


def repeated_slots(layers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of slots that visit layers again: (first slot, slot after the last)."""
    seen: set[int] = set()
    start: int | None = None
    for slot, layer in enumerate(layers):
        if layer in seen and start is None:
            start = slot
        elif layer not in seen and start is not None:
            yield start, slot
            start = None
        seen.add(layer)
    if start is not None:
        yield start, len(layers)


def finish_slot_plot(ax: Axes, model: Model, title: str, x_label: str, offset: float) -> None:
    """Shade repeated slots, and write what all plots over slots have.

    Args:
        ax: Axes with slots across.
        model: Model that was drawn, with its path.
        title: Second line of the title.
        x_label: What an x coordinate is.
        offset: From the left edge of a slot to its x coordinate.
    """
    label: str | None = "layers visited again"
    for first, end in repeated_slots(model.layer_path.layers):
        left, right = first - offset, end - offset
        ax.axvspan(left, right, color=GREY, alpha=0.2, linewidth=0, zorder=0, label=label)
        label = None  # once in the legend
    integer_ticks(ax.xaxis)
    ax.margins(x=0.01)
    ax.set_xlabel(x_label)
    legend_beside(ax)
    set_title(ax, join_title(Path(model.source).name, str(model.layer_path)), title)
