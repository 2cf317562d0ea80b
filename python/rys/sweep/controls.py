"""Control paths: random ones as long as the best, which show what any path of that length gains."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import cycle, islice

from rys.layer_path import MAX_SLOTS, LayerPath

__all__ = ["MIN_CONTROLS", "changed_layers", "control_path", "control_paths", "is_apart"]

MIN_CONTROLS = 3  # two are the least that have a standard deviation
_N_TRIES = 200


def control_paths(tops: Sequence[LayerPath], n_layer: int, rng: random.Random) -> list[LayerPath]:
    """Return as many random paths as there are best ones, and at least three, of the lengths of
    these in turn.

    Fewer only if the model has no more such paths.
    """
    controls: list[LayerPath] = []
    for top in islice(cycle(tops), max(len(tops), MIN_CONTROLS)):
        control = control_path(top, tops, controls, n_layer, rng)
        controls += [control] if control else []
    return controls


def control_path(
    top: LayerPath,
    tops: Sequence[LayerPath],
    taken: Sequence[LayerPath],
    n_layer: int,
    rng: random.Random,
) -> LayerPath | None:
    """Return a random path as long as another, apart from the best: one block that runs twice, or
    that is left out.

    Where no such block is found, several random blocks run twice, one after the other, or random
    layers are left out, apart from the best as well; and where there are none of these, as for the
    best that change most layers, wherever
    they lie: `is_apart` tells. None if that gives nothing but paths that are taken.
    """
    for draw, must_be_apart in (
        (_one_change, True),
        (_several_changes, True),
        (_several_changes, False),
        (_one_change, False),
    ):
        for _ in range(_N_TRIES):
            drawn = draw(top.n_slot - n_layer, n_layer, rng)
            if drawn is None:
                continue
            path = LayerPath(drawn, n_layer)
            if path.is_identity or path in tops or path in taken:
                continue
            if not must_be_apart or is_apart(path, tops, n_layer):
                return path
    return None


def is_apart(path: LayerPath, tops: Iterable[LayerPath], n_layer: int) -> bool:
    """Return whether a path changes other layers than each of the best: of both together, they
    share less than half.

    Else it would have a part in their gain, and be no control.
    """
    mine = changed_layers(path, n_layer)
    changed = (changed_layers(top, n_layer) for top in tops)
    return all(len(mine & other) < 0.5 * len(mine | other) for other in changed if other)


def _one_change(extra: int, n: int, rng: random.Random) -> list[int] | None:
    """Return a path with `extra` slots more or less, in one block; for 0 with two layers exchanged."""
    size = max(1, abs(extra))
    if size > n or extra == -n:
        return None
    i = rng.randrange(n - size + 1)
    if extra > 0:
        return [*range(i + size), *range(i, n)]
    if extra < 0:
        return [*range(i), *range(i + size, n)]
    j = rng.randrange(n)
    layers = list(range(n))
    layers[i], layers[j] = layers[j], layers[i]
    return layers


def _several_changes(extra: int, n: int, rng: random.Random) -> list[int] | None:
    """Return a path in which random blocks run twice, or random layers are left out, `extra` slots
    longer in all.
    """
    if extra == 0 or extra <= -n or n + extra > MAX_SLOTS:
        return None
    if extra < 0:
        return sorted(rng.sample(range(n), n + extra))
    layers = list(range(n))
    while extra:
        size = rng.randint(1, min(extra, n))
        i = rng.randrange(len(layers) - size + 1)
        layers[i + size : i + size] = layers[i : i + size]
        extra -= size
    return layers


def changed_layers(path: LayerPath, n_layer: int) -> set[int]:
    """Return the layers that a path does not visit exactly once."""
    visits = {layer: path.layers.count(layer) for layer in range(n_layer)}
    return {layer for layer, n in visits.items() if n != 1}
