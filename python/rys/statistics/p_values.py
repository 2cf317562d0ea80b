"""Tests of differences, and the adjustment of their p-values.

The letters and arrays are those of `rys.statistics`.
"""

from __future__ import annotations

import math

import numpy as np

from rys.statistics.items import Floats

__all__ = ["adjusted_p_values", "sign_flip_p_values", "welch_test"]

# Numbers in memory at once. Larger arrays come in fresh pages of memory and take up to six times
# as long.
_CHUNK_OF_SIGNS = 1_000_000
_MAX_RARE = 200  # candidates whose p-values are refined


def sign_flip_p_values(
    differences: Floats, weights: Floats, n_resamples: int = 10_000, seed: int = 0
) -> Floats:
    """Return two-sided p-values of the effects, from a permutation test.

    If a path makes no difference, every item's difference is as probable with the other sign. The
    observed effect is compared with those of random choices of signs. Where hardly any of them
    reaches it, ten times as many are drawn, so that one true gain among thousands of candidates
    can still be told after adjustment.

    Args:
        differences: float64 [C, N].
        weights: float64 [N].
        n_resamples: Number of random choices of signs. The observed one is counted as one more.
        seed: Seed of the signs.

    Returns:
        float64 [C].
    """
    rng = np.random.default_rng(seed)
    n_reached = _n_reached(differences, weights, n_resamples, rng)
    # The observed signs are one of the choices, so no p-value is 0.
    p_values: Floats = (n_reached + 1) / (n_resamples + 1)
    rare = np.flatnonzero(n_reached < 5)
    # If there are more of them, each is far from the smallest, and is adjusted by less.
    if 0 < len(rare) <= _MAX_RARE:
        n_more = 10 * n_resamples
        p_values[rare] = (_n_reached(differences[rare], weights, n_more, rng) + 1) / (n_more + 1)
    return p_values


def _n_reached(
    differences: Floats, weights: Floats, n_resamples: int, rng: np.random.Generator
) -> Floats:
    """Count the random choices of signs with effects as large as the observed one, float64 [C]."""
    observed = np.abs(differences @ weights)
    n_reached = np.zeros(len(differences))
    n = differences.shape[1]
    step = max(1, _CHUNK_OF_SIGNS // max(1, max(differences.shape)))
    for start in range(0, n_resamples, step):
        n_drawn = min(step, n_resamples - start)
        signs = 2 * rng.integers(0, 2, (n_drawn, n), dtype=np.int8) - 1
        flipped = np.abs(differences @ (signs * weights).T)  # [C, n_drawn]
        # Sums that are equal on paper differ in their last digits.
        n_reached += (flipped >= observed[:, None] - 1e-12).sum(axis=1)
    return n_reached


def adjusted_p_values(p_values: Floats) -> Floats:
    """Adjust p-values for their number by the method of Benjamini and Hochberg (scipy).

    Args:
        p_values: float64 [C]. May be empty.

    Returns:
        float64 [C].
    """
    from scipy import stats

    if len(p_values) == 0:
        return p_values
    adjusted: Floats = np.asarray(stats.false_discovery_control(p_values))
    return adjusted


def welch_test(
    difference: float, errors: tuple[float, float], sizes: tuple[int | None, int | None]
) -> tuple[float, tuple[float, float]] | None:
    """Test a difference of two independent means by their standard errors (Welch's test).

    Args:
        difference: Of the two means.
        errors: The standard errors of the two means.
        sizes: The numbers of items; None if unknown. Unless both are known and above 1, the normal
            distribution takes the place of Student's t.

    Returns:
        The two-sided p-value and the 95% interval, or None if the standard errors are 0, infinite
        or unknown.
    """
    from scipy import stats

    deviation = math.hypot(*errors)
    if not 0 < deviation < math.inf or not math.isfinite(difference / deviation):
        return None
    distribution = stats.norm()
    first, second = sizes
    if first and second and min(first, second) > 1:
        # Welch and Satterthwaite: the degrees of freedom, from the shares of the variance.
        shares = [(error / deviation) ** 2 for error in errors]
        inverse = shares[0] ** 2 / (first - 1) + shares[1] ** 2 / (second - 1)
        distribution = stats.t(1 / inverse)
    reach = float(distribution.ppf(0.975)) * deviation
    p_value = 2 * float(distribution.sf(abs(difference) / deviation))
    return p_value, (difference - reach, difference + reach)
