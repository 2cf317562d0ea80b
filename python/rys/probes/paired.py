"""What a second path changes in the scores of a probe, on the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rys.probes.result import ProbeResult
from rys.statistics import paired_interval, strata_of

__all__ = ["PairedDifference", "compare_paths", "difference_interval"]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Difference of the scores of one probe along two paths.

    Attributes:
        probe: "id:version".
        n: Number of items.
        base: Mean score along the first path.
        other: Mean score along the second path.
        difference: Mean of the items' differences, second minus first.
        interval: Its 95% interval; see `rys.statistics.paired_interval`.
        forced: Whether the probe cannot measure here, and was compared all the same.
    """

    probe: str
    n: int
    base: float
    other: float
    difference: float
    interval: tuple[float, float]
    forced: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dict that JSON can hold."""
        return {
            "probe": self.probe,
            "n": self.n,
            "base": self.base,
            "other": self.other,
            "difference": self.difference,
            "interval": list(self.interval),
            "forced": self.forced,
        }


def compare_paths(
    base: Mapping[str, ProbeResult],
    other: Mapping[str, ProbeResult],
    refused: Mapping[str, Sequence[str]],
    force: bool = False,
) -> list[PairedDifference]:
    """Return the paired difference of every probe that can measure.

    Args:
        base: Results along the first path, by probe.
        other: Results along the second path, of the same items.
        refused: By probe, the reasons why it cannot measure; see `rys.probes.preflight`.
        force: Compare the probes that cannot measure too, and mark them.
    """
    found = []
    for probe, first in base.items():
        is_refused = bool(refused[probe])
        if is_refused and not force:
            continue
        second = other[probe]
        difference = PairedDifference(
            probe=first.probe,
            n=first.n,
            base=first.mean,
            other=second.mean,
            difference=float((second.scores - first.scores).mean()),
            interval=difference_interval(first, second),
            forced=is_refused,
        )
        found.append(difference)
    return found


def difference_interval(base: ProbeResult, other: ProbeResult) -> tuple[float, float]:
    """Return the 95% interval of the mean difference, other minus base, on the same items.

    Families of items are the strata, as in a sweep; see `rys.statistics.paired_interval`.
    """
    # As in rys.compare, of the first result: both have the same items in the same order.
    strata = strata_of(base.families, [base.probe] * base.n)
    return paired_interval(other.scores - base.scores, strata=strata)
