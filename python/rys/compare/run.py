"""What a run says about its tasks, whichever program wrote it.

That is the reported scores, the settings, and the scores of the items.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

__all__ = ["ItemId", "Key", "Run", "Samples", "Score"]

ItemId: TypeAlias = "int | str"


class Key(NamedTuple):
    """Name of a row.

    Attributes:
        task: The task.
        metric: The metric.
        filter: The filter that read the answers; "" without one.
    """

    task: str
    metric: str
    filter: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """A reported value.

    Attributes:
        value: The value.
        stderr: Its standard error; NaN if none was reported.
        n: Number of items; None if unknown.
        lower_is_better: None if unknown.
        is_group: Whether it is an aggregate over tasks.
    """

    value: float
    stderr: float = math.nan
    n: int | None = None
    lower_is_better: bool | None = None
    is_group: bool = False


@dataclass(frozen=True)
class Samples:
    """The items of one task.

    Attributes:
        identities: For every item the hashes of its question, its prompt and its right answer;
            None where unknown.
        scores: By metric and filter, for every item a pair (a, b). A metric is a function of
            sum(a) / sum(b). For most metrics b is 1. Where items count by their words or answers,
            it is the number of these. NaN where an item has no such number.
        families: By item, the family within its probe. Items that are missing here are of one
            family.
        may_shrink: Whether items that the other run lacks are left out, as after a race;
            otherwise they are an error.
    """

    identities: dict[ItemId, tuple[str | None, ...]]
    scores: dict[tuple[str, str], dict[ItemId, tuple[float, float]]]
    families: dict[ItemId, str] = field(default_factory=dict)
    may_shrink: bool = False


@dataclass(frozen=True)
class Run:
    """The results of one model.

    Attributes:
        name: Its name in tables and messages.
        scores: The reported scores.
        settings: By task, what must be the same in runs that are compared. Values are texts.
        samples: By task, a function that reads its items. It raises CompareError.
        notes: What a user should know of how the run was read.
    """

    name: str
    scores: dict[Key, Score]
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    samples: dict[str, Callable[[], Samples]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
