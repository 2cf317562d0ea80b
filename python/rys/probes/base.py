"""What a probe is made of: items, each a prompt with a scorer.

A scorer makes the requests for its item's prompt, reads an answer from their results, and marks it.
Reading and marking are apart, so that constant and perfect answers can be marked without a model:
that is where the floors come from.
"""

from __future__ import annotations

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from rys.errors import ProbeError
from rys.requests import Request, Result

if TYPE_CHECKING:
    from rys.probes.prompter import Prompter

__all__ = ["Item", "Probe", "ProbeError", "Reading", "Scorer", "SearchSplit", "choose", "halves"]

SearchSplit: TypeAlias = Literal["search", "confirm"]
Messages: TypeAlias = "Sequence[Mapping[str, Any]]"
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Hold what a scorer read from a model's results.

    answer: in the form that `Scorer.mark` takes; None = nothing could be read.
    text: the answer for people, as the model gave it.
    truncated: the model was cut off before it came to an answer.
    details: further numbers about the answer, such as its margin.
    """

    answer: Any
    text: str
    truncated: bool = False
    details: Mapping[str, float] = field(default_factory=dict)


class Scorer(ABC):
    """Make an item's requests, read the answer from the results and mark it.

    perfect: an answer, in the form that `read` gives, that `mark` gives 1.
    constants: answers that one could give to every item of the probe without reading it. The best
        of them, over all items, is the probe's best-constant floor.
    chance: the score that is expected of an answer drawn at random.
    """

    target: Any
    constants: Sequence[Any] = ()
    chance: float = 0.0

    @abstractmethod
    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        """Return the requests that ask a model for the answer to a prompt."""

    @abstractmethod
    def read(self, results: Sequence[Result]) -> Reading:
        """Return the answer that the results of `requests` hold."""

    @abstractmethod
    def score(self, answer: Any) -> float:
        """Return the score of an answer, in [0, 1]."""

    def describe(self) -> str:
        """Return what tells this scorer from others, for the item's hash."""
        return f"{type(self).__name__} {self.target!r}"


@dataclass(frozen=True, kw_only=True)
class Item:
    """Hold one question of a probe.

    prompt: a text, which a chat model gets as the user's message; or messages.
    scorer: how to ask and how to mark.
    tags: "family" and "difficulty", and whatever else results should be grouped by.
    id: stable name within the probe; by default made from the content hash.
    """

    prompt: str | Messages
    scorer: Scorer
    tags: Mapping[str, str | int] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.content_hash[:12])

    @property
    def content_hash(self) -> str:
        """Return 32 hexadecimal digits that differ between items of different prompts or right
        answers.
        """
        content = json.dumps(
            [self.prompt, self.scorer.describe()], ensure_ascii=False, default=list
        )
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:32]


class Probe(ABC):
    """Ask objective questions that are quick to answer.

    id: short name. version: raised whenever the items or their marking change, so that old scores
        are not compared
    with new ones.
    """

    id: str
    version: int = 1

    @abstractmethod
    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return up to n different items: the same for the same arguments, on every machine.

        A probe with a fixed list may have fewer. The splits "search" and "confirm" never share an
        item.
        """


def halves(
    pool: Sequence[Value], split: SearchSplit, seed: int, key: Callable[[Value], str]
) -> list[Value]:
    """Return one half of a fixed list, shuffled by a seed: the part of a split.

    key: the text that an element is known by. Halves follow from the keys' hashes, whatever the
        order of the list.
    """
    ranked = sorted(
        pool, key=lambda element: hashlib.sha256(key(element).encode("utf-8", "replace")).digest()
    )
    half = (
        ranked[: (len(ranked) + 1) // 2] if split == "search" else ranked[(len(ranked) + 1) // 2 :]
    )
    random.Random(f"{seed} {split}").shuffle(half)
    return half


def choose(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return a setting of a probe, if it is one of those that are allowed. Raises ProbeError."""
    if value not in allowed:
        raise ProbeError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, allowed))}")
    return value
