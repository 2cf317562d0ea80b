"""The probe `eq`: how strongly somebody in a short story feels each of four emotions.

The stories lie in rys/data/eq_situations.json and were written for this probe. They are marked with
the difference
function of EQ-Bench v2, but rescaled: there, the same number for all four emotions gets 59 of 100
points; here, 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rys.probes.answers import parse_ratings
from rys.probes.base import Item, Probe, Scorer, SearchSplit, choose, halves
from rys.probes.scorers import Generated, Ratings

__all__ = ["EQ", "Situation", "differences", "eq_bench_v2", "mark_ratings", "situations"]

Array = npt.NDArray[np.float64]

_DIGIT = (
    "{situation}\n\nOn a scale from 0 (not at all) to 9 (extremely), "
    "how {{subject}} does {person} feel at the end? Answer with one digit."
)
_LIST = (
    "{situation}\n\nHow strongly does {person} feel each of these emotions at the end, "
    "on a scale from 0 (not at all) to 10 (extremely)? "
    "Replace the question marks by numbers, and answer with these four lines only:\n{lines}"
)


@dataclass(frozen=True)
class Situation:
    """Hold a story with the right ratings of one person's feelings at its end.

    emotions, ratings: [4]; the ratings on 0..10.
    why: the reason for the ratings, which no model gets to see.
    """

    id: str
    situation: str
    person: str
    emotions: tuple[str, ...]
    ratings: tuple[float, ...]
    why: str


@cache
def situations() -> tuple[Situation, ...]:
    """Return all situations, of both splits."""
    path = Path(__file__).parents[1] / "data" / "eq_situations.json"
    return tuple(
        Situation(
            id=entry["id"],
            situation=entry["situation"],
            person=entry["person"],
            emotions=tuple(entry["emotions"]),
            ratings=tuple(map(float, entry["ratings"])),
            why=entry["why"],
        )
        for entry in json.loads(path.read_text(encoding="utf-8"))["situations"]
    )


class EQ(Probe):
    """Ask how strongly somebody feels each of four emotions; a fixed list of 64 situations, half of
    them in each split.

    format: "digit" = each emotion by itself, as the expected digit of the next token, without
        generating; "list" = four lines that the model writes.
    """

    id = "eq"
    version = 1

    def __init__(self, format: str = "digit") -> None:  # noqa: A002 (the user's word)
        self.format = choose("format", format, ["digit", "list"])

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        return [
            Item(
                id=situation.id,
                prompt=self._prompt(situation),
                scorer=self._scorer(situation),
                tags={"family": "situations"},
            )
            for situation in halves(situations(), split, seed, lambda situation: situation.id)[:n]
        ]

    def _prompt(self, situation: Situation) -> str:
        if self.format == "digit":
            # the emotion stands as late as it can: what is before it is evaluated once for all four
            # questions
            return _DIGIT.format(situation=situation.situation, person=situation.person)
        lines = "\n".join(f"{emotion}: ?" for emotion in situation.emotions)
        return _LIST.format(situation=situation.situation, person=situation.person, lines=lines)

    def _scorer(self, situation: Situation) -> Scorer:
        chance = _chance(situation.ratings)
        if self.format == "digit":
            return Ratings(
                situation.emotions, situation.ratings, mark_ratings, _constants(False), chance
            )
        parse = _list_parser(situation.emotions)
        return Generated(
            situation.ratings,
            parse,
            mark_ratings,
            max_tokens=64,
            constants=_constants(True),
            chance=chance,
        )


def _list_parser(emotions: Sequence[str]) -> Callable[[str], list[float] | None]:
    def parse(text: str) -> list[float] | None:
        return parse_ratings(text, emotions)

    return parse


def mark_ratings(references: Sequence[float], ratings: Sequence[float]) -> float:
    """Return the score of ratings, in [0, 1]: EQ-Bench v2's, with the item's best constant answer
    at 0, perfect at 1.

    references, ratings: [4], on 0..10. The references may not be all the same.

    The zero is set item by item: the score of the best answer that gives one number, whichever it
    is, to all four
    emotions of this item. What scores below it counts as 0, so no such answer ever scores more than
    0 on any item. A
    zero that is set over all items at once does not do that: a constant would be below it on some
    items and above it on
    others, and cutting off only the scores below 0 would leave it with a mean of more than 0.
    """
    if not np.isfinite(ratings).all():
        return 0.0  # a path that breaks the model gives NaN, which passes through min and max
    zero = _best_constant(tuple(references))
    return float(np.clip((eq_bench_v2(references, ratings) - zero) / (10 - zero), 0, 1))


def eq_bench_v2(references: Sequence[float], ratings: Sequence[float]) -> float:
    """Return EQ-Bench v2's score of one item: 10 if perfect, about 0 at random, negative if worse.

    references, ratings: [4], on 0..10. Source: EQ-bench/EQ-Bench, lib/scoring.py,
        calculate_score_fullscale.
    """
    return float(_scores(references, np.array(ratings, dtype=np.float64)))


def differences(distances: Array) -> Array:
    """Return EQ-Bench v2's penalty for each distance between a rating and its reference, in the
    distances' shape.

    0 for 0; 6.5 / (1 + exp(-1.2 (d - 4))) up to 5, which forgives small differences; d itself
    above.
    """
    small = np.where(distances == 0, 0.0, 6.5 / (1 + np.exp(-1.2 * (distances - 4))))
    return np.where(distances <= 5, small, distances)


def _scores(references: Sequence[float], ratings: Array) -> Any:
    distances = np.abs(ratings - np.array(references))  # [..., 4]
    return 10 - 0.7477 * differences(distances).sum(axis=-1)  # [...]


@cache
def _best_constant(references: tuple[float, ...]) -> float:
    # the score is smooth between the references, which are whole or half numbers: steps of 1/100
    # miss less than 1e-4
    numbers = np.arange(1001)[:, np.newaxis] / 100  # [1001, 1]
    return float(_scores(references, numbers).max())


@cache
def _chance(references: tuple[float, ...]) -> float:
    """Return the expected score of whole numbers 0..10 at random: exactly, over all 11^4 answers."""
    penalties = differences(np.abs(np.arange(11)[:, np.newaxis] - np.array(references)))  # [11, 4]
    a, b, c, d = penalties.T
    total = a[:, None, None, None] + b[:, None, None] + c[:, None] + d  # [11, 11, 11, 11]
    zero = _best_constant(references)
    return float(np.clip((10 - 0.7477 * total - zero) / (10 - zero), 0, 1).mean())


@cache
def _constants(has_positions: bool) -> tuple[tuple[float, ...], ...]:
    """Return answers that ignore the situation.

    One number for all; the usual rating of each position; and, where the model sees the emotions as
    a list, one position high and the others low. Each of those hits the strongest emotion of one
    situation in four, which is worth
    0.2: of all lists of whole numbers, one of them is the best. Asked one by one, the emotions have
    no positions.
    """
    ratings = np.array([situation.ratings for situation in situations()])  # [n, 4]
    usual = [tuple(map(float, row)) for row in (ratings.mean(axis=0), np.median(ratings, axis=0))]
    peaks = (
        [tuple(9.0 if i == high else 2.0 for i in range(4)) for high in range(4)]
        if has_positions
        else []
    )
    return (*((float(number),) * 4 for number in range(11)), *usual, *peaks)
