"""Which items two runs have in common, and what keeps them from being compared."""

from __future__ import annotations

from dataclasses import dataclass

from rys.compare.run import Run, Samples
from rys.compare.text import summarise
from rys.errors import CompareError

__all__ = ["Pairing", "pair_task"]

_IDENTITY = ("questions", "prompts", "right answers")  # in the order of Samples.identities
_MAX_SHOWN = 120  # characters of two settings that a message shows


@dataclass(frozen=True)
class Pairing:
    """The items of one task in two runs.

    Attributes:
        samples: The items of both runs; None if a run has none or anything differs.
        differing: What differs between the runs beside the model.
    """

    samples: tuple[Samples, Samples] | None
    differing: list[str]


def pair_task(base: Run, other: Run, task: str) -> Pairing:
    """Return the items of a task if both runs have the same ones, and all that differs."""
    is_known = task in base.samples and task in other.samples
    differing = _differing_settings(base, other, task, is_known)
    if not is_known:
        return Pairing(None, differing)
    try:
        first, second = base.samples[task](), other.samples[task]()
    except CompareError as error:
        return Pairing(None, [*differing, str(error)])
    differing += _differing_items(first, second)
    return Pairing(None if differing else (first, second), differing)


def _differing_settings(base: Run, other: Run, task: str, is_known: bool) -> list[str]:
    """Return the settings that both runs have and that differ."""
    first, second = base.settings.get(task, {}), other.settings.get(task, {})
    found = []
    for name, value in first.items():
        if name not in second or second[name] == value:
            continue
        # The hash of a task covers the order of its items, which pairing does not need.
        if is_known and name == "task hash":
            continue
        # A whole prompt template would bury the message.
        is_short = len(value + second[name]) < _MAX_SHOWN
        found.append(f"{name} {value} against {second[name]}" if is_short else f"{name} differs")
    return found


def _differing_items(first: Samples, second: Samples) -> list[str]:
    """Return how the items of two runs differ."""
    found = []
    may_shrink = first.may_shrink and second.may_shrink
    alone = first.identities.keys() ^ second.identities.keys()
    if alone and not may_shrink:
        found.append(f"{len(alone)} items are in one run only: {summarise(alone)}")
    for place, what in enumerate(_IDENTITY):
        changed = []
        for item, identity in first.identities.items():
            one, two = identity[place], second.identities.get(item, identity)[place]
            if one != two and None not in (one, two):
                changed.append(item)
        if changed:
            found.append(f"{what} of {len(changed)} items differ: {summarise(changed)}")
    if may_shrink:
        return found
    for metric, read_by in first.scores.keys() & second.scores.keys():
        if first.scores[metric, read_by].keys() != second.scores[metric, read_by].keys():
            found.append(f"{metric} counts other items")
    return found
