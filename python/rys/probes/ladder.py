"""`calibrate`: choose for each probe the form that measures a model best.

The forms of a probe are a ladder of tiers, each with some numbers of examples or formats (see
`Probe.rungs`). The calibration climbs from the easiest tier as long as a token tells more on the
next one, and then tries the other forms of the best tier. It asks items of the split "calibrate",
which neither the search nor the confirmation ever asks, so choosing a form is not selection on
their items.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rys._util import checks
from rys.errors import ProbeError
from rys.probes.base import Probe
from rys.probes.calibration import Calibration, ProbeCalibration, Rung
from rys.probes.evaluation import Evaluation
from rys.probes.preflight import preflight_of_scores
from rys.probes.prompter import Prompter
from rys.probes.registry import is_open, load
from rys.probes.result import ProbeResult

if TYPE_CHECKING:
    from rys.engine.model import Model

__all__ = ["MAX_CANDIDATES", "calibrate", "power_per_token"]

# What the calibration of a probe may cost, in candidates of the search; and the part of it that may
# be spent on the climb, so that something is left for the other forms of the best tier.
MAX_CANDIDATES = 10
_PART_OF_CLIMB = 0.5

# Items of a try, as a part of those of the search, and at least.
_PART_OF_ITEMS = 0.375
_LEAST_ITEMS = 16

# Tiers that may be worse than the best before the climb ends: one may be so by chance.
_PATIENCE = 2

# A form with a higher score has little room for a gain. It is chosen only if no other one measures,
# and is no reason to end the climb.
_TOO_EASY = 0.8

# The deviation of an item's score is not taken to be less. Else a score that hardly moves, because
# the model knows nothing, would seem to be precise.
_LEAST_DEVIATION = 0.1


def calibrate(
    model: Model,
    probes: str | Probe | Sequence[str | Probe],
    *,
    items: int = 64,
    seed: int = 0,
    thinking: bool = False,
    thinking_budget: int = 1024,
    progress: bool = False,
) -> Calibration:
    """Choose for each probe the form that measures a model with the fewest evaluated tokens.

    A probe that is given by its bare name ("math") is calibrated. One with a tier ("math:hard"), an
    object or a file is taken as it is.

    The same arguments give the same choice, but for the rounding of another machine. The search for
    a form ends before a probe has cost the evaluated tokens of ten candidates, counted in the
    cheapest form so far that measures.

    Args:
        model: The model, along the path that others will be compared with.
        probes: Probes or their names.
        items: Items of each probe that a search will ask.
        seed: Which items are asked.
        thinking: Let a model that can think do so where it writes.
        thinking_budget: Tokens that thinking may take.
        progress: Show progress bars.

    Raises:
        ProbeError: A probe cannot be loaded, or is given twice.
        RequestError: A number is out of range.
    """
    items = checks.integer("items", items, 1)
    probes = [probes] if isinstance(probes, (str, Probe)) else list(probes)
    loaded = [load(probe) if isinstance(probe, str) else probe for probe in probes]
    ids = [probe.id for probe in loaded]
    if not ids or len(set(ids)) < len(ids):
        raise ProbeError(f"the probes are {ids}; give at least one, and each once")
    # Without a template everything is a plain text, and nobody thinks.
    has_template = Prompter(model).has_template
    found = []
    for given, probe in zip(probes, loaded, strict=True):
        is_named = isinstance(given, str) and is_open(given)
        rungs = probe.rungs(thinking and has_template) if is_named else (probe,)
        if len(rungs) < 2:
            found.append(ProbeCalibration(id=probe.id, chosen=probe))
            continue
        if not has_template:  # the same question in another style would be the same
            rungs = [rung for rung in rungs if getattr(rung, "style", "plain") == "plain"]
        climb = _Climb(model, items, seed, thinking, thinking_budget, progress)
        found.append(climb.run(probe.id, rungs))
    spent = sum(rung.n_evaluated_tokens for one in found for rung in one.rungs)
    return Calibration(found=tuple(found), items=items, seed=seed, n_evaluated_tokens=spent)


def power_per_token(score: float, deviation: float, floor: float, tokens: float) -> float:
    """Return how much an evaluated token tells about a small change of a model's ability.

    It is the Fisher information of the mean score about the ability, per token. The score is taken
    to follow the ability as a logistic curve between the floor and 1: with the score m on that
    scale, its slope is m (1 - m), and the information of an item is (m (1 - m))^2 / s^2.

    Args:
        score: Mean score.
        deviation: Standard deviation of the items' scores.
        floor: What answers score that know nothing.
        tokens: Evaluated tokens per item.
    """
    room = 1 - floor
    share = (score - floor) / room
    if not 0 < share < 1:
        return 0.0
    spread = max(deviation, _LEAST_DEVIATION) / room
    return (share * (1 - share) / spread) ** 2 / tokens


class _Climb:
    """The tries of one probe's forms."""

    def __init__(
        self,
        model: Model,
        items: int,
        seed: int,
        thinking: bool,
        thinking_budget: int,
        progress: bool,
    ) -> None:
        self._model = model
        self._items = items
        self._seed = seed
        self._thinking = thinking
        self._thinking_budget = thinking_budget
        self._progress = progress
        self._tried: dict[str, Rung] = {}

    def run(self, probe_id: str, rungs: Sequence[Probe]) -> ProbeCalibration:
        """Try forms, and return what was found."""
        best = self._climb(rungs)
        if best is not None:
            for probe in rungs:
                # the other forms of the best tier
                if _tier(probe) == _tier(best) and probe.name not in self._tried:
                    self._try(probe)
        chosen = self._checked(rungs)
        return ProbeCalibration(id=probe_id, chosen=chosen, rungs=tuple(self._tried.values()))

    def _climb(self, rungs: Sequence[Probe]) -> Probe | None:
        """Try the first form of each tier while that tells more; return the best."""
        best: Probe | None = None
        n_worse = 0
        for _, forms in itertools.groupby(rungs, _tier):
            probe = next(iter(forms))
            rung = self._try(probe, part=_PART_OF_CLIMB)
            if rung is None:
                break
            is_better = best is None or _rank(rung) > _rank(self._tried[best.name])
            if not rung.reasons and is_better:
                best, n_worse = probe, 0
                continue
            if rung.score > _TOO_EASY:
                continue
            n_worse += 1
            # Above a tier that measures, one at the floor ends the climb.
            is_at_floor = best is not None and bool(rung.reasons)
            if is_at_floor or n_worse == _PATIENCE:
                break
        return best

    def _checked(self, rungs: Sequence[Probe]) -> Probe | None:
        """Return the best form that also measures with all items of the calibration."""
        by_name = {probe.name: probe for probe in rungs}
        for rung in sorted(self._tried.values(), key=_rank, reverse=True):
            if rung.reasons:
                continue
            again = self._try(by_name[rung.name], all_items=True)
            if again is None or not again.reasons:
                return by_name[rung.name]
        return None

    def _try(self, probe: Probe, all_items: bool = False, part: float = 1.0) -> Rung | None:
        """Ask a form, and keep its figures.

        Args:
            probe: The form.
            all_items: Ask all items of the calibration.
            part: Of what the calibration may cost.

        Returns:
            The figures; None if it would cost too much.
        """
        evaluation = Evaluation(
            self._model,
            probe,
            n=self._items,
            split="calibrate",
            seed=self._seed,
            thinking=self._thinking,
            thinking_budget=self._thinking_budget,
        )
        n = len(evaluation.items(probe.id))
        if not all_items:
            n = min(n, max(_LEAST_ITEMS, math.ceil(self._items * _PART_OF_ITEMS)))
        if self._spent() + evaluation.n_prompt_tokens(n) > part * self._allowed():
            return None
        result = evaluation.run(self._model, 0, n, self._progress)[probe.id]
        tokens = self._tokens_per_item(evaluation, result)
        rung = self._rung(probe, evaluation, result, tokens)
        if all_items:  # it was asked before, with fewer items
            earlier = self._tried[probe.name].n_evaluated_tokens
            rung = replace(rung, n_evaluated_tokens=earlier + rung.n_evaluated_tokens)
        self._tried[probe.name] = rung
        return rung

    def _spent(self) -> int:
        return sum(rung.n_evaluated_tokens for rung in self._tried.values())

    def _allowed(self) -> float:
        """Return the tokens that may be spent: those of some candidates of the search."""
        measuring = [rung for rung in self._tried.values() if not rung.reasons]
        if not measuring:
            return math.inf  # there is nothing to compare with yet
        # Any of them may be chosen.
        cheapest = min(rung.tokens_per_item for rung in measuring)
        return MAX_CANDIDATES * self._items * cheapest

    def _rung(
        self, probe: Probe, evaluation: Evaluation, result: ProbeResult, tokens: float
    ) -> Rung:
        floors = evaluation.floors(probe.id)
        floor = max(floors.chance, floors.best_constant)
        reasons = preflight_of_scores(
            result.scores,
            result.parsed,
            result.truncated,
            floors,
            result.errors,
            n_wanted=self._items,
        )
        deviation = float(np.std(result.scores, ddof=1)) if result.n > 1 else 1.0
        return Rung(
            name=probe.name,
            n=result.n,
            score=result.mean,
            deviation=deviation,
            floor=floor,
            accuracy=result.accuracy,
            tokens_per_item=tokens,
            n_evaluated_tokens=result.n_evaluated_tokens,
            power=power_per_token(result.mean, deviation, floor, tokens),
            reasons=tuple(reasons),
        )

    def _tokens_per_item(self, evaluation: Evaluation, result: ProbeResult) -> float:
        """Return the tokens of an item in a search, which shares beginnings among more items."""
        n = len(evaluation.items(evaluation.probes[0].id))
        generated = result.n_generated_tokens / result.n
        prompts = evaluation.n_prompt_tokens()
        # What the second half adds is the items' own; the rest is what all share.
        half = n // 2
        own = (prompts - evaluation.n_prompt_tokens(half)) / (n - half)
        shared = max(0.0, prompts - n * own)
        # Short beginnings are not worth sharing, so a run evaluates more than the least.
        least = evaluation.n_prompt_tokens(result.n) + result.n_generated_tokens
        factor = max(1.0, result.n_evaluated_tokens / least)
        return (own + shared / self._items + generated) * factor


def _rank(rung: Rung) -> tuple[bool, float]:
    """Return what makes a form better than another: room for a gain, then power."""
    return rung.score <= _TOO_EASY, rung.power


def _tier(probe: Probe) -> str:
    return str(getattr(probe, "tier", ""))
