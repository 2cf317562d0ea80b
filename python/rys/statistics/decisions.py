"""What a sweep decides: who is eliminated, how many items it takes, and which path is confirmed.

The letters and arrays are those of `rys.statistics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rys.statistics.items import Floats

__all__ = [
    "Verdict",
    "control_threshold",
    "deviation_at_most",
    "deviations_of",
    "elimination_bounds",
    "is_confirmed",
    "items_needed",
    "power",
]


def elimination_bounds(
    differences: Floats, weights: Floats, top: int, n_looks: int, alpha: float = 0.05
) -> Floats:
    """Return how far each candidate can still be above the top-th best of the race.

    That is the upper bound of its paired difference to that candidate. It is narrower than two
    bounds against the baseline, because both of these would carry the baseline's noise. A
    candidate whose bound is below 0 is eliminated.

    Args:
        differences: float64 [C, N], of the candidates that are in the race.
        weights: float64 [N].
        top: How many candidates the race is to find.
        n_looks: How many times the race looks, fixed beforehand. The bounds hold at all looks
            together: each may err with probability alpha / n_looks (one-sided, Student's t).
        alpha: Probability that a bound is too low at any look.

    Returns:
        float64 [C]. Infinite for the top-th best itself, and for all if nothing can be said yet.
    """
    from scipy import stats

    n = differences.shape[1]
    if len(differences) <= top or n < 2:
        return np.full(len(differences), np.inf)
    effects = differences @ weights
    reference = int(np.argsort(effects)[-top])
    # Paired with each other and not with the baseline: what both have in common cancels.
    against = differences - differences[reference]
    reach = stats.t.ppf(1 - alpha / n_looks, n - 1) * deviations_of(against, weights) / math.sqrt(n)
    bounds: Floats = against @ weights + reach
    # Its difference to itself is 0 with no noise, which must not eliminate it.
    bounds[reference] = np.inf
    return bounds


def deviations_of(differences: Floats, weights: Floats) -> Floats:
    """Return the standard deviations of an item's weighted difference.

    An effect is the mean of the n values `n * weight * difference`, whose deviation this is. Where
    all items have the same difference, which is mostly 0, it is that of one changed item in n: the
    deviation is not known to be 0. Where they differ, it is what was measured. Scores that are
    probabilities change a little on every item, and deviate far less than one item in n.

    Args:
        differences: float64 [C, N].
        weights: float64 [N].

    Returns:
        float64 [C]. NaN for fewer than two items.
    """
    n = differences.shape[1]
    if n < 2:
        return np.full(len(differences), np.nan)
    # n * weight is 1 for equal weights.
    measured = (differences * (weights * n)).std(axis=1, ddof=1)
    is_flat = np.ptp(differences, axis=1) == 0
    measured[is_flat] = np.maximum(measured[is_flat], 1 / math.sqrt(n))
    deviations: Floats = measured
    return deviations


def deviation_at_most(deviation: float, n: int, confidence: float = 0.8) -> float:
    """Return the upper bound of a standard deviation that was estimated from n values.

    Args:
        deviation: The estimate.
        n: Number of values.
        confidence: Of the bound, one-sided (chi-squared).
    """
    from scipy import stats

    return deviation * math.sqrt((n - 1) / float(stats.chi2.ppf(1 - confidence, n - 1)))


def items_needed(
    deviation: float, effect: float, k: int, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Return how many items find a paired effect with this power.

    Normal approximation, two-sided, corrected for k paths (Bonferroni).

    Args:
        deviation: Standard deviation of an item's paired difference.
        effect: The true effect to be found.
        k: Number of paths that are tested.
        power: Probability to find it.
        alpha: Probability to find anything if there is nothing.
    """
    from scipy import stats

    z = float(stats.norm.ppf(1 - alpha / (2 * k)) + stats.norm.ppf(power))
    return max(2, math.ceil((z * deviation / effect) ** 2))


def power(
    deviation: float, effect: float, k: int, n: int, alpha: float = 0.05, bar: float = -math.inf
) -> float:
    """Return the probability that n items find a paired effect, as in `items_needed`.

    Args:
        deviation: Standard deviation of an item's paired difference.
        effect: The true effect to be found.
        k: Number of paths that are tested.
        n: Number of items.
        alpha: Probability to find anything if there is nothing.
        bar: A threshold that the gain must exceed besides; see `control_threshold`.
    """
    from scipy import stats

    error = deviation / math.sqrt(n)
    # Both conditions must hold, so the harder one decides.
    needed = max(float(stats.norm.ppf(1 - alpha / (2 * k))) * error, bar)
    return float(stats.norm.cdf((effect - needed) / error))


def control_threshold(controls: Floats) -> float:
    """Return what a gain must exceed to be more than the gain of a random path.

    Args:
        controls: Effects of the random paths.

    Returns:
        Their mean plus two standard deviations. NaN if there are fewer than two.
    """
    # One path has no spread.
    if len(controls) < 2:
        return math.nan
    return float(controls.mean() + 2 * controls.std(ddof=1))


@dataclass(frozen=True)
class Verdict:
    """Whether a path is confirmed, and why.

    Attributes:
        is_confirmed: Whether it is confirmed.
        reason: Why it is, or why it is not.
    """

    is_confirmed: bool
    reason: str


def is_confirmed(
    gain: float, interval: tuple[float, float], controls: Floats, rounding: float = 0.0
) -> Verdict:
    """Decide whether a path of the confirm stage is confirmed.

    It is if its whole interval lies above 0, and its gain above the threshold that the random paths
    set (see `control_threshold`) and above what rounding alone does.

    Args:
        gain: Its effect on fresh items.
        interval: Of the gain, corrected for the number of paths.
        controls: Effects of the random paths.
        rounding: How far the mean score moves if the same model answers in other batches.
    """
    if interval[0] <= 0:
        return Verdict(
            False,
            f"the corrected interval [{interval[0]:+.3f}, {interval[1]:+.3f}] does not lie above 0",
        )
    # Batches differ between paths, so this much can be no more than another order of additions.
    if gain <= rounding:
        return Verdict(
            False,
            f"the gain {gain:+.4f} is not above what rounding alone does ({rounding:.4f})",
        )
    threshold = control_threshold(controls)
    # Without controls a gain could be what any change of the path brings.
    if math.isnan(threshold):
        return Verdict(
            False, "the interval lies above 0, but there were too few random paths to compare with"
        )
    if gain <= threshold:
        return Verdict(
            False,
            f"the gain {gain:+.3f} is not above the random paths' {threshold:+.3f} "
            f"(mean + 2 deviations)",
        )
    return Verdict(
        True, "the corrected interval lies above 0, and the gain above that of random paths"
    )
