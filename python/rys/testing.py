"""Checks for those who write probes of their own: `check_probe(MyProbe())` in a test."""

from __future__ import annotations

from rys.probes.base import Item, Probe
from rys.probes.evaluation import best_constant

__all__ = ["check_probe"]


def check_probe(probe: Probe, n: int = 32) -> None:
    """Check that a probe can be relied on. Raises AssertionError, which says what is wrong and with
    which item.

    Its items must be the same every time, differ from each other, and never be in both splits; a
    perfect answer must score 1 and every constant one in [0, 1]; the floors must be below 1.
    """
    name = getattr(probe, "id", None)
    assert isinstance(name, str), f"{type(probe).__name__}.id is {name!r}, but must be a short name"
    assert isinstance(probe.version, int), (
        f"{name}: version is {probe.version!r}, but must be an int"
    )

    parts: dict[str, list[Item]] = {}
    for split in ("search", "confirm"):
        items = parts[split] = probe.items(n, 0, split)
        assert 0 < len(items) <= n, f"{name}: items({n}, 0, {split!r}) gave {len(items)} items"
        again = [item.content_hash for item in probe.items(n, 0, split)]
        assert [item.content_hash for item in items] == again, (
            f"{name}: the same arguments gave other items ({split})"
        )
        for what in ("id", "content_hash"):
            values = [getattr(item, what) for item in items]
            assert len(set(values)) == len(values), (
                f"{name}: two items of split {split!r} have the same {what}"
            )
    for seed in (1, 2):
        parts["search"] += probe.items(n, seed, "search")
        parts["confirm"] += probe.items(n, seed, "confirm")
    shared = {item.content_hash for item in parts["search"]} & {
        item.content_hash for item in parts["confirm"]
    }
    assert not shared, f"{name}: {len(shared)} items are in both splits"

    items = [*parts["search"], *parts["confirm"]]
    for item, other in zip(items, [*items[1:], items[0]], strict=True):
        where = f"{name}, item {item.id}"
        perfect = item.scorer.score(item.scorer.target)
        assert perfect == 1, f"{where}: the perfect answer {item.scorer.target!r} scores {perfect}"
        assert 0 <= item.scorer.chance < 1, (
            f"{where}: chance is {item.scorer.chance}, but must be in [0, 1)"
        )
        wrong = [other.scorer.target] if type(other.scorer) is type(item.scorer) else []
        for answer in [*item.scorer.constants, *wrong]:
            try:
                score = item.scorer.score(answer)
            except Exception as error:
                raise AssertionError(
                    f"{where}: marking the answer {answer!r} raised {error!r}"
                ) from error
            assert 0 <= score <= 1, f"{where}: the answer {answer!r} scores {score}"
    floor, constant = best_constant(probe.items(n, 0, "search"))
    assert floor < 1, f"{name}: the same answer to every item, {constant}, is always right"
