"""What the difference of two runs on one task can be told from: tests and 95% intervals.

N is the number of items. Scores are float64 [N, 2], pairs (a, b); see rys.compare.run.Samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rys.compare.run import Score
from rys.statistics import Floats, bootstrap_intervals, sign_flip_p_values

__all__ = ["Finding", "aggregation_of", "paired", "unpaired"]

# Reported value as a function of sum(a) / sum(b): means and shares, perplexities of
# log-likelihoods, bits per byte.
Aggregation = Callable[[Any], Any]
_AGGREGATIONS: tuple[Aggregation, ...] = (
    lambda ratio: ratio,
    lambda ratio: np.exp(-ratio),
    lambda ratio: -ratio / math.log(2),
)
_MEAN = _AGGREGATIONS[0]
_SHARES = ("acc", "exact_match", "pass")  # in the names of metrics whose items are right or wrong
_OF_PARTS = "inst_level"  # ifeval's shares of instructions, of which a prompt has several


@dataclass(frozen=True)
class Finding:
    """Hold what is known of a difference. NaN stands for what cannot be told.

    gained, lost: items that the other run does better and worse, None without pairs. test: what p
        is from.
    """

    p: float = math.nan
    low: float = math.nan
    high: float = math.nan
    gained: int | None = None
    lost: int | None = None
    test: str = "none"


def aggregation_of(scores: Floats, reported: float) -> Aggregation | None:
    """Return the aggregation that makes the reported value of the items' scores, None if none of
    the known does.
    """
    if not math.isfinite(reported):
        return None
    with np.errstate(all="ignore"):
        ratio = scores[:, 0].sum() / scores[:, 1].sum()
        for aggregation in _AGGREGATIONS:
            if math.isclose(aggregation(ratio), reported, rel_tol=1e-6, abs_tol=1e-9):
                return aggregation
    return None


def paired(base: Floats, other: Floats, aggregation: Aggregation, is_lower_better: bool) -> Finding:
    """Compare scores of the same items.

    Scores of 0 and 1: exact McNemar test, and the adjusted Wald interval of Bonett and Price (2012,
    J. Educ. Behav.
    Stat. 37), which holds its level also where few items differ. Others: sign-flip test, and a
    bootstrap over items.
    """
    from scipy import stats

    differences = other[:, 0] - base[:, 0]
    n = len(differences)
    is_better = differences < 0 if is_lower_better and aggregation is _MEAN else differences > 0
    gained = int(is_better.sum())
    lost = int((differences != 0).sum()) - gained
    scores = np.array([base[:, 0], other[:, 0]])
    is_counted = bool((base[:, 1] == 1).all())
    if aggregation is _MEAN and is_counted and np.isin(scores, (0, 1)).all():
        p = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        up, down = (((differences == sign).sum() + 1) / (n + 2) for sign in (1, -1))
        reach = stats.norm.ppf(0.975) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
        return Finding(
            p, max(-1.0, up - down - reach), min(1.0, up - down + reach), gained, lost, "McNemar"
        )

    p = float(sign_flip_p_values(differences[None], np.full(n, 1 / base[:, 1].sum()))[0])
    low, high = math.nan, math.nan
    # of differences that are all the same a bootstrap says something only if it is known how large
    # they can be
    is_bounded = bool(scores.min() >= 0 and scores.max() <= 1)
    if aggregation is _MEAN and is_counted and n > 1 and (is_bounded or np.ptp(differences)):
        low, high = bootstrap_intervals(
            differences[None], np.full(n, 1 / n), np.zeros(n, dtype=np.intp)
        )[0]
    elif n > 1 and np.ptp(differences):

        def effect(base: Floats, other: Floats, size: Floats, axis: int) -> Floats:
            size = size.sum(axis)
            moved: Floats = aggregation(other.sum(axis) / size) - aggregation(base.sum(axis) / size)
            return moved

        found = stats.bootstrap(
            (base[:, 0], other[:, 0], base[:, 1]), effect, paired=True, vectorized=True, method="percentile",
            n_resamples=4000, batch=max(1, 1_000_000 // n), rng=np.random.default_rng(0),
        )  # fmt: skip
        low, high = found.confidence_interval
    return Finding(p, float(low), float(high), gained, lost, "sign flips")


def unpaired(base: Score, other: Score, metric: str) -> Finding:
    """Compare reported values by their standard errors: Welch's test, the normal one where n is
    unknown.
    """
    from scipy import stats

    errors = [standard_error(score, metric) for score in (base, other)]
    difference, deviation = other.value - base.value, math.hypot(*errors)
    if not 0 < deviation < math.inf or not math.isfinite(difference / deviation):
        return Finding()
    distribution = stats.norm()
    if base.n and other.n and min(base.n, other.n) > 1:
        shares = [(error / deviation) ** 2 for error in errors]  # of the variance
        distribution = stats.t(
            1 / sum(x * x / (n - 1) for x, n in zip(shares, (base.n, other.n), strict=True))
        )
    reach = float(distribution.ppf(0.975)) * deviation
    p = 2 * float(distribution.sf(abs(difference) / deviation))
    return Finding(p, difference - reach, difference + reach, test="Welch")


def standard_error(score: Score, metric: str) -> float:
    """Return the reported standard error; without one, the binomial one if the metric is a share of
    n items.

    That of a share is not taken to be below that of one wrong item in n: n right answers do not
    make a model certain.
    """
    is_share = any(name in metric for name in _SHARES) and not metric.startswith(_OF_PARTS)
    if not score.n or not 0 <= score.value <= 1 or not is_share:
        return score.stderr
    binomial = math.sqrt(score.value * (1 - score.value) / score.n)
    return max(binomial if math.isnan(score.stderr) else score.stderr, 1 / score.n)
