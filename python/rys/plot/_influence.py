"""The influence of each slot's layer: how far it turns the residual stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rys.engine.model import Model
from rys.errors import PlotError
from rys.plot.figures import axes_or_new
from rys.plot.residual_stream import finish_slot_plot, to_unit_length
from rys.plot.style import BLUE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compute_influence", "influence"]

SIZE = (8.4, 3.6)


def compute_influence(model: Model, texts: Sequence[str]) -> list[npt.NDArray[np.float64]]:
    """Return 1 - cosine between the residual stream before and after each slot.

    Its mean is the Block Influence of Men et al., ShortGPT (2024).

    Returns:
        float64 [S, T] for every text of T tokens, with S slots.

    Raises:
        PlotError: Without texts.
    """
    if isinstance(texts, str) or not texts:
        raise PlotError(f"influence was given {texts!r}, but needs a list of texts")
    found = []
    for text in texts:
        unit = to_unit_length(model.hidden_states(text).astype(np.float64))
        # unit has one row more than there are slots: the stream after the last.
        found.append(1 - np.einsum("std,std->st", unit[:-1], unit[1:]))
    return found


def influence(model: Model, texts: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw how much each slot's layer turns the residual stream.

    The line is the mean of 1 - cosine between a slot's input and output over tokens and texts,
    the band holds 80% of the tokens. Slots that visit a layer again are shaded.

    Args:
        model: Model to look at.
        texts: Texts to run through it.
        ax: Axes to draw in. None = those of a new figure.

    Raises:
        PlotError: Without texts.
    """
    # float64 [S, all tokens]: a long text weighs more than a short one.
    values = np.concatenate(compute_influence(model, texts), axis=1)
    ax = axes_or_new(ax, SIZE)
    x = np.arange(len(values))
    low, high = np.percentile(values, [10, 90], axis=1)
    ax.fill_between(x, low, high, color=BLUE, alpha=0.2, linewidth=0, label="80% of tokens")
    ax.plot(x, values.mean(axis=1), "o-", color=BLUE, markersize=3, label="mean over tokens")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("1 - cosine(input, output)")
    title = f"Influence of each slot's layer, over {len(texts)} texts"
    finish_slot_plot(ax, model, title, x_label="slot", offset=0.5)
    return ax
