"""What a probe measured: a score for every item, and how far it can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rys.probes.base import Item

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ProbeResult", "difference_interval", "mean_interval"]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Hold the scores of one probe along one path. N is the number of items.

    probe: "id:version". layer_path: the path, written out.
    items: the N items. scores: float64 [N], in [0, 1]; unparseable, truncated and failed items
        score 0.
    parsed, truncated: bool [N]. answers: N texts, as the model gave them.
    errors: N messages of requests that failed (NaN logits, a full context), None where none did.
    details: further numbers of the N readings, such as margins.
    chance: the score that is expected of random answers.
    best_constant, constant: the best score that one answer to every item would reach, and that
        answer.
    n_prompt_tokens: tokens of all prompts. n_evaluated_tokens: of these and the generated ones,
        those that the model evaluated; the others were shared. n_generated_tokens: see there.
    seconds: of the run; its probes share it by the tokens that were evaluated for them.
    """

    probe: str
    layer_path: str
    items: Sequence[Item]
    scores: npt.NDArray[np.float64]
    parsed: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    answers: Sequence[str]
    errors: Sequence[str | None]
    details: Sequence[dict[str, float]]
    chance: float
    best_constant: float
    constant: str
    n_prompt_tokens: int
    n_evaluated_tokens: int
    n_generated_tokens: int
    seconds: float

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def mean(self) -> float:
        """Mean score."""
        return float(self.scores.mean())

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the mean score; see mean_interval."""
        return mean_interval(self.scores)

    @property
    def parse_rate(self) -> float:
        """Share of items whose answer could be read."""
        return float(self.parsed.mean())

    @property
    def truncation_rate(self) -> float:
        """Share of items that were cut off before an answer."""
        return float(self.truncated.mean())

    @property
    def n_failed(self) -> int:
        """Items whose requests failed."""
        return sum(error is not None for error in self.errors)

    def by_family(self) -> dict[str, tuple[float, int]]:
        """Return mean score and number of items of every family."""
        families = sorted({str(item.tags.get("family", "")) for item in self.items})
        chosen = {
            f: [str(item.tags.get("family", "")) == f for item in self.items] for f in families
        }
        return {f: (float(self.scores[rows].mean()), sum(rows)) for f, rows in chosen.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return one row per item: id, score, parsed, truncated, answer, right, error, tags and
        details.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = [
            {
                "probe": self.probe,
                "item": item.id,
                "score": score,
                "parsed": parsed,
                "truncated": truncated,
                "answer": answer,
                "right": str(item.scorer.target),
                "error": error,
            }
            for item, score, parsed, truncated, answer, error in zip(
                self.items,
                self.scores,
                self.parsed,
                self.truncated,
                self.answers,
                self.errors,
                strict=True,
            )
        ]
        for row, item, details in zip(rows, self.items, self.details, strict=True):
            # a tag of somebody's file must not stand in the place of a score
            row.update(
                {name: value for name, value in {**item.tags, **details}.items() if name not in row}
            )
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        """Return the figures as a dict that JSON can hold."""
        return {
            "probe": self.probe,
            "layer_path": self.layer_path,
            "n": self.n,
            "mean": self.mean,
            "interval": list(self.interval),
            "by_family": {f: {"mean": mean, "n": n} for f, (mean, n) in self.by_family().items()},
            "parse_rate": self.parse_rate,
            "truncation_rate": self.truncation_rate,
            "n_failed": self.n_failed,
            "chance": self.chance,
            "best_constant": self.best_constant,
            "constant": self.constant,
            "n_prompt_tokens": self.n_prompt_tokens,
            "n_evaluated_tokens": self.n_evaluated_tokens,
            "n_generated_tokens": self.n_generated_tokens,
            "seconds": self.seconds,
        }


def mean_interval(scores: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95% interval of a mean: Wilson's for scores of 0 and 1, else a bootstrap over
    items (scipy).
    """
    from scipy import stats

    n = len(scores)
    if np.isin(scores, (0.0, 1.0)).all():
        interval = stats.binomtest(int(scores.sum()), n).proportion_ci(method="wilson")
        return float(interval.low), float(interval.high)
    if np.ptp(scores) == 0 or n < 2:
        return 0.0, 1.0  # nothing can be said of the spread
    found = stats.bootstrap(
        (scores,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def difference_interval(differences: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95% interval of the mean of paired differences, by a bootstrap over items (scipy).

    If all differences are equal it is as wide as a change that n items can miss with a probability
    of 5%.
    """
    from scipy import stats

    n, mean = len(differences), float(differences.mean())
    if np.ptp(differences) == 0:
        unseen = 1 - 0.025 ** (1 / n)
        return max(-1.0, mean - unseen), min(1.0, mean + unseen)
    found = stats.bootstrap(
        (differences,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
