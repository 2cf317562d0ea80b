"""The probe `reasoning`: generated puzzles in the manner of BIG-Bench-Hard, and judgements about
causes.

The families of families.py make any number of questions; the vignettes of data/causal.json are a
fixed list. The right answers stand at every position equally often, so that no constant answer
scores much above chance.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from itertools import chain, repeat
from typing import Any

from rys.errors import ProbeError
from rys.probes.answers import parse_choice, parse_number, parse_word, parse_yes_no
from rys.probes.base import Item, Probe, Scorer, SearchSplit, choose, halves
from rys.probes.families import FAMILIES
from rys.probes.families_logic import YES_NO
from rys.probes.questions import Question, questions
from rys.probes.scorers import Choice, Generated

__all__ = ["CAUSAL", "TIERS", "Reasoning", "options", "vignettes"]

CAUSAL = "causal_judgement"  # the family whose questions are a fixed list, the same in every tier

TIERS: dict[str, dict[str, int]] = {
    "easy": {
        "logical_deduction": 3,
        "navigate": 4,
        "date_understanding": 2,
        "tracking_shuffled_objects": 3,
        "boolean_expressions": 5,
        "web_of_lies": 4,
        "table_lookup": 2,
        "word_problems": 2,
        CAUSAL: 1,
    },
    "medium": {
        "logical_deduction": 5,
        "navigate": 6,
        "date_understanding": 3,
        "tracking_shuffled_objects": 5,
        "boolean_expressions": 8,
        "web_of_lies": 6,
        "table_lookup": 4,
        "word_problems": 4,
        CAUSAL: 1,
    },
    "hard": {
        "logical_deduction": 7,
        "navigate": 10,
        "date_understanding": 5,
        "tracking_shuffled_objects": 7,
        "boolean_expressions": 14,
        "web_of_lies": 10,
        "table_lookup": 7,
        "word_problems": 6,
        CAUSAL: 1,
    },
}

_LETTERS = "ABCDEFGHIJ"
_WORDS = (YES_NO, ("True", "False"))  # answers that are their own labels
_BRIEF = 16  # tokens for an answer alone: a letter with its option, a word, a number
_STEPS = 512  # tokens for an answer with the steps before it


class Reasoning(Probe):
    """Ask for what follows from a short text, in turn from each family.

    tier: "easy", "medium" or "hard": the numbers of dependent steps or objects, see TIERS.
    families: names of the families to ask from; None = all. The fixed list of causal_judgement ends
        after some dozens of items, and the others go on without it.
    format: "choice" = the probability of each option as the answer, without generating; "written" =
        the model writes a short answer; "steps" = it is asked to think step by step first.
    """

    id = "reasoning"
    version = 1

    def __init__(
        self,
        tier: str = "medium",
        families: Sequence[str] | None = None,
        format: str = "choice",  # noqa: A002 - the word that users know
    ) -> None:
        self.tier = choose("tier", tier, list(TIERS))
        self.format = choose("format", format, ["choice", "written", "steps"])
        known = list(TIERS[self.tier])
        if families is not None and (isinstance(families, str) or not families):
            raise ProbeError(
                f"families is {families!r}, but must be a list with one or more of {', '.join(known)}"
            )
        asked = (
            known if families is None else [choose("family", family, known) for family in families]
        )
        self.families = tuple(dict.fromkeys(asked))

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        alike: Counter[tuple[str, ...]] = (
            Counter()
        )  # families so far whose answers have the same labels
        streams: list[Iterator[Item]] = []
        for family in self.families:
            source = self._source(family, seed, split)
            first = next(source)
            labels = _labels(first)
            positions = _positions(labels, alike[labels], f"{seed} {split}")
            alike[labels] += 1
            streams.append(self._items(family, chain([first], source), labels, positions))
        items: list[Item] = []
        while streams and len(items) < n:
            for stream in list(streams):
                if item := next(stream, None):
                    items.append(item)
                else:
                    streams.remove(stream)
        return items[:n]

    def _source(self, family: str, seed: int, split: SearchSplit) -> Iterator[Question]:
        """Yield a family's questions, all different."""
        if family == CAUSAL:
            yield from _judgements(seed, split)
            return
        n = 64
        known = 0
        while True:
            drawn = questions(FAMILIES[family], TIERS[self.tier][family], n, seed, split)
            for question in drawn[known:]:
                is_open = self.format == "choice" and not question.choices
                yield replace(question, choices=options(question)) if is_open else question
            if len(drawn) < n:
                return
            known, n = n, 4 * n

    def _items(
        self,
        family: str,
        source: Iterator[Question],
        labels: tuple[str, ...],
        positions: Iterator[int],
    ) -> Iterator[Item]:
        """Yield a family's items, with the right answers at these positions among the labels."""
        waiting: defaultdict[str, deque[Question]] = defaultdict(deque)
        for position in positions:
            # the order of words as labels is fixed, so a question with the wanted answer is looked
            # for
            wanted = labels[position] if labels in _WORDS else ""
            while not waiting[wanted]:
                question = next(source, None)
                if question is None:
                    return
                waiting[question.answer if wanted else ""].append(question)
            yield self._item(family, waiting[wanted].popleft(), position)

    def _item(self, family: str, question: Question, position: int) -> Item:
        labels = _labels(question)
        parts = [question.text]
        right: str | int
        parse: Callable[[str], Any]
        if not labels:
            named, right, parse = "the number", int(question.answer), parse_number
        elif question.choices in _WORDS:
            named, right = " or ".join(labels), question.answer
            parse = parse_yes_no if labels == YES_NO else _parse_true_false
        else:
            named, right, parse = "the letter", labels[position], _letter_parser(labels)
            texts = [choice for choice in question.choices if choice != question.answer]
            texts.insert(position, question.answer)
            parts.append(
                "\n".join(f"({label}) {text}" for label, text in zip(labels, texts, strict=True))
            )
        if self.format == "steps":
            parts.append(f'Think step by step, and end with "The answer is" and {named}.')
        else:
            parts.append(f"Answer with {named} only.")
        scorer: Scorer
        if self.format == "choice":
            scorer = Choice(labels, str(right))
        else:
            max_tokens = _STEPS if self.format == "steps" else _BRIEF
            chance = 1 / len(labels) if labels else 0.0
            is_steps = self.format == "steps"
            scorer = Generated(
                right,
                parse,
                max_tokens=max_tokens,
                constants=labels,
                chance=chance,
                reasons=is_steps,
            )
        tags: dict[str, str | int] = {"family": family, "difficulty": TIERS[self.tier][family]}
        return Item(prompt="\n\n".join(parts), scorer=scorer, tags=tags)


def _labels(question: Question) -> tuple[str, ...]:
    """Return what stands for the choices in an answer; empty if there are none."""
    return (
        question.choices if question.choices in _WORDS else tuple(_LETTERS[: len(question.choices)])
    )


def _positions(labels: Sequence[str], shift: int, seed: str) -> Iterator[int]:
    """Yield the right answers' positions: each once in as many items as there are labels, in random
    order.

    shift: how many families have the same labels already. Then their answers differ, and are
        balanced together too.
    """
    if not labels:
        yield from repeat(0)
    rng = random.Random(f"positions {' '.join(labels)} {seed}")
    while True:
        for position in rng.sample(range(len(labels)), len(labels)):
            yield (position + shift) % len(labels)


def options(question: Question) -> tuple[str, ...]:
    """Return four different positive numbers as the choices of a question for a number that is at
    least 4.

    Two errors, each made or not, in all combinations: as every option differs in the same ways from
    others, none can be
    seen to be the right one. The errors are as large as numbers of the question, as if a step were
    missed.
    """
    rng = random.Random(question.text)
    right = int(question.answer)
    words = question.text.replace(".", " ").replace(",", " ").split()
    sizes = sorted({1, 2, 10, *(int(word) for word in words if word.isdecimal())} - {0})
    pairs = [(a, b) for a in sizes for b in sizes if a != b and a + b < right]
    first, second = (size * rng.choice((-1, 1)) for size in rng.choice(pairs))
    numbers = [right, right + first, right + second, right + first + second]
    rng.shuffle(numbers)
    return tuple(map(str, numbers))


@lru_cache
def vignettes() -> tuple[dict[str, str], ...]:
    """Return the stories of data/causal.json, each with id, story, question, answer, type and why."""
    file = json.loads(resources.files("rys").joinpath("data/causal.json").read_text("utf-8"))
    return tuple(file["vignettes"])


def _judgements(seed: int, split: SearchSplit) -> Iterator[Question]:
    """Yield the questions of a half of the vignettes, as many of one answer as of the other, in
    turn.
    """
    columns = [
        halves(
            [one for one in vignettes() if one["answer"] == answer],
            split,
            seed,
            lambda one: one["id"],
        )
        for answer in YES_NO
    ]
    for pair in zip(*columns, strict=False):
        for one in pair:
            yield Question(
                text=f"{one['story']} {one['question']}", answer=one["answer"], choices=YES_NO
            )


def _parse_true_false(text: str) -> str | None:
    return parse_word(text, ("True", "False"))


def _letter_parser(labels: Sequence[str]) -> Callable[[str], str | None]:
    def parse_letter(text: str) -> str | None:
        return parse_choice(text, labels)

    return parse_letter
