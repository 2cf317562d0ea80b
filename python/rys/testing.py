"""Checks for those who write probes of their own: `check_probe(MyProbe())` in a test."""

from __future__ import annotations

from collections.abc import Sequence

from rys.probes.base import Item, Probe, SearchSplit
from rys.probes.floors import best_constant

__all__ = ["check_probe"]

_SPLITS: tuple[SearchSplit, SearchSplit] = ("search", "confirm")


def check_probe(probe: Probe, n: int = 32) -> None:
    """Check that a probe can be relied on.

    Its items must be the same every time, differ from each other, and never be in both splits. The
    target of an item must score 1 and every constant answer a number in [-1, 1]. Chance and the
    best constant answer must score less than 1.

    Args:
        probe: The probe.
        n: Items of each split that are checked.

    Raises:
        AssertionError: Something is wrong; the message says what, and with which item.
    """
    name = getattr(probe, "id", None)
    assert isinstance(name, str), f"{type(probe).__name__}.id is {name!r}, but must be a short name"
    assert isinstance(probe.version, int), (
        f"{name}: version is {probe.version!r}, but must be an int"
    )
    items: list[Item] = []
    hashes: dict[str, set[str]] = {}
    for split in _SPLITS:
        drawn = _checked_items(probe, n, split)
        for seed in (1, 2):
            drawn += probe.items(n, seed, split)
        hashes[split] = set(_hashes(drawn))
        items += drawn
    shared = hashes["search"] & hashes["confirm"]
    assert not shared, f"{name}: {len(shared)} items are in both splits"

    for item, other in zip(items, [*items[1:], items[0]], strict=True):
        _check_scorer(f"{name}, item {item.id}", item, other)
    floor, constant = best_constant(probe.items(n, 0, "search"))
    assert floor < 1, f"{name}: the same answer to every item, {constant}, is always right"


def _hashes(items: Sequence[Item]) -> list[str]:
    return [item.content_hash for item in items]


def _checked_items(probe: Probe, n: int, split: SearchSplit) -> list[Item]:
    """Return the items of a split, after checking that they are repeatable and different."""
    items = probe.items(n, 0, split)
    assert 0 < len(items) <= n, f"{probe.id}: items({n}, 0, {split!r}) gave {len(items)} items"
    again = _hashes(probe.items(n, 0, split))
    assert _hashes(items) == again, f"{probe.id}: the same arguments gave other items ({split})"
    for what in ("id", "content_hash"):
        values = {getattr(item, what) for item in items}
        assert len(values) == len(items), (
            f"{probe.id}: two items of split {split!r} have the same {what}"
        )
    return items


def _check_scorer(where: str, item: Item, other: Item) -> None:
    """Check the scores of an item's target, of its constants and of another item's target."""
    scorer = item.scorer
    score = scorer.score(scorer.target)
    assert score == 1, f"{where}: the target {scorer.target!r} scores {score}, but must score 1"
    assert 0 <= scorer.chance < 1, f"{where}: chance is {scorer.chance}, but must be in [0, 1)"
    answers = list(scorer.constants)
    if type(other.scorer) is type(scorer):  # else its target may be of another form
        answers.append(other.scorer.target)
    for answer in answers:
        try:
            score = scorer.score(answer)
        except Exception as error:
            raise AssertionError(
                f"{where}: scoring the answer {answer!r} raised {error!r}"
            ) from error
        assert -1 <= score <= 1, (
            f"{where}: the answer {answer!r} scores {score}, but must score in [-1, 1]"
        )
