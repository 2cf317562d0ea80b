"""The ways to ask for an answer and to score it that probes share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from rys.errors import ProbeError
from rys.probes.base import Reading, Scorer, choose
from rys.probes.parsers.statements import has_statement
from rys.probes.parsers.thinking import remove_thinking
from rys.probes.prompter import Messages, Prompter
from rys.probes.stable_names import stable_name_of
from rys.requests import GenerateResult, LogLikelihoodResult, NextTokenResult, Request, Result

__all__ = [
    "CHOICE_SCORES",
    "Choice",
    "Generated",
    "Likelihood",
    "Ratings",
    "label_probabilities",
    "label_requests",
]

_DIGITS = "0123456789"

# How a choice among k options is scored.
CHOICE_SCORES = ("probability", "accuracy")


class Generated(Scorer):
    """Answers that the model writes."""

    def __init__(
        self,
        target: Any,
        parse: Callable[[str], Any],
        score: Callable[[Any, Any], float] | None = None,
        *,
        max_tokens: int = 32,
        stop: Sequence[str] = (),
        constants: Sequence[Any] = (),
        chance: float = 0.0,
        reasons: bool = False,
    ) -> None:
        """Make a scorer of written answers.

        The names of `parse` and `score` are part of the item's hash, see
        `rys.probes.stable_names`.

        Args:
            target: The right answer.
            parse: Returns the answer that a text gives, None if there is none.
            score: Returns the score of an answer, the second argument, beside the target, the
                first; None = 1 if they are equal, else 0.
            max_tokens: Of the answer.
            stop: The answer ends before the first of these strings.
            constants: See `Scorer`.
            chance: See `Scorer`.
            reasons: The model reasons before it answers. If it is cut off then, what could be read
                is a step on the way and no answer, unless it was stated as one.
        """
        self.target = target
        self.constants = constants
        self.chance = chance
        self._reasons = reasons
        self._parse = parse
        self._score = score
        self._max_tokens = max_tokens
        self._stop = tuple(stop)

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        """Return one request for a text."""
        return [prompter.generate(prompt, self._max_tokens, self._stop)]

    def read(self, results: Sequence[Result]) -> Reading:
        """Return the answer that the text gives, without its thinking."""
        result = cast(GenerateResult, results[0])
        text, is_thinking = remove_thinking(result.text)
        is_cut = result.finish_reason == "length"
        is_step = is_cut and self._reasons and not has_statement(text)
        # The last number of a chain of thought is seldom its result.
        answer = None if is_thinking or is_step else self._parse(text)
        is_truncated = is_thinking or (is_cut and answer is None)
        return Reading(answer=answer, text=result.text, truncated=is_truncated)

    def score(self, answer: Any) -> float:
        """Return the score of an answer beside the target."""
        return self._score(self.target, answer) if self._score else float(answer == self.target)

    def describe(self) -> str:
        """Return the target with the names of the functions and the limits."""
        # "Written" is the class's first name, which the hashes keep.
        score = stable_name_of(self._score) if self._score else "equal"
        parse = stable_name_of(self._parse)
        return f"Written {self.target!r} {parse} {score} {self._max_tokens} {self._stop}"


class Choice(Scorer):
    """The probabilities of several labels as the answer; nothing is generated.

    Where every label is one token, its probability as the next token counts, else that of the
    label's whole text.

    Attributes:
        labels: The possible answers; they are also the constants.
    """

    def __init__(self, labels: Sequence[str], target: str, score: str = "probability") -> None:
        """Make a scorer of choices.

        Args:
            labels: What the model would answer, such as "A" or "Yes".
            target: The right one.
            score: "probability" = (p - 1/k) / (1 - 1/k), with the probability p of the target among
                the k labels: 1 for certainty, 0 for chance, and less than 0 for a target that is
                less probable than chance. "accuracy" = 1 if the target is the most probable label,
                else 0.

        Raises:
            ProbeError: The target is not among the labels, two labels are the same, there is only
                one, or there is no such score.
        """
        choose("score", score, CHOICE_SCORES)
        if score == "probability" and len(labels) < 2:
            raise ProbeError(f"the labels are {list(labels)}, but a choice needs at least two")
        if target not in labels or len(set(labels)) != len(labels):
            raise ProbeError(
                f"the right answer {target!r} must be one of the labels {list(labels)}, "
                f"and these must be all different"
            )
        self.labels = tuple(labels)
        self.target = target
        self.constants = self.labels
        self._by_probability = score == "probability"
        self.chance = 0.0 if self._by_probability else 1 / len(self.labels)

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        """Return one request for the next token, or one for the text of each label."""
        return label_requests(prompt, prompter, self.labels)

    def read(self, results: Sequence[Result]) -> Reading:
        """Return the probabilities, or the most probable label if that is what is scored.

        The details are the target's probability; its margin, which is the logarithm of this
        probability over that of the best other label; and the accuracy, 1 if the target is the most
        probable label.
        """
        probabilities = label_probabilities(results, len(self.labels))
        target = self.labels.index(self.target)
        best = probabilities.index(max(probabilities))
        of_target = probabilities[target]
        label = self.labels[best]
        answer = tuple(probabilities) if self._by_probability else label
        probabilities[target] = 0.0  # so that the highest one is that of the best other label
        # 1e-30 keeps the logarithm of a probability of 0 finite
        margin = math.log(of_target + 1e-30) - math.log(max(probabilities) + 1e-30)
        details = {
            "margin": margin,
            "probability": of_target,
            "accuracy": float(label == self.target),
        }
        return Reading(answer=answer, text=label, details=details)

    def score(self, answer: Any) -> float:
        """Return the score of a label, which is an answer that is certain, or of probabilities.

        Args:
            answer: One of the labels; or the probability of each label, in their order.
        """
        if isinstance(answer, str):
            of_target = float(answer == self.target)
        else:
            of_target = answer[self.labels.index(self.target)]
        if not self._by_probability:
            return of_target
        # Not cut off at 0: noise around chance would then have a mean above chance.
        k = len(self.labels)
        return float((of_target - 1 / k) / (1 - 1 / k))

    def describe(self) -> str:
        """Return labels and target, and the score unless it is the first one that there was."""
        score = " probability" if self._by_probability else ""
        return f"Choice {self.labels} {self.target!r}{score}"


def label_requests(
    prompt: str | Messages, prompter: Prompter, labels: Sequence[str]
) -> list[Request]:
    """Return one request for all labels as the next token, else one for each label's text."""
    request = prompter.choice(prompt, labels)
    if request:
        return [request]
    return [prompter.loglikelihood(prompt, label) for label in labels]


def label_probabilities(results: Sequence[Result], n_labels: int) -> list[float]:
    """Return the probability of each label among the labels.

    Args:
        results: Of one next-token request, with [n_labels * V] logits as in
            `Prompter.label_tokens`; or of n_labels log-likelihood requests.
        n_labels: How many labels there are.

    Returns:
        n_labels numbers that add up to 1.
    """
    if len(results) == 1 and isinstance(results[0], NextTokenResult):
        logits: list[float] = results[0].logits.tolist()
    else:
        logits = [cast(LogLikelihoodResult, result).logprob for result in results]
    # Plain floats: arrays of a few numbers would take several times as long.
    n_ways, highest = len(logits) // n_labels, max(logits)
    powers = [math.exp(logit - highest) for logit in logits]
    total = sum(powers)
    return [sum(powers[k : k + n_ways]) / total for k in range(0, len(powers), n_ways)]


class Ratings(Scorer):
    """Ratings as the expected digit, s = sum_k k p(k) over the digits 0..9 as the next token.

    Nothing is generated. The prompt of the item asks for one rating; `{subject}` in it stands for
    what is rated, and every subject is asked by itself. The formula is that of the "expected-digit
    logit score" of David Ng's RYS.

    Attributes:
        subjects: What is rated, in order.
    """

    def __init__(
        self,
        subjects: Sequence[str],
        target: Sequence[float],
        score: Callable[[Sequence[float], Sequence[float]], float],
        constants: Sequence[Sequence[float]] = (),
        chance: float = 0.0,
    ) -> None:
        """Make a scorer of ratings.

        Args:
            subjects: What is rated, in order.
            target: The right ratings, on 0..10.
            score: Returns the score of ratings, the second argument, beside the target.
            constants: See `Scorer`.
            chance: See `Scorer`.
        """
        self.subjects = tuple(subjects)
        self.target = tuple(map(float, target))
        self.constants = constants
        self.chance = chance
        self._score = score

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        """Return the requests for the digit of every subject.

        Raises:
            ProbeError: The prompt is not a text.
        """
        if not isinstance(prompt, str):
            raise ProbeError(
                "ratings are asked with a text that holds {subject}, not with messages"
            )
        requests: list[Request] = []
        for subject in self.subjects:
            requests += label_requests(prompt.replace("{subject}", subject), prompter, _DIGITS)
        return requests

    def read(self, results: Sequence[Result]) -> Reading:
        """Return the ratings on 0..10."""
        digits = np.arange(10)
        n_each = len(results) // len(self.subjects)
        ratings, parts = [], []
        for k, subject in enumerate(self.subjects):
            of_subject = results[k * n_each : (k + 1) * n_each]
            expected = float(np.dot(label_probabilities(of_subject, 10), digits))
            rating = expected * 10 / 9  # asked on 0..9, whose numbers are one token each
            ratings.append(rating)
            parts.append(f"{subject} {rating:.1f}")
        return Reading(answer=tuple(ratings), text=", ".join(parts))

    def score(self, answer: Any) -> float:
        """Return the score of ratings beside the target."""
        return self._score(self.target, answer)

    def describe(self) -> str:
        """Return subjects and target with the name of the score."""
        return f"Ratings {self.subjects} {self.target} {stable_name_of(self._score)}"


class Likelihood(Scorer):
    """Probability of the right answer per unit of it, exp(logprob / n_unit), in one forward pass.

    The score itself is what is read, so the target is 1.

    Attributes:
        text: The right answer.
        n_unit: Number of its units.
    """

    def __init__(self, text: str, n_unit: int, chance: float = 0.0) -> None:
        """Make a scorer of likelihood.

        Args:
            text: The right answer.
            n_unit: Number of units that the score is taken per, such as the answer's digits.
            chance: Expected score of a unit that is guessed, such as 0.1 for a digit.

        Raises:
            ProbeError: The text is empty, or there is no unit.
        """
        if not text or n_unit < 1:
            raise ProbeError(
                f"the right answer is {text!r} with {n_unit} units, but neither may be empty"
            )
        self.text = text
        self.target = 1.0
        self.constants = (chance,)
        self.chance = chance
        self.n_unit = n_unit

    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        """Return one request for the log-likelihood of the right answer."""
        return [prompter.loglikelihood(prompt, self.text)]

    def read(self, results: Sequence[Result]) -> Reading:
        """Return the probability per unit.

        The details are the log-probability of the whole answer and the accuracy, 1 if the right
        answer is what the model would write.
        """
        result = cast(LogLikelihoodResult, results[0])
        probability = math.exp(result.logprob / self.n_unit)
        text = f"{self.text!r} with logprob {result.logprob:.2f}"
        details = {"logprob": result.logprob, "accuracy": float(result.is_greedy)}
        return Reading(answer=probability, text=text, details=details)

    def score(self, answer: Any) -> float:
        """Return the probability per unit, cut to [0, 1]."""
        return float(min(1.0, max(0.0, answer)))

    def describe(self) -> str:
        """Return the right answer and its units."""
        return f"Likelihood {self.text!r} {self.n_unit}"
