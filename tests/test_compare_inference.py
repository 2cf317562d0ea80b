"""Tests and intervals of differences.

Oracles: scipy, and values worked out by hand. How often paired intervals cover the truth is looked
at in test_statistics.py.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rys.compare import inference
from rys.compare.run import Score
from rys.statistics import paired_interval


def of(scores: np.ndarray) -> np.ndarray:
    """Return scores of items that count 1 each."""
    return np.column_stack([scores, np.ones(len(scores))])


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(1, 6, 0.125), (10, 2, 158 / 4096), (0, 5, 0.0625), (0, 0, 1.0)]
)
def test_mcnemar_is_the_exact_binomial_test(gained, lost, p):
    # p by hand: twice the tail of Binomial(gained + lost, 1/2); 158 = 2 * (1 + 12 + 66)
    base = np.array([0.0] * gained + [1.0] * lost + [0.0, 1.0] * 20)
    other = np.array([1.0] * gained + [0.0] * lost + [0.0, 1.0] * 20)
    found = inference.paired(
        of(base), of(other), inference.aggregation_of(of(base), base.mean()), False
    )
    assert (found.gained, found.lost, found.test) == (gained, lost, "McNemar")
    assert found.p == pytest.approx(p)
    assert found.low < other.mean() - base.mean() < found.high


@pytest.mark.parametrize("n_lost", [0, 1, 5])
def test_intervals_of_shares_and_of_graded_scores_are_the_paired_ones(n_lost):
    base = np.array([0.0] * 6 + [1.0] * n_lost + [1.0] * 17)
    other = np.array([1.0] * 6 + [0.0] * n_lost + [1.0] * 17)
    strata = np.arange(len(base)) % 2
    for scale in (1.0, 0.5):
        aggregation = inference.aggregation_of(of(scale * base), scale * base.mean())
        runs = of(scale * base), of(scale * other)
        found = inference.paired(*runs, aggregation, False)
        assert found.interval == paired_interval(scale * (other - base))
        found = inference.paired(*runs, aggregation, False, strata)
        assert found.interval == paired_interval(scale * (other - base), strata=strata)


def test_scores_without_bounds_that_did_not_move_have_no_interval():
    scores = np.linspace(0, 30, 20)
    found = inference.paired(
        of(scores), of(scores), inference.aggregation_of(of(scores), scores.mean()), False
    )
    assert (found.p, found.gained, found.lost) == (1.0, 0, 0)
    assert math.isnan(found.low)
    found = inference.paired(
        *[of(scores / 30)] * 2, inference.aggregation_of(of(scores), scores.mean()), False
    )
    assert found.low < 0 < found.high


def test_unpaired_by_hand():
    # difference 0.03, standard errors 0.03 and 0.04: z = 0.6, and without n the normal distribution
    found = inference.unpaired(
        Score(value=0.50, stderr=0.03), Score(value=0.53, stderr=0.04), "acc"
    )
    assert found.p == pytest.approx(0.5485062, abs=1e-6)
    assert (found.low, found.high) == pytest.approx(
        (0.03 - 1.959964 * 0.05, 0.03 + 1.959964 * 0.05), abs=1e-6
    )
    assert (found.gained, found.lost) == (None, None)


def test_unpaired_with_counts_is_welchs_test():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 12), rng.normal(1, 3, 30)
    scores = [
        Score(value=v.mean(), stderr=v.std(ddof=1) / math.sqrt(len(v)), n=len(v)) for v in (x, y)
    ]
    expected = stats.ttest_ind(y, x, equal_var=False)
    found = inference.unpaired(scores[0], scores[1], "bleu")
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_missing_standard_errors_of_shares_are_binomial():
    found = inference.unpaired(Score(value=0.5, n=100), Score(value=0.6, n=100), "prompt_level_acc")
    deviation = math.sqrt(0.25 / 100 + 0.24 / 100)
    assert found.high - found.low == pytest.approx(2 * 1.972 * deviation, abs=1e-3)
    assert math.isnan(inference.unpaired(Score(value=0.5, n=100), Score(value=0.6, n=100), "f1").p)
    # shares of instructions, of which a prompt has several: n does not count them
    assert math.isnan(
        inference.unpaired(Score(value=0.5, n=100), Score(value=0.6, n=100), "inst_level_acc").p
    )
    assert math.isnan(inference.unpaired(Score(value=0.5), Score(value=0.6), "acc").p)


def test_all_right_answers_do_not_make_certain():
    found = inference.unpaired(
        Score(value=1.0, stderr=0.0, n=10), Score(value=0.9, stderr=0.1, n=10), "acc"
    )
    assert found.p > 0.4  # 0.32 if ten right answers were taken for certainty
