"""One row of a comparison."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Row"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One task, metric and filter of a run beside the same of the base.

    Attributes:
        task: The task.
        metric: The metric.
        filter: The filter that read the answers; "" without one.
        n: Number of items; None if unknown.
        base: The base's value.
        other: The other run's value.
        difference: other - base, whichever is better.
        gained: Items that the other run does better; None without pairs.
        lost: Items that the other run does worse; None without pairs.
        p: Two-sided p-value; NaN if nothing could be tested.
        q: p adjusted for all rows by Benjamini and Hochberg; NaN if p is.
        interval: 95% interval of the difference, not adjusted; None if there is none.
        paired: Whether the same items were compared one by one.
        other_name: The other run.
        test: Where p is from: "McNemar", "sign flips", "Welch" or "none".
        lower_is_better: None if unknown.
        group: Whether it is an aggregate over tasks that the harness made.
        notes: What differs between the runs, or why the row is not paired.
    """

    task: str
    metric: str
    filter: str
    n: int | None
    base: float
    other: float
    difference: float
    gained: int | None
    lost: int | None
    p: float
    q: float = math.nan
    interval: tuple[float, float] | None
    paired: bool
    other_name: str
    test: str
    lower_is_better: bool | None
    group: bool
    notes: list[str]

    @property
    def is_tested(self) -> bool:
        """Whether there is a p-value."""
        return not math.isnan(self.p)

    @property
    def is_better(self) -> bool:
        """Whether the other run is better, where the values differ."""
        return (self.difference > 0) != bool(self.lower_is_better)

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as a dict, in their order. NaN stays; see `json_value`."""
        return asdict(self)
