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

_ROUNDING = 1e-9  # two equal distributions give 0.5 only up to rounding


class Contrast(Scorer):
    """The probability that the rating is higher for one fact than for another.

    The rating is the next token: a digit, or one of a few words in an order. For each fact the
    model gives a distribution of ratings; the probability is that of two ratings drawn from them,
    where equal ratings count a half. Nothing is generated.

    The score is 2 p - 1: 1 if the rating always moves in the right direction, 0 if the fact changes
    nothing, -1 if it always moves in the wrong one.

    Attributes:
        facts: The two facts, first the one that must get the higher rating.
        labels: The ratings, in rising order.
    """

    target = 1.0
    constants: Sequence[Any] = (0.5,)  # the same rating, whatever the fact
    chance = 0.0

    def __init__(
        self, placeholder: str, more: str, less: str, labels: Sequence[str] = tuple("0123456789")
    ) -> None:
        """Make a scorer of a pair.

        Args:
            placeholder: Stands in the prompt's last message where the fact goes.
            more: The fact with the higher rating.
            less: The fact with the lower rating.
            labels: The ratings, in rising order.
        """
        self.facts = (more, less)
        self.labels = tuple(labels)
        self._placeholder = placeholder

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        """Return the requests for the rating with the one fact, then with the other."""
        requests: list[Request] = []
        for fact in self.facts:
            requests += label_requests(self._with_fact(prompt, fact), prompter, self.labels)
        return requests

    def _with_fact(self, prompt: str | Messages, fact: str) -> str | Messages:
        if isinstance(prompt, str):
            return prompt.replace(self._placeholder, fact)
        last: Mapping[str, Any] = prompt[-1]
        asked = {**last, "content": last["content"].replace(self._placeholder, fact)}
        return [*prompt[:-1], asked]

    def read(self, results: Sequence[Result]) -> Reading:
        """Return the probability of the right direction.

        The details are the difference of the expected ratings, where the highest is 1; and the
        accuracy, 1 if the right direction is the more probable one.
        """
        half, n_label = len(results) // 2, len(self.labels)
        more = np.array(label_probabilities(results[:half], n_label))
        less = np.array(label_probabilities(results[half:], n_label))
        # [n_label, n_label], the probability of each pair of ratings
        pairs = np.outer(more, less)
        probability = float(np.tril(pairs, -1).sum() + np.trace(pairs) / 2)
        # On 0..1, from the lowest to the highest label.
        places = np.linspace(0, 1, n_label)
        ratings = [float(more @ places), float(less @ places)]
        details = {
            "probability": probability,
            "difference": ratings[0] - ratings[1],
            "accuracy": float(probability > 0.5 + _ROUNDING),
        }
        text = f"{ratings[0]:.2f} and {ratings[1]:.2f}"
        return Reading(answer=probability, text=text, details=details)

    def score(self, answer: Any) -> float:
        """Return the score of a probability of the right direction."""
        return float(2 * answer - 1)

    def preview(self, prompt: str) -> str:
        """Return the prompt with both facts, first the one with the higher rating."""
        return prompt.replace(self._placeholder, f"[{' | '.join(self.facts)}]")

    def describe(self) -> str:
        """Return the facts and the labels in their order."""
        return f"Contrast {self.facts} {self.labels}"
