"""Questions that are written by a program: any number of them, the same on every machine.

A family is a function of a random generator and a difficulty. A question belongs to a split, by a
hash of its text, so a search and the confirmation that follows it never share one, nor do the
calibration before them and the examples that are shown with a question. For families that a model
was trained on there is a split for training instead of the last two.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias, TypeVar

from rys.errors import ProbeError

__all__ = [
    "Family",
    "Question",
    "Split",
    "in_turns",
    "portion",
    "question_stream",
    "questions",
    "split_of",
]

Value = TypeVar("Value")
Split: TypeAlias = Literal["search", "confirm", "calibrate", "examples", "train"]

# Of eight classes. A calibration asks a few dozen items, and a family shows a few examples.
_SPLITS: tuple[Split, ...] = (
    *("search", "search", "search"),
    *("confirm", "confirm", "confirm"),
    *("calibrate", "examples"),
)
_WITH_TRAINING: tuple[Split, ...] = ("search", "confirm", "train", "train")
_PATIENCE = 500  # repeats in a row, until a family counts as exhausted


@dataclass(frozen=True)
class Question:
    """A question with one right answer.

    Attributes:
        text: What is asked.
        answer: The right answer; one of `choices`, if there are any.
        choices: All answers that are possible, the right one among them; empty = any text.
        lead: What is asked for, in front of the text; examples of the family make it needless.
        by_word: The choices are single words that are answered as they are, without letters.
    """

    text: str
    answer: str
    choices: tuple[str, ...] = ()
    by_word: bool = False
    lead: str = ""


Family: TypeAlias = Callable[[random.Random, int], Question]


def in_turns(columns: Sequence[Sequence[Value]]) -> list[Value]:
    """Return the first of every column, then the second, and so on; shorter columns just end."""
    longest = max(map(len, columns))
    return [column[i] for i in range(longest) for column in columns if i < len(column)]


def split_of(text: str, trained: bool = False) -> Split:
    """Return the split that a text belongs to.

    Args:
        text: The text of a question.
        trained: There is a split for training. It then holds a half, search and confirm a quarter
            each; otherwise these hold three eighths each, calibrate and examples an eighth each.
    """
    splits = _WITH_TRAINING if trained else _SPLITS
    return splits[hashlib.sha256(text.encode()).digest()[0] % len(splits)]


def question_stream(
    family: Family, difficulty: int, seed: int, split: Split, trained: bool = False
) -> Iterator[Question]:
    """Yield questions of a split for ever; they may repeat.

    Args:
        family: Writes the questions. Its name is part of the seed, so a family that is renamed
            asks other questions.
        difficulty: Of the questions, as the family defines it.
        seed: Which questions.
        split: The split of all of them.
        trained: There is a split for training, see `split_of`.

    Raises:
        ProbeError: There is no such split.
    """
    splits = _WITH_TRAINING if trained else _SPLITS
    if split not in splits:
        names = ", ".join(map(repr, dict.fromkeys(splits)))
        raise ProbeError(f"split is {split!r}, but these questions have {names}")
    # A text as the seed: its hash is part of the language's definition, so it is the same on every
    # machine, and streams that differ in any part have nothing in common.
    rng = random.Random(f"{family.__name__} {difficulty} {seed} {split}")
    while True:
        question = family(rng, difficulty)
        if split_of(question.text, trained) == split:
            yield question


def questions(
    family: Family, difficulty: int, n: int, seed: int, split: Split, trained: bool = False
) -> list[Question]:
    """Return different questions of a split.

    Args:
        family: See `question_stream`, as for all other arguments.
        difficulty: Of the questions.
        n: How many; fewer are returned if the family has no more. The first m of them are those
            that n = m would give.
        seed: Which questions.
        split: The split of all of them.
        trained: There is a split for training.
    """
    found: dict[str, Question] = {}
    stream = question_stream(family, difficulty, seed, split, trained)
    while len(found) < n:
        before = len(found)
        for question in islice(stream, _PATIENCE):
            found.setdefault(question.text, question)
            if len(found) == n:
                break
        if len(found) == before:
            break
    return list(found.values())


def portion(
    pool: Sequence[Value], split: Split, seed: int, key: Callable[[Value], str]
) -> list[Value]:
    """Return the part of a fixed list that belongs to a split.

    The parts follow from the keys' hashes, whatever the order of the list. They are as large as
    the shares of `split_of`: by the hash alone, short lists would be divided unevenly.

    Args:
        pool: The list.
        split: Which part.
        seed: Of the order within the part.
        key: Returns the text that an element is known by.
    """

    def rank(element: Value) -> bytes:
        return hashlib.sha256(key(element).encode("utf-8", "replace")).digest()

    ranked = sorted(pool, key=rank)
    places = [place for place, name in enumerate(_SPLITS) if name == split]
    start = round(len(ranked) * places[0] / len(_SPLITS))
    stop = round(len(ranked) * (places[-1] + 1) / len(_SPLITS))
    part = ranked[start:stop]
    # a text as the seed is hashed the same way on every machine
    random.Random(f"{seed} {split}").shuffle(part)
    return part
