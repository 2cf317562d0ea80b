"""What a probe is made of: items, each a prompt with a scorer.

A scorer makes the requests for its item's prompt, reads an answer from their results, and scores
it. Reading and scoring are apart, so that constant and right answers can be scored without a model:
that is where the floors come from.
"""

from __future__ import annotations

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar

from rys.errors import ProbeError
from rys.probes.prompter import Messages, Prompter
from rys.requests import Request, Result

__all__ = [
    "Item",
    "Probe",
    "ProbeError",
    "Reading",
    "Scorer",
    "SearchSplit",
    "choose",
    "halves",
    "name_of",
]

# "search" and "confirm" are asked along paths, "calibrate" before them, and "examples" never: they
# are shown with the questions.
SearchSplit: TypeAlias = Literal["search", "confirm", "calibrate", "examples"]
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """An answer that a scorer read from a model's results.

    Attributes:
        answer: In the form that `Scorer.score` takes; None = nothing could be read.
        text: The answer for people, as the model gave it.
        truncated: The model was cut off before it came to an answer.
        details: Further numbers about the answer, such as its margin.
    """

    answer: Any
    text: str
    truncated: bool = False
    details: Mapping[str, float] = field(default_factory=dict)


class Scorer(ABC):
    """Base class of the ways to ask for an answer, to read it and to score it.

    Attributes:
        target: An answer, in the form that `read` gives, that `score` gives 1.
        constants: Answers that one could give to every item of the probe without reading it. The
            best of them, over all items, is the probe's best-constant floor.
        chance: Expected score of an answer drawn at random.
    """

    target: Any
    constants: Sequence[Any] = ()
    chance: float = 0.0

    @abstractmethod
    def requests(self, prompt: str | Messages, prompter: Prompter) -> list[Request]:
        """Return the requests that ask a model for the answer to a prompt.

        Args:
            prompt: The item's prompt.
            prompter: Makes requests in the form that the model wants.

        Returns:
            One or more requests; `read` gets their results in this order.
        """

    @abstractmethod
    def read(self, results: Sequence[Result]) -> Reading:
        """Return the answer that the results of `requests` hold."""

    @abstractmethod
    def score(self, answer: Any) -> float:
        """Return the score of an answer, in [-1, 1]: 1 is right, and below 0 worse than a guess."""

    def preview(self, prompt: str) -> str:
        """Return what is asked, for people, from the text of the item's last message."""
        return prompt

    def describe(self) -> str:
        """Return a text that differs between scorers that ask, read or score otherwise.

        It is part of the item's hash, which files of sweeps hold, so it must not change without a
        reason.
        """
        return f"{type(self).__name__} {self.target!r}"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a probe.

    Attributes:
        prompt: A text, which a chat model gets as the user's message; or messages.
        scorer: How to ask for the answer and how to score it.
        tags: "family" and "difficulty", and whatever else results should be grouped by.
        id: Stable name within the probe; by default the beginning of the content hash.
        plain: Ask with "Question:" and "Answer:" as a plain text, also where the model has a chat
            template.
    """

    prompt: str | Messages
    scorer: Scorer
    tags: Mapping[str, str | int] = field(default_factory=dict)
    id: str = ""
    plain: bool = False

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.content_hash[:12])

    # Computed once: an item never changes, and a sweep asks for the hash several times. The cache
    # lies in the instance's __dict__, which a frozen dataclass allows.
    @cached_property
    def content_hash(self) -> str:
        """32 hexadecimal digits that differ between items with other prompts or right answers."""
        parts: list[Any] = [self.prompt, self.scorer.describe()]
        if self.plain:  # the others keep the hashes that they always had
            parts.append("plain")
        # "default" turns other sequences of messages into lists
        content = json.dumps(parts, ensure_ascii=False, default=list)
        return hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:32]


class Probe(ABC):
    """Base class of probes: objective questions that are quick to answer.

    Attributes:
        id: Short name.
        version: Raised whenever the items or their scores change, so that old scores are not
            compared with new ones.
        settings: Names of the settings that `name` can hold beside a tier, as "key=value".
    """

    id: str
    version: int = 1
    settings: tuple[str, ...] = ()

    @abstractmethod
    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return the items of a split: the same for the same arguments, on every machine.

        Args:
            n: At most so many, all different. A probe with a fixed list may have fewer.
            seed: Which items, or their order.
            split: "search" or "confirm", which never share an item. Probes with rungs (see
                `rungs`) have a split "calibrate" too, which shares none with the other two.
        """

    @property
    def name(self) -> str:
        """The probe with its settings, in a form that `rys.probes.load` takes."""
        return self.id

    def rungs(self, thinking: bool = False) -> Sequence[Probe]:
        """Return the forms of the probe that a calibration may choose among.

        They stand in the order of difficulty. Forms with the same attribute `tier` are neighbours,
        and the first of them is the one to try first. A probe that has one form only, which is the
        default, is never calibrated.

        Args:
            thinking: The model is to think before it answers: forms in which it writes are wanted.
        """
        return (self,)


def halves(
    pool: Sequence[Value], split: SearchSplit, seed: int, key: Callable[[Value], str]
) -> list[Value]:
    """Return the half of a fixed list that belongs to "search" or "confirm".

    The halves follow from the keys' hashes, whatever the order of the list. See also
    `rys.probes.questions.portion`, for lists that have all splits.

    Args:
        pool: The list.
        split: Which half.
        seed: Of the order within the half.
        key: Returns the text that an element is known by.

    Raises:
        ProbeError: It is another split, of which the list has no part.
    """
    choose("split", split, ["search", "confirm"])

    # By a hash and not by place: an entry that is added to a file moves at most one other across.
    def rank(element: Value) -> bytes:
        return hashlib.sha256(key(element).encode("utf-8", "replace")).digest()

    ranked = sorted(pool, key=rank)
    middle = (len(ranked) + 1) // 2
    half = ranked[:middle] if split == "search" else ranked[middle:]
    # a text as the seed is hashed the same way on every machine
    random.Random(f"{seed} {split}").shuffle(half)
    return half


def name_of(probe: Probe, tier: str, **settings: tuple[Any, Any]) -> str:
    """Return the name of a probe with a tier and settings, such as "math:easy:shots=6".

    Args:
        probe: The probe.
        tier: Its tier.
        settings: Of each setting the value and the default. A default is left out of the name.
    """
    parts = [probe.id, tier]
    for key, (value, default) in settings.items():
        if value != default:
            parts.append(f"{key}={value}")
    return ":".join(parts)


def choose(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return a setting of a probe if it is allowed.

    Args:
        name: The setting's name, for the error.
        value: What was given.
        allowed: What may be given.

    Raises:
        ProbeError: The value is not one of those.
    """
    if value not in allowed:
        raise ProbeError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, allowed))}")
    return value
