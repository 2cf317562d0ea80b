"""How items count: their weights, and the strata within which they are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ints", "strata_of", "weights_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]


def weights_of(probes: Ints | Sequence[str]) -> Floats:
    """Return the weight of every item: all probes count alike, and so do the items of a probe.

    Args:
        probes: The probe of every item, N numbers or names.

    Returns:
        float64 [N]. The sum is 1.
    """
    _, which, sizes = np.unique(probes, return_inverse=True, return_counts=True)
    weights: Floats = 1.0 / (len(sizes) * sizes[which])
    return weights


def strata_of(families: npt.ArrayLike, probes: npt.ArrayLike) -> Ints:
    """Return the stratum of every item: its family, or its whole probe if a family has one item.

    A single item never varies within its family, so its part of the noise would be taken for none.

    Args:
        families: The family of every item, N numbers or names. Families of different probes must
            have different numbers or names.
        probes: The probe of every item, N numbers or names.

    Returns:
        int [N]. Strata are numbered in the order of their names, on which the random draws of
        `bootstrap_intervals` depend.
    """
    names = np.asarray(probes)
    _, which, sizes = np.unique(np.asarray(families), return_inverse=True, return_counts=True)
    # The whole probe, because the single items of a probe are too few for a stratum of their own.
    is_whole = np.isin(names, names[sizes[which] == 1])
    numbers = np.unique(names, return_inverse=True)[1]
    # Negative, so that no probe has the number of a family.
    strata: Ints = np.where(is_whole, -1 - numbers, which)
    return strata
