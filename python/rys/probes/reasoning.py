"""The probe `reasoning`: generated puzzles and judgements about causes.

The puzzles are in the manner of BIG-Bench-Hard. Their families, `rys.probes.families`, make any
number of questions; the vignettes of data/causal.json are a fixed list. The right answers stand at
every position equally often, so that no constant answer scores much above chance.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from itertools import chain, islice, repeat
from typing import Any

from rys.errors import ProbeError
from rys.probes.base import Item, Probe, Scorer, SearchSplit, choose, name_of
from rys.probes.families import DIFFICULTIES, FAMILIES
from rys.probes.families.basics import ARTICLES, KINDS, SENTIMENTS, VERBS
from rys.probes.families.words import YES_NO, join_words
from rys.probes.parsers import parse_choice, parse_number, parse_word, parse_yes_no
from rys.probes.parsers.word import word_parser
from rys.probes.questions import Question, portion, questions
from rys.probes.scorers import CHOICE_SCORES, Choice, Generated
from rys.probes.shots import EXAMPLE_SEED, STYLES, check_shots, turns, with_examples
from rys.probes.stable_names import stable_name

__all__ = ["CAUSAL", "TIERS", "Reasoning", "number_choices", "vignettes"]

CAUSAL = "causal_judgement"  # the family whose questions are a fixed list, the same in every tier


_SHORT = ("starter", "basic")  # tiers of one or two sentences


def _tier(tier: str) -> dict[str, int]:
    """Return the families of a tier with their difficulties, in the order of the questions."""
    if tier in _SHORT:  # they have families that are easier than the vignettes
        return DIFFICULTIES[tier]
    return {**DIFFICULTIES[tier], CAUSAL: 1}


TIERS: dict[str, dict[str, int]] = {tier: _tier(tier) for tier in DIFFICULTIES}

# What a calibration tries, as `rys.probes.shots.FORMS`. Long questions get fewer examples, since
# each of their nine families has its own.
_SHORT_FORMS = (("plain", 8), ("chat", 8), ("plain", 2), ("chat", 0))
_FORMS = (("plain", 4), ("chat", 4), ("plain", 2), ("chat", 0))

_LETTERS = "ABCDEFGHIJ"
_WORDS = (
    YES_NO,
    ("True", "False"),
    SENTIMENTS,
    KINDS,
    VERBS,
    ARTICLES,
)  # answers that are their own labels
_BRIEF = 16  # tokens for an answer alone: a letter with its option, a word, a number
_STEPS = 512  # tokens for an answer with the steps before it


class Reasoning(Probe):
    """Questions about what follows from a short text, from each family in turn.

    Attributes:
        tier: How difficult the questions are; see TIERS.
        format: How answers are asked for.
        families: The families that are asked, each once.
        shots: How many examples are shown with each question.
        score: How the probability of an option is scored.
        style: Whether the questions are a conversation or a plain text.
    """

    id = "reasoning"
    version = 2
    settings = ("format", "score", "shots", "style")

    def __init__(
        self,
        tier: str = "medium",
        families: Sequence[str] | None = None,
        format: str = "choice",  # noqa: A002 - the word that users know
        shots: int = 0,
        score: str = "probability",
        style: str = "chat",
    ) -> None:
        """Make the probe.

        Args:
            tier: "starter" = words that go together; "basic" = to find, to repeat and to compare;
                "easy", "medium", "hard" or "expert", which differ in the numbers of dependent steps
                or objects.
            families: Names of the families to ask from; None = all. The fixed list of
                causal_judgement ends after some dozens of items, and the others go on without it.
            format: "choice" = the probability of each option as the answer, without generating;
                "written" = the model writes a short answer; "steps" = it is asked to think step by
                step first.
            shots: How many examples of the same family are shown with each question.
            score: Of the format "choice", see `rys.probes.scorers.Choice`.
            style: "chat" = with the model's chat template, where it has one; "plain" = as a plain
                text.

        Raises:
            ProbeError: There is no such tier, family, format, score or style, or examples are
                wanted for "steps", of which there are none.
            RequestError: The number of examples is out of range.
        """
        self.tier = choose("tier", tier, list(TIERS))
        self.format = choose("format", format, ["choice", "written", "steps"])
        self.score = choose("score", score, list(CHOICE_SCORES))
        self.style = choose("style", style, STYLES)
        self.shots = check_shots(shots)
        if self.shots and self.format == "steps":
            raise ProbeError(
                f"shots is {self.shots}, but must be 0 for the format 'steps': the examples have "
                f"no steps"
            )
        known = list(TIERS[self.tier])
        if families is None:
            families = known
        if isinstance(families, str) or not families:
            raise ProbeError(
                f"families is {families!r}, but must be a list with one or more of "
                f"{', '.join(known)}"
            )
        asked = [choose("family", family, known) for family in families]
        self.families = tuple(dict.fromkeys(asked))

    @property
    def name(self) -> str:
        """Tier and settings, such as "reasoning:easy:shots=4"; see `Probe.name`."""
        return name_of(
            self,
            self.tier,
            format=(self.format, "choice"),
            score=(self.score, "probability"),
            shots=(self.shots, 0),
            style=(self.style, "chat"),
        )

    def rungs(self, thinking: bool = False) -> Sequence[Probe]:
        """Return all tiers, each with examples and without; see `Probe.rungs`."""
        found = []
        for tier in TIERS:
            if thinking:
                found.append(Reasoning(tier, format="written"))
                continue
            for style, shots in _SHORT_FORMS if tier in _SHORT else _FORMS:
                found.append(Reasoning(tier, shots=shots, score=self.score, style=style))
        return found

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return items, from the families in turn; see `Probe.items`."""
        # How many families so far have answers with the same labels.
        n_alike: Counter[tuple[str, ...]] = Counter()
        streams: list[Iterator[Item]] = []
        for family in self.families:
            source = self._source(family, seed, split)
            first = next(source)
            labels = _labels(first)
            positions = _positions(labels, n_alike[labels], f"{seed} {split}")
            n_alike[labels] += 1
            examples = self._examples(family)
            drawn = self._items(family, chain([first], source), labels, positions, examples)
            streams.append(drawn)
        items: list[Item] = []
        while streams and len(items) < n:
            for stream in list(streams):
                item = next(stream, None)
                if item:
                    items.append(item)
                else:
                    streams.remove(stream)
        return items[:n]

    def _source(self, family: str, seed: int, split: SearchSplit) -> Iterator[Question]:
        """Yield a family's questions, all different."""
        if family == CAUSAL:
            yield from _judgements(seed, split)
            return
        difficulty = TIERS[self.tier][family]
        # The first questions of a longer list are those of a shorter one, so ever longer lists are
        # drawn until the family has no more.
        n, n_known = 64, 0
        while True:
            drawn = questions(FAMILIES[family], difficulty, n, seed, split)
            for question in drawn[n_known:]:
                if self.format == "choice" and not question.choices:
                    yield replace(question, choices=number_choices(question))
                else:
                    yield question
            if len(drawn) < n:
                return
            n_known, n = n, 4 * n

    def _items(
        self,
        family: str,
        source: Iterator[Question],
        labels: tuple[str, ...],
        positions: Iterator[int],
        examples: list[dict[str, str]],
    ) -> Iterator[Item]:
        """Yield a family's items, with the right answers at these positions among the labels."""
        waiting: defaultdict[str, deque[Question]] = defaultdict(deque)
        for position in positions:
            # The order of words as labels is fixed, so a question with the wanted answer is looked
            # for.
            wanted = labels[position] if labels in _WORDS else ""
            while not waiting[wanted]:
                question = next(source, None)
                if question is None:
                    return
                waiting[question.answer if wanted else ""].append(question)
            yield self._item(family, waiting[wanted].popleft(), position, examples)

    def _examples(self, family: str) -> list[dict[str, str]]:
        """Return the examples of a family, with the right answers at every position in turn."""
        if not self.shots:
            return []
        source = self._source(family, EXAMPLE_SEED, "examples")
        first = next(source)
        labels = _labels(first)
        positions = _positions(labels, 0, "examples")
        shown = self._items(family, chain([first], source), labels, positions, [])
        pairs = []
        for item in islice(shown, self.shots):
            pairs.append((str(item.prompt), str(item.scorer.target)))
        return turns(pairs)

    def _item(
        self, family: str, question: Question, position: int, examples: list[dict[str, str]]
    ) -> Item:
        """Return the item of a question, with the right answer at a position among the options."""
        labels = _labels(question)
        # Examples tell a plain text how it goes on.
        is_shown = self.shots > 0 and self.style == "plain"
        parts = [question.text]
        if question.lead and not is_shown:
            parts = [f"{question.lead} {question.text}"]
        right: str | int
        if not labels:
            asked_for, right = "the number", int(question.answer)
        elif question.by_word:
            labels = _arranged(question, position)
            asked_for, right = "one word", question.answer
        elif question.choices in _WORDS:
            asked_for, right = join_words(labels, "or"), question.answer
        else:
            asked_for, right = "the letter", labels[position]
            parts.append(_format_options(question, labels, position))
        if self.format == "steps":
            parts.append(f'Think step by step, and end with "The answer is" and {asked_for}.')
        elif not is_shown:
            parts.append(f"Answer with {asked_for} only.")
        tags: dict[str, str | int] = {"family": family, "difficulty": TIERS[self.tier][family]}
        prompt = with_examples(examples, "\n\n".join(parts))
        return Item(
            prompt=prompt,
            scorer=self._scorer(labels, right),
            tags=tags,
            plain=self.style == "plain",
        )

    def _scorer(self, labels: tuple[str, ...], right: str | int) -> Scorer:
        if self.format == "choice":
            return Choice(labels, str(right), self.score)
        is_steps = self.format == "steps"
        return Generated(
            right,
            _parser(labels),
            max_tokens=_STEPS if is_steps else _BRIEF,
            constants=labels,
            chance=1 / len(labels) if labels else 0.0,
            reasons=is_steps,
        )


def _format_options(question: Question, labels: Sequence[str], position: int) -> str:
    """Return the options of a question, one a line, the right one at a position."""
    texts = _arranged(question, position)
    return "\n".join(f"({label}) {text}" for label, text in zip(labels, texts, strict=True))


def _arranged(question: Question, position: int) -> tuple[str, ...]:
    """Return the choices of a question, the right one at a position."""
    choices = [choice for choice in question.choices if choice != question.answer]
    choices.insert(position, question.answer)
    return tuple(choices)


def _parser(labels: tuple[str, ...]) -> Callable[[str], Any]:
    """Return the parser of written answers with these labels."""
    if not labels:
        return parse_number
    if labels == YES_NO:
        return parse_yes_no
    if labels == _WORDS[1]:
        return _parse_true_false
    if set(labels) <= set(_LETTERS):
        return _letter_parser(labels)
    return word_parser(labels)


def _labels(question: Question) -> tuple[str, ...]:
    """Return what stands for the choices in an answer; empty if there are none.

    Where the choices are words of each question's own, letters stand for their positions.
    """
    if question.choices in _WORDS:
        return question.choices
    return tuple(_LETTERS[: len(question.choices)])


def _positions(labels: Sequence[str], shift: int, seed: str) -> Iterator[int]:
    """Yield positions of the right answers: each once in as many items as there are labels.

    Args:
        labels: The labels; without any, the position is always 0.
        shift: How many families have the same labels already. Theirs are then at other positions,
            so that the answers are balanced over the families together, too.
        seed: Of the random order.
    """
    if not labels:
        yield from repeat(0)
    rng = random.Random(f"positions {' '.join(labels)} {seed}")
    while True:
        for position in rng.sample(range(len(labels)), len(labels)):
            yield (position + shift) % len(labels)


def number_choices(question: Question) -> tuple[str, ...]:
    """Return four different positive numbers as the choices of a question for a number.

    Two errors, each made or not, give the numbers, in all combinations: as every choice differs in
    the same ways from others, none can be seen to be the right one. The errors are as large as
    numbers of the question, as if a step were missed.

    Args:
        question: A question whose answer is a whole number that is at least 4.
    """
    rng = random.Random(question.text)
    right = int(question.answer)
    words = question.text.replace(".", " ").replace(",", " ").split()
    sizes = {1, 2, 10}
    sizes.update(int(word) for word in words if word.isdecimal())
    sizes.discard(0)
    ordered = sorted(sizes)
    pairs = [(a, b) for a in ordered for b in ordered if a != b and a + b < right]
    first, second = (size * rng.choice((-1, 1)) for size in rng.choice(pairs))
    numbers = [right, right + first, right + second, right + first + second]
    rng.shuffle(numbers)
    return tuple(map(str, numbers))


@lru_cache
def vignettes() -> tuple[dict[str, str], ...]:
    """Return the stories of data/causal.json: id, story, question, answer, type and why of each."""
    file = json.loads(resources.files("rys").joinpath("data/causal.json").read_text("utf-8"))
    return tuple(file["vignettes"])


def _judgements(seed: int, split: SearchSplit) -> Iterator[Question]:
    """Yield the questions of a part of the vignettes, an equal number of each answer, in turn."""
    columns = []
    for answer in YES_NO:
        stories = [story for story in vignettes() if story["answer"] == answer]
        columns.append(portion(stories, split, seed, lambda story: story["id"]))
    for pair in zip(*columns, strict=False):  # the rest of the longer column is left out
        for story in pair:
            text = f"{story['story']} {story['question']}"
            yield Question(text=text, answer=story["answer"], choices=YES_NO)


@stable_name("_parse_true_false")
def _parse_true_false(text: str) -> str | None:
    return parse_word(text, ("True", "False"))


def _letter_parser(labels: Sequence[str]) -> Callable[[str], str | None]:
    @stable_name("_letter_parser.<locals>.parse_letter")  # as when the first hashes were stored
    def parse(text: str) -> str | None:
        return parse_choice(text, labels)

    return parse
