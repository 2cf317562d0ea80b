"""Candidates: which layer paths to try.

Every function returns a Space: a named list of different paths that is built for a model when its
number of layers is
known. Spaces compose: `limit(union(blocks(sizes=[2, 3]), repeats([2])), extra_slots=4)`.

A Plan unfolds into spaces one after the other, each of which depends on what was found before.
"""

from __future__ import annotations

import hashlib
import random as random_module
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from typing import TypeAlias

from rys.engine import options
from rys.errors import SpaceError
from rys.layer_path import LayerPath, LayerPathLike

__all__ = [
    "Plan",
    "Ranking",
    "Space",
    "SpaceError",
    "again",
    "as_plan",
    "beam",
    "blocks",
    "coarse_to_fine",
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
_MAX_SLOTS = 512  # what llama.cpp can run
_MAX_PATHS = 1_000_000


@dataclass(frozen=True)
class Space:
    """Hold a way to make candidates. name: for people and stores. build: layers of the model ->
    paths.
    """

    name: str
    build: Callable[[int], Iterable[list[int]]]

    def candidates(self, n_layer: int) -> list[LayerPath]:
        """Return the different paths for a model of n_layer layers, in order, without the file's
        own order.

        Paths of more than 512 slots are left out. Raises SpaceError if a part of the space does not
        fit the model.
        """
        seen: dict[tuple[int, ...], None] = {}
        identity = tuple(range(n_layer))
        for layers in self.build(n_layer):
            path = tuple(layers)
            if path and path != identity and len(path) <= _MAX_SLOTS:
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

    sizes: j - i; None = all. start, stop: blocks lie within these layers, stop excluded; None = the
        last.
    stride: between the starts of blocks. Without arguments this is the full triangle, n (n + 1) / 2
        paths.
    """
    chosen = None if sizes is None else sorted({options.integer("size", size, 1) for size in sizes})
    options.integer("stride", stride, 1)
    said = "all" if chosen is None else ",".join(map(str, chosen))

    def build(n: int) -> Iterator[list[int]]:
        end = _end(start, stop, n)
        for size in range(1, end - start + 1) if chosen is None else chosen:
            for i in range(start, end - size + 1, stride):
                yield _repeat(n, (i, i + size), 2)

    return Space(
        f"blocks({said}{_within(start, stop)}{'' if stride == 1 else f' by {stride}'})", build
    )


def repeats(times: Iterable[int] = range(2, 9), start: int = 0, stop: int | None = None) -> Space:
    """Return every single layer, repeated so many times in place."""
    chosen = sorted({options.integer("times", k, 2) for k in times})

    def build(n: int) -> Iterator[list[int]]:
        for layer in range(start, _end(start, stop, n)):
            for k in chosen:
                yield _repeat(n, (layer, layer + 1), k)

    return Space(f"repeats({','.join(map(str, chosen))}{_within(start, stop)})", build)


def multi(block: Block, times: Iterable[int] = (2, 3, 4)) -> Space:
    """Return a block run twice, three times, four times as a whole."""
    chosen = sorted({options.integer("times", k, 2) for k in times})

    def build(n: int) -> Iterator[list[int]]:
        _check_block(block, n)
        for k in chosen:
            yield _repeat(n, block, k)

    return Space(f"multi({block[0]},{block[1]};{','.join(map(str, chosen))})", build)


def interleaved(block: Block, times: int = 2) -> Space:
    """Return the path whose block repeats every layer in place: i, i, i+1, i+1, ..."""
    options.integer("times", times, 2)

    def build(n: int) -> Iterator[list[int]]:
        _check_block(block, n)
        i, j = block
        yield [*range(i), *(layer for layer in range(i, j) for _ in range(times)), *range(j, n)]

    return Space(f"interleaved({block[0]},{block[1]};{times})", build)


def again(space: Space, times: Iterable[int]) -> Space:
    """Return the blocks of a space run so many times as a whole, instead of twice.

    Other paths are left out.
    """
    chosen = sorted({options.integer("times", k, 2) for k in times})

    def build(n: int) -> Iterator[list[int]]:
        for block in _blocks_of(space, n):
            for k in chosen:
                yield _repeat(n, block, k)

    return Space(f"again({space.name}; {','.join(map(str, chosen))})", build)


def in_place(space: Space, times: int = 2) -> Space:
    """Return the blocks of a space with every layer repeated in place. Other paths are left out."""

    def build(n: int) -> Iterator[list[int]]:
        for block in _blocks_of(space, n):
            yield from interleaved(block, times).build(n)

    return Space(f"in_place({space.name}; {times})", build)


def skips(sizes: Iterable[int] = (1,), start: int = 0, stop: int | None = None) -> Space:
    """Return the paths that leave out so many neighbouring layers."""
    chosen = sorted({options.integer("size", size, 1) for size in sizes})

    def build(n: int) -> Iterator[list[int]]:
        end = _end(start, stop, n)
        for size in chosen:
            for i in range(start, end - size + 1):
                yield [*range(i), *range(i + size, n)]

    return Space(f"skips({','.join(map(str, chosen))}{_within(start, stop)})", build)


def counts(visits: Mapping[int, int]) -> Space:
    """Return the path that visits each of these layers so many times in place, and all others once.

    0 leaves out.
    """

    def build(n: int) -> Iterator[list[int]]:
        for layer, k in visits.items():
            if not 0 <= layer < n or k < 0:
                raise SpaceError(
                    f"counts has layer {layer} with {k} visits, but the model has layers 0..{n - 1}, "
                    f"and visits are 0 or more"
                )
        yield [layer for layer in range(n) for _ in range(visits.get(layer, 1))]

    return Space(f"counts({','.join(f'{layer}:{k}' for layer, k in visits.items())})", build)


def compose(*spaces: Space) -> Space:
    """Return every combination of one path of each space, for several blocks in one path.

    Two paths combine if the stretches in which they differ from the file's order lie apart; other
    pairs are left out.
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
    digest = hashlib.sha256(repr([str(path) for path in kept]).encode()).hexdigest()[:8]
    return Space(
        f"paths({len(kept)}; {digest})",
        lambda n: (list(LayerPath(path, n).layers) for path in kept),
    )


def random(n: int, extra: int, seed: int = 0) -> Space:
    """Return n random paths of one repeated block each, of 1 to `extra` slots more than the file's
    order.

    All lengths are equally probable. There are fewer if the model has not so many.
    """
    options.integer("n", n, 1)
    options.integer("extra", extra, 1)

    def build(n_layer: int) -> Iterator[list[int]]:
        rng = random_module.Random(f"random paths {seed}")
        drawn: set[Block] = set()
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
    return Space(
        " + ".join(space.name for space in spaces),
        lambda n: (p for s in spaces for p in s.build(n)),
    )


def limit(space: Space, extra_slots: int) -> Space:
    """Return the paths of a space with at most so many slots more than the model has layers."""
    return Space(
        f"limit({space.name}, {extra_slots})",
        lambda n: (p for p in space.build(n) if len(p) <= n + extra_slots),
    )


def repeated_block(path: LayerPath) -> Block | None:
    """Return the block (i, j) that a path runs twice in a row; None for paths of another form."""
    layers, n = path.layers, path.n_layer or 0
    for slot in range(1, len(layers)):
        if layers[slot] != layers[slot - 1] + 1:
            i, j = layers[slot], layers[slot - 1] + 1
            return (i, j) if i < j and list(layers) == [*range(j), *range(i, n)] else None
    return None


def _blocks_of(space: Space, n: int) -> Iterator[Block]:
    return (block for path in space.candidates(n) if (block := repeated_block(path)))


def _repeat(n: int, block: Block, times: int) -> list[int]:
    i, j = block
    return [*range(i), *[*range(i, j)] * times, *range(j, n)]


def _combine(a: list[int], b: list[int], n: int) -> list[int] | None:
    """Return a path with the changes of both, if they touch different layers."""
    changes = sorted([*_changes(a, n), *_changes(b, n)], key=lambda change: change[:2])
    for (start, stop, _), (next_start, next_stop, _) in pairwise(changes):
        if stop > next_start or (start, stop) == (next_start, next_stop):
            return None
    combined, position = [], 0
    for start, stop, inside in changes:
        combined += [*range(position, start), *inside]
        position = stop
    return [*combined, *range(position, n)]


def _changes(path: Sequence[int], n: int) -> list[tuple[int, int, list[int]]]:
    """Return the stretches of layers [start, stop) that a path runs otherwise than once each in
    order, with its slots.

    A layer parts two stretches if it is visited once, after all lower layers and before all higher
    ones.
    """
    highest_before = [-1, *accumulate(path, max)]
    lowest_after = [*list(accumulate(reversed(path), min))[::-1][1:], n]
    parting = [s for s, layer in enumerate(path) if highest_before[s] < layer < lowest_after[s]]
    changes = []
    for before, after in pairwise([-1, *parting, len(path)]):
        start = path[before] + 1 if before >= 0 else 0
        stop = path[after] if after < len(path) else n
        inside = list(path[before + 1 : after])
        if inside != list(range(start, stop)):
            changes.append((start, stop, inside))
    return changes


# paths with their effects, best first, of all candidates of the phases so far
Ranking: TypeAlias = Callable[[], Sequence[tuple[LayerPath, float]]]


@dataclass(frozen=True)
class Plan:
    """Hold a way to unfold. phases: layers of the model and the ranking so far -> spaces, one after
    the other.
    """

    name: str
    phases: Callable[[int, Ranking], Iterator[Space]]


def as_plan(what: Space | Plan) -> Plan:
    """Return a plan of one phase for a space."""
    return what if isinstance(what, Plan) else Plan(what.name, lambda n, ranking: iter([what]))


def coarse_to_fine(stride: int | None = None) -> Plan:
    """Return the plan of the original: large blocks with a wide stride, then small ones with stride
    1 in the hot zone, then the best blocks run three and four times and layer by layer.

    stride: of the large blocks; None = a twelfth of the layers.
    """

    def phases(n: int, ranking: Ranking) -> Iterator[Space]:
        step = stride or max(1, n // 12)
        yield blocks(sizes={max(1, n // 4), max(1, n // 8)}, stride=step)
        hot = [block for block in (repeated_block(path) for path, _ in ranking()[:3]) if block]
        if not hot:
            return
        start, stop = max(0, min(i for i, _ in hot) - step), min(n, max(j for _, j in hot) + step)
        yield blocks(sizes=range(1, min(8, stop - start) + 1), start=start, stop=stop)
        best = [block for block in (repeated_block(path) for path, _ in ranking()[:3]) if block]
        yield union(
            *(part for block in best for part in (multi(block, (3, 4)), interleaved(block)))
        )

    return Plan("coarse_to_fine" if stride is None else f"coarse_to_fine({stride})", phases)


def beam(width: int, depth: int, first: Space | None = None) -> Plan:
    """Return a beam search: the `width` best paths of a phase are combined with every block that
    lies apart from theirs, `depth` times.

    first: the blocks to begin and to extend with; None = all of up to a quarter of the layers.
    """
    if width < 1 or depth < 1:
        raise SpaceError(f"beam is {width}x{depth}, but both must be at least 1")

    def phases(n: int, ranking: Ranking) -> Iterator[Space]:
        extend = first or blocks(sizes=range(1, max(2, n // 4) + 1))
        yield extend
        for _ in range(depth):
            best = [path for path, _ in ranking()[:width]]
            yield compose(paths(best), extend)

    return Plan(f"beam({width}x{depth}{f', {first.name}' if first else ''})", phases)


def _within(start: int, stop: int | None) -> str:
    """Return the layers that a space keeps to, for its name."""
    return "" if (start, stop) == (0, None) else f" in {start}..{'' if stop is None else stop - 1}"


def _end(start: int, stop: int | None, n: int) -> int:
    end = n if stop is None else stop
    if not 0 <= start < end <= n:
        raise SpaceError(
            f"start={start}, stop={stop}, but they must lie in the model's layers: 0 <= start < stop <= {n}"
        )
    return end


def _check_block(block: Block, n: int) -> None:
    i, j = block
    if not 0 <= i < j <= n:
        raise SpaceError(f"block ({i}, {j}), but must be 0 <= i < j <= {n}, the number of layers")
