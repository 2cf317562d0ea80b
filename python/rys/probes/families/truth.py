"""The families of truth values: expressions, and people who tell the truth or lie."""

from __future__ import annotations

import itertools
import random

from rys.probes.families.words import NAMES, YES_NO
from rys.probes.questions import Question

__all__ = ["boolean_expressions", "web_of_lies"]

_SAYS = {
    True: ("{a} says that {b} tells the truth.", "{a} claims that {b} is honest."),
    False: ("{a} says that {b} lies.", "{a} claims that {b} is a liar."),
}


def boolean_expressions(rng: random.Random, n: int) -> Question:
    """Ask for the value of an expression of n operators."""
    value = rng.random() < 0.5
    text = f"What is the value of this expression?\n{_expression(rng, n, value)}"
    return Question(text=text, answer=str(value), choices=("True", "False"))


def _expression(rng: random.Random, n: int, value: bool) -> str:
    """Return an expression with n operators that has a value.

    The operators alone say nothing about the value.
    """
    if n == 0:
        return str(value)
    if rng.random() < 0.3:
        inner = _expression(rng, n - 1, not value)
        return f"not {inner}" if n == 1 or inner.startswith("not") else f"not ( {inner} )"
    operator = rng.choice(("and", "or"))
    decisive = operator == "or"  # one operand with this value is enough
    left, right = value, value
    if value == decisive:
        left, right = rng.choice(((value, value), (value, not value), (not value, value)))
    n_left = rng.randrange(n)
    sides = []
    for side, count in ((left, n_left), (right, n - 1 - n_left)):
        part = _expression(rng, count, side)
        sides.append(f"( {part} )" if count else part)
    return f" {operator} ".join(sides)


def web_of_lies(rng: random.Random, n: int) -> Question:
    """Ask whether the last of n people, at least 2, tells the truth.

    Each but the first says of the one before whether that one is honest.
    """
    people = rng.sample(NAMES, n)
    honest = rng.random() < 0.5
    sentences = [
        "Each of these people either always tells the truth or always lies.",
        f"{people[0]} {'tells the truth' if honest else 'lies'}.",
    ]
    for before, person in itertools.pairwise(people):
        says = rng.random() < 0.5
        sentences.append(rng.choice(_SAYS[says]).format(a=person, b=before))
        honest = says == honest
    text = f"{' '.join(sentences)} Does {people[-1]} tell the truth?"
    return Question(text=text, answer=YES_NO[not honest], choices=YES_NO)
