"""The tier "rated" of the probe `eq`: how strongly somebody feels each of four emotions.

The stories lie in rys/data/eq_situations.json and were written for this probe. Answers are scored
with the penalties of EQ-Bench v2, but rescaled: there, the same number for all four emotions gets
59 of 100 points; here, 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from rys.probes.base import Item, Scorer, SearchSplit, halves
from rys.probes.floors import totals_of_random_ratings
from rys.probes.parsers import parse_ratings
from rys.probes.published_scores import EQ_BENCH_WEIGHT, eq_bench_penalties, eq_bench_v2
from rys.probes.scorers import Generated, Ratings
from rys.probes.stable_names import stable_name

__all__ = ["Situation", "rated_items", "score_ratings", "situations"]

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
    """A story with the right ratings of one person's feelings at its end.

    Attributes:
        id: Stable name.
        situation: The story.
        person: Whose feelings are rated.
        emotions: [4], what is rated.
        ratings: [4], the right ratings on 0..10.
        why: The reason for the ratings, which no model gets to see.
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
    found = []
    for entry in json.loads(path.read_text(encoding="utf-8"))["situations"]:
        situation = Situation(
            id=entry["id"],
            situation=entry["situation"],
            person=entry["person"],
            emotions=tuple(entry["emotions"]),
            ratings=tuple(map(float, entry["ratings"])),
            why=entry["why"],
        )
        found.append(situation)
    return tuple(found)


def rated_items(form: str, n: int, seed: int, split: SearchSplit) -> list[Item]:
    """Return the items of a split, at most 32.

    Args:
        form: "digit" = each emotion by itself, as the expected digit of the next token, without
            generating; "list" = four lines that the model writes.
        n: At most so many.
        seed: Of their order.
        split: "search" or "confirm"; each has a half of the stories.
    """
    items = []
    for situation in halves(situations(), split, seed, lambda situation: situation.id)[:n]:
        item = Item(
            id=situation.id,
            prompt=_prompt(situation, form),
            scorer=_scorer(situation, form),
            tags={"family": "situations"},
        )
        items.append(item)
    return items


def _prompt(situation: Situation, form: str) -> str:
    if form == "digit":
        # The emotion stands as late as it can: what is before it is evaluated once for all four
        # questions.
        return _DIGIT.format(situation=situation.situation, person=situation.person)
    lines = "\n".join(f"{emotion}: ?" for emotion in situation.emotions)
    return _LIST.format(situation=situation.situation, person=situation.person, lines=lines)


def _scorer(situation: Situation, form: str) -> Scorer:
    chance = _chance(situation.ratings)
    if form == "digit":
        return Ratings(
            situation.emotions, situation.ratings, score_ratings, _constants(False), chance
        )
    return Generated(
        situation.ratings,
        _list_parser(situation.emotions),
        score_ratings,
        max_tokens=64,
        constants=_constants(True),
        chance=chance,
    )


def _list_parser(emotions: Sequence[str]) -> Callable[[str], list[float] | None]:
    @stable_name("_list_parser.<locals>.parse")  # as it was when the first hashes were stored
    def parse(text: str) -> list[float] | None:
        return parse_ratings(text, emotions)

    return parse


@stable_name("mark_ratings")
def score_ratings(target: Sequence[float], ratings: Sequence[float]) -> float:
    """Return EQ-Bench v2's score of ratings, rescaled: the item's best constant answer gets 0.

    The zero is set item by item. It is the score of the best answer that gives one number,
    whichever it is, to all four emotions of this item. What scores below it counts as 0, so no such
    answer ever scores more than 0 on any item. A zero that is set over all items at once does not
    do that: a constant would be below it on some items and above it on others, and cutting off only
    the scores below 0 would leave it with a mean of more than 0.

    Args:
        target: [4], the right ratings on 0..10. They may not be all the same.
        ratings: [4], on 0..10.

    Returns:
        A number in [0, 1]; 1 for the right ratings.
    """
    if not np.isfinite(ratings).all():
        return 0.0  # a path that breaks the model gives NaN, which passes through min and max
    zero = _best_constant(tuple(target))
    return float(np.clip((eq_bench_v2(target, ratings) - zero) / (10 - zero), 0, 1))


@cache
def _best_constant(target: tuple[float, ...]) -> float:
    """Return what the best answer scores that gives all four emotions the same number."""
    # The score is smooth between the right ratings, which are whole or half numbers: steps of 1/100
    # miss less than 1e-4.
    numbers = np.arange(1001) / 100
    same_for_all = np.repeat(numbers[:, np.newaxis], 4, axis=1)  # [1001, 4]
    return float(eq_bench_v2(target, same_for_all).max())


@cache
def _chance(target: tuple[float, ...]) -> float:
    """Return the expected score of random whole numbers 0..10: exactly, over all 11^4 answers."""
    distances = np.abs(np.arange(11)[:, np.newaxis] - np.array(target))  # [11, 4]
    totals = totals_of_random_ratings(eq_bench_penalties(distances))
    zero = _best_constant(target)
    scores = 10 - EQ_BENCH_WEIGHT * totals
    return float(np.clip((scores - zero) / (10 - zero), 0, 1).mean())


@cache
def _constants(has_positions: bool) -> tuple[tuple[float, ...], ...]:
    """Return answers that ignore the situation.

    These are one number for all emotions; the usual rating of each position; and, where the model
    sees the emotions as a list, one position high and the others low. Each of the last hits the
    strongest emotion of one situation in four, which is worth 0.2: of all lists of whole numbers,
    one of them is the best. Asked one by one, the emotions have no positions.
    """
    constants: list[tuple[float, ...]] = [(float(number),) * 4 for number in range(11)]
    ratings = np.array([situation.ratings for situation in situations()])  # [n, 4]
    for usual in (ratings.mean(axis=0), np.median(ratings, axis=0)):
        constants.append(tuple(usual.tolist()))
    if has_positions:
        for high in range(4):
            peak = [2.0] * 4
            peak[high] = 9.0
            constants.append(tuple(peak))
    return tuple(constants)
