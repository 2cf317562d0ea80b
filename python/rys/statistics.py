"""What differences between paths can be told from noise. Everything here is about paired scores of
the same items.

Letters: C candidates, N items. `differences` are float64 [C, N], a candidate's score minus the
    baseline's; `strata` are
int [N], the group (probe and family) of every item; `weights` are float64 [N] and sum to 1, so that
`differences @ weights` is the effect of each candidate: the mean over probes of the mean over their
items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Floats",
    "adjusted_p_values",
    "bar_of",
    "bootstrap_intervals",
    "deviation_at_most",
    "deviations_of",
    "is_confirmed",
    "items_needed",
    "leaves_race",
    "power",
    "sign_flip_p_values",
    "weights_of",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_CHUNK = 20_000_000  # numbers in memory at once
_CHUNK_OF_SIGNS = (
    1_000_000  # likewise; larger arrays take up to six times as long, in fresh pages of memory
)
_MAX_RARE = 200  # candidates whose p-values are refined


def weights_of(probes: Ints | Sequence[str]) -> Floats:
    """Return the weight of every item: each probe counts the same, and so do its items. probes: N
    numbers or names.
    """
    _, which, sizes = np.unique(probes, return_inverse=True, return_counts=True)
    weights: Floats = 1.0 / (len(sizes) * sizes[which])
    return weights


def bootstrap_intervals(
    differences: Floats,
    weights: Floats,
    strata: Ints,
    confidence: float = 0.95,
    n_resamples: int = 4000,
    seed: int = 0,
) -> Floats:
    """Return the intervals of the effects, float64 [C, 2]: percentiles of a bootstrap over items
    within strata.

    The same resamples serve all candidates. Deviations are stretched, by sqrt(n / (n - 1)) of their
    stratum, since a resample varies less than a sample by that, and by Student's quantile over the
    normal one, since percentiles take the deviation for known. Where no item differs, the interval
    is what n items exclude: changes of more than the share that they would miss with this
    confidence.
    """
    from scipy import stats

    rng = np.random.default_rng(seed)
    n = differences.shape[1]
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    effects = differences @ weights
    tail = (1 - confidence) / 2
    by_t = stats.t.ppf(tail, max(1, n - len(groups))) / stats.norm.ppf(tail)
    deviations = np.empty((len(differences), n_resamples), dtype=np.float32)
    step = max(1, _CHUNK // (8 * n))
    for start in range(0, n_resamples, step):
        moves = np.zeros((min(step, n_resamples - start), n))
        for rows in groups:
            drawn = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), len(moves))
            stretch = math.sqrt(len(rows) / (len(rows) - 1)) if len(rows) > 1 else 1.0
            moves[:, rows] = (drawn - 1) * (stretch * by_t * weights[rows])
        deviations[:, start : start + step] = differences @ moves.T
    bounds = [
        np.quantile(row, [tail, 1 - tail]) for row in deviations
    ]  # row by row, for it copies what it sorts
    intervals: Floats = effects[:, None] + np.array(bounds).reshape(-1, 2)
    is_flat = np.ptp(differences, axis=1) == 0
    unseen = 1 - tail ** (1 / n)
    intervals[is_flat] = effects[is_flat, None] + np.array([-unseen, unseen])
    return intervals


def sign_flip_p_values(
    differences: Floats, weights: Floats, n_resamples: int = 10_000, seed: int = 0
) -> Floats:
    """Return two-sided p-values of the effects, float64 [C], from a permutation test.

    If a path makes no difference, every item's difference is as probable with the other sign.
    Compared are n_resamples random choices of signs, and the observed one among them. Where hardly
    any of them reaches the effect, ten times as many are drawn, so that one true gain among
    thousands of candidates can still be told after adjustment.
    """
    rng = np.random.default_rng(seed)
    n_reached = _n_reached(differences, weights, n_resamples, rng)
    p_values: Floats = (n_reached + 1) / (n_resamples + 1)
    rare = np.flatnonzero(n_reached < 5)
    if (
        0 < len(rare) <= _MAX_RARE
    ):  # with more of them each is far from the smallest, and adjusted by less
        n_more = 10 * n_resamples
        p_values[rare] = (_n_reached(differences[rare], weights, n_more, rng) + 1) / (n_more + 1)
    return p_values


def _n_reached(
    differences: Floats, weights: Floats, n_resamples: int, rng: np.random.Generator
) -> Floats:
    """Return how many random choices of signs give effects as large as the observed, float64 [C]."""
    observed = np.abs(differences @ weights)
    n_reached = np.zeros(len(differences))
    step = max(1, _CHUNK_OF_SIGNS // max(1, max(differences.shape)))
    for start in range(0, n_resamples, step):
        signs = (
            rng.integers(
                0, 2, (min(step, n_resamples - start), differences.shape[1]), dtype=np.int8
            )
            * 2
            - 1
        )
        flipped = np.abs(differences @ (signs * weights).T)  # [C, B]
        # equal sums differ in their last digits, by how large their terms are and not by how large
        # they are
        n_reached += (flipped >= observed[:, None] - 1e-12).sum(axis=1)
    return n_reached


def adjusted_p_values(p_values: Floats) -> Floats:
    """Return p-values adjusted for their number, by Benjamini and Hochberg (scipy)."""
    from scipy import stats

    adjusted: Floats = (
        np.asarray(stats.false_discovery_control(p_values)) if len(p_values) else p_values
    )
    return adjusted


def leaves_race(
    differences: Floats, weights: Floats, top: int, n_looks: int, alpha: float = 0.05
) -> Floats:
    """Return how far each candidate can still be above the running top-th best, float64 [C]; below
    0 it leaves.

    That is the upper bound of its paired difference to that candidate, which is narrower than two
    bounds against the baseline, whose own noise both would carry. The bounds hold at all looks
    together: there are n_looks of them, fixed beforehand, and each may err with alpha / n_looks
        (one-sided, Student's t).
    """
    from scipy import stats

    n = differences.shape[1]
    if len(differences) <= top or n < 2:
        return np.full(len(differences), np.inf)
    effects = differences @ weights
    reference = int(np.argsort(effects)[-top])
    against = differences - differences[reference]
    reach = stats.t.ppf(1 - alpha / n_looks, n - 1) * deviations_of(against, weights) / math.sqrt(n)
    bounds: Floats = against @ weights + reach
    bounds[reference] = np.inf
    return bounds


def deviations_of(differences: Floats, weights: Floats) -> Floats:
    """Return the standard deviations of an item's weighted difference, float64 [C]: of n * weight *
    difference.

    An effect is the mean of these over the n items. None is taken to be below that of one changed
    item in n: where no item changed, that is not known either. NaN for fewer than two items.
    """
    n = differences.shape[1]
    if n < 2:
        return np.full(len(differences), np.nan)
    deviations: Floats = np.maximum(
        (differences * (weights * n)).std(axis=1, ddof=1), 1 / math.sqrt(n)
    )
    return deviations


def deviation_at_most(deviation: float, n: int, confidence: float = 0.8) -> float:
    """Return what a standard deviation, estimated from n values, is at most with this confidence
    (chi-squared).
    """
    from scipy import stats

    return deviation * math.sqrt((n - 1) / float(stats.chi2.ppf(1 - confidence, n - 1)))


def items_needed(
    deviation: float, effect: float, k: int, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Return how many items find a paired effect with this power, two-sided, corrected for k paths.

    deviation: standard deviation of an item's paired difference. Normal approximation.
    """
    from scipy import stats

    z = float(stats.norm.ppf(1 - alpha / (2 * k)) + stats.norm.ppf(power))
    return max(2, math.ceil((z * deviation / effect) ** 2))


def power(
    deviation: float, effect: float, k: int, n: int, alpha: float = 0.05, bar: float = -math.inf
) -> float:
    """Return the probability that n items find a paired effect, as in `items_needed`.

    bar: what the gain must exceed besides, as the controls have it.
    """
    from scipy import stats

    error = deviation / math.sqrt(n)
    needed = max(float(stats.norm.ppf(1 - alpha / (2 * k))) * error, bar)
    return float(stats.norm.cdf((effect - needed) / error))


def bar_of(controls: Floats) -> float:
    """Return what a gain must exceed to be more than that of random paths: their mean and two
    standard deviations.

    NaN if there are fewer than two.
    """
    return float(controls.mean() + 2 * controls.std(ddof=1)) if len(controls) > 1 else math.nan


@dataclass(frozen=True)
class Verdict:
    """Hold whether a path is confirmed, and why not."""

    is_confirmed: bool
    reason: str


def is_confirmed(gain: float, interval: tuple[float, float], controls: Floats) -> Verdict:
    """Decide on a path of the confirm stage.

    gain: its effect on fresh items. interval: corrected for the number of paths. controls: effects
        of the random paths.
    Confirmed is what lies above 0 with its whole interval and above the controls' mean by two
    standard deviations.
    """
    if interval[0] <= 0:
        return Verdict(
            False,
            f"the corrected interval [{interval[0]:+.3f}, {interval[1]:+.3f}] does not lie above 0",
        )
    bar = bar_of(controls)
    if math.isnan(bar):
        return Verdict(
            False, "the interval lies above 0, but there were too few random paths to compare with"
        )
    if gain <= bar:
        return Verdict(
            False,
            f"the gain {gain:+.3f} is not above the random paths' {bar:+.3f} (mean + 2 deviations)",
        )
    return Verdict(
        True, "the corrected interval lies above 0, and the gain above that of random paths"
    )
