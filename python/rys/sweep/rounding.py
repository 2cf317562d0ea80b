"""What rounding alone does: the baseline's items once more, in other batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rys.probes import Item
from rys.probes.scorers import Choice
from rys.sweep.evaluator import Task
from rys.sweep.measurer import Measurer
from rys.sweep.settings import Rounding
from rys.sweep.stage_scores import baseline_scores
from rys.sweep.store import Store
from rys.sweep.strategies.race import LOOKS
from rys.sweep.trial import Role, Stage

__all__ = ["describe_rounding", "measure_rounding", "part_ends"]


def part_ends(n_items: int) -> tuple[int, ...]:
    """Return the items of each probe after which a part ends, at least two parts.

    They are the rounds of a race, so that the times of the parts are those of its rounds.
    """
    ends = [look for look in LOOKS if look < n_items]
    return (*(ends or [n_items // 2]), n_items)


def measure_rounding(
    store: Store, measurer: Measurer, items: Mapping[str, Sequence[Item]]
) -> Rounding:
    """Evaluate the baseline's items once more, and compare.

    Args:
        store: The sweep's file, which holds what the baseline answered.
        measurer: Whoever measures.
        items: The items of each probe.

    Raises:
        RysError: The baseline cannot be evaluated.
    """
    baseline = next(t for t in store.trials(Stage.SEARCH) if t.role == Role.BASELINE)
    scores, answers = baseline_scores(store, "score"), store.answers(baseline.id)
    ends = part_ends(max(map(len, items.values())))
    changes: dict[str, list[float]] = {probe: [] for probe in items}
    flips: list[bool] = []
    seconds, start = [], 0
    for stop in ends:
        found = measurer.repeat(Task(Stage.SEARCH, baseline.layer_path, start, stop))
        for probe, part in found.items():
            here = slice(start, start + len(part.scores))
            changes[probe] += (part.scores - scores[probe][here]).tolist()
            flips += _flips(items[probe][here], answers[probe][here], part.answers)
        seconds.append(sum([part.seconds for part in found.values()], 0.0))
        start = stop
    by_probe = {probe: float(np.mean(np.abs(values))) for probe, values in changes.items()}
    return Rounding(
        change=float(np.mean(list(by_probe.values()))),
        by_probe=by_probe,
        shift=_largest_shift(changes),
        flips=float(np.mean(flips)) if flips else None,
        ends=ends,
        seconds=tuple(seconds),
    )


def _largest_shift(changes: Mapping[str, Sequence[float]]) -> float:
    """Return how far the mean over items, then over probes, moves at most.

    That is the upper end of a 95% interval, without its sign. No allowance is made for changes that
    were not seen, as gains have one: where nothing moves, rounding is not what moves it.
    """
    mean, variance = 0.0, 0.0
    for values in changes.values():
        mean += float(np.mean(values)) / len(changes)
        if len(values) > 1:
            variance += float(np.var(values, ddof=1)) / len(values) / len(changes) ** 2
    return abs(mean) + 2 * math.sqrt(variance)


def _flips(items: Sequence[Item], before: Sequence[str], after: Sequence[str]) -> list[bool]:
    """Return for each item that is a choice whether another option was the most probable."""
    flips = []
    for item, old, new in zip(items, before, after, strict=True):
        # The answers of other scorers hold figures, whose last digits always differ.
        if isinstance(item.scorer, Choice):
            flips.append(old != new)
    return flips


def describe_rounding(rounding: Rounding) -> str:
    """Return in a sentence what rounding alone does."""
    parts = [
        f"moves a score by {rounding.change:.4f}",
        f"moves the mean score by at most {rounding.shift:.4f}",
    ]
    if rounding.flips is not None:
        parts.insert(1, f"flips {rounding.flips:.1%} of the choices")
    return f"rounding alone {', '.join(parts[:-1])} and {parts[-1]}"
