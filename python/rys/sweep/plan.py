"""Plans: spaces that unfold one after the other, each from what was found before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rys.errors import SpaceError
from rys.layer_path import LayerPath
from rys.sweep.candidates import (
    Block,
    Space,
    blocks,
    compose,
    interleaved,
    multi,
    paths,
    repeated_block,
    union,
)

__all__ = ["Plan", "Ranking", "as_plan", "beam", "coarse_to_fine"]

# Paths with their effects, best first, of all candidates of the phases so far.
Ranking: TypeAlias = Callable[[], Sequence[tuple[LayerPath, float]]]


@dataclass(frozen=True)
class Plan:
    """A series of spaces in which each may depend on the results of those before it.

    Attributes:
        name: The name, for people and files.
        phases: A function of the model's number of layers and the ranking so far that yields the
            spaces, one after the other.
    """

    name: str
    phases: Callable[[int, Ranking], Iterator[Space]]


def as_plan(what: Space | Plan) -> Plan:
    """Return a plan; a space becomes a plan of one phase."""
    if isinstance(what, Plan):
        return what
    return Plan(what.name, lambda n, ranking: iter([what]))


def coarse_to_fine(stride: int | None = None) -> Plan:
    """Return a plan of three phases, as David Ng described for RYS.

    First large blocks with a wide stride, then small blocks with stride 1 around the best, then
    the best blocks three and four times and layer by layer.

    Args:
        stride: Layers between the starts of the large blocks; None for a twelfth of the layers.
    """

    def phases(n: int, ranking: Ranking) -> Iterator[Space]:
        step = stride or max(1, n // 12)
        yield blocks(sizes={max(1, n // 4), max(1, n // 8)}, stride=step)
        best = _best_blocks(ranking)
        if not best:
            return
        start = max(0, min(i for i, _ in best) - step)
        stop = min(n, max(j for _, j in best) + step)
        yield blocks(sizes=range(1, min(8, stop - start) + 1), start=start, stop=stop)
        variants: list[Space] = []
        for block in _best_blocks(ranking):
            variants += [multi(block, (3, 4)), interleaved(block)]
        yield union(*variants)

    return Plan("coarse_to_fine" if stride is None else f"coarse_to_fine({stride})", phases)


def _best_blocks(ranking: Ranking, n: int = 3) -> list[Block]:
    """Return the blocks of the best n paths, those of another form left out."""
    found = [repeated_block(path) for path, _ in ranking()[:n]]
    return [block for block in found if block is not None]


def beam(width: int, depth: int, first: Space | None = None) -> Plan:
    """Return a beam search.

    The `width` best paths of a phase are combined with every block that lies apart from theirs,
    `depth` times.

    Args:
        width: Paths that go on to the next phase.
        depth: Phases after the first.
        first: The blocks to begin and to extend with; None for all of up to a quarter of the
            layers.

    Raises:
        SpaceError: `width` or `depth` is below 1.
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
