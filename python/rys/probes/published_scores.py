"""Scores of published probes, by their formulas, for comparisons with published figures.

The formulas keep what is odd about their sources: a constant answer or an unreadable one may score
high, see each function. The probes of rys use them only where their documentation says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from rys.probes.stable_names import stable_name

__all__ = [
    "EQ_BENCH_WEIGHT",
    "circuit_finder_eq",
    "circuit_finder_reasoning",
    "eq_bench_penalties",
    "eq_bench_v2",
    "ng_eq",
    "ng_partial_credit",
]

Array = npt.NDArray[np.float64]

EQ_BENCH_WEIGHT = 0.7477  # of the penalties, so that random ratings score about 0
_N_RATED = 4  # emotions in every question of the three sets with emotions to rate


@stable_name("ng_partial_credit")
def ng_partial_credit(answer: int, estimate: int) -> float:
    """Return Ng's partial credit of an estimate beside the right answer.

    With L the longer and S the shorter number of digits, and both numbers filled up with zeros at
    the right to L digits, a' and e'::

        score = (1 - |a' - e'| / max(a', e')) * S / L, cut to [0, 1];   0 if max(a', e') is 0

    The arithmetic is exact and only the score is rounded. The first digits decide: random digits of
    the right number score about 0.5. Zero for zero scores 0. The formula is meant for numbers from
    0 on; a minus sign counts as a digit.

    Source: dnhkng/RYS, src/workers/math_worker.py, calculate_score;
    alainnothere/llm-circuit-finder, math_probe.py.

    Args:
        answer: The right answer. The score is the same with the two exchanged.
        estimate: The estimate.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: A number has more than 4300 digits, which Python does not write.
    """
    n_answer, n_estimate = len(str(answer)), len(str(estimate))
    longer, shorter = max(n_answer, n_estimate), min(n_answer, n_estimate)
    padded_answer = answer * 10 ** (longer - n_answer)
    padded_estimate = estimate * 10 ** (longer - n_estimate)
    largest = max(padded_answer, padded_estimate)
    if largest == 0:
        return 0.0
    closeness = 1 - Fraction(abs(padded_answer - padded_estimate), largest)
    return float(min(Fraction(1), max(Fraction(0), closeness * Fraction(shorter, longer))))


def ng_eq(reference: Sequence[float], ratings: Sequence[float], confidence: float = 1.0) -> float:
    """Return Ng's score of four ratings.

    With c the confidence::

        score = c * max(0, 1 - sum_k |rating_k - reference_k| / 40) + (1 - c) / 2

    In Ng's sets the references of a question add up to 10, while the ratings are asked and scored
    as they come. So the constant 3, 3, 3, 3 scores about 0.80, and the emotions' true intensities
    about 0.94.

    Source: dnhkng/RYS, src/workers/eq_worker.py, calculate_eq_score.

    Args:
        reference: [4], on 0..10.
        ratings: [4], on 0..10.
        confidence: How well the answer could be read: 1.0 = ratings of both passes, 0.9 = of the
            revision alone, 0.8 = of the first pass alone, 0.5 = any four numbers, n/8 = n numbers
            below four (the others are 5). Below 1, what cannot be read draws the score to 0.5.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: There are other than four ratings, or the confidence is not in [0, 1].
    """
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence is {confidence}, but must be in 0..1")
    raw = max(0.0, 1 - math.fsum(_distances(reference, ratings)) / 40)
    return confidence * raw + (1 - confidence) * 0.5


def circuit_finder_eq(reference: Sequence[float], ratings: Sequence[float]) -> float:
    """Return the circuit-finder's score of four ratings.

    With d_k = |rating_k - reference_k|::

        score = max(0, 100 * (1 - sum_k p(d_k) / 40)),   p(d) = d^2 / 4 if d <= 4 else d

    Random ratings score about 73 on the published scenarios, and 6, 6, 6, 6 scores 93.55.

    Source: alainnothere/llm-circuit-finder, eq_probe.py, score_eq_response.

    Args:
        reference: [4], on 0..10.
        ratings: [n], the numbers of an answer. The first four count, cut to 0..10; fewer score 0.

    Returns:
        A number in [0, 100].

    Raises:
        ValueError: There are other than four references.
    """
    if len(ratings) < _N_RATED:
        _check_four(reference)
        return 0.0
    cut = [min(10.0, max(0.0, rating)) for rating in ratings[:_N_RATED]]
    distances = _distances(reference, cut)
    penalties = [d * d / 4 if d <= 4 else d for d in distances]
    return max(0.0, 100 * (1 - math.fsum(penalties) / 40))


def eq_bench_penalties(distances: Array) -> Array:
    """Return EQ-Bench v2's penalty for each distance between a rating and its reference.

    It is 0 for 0; 6.5 / (1 + exp(-1.2 (d - 4))) up to 5, which forgives small distances; and d
    itself above.

    Args:
        distances: float64 of any shape, on 0..10.

    Returns:
        float64 of the same shape.
    """
    small = np.where(distances == 0, 0.0, 6.5 / (1 + np.exp(-1.2 * (distances - 4))))
    return np.where(distances <= 5, small, distances)


def eq_bench_v2(reference: Sequence[float], ratings: Array | Sequence[float]) -> Array:
    """Return the official EQ-Bench v2 score of ratings of one question.

    With f of `eq_bench_penalties`::

        score = 10 - 0.7477 * sum_k f(|rating_k - reference_k|)

    The official figure for a set of questions is the mean in percent, ten times this score. Random
    ratings score about 0.1 on the 171 published questions, and 3, 3, 3, 3 scores 3.89.

    Source: EQ-bench/EQ-Bench, lib/scoring.py, calculate_score_fullscale; the same in
    lm-evaluation-harness, lm_eval/tasks/eq_bench/utils.py.

    Args:
        reference: [4], on 0..10, the full-scale ones.
        ratings: float64 [..., 4], on 0..10.

    Returns:
        float64 [...]: 10 for perfect ratings, below 0 for ratings worse than random ones.

    Raises:
        ValueError: There are other than four references, or other than four ratings.
    """
    rated = np.asarray(ratings, dtype=np.float64)
    _check_four(reference)
    if rated.shape[-1] != _N_RATED:
        raise ValueError(_wrong_number("ratings", rated.shape[-1]))
    penalties = eq_bench_penalties(np.abs(rated - np.array(reference)))
    score: Array = 10 - EQ_BENCH_WEIGHT * penalties.sum(axis=-1)
    return score


def _check_four(reference: Sequence[float]) -> None:
    if len(reference) != _N_RATED:
        raise ValueError(_wrong_number("references", len(reference)))


def _wrong_number(what: str, n: int) -> str:
    return f"{n} {what} are given, but the score is defined for {_N_RATED}"


def _distances(reference: Sequence[float], ratings: Sequence[float]) -> list[float]:
    _check_four(reference)
    if len(ratings) != _N_RATED:
        raise ValueError(_wrong_number("ratings", len(ratings)))
    return [abs(rating - right) for right, rating in zip(reference, ratings, strict=True)]


def circuit_finder_reasoning(answer_text: str, target: str) -> float:
    """Return the circuit-finder's score of an answer in words.

    The answer is taken from the text by the first of these rules that finds one: what follows "the
    answer is", up to a full stop, an exclamation mark or the end of the line; yes or no in the last
    line; a letter A-F in the last line, even within a word; the last line. It is right if it equals
    the target in letters and digits. A target of yes or no is also right if it occurs anywhere in
    the text, even within a word.

    So "Answer: D" is read as A, "The answer is (D) 12/14/1937." is not D, and "I do not know" is a
    right no. The source leaves open where it minds the case of letters and which text the last rule
    searches; here only the letters A-F must be capital, and it is the whole text.

    Source: alainnothere/llm-circuit-finder, reasoning_probe.py.

    Args:
        answer_text: What the model wrote.
        target: The right answer.

    Returns:
        1 or 0.
    """
    wanted = _letters_and_digits(target)
    if _letters_and_digits(_circuit_finder_answer(answer_text)) == wanted:
        return 1.0
    return float(wanted in ("yes", "no") and wanted in answer_text.lower())


def _circuit_finder_answer(text: str) -> str:
    stated = re.search(r"the answer is\s+(.+?)[.!\n\r]", text, re.IGNORECASE)  # "The answer is B."
    if stated:
        return stated[1]
    last_line = (text.strip().splitlines() or [""])[-1]
    found = re.search(r"\b(yes|no)\b", last_line, re.IGNORECASE)  # "Yes, ..."
    found = found or re.search(r"\(?([A-F])\)?", last_line)  # "(B)", and the A of "Answer"
    return found[1] if found else last_line


def _letters_and_digits(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())  # "(b) two" -> "btwo"
