"""Spaces that unfold: what is tried next depends on what was found before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rys.layer_path import LayerPath
from rys.sweep import space
from rys.sweep.space import Space, SpaceError, repeated_block

__all__ = ["Plan", "Ranking", "as_plan", "beam", "coarse_to_fine"]

# paths with their effects, best first, of all candidates of the phases so far
Ranking: TypeAlias = Callable[[], Sequence[tuple[LayerPath, float]]]


@dataclass(frozen=True)
class Plan:
    """Hold a way to unfold. phases: layers of the model and the ranking so far -> spaces, one after the other."""

    name: str
    phases: Callable[[int, Ranking], Iterator[Space]]


def as_plan(what: Space | Plan) -> Plan:
    """Return a plan of one phase for a space."""
    return what if isinstance(what, Plan) else Plan(what.name, lambda n, ranking: iter([what]))


def coarse_to_fine(stride: int | None = None) -> Plan:
    """Return the plan of the original: large blocks with a wide stride, then small ones with stride 1 in the hot zone,
    then the best blocks run three and four times and layer by layer.

    stride: of the large blocks; None = a twelfth of the layers.
    """

    def phases(n: int, ranking: Ranking) -> Iterator[Space]:
        step = stride or max(1, n // 12)
        yield space.blocks(sizes={max(1, n // 4), max(1, n // 8)}, stride=step)
        hot = [block for block in (repeated_block(path) for path, _ in ranking()[:3]) if block]
        if not hot:
            return
        start, stop = max(0, min(i for i, _ in hot) - step), min(n, max(j for _, j in hot) + step)
        yield space.blocks(sizes=range(1, min(8, stop - start) + 1), start=start, stop=stop)
        best = [block for block in (repeated_block(path) for path, _ in ranking()[:3]) if block]
        yield space.union(*(part for block in best for part in (space.multi(block, (3, 4)), space.interleaved(block))))

    return Plan("coarse_to_fine" if stride is None else f"coarse_to_fine({stride})", phases)


def beam(width: int, depth: int, first: Space | None = None) -> Plan:
    """Return a beam search: the `width` best paths of a phase are combined with every block that lies apart from
    theirs, `depth` times.

    first: the blocks to begin and to extend with; None = all of up to a quarter of the layers.
    """
    if width < 1 or depth < 1:
        raise SpaceError(f"beam is {width}x{depth}, but both must be at least 1")

    def phases(n: int, ranking: Ranking) -> Iterator[Space]:
        extend = first or space.blocks(sizes=range(1, max(2, n // 4) + 1))
        yield extend
        for _ in range(depth):
            best = [path for path, _ in ranking()[:width]]
            yield space.compose(space.paths(best), extend)

    return Plan(f"beam({width}x{depth}{f', {first.name}' if first else ''})", phases)
