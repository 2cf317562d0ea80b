"""The probe `math`: generated arithmetic, from small sums to large roots and products.

The tier "original" asks for the kinds of numbers that David Ng's RYS measured with.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from rys.probes.base import Item, Probe, Scorer, SearchSplit, choose, name_of
from rys.probes.parsers import parse_number, parse_whole_number
from rys.probes.published_scores import ng_partial_credit
from rys.probes.questions import Family, Question, in_turns, questions
from rys.probes.scorers import Generated, Likelihood
from rys.probes.shots import EXAMPLE_SEED, FORMS, STYLES, check_shots, turns, with_examples

__all__ = ["TIERS", "Math"]


# The families. Their names are part of the seed of their questions, see question_stream.


def _of_digits(rng: random.Random, n: int) -> int:
    return rng.randrange(10 ** (n - 1), 10**n)


def addition(rng: random.Random, digits: int) -> Question:
    """Ask for the sum of two numbers of so many digits."""
    a, b = _of_digits(rng, digits), _of_digits(rng, digits)
    return Question(f"What is {a} + {b}?", str(a + b))


def subtraction(rng: random.Random, digits: int) -> Question:
    """Ask for the difference of two different numbers of so many digits, the larger one first."""
    b, a = sorted(rng.sample(range(10 ** (digits - 1), 10**digits), 2))
    return Question(f"What is {a} - {b}?", str(a - b))


def product(rng: random.Random, digits: int) -> Question:
    """Ask for the product of two numbers of so many digits."""
    a, b = _of_digits(rng, digits), _of_digits(rng, digits)
    return Question(f"What is {a} * {b}?", str(a * b))


def product_and_sum(rng: random.Random, digits: int) -> Question:
    """Ask for a product of two numbers of so many digits, plus a third number."""
    a, b, c = (_of_digits(rng, digits) for _ in range(3))
    return Question(f"What is {a} * {b} + {c}?", str(a * b + c))


def square_root(rng: random.Random, digits: int) -> Question:
    """Ask for the square root of a number of so many digits, to the nearest whole number."""
    a = _of_digits(rng, digits)
    root = math.isqrt(a)
    # up from (root + 1/2)^2 on, which is not a whole number
    nearest = root + (a > root * root + root)
    return Question(
        f"What is the square root of {a}, rounded to the nearest whole number?", str(nearest)
    )


def cube_root(rng: random.Random, digits: int) -> Question:
    """Ask for the cube root of a number of so many digits, to the nearest whole number."""
    a = _of_digits(rng, digits)
    root = round(a ** (1 / 3))
    # The floating-point root may be off by one. The bounds are half-way between whole numbers, so
    # this is exact.
    while (2 * root - 1) ** 3 > 8 * a:
        root -= 1
    while (2 * root + 1) ** 3 <= 8 * a:
        root += 1
    return Question(
        f"What is the cube root of {a}, rounded to the nearest whole number?", str(root)
    )


def take_away(rng: random.Random, digits: int) -> Question:
    """Ask for a sum of two numbers of so many digits less one of them."""
    a, b = _of_digits(rng, digits), _of_digits(rng, digits)
    return Question(f"What is {a + b} - {b}?", str(a))


def successor(rng: random.Random, digits: int) -> Question:
    """Ask for the number after one of so many digits."""
    a = _of_digits(rng, digits)
    return Question(f"Which number comes after {a}?", str(a + 1))


def larger(rng: random.Random, digits: int) -> Question:
    """Ask for the larger one of two different numbers of so many digits."""
    a, b = rng.sample(range(10 ** (digits - 1), 10**digits), 2)
    return Question(f"Which number is larger, {a} or {b}?", str(max(a, b)))


def remainder(rng: random.Random, digits: int) -> Question:
    """Ask for the remainder of a number of so many digits, divided by one of two digits fewer."""
    a, b = _of_digits(rng, digits), _of_digits(rng, digits - 2)
    a += a % b == 0  # Ng's partial credit knows no right answer of 0
    return Question(f"What is the remainder of {a} divided by {b}?", str(a % b))


# Families and difficulties; a difficulty is a number of digits.
TIERS: dict[str, tuple[tuple[Family, int], ...]] = {
    "basic": ((addition, 1), (successor, 3), (take_away, 1), (larger, 2)),
    "easy": ((addition, 2), (subtraction, 2), (product, 1)),
    "medium": ((addition, 4), (subtraction, 4), (product, 2), (product_and_sum, 2)),
    "hard": ((addition, 9), (product, 3), (square_root, 8), (cube_root, 9)),
    "expert": ((product, 5), (product_and_sum, 4), (square_root, 12), (remainder, 6)),
    "original": ((square_root, 14), (product, 7), (cube_root, 17)),
}


class Math(Probe):
    """Questions for numbers.

    Attributes:
        tier: Which families are asked, with how many digits; see TIERS.
        score: How answers are asked for and scored.
        shots: How many examples are shown with each question.
        style: Whether the questions are a conversation or a plain text.
    """

    id = "math"
    version = 2
    settings = ("score", "shots", "style")

    def __init__(
        self,
        tier: str = "medium",
        score: str = "likelihood",
        shots: int = 0,
        style: str = "chat",
    ) -> None:
        """Make the probe.

        Args:
            tier: "basic", "easy", "medium", "hard", "expert", or "original" for large roots and
                products.
            score: "likelihood" = how probable the right answer is per digit,
                exp(log-probability / digits), without generating; "exact" = 1 for the right number;
                "partial" = Ng's partial credit (`rys.probes.published_scores.ng_partial_credit`).
            shots: How many examples of the same family are shown with each question.
            style: "chat" = with the model's chat template, where it has one; "plain" = as a plain
                text.

        Raises:
            ProbeError: There is no such tier, score or style.
            RequestError: The number of examples is out of range.
        """
        self.tier = choose("tier", tier, list(TIERS))
        self.score = choose("score", score, ["likelihood", "exact", "partial"])
        self.shots = check_shots(shots)
        self.style = choose("style", style, STYLES)

    @property
    def name(self) -> str:
        """Tier and settings, such as "math:easy:shots=6"; see `Probe.name`."""
        return name_of(
            self,
            self.tier,
            score=(self.score, "likelihood"),
            shots=(self.shots, 0),
            style=(self.style, "chat"),
        )

    def rungs(self, thinking: bool = False) -> Sequence[Probe]:
        """Return the tiers but "original", each with examples and without; see `Probe.rungs`."""
        found = []
        for tier in TIERS:
            if tier == "original":  # for comparison with another tool
                continue
            if thinking:
                found.append(Math(tier, "exact"))
            else:
                found += [Math(tier, self.score, shots, style) for style, shots in FORMS]
        return found

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return items, the tier's families in turn; see `Probe.items`."""
        columns = []
        for family, digits in TIERS[self.tier]:
            # Of each family as many as are wanted of all: another one may end early.
            drawn = questions(family, digits, n, seed, split)
            examples = self._examples(family, digits)
            tags: dict[str, str | int] = {"family": family.__name__, "difficulty": digits}
            columns.append([self._item(question, examples, tags) for question in drawn])
        return in_turns(columns)[:n]

    def _examples(self, family: Family, digits: int) -> list[dict[str, str]]:
        shown = questions(family, digits, self.shots, EXAMPLE_SEED, "examples")
        return turns((self._prompt(question), question.answer) for question in shown)

    def _prompt(self, question: Question) -> str:
        # Examples tell a plain text how it goes on.
        if self.shots and self.style == "plain":
            return question.text
        return f"{question.text} Answer with the number only."

    def _item(
        self,
        question: Question,
        examples: list[dict[str, str]],
        tags: dict[str, str | int],
    ) -> Item:
        return Item(
            prompt=with_examples(examples, self._prompt(question)),
            plain=self.style == "plain",
            scorer=self._scorer(question.answer),
            tags=tags,
        )

    def _scorer(self, answer: str) -> Scorer:
        if self.score == "likelihood":
            return Likelihood(answer, n_unit=len(answer), chance=0.1)
        # A digit is a token at most; the rest is for a sign, separators and a few words.
        max_tokens = 2 * len(answer) + 16
        if self.score == "partial":
            return Generated(
                int(answer), parse_whole_number, ng_partial_credit, max_tokens=max_tokens
            )
        return Generated(int(answer), parse_number, max_tokens=max_tokens)
