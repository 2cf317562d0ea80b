"""What can be scored without reading the questions: the best constant answer, random ratings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rys.probes.base import Item
from rys.probes.scoring import score_answer

__all__ = ["best_constant", "totals_of_random_ratings"]

_MAX_CONSTANTS = 64  # answers that are tried for each kind of item


def best_constant(items: Sequence[Item]) -> tuple[float, str]:
    """Return the best mean score that one answer to every item would reach, and that answer.

    The answers that are tried are the constants of the scorers. Scorers without constants are
    tried with the most frequent right answers.

    An answer can only be constant among items that could be given it, so items are grouped by their
    constants, and each group has a best answer of its own. Some groups have no more items than
    constants, for example when every question has choices of its own; trying these would find an
    answer that is right by its rarity. Where there are several such groups, their constants are
    tried by position: always the first choice, always the second, and so on.

    Args:
        items: The items of a probe.

    Returns:
        The mean score, in [0, 1], and the answers, for people: "B", "B / no" for two groups,
        "choice 1" for a position.
    """
    groups = _by_constants(items)
    small = [group for group in groups if len(group) <= len(group[0].scorer.constants)]
    total, answers = 0.0, []
    if len(small) > 1:
        groups = [group for group in groups if len(group) > len(group[0].scorer.constants)]
        rare_items = [item for group in small for item in group]
        total, position = _best_position(rare_items)
        answers.append(f"choice {position + 1}")
    for group in groups:
        group_total, answer = _best_answer(group)
        total += group_total
        answers.append(str(answer))
    distinct = dict.fromkeys(answers)
    return total / len(items), " / ".join(distinct)


def _by_constants(items: Sequence[Item]) -> list[list[Item]]:
    """Return the items grouped by their kind of scorer and their constants."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        # as text: constants may be lists, which cannot be keys
        kind = repr((type(item.scorer).__name__, item.scorer.constants))
        groups.setdefault(kind, []).append(item)
    return list(groups.values())


def _best_answer(group: Sequence[Item]) -> tuple[float, Any]:
    """Return what the best constant answer to a group scores in total, and that answer."""
    tried = list(group[0].scorer.constants) or [item.scorer.target for item in group]
    answers = {repr(answer): answer for answer in tried}
    frequent = Counter(map(repr, tried)).most_common(_MAX_CONSTANTS)
    totals = []
    for text, _ in frequent:
        totals.append(sum(score_answer(item, answers[text]) for item in group))
    best = int(np.argmax(totals))
    return totals[best], answers[frequent[best][0]]


def _best_position(items: Sequence[Item]) -> tuple[float, int]:
    """Return what the constants at the best position score in total, and that position."""
    totals = [0.0] * max(len(item.scorer.constants) for item in items)
    for item in items:
        for position, constant in enumerate(item.scorer.constants):
            totals[position] += score_answer(item, constant)
    best = int(np.argmax(totals))
    return totals[best], best


def totals_of_random_ratings(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the total loss of every answer that rates four things by whole numbers.

    Args:
        losses: float64 [n_rating, 4]: the loss of each rating of each thing.

    Returns:
        float64 [n_rating, n_rating, n_rating, n_rating]: the sums over the four things.
    """
    a, b, c, d = losses.T
    total: npt.NDArray[np.float64] = a[:, None, None, None] + b[:, None, None] + c[:, None] + d
    return total
