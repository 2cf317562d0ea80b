"""Marks as the published probes give them, for comparisons with published numbers.

These follow the sources' formulae, with what is odd about them: a constant answer or an unreadable
one may score high, see each function. The probes of rys use them only where their documentation
says so. Numbers in the text of an answer are read by other rules than ours, too; those are here as
`*_number`, `*_numbers`, `*_answer`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

__all__ = [
    "circuit_finder_eq",
    "circuit_finder_number",
    "circuit_finder_reasoning",
    "eq_bench_v2",
    "ng_eq",
    "ng_math_answer",
    "ng_numbers",
    "ng_partial_credit",
]

_N_RATED = 4  # emotions in every question of the three EQ sets
_MAX_INT_DIGITS = 4300  # int() refuses longer texts


def ng_partial_credit(answer: int, estimate: int) -> float:
    """Return the partial credit of an estimate beside the right answer, in [0, 1], both in either
    order.

    With L the longer and S the shorter number of digits, and both numbers filled up with zeros at
    the right to L digits, a' and e':

        score = (1 - |a' - e'| / max(a', e')) * S / L, cut to [0, 1];   0 if max(a', e') is 0

    The arithmetic is exact and only the score is rounded. The first digits decide: random digits of
    the right number score about 0.5. Zero for zero scores 0. Meant for numbers from 0 on; a minus
    sign counts as a digit.

    Source: dnhkng/RYS, src/workers/math_worker.py, calculate_score;
        alainnothere/llm-circuit-finder, math_probe.py.
    Raises ValueError for numbers that Python cannot write, of more than 4300 digits.
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


def ng_numbers(text: str) -> tuple[int, ...]:
    """Return all whole numbers in an answer, [n]: its runs of digits, so neither signs nor decimal
    points count.

    Thinking between <think> and </think>, or after a <think> that is never closed, is left out,
    unless there is no
    number without it. Source: dnhkng/RYS, src/workers/math_worker.py.
    """
    said = re.sub(
        r"<think>.*", "", re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL), flags=re.DOTALL
    )
    runs = re.findall(r"\d+", said) or re.findall(r"\d+", text)
    return tuple(int(run) for run in runs if len(run) <= _MAX_INT_DIGITS)


def ng_math_answer(text: str, target: int) -> int | None:
    """Return the number in an answer that has the most partial credit beside the target; None if
    there is no number.

    An answer that lists many numbers is marked by its luckiest. Source: dnhkng/RYS,
    src/workers/math_worker.py.
    """
    return max(ng_numbers(text), key=lambda number: ng_partial_credit(target, number), default=None)


def circuit_finder_number(text: str) -> int | None:
    """Return the longest whole number in an answer, the first among equals; None if there is none.

    Commas count as part of a number and to its length, as does a sign. So an answer that repeats
    the question is marked by the number in the question, "1.5e9" is 1, and an answer whose longest
    match is a lone comma has none (the last is our reading of the source). Source:
    alainnothere/llm-circuit-finder, math_probe.py.
    """
    longest = max(re.findall(r"[-+]?[\d,]+", text), key=len, default="").replace(",", "")
    try:
        return int(longest)
    except ValueError:
        return None


def ng_eq(reference: Sequence[float], ratings: Sequence[float], confidence: float = 1.0) -> float:
    """Return Ng's score of four ratings, in [0, 1].

        score = c * max(0, 1 - sum_k |rating_k - reference_k| / 40) + (1 - c) / 2

    reference: [4], on 0..10; in Ng's sets their sum is 10, while the ratings are asked and marked
        as they come. So the constant 3, 3, 3, 3 scores about 0.80, and the emotions' true
        intensities about 0.94.
    ratings: [4], on 0..10.
    confidence: c, how well the answer could be read: 1.0 = ratings of both passes, 0.9 = of the
        revision alone, 0.8 = of the first pass alone, 0.5 = any four numbers, n/8 = n numbers below
        four (the others are 5). Below 1, what cannot be read draws the score to 0.5.

    Source: dnhkng/RYS, src/workers/eq_worker.py, calculate_eq_score.
    Raises ValueError for other than four ratings or a confidence outside [0, 1].
    """
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence is {confidence}, but must be in 0..1")
    raw = max(0.0, 1 - math.fsum(_differences(reference, ratings)) / 40)
    return confidence * raw + (1 - confidence) * 0.5


def circuit_finder_eq(reference: Sequence[float], ratings: Sequence[float]) -> float:
    """Return the circuit-finder's score of four ratings, in [0, 100].

        score = max(0, 100 * (1 - sum_k p(d_k) / 40)),   p(d) = d^2 / 4 if d <= 4 else d,   d_k =
        |rating - reference|

    reference: [4], on 0..10. ratings: the numbers of an answer, [n]: the first four count, cut to
        0..10; fewer score 0.
    Random ratings score about 73 on the published scenarios, and 6, 6, 6, 6 scores 93.55.

    Source: alainnothere/llm-circuit-finder, eq_probe.py, score_eq_response.
    Raises ValueError for other than four references.
    """
    if len(ratings) < _N_RATED:
        _check_four(reference)
        return 0.0
    cut = [min(10.0, max(0.0, rating)) for rating in ratings[:_N_RATED]]
    penalties = (d * d / 4 if d <= 4 else d for d in _differences(reference, cut))
    return max(0.0, 100 * (1 - math.fsum(penalties) / 40))


def eq_bench_v2(reference: Sequence[float], ratings: Sequence[float]) -> float:
    """Return the official EQ-Bench v2 score of four ratings in percent, at most 100; below 0 if
    worse than random.

        score = 10 * (10 - 0.7477 * sum_k f(d_k)),   d_k = |rating_k - reference_k|
        f(0) = 0,   f(d) = 6.5 / (1 + exp(-1.2 * (d - 4))) if d <= 5,   f(d) = d if d > 5

    reference: [4], on 0..10, the full-scale ones. ratings: [4], on 0..10. Random ratings score
        about 1 on
    the 171 published questions, and 3, 3, 3, 3 scores 38.9.

    Source: EQ-bench/EQ-Bench, lib/scoring.py, calculate_score_fullscale; the same in
        lm-evaluation-harness,
    lm_eval/tasks/eq_bench/utils.py. Raises ValueError for other than four ratings.
    """
    return 10 * (10 - 0.7477 * math.fsum(map(_eq_bench_penalty, _differences(reference, ratings))))


def _eq_bench_penalty(difference: float) -> float:
    if difference == 0:
        return 0.0
    return 6.5 / (1 + math.exp(-1.2 * (difference - 4))) if difference <= 5 else difference


def _check_four(reference: Sequence[float]) -> None:
    if len(reference) != _N_RATED:
        raise ValueError(
            f"{len(reference)} references are given, but the score is defined for {_N_RATED}"
        )


def _differences(reference: Sequence[float], ratings: Sequence[float]) -> list[float]:
    _check_four(reference)
    if len(ratings) != _N_RATED:
        raise ValueError(
            f"{len(ratings)} ratings are given, but the score is defined for {_N_RATED}"
        )
    return [abs(rating - right) for right, rating in zip(reference, ratings, strict=True)]


def circuit_finder_reasoning(answer_text: str, target: str) -> float:
    """Return 1 or 0, as the circuit-finder marks an answer in words.

    The answer is taken from the text by the first of these that finds one: what follows "the answer
    is", up to a full stop, an exclamation mark or the end of the line; yes or no in the last line;
    a letter A-F in the last line, even within a word; the last line. It is right if it equals the
    target in letters and digits. A target of yes or no is also right if it occurs anywhere in the
    text, even within a word.

    So "Answer: D" is read as A, "The answer is (D) 12/14/1937." is not D, and "I do not know" is a
    right no.
    Facts about the source leave open where it minds the case of letters and which text the last
    rule searches; here only the letters A-F must be capital, and it is the whole text.

    Source: alainnothere/llm-circuit-finder, reasoning_probe.py.
    """
    wanted = _letters_and_digits(target)
    if _letters_and_digits(_circuit_finder_answer(answer_text)) == wanted:
        return 1.0
    return float(wanted in ("yes", "no") and wanted in answer_text.lower())


def _circuit_finder_answer(text: str) -> str:
    stated = re.search(r"the answer is\s+(.+?)[.!\n\r]", text, re.IGNORECASE)
    if stated:
        return stated[1]
    last_line = (text.strip().splitlines() or [""])[-1]
    found = re.search(r"\b(yes|no)\b", last_line, re.IGNORECASE) or re.search(
        r"\(?([A-F])\)?", last_line
    )
    return found[1] if found else last_line


def _letters_and_digits(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
