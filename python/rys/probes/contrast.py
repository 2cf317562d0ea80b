"""The scorer of ratings in pairs: does a rating move in the right direction when a fact changes?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rys.probes.base import Reading, Scorer
from rys.probes.prompter import Messages, Prompter
from rys.probes.scorers import label_probabilities, label_requests
from rys.requests import Request, Result

__all__ = ["Contrast"]

_DIGITS = "0123456789"


class Contrast(Scorer):
    """The probability that the rating is higher for one fact than for another.

    The rating is a digit, the next token. For each fact the model gives a distribution of digits;
    the probability is that of two digits drawn from them, where equal digits count a half. Nothing
    is generated.

    The score is 2 p - 1: 1 if the rating always moves in the right direction, 0 if the fact changes
    nothing, -1 if it always moves in the wrong one.

    Attributes:
        facts: The two facts, first the one that must get the higher rating.
    """

    target = 1.0
    constants: Sequence[Any] = (0.5,)  # the same rating, whatever the fact
    chance = 0.0

    def __init__(self, placeholder: str, more: str, less: str) -> None:
        """Make a scorer of a pair.

        Args:
            placeholder: Stands in the prompt's last message where the fact goes.
            more: The fact with the higher rating.
            less: The fact with the lower rating.
        """
        self.facts = (more, less)
        self._placeholder = placeholder

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        """Return the requests for the digit with the one fact, then with the other."""
        requests: list[Request] = []
        for fact in self.facts:
            requests += label_requests(self._with_fact(prompt, fact), prompter, _DIGITS)
        return requests

    def _with_fact(self, prompt: str | Messages, fact: str) -> str | Messages:
        if isinstance(prompt, str):
            return prompt.replace(self._placeholder, fact)
        last: Mapping[str, Any] = prompt[-1]
        asked = {**last, "content": last["content"].replace(self._placeholder, fact)}
        return [*prompt[:-1], asked]

    def read(self, results: Sequence[Result]) -> Reading:
        """Return the probability of the right direction.

        The details are the difference of the expected ratings, and the accuracy: 1 if the right
        direction is the more probable one.
        """
        half = len(results) // 2
        more = np.array(label_probabilities(results[:half], len(_DIGITS)))
        less = np.array(label_probabilities(results[half:], len(_DIGITS)))
        # [10, 10], the probability of each pair of digits
        pairs = np.outer(more, less)
        probability = float(np.tril(pairs, -1).sum() + np.trace(pairs) / 2)
        ratings = [float(of_fact @ np.arange(len(_DIGITS))) for of_fact in (more, less)]
        details = {
            "probability": probability,
            "difference": ratings[0] - ratings[1],
            "accuracy": float(probability > 0.5),
        }
        text = f"{ratings[0]:.1f} and {ratings[1]:.1f}"
        return Reading(answer=probability, text=text, details=details)

    def score(self, answer: Any) -> float:
        """Return the score of a probability of the right direction."""
        return float(2 * answer - 1)

    def describe(self) -> str:
        """Return the facts in their order."""
        return f"Contrast {self.facts}"
