"""Layer paths whose end is open, for files that do not say how many layers the model has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Run", "Runs"]

Run: TypeAlias = tuple[int, int | None]  # start and exclusive end; None = the end of the model


@dataclass(frozen=True)
class Runs:
    """Layers of a path as runs, whatever the number of layers of the model.

    Two paths that visit the same layers are equal.

    Attributes:
        runs: The runs in the order of the path. None is empty, and no two neighbours could be
            written as one. The last one ends where the model does.
    """

    runs: tuple[Run, ...]

    @classmethod
    def of(cls, *runs: Run) -> Runs:
        """Return a path of runs, without the empty ones and with neighbours joined."""
        joined: list[Run] = []
        for start, end in runs:
            if start == end:  # such as 0..0 before a block that starts at 0
                continue
            if joined and joined[-1][1] == start:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((start, end))
        return cls(tuple(joined))

    @property
    def least_n_layer(self) -> int:
        """Number of layers that the model has at least."""
        # Layers that are left out at the end are known from where the last run starts.
        return max(start if end is None else end for start, end in self.runs)

    def layers(self, n_layer: int) -> tuple[int, ...]:
        """Return the layers of the path in a model of `n_layer` layers."""
        layers: list[int] = []
        for start, end in self.runs:
            layers += range(start, n_layer if end is None else end)
        return tuple(layers)

    def extra_slots(self, n_layer: int) -> int:
        """Return the number of slots above those of the model, below 0 if there are fewer."""
        return len(self.layers(n_layer)) - n_layer

    def notation(self, n_layer: int) -> str:
        """Return the path in its notation.

        Its ends are open, so that it holds for a model with more layers than the file shows.
        """
        terms = []
        for place, (start, end) in enumerate(self.runs):
            first = str(start) if start or place else ""
            if end is None:
                if start < n_layer:
                    terms.append(f"{first}..")
            elif first and end == start + 1:
                terms.append(first)
            else:
                terms.append(f"{first}..{end - 1}")
        return ",".join(terms)

    def repeated_block(self) -> tuple[int, int] | None:
        """Return the block (start, end) that runs twice in a row, end exclusive.

        None for paths of another form.
        """
        if len(self.runs) != 2:
            return None
        (first, end), (start, rest) = self.runs
        if first != 0 or rest is not None or end is None or start >= end:
            return None
        return start, end
