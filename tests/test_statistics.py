"""Statistics of paired scores.

The oracles are scipy, formulae by hand, and simulated scores whose truth is known.

A simulated check says how often it would fail by chance if the code were right: its bounds lie at
least 4 standard deviations of the simulation away from what is expected, where nothing else is
said.
"""

import inspect
import math

import numpy as np
import pytest
from scipy import stats

from rys.statistics import (
    adjusted_p_values,
    bootstrap_intervals,
    deviation_at_most,
    deviations_of,
    elimination_bounds,
    is_confirmed,
    items_needed,
    mean_interval,
    paired_interval,
    power,
    ratio_interval,
    sign_flip_p_values,
    strata_of,
    weights_of,
    welch_test,
)
from rys.statistics import intervals as intervals_module
from rys.statistics import p_values as p_values_module
from rys.sweep.confirm import MAX_CONFIRM_ITEMS, POWER
from rys.sweep.strategies.race import LOOKS, Race
from rys.sweep.sweep import Sweep

TOP = inspect.signature(Sweep).parameters["top"].default
MIN_EFFECT = inspect.signature(Sweep).parameters["min_effect"].default
N_CANDIDATES = 300
N_SWEEPS = 200


def equal(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and strata of n items of one probe and family."""
    return np.full(n, 1 / n), np.zeros(n, dtype=np.intp)


def paired(
    rng: np.random.Generator, right: np.ndarray, effects: np.ndarray, churn: float
) -> np.ndarray:
    """Return differences of 0/1 scores, float64 [C, N], of paths with these true effects.

    right: bool [N], the baseline's answers, of which a half should be right. A path loses an item
        that was right with
    probability churn - effect, and gains one that was wrong with churn + effect: the mean is the
    effect.
    """
    drawn = rng.random((len(effects), len(right)))
    gains, losses = drawn < (churn + effects)[:, None], drawn < (churn - effects)[:, None]
    return np.where(right, -losses.astype(float), gains.astype(float))


# --- weights


def test_every_probe_weighs_the_same():
    weights = weights_of(np.array([0, 1, 1, 1, 1, 2, 2]))
    assert weights.tolist() == pytest.approx([1 / 3, *[1 / 12] * 4, 1 / 6, 1 / 6])
    assert weights_of(np.array([7, 7])).tolist() == [0.5, 0.5]


def test_strata_are_families_or_whole_probes():
    probes = ["a"] * 4 + ["b"] * 3
    # "b" has a family of a single item, so it is one stratum
    strata = strata_of(["a y", "a x", "a y", "a x", "b u", "b u", "b v"], probes)
    assert len(set(strata[:4])) == 2
    assert len(set(strata[4:])) == 1
    assert not set(strata[:4]) & set(strata[4:])
    assert strata[0] == strata[2]
    assert strata[1] < strata[0]  # in the order of their names


# --- bootstrap_intervals


def binary(losses, gains):
    def draw(
        rng: np.random.Generator, n_sets: int, strata: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        lost, gained = np.array(losses), np.array(gains)
        drawn = rng.random((n_sets, len(strata)))
        return (drawn < gained[strata]).astype(float) - (drawn > 1 - lost[strata]), gained - lost

    return draw


def normal(means, deviations):
    def draw(
        rng: np.random.Generator, n_sets: int, strata: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        mean, deviation = np.array(means), np.array(deviations)
        return rng.normal(mean[strata], deviation[strata], (n_sets, len(strata))), mean

    return draw


def skewed(
    rng: np.random.Generator, n_sets: int, strata: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return Beta(1/2, 3/2) less its mean of 1/4: many small differences, few large ones."""
    return rng.beta(0.5, 1.5, (n_sets, len(strata))) - 0.25, np.zeros(strata.max() + 1)


COVERAGE = {
    "one stratum": ([64], [0], binary([0.15], [0.2])),
    "small changes": ([64], [0], binary([0.05], [0.05])),
    "four families": ([16] * 4, [0] * 4, binary([0.1] * 4, [0.2] * 4)),
    "unlike families": (
        [32, 16, 8, 8],
        [0, 0, 1, 1],
        binary([0.3, 0.1, 0.05, 0.2], [0.1, 0.3, 0.2, 0.2]),
    ),
    "two probes": (
        [64, 64, 32, 32],
        [0, 0, 1, 1],
        binary([0.3, 0.1, 0.05, 0.2], [0.1, 0.3, 0.2, 0.2]),
    ),
    "continuous": ([16] * 4, [0, 0, 1, 1], normal([0.2, -0.1, 0.05, 0.0], [0.3, 0.1, 0.2, 0.25])),
    "continuous, 256": (
        [64] * 4,
        [0, 0, 1, 1],
        normal([0.2, -0.1, 0.05, 0.0], [0.3, 0.1, 0.2, 0.25]),
    ),
    "skewed": ([32] * 4, [0, 1, 2, 2], skewed),
}


@pytest.mark.parametrize(("sizes", "probes", "draw"), COVERAGE.values(), ids=COVERAGE.keys())
def test_intervals_cover_the_truth_in_93_to_97_of_100(sizes, probes, draw):
    # 4000 data sets: the share has a standard deviation of 0.34%, so an interval that covers at
    # 94.5% passes by 4
    strata = np.repeat(np.arange(len(sizes)), sizes)
    weights = weights_of(np.array(probes)[strata])
    differences, means = draw(np.random.default_rng(11), 4000, strata)
    truth = float(weights @ means[strata])
    low, high = bootstrap_intervals(differences, weights, strata, n_resamples=2000).T
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97
    assert (low > truth).mean() < 0.045
    assert (high < truth).mean() < 0.045


def test_corrected_intervals_cover_as_often_as_they_say():
    # confidence 0.99 for five paths; standard deviation of the share in 6000 data sets: 0.13%
    strata = np.repeat(np.arange(4), 64)
    weights = weights_of(np.array([0, 0, 1, 1])[strata])
    differences, means = binary([0.1] * 4, [0.15] * 4)(np.random.default_rng(12), 6000, strata)
    truth = float(weights @ means[strata])
    low, high = bootstrap_intervals(
        differences, weights, strata, confidence=0.99, n_resamples=4000
    ).T
    assert 0.98 <= ((low <= truth) & (truth <= high)).mean() <= 0.995


def test_intervals_agree_with_scipy():
    # scipy's percentile bootstrap of two strata, with our factors for the small sample taken out
    rng = np.random.default_rng(3)
    parts = [rng.choice([-1.0, 0.0, 1.0], 60, p=[0.1, 0.6, 0.3]), rng.normal(0.1, 0.5, 60)]
    weights = np.array([0.25, 0.75])[np.repeat([0, 1], 60)] / 60
    found = stats.bootstrap(
        parts,
        lambda a, b, axis=-1: 0.25 * a.mean(axis=axis) + 0.75 * b.mean(axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    differences = np.concatenate(parts)[None, :]
    strata = np.repeat([0, 1], 60)
    interval = bootstrap_intervals(differences, weights, strata, n_resamples=20_000)[0]
    effect = float((differences @ weights)[0])
    stretch = math.sqrt(60 / 59) * stats.t.ppf(0.975, 118) / stats.norm.ppf(0.975)
    deviation = found.high - found.low
    assert (interval - effect) / stretch == pytest.approx(
        [found.low - effect, found.high - effect], abs=0.02 * deviation
    )


def test_strata_that_differ_make_intervals_narrower():
    differences = np.repeat([0.0, 1.0], 32)[None, :] + np.random.default_rng(0).normal(
        0, 0.1, (1, 64)
    )
    weights, one = equal(64)
    wide = bootstrap_intervals(differences, weights, one)
    narrow = bootstrap_intervals(differences, weights, np.repeat([0, 1], 32))
    assert np.ptp(narrow) < np.ptp(wide) / 3


def test_intervals_where_no_item_differs_are_what_n_items_exclude():
    weights, strata = equal(64)
    low, high = bootstrap_intervals(np.zeros((1, 64)), weights, strata)[0]
    # a change of a share u is missed by 64 items with (1 - u)**64 = 2.5%
    assert (1 - high) ** 64 == pytest.approx(0.025)
    assert low == -high


def test_intervals_do_not_depend_on_the_other_candidates(monkeypatch):
    rng = np.random.default_rng(5)
    differences = rng.choice([-1.0, 0.0, 1.0], (7, 50))
    weights, strata = equal(50)
    together = bootstrap_intervals(differences, weights, strata, n_resamples=500)
    assert np.array_equal(
        together, bootstrap_intervals(differences, weights, strata, n_resamples=500)
    )
    alone = np.concatenate(
        [bootstrap_intervals(row[None, :], weights, strata, n_resamples=500) for row in differences]
    )
    assert together == pytest.approx(alone, abs=1e-12)
    monkeypatch.setattr(intervals_module, "_CHUNK", 1000)  # two candidates at a time
    assert bootstrap_intervals(differences, weights, strata, n_resamples=500) == pytest.approx(
        alone, abs=1e-12
    )
    assert bootstrap_intervals(differences[:0], weights, strata).shape == (0, 2)


# --- paired_interval


def test_paired_interval_is_that_of_a_sweep_with_one_candidate():
    differences = np.random.default_rng(20).choice([-1.0, 0.0, 1.0], 48)
    strata = np.repeat([0, 1, 2], 16)
    weights = weights_of(np.repeat([0, 1], [32, 16]))
    whole = bootstrap_intervals(differences[None, :], weights, strata)[0]
    assert paired_interval(differences, weights, strata) == tuple(whole)
    assert paired_interval(differences) == paired_interval(differences, *equal(48))
    wide = paired_interval(differences, weights, strata, confidence=0.99)
    assert wide[0] < whole[0] < whole[1] < wide[1]


def test_paired_interval_of_many_items_is_the_t_interval():
    # for 2000 items the bootstrap and the t interval agree, but for the noise of 4000 resamples:
    # their 2.5% quantile has a standard deviation of 1 / (phi(1.96) sqrt(4000 / (0.025 0.975))), or
    # 4.2% of the standard error; allowed are 4.5 of these
    differences = np.random.default_rng(21).choice([-1.0, 0.0, 1.0], 2000, p=[0.1, 0.7, 0.2])
    oracle = stats.ttest_1samp(differences, 0).confidence_interval()
    assert paired_interval(differences) == pytest.approx(
        (oracle.low, oracle.high), abs=4.5 * 0.042 * stats.sem(differences)
    )


@pytest.mark.parametrize("n", [24, 200])
def test_paired_interval_is_scipys_bootstrap_stretched_for_few_items(n):
    differences = np.random.default_rng(22).beta(2, 3, n) - 0.35
    mean = differences.mean()
    found = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(23),
    ).confidence_interval
    stretch = math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
    expected = (mean + stretch * (found.low - mean), mean + stretch * (found.high - mean))
    # the noise of 4000 and of 20,000 resamples: 4.2% and 1.9% of the standard error
    assert paired_interval(differences) == pytest.approx(
        expected, abs=4.5 * 0.046 * stats.sem(differences)
    )


def exact_coverage(n: int, gain: float, loss: float, percentiles_only: bool = False) -> float:
    """Return how often the 95% interval covers gain - loss, for n items of scores 0 and 1.

    gain, loss: probabilities that an item is gained or lost. Summed over all outcomes, that is all
    numbers of gained and lost items, weighed with their probability. percentiles_only: for the
    percentiles of an ordinary bootstrap.
    """
    gained, lost = (k.ravel() for k in np.indices((n + 1, n + 1)))
    is_possible = gained + lost <= n
    outcomes = np.column_stack([gained, lost, n - gained - lost])[is_possible]
    probability = stats.multinomial.pmf(outcomes, n, [gain, loss, 1 - gain - loss])
    outcomes = outcomes[probability > 1e-5]
    probability = probability[probability > 1e-5]
    values = np.tile([1.0, -1.0, 0.0], len(outcomes))
    differences = np.repeat(values, outcomes.ravel()).reshape(len(outcomes), n)
    intervals = bootstrap_intervals(differences, *equal(n))
    if percentiles_only:
        effects = differences.mean(axis=1)[:, None]
        stretch = math.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
        intervals = effects + (intervals - effects) / stretch
    truth = gain - loss
    covers = (intervals[:, 0] <= truth + 1e-7) & (intervals[:, 1] >= truth - 1e-7)
    return float(probability[covers].sum() / probability.sum())


@pytest.mark.parametrize("n", [16, 32, 64, 250])
@pytest.mark.parametrize("n_differing", [0.5, 2, 5, 10])
def test_where_gains_and_losses_are_equally_probable_94_of_100_intervals_cover(n, n_differing):
    share = n_differing / n / 2
    assert exact_coverage(n, share, share) >= 0.935


@pytest.mark.parametrize(
    ("n", "gain", "loss"),
    [(16, 0.5, 0.2), (32, 0.3, 0.1), (64, 0.3, 0.1), (64, 0.3, 0.0), (250, 0.05, 0.0)],
)
def test_where_ten_items_differ_92_to_97_of_100_intervals_cover(n, gain, loss):
    assert 0.92 <= exact_coverage(n, gain, loss) <= 0.97


def test_percentiles_alone_cover_too_seldom():
    # why deviations are stretched: of 16 items, half of them gained and a fifth lost
    assert exact_coverage(16, 0.5, 0.2) > 0.94
    assert exact_coverage(16, 0.5, 0.2, percentiles_only=True) < 0.93


@pytest.mark.parametrize("n", [16, 64, 250])
@pytest.mark.parametrize(("n_gained", "n_lost"), [(1.0, 0.5), (3.5, 0.0), (3.2, 0.8), (5.0, 2.5)])
def test_where_few_items_differ_92_of_100_intervals_cover(n, n_gained, n_lost):
    # the first two are the worst cases of the percentiles: 84% and 88%
    assert exact_coverage(n, n_gained / n, n_lost / n) >= 0.92


def test_few_changes_in_one_direction_are_joined_with_what_items_miss(monkeypatch):
    rows = np.zeros((6, 64))
    for row, changes in zip(
        rows, [[1], [1] * 4, [-0.5] * 4, [1] * 5, [1, 1, 1, -1], []], strict=True
    ):
        row[: len(changes)] = changes
    found = bootstrap_intervals(rows, *equal(64))
    monkeypatch.setattr(intervals_module, "_MAX_FEW", -1)
    before = bootstrap_intervals(rows, *equal(64))
    effects = rows.mean(axis=1)[:, None]
    unseen = 1 - 0.025 ** (1 / 64)
    sides = np.hypot(before - effects, unseen)[:3]
    assert found[:3] == pytest.approx(effects[:3] + np.array([-1, 1]) * sides)
    assert np.array_equal(found[3:], before[3:])
    # four gains and no loss of 64 are not told from none: McNemar's test has p = 0.125
    assert found[1, 0] < 0 < before[1, 0]


def test_graded_scores_of_16_items_are_covered_in_94_of_100():
    # 4000 data sets, standard deviation 0.34%; the percentiles alone would cover 91.5%
    differences = np.random.default_rng(24).normal(0.05, 0.2, (4000, 16))
    low, high = bootstrap_intervals(differences, *equal(16), n_resamples=2000).T
    assert 0.935 <= ((low <= 0.05) & (high >= 0.05)).mean() <= 0.965


# --- mean_interval, ratio_interval, welch_test


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (40, 64), (1, 1)])
def test_interval_of_shares_is_wilsons(right, n):
    z, p = stats.norm.ppf(0.975), right / n  # Wilson 1927, written out
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scores = np.array([1.0] * right + [0.0] * (n - right))
    assert mean_interval(scores) == pytest.approx(
        (max(0, middle - half), min(1, middle + half)), abs=1e-12
    )


def test_interval_of_other_scores_is_near_that_of_a_normal_mean():
    scores = np.random.default_rng(1).beta(2, 3, 200)
    expected = stats.norm.interval(0.95, scores.mean(), stats.sem(scores))
    assert mean_interval(scores) == pytest.approx(expected, abs=0.005)
    assert mean_interval(scores) == mean_interval(scores)
    paired = scores - np.random.default_rng(2).beta(2, 3, 200)
    expected = stats.norm.interval(0.95, paired.mean(), stats.sem(paired))
    assert paired_interval(paired) == pytest.approx(expected, abs=0.01)


def test_intervals_of_means_cover_as_often_as_they_say():
    # oracle: the mean 2/5 of beta(2, 3); a bootstrap of 40 covers a little less than 95%
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        low, high = mean_interval(rng.beta(2, 3, 40))
        hits += low <= 0.4 <= high
    assert 87 <= hits <= 99


def test_intervals_of_scores_without_spread_are_wide():
    assert mean_interval(np.full(20, 0.4)) == (0, 1)
    assert mean_interval(np.array([0.4])) == (0, 1)
    low, high = paired_interval(np.zeros(20))
    # a change in a share x of all items is missed by 20 with probability (1 - x)^20
    assert (1 - high) ** 20 == pytest.approx(0.025)
    assert low == -high
    assert paired_interval(np.ones(20)) == pytest.approx((1 - high, 1 + high))
    assert paired_interval(np.zeros(1)) == pytest.approx((-0.975, 0.975))


def test_interval_of_a_ratio_is_near_that_of_its_linear_part():
    # a ratio of sums a / b moves with item i by (a_i - ratio b_i) / sum(b)
    rng = np.random.default_rng(25)
    sizes = rng.integers(50, 100, 400).astype(float)
    base = sizes * rng.normal(2.0, 0.2, 400)
    other = base + sizes * rng.normal(0.1, 0.2, 400)
    ratio = (other - base).sum() / sizes.sum()
    error = math.sqrt((((other - base) - ratio * sizes) ** 2).sum()) / sizes.sum()
    found = ratio_interval(base, other, sizes, lambda value: value)
    assert found == pytest.approx((ratio - 1.96 * error, ratio + 1.96 * error), abs=0.3 * error)


def test_welch_test_without_a_standard_error_is_none():
    assert welch_test(0.1, (0.0, 0.0), (10, 10)) is None
    assert welch_test(0.1, (math.nan, 0.1), (10, 10)) is None
    assert welch_test(math.nan, (0.1, 0.1), (10, 10)) is None


# --- sign_flip_p_values


def test_p_values_agree_with_scipys_exact_test():
    # 12 items have 4096 sign choices, which scipy tries all; ours are 10,000 random ones, with a
    # p-value of standard deviation sqrt(p (1 - p) / 10,000) <= 0.005
    rng = np.random.default_rng(6)
    differences = np.concatenate(
        [rng.choice([-1.0, 0.0, 1.0], (6, 12)), rng.normal(0.4, 0.6, (6, 12))]
    )
    weights = weights_of(np.array([0] * 4 + [1] * 8))
    found = sign_flip_p_values(differences, weights)
    for row, p_value in zip(differences, found, strict=True):
        oracle = stats.permutation_test(
            (row * weights,),
            np.sum,
            permutation_type="samples",
            n_resamples=np.inf,
            vectorized=False,
        ).pvalue
        assert p_value == pytest.approx(
            oracle, abs=4.5 * math.sqrt(oracle * (1 - oracle) / 10_000) + 2e-4
        )
    assert found.min() < 0.05 < found.max()


def test_p_values_are_uniform_if_nothing_differs():
    differences = np.random.default_rng(7).normal(0, 1, (3000, 64)) * np.linspace(0.2, 2, 64)
    p_values = sign_flip_p_values(differences, equal(64)[0], n_resamples=2000)
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert p_values.min() >= 1 / 20001


def test_p_values_of_right_and_wrong_do_not_claim_too_much():
    # 0/1 scores tie, so p-values may only be too large: at most 5% (+ 4 deviations) of 4000 lie
    # below 0.05
    rng = np.random.default_rng(8)
    differences = rng.choice([-1.0, 0.0, 1.0], (4000, 64), p=[0.1, 0.8, 0.1])
    p_values = sign_flip_p_values(differences, equal(64)[0], n_resamples=2000)
    for level in (0.01, 0.05, 0.2):
        assert (p_values <= level).mean() <= level + 4 * math.sqrt(level * (1 - level) / 4000)
    assert (p_values <= 0.05).mean() > 0.01


def test_p_value_of_no_effect_is_1_whatever_the_weights():
    weights = weights_of(np.arange(49) % 3)  # not what binary fractions can hold
    rows = np.zeros((3, 49))
    rows[1, [0, 1, 3, 4]] = 1, -1, -1, 1
    rows[2, :6] = 1, -1, 1, -1, 1, -1
    assert sign_flip_p_values(rows, weights, n_resamples=500).tolist() == [1.0, 1.0, 1.0]


def test_one_true_gain_among_thousands_is_told_after_adjustment():
    rng = np.random.default_rng(5)
    differences = rng.choice([-1.0, 0.0, 1.0], size=(3240, 256), p=[0.1, 0.8, 0.1])
    differences[7] = rng.choice([-1.0, 0.0, 1.0], size=256, p=[0.1, 0.3, 0.6])
    q_values = adjusted_p_values(sign_flip_p_values(differences, equal(256)[0]))
    assert q_values[7] < 0.05
    assert (np.delete(q_values, 7) < 0.05).sum() == 0


def test_p_values_do_not_depend_on_the_size_of_chunks(monkeypatch):
    differences = np.random.default_rng(9).normal(0.1, 1, (20, 30))
    whole = sign_flip_p_values(differences, equal(30)[0], n_resamples=1000)
    monkeypatch.setattr(p_values_module, "_CHUNK_OF_SIGNS", 3000)
    assert sign_flip_p_values(differences, equal(30)[0], n_resamples=1000) == pytest.approx(
        whole, abs=0.1
    )
    assert whole.min() < 0.5


# --- adjusted_p_values


def test_adjusted_p_values_are_those_of_benjamini_and_hochberg():
    p_values = np.array([0.01, 0.04, 0.03, 0.005, 0.5, 0.04])
    # p m / rank, then the smallest of those at or above: 0.005*6/1, 0.01*6/2, 0.03*6/3, 0.04*6/5,
    # 0.5
    assert adjusted_p_values(p_values).tolist() == pytest.approx(
        [0.03, 0.048, 0.048, 0.03, 0.5, 0.048]
    )
    assert adjusted_p_values(np.array([])).tolist() == []
    assert adjusted_p_values(np.array([0.2])).tolist() == [0.2]


def test_false_discoveries_are_as_rare_as_the_q_value_says():
    # 400 families of 60 nulls and 20 real effects; the mean share of false ones is at most 5% * 60
    # / 80
    rng = np.random.default_rng(10)
    shares, found = [], 0
    for _ in range(400):
        z = rng.normal(np.repeat([0.0, 3.5], [60, 20]), 1)
        is_called = adjusted_p_values(2 * stats.norm.sf(np.abs(z))) <= 0.05
        shares.append(is_called[:60].sum() / max(1, is_called.sum()))
        found += is_called[60:].sum()
    assert np.mean(shares) < 0.0375 + 4 * np.std(shares) / 20
    assert found > 0.6 * 400 * 20


# --- items_needed, power


@pytest.mark.parametrize(
    ("effect", "k", "wanted"), [(0.10, 5, 0.9), (0.15, 1, 0.8), (0.12, 3, 0.5)]
)
def test_items_needed_give_the_power_they_promise(effect, k, wanted):
    # found = the corrected interval lies above 0, as in the confirm stage; 3000 data sets, standard
    # deviation <= 0.9%
    churn = 0.2
    deviation = math.sqrt(2 * churn / 2 - effect**2)
    n = items_needed(deviation, effect, k, wanted)
    assert power(deviation, effect, k, n) == pytest.approx(wanted, abs=0.01)
    rng = np.random.default_rng(13)
    drawn = rng.random((3000, n))
    differences = (drawn < (churn + effect) / 2).astype(float) - (drawn > 1 - (churn - effect) / 2)
    assert differences.std() == pytest.approx(deviation, rel=0.02)
    intervals = bootstrap_intervals(
        differences, *equal(n), confidence=1 - 0.05 / k, n_resamples=4000
    )
    assert (intervals[:, 0] > 0).mean() == pytest.approx(wanted, abs=0.04)


def test_items_needed_by_hand():
    # (1.959964 + 0.841621)^2 * (0.5 / 0.1)^2 = 196.2
    assert items_needed(0.5, 0.1, 1, 0.8) == 197
    # (2.575829 + 1.281552)^2 * (0.5 / 0.03)^2 = 4133.2
    assert items_needed(0.5, 0.03, 5, 0.9) == 4134
    assert power(0.5, 0.03, 5, 4134) == pytest.approx(0.9, abs=1e-4)


def test_power_counts_the_controls_bar():
    # standard error 0.01: the interval asks for 0.0258, the controls for more; (0.06 - 0.05) / 0.01
    # = 1
    assert power(0.1, 0.06, 5, 100, bar=0.05) == pytest.approx(0.8413, abs=1e-4)
    assert power(0.1, 0.06, 5, 100, bar=0.0) == power(0.1, 0.06, 5, 100)


def test_a_deviation_is_never_taken_for_none():
    weights = equal(64)[0]
    assert deviations_of(np.zeros((2, 64)), weights).tolist() == [1 / 8, 1 / 8]
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=(3, 64))
    assert deviations_of(drawn, weights) == pytest.approx(drawn.std(axis=1, ddof=1))
    assert np.isnan(deviations_of(np.ones((1, 1)), equal(1)[0])).all()


def test_a_small_deviation_of_many_small_changes_is_taken_as_it_is():
    weights = equal(64)[0]
    drawn = 0.01 * np.random.default_rng(5).normal(size=(2, 64))
    assert deviations_of(drawn, weights) == pytest.approx(drawn.std(axis=1, ddof=1))
    # one changed item in n has the deviation that no changed item is given
    one = np.zeros((1, 64))
    one[0, 3] = 1.0
    assert deviations_of(one, weights) == pytest.approx([1 / 8])


@pytest.mark.parametrize(("score", "interval"), [(0.4, (0, 1)), (-0.4, (-1, 1))])
def test_scores_without_spread_may_be_anywhere_on_their_scale(score, interval):
    assert mean_interval(np.full(20, score)) == interval


def test_a_deviation_exceeds_what_it_is_at_most_as_rarely_as_promised():
    rng = np.random.default_rng(4)
    bounds = [deviation_at_most(drawn.std(ddof=1), 16) for drawn in rng.normal(size=(4000, 16))]
    assert np.mean(np.array(bounds) >= 1) == pytest.approx(0.8, abs=0.02)


# --- elimination_bounds


def race(
    differences: np.ndarray, probes: np.ndarray, positions: np.ndarray
) -> tuple[list[int], int]:
    """Return who is in the race to its end, and how many items were answered, by the rounds of
    `Race` and its bounds.
    """
    running = np.arange(len(differences))
    looks = [*LOOKS, Race.default_items]
    n_answered, before = 0, 0
    for look in looks:
        n_answered += len(running) * int(((before <= positions) & (positions < look)).sum())
        before = look
        if look < looks[-1]:
            seen = positions < look
            bounds = elimination_bounds(
                differences[running][:, seen], weights_of(probes[seen]), TOP, len(looks) - 1
            )
            running = running[bounds >= 0]
    return running.tolist(), n_answered


@pytest.mark.parametrize(("n_probes", "mean", "deviation"), [(1, 0.20, 0.15), (3, 0.15, 0.12)])
def test_race_keeps_the_best_at_a_third_of_the_cost(n_probes, mean, deviation):
    # effects: one of +0.10, the others -|normal(mean, deviation)|. If the race lost the best with
    # 2%, 190 of 200 would be reached with 98%; seen are 198 and more
    rng = np.random.default_rng(14)
    n = Race.default_items
    probes, positions = np.repeat(np.arange(n_probes), n), np.tile(np.arange(n), n_probes)
    n_kept = n_answered = 0
    for _ in range(N_SWEEPS):
        effects = -np.abs(rng.normal(mean, deviation, N_CANDIDATES))
        best = int(rng.integers(N_CANDIDATES))
        effects[best] = 0.10
        differences = paired(rng, rng.random(n * n_probes) < 0.5, effects, 0.25)
        kept, answered = race(differences, probes, positions)
        n_kept += best in kept
        n_answered += answered
        assert len(kept) >= TOP
    assert n_kept >= 0.95 * N_SWEEPS
    assert n_answered <= N_SWEEPS * N_CANDIDATES * n * n_probes / 3


def test_race_bounds_are_one_sided_t_intervals_against_the_top_th_best():
    rng = np.random.default_rng(15)
    differences = rng.normal(np.linspace(-1, 1, 9)[:, None], 1.5, (9, 40))
    weights = equal(40)[0]
    reference = int(np.argsort(differences.mean(axis=1))[-3])
    bounds = elimination_bounds(differences, weights, top=3, n_looks=4)
    assert bounds[reference] == np.inf
    for k in set(range(9)) - {reference}:
        oracle = stats.ttest_1samp(differences[k] - differences[reference], 0, alternative="less")
        assert bounds[k] == pytest.approx(oracle.confidence_interval(1 - 0.05 / 4).high)
    assert (bounds < 0).any()


def test_race_weighs_probes():
    # one probe of 8 items and one of 32: the mean of the weighted differences is the effect
    rng = np.random.default_rng(16)
    probes = np.repeat([0, 1], [8, 32])
    weights = weights_of(probes)
    differences = rng.normal(0, 1, (6, 40))
    effects = differences @ weights
    best = int(np.argmax(effects))
    against = (differences - differences[best]) * weights * 40
    bounds = elimination_bounds(differences, weights, top=1, n_looks=1)
    others = [k for k in range(6) if k != best]
    reach = stats.t.ppf(0.95, 39) * against.std(axis=1, ddof=1) / math.sqrt(40)
    assert bounds[others] == pytest.approx((effects - effects[best] + reach)[others])


def test_nobody_is_eliminated_from_a_race_of_the_top_or_after_one_item():
    assert np.isinf(elimination_bounds(np.zeros((5, 20)) - 1, equal(20)[0], top=5, n_looks=4)).all()
    assert np.isinf(
        elimination_bounds(np.linspace(-1, 1, 9)[:, None], equal(1)[0], top=2, n_looks=4)
    ).all()


def test_paths_without_any_difference_stay_in_the_race_together():
    bounds = elimination_bounds(np.zeros((30, 16)), equal(16)[0], top=5, n_looks=4)
    assert (bounds > 0).all()


# --- is_confirmed


def test_confirmed_is_what_lies_above_0_and_above_the_controls():
    controls = np.array([-0.02, 0.0, 0.02])  # mean 0, deviation 0.02
    assert is_confirmed(0.05, (0.01, 0.09), controls).is_confirmed
    assert is_confirmed(0.041, (0.001, 0.08), controls).is_confirmed
    verdict = is_confirmed(0.05, (0.0, 0.1), controls)
    assert not verdict.is_confirmed
    assert "[+0.000, +0.100] does not lie above 0" in verdict.reason
    verdict = is_confirmed(0.04, (0.01, 0.07), controls)
    assert not verdict.is_confirmed
    assert "+0.040 is not above the random paths' +0.040" in verdict.reason
    assert not is_confirmed(-0.05, (-0.1, -0.01), controls).is_confirmed


@pytest.mark.parametrize("controls", [[], [0.2]])
def test_nothing_is_confirmed_without_random_paths_to_compare_with(controls):
    verdict = is_confirmed(0.05, (0.01, 0.09), np.array(controls))
    assert not verdict.is_confirmed
    assert "too few random paths" in verdict.reason


def verdicts(
    tops: np.ndarray, controls: np.ndarray, weights: np.ndarray, strata: np.ndarray
) -> np.ndarray:
    """Return who is confirmed, bool [S, K], as analysis.confirmation decides it.

    tops: differences of S sweeps, float64 [S, K, N]; controls: likewise. All sweeps go in one call:
        intervals of a
    candidate do not depend on the others, see test_intervals_do_not_depend_on_the_other_candidates.
    """
    n_sweeps, k, n = tops.shape
    intervals = bootstrap_intervals(
        tops.reshape(-1, n), weights, strata, confidence=1 - 0.05 / k, n_resamples=20_000
    ).reshape(n_sweeps, k, 2)
    effects, bars = tops @ weights, controls @ weights
    return np.array(
        [
            [
                is_confirmed(
                    float(effects[s, c]), (intervals[s, c, 0], intervals[s, c, 1]), bars[s]
                ).is_confirmed
                for c in range(k)
            ]
            for s in range(n_sweeps)
        ]
    )


@pytest.mark.parametrize("n_confirm", [64, 512])
def test_null_sweeps_confirm_nothing_in_95_of_100(n_confirm):
    # no path has an effect, but their churn differs, and the search picks those that look best.
    # Allowed: 5% of 200 sweeps and two standard deviations of that count, 10 + 6.2. Expected is
    # about 2.5%, halved by the controls.
    rng = np.random.default_rng(17)
    n_search = Race.default_items
    tops, controls, curse = [], [], []
    for _ in range(N_SWEEPS):
        churns = rng.uniform(0.02, 0.4, N_CANDIDATES)[:, None]
        right = rng.random(n_search) < 0.5
        drawn = rng.random((N_CANDIDATES, n_search)) < churns
        found = np.where(right, -1.0, 1.0) * drawn
        chosen = np.argsort(found.mean(axis=1))[-TOP:]
        curse.append(found.mean(axis=1)[chosen].mean())
        fresh = np.where(rng.random(n_confirm) < 0.5, -1.0, 1.0)
        tops.append(fresh * (rng.random((TOP, n_confirm)) < churns[chosen]))
        controls.append(fresh * (rng.random((TOP, n_confirm)) < rng.uniform(0.02, 0.4, (TOP, 1))))
    assert np.mean(curse) > 0.05, (
        "the search picked nothing that looks good, so this checks nothing"
    )
    confirmed = verdicts(np.array(tops), np.array(controls), *equal(n_confirm)).any(axis=1)
    assert confirmed.sum() <= 16


def test_a_true_gain_of_a_tenth_is_confirmed_with_the_default_settings():
    # three probes, 300 candidates, one of them with a true +0.10, the others and the controls
    # without effect; the race, the top of it, then as many fresh items as Sweep.confirm plans.
    # Power at least 0.9 of 200, seen is nearly 1
    rng = np.random.default_rng(18)
    n, n_probes = Race.default_items, 3
    probes, positions = np.repeat(np.arange(n_probes), n), np.tile(np.arange(n), n_probes)
    weights = weights_of(probes)
    effects = np.zeros(N_CANDIDATES)
    effects[100] = 0.10
    tops, controls, places = [], [], []
    n_planned = MAX_CONFIRM_ITEMS
    for _ in range(N_SWEEPS):
        found = paired(rng, rng.random(n * n_probes) < 0.5, effects, 0.15)
        kept = np.array(race(found, probes, positions)[0])
        chosen = kept[np.argsort(-(found[kept] @ weights))[:TOP]]
        deviation = max((found[k] * weights * n * n_probes).std(ddof=1) for k in chosen)
        needed = items_needed(deviation, MIN_EFFECT, TOP, POWER)
        n_planned = min(n_planned, max(16, min(MAX_CONFIRM_ITEMS, -(-needed // n_probes))))
        places.append(int(np.flatnonzero(chosen == 100)[0]) if 100 in chosen else -1)
        tops.append(effects[chosen])
        controls.append(np.zeros(TOP))
    n_fresh = min(
        n_planned * n_probes, 768
    )  # the smallest plan, and no more than memory likes: this is conservative
    right = rng.random((N_SWEEPS, n_fresh)) < 0.5
    fresh = [
        paired(rng, right[s], np.concatenate([tops[s], controls[s]]), 0.15) for s in range(N_SWEEPS)
    ]
    drawn = np.array(fresh)
    confirmed = verdicts(drawn[:, :TOP], drawn[:, TOP:], *equal(n_fresh))
    n_found = sum(place >= 0 and confirmed[s, place] for s, place in enumerate(places))
    n_false = sum(
        np.delete(row, place).any() if place >= 0 else row.any()
        for row, place in zip(confirmed, places, strict=True)
    )
    assert n_found >= 0.9 * N_SWEEPS
    assert n_false <= 16
