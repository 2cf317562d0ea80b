"""The scores of published probes.

Oracles: values that others computed with the sources, and the formulas by hand.
"""

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rys.probes.published_scores import (
    circuit_finder_eq,
    circuit_finder_reasoning,
    eq_bench_penalties,
    eq_bench_v2,
    ng_eq,
    ng_partial_credit,
)

EQ_BENCH = (
    Path(__file__).parents[2] / "shared" / "data" / "eq-bench" / "eq_bench_v2_questions_171.json"
)

deterministic = settings(derandomize=True, deadline=None, max_examples=200)
naturals = st.integers(0, 10**30)


@pytest.mark.parametrize(
    ("answer", "estimate", "score"),
    [
        (4302459, 430245, 0.8571),
        (123456789, 123556789, 0.9992),
        (123456789, 123456789, 1.0),
        (4302459, 43024590, 0.875),
        (4302459, 9999999, 0.43025),
        (4302459, 4000000, 0.9297),
        (0, 0, 0.0),
        (7, 0, 0.0),
        (12, 34, 12 / 34),
        (5, 50, 0.5),
        (-1, 0, 0.0),
    ],
)
def test_partial_credit_of_known_pairs(answer, estimate, score):
    assert ng_partial_credit(answer, estimate) == pytest.approx(score, abs=5e-5)
    assert ng_partial_credit(estimate, answer) == ng_partial_credit(answer, estimate)


def test_partial_credit_keeps_the_last_digit_of_large_numbers():
    # in floats both would be 1 - 1e-20 = 1, or the numbers themselves would be rounded
    a, b = 10**16 + 1, 10**16 + 3
    assert ng_partial_credit(a, b) == float(1 - Fraction(2, b))
    huge = 10**400
    assert ng_partial_credit(huge, huge * 10) == 401 / 402
    assert ng_partial_credit(huge * 3, huge) == pytest.approx(1 / 3)


@deterministic
@given(naturals, naturals)
def test_partial_credit_is_the_formula_over_digit_strings(answer, estimate):
    a, e = str(answer), str(estimate)
    longer = max(len(a), len(e))
    x, y = int(a.ljust(longer, "0")), int(e.ljust(longer, "0"))
    expected = 0.0
    if max(x, y):
        missing = longer - min(len(a), len(e))
        expected = float((1 - Fraction(abs(x - y), max(x, y))) * (1 - Fraction(missing, longer)))
    assert ng_partial_credit(answer, estimate) == expected


def test_partial_credit_of_random_digits_is_more_than_one_half():
    # The published sets (0.51 to 0.54) are not here. Oracle: E[min/max] of two numbers uniform on
    # [1, 10) is (99/2 - ln 10) / 81, whatever the scale.
    pairs = itertools.product(range(1000, 10000, 50), repeat=2)
    scores = [ng_partial_credit(a, b) for a, b in pairs]
    assert sum(scores) / len(scores) == pytest.approx((99 / 2 - math.log(10)) / 81, abs=0.005)


def test_ng_eq_by_hand():
    assert ng_eq([1, 2, 3, 4], [1, 2, 3, 4]) == 1
    assert ng_eq([0, 0, 0, 10], [3, 3, 3, 3]) == pytest.approx(0.6)
    assert ng_eq([0, 0, 0, 0], [10, 10, 10, 10]) == 0
    assert ng_eq([1, 2, 3, 4], [1, 2, 3, 4], 0.8) == pytest.approx(0.9)
    assert ng_eq([1, 2, 3, 4], [9, 9, 9, 9], 0) == 0.5  # what cannot be read scores one half


def test_circuit_finder_eq_by_hand():
    assert circuit_finder_eq([1, 2, 3, 4], [1, 2, 3, 4]) == 100
    assert circuit_finder_eq([6, 6, 6, 6], [8, 8, 8, 8]) == 90  # 4 * 2^2 / 4 of 40
    assert circuit_finder_eq([0, 5, 5, 5], [4, 5, 5, 5]) == 90  # d = 4 belongs to the square
    assert circuit_finder_eq([0, 5, 5, 5], [5, 5, 5, 5]) == pytest.approx(87.5)  # d = 5 does not
    assert circuit_finder_eq([0, 0, 0, 0], [99, 10, 10, 10]) == 0
    assert (
        circuit_finder_eq([10, 5, 5, 5], [99, 5, 5, 5, 1]) == 100
    )  # cut to 0..10; the fifth has no part
    assert circuit_finder_eq([1, 2, 3, 4], [1, 2, 3]) == 0


def test_circuit_finder_eq_hardly_tells_a_constant_from_an_answer():
    # 6, 6, 6, 6 scores 93.55 on the published scenarios, which are not here: the same on typical
    # references
    references = [[8, 7, 6, 5], [7, 6, 8, 4], [5, 7, 6, 8], [9, 6, 7, 5]]
    assert sum(circuit_finder_eq(reference, [6] * 4) for reference in references) / 4 > 93


def test_eq_bench_by_hand():
    assert eq_bench_v2([1, 2, 3, 4], [1, 2, 3, 4]) == 10
    middle_of_the_curve = 3.25
    assert eq_bench_v2([0, 5, 5, 5], [4, 5, 5, 5]) == pytest.approx(
        10 - 0.7477 * middle_of_the_curve
    )
    at_five = 6.5 / (1 + math.exp(-1.2))
    assert eq_bench_v2([0, 5, 5, 5], [5, 5, 5, 5]) == pytest.approx(10 - 0.7477 * at_five)
    assert eq_bench_v2([0, 5, 5, 5], [6, 5, 5, 5]) == pytest.approx(10 - 0.7477 * 6)
    assert eq_bench_v2([0, 0, 0, 0], [10, 10, 10, 10]) == pytest.approx(10 - 29.908)
    # distances 3, 5, 6 and 0 by the penalties below
    assert eq_bench_v2([9, 0, 4, 2], [6, 5, 10, 2]) == pytest.approx(
        10 - 0.7477 * (1.504589 + 4.995411 + 6), abs=1e-5
    )


def test_eq_bench_of_many_answers_is_that_of_each():
    answers = np.array([[1, 2, 3, 4], [0, 0, 0, 0], [10, 2, 5.5, 4]])
    each = [eq_bench_v2([1, 2, 3, 4], answer) for answer in answers]
    assert eq_bench_v2([1, 2, 3, 4], answers).tolist() == each


@pytest.mark.parametrize(
    ("distance", "penalty"),
    [
        (0, 0.0),
        (1, 0.172880),  # 6.5 / (1 + e^3.6), where e^3.6 = 36.598234
        (3, 1.504589),  # 6.5 / (1 + e^1.2), where e^1.2 = 3.320117
        (4, 3.25),  # 6.5 / 2
        (5, 4.995411),  # 6.5 / (1 + e^-1.2), where e^-1.2 = 0.301194
        (6, 6.0),
        (10, 10.0),
    ],
)
def test_penalties_of_eq_bench(distance, penalty):
    assert eq_bench_penalties(np.array([distance]))[0] == pytest.approx(penalty, abs=1e-6)


@pytest.mark.parametrize("score", [ng_eq, eq_bench_v2])
def test_eq_scores_take_four_ratings(score):
    with pytest.raises(
        ValueError, match=r"^3 references are given, but the score is defined for 4$"
    ):
        score([1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match=r"^5 ratings are given, but the score is defined for 4$"):
        score([1, 2, 3, 4], [1, 2, 3, 4, 5])


def test_eq_scores_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"^confidence is 1.5, but must be in 0..1$"):
        ng_eq([1, 2, 3, 4], [1, 2, 3, 4], 1.5)
    for ratings in ([1, 2], [1, 2, 3, 4]):
        with pytest.raises(
            ValueError, match=r"^5 references are given, but the score is defined for 4$"
        ):
            circuit_finder_eq([1, 2, 3, 4, 5], ratings)


@pytest.fixture(scope="module")
def eq_references():
    """Return the references of EQ-Bench v2, {"reference_answer": [171][4],
    "reference_answer_fullscale": [171][4]}.
    """
    if not EQ_BENCH.is_file():
        pytest.skip(f"the questions of EQ-Bench are not at {EQ_BENCH}")
    questions = json.loads(EQ_BENCH.read_text(encoding="utf-8")).values()
    return {
        field: [
            [float(question[field][f"emotion{i}_score"]) for i in range(1, 5)]
            for question in questions
        ]
        for field in ("reference_answer", "reference_answer_fullscale")
    }


def mean_of(score, references, answer):
    return sum(score(reference, answer) for reference in references) / len(references)


def test_constant_answers_to_eq_bench(eq_references):
    # The oracle's own set (139 questions) is not here: perfect 100, random 2.7, constants 3: 59.0,
    # 2: 56.7, 0: 29.4. On the 171 official questions the same formula gives the following, checked
    # by hand for single questions above.
    full = eq_references["reference_answer_fullscale"]
    assert all(eq_bench_v2(reference, reference) == 10 for reference in full)
    percent = {0: 2.4, 2: 33.0, 3: 38.9, 5: 26.9, 6: 15.8}
    for rating, expected in percent.items():
        found = 10 * mean_of(eq_bench_v2, full, [rating] * 4)
        assert round(found, 1) == expected
    answers = np.array(list(itertools.product(range(11), repeat=4)))
    random_mean = np.mean([eq_bench_v2(reference, answers).mean() for reference in full])
    assert abs(random_mean) < 0.3  # 0.7477 was chosen so that random answers score about 0


def test_constant_answers_to_ngs_eq(eq_references):
    # the oracle's sets are not here: raw 0.801 for the constant 3 and 0.75 for 0 on eq_16, 0.781
    # for 2 on eq_140
    normalised = eq_references["reference_answer"]
    assert mean_of(ng_eq, normalised, [0] * 4) == pytest.approx(
        0.75, abs=1e-3
    )  # references sum to 10, of 40
    assert mean_of(ng_eq, normalised, [3] * 4) == pytest.approx(0.789, abs=5e-4)
    assert mean_of(ng_eq, normalised, [2] * 4) == pytest.approx(0.798, abs=5e-4)


@pytest.mark.parametrize(
    ("text", "target", "score"),
    [
        ("The answer is (D).", "D", 1),
        ("So the answer is 18!\nDone", "18", 1),
        (
            "The answer is 18",
            "18",
            0,
        ),  # nothing ends the statement, and the whole last line is no 18
        ("I think.\nYes", "Yes", 1),
        ("(D)", "D", 1),
        ("no idea\n(B) ", "(B)", 1),
        ("12/14/1937", "12/14/1937", 1),
        ("", "D", 0),
        # documented defects
        ("Answer: D", "D", 0),
        ("Answer: D", "A", 1),
        ("The answer is (D) 12/14/1937.", "D", 0),
        ("I do not know", "no", 1),
        ("Yes, now they return.", "no", 1),
        ("Yes, now they return.", "Yes", 1),
    ],
)
def test_circuit_finder_scores_words(text, target, score):
    assert circuit_finder_reasoning(text, target) == score
