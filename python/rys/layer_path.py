"""Layer paths: which layer a forward pass visits, slot by slot.

A path is written as a list of ints or as a string of terms between `,` or `+`:

    7          one layer                 ..7     layers 0..7
    4..7       layers 4, 5, 6, 7         4..     layer 4 to the last one
    4..7x2     a term, repeated          ..      all layers

Ranges are inclusive, blocks `(i, j)` are half-open. Nothing here needs a model or the engine.
"""

from __future__ import annotations

import operator
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import SupportsIndex, TypeAlias, overload

from rys.errors import LayerPathError

__all__ = ["MAX_SLOTS", "LayerPath", "LayerPathLike"]

# LLAMA_MAX_LAYERS of llama.cpp: its per-layer arrays have this length.
MAX_SLOTS = 512

LayerPathLike: TypeAlias = "LayerPath | str | Iterable[SupportsIndex] | None"

# A layer or a range, perhaps repeated: 7, 4..7, 4.., ..7, .., 4..7x2, 7 x 3. 18 digits fit every
# count that can be meant, and keep int() cheap on hostile input.
_TERM = re.compile(
    r"(?:(?P<layer>\d{1,18})|(?P<first>\d{1,18})?\s*\.\.\s*(?P<last>\d{1,18})?)"
    r"(?:\s*x\s*(?P<times>\d{1,18}))?",
    re.ASCII,
)


@dataclass(frozen=True, init=False, repr=False)
class LayerPath:
    """The layers that a forward pass visits, in order.

    Immutable and hashable; two paths are equal when their `layers` and their `n_layer` are.
    `str(path)` is a canonical string that reads back as the same path.

    Attributes:
        layers: The layer of each slot, `n_slot` ints.
        n_layer: Layers of the model, or None while the path is not bound to one. Then `resolve`
            binds it, and `extra`, `is_identity` and `dup`, which need it, raise LayerPathError.
    """

    layers: tuple[int, ...]
    n_layer: int | None

    def __init__(
        self, path: LayerPathLike, n_layer: int | None = None, *, source: str = "the model"
    ) -> None:
        """Read a path.

        Args:
            path: A string (see the module), ints in any sequence, another LayerPath, or None for
                the file's own order.
            n_layer: Layers of the model. It is needed for None and for open ends on the right
                (`4..`), and no layer of the path may lie outside of it. None leaves the path
                unbound.
            source: What error messages call the model, such as its file name.

        Raises:
            LayerPathError: The path is malformed, empty, longer than MAX_SLOTS, or leaves the
                model's layers.
        """
        if n_layer is not None:
            n_layer = _integer(n_layer, "n_layer")
            if not 1 <= n_layer <= MAX_SLOTS:
                raise LayerPathError(f"n_layer is {n_layer}, but must be 1..{MAX_SLOTS}")
        if isinstance(path, LayerPath):
            n_layer = n_layer or path.n_layer
            if path.n_layer not in (None, n_layer):
                raise LayerPathError(
                    f"layer_path was made for {path.n_layer} layers, but {source} has {n_layer}; "
                    f"pass layer_path.layers to use it all the same"
                )
        if path is None:
            if n_layer is None:
                raise LayerPathError(
                    "layer_path is None, the file's own order: "
                    "pass n_layer= to say how long that is"
                )
            layers = tuple(range(n_layer))
        elif isinstance(path, str):
            layers = _read_string(path, n_layer, source)
        elif isinstance(path, LayerPath) and path.n_layer == n_layer:
            # checked when it was made; a sweep makes paths of paths all the time
            layers = path.layers
        else:
            layers = _read_layers(path, n_layer, source)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "n_layer", n_layer)

    @classmethod
    def identity(cls, n_layer: int) -> LayerPath:
        """Return the file's own order, every layer once."""
        return cls(None, n_layer)

    @classmethod
    def block(cls, i: int, j: int, n_layer: int, times: int = 2) -> LayerPath:
        """Return the file's order with layers `i..j-1` visited `times` times in a row.

        `block(12, 15, 40)` is `0..14,12..39`.

        Args:
            i: First layer of the block.
            j: The layer after its last one.
            n_layer: Layers of the model.
            times: How often the block is visited; 1 is the file's own order.

        Raises:
            LayerPathError: Unless `0 <= i < j <= n_layer` and `times >= 1`.
        """
        return cls.identity(n_layer).with_block(i, j, times)

    def with_block(self, i: int, j: int, times: int = 2) -> LayerPath:
        """Return this path with layers `i..j-1` visited `times` times in a row.

        `i` and `j` are layers, not slots, so blocks that do not overlap can be added in any order.

        Args:
            i: First layer of the block.
            j: The layer after its last one.
            times: How often the block is visited, where this path visits it once.

        Raises:
            LayerPathError: The path skips, repeats or reorders one of these layers: where to
                repeat would be a guess.
        """
        i, j, times = _integer(i, "i"), _integer(j, "j"), _integer(times, "times")
        limit = self.n_layer or MAX_SLOTS
        if not 0 <= i < j <= limit:
            raise LayerPathError(
                f"block ({i}, {j}) must be 0 <= i < j <= {limit}: layers i..j-1 repeat, without j"
            )
        if times < 1:
            raise LayerPathError(f"times is {times}, but a block is visited at least once")
        visited = [slot for slot, layer in enumerate(self.layers) if i <= layer < j]
        start, stop = (visited[0], visited[-1] + 1) if visited else (0, 0)
        if self.layers[start:stop] != tuple(range(i, j)):
            raise LayerPathError(
                f"block ({i}, {j}) needs a path that visits layers {_range(i, j - 1)} once and in "
                f"order, but the path is {self}; write the path out as a string instead"
            )
        _check_n_slot(self.n_slot + (times - 1) * (j - i))
        return LayerPath(
            self.layers[:stop] + self.layers[start:stop] * (times - 1) + self.layers[stop:],
            self.n_layer,
        )

    def resolve(self, n_layer: int, *, source: str = "the model") -> LayerPath:
        """Return this path bound to a model of `n_layer` layers.

        Args:
            n_layer: Layers of the model.
            source: What error messages call the model.

        Raises:
            LayerPathError: A layer is out of range, or the path is bound to another number of
                layers.
        """
        return LayerPath(self, n_layer, source=source)

    @property
    def n_slot(self) -> int:
        """Slots of the path: the layers that one forward pass computes."""
        return len(self.layers)

    @property
    def extra(self) -> int:
        """Slots beyond the file's order, `n_slot - n_layer`.

        Negative if the path skips more than it repeats.
        """
        return self.n_slot - self._bound_n_layer()

    @property
    def is_identity(self) -> bool:
        """Whether the path is the file's own order."""
        return self.layers == tuple(range(self._bound_n_layer()))

    @property
    def dup(self) -> tuple[int, ...]:
        """Visits of each layer, `n_layer` ints: 1 in the file's order, 0 for a skipped layer."""
        counts = [0] * self._bound_n_layer()
        for layer in self.layers:
            counts[layer] += 1
        return tuple(counts)

    def visits(self, layer: int) -> int:
        """Count the slots that visit `layer`.

        Raises:
            LayerPathError: The model has no such layer.
        """
        layer = _integer(layer, "layer")
        _check_layer(layer, self.n_layer, "the model", "layer is")
        return self.layers.count(layer)

    def _bound_n_layer(self) -> int:
        if self.n_layer is None:
            raise LayerPathError(f"the path {self} has no n_layer: use path.resolve(n_layer) first")
        return self.n_layer

    def __len__(self) -> int:
        return self.n_slot

    def __iter__(self) -> Iterator[int]:
        return iter(self.layers)

    @overload
    def __getitem__(self, slot: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, slot: slice) -> tuple[int, ...]: ...
    def __getitem__(self, slot: SupportsIndex | slice) -> int | tuple[int, ...]:
        return self.layers[slot]

    def __str__(self) -> str:
        return _write_string(self.layers)

    def __repr__(self) -> str:
        bound = "" if self.n_layer is None else f", n_layer={self.n_layer}"
        return f"LayerPath({str(self)!r}{bound})"


def _integer(value: SupportsIndex, name: str) -> int:
    if not isinstance(value, bool):
        with suppress(TypeError):
            # Clamped, because Python refuses to print an int of thousands of digits, as in an error
            # message.
            return max(min(operator.index(value), 2**63), -(2**63))
    raise LayerPathError(
        f"{name} is {reprlib.repr(value)} ({type(value).__name__}), but must be an int"
    )


def _check_layer(layer: int, n_layer: int | None, source: str, what: str) -> None:
    if 0 <= layer < (n_layer or MAX_SLOTS):
        return
    # A path without n_layer may still fit some model, but none has a layer that MAX_SLOTS excludes.
    has = (
        f"{source} has layers 0..{n_layer - 1}"
        if n_layer
        else f"llama.cpp allows layers 0..{MAX_SLOTS - 1}"
    )
    raise LayerPathError(f"{what} {layer}, but {has}")


def _check_n_slot(n_slot: int) -> None:
    if n_slot > MAX_SLOTS:
        raise LayerPathError(
            f"layer_path has more than {MAX_SLOTS} slots; visit fewer layers or repeat them less"
        )
    if n_slot == 0:
        raise LayerPathError(
            "layer_path is empty, but must visit at least one layer; None is the file's own order"
        )


def _read_layers(
    path: Iterable[SupportsIndex], n_layer: int | None, source: str
) -> tuple[int, ...]:
    try:
        # One more than allowed, so that an endless or huge iterable is neither expanded nor
        # accepted.
        values = list(islice(path, MAX_SLOTS + 1))
    except TypeError:
        values = None
    # Bytes, sets and mappings iterate too, but hardly over what their author means by a path.
    if values is None or isinstance(path, (bytes, bytearray, memoryview, Set, Mapping)):
        raise LayerPathError(
            f"layer_path is {reprlib.repr(path)}, but must be a list of ints, "
            f"a string such as '0..14,12..39', or None"
        )
    _check_n_slot(len(values))
    layers = tuple(_integer(value, f"layer_path[{slot}]") for slot, value in enumerate(values))
    for slot, layer in enumerate(layers):
        _check_layer(layer, n_layer, source, f"layer_path[{slot}] is")
    return layers


def _read_string(text: str, n_layer: int | None, source: str) -> tuple[int, ...]:
    if not text.strip():
        _check_n_slot(0)
    layers: list[int] = []
    offset = 0
    for part in re.split("[,+]", text):  # "0..3,7+9.." has the parts "0..3", "7" and "9.."
        term = part.strip()
        try:
            first, last, times = _read_term(term, n_layer, source)
            # Counted before it is expanded: `0x1000000000` must not take memory.
            _check_n_slot(len(layers) + (last - first + 1) * times)
        except LayerPathError as error:
            start = offset + len(part) - len(part.lstrip())
            raise LayerPathError(f"{error}\n{_point_at(text, start, len(term))}") from None
        layers += list(range(first, last + 1)) * times
        offset += len(part) + 1
    return tuple(layers)


def _read_term(term: str, n_layer: int | None, source: str) -> tuple[int, int, int]:
    match = _TERM.fullmatch(term)
    if match is None:
        raise LayerPathError(
            f"layer_path has a term {reprlib.repr(term)}, but a term is a layer (7) or a range "
            f"(4..7, 4.., ..7, ..), perhaps repeated (4..7x2), and terms are separated by , or +"
        )
    first = int(match["layer"] or match["first"] or 0)
    if end := match["layer"] or match["last"]:
        last = int(end)
    elif n_layer:
        last = n_layer - 1
    else:
        raise LayerPathError(
            f"layer_path has an open end in {term!r}: pass n_layer=, or write the last layer"
        )
    _check_layer(first, n_layer, source, "layer_path names layer")
    _check_layer(last, n_layer, source, "layer_path names layer")
    if first > last:
        raise LayerPathError(
            f"layer_path has a range {term!r} that descends; write descending layers one by one"
        )
    if (times := int(match["times"] or 1)) < 1:
        raise LayerPathError(
            f"layer_path repeats {term!r} 0 times; leave the term out, or repeat it once or more"
        )
    return first, last, times


def _point_at(text: str, start: int, length: int) -> str:
    low, high = max(0, start - 40), start + 40
    excerpt = "".join(char if char.isprintable() else " " for char in text[low:high])
    return f"  {excerpt}\n  {' ' * (start - low)}{'^' * min(max(length, 1), high - start)}"


def _range(first: int, last: int) -> str:
    return f"{first}..{last}" if last > first else f"{first}"


@lru_cache(maxsize=8192)  # a sweep asks for the same strings all the time
def _write_string(layers: tuple[int, ...]) -> str:
    n_slot = len(layers)
    # run[s]: length of the ascending run from slot s to its end; times[s]: how often that run
    # stands there back to back.
    run, times = [1] * n_slot, [1] * n_slot
    best = [""] * (n_slot + 1)  # the shortest string found for the slots from s on
    for s in reversed(range(n_slot)):
        if s + 1 < n_slot and layers[s + 1] == layers[s] + 1:
            run[s] = run[s + 1] + 1
        end = s + run[s]
        # (length, repeats) of the term at s; min() takes the first of equally short ones
        cuts = [(run[s], 1)]
        if end < n_slot and layers[end] == layers[s] and run[end] >= run[s]:
            times[s] = times[end] + 1 if run[end] == run[s] else 2
            cuts.insert(0, (run[s], times[s]))
        elif end < n_slot and layers[s] < layers[end] <= layers[end - 1]:
            # The next run starts inside this one: what follows the cut may be a repeated term.
            cuts.insert(0, (layers[end] - layers[s], 1))
        terms = []
        for length, repeats in cuts:
            term = _range(layers[s], layers[s] + length - 1)
            if repeats > 1:
                term += f"x{repeats}"
            rest = best[s + length * repeats]
            terms.append(f"{term},{rest}" if rest else term)
        best[s] = min(terms, key=len)
    return best[0]
