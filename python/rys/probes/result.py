"""What a probe measured: a score for every item, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rys.probes.base import Item
from rys.statistics import mean_interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ProbeResult"]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Scores of one probe along one path. N is the number of items.

    Attributes:
        probe: "id:version".
        layer_path: The path, written out.
        items: The N items.
        scores: float64 [N], in [-1, 1]. Items that failed, were cut off or could not be parsed
            score 0.
        parsed: bool [N], whether the answer could be read.
        truncated: bool [N], whether the answer was cut off.
        answers: N texts, as the model gave them.
        errors: N messages of requests that failed (NaN logits, a full context); None for requests
            that did not fail.
        details: Further numbers of each item, such as margins.
        chance: The expected score of random answers.
        best_constant: The best score that one answer to every item would reach.
        constant: That answer.
        n_prompt_tokens: Tokens of all prompts.
        n_evaluated_tokens: The prompt and generated tokens that the model evaluated. The others
            were shared.
        n_generated_tokens: Tokens that the model generated.
        seconds: Time of the run. Probes of one run share it by the tokens that were evaluated for
            each.
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
        """95% interval of the mean score; see `rys.statistics.mean_interval`."""
        return mean_interval(self.scores)

    @cached_property
    def accuracy(self) -> float | None:
        """Share of items whose most probable answer is the right one; None if it is not known.

        It is known for choices and likelihoods, and where all scores are 0 or 1.
        """
        known = [details.get("accuracy") for details in self.details]
        if any(value is not None for value in known):
            # An item that failed has no details, and is not right.
            return float(np.mean([value or 0.0 for value in known]))
        if np.isin(self.scores, (0.0, 1.0)).all():
            return self.mean
        return None

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
        """Number of items whose requests failed."""
        return len(self.errors) - list(self.errors).count(None)

    @cached_property
    def families(self) -> list[str]:
        """The family of every item, "" for items without one."""
        return [str(item.tags.get("family", "")) for item in self.items]

    def by_family(self) -> dict[str, tuple[float, int]]:
        """Return the mean score and the number of items of every family."""
        names = np.array(self.families)
        found: dict[str, tuple[float, int]] = {}
        for family in sorted(set(self.families)):
            scores = self.scores[names == family]
            found[family] = float(scores.mean()), len(scores)
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return one row per item.

        Columns: probe, item (its id), score, parsed, truncated, answer, target, error, and one for
        every tag and detail.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for i, item in enumerate(self.items):
            row: dict[str, Any] = {
                "probe": self.probe,
                "item": item.id,
                "score": self.scores[i],
                "parsed": self.parsed[i],
                "truncated": self.truncated[i],
                "answer": self.answers[i],
                "target": str(item.scorer.target),
                "error": self.errors[i],
            }
            # Tags come from a file of the user: one that is named "score" must not replace the
            # score.
            for name, value in {**item.tags, **self.details[i]}.items():
                row.setdefault(name, value)
            rows.append(row)
        return pd.DataFrame(rows)

    def summary(self) -> dict[str, Any]:
        """Return the figures as a dict that JSON can hold."""
        by_family = {f: {"mean": mean, "n": n} for f, (mean, n) in self.by_family().items()}
        return {
            "probe": self.probe,
            "layer_path": self.layer_path,
            "n": self.n,
            "mean": self.mean,
            "interval": list(self.interval),
            "accuracy": self.accuracy,
            "by_family": by_family,
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
