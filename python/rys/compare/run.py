"""What a run says of its tasks, whichever program wrote it: reported scores, settings, and the
items' own scores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rys._util import printable as terminal_text
from rys.errors import CompareError

__all__ = [
    "CompareError",
    "Key",
    "Run",
    "Samples",
    "Score",
    "count",
    "mapping",
    "number",
    "printable",
    "read_json",
    "some",
]

ItemId = int | str


class Key(NamedTuple):
    """Name a row: a task, a metric, and the filter that read the answers ("" without one)."""

    task: str
    metric: str
    filter: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """Hold a reported value.

    stderr: its standard error, NaN where none was reported. n: items, None if unknown.
    lower_is_better: None if unknown. is_group: an aggregate over tasks.
    """

    value: float
    stderr: float = math.nan
    n: int | None = None
    lower_is_better: bool | None = None
    is_group: bool = False


@dataclass(frozen=True)
class Samples:
    """Hold the items of one task.

    identities: for every item the hashes of its question, its prompt and its right answer, None
        where unknown.
    scores: by metric and filter, for every item a pair (a, b). A metric is a function of sum(a) /
        sum(b): b is 1 for most, the number of words or answers where the items count by these. NaN
        where an item has no such number.
    may_shrink: items that another run lacks are left out, as a race does; otherwise they are an
        error.
    """

    identities: dict[ItemId, tuple[str | None, ...]]
    scores: dict[tuple[str, str], dict[ItemId, tuple[float, float]]]
    may_shrink: bool = False


@dataclass(frozen=True)
class Run:
    """Hold the results of one model.

    settings: by task, what must be the same in runs that are compared. Values are texts.
    samples: by task, a function that reads its items; it raises CompareError.
    notes: what a user should know of how the run was read.
    """

    name: str
    scores: dict[Key, Score]
    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    samples: dict[str, Callable[[], Samples]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises CompareError."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise CompareError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # the former also for bytes that are no text
        cure = (
            "; give the results*.json beside the samples, or the folder"
            if path.suffix == ".jsonl"
            else ""
        )
        raise CompareError(f"{path} is not JSON: {error}{cure}") from None


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float:
    """Return a number, also one that was written as text, and NaN for anything else."""
    if isinstance(value, str):
        value = {"True": True, "False": False}.get(value, value)
    try:
        return float(value) if isinstance(value, (bool, int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def count(value: Any) -> int | None:
    """Return a number of items, None for anything else."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53
    return value if is_count else None


def printable(text: object) -> str:
    """Return something of somebody's file as a terminal can show it."""
    return terminal_text.printable(str(text), limit=None)


def some(names: Iterable[str], n_shown: int = 5) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - n_shown} more" if len(names) > n_shown else ""
    return ", ".join(names[:n_shown]) + more
