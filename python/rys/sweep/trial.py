"""What a sweep tried: one layer path, in one stage, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rys.layer_path import LayerPath
from rys.sweep.candidates import Block, repeated_block

__all__ = ["MeasuredItems", "Role", "Stage", "Status", "Trial", "bound_path"]


class _Word(str, Enum):
    """An enumeration whose members are their text (enum.StrEnum needs Python 3.11)."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, specification: str) -> str:
        return format(str(self.value), specification)


class Stage(_Word):
    """A part of a sweep, with items of its own."""

    SEARCH = "search"
    CONFIRM = "confirm"


class Role(_Word):
    """What a path is tried for.

    Attributes:
        BASELINE: The file's own order, in both stages.
        CANDIDATE: A path of the search.
        TOP: One of the best of the search, in the confirmation.
        CONTROL: A random path of the confirmation.
    """

    BASELINE = "baseline"
    CANDIDATE = "candidate"
    TOP = "top"
    CONTROL = "control"


class Status(_Word):
    """How far the measurement of a path has come.

    Attributes:
        DONE: All its items were evaluated.
        PARTIAL: Some were; the others follow.
        ELIMINATED: The strategy dropped it after some items; the trial's reason says why.
        FAILED: It could not be evaluated; the trial's reason says why.
    """

    DONE = "done"
    PARTIAL = "partial"
    ELIMINATED = "eliminated"
    FAILED = "failed"


@dataclass(frozen=True)
class Trial:
    """A layer path that was tried in one stage.

    Attributes:
        id: The number of the trial in the file.
        stage: The stage.
        role: What it was tried for.
        path: The layer path as the file writes it.
        n_layer: Layers of the model.
        status: How far it was measured.
        reason: Why it was eliminated or failed, else "".
        n_items: Items of each probe that were evaluated.
        seconds: Time of the model, in seconds.
        tokens: Tokens that the model evaluated.
    """

    id: int
    stage: Stage
    role: Role
    path: str
    n_layer: int
    status: Status
    reason: str
    n_items: int
    seconds: float
    tokens: int

    @cached_property
    def layer_path(self) -> LayerPath:
        """The path, bound to the model's layers."""
        return bound_path(self.path, self.n_layer)

    @cached_property
    def block(self) -> Block | None:
        """The block (i, j) that runs twice in a row, None for a path of another form."""
        return repeated_block(self.layer_path)


class MeasuredItems(Protocol):
    """Scores of n items of one probe along one path, as the store keeps them."""

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores in [-1, 1], float64 [n]."""

    @property
    def parsed(self) -> npt.NDArray[np.bool_]:
        """Whether an answer could be read, bool [n]."""

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Whether the model was cut off before an answer, bool [n]."""

    @property
    def answers(self) -> Sequence[str]:
        """The n answers as the model gave them."""

    @property
    def n_evaluated_tokens(self) -> int:
        """Tokens that the model evaluated."""

    @property
    def seconds(self) -> float:
        """Time of the model, in seconds."""


# A sweep reads the same few thousand strings again and again.
@lru_cache(maxsize=8192)
def bound_path(text: str, n_layer: int) -> LayerPath:
    """Return the layer path that a text stands for.

    Raises:
        LayerPathError: The text is not a path of a model with so many layers.
    """
    return LayerPath(text, n_layer)
