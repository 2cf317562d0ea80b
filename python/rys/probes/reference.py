"""The questions that the reference model was trained to answer, for its training and its probe.

The families take as many dependent steps as there are numbers to add. The reference model answers
the easy tier as it stands, and the hard tier along one layer path; see docs/reference_model.md.
"""

from __future__ import annotations

import random

from rys.probes.base import Item, Probe, SearchSplit, choose, name_of
from rys.probes.questions import Family, Question, Split, in_turns, questions
from rys.probes.scorers import CHOICE_SCORES, Choice

__all__ = ["DAYS", "FAMILIES", "TIERS", "Reference", "days", "sums"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = ("one", "two", "three", "four", "five", "six")


def sums(rng: random.Random, n: int) -> Question:
    """Ask for the last digit of a sum of n numbers of one digit."""
    numbers = [rng.randrange(10) for _ in range(n)]
    # In this form the model was trained; do not touch the wording of either family.
    return Question(
        text=f"Last digit of {'+'.join(map(str, numbers))}?",
        answer=str(sum(numbers) % 10),
        choices=tuple("0123456789"),
    )


def days(rng: random.Random, n: int) -> Question:
    """Ask for the day of the week that n waits lead to."""
    start = rng.randrange(7)
    waits = [rng.randrange(1, 7) for _ in range(n)]
    words = ", ".join(NUMBERS[wait - 1] for wait in waits)
    return Question(
        text=f"From {DAYS[start]} wait {words} days. Which day?",
        answer=DAYS[(start + sum(waits)) % 7],
        choices=DAYS,
    )


FAMILIES: dict[str, Family] = {"sums": sums, "days": days}
TIERS: dict[str, tuple[int, ...]] = {"easy": (3,), "hard": (7,)}  # how many numbers


def draw(tier: str, n: int, seed: int, split: Split) -> list[tuple[str, int, Question]]:
    """Return questions of a tier, its families and difficulties in turn.

    Args:
        tier: A key of TIERS.
        n: How many, at most.
        seed: Which questions.
        split: The split of all of them.

    Returns:
        Family, difficulty and question of each.
    """
    columns = []
    for difficulty in TIERS[tier]:
        for name, family in FAMILIES.items():
            drawn = questions(family, difficulty, n, seed, split, trained=True)
            columns.append([(name, difficulty, question) for question in drawn])
    return in_turns(columns)[:n]


class Reference(Probe):
    """Questions that the reference model was trained for.

    The answer is the most probable one of all digits, or of all days.

    Attributes:
        tier: How many numbers there are to add.
        score: How the probability of an answer is scored.
    """

    id = "reference"
    settings = ("score",)

    def __init__(self, tier: str = "mixed", score: str = "accuracy") -> None:
        """Make the probe.

        Args:
            tier: "easy" (3 numbers), "hard" (7 numbers) or "mixed" (half of each).
            score: "accuracy", by which the reference model was chosen, or another one of
                `rys.probes.scorers.Choice`.

        Raises:
            ProbeError: There is no such tier or score.
        """
        self.tier = choose("tier", tier, [*TIERS, "mixed"])
        self.score = choose("score", score, list(CHOICE_SCORES))

    @property
    def name(self) -> str:
        """The tier, such as "reference:hard"; see `Probe.name`."""
        return name_of(self, self.tier, score=(self.score, "accuracy"))

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return items, both families in turn; see `Probe.items`."""
        if self.tier != "mixed":
            return [self._item(*drawn) for drawn in draw(self.tier, n, seed, split)]
        halves = [draw(tier, -(-n // 2), seed, split) for tier in TIERS]
        return [self._item(*drawn) for drawn in in_turns(halves)[:n]]

    def _item(self, family: str, difficulty: int, question: Question) -> Item:
        return Item(
            prompt=question.text,
            scorer=Choice(question.choices, question.answer, self.score),
            tags={"family": family, "difficulty": difficulty},
        )
