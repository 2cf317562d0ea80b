"""What a strategy decides: how many items each candidate answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rys.statistics import Floats

__all__ = ["Look", "Strategy"]


@dataclass(frozen=True)
class Look:
    """The candidates that are still in, after each has answered the same items.

    Attributes:
        n_items: Items of each probe that they have answered.
        n_looks: Looks at which candidates may be eliminated, in all.
        top: Candidates that go on to the confirmation.
        paths: The C candidates.
        differences: float64 [C, N], the scores of the N items minus the baseline's.
        weights: float64 [N] that sum to 1; `differences @ weights` is the effect of each candidate.
    """

    n_items: int
    n_looks: int
    top: int
    paths: Sequence[str]
    differences: Floats
    weights: Floats


class Strategy(ABC):
    """A way to spend items on candidates.

    A strategy holds no state: what it decides follows from the scores alone, so that a sweep that
    was interrupted goes on to the same decisions.

    Attributes:
        default_items: Items of each probe, unless the user says otherwise.
    """

    default_items: int

    @abstractmethod
    def looks(self, n_items: int) -> Sequence[int]:
        """Return the numbers of items after which to look at the candidates.

        Args:
            n_items: Items of each probe.

        Returns:
            Ascending numbers, the last of them n_items. Candidates are evaluated up to each look
            before any goes on to the next.
        """

    def eliminated(self, look: Look) -> Mapping[str, str]:
        """Return why candidates are eliminated, by path. It is asked at all looks but the last."""
        return {}
