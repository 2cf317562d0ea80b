"""The ways of asking and marking that probes share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rys.errors import ProbeError
from rys.probes.answers import remove_thinking
from rys.probes.base import Messages, Reading, Scorer
from rys.requests import GenerateResult, LogLikelihoodResult, NextTokenResult, Request, Result

if TYPE_CHECKING:
    from rys.probes.prompter import Prompter

__all__ = ["Choice", "Generated", "Likelihood", "Ratings", "label_probabilities"]


_STATED = re.compile(r"answer\s*(?:is\b|:)|####|\\boxed", re.IGNORECASE)


class Generated(Scorer):
    """Let the model write, and mark what it wrote.

    perfect: the right answer. parse: reads an answer from a text, None if there is none. mark: the
        score of an answer
    beside the right one, by default 1 if they are equal. constants: see Scorer.
    reasons: the model thinks aloud before it answers. If it is cut off there, what could be read is
        a step on the way, and no answer, unless it was stated as one.
    """

    def __init__(
        self,
        perfect: Any,
        parse: Callable[[str], Any],
        mark: Callable[[Any, Any], float] | None = None,
        *,
        max_tokens: int = 32,
        stop: Sequence[str] = (),
        constants: Sequence[Any] = (),
        chance: float = 0.0,
        reasons: bool = False,
    ) -> None:
        self.target = perfect
        self.constants = constants
        self.chance = chance
        self._reasons = reasons
        self._parse = parse
        self._mark = mark
        self._max_tokens = max_tokens
        self._stop = tuple(stop)

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        return [prompter.generate(prompt, self._max_tokens, self._stop)]

    def read(self, results: Sequence[Result]) -> Reading:
        result = cast(GenerateResult, results[0])
        text, is_thinking = remove_thinking(result.text)
        is_cut = result.finish_reason == "length"
        is_step = is_cut and self._reasons and not _STATED.search(text)
        answer = None if is_thinking or is_step else self._parse(text)
        return Reading(
            answer=answer, text=result.text, truncated=is_thinking or (is_cut and answer is None)
        )

    def score(self, answer: Any) -> float:
        return self._mark(self.target, answer) if self._mark else float(answer == self.target)

    def describe(self) -> str:
        marked = self._mark.__qualname__ if self._mark else "equal"
        return f"Written {self.target!r} {self._parse.__qualname__} {marked} {self._max_tokens} {self._stop}"


class Choice(Scorer):
    """Take the option that is most probable as the answer; nothing is generated.

    Where every label is one token, its probability as the next one counts; else that of the label's
    whole text.
    labels: what the model would answer, such as "A" or "Yes". right: the right one.
    constants: the labels, if every item has the same.
    """

    def __init__(self, labels: Sequence[str], right: str) -> None:
        if right not in labels or len(set(labels)) != len(labels):
            raise ProbeError(
                f"the right answer {right!r} must be one of the labels {list(labels)}, all different"
            )
        self.labels = tuple(labels)
        self.target = right
        self.constants = self.labels
        self.chance = 1 / len(self.labels)

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        request = prompter.choice(prompt, self.labels)
        return (
            [request]
            if request
            else [prompter.loglikelihood(prompt, label) for label in self.labels]
        )

    def read(self, results: Sequence[Result]) -> Reading:
        probabilities = label_probabilities(results, len(self.labels))
        right = self.labels.index(self.target)
        best = probabilities.index(max(probabilities))
        of_right = probabilities[right]
        probabilities[right] = 0.0  # what is left are the others
        margin = math.log(of_right + 1e-30) - math.log(max(probabilities) + 1e-30)
        return Reading(
            answer=self.labels[best],
            text=self.labels[best],
            details={"margin": margin, "probability": of_right},
        )

    def score(self, answer: Any) -> float:
        return float(answer == self.target)

    def describe(self) -> str:
        return f"Choice {self.labels} {self.target!r}"


def label_probabilities(results: Sequence[Result], n_labels: int) -> list[float]:
    """Return n_labels numbers: the probability of each label among the labels."""
    if len(results) == 1 and isinstance(results[0], NextTokenResult):
        logits: list[float] = results[0].logits.tolist()
    else:
        logits = [cast(LogLikelihoodResult, result).logprob for result in results]
    # plain floats: arrays of a few numbers would take several times as long
    n_ways, highest = len(logits) // n_labels, max(logits)
    powers = [math.exp(logit - highest) for logit in logits]
    total = sum(powers)
    return [sum(powers[k : k + n_ways]) / total for k in range(0, len(powers), n_ways)]


class Ratings(Scorer):
    """Take ratings as the expected digit, without generating: s = sum_k k p(k) over the digits 0..9
    as the next token.

    The prompt of the item asks for one rating; `{subject}` in it stands for what is rated, and
    every subject is asked by itself. The formula is that of the "expected-digit logit score" of
    David Ng's RYS.

    subjects: what is rated, in order. references: the right ratings, on 0..10.
    mark: the score of ratings beside the references.
    """

    def __init__(
        self,
        subjects: Sequence[str],
        references: Sequence[float],
        mark: Callable[[Sequence[float], Sequence[float]], float],
        constants: Sequence[Sequence[float]] = (),
        chance: float = 0.0,
    ) -> None:
        self.subjects = tuple(subjects)
        self.target = tuple(float(reference) for reference in references)
        self.constants = constants
        self.chance = chance
        self._mark = mark

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        if not isinstance(prompt, str):
            raise ProbeError(
                "ratings are asked with a text that holds {subject}, not with messages"
            )
        requests: list[Request] = []
        for subject in self.subjects:
            asked = prompt.replace("{subject}", subject)
            request = prompter.choice(asked, "0123456789")
            # without tokens for single digits, each digit's text is asked for
            requests += (
                [request]
                if request
                else [prompter.loglikelihood(asked, digit) for digit in "0123456789"]
            )
        return requests

    def read(self, results: Sequence[Result]) -> Reading:
        digits = np.arange(10)
        each = len(results) // len(self.subjects)
        asked = [results[start : start + each] for start in range(0, len(results), each)]
        expected = [float(np.dot(label_probabilities(mine, 10), digits)) for mine in asked]
        ratings = tuple(
            digit * 10 / 9 for digit in expected
        )  # asked on 0..9, whose numbers are one token each
        said = ", ".join(
            f"{subject} {rating:.1f}"
            for subject, rating in zip(self.subjects, ratings, strict=True)
        )
        return Reading(answer=ratings, text=said)

    def score(self, answer: Any) -> float:
        return self._mark(self.target, answer)

    def describe(self) -> str:
        return f"Ratings {self.subjects} {self.target} {self._mark.__qualname__}"


class Likelihood(Scorer):
    """Mark how probable the right answer is, per unit of it: exp(logprob / n_unit), in one forward
    pass.

    right: the text of the right answer. n_unit: what the score is taken per, such as its digits.
    chance: of a unit that is guessed, such as 0.1 for a digit.
    """

    def __init__(self, right: str, n_unit: int, chance: float = 0.0) -> None:
        if not right or n_unit < 1:
            raise ProbeError(
                f"the right answer is {right!r} with {n_unit} units, but neither may be empty"
            )
        self.right = right
        self.target = 1.0
        self.constants = (chance,)
        self.chance = chance
        self._n_unit = n_unit

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        return [prompter.loglikelihood(prompt, self.right)]

    def read(self, results: Sequence[Result]) -> Reading:
        result = cast(LogLikelihoodResult, results[0])
        score = math.exp(result.logprob / self._n_unit)
        text = f"{self.right!r} with logprob {result.logprob:.2f}"
        return Reading(answer=score, text=text, details={"logprob": result.logprob})

    def score(self, answer: Any) -> float:
        return float(min(1.0, max(0.0, answer)))

    def describe(self) -> str:
        return f"Likelihood {self.right!r} {self._n_unit}"
