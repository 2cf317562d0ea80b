"""The effects of blocks (i, j) as a matrix, and the scale of its colours.

The terminal, the plots and the report draw the same matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["block_matrix", "colour_limit"]


def block_matrix(
    frame: pd.DataFrame, n_layer: int, column: str = "effect"
) -> npt.NDArray[np.float64]:
    """Return a column of the blocks that run twice as a matrix.

    Args:
        frame: The results of a sweep.
        n_layer: Layers of the model.
        column: The column.

    Returns:
        float64 [n_layer, n_layer], row i, column j - 1; NaN where there is no such block.
    """
    values = np.full((n_layer, n_layer), np.nan)
    for block, value in zip(frame["block"], frame[column], strict=True):
        if block:
            values[block[0], block[1] - 1] = value
    return values


def colour_limit(effects: npt.NDArray[np.float64]) -> float:
    """Return the difference, up or down, that has the fullest colour.

    That is what 98% of the paths do not exceed, but no more than twice the largest gain: blocks
    that break the model would otherwise leave no colour for those that help.

    Args:
        effects: Effects of any shape; NaN is ignored.
    """
    known = effects[np.isfinite(effects)]
    if not len(known):
        return 1.0
    reach, gain = float(np.quantile(np.abs(known), 0.98)), float(known.max())
    if gain > 0:
        reach = min(reach, 2 * gain)
    return reach or float(np.abs(known).max()) or 1.0
