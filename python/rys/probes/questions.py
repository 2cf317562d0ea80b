"""Questions that are written by a program: any number of them, the same on every machine.

A family is a function of a random generator and a difficulty. A question belongs to a split, by a
hash of its text, so a search and the confirmation that follows it never share one. For families
that a model was trained on there is a third split, so that neither shares one with the training.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias, TypeVar

__all__ = ["Family", "Question", "Split", "in_turns", "question_stream", "questions", "split_of"]

Value = TypeVar("Value")
Split: TypeAlias = Literal["search", "confirm", "train"]

_HALVES: tuple[Split, ...] = ("search", "confirm")
_WITH_TRAINING: tuple[Split, ...] = ("search", "confirm", "train", "train")
_PATIENCE = 500  # repeats in a row, until a family counts as exhausted


@dataclass(frozen=True)
class Question:
    """A question with one right answer.

    Attributes:
        text: What is asked.
        answer: The right answer; one of `choices`, if there are any.
        choices: All answers that are possible, the right one among them; empty = any text.
    """

    text: str
    answer: str
    choices: tuple[str, ...] = ()


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
            each; otherwise these hold a half each.
    """
    splits = _WITH_TRAINING if trained else _HALVES
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
    """
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
