"""Control paths: random paths as long as the best, which show what any such path gains."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import cycle, islice

from rys.layer_path import MAX_SLOTS, LayerPath

__all__ = ["MIN_CONTROLS", "changed_layers", "control_path", "control_paths", "is_apart"]

MIN_CONTROLS = 3  # two are the least that have a standard deviation
_N_TRIES = 200  # draws of one kind before the next kind is tried


def control_paths(tops: Sequence[LayerPath], n_layer: int, rng: random.Random) -> list[LayerPath]:
    """Return random paths to compare the best paths with.

    There are as many as best paths, and at least three, with the lengths of these in turn. There
    are fewer only if the model has no more such paths.

    Args:
        tops: The best paths.
        n_layer: Layers of the model.
        rng: Where the random numbers come from.
    """
    controls: list[LayerPath] = []
    for top in islice(cycle(tops), max(len(tops), MIN_CONTROLS)):
        control = control_path(top, tops, controls, n_layer, rng)
        if control is not None:
            controls.append(control)
    return controls


def control_path(
    top: LayerPath,
    tops: Sequence[LayerPath],
    taken: Sequence[LayerPath],
    n_layer: int,
    rng: random.Random,
) -> LayerPath | None:
    """Return a random path as long as one of the best, and apart from all of them.

    Tried are, in this order: one block that runs twice (or is left out), apart from the best;
    several blocks that run twice (or layers left out), apart from the best; several, wherever they
    lie; one, wherever it lies. The last two are for best paths that change most layers. `is_apart`
    tells them from the first two.

    Args:
        top: The path whose length counts.
        tops: The best paths.
        taken: The control paths so far.
        n_layer: Layers of the model.
        rng: Where the random numbers come from.

    Returns:
        The path; None if only paths were found that are among the best or the controls already.
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
    """Return whether a path changes other layers than each of the best.

    It does if less than half of the layers that either of the two changes are changed by both.
    Otherwise it would share the best path's gain, and would not be a control.
    """
    mine = changed_layers(path, n_layer)
    for top in tops:
        other = changed_layers(top, n_layer)
        if other and len(mine & other) >= 0.5 * len(mine | other):
            return False
    return True


def _one_change(extra: int, n: int, rng: random.Random) -> list[int] | None:
    """Return a path with `extra` slots more or less in one block; for 0, two layers exchanged."""
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
    """Return a path with `extra` slots more or less in several random changes."""
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
    return {layer for layer in range(n_layer) if path.layers.count(layer) != 1}
