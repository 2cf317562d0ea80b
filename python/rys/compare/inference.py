"""What can be told from the difference of two runs on one task: tests and 95% intervals.

N is the number of items. Scores are float64 [N, 2], pairs (a, b); see `Samples.scores`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rys.compare.run import Score
from rys.statistics import (
    Floats,
    Ints,
    paired_interval,
    ratio_interval,
    sign_flip_p_values,
    welch_test,
)

__all__ = ["Aggregation", "Finding", "aggregation_of", "paired", "unpaired"]

# A reported value as a function of sum(a) / sum(b).
Aggregation: TypeAlias = Callable[[Any], Any]


def _mean(ratio: Any) -> Any:
    """Means and shares."""
    return ratio


def _perplexity(ratio: Any) -> Any:
    """Perplexity, of log-likelihoods by words or bytes."""
    return np.exp(-ratio)


def _bits_per_byte(ratio: Any) -> Any:
    """Bits per byte, of log-likelihoods by bytes."""
    return -ratio / math.log(2)


_AGGREGATIONS: tuple[Aggregation, ...] = (_mean, _perplexity, _bits_per_byte)
_SHARES = ("acc", "exact_match", "pass")  # in the names of metrics whose items are right or wrong
_OF_PARTS = "inst_level"  # ifeval's shares of instructions; a prompt has several


@dataclass(frozen=True)
class Finding:
    """What is known about a difference. NaN stands for what cannot be told.

    Attributes:
        p: Two-sided p-value.
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        gained: Items that the other run does better; None without pairs.
        lost: Items that the other run does worse; None without pairs.
        test: Where p is from.
    """

    p: float = math.nan
    low: float = math.nan
    high: float = math.nan
    gained: int | None = None
    lost: int | None = None
    test: str = "none"

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval; None if it is not known."""
        return (self.low, self.high) if math.isfinite(self.high - self.low) else None


def aggregation_of(scores: Floats, reported: float) -> Aggregation | None:
    """Return the aggregation that makes the reported value of the items' scores.

    Args:
        scores: float64 [N, 2].
        reported: The value that the file has.

    Returns:
        One of the known aggregations; None if none of them makes the value.
    """
    if not math.isfinite(reported):
        return None
    with np.errstate(all="ignore"):  # without items the ratio is 0 / 0
        ratio = scores[:, 0].sum() / scores[:, 1].sum()
        for aggregation in _AGGREGATIONS:
            if math.isclose(aggregation(ratio), reported, rel_tol=1e-6, abs_tol=1e-9):
                return aggregation
    return None


def paired(
    base: Floats,
    other: Floats,
    aggregation: Aggregation,
    is_lower_better: bool,
    strata: Ints | None = None,
) -> Finding:
    """Compare scores of the same items.

    The test is McNemar's exact one for scores of 0 and 1, and the sign-flip test for others. The
    interval is that of `rys.statistics`.

    Args:
        base: float64 [N, 2].
        other: float64 [N, 2], with the same sizes b.
        aggregation: What makes the reported values.
        is_lower_better: Whether lower values are better.
        strata: int [N], families of items; None for one family.
    """
    differences = other[:, 0] - base[:, 0]
    # In a perplexity the items' log-likelihoods are better if higher, and the perplexity if lower.
    is_reversed = is_lower_better and aggregation is _mean
    is_better = differences < 0 if is_reversed else differences > 0
    gained = int(is_better.sum())
    lost = int((differences != 0).sum()) - gained
    low, high = _paired_interval(base, other, aggregation, strata)
    scores = np.concatenate([base[:, 0], other[:, 0]])
    if _is_mean_over_items(base, aggregation) and np.isin(scores, (0, 1)).all():
        return Finding(_mcnemar_p_value(gained, lost), low, high, gained, lost, "McNemar")
    weights = np.full(len(base), 1 / base[:, 1].sum())
    p = float(sign_flip_p_values(differences[None, :], weights)[0])
    return Finding(p, low, high, gained, lost, "sign flips")


def _is_mean_over_items(base: Floats, aggregation: Aggregation) -> bool:
    """Return whether the value is the mean of the items' scores, each counted once."""
    return aggregation is _mean and bool((base[:, 1] == 1).all())


def _paired_interval(
    base: Floats, other: Floats, aggregation: Aggregation, strata: Ints | None
) -> tuple[float, float]:
    """Return the 95% interval of the difference; NaN if it cannot be told."""
    differences = other[:, 0] - base[:, 0]
    scores = np.concatenate([base[:, 0], other[:, 0]])
    is_flat = np.ptp(differences) == 0
    if _is_mean_over_items(base, aggregation):
        # If all differences are equal, it must be known how large a difference can be.
        is_bounded = bool(scores.min() >= -1 and scores.max() <= 1)
        if is_bounded or not is_flat:
            return paired_interval(differences, strata=strata)
    elif not is_flat:
        return ratio_interval(base[:, 0], other[:, 0], base[:, 1], aggregation)
    return math.nan, math.nan


def _mcnemar_p_value(gained: int, lost: int) -> float:
    """Return the p-value of McNemar's exact test, two-sided."""
    from scipy import stats

    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost).pvalue)


def unpaired(base: Score, other: Score, metric: str) -> Finding:
    """Compare reported values by their standard errors; see `rys.statistics.welch_test`."""
    errors = standard_error(base, metric), standard_error(other, metric)
    tested = welch_test(other.value - base.value, errors, (base.n, other.n))
    if tested is None:
        return Finding()
    p, (low, high) = tested
    return Finding(p, low, high, test="Welch")


def standard_error(score: Score, metric: str) -> float:
    """Return the standard error of a score.

    A share of n items has the reported one, or else the binomial one. It is never taken to be below
    that of one wrong item in n, because n right answers do not make a model certain.

    Args:
        score: The score.
        metric: Its metric, whose name tells whether it is a share.

    Returns:
        The standard error; NaN if the metric is not a share and no standard error was reported.
    """
    is_share = any(name in metric for name in _SHARES) and not metric.startswith(_OF_PARTS)
    if not score.n or not 0 <= score.value <= 1 or not is_share:
        return score.stderr
    error = score.stderr
    if math.isnan(error):
        error = math.sqrt(score.value * (1 - score.value) / score.n)
    return max(error, 1 / score.n)
