"""Calls of scorers, which may be anybody's: whatever goes wrong names the item."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

from rys.errors import ProbeError
from rys.probes.base import Item, Reading
from rys.requests import Result

__all__ = ["read_answer", "score_answer"]


def read_answer(item: Item, results: Sequence[Result]) -> Reading:
    """Return what an item's scorer reads from the results of its requests.

    Args:
        item: The item.
        results: One for each request, in their order.

    Raises:
        ProbeError: The scorer failed.
    """
    try:
        return item.scorer.read(results)
    except Exception as error:  # a scorer may raise anything
        raise ProbeError(
            f"item {item.id}: its scorer cannot read the results: {error!r}"
        ) from error


def score_answer(item: Item, answer: Any) -> float:
    """Return the score that an item's scorer gives an answer.

    Args:
        item: The item.
        answer: In the form that the scorer reads.

    Raises:
        ProbeError: The scorer failed, or its score is not in [-1, 1].
    """
    try:
        score = float(item.scorer.score(answer))
    except Exception as error:
        raise ProbeError(
            f"item {item.id}: its scorer cannot score {reprlib.repr(answer)}: {error!r}"
        ) from error
    if not -1 <= score <= 1:  # also for NaN
        raise ProbeError(
            f"item {item.id}: the score of {reprlib.repr(answer)} is {score}, but must be in "
            f"[-1, 1]"
        )
    return score
