"""Whether a probe can measure: what is asked of the baseline's result before any comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rys.probes.result import ProbeResult
from rys.statistics import mean_interval

__all__ = [
    "MAX_MEAN",
    "MAX_TRUNCATION",
    "MIN_PARSE",
    "Floors",
    "preflight",
    "preflight_of_scores",
]

# Beyond these limits a difference between two paths says more about the format of the answers, or
# about the ends of the scale, than about the model.
MIN_PARSE = 0.80
MAX_TRUNCATION = 0.10
MAX_MEAN = 0.97


@dataclass(frozen=True)
class Floors:
    """What answers score that know nothing of the question.

    Attributes:
        chance: The expected score of random answers.
        best_constant: The best mean score that one answer to every item would reach.
        constant: That answer.
    """

    chance: float
    best_constant: float
    constant: str

    def describe(self) -> str:
        """Name the higher one of the two scores that need no understanding."""
        # Where every guess is a constant both are equal, but for rounding.
        if self.best_constant > self.chance - 1e-9:
            return f"what the constant answer {self.constant} gets ({self.best_constant:.3f})"
        return f"what random answers get ({self.chance:.3f})"


def preflight(result: ProbeResult) -> list[str]:
    """Return why a probe cannot measure with this model; see `preflight_of_scores`."""
    floors = Floors(result.chance, result.best_constant, result.constant)
    return preflight_of_scores(
        result.scores, result.parsed, result.truncated, floors, result.errors
    )


def preflight_of_scores(
    scores: npt.NDArray[np.float64],
    parsed: npt.NDArray[Any],
    truncated: npt.NDArray[Any],
    floors: Floors,
    errors: Sequence[str | None] = (),
    n_wanted: int | None = None,
) -> list[str]:
    """Return the reasons why a probe cannot measure with a model, each with what to change.

    The baseline must be parsed on at least 80% and truncated on at most 10% of the items, the
    interval of its score must lie above the best constant answer and above chance, and its score
    must leave room below 0.97.

    Args:
        scores: float64 [N], the baseline's scores.
        parsed: bool or 0 and 1 [N], whether an answer could be read.
        truncated: bool or 0 and 1 [N], whether the model was cut off before an answer.
        floors: What answers score that know nothing.
        errors: Why items failed, None for those that did not.
        n_wanted: Items that a comparison will ask, if they are more than the N: the interval is
            then taken to be as narrow as theirs. None = N.

    Returns:
        The reasons; empty if the probe can measure.
    """
    reasons = []
    n, mean = len(scores), float(scores.mean())
    failed = [error for error in errors if error is not None]
    if failed:
        first = next(error for error in failed if error)
        reasons.append(
            f"{len(failed)} of {n} items failed ({first}); raise n_ctx or take shorter items"
        )
    truncation_rate, parse_rate = float(truncated.mean()), float(parsed.mean())
    if truncation_rate > MAX_TRUNCATION:
        reasons.append(
            f"{truncation_rate:.0%} of the answers are cut off (at most {MAX_TRUNCATION:.0%}): "
            f"raise the budget (--thinking with --thinking-budget for models that think), or take "
            f"a format without text"
        )
    if parse_rate < MIN_PARSE:
        reasons.append(
            f"only {parse_rate:.0%} of the answers can be read (at least {MIN_PARSE:.0%}): "
            f"look at them with --show 5, and take another format or tier"
        )
    # The whole interval must lie above: a score that is above by luck measures nothing.
    low, high = mean_interval(scores)
    if n_wanted is not None and n_wanted > n:
        # A few items must not refuse what more of them would measure.
        narrower = math.sqrt(n / n_wanted)
        low, high = mean - (mean - low) * narrower, mean + (high - mean) * narrower
    if low <= max(floors.best_constant, floors.chance):
        reasons.append(
            f"the score {mean:.3f} [{low:.3f}, {high:.3f}] is not above {floors.describe()}: "
            f"take an easier tier or more items"
        )
    # Written so that a NaN is refused too.
    if not mean < MAX_MEAN:
        reasons.append(
            f"the score {mean:.3f} leaves no room (below {MAX_MEAN}): take a harder tier"
        )
    return reasons
