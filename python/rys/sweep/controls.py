"""Control paths: random ones as long as the best, which show what any path of that length gains."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import cycle, islice

from rys.layer_path import MAX_SLOTS, LayerPath

__all__ = ["MIN_CONTROLS", "changed_layers", "control_path", "control_paths"]

MIN_CONTROLS = 3  # two are the least that have a standard deviation
_N_TRIES = 200


def control_paths(tops: Sequence[LayerPath], n_layer: int, rng: random.Random) -> list[LayerPath]:
    """Return as many random paths as there are best ones, and at least three, of the lengths of these in turn.

    Fewer only if the model has no more such paths.
    """
    controls: list[LayerPath] = []
    for top in islice(cycle(tops), max(len(tops), MIN_CONTROLS)):
        control = control_path(top, tops, controls, n_layer, rng)
        controls += [control] if control else []
    return controls


def control_path(
    top: LayerPath, tops: Sequence[LayerPath], taken: Sequence[LayerPath], n_layer: int, rng: random.Random
) -> LayerPath | None:
    """Return a random path as long as another: one block that runs twice, or that is left out.

    The block overlaps those layers that the best paths change by less than a half, or else it would be no control.
    Where there is no such block, as for more slots than the model has layers, several random blocks run twice, one
    after the other. None if that gives nothing but paths that are taken.
    """
    changed = [changed_layers(path, n_layer) for path in tops]
    for attempt in range(2 * _N_TRIES):
        if attempt < _N_TRIES:
            drawn = _one_change(top.n_slot - n_layer, n_layer, rng)
        else:
            drawn = _several_blocks(top.n_slot - n_layer, n_layer, rng)
        if drawn is None:
            continue
        path = LayerPath(drawn, n_layer)
        mine = changed_layers(path, n_layer)
        is_apart = attempt >= _N_TRIES or all(len(mine & other) / len(mine | other) < 0.5 for other in changed if other)
        if is_apart and not path.is_identity and path not in tops and path not in taken:
            return path
    return None


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


def _several_blocks(extra: int, n: int, rng: random.Random) -> list[int] | None:
    """Return a path in which random blocks run twice, until it has `extra` slots more."""
    if extra <= 0 or n + extra > MAX_SLOTS:
        return None
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
