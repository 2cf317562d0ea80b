"""Candidates: which layer paths to try.

Every function returns a Space, a named list of different paths. It is built for a model when the
number of layers is known. Spaces compose:
`limit(union(blocks(sizes=[2, 3]), repeats([2])), extra_slots=4)`.
"""

from __future__ import annotations

import hashlib
import random as random_module
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product

from rys._util import checks
from rys.errors import SpaceError
from rys.layer_path import MAX_SLOTS, LayerPath, LayerPathLike

__all__ = [
    "Block",
    "Space",
    "SpaceError",
    "again",
    "blocks",
    "compose",
    "counts",
    "in_place",
    "interleaved",
    "limit",
    "multi",
    "paths",
    "random",
    "repeated_block",
    "repeats",
    "skips",
    "union",
]

Block = tuple[int, int]

# More would take minutes to build and years to evaluate.
_MAX_PATHS = 1_000_000


@dataclass(frozen=True)
class Space:
    """A way to make candidates.

    Attributes:
        name: The name, for people and files.
        build: A function of the model's number of layers that returns the paths.
    """

    name: str
    build: Callable[[int], Iterable[list[int]]]

    def candidates(self, n_layer: int) -> list[LayerPath]:
        """Return the different paths for a model, in order.

        The file's own order is left out, and so are paths that llama.cpp cannot run because they
        have more than 512 slots.

        Args:
            n_layer: Layers of the model.

        Raises:
            SpaceError: A part of the space does not fit the model.
        """
        # A dict keeps the order in which the paths were built; a set would not.
        seen: dict[tuple[int, ...], None] = {}
        identity = tuple(range(n_layer))
        for layers in self.build(n_layer):
            path = tuple(layers)
            # The file's own order is the baseline, and no candidate.
            if path and path != identity and len(path) <= MAX_SLOTS:
                seen.setdefault(path)
                if len(seen) > _MAX_PATHS:
                    raise SpaceError(f"{self.name} has more than {_MAX_PATHS:,} paths; limit it")
        return [LayerPath(list(path), n_layer) for path in seen]

    def count(self, n_layer: int) -> int:
        """Return how many candidates there are for a model of n_layer layers."""
        return len(self.candidates(n_layer))

    def __or__(self, other: Space) -> Space:
        return union(self, other)


def blocks(
    sizes: Iterable[int] | None = None, start: int = 0, stop: int | None = None, stride: int = 1
) -> Space:
    """Return every block (i, j) that runs twice: `0..j-1, i..n-1`.

    Without arguments this is the full triangle of n (n + 1) / 2 paths.

    Args:
        sizes: Sizes j - i of the blocks; None for all.
        start: The first layer that blocks may contain.
        stop: The layer before which blocks end; None for the number of layers.
        stride: Layers between the starts of blocks.
    """
    chosen = None if sizes is None else _distinct("size", sizes, 1)
    checks.integer("stride", stride, 1)
    said = "all" if chosen is None else ",".join(map(str, chosen))

    def build(n: int) -> Iterator[list[int]]:
        end = _end(start, stop, n)
        for size in range(1, end - start + 1) if chosen is None else chosen:
            for i in range(start, end - size + 1, stride):
                yield _repeat(n, (i, i + size), 2)

    step = "" if stride == 1 else f" by {stride}"
    return Space(f"blocks({said}{_within(start, stop)}{step})", build)


def repeats(times: Iterable[int] = range(2, 9), start: int = 0, stop: int | None = None) -> Space:
    """Return every single layer, visited several times in a row.

    Args:
        times: Visits in a row; each makes a path of its own.
        start: The first layer.
        stop: The layer before which to stop; None for the number of layers.
    """
    chosen = _distinct("times", times, 2)

    def build(n: int) -> Iterator[list[int]]:
        for layer in range(start, _end(start, stop, n)):
            for k in chosen:
                yield _repeat(n, (layer, layer + 1), k)

    return Space(f"repeats({','.join(map(str, chosen))}{_within(start, stop)})", build)


def multi(block: Block, times: Iterable[int] = (2, 3, 4)) -> Space:
    """Return one block, run several times as a whole.

    Args:
        block: The block (i, j), layers i..j-1.
        times: How often it runs; each makes a path of its own.
    """
    chosen = _distinct("times", times, 2)

    def build(n: int) -> Iterator[list[int]]:
        _check_block(block, n)
        for k in chosen:
            yield _repeat(n, block, k)

    return Space(f"multi({block[0]},{block[1]};{','.join(map(str, chosen))})", build)


def interleaved(block: Block, times: int = 2) -> Space:
    """Return the path that repeats every layer of a block in place: i, i, i+1, i+1, ...

    Args:
        block: The block (i, j), layers i..j-1.
        times: Visits of each layer.
    """
    checks.integer("times", times, 2)

    def build(n: int) -> Iterator[list[int]]:
        _check_block(block, n)
        i, j = block
        inside: list[int] = []
        for layer in range(i, j):
            inside += [layer] * times
        yield [*range(i), *inside, *range(j, n)]

    return Space(f"interleaved({block[0]},{block[1]};{times})", build)


def again(space: Space, times: Iterable[int]) -> Space:
    """Return the blocks of a space, run as often as given instead of twice.

    Args:
        space: The space. Its paths of another form are left out.
        times: How often a block runs as a whole; each makes a path of its own.
    """
    chosen = _distinct("times", times, 2)

    def build(n: int) -> Iterator[list[int]]:
        for block in _blocks_of(space, n):
            for k in chosen:
                yield _repeat(n, block, k)

    return Space(f"again({space.name}; {','.join(map(str, chosen))})", build)


def in_place(space: Space, times: int = 2) -> Space:
    """Return the blocks of a space with every layer repeated in place.

    Args:
        space: The space. Its paths of another form are left out.
        times: Visits of each layer of a block.
    """

    def build(n: int) -> Iterator[list[int]]:
        for block in _blocks_of(space, n):
            yield from interleaved(block, times).build(n)

    return Space(f"in_place({space.name}; {times})", build)


def skips(sizes: Iterable[int] = (1,), start: int = 0, stop: int | None = None) -> Space:
    """Return the paths that leave out neighbouring layers.

    Args:
        sizes: How many layers are left out.
        start: The first layer that may be left out.
        stop: The layer before which to stop; None for the number of layers.
    """
    chosen = _distinct("size", sizes, 1)

    def build(n: int) -> Iterator[list[int]]:
        end = _end(start, stop, n)
        for size in chosen:
            for i in range(start, end - size + 1):
                yield [*range(i), *range(i + size, n)]

    return Space(f"skips({','.join(map(str, chosen))}{_within(start, stop)})", build)


def counts(visits: Mapping[int, int]) -> Space:
    """Return the path that visits layers a given number of times in place.

    Args:
        visits: Visits by layer; 0 leaves a layer out. All others are visited once.
    """

    def build(n: int) -> Iterator[list[int]]:
        for layer, k in visits.items():
            if not 0 <= layer < n or k < 0:
                raise SpaceError(
                    f"counts has layer {layer} with {k} visits, but the model has layers "
                    f"0..{n - 1}, and visits are 0 or more"
                )
        layers: list[int] = []
        for layer in range(n):
            layers += [layer] * visits.get(layer, 1)
        yield layers

    return Space(f"counts({','.join(f'{layer}:{k}' for layer, k in visits.items())})", build)


def compose(*spaces: Space) -> Space:
    """Return every combination of one path of each space, for several blocks in one path.

    Two paths combine if they differ from the file's order in stretches that lie apart. Other pairs
    are left out.
    """

    def build(n: int) -> Iterator[list[int]]:
        for chosen in product(*(space.candidates(n) for space in spaces)):
            combined: list[int] | None = list(range(n))
            for path in chosen:
                combined = combined and _combine(combined, list(path.layers), n)
            if combined:
                yield combined

    return Space(f"compose({', '.join(space.name for space in spaces)})", build)


def paths(given: Iterable[LayerPathLike]) -> Space:
    """Return paths given by hand, in any form that LayerPath reads."""
    kept = list(given)
    # The name tells one list of paths from another when a sweep is resumed.
    digest = hashlib.sha256(repr([str(path) for path in kept]).encode()).hexdigest()[:8]

    def build(n: int) -> Iterator[list[int]]:
        for path in kept:
            yield list(LayerPath(path, n).layers)

    return Space(f"paths({len(kept)}; {digest})", build)


def random(n: int, extra: int, seed: int = 0) -> Space:
    """Return random paths with one block that runs twice. All lengths are equally probable.

    Args:
        n: How many paths. There are fewer if the model does not have so many blocks.
        extra: The longest block; a path has 1 to `extra` slots more than the file's order.
        seed: Which paths.
    """
    checks.integer("n", n, 1)
    checks.integer("extra", extra, 1)

    def build(n_layer: int) -> Iterator[list[int]]:
        rng = random_module.Random(f"random paths {seed}")
        drawn: set[Block] = set()
        # 50 draws a path find nearly all blocks even where nearly all are wanted.
        for _ in range(50 * n):
            size = rng.randint(1, min(extra, n_layer))
            i = rng.randrange(n_layer - size + 1)
            if (i, i + size) not in drawn:
                drawn.add((i, i + size))
                yield _repeat(n_layer, (i, i + size), 2)
            if len(drawn) == n:
                return

    return Space(f"random({n},{extra},{seed})", build)


def union(*spaces: Space) -> Space:
    """Return the paths of all spaces, each once."""

    def build(n: int) -> Iterator[list[int]]:
        for space in spaces:
            yield from space.build(n)

    return Space(" + ".join(space.name for space in spaces), build)


def limit(space: Space, extra_slots: int) -> Space:
    """Return the paths of a space with at most so many slots more than the model has layers."""

    def build(n: int) -> Iterator[list[int]]:
        for path in space.build(n):
            if len(path) <= n + extra_slots:
                yield path

    return Space(f"limit({space.name}, {extra_slots})", build)


def repeated_block(path: LayerPath) -> Block | None:
    """Return the block (i, j) that a path runs twice in a row; None for paths of another form."""
    layers, n = path.layers, path.n_layer or 0
    for slot in range(1, len(layers)):
        if layers[slot] != layers[slot - 1] + 1:
            i, j = layers[slot], layers[slot - 1] + 1
            is_block = i < j and list(layers) == [*range(j), *range(i, n)]
            return (i, j) if is_block else None
    return None


def _distinct(name: str, values: Iterable[int], low: int) -> list[int]:
    """Return checked numbers in ascending order, each once."""
    return sorted({checks.integer(name, value, low) for value in values})


def _blocks_of(space: Space, n: int) -> Iterator[Block]:
    for path in space.candidates(n):
        block = repeated_block(path)
        if block:
            yield block


def _repeat(n: int, block: Block, times: int) -> list[int]:
    i, j = block
    return [*range(i), *[*range(i, j)] * times, *range(j, n)]


def _combine(a: list[int], b: list[int], n: int) -> list[int] | None:
    """Return a path with the changes of both, None if they touch the same layers."""
    changes = sorted([*_changes(a, n), *_changes(b, n)], key=lambda change: change[:2])
    for (start, stop, _), (next_start, next_stop, _) in pairwise(changes):
        # Two insertions at one place have no order, so they do not combine either.
        if stop > next_start or (start, stop) == (next_start, next_stop):
            return None
    # The layers between two changes run as in the file.
    combined, position = [], 0
    for start, stop, inside in changes:
        combined += [*range(position, start), *inside]
        position = stop
    return [*combined, *range(position, n)]


def _changes(path: Sequence[int], n: int) -> list[tuple[int, int, list[int]]]:
    """Return the stretches of layers that a path does not run once each in order.

    A stretch is (start, stop, the path's layers there). A layer separates two stretches if it is
    visited once, after all lower layers and before all higher ones.
    """
    highest_before = [-1, *accumulate(path, max)]
    lowest_after = [*list(accumulate(reversed(path), min))[::-1][1:], n]
    separators = [s for s, layer in enumerate(path) if highest_before[s] < layer < lowest_after[s]]
    changes = []
    for before, after in pairwise([-1, *separators, len(path)]):
        start = path[before] + 1 if before >= 0 else 0
        stop = path[after] if after < len(path) else n
        inside = list(path[before + 1 : after])
        if inside != list(range(start, stop)):
            changes.append((start, stop, inside))
    return changes


def _within(start: int, stop: int | None) -> str:
    """Return the layers that a space keeps to, for its name."""
    if (start, stop) == (0, None):
        return ""
    return f" in {start}..{'' if stop is None else stop - 1}"


def _end(start: int, stop: int | None, n: int) -> int:
    end = n if stop is None else stop
    if not 0 <= start < end <= n:
        raise SpaceError(
            f"start={start}, stop={stop}, but they must lie in the model's layers: "
            f"0 <= start < stop <= {n}"
        )
    return end


def _check_block(block: Block, n: int) -> None:
    i, j = block
    if not 0 <= i < j <= n:
        raise SpaceError(f"block ({i}, {j}), but must be 0 <= i < j <= {n}, the number of layers")
