"""Stories in pairs that differ in one fact, for the probe `eq`.

Which of the two facts somebody likes better is beyond dispute: whoever hoped for rain is happier if
it rains. Where two people wish the opposite, it follows from the fact together with who is asked
about, and whether a rating rises also from the emotion. All combinations are asked equally often,
so no single word, and no pair of words, tells the direction. Only `luck` is plain sentiment.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rys.probes.families.words import NAMES
from rys.probes.questions import Question

__all__ = [
    "EMOTIONS",
    "FACT",
    "N_FORMS",
    "TIERS",
    "Pair",
    "beliefs",
    "contests",
    "luck",
    "wishes",
]

FACT = "{fact}"  # stands in a question where the fact goes
N_FORMS = 4  # who is asked about, and pleasant emotions or others

EMOTIONS = (
    ("happy", "pleased", "glad", "cheerful"),
    ("disappointed", "sad", "upset", "unhappy"),
)


@cache
def _stories(kind: str) -> tuple[tuple[str, str, str], ...]:
    """Return the stories of a list in data/eq_pairs.json, each with its two facts."""
    path = Path(__file__).parents[1] / "data" / "eq_pairs.json"
    entries = json.loads(path.read_text(encoding="utf-8"))[kind]
    found = []
    for entry in entries:
        story, first, second = entry.values()
        found.append((story, first, second))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Pair(Question):
    """A story with two facts, as a question whose answer is the fact that is liked better.

    Its text says which story it is, so that a story belongs to the same split whatever is asked
    about it.

    Attributes:
        story: The story, with FACT in the place of the fact.
        person: Who is asked about.
        emotion: What is asked about where the rating is a digit.
        is_pleasant: Whether the emotion is a pleasant one.
    """

    story: str
    person: str
    emotion: str
    is_pleasant: bool

    @property
    def good(self) -> str:
        """The fact that the person likes better."""
        return self.choices[0]

    @property
    def bad(self) -> str:
        """The other fact."""
        return self.choices[1]


@dataclass(frozen=True)
class _Asked:
    """Who is asked about, and what.

    Attributes:
        names: Of {a} and {b}.
        is_second: {b} is asked about, else {a}.
        emotion: What is asked about.
        is_pleasant: Whether the emotion is a pleasant one.
    """

    names: tuple[str, str]
    is_second: bool
    emotion: str
    is_pleasant: bool

    @property
    def person(self) -> str:
        return self.names[self.is_second]


def _asked(rng: random.Random, form: int) -> _Asked:
    """Return whom and what a form, 0 to N_FORMS - 1, asks about."""
    first, second = rng.sample(NAMES, 2)
    is_pleasant = form % 2 == 0
    emotion = rng.choice(EMOTIONS[0] if is_pleasant else EMOTIONS[1])
    return _Asked((first, second), form // 2 == 1, emotion, is_pleasant)


def _pair(asked: _Asked, story: str, good: str, bad: str) -> Pair:
    """Return a pair.

    Args:
        asked: Who is asked about, and what.
        story: What comes before the fact.
        good: The fact that the person likes better.
        bad: The other one.
    """
    return Pair(
        text=f"{story} {FACT} How does {asked.person} feel?",
        answer=good,
        choices=(good, bad),
        story=f"{story} {FACT}",
        person=asked.person,
        emotion=asked.emotion,
        is_pleasant=asked.is_pleasant,
    )


def luck(rng: random.Random, form: int) -> Pair:
    """Ask how somebody feels to whom something good or bad has happened."""
    asked = _asked(rng, form)
    story, good, bad = rng.choice(_stories("luck"))
    return _pair(asked, story.format(a=asked.person), good, bad)


def wishes(rng: random.Random, form: int) -> Pair:
    """Ask how somebody feels whose wish comes true, or that of somebody with the opposite wish."""
    asked = _asked(rng, form)
    story, good, bad = rng.choice(_stories("wishes"))
    if asked.is_second:
        good, bad = bad, good
    first, second = asked.names
    return _pair(asked, story.format(a=first, b=second), good, bad)


def contests(rng: random.Random, form: int) -> Pair:
    """Ask how somebody feels who has won or lost against somebody else."""
    asked = _asked(rng, form)
    story, wins, loses = rng.choice(_stories("contests"))
    first, second = asked.names
    # Of either person it is told whether it won.
    told = rng.choice(asked.names)
    good, bad = wins.format(x=told), loses.format(x=told)
    if told != asked.person:
        good, bad = bad, good
    return _pair(asked, story.format(a=first, b=second), good, bad)


def beliefs(rng: random.Random, form: int) -> Pair:
    """Ask how somebody feels who believes the opposite of what happened."""
    asked = _asked(rng, form)
    story, good, bad = rng.choice(_stories("wishes"))
    if asked.is_second:
        good, bad = bad, good
    first, second = asked.names
    told = f"{asked.person} is not there, and believes a friend who wrongly says:"
    return _pair(
        asked,
        story.format(a=first, b=second),
        good=f"{bad} {told} {good}",
        bad=f"{good} {told} {bad}",
    )


# The families of each tier, in the order of the questions.
TIERS: dict[str, tuple[Callable[[random.Random, int], Pair], ...]] = {
    "basic": (luck,),
    "contrast": (wishes, contests),
    "belief": (beliefs,),
}
