"""What a sweep is about: what must agree when it is resumed, and what may differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from rys.layer_path import MAX_SLOTS

__all__ = [
    "ConfirmationPlan",
    "Decision",
    "Progress",
    "Rounding",
    "SweepOptions",
    "SweepSettings",
]

# What an option of a model can be.
Scalar = str | bool | int | float | None


@dataclass(frozen=True)
class SweepSettings:
    """What all results of a sweep depend on. A resumed sweep must agree in every field.

    Attributes:
        fingerprint: The model file's, as in `Model.fingerprint`.
        variant: Options that change what the model computes, as in `Model.variant`.
        n_layer: Layers of the model.
        probes: Ids and versions of the probes that were asked for, such as "math:1".
        space: The name of the space or plan.
        strategy: The name of the strategy.
        items: Items of each probe in the search.
        seed: Which items and controls are taken.
        thinking: Whether a model that can think does so.
        thinking_budget: Tokens for it.
        rys: The version of rys.
        llama_cpp: The commit of llama.cpp.
        forms: By probe, the full name of the form that is used, such as "math:easy:shots=6". Empty
            in a file that was made before probes had forms.
    """

    fingerprint: str
    variant: dict[str, Scalar | tuple[Scalar, ...]]
    n_layer: Annotated[int, range(1, MAX_SLOTS + 1)]
    probes: tuple[str, ...]
    space: str
    strategy: str
    items: Annotated[int, range(1, 2**31)]
    seed: int
    thinking: bool
    thinking_budget: int
    rys: str
    llama_cpp: str
    forms: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepOptions:
    """What may differ from one run of a sweep to the next; the file keeps the latest.

    Attributes:
        top: Candidates to confirm. Fixed as soon as a confirmation is planned.
        min_effect: The smallest gain that the confirmation should find, as a difference of mean
            scores. Fixed as soon as a confirmation is planned.
        force: Whether probes are used that the preflight refuses.
        budget: What the latest run might spend, such as "2h"; None for no limit.
        model: Where the model came from. The file may move; its fingerprint decides.
        notes: What a reader of the results should know.
        provenance: How the sweep was asked for, to whoever asked. The sweep itself never reads it.
            None for a sweep made in Python.
    """

    top: Annotated[int, range(1, 101)] = 5
    min_effect: float = 0.03
    force: bool = False
    budget: str | None = None
    model: str | None = None
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] | None = None


@dataclass(frozen=True)
class Decision:
    """A look of the strategy at the candidates of a phase, which is made once.

    Attributes:
        phase: The phase of the plan, from 0.
        look: Items of each probe that the candidates had answered.
    """

    phase: int
    look: int


@dataclass(frozen=True)
class Rounding:
    """What rounding alone does to the baseline's answers to the items of the search.

    The baseline answers the items once more, in parts. Other batches add numbers in another order,
    so that scores differ in their last digits, and an answer may tip over.

    Attributes:
        change: How far an item's score moves: the mean absolute difference, then over probes.
        by_probe: The mean absolute difference in each probe.
        shift: How far the mean score moves at most: the difference of the means, without its sign,
            and two of its standard errors. A gain must exceed it.
        flips: The share of choices that became another one; None if no item is a choice.
        ends: The parts: items of each probe after which each ends.
        seconds: Time of the model for each part, in seconds.
    """

    change: float
    by_probe: dict[str, float]
    shift: float
    flips: float | None
    ends: tuple[int, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Progress:
    """How far a sweep has come, and what it found out on the way.

    Attributes:
        is_complete: Whether every candidate was measured or eliminated.
        stopped: Why the latest run ended early, else "".
        preflight: By probe, why it cannot measure this baseline; None before the preflight.
        decisions: The looks that were taken.
        calibration: What calibration chose, as `rys.probes.Calibration.to_json` returns it; None
            if nothing was calibrated.
        left_out: By probe, why the sweep goes on without it.
        rounding: What rounding alone does; None before it was measured.
    """

    is_complete: bool = False
    stopped: str = ""
    preflight: dict[str, tuple[str, ...]] | None = None
    decisions: tuple[Decision, ...] = ()
    calibration: dict[str, Any] | None = None
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rounding: Rounding | None = None


@dataclass(frozen=True)
class ConfirmationPlan:
    """What the confirmation evaluates.

    Attributes:
        top: The best paths of the search.
        controls: The random paths.
        n_items: Items of each probe.
        n_needed: Items of all probes that find `min_effect` with the wanted power.
        n_searched: Candidates that were done when the paths were chosen.
        min_effect: The smallest gain to find.
        is_complete: Whether all paths were evaluated.
    """

    top: tuple[str, ...]
    controls: tuple[str, ...]
    n_items: Annotated[int, range(1, 2**15)]
    n_needed: int
    n_searched: int
    min_effect: float
    is_complete: bool = False
