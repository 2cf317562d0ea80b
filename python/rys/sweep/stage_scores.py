"""The item scores of a stage as arrays, and what follows from them for each trial.

Letters: C trials beside the baseline, N items.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rys import statistics
from rys.errors import RequestError
from rys.statistics import Floats
from rys.sweep.store import Store
from rys.sweep.trial import Role, Stage, Status, Trial

__all__ = [
    "StageScores",
    "baseline_scores",
    "check_probe",
    "deviation_of",
    "effects_of",
    "intervals_by_probe",
    "load_scores",
    "mean_of",
    "plain_effects",
    "weights_among",
]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class StageScores:
    """The item scores of a stage.

    Attributes:
        trials: The C trials beside the baseline.
        differences: float64 [C, N], trial minus baseline; NaN where an item was not evaluated.
        baseline: float64 [N], the baseline's scores.
        probes: The N probes of the items.
        strata: int [N], the family of questions of each item.
        weights: float64 [N], what each item counts.
    """

    trials: list[Trial]
    differences: Floats
    baseline: Floats
    probes: list[str]
    strata: npt.NDArray[np.intp]
    weights: Floats


def load_scores(store: Store, stage: Stage, probe: str | None = None) -> StageScores | None:
    """Return the scores of a stage, None as long as it has no baseline.

    Args:
        store: The sweep's file.
        stage: The stage.
        probe: The probe whose items are wanted; None for all.

    Raises:
        RequestError: The sweep has no such probe.
    """
    trials = store.trials(stage)
    scores = store.scores(stage)
    # A baseline without scores was begun, but its transaction never ended.
    is_baseline = [trial.role == Role.BASELINE and trial.id in scores for trial in trials]
    if not any(is_baseline):
        return None
    base = trials[is_baseline.index(True)]
    items = store.items(stage)
    others = [trial for trial in trials if trial is not base]
    differences = np.full((len(others), len(items)), np.nan)
    for row, trial in enumerate(others):
        if trial.id in scores:
            differences[row] = scores[trial.id]
    differences -= scores[base.id]
    baseline = scores[base.id]
    if probe is not None:
        check_probe(probe, dict.fromkeys(item[0] for item in items))
        chosen = [item[0] == probe for item in items]
        differences, baseline = differences[:, chosen], baseline[chosen]
        items = [item for item in items if item[0] == probe]
    probes = [name for name, _, _, _ in items]
    # A family belongs to its probe: "sums" of one is not "sums" of another.
    families = [f"{name}\n{family}" for name, _, _, family in items]
    strata = np.unique(families, return_inverse=True)[1]
    # Each probe counts the same, however many items it has.
    weights = statistics.weights_of(probes)
    return StageScores(others, differences, baseline, probes, strata, weights)


def check_probe(probe: str | None, probes: Iterable[str]) -> None:
    """Raise RequestError unless the probe is among those of the sweep, or None."""
    if probe is not None and probe not in probes:
        raise RequestError(f"probe is {probe!r}, but this sweep has {', '.join(probes)}")


def _measured_alike(scores: StageScores) -> list[tuple[list[int], Mask]]:
    """Return groups of trials that answered the same items: rows, and the items as bool [N]."""
    groups: dict[bytes, list[int]] = {}
    is_there = ~np.isnan(scores.differences)
    # One resampling serves a whole group, which is what makes thousands of intervals affordable.
    for row, mask in enumerate(is_there):
        if mask.any() and scores.trials[row].status != Status.FAILED:
            groups.setdefault(mask.tobytes(), []).append(row)
    return [(rows, is_there[rows[0]]) for rows in groups.values()]


def effects_of(
    scores: StageScores, confidence: float = 0.95, resamples: int = 4000
) -> tuple[Floats, Floats, Floats]:
    """Return what each trial gains.

    Args:
        scores: The stage.
        confidence: Of the intervals.
        resamples: Of the bootstrap behind them.

    Returns:
        Effects [C], intervals [C, 2] and p-values [C]; NaN where a trial was not measured.
    """
    n = len(scores.trials)
    effect, interval, p_value = np.full(n, np.nan), np.full((n, 2), np.nan), np.full(n, np.nan)
    for rows, mask in _measured_alike(scores):
        weights = weights_among(scores, mask)
        part = scores.differences[rows][:, mask]
        effect[rows] = part @ weights
        interval[rows] = _intervals(scores, rows, mask, confidence, resamples)
        p_value[rows] = statistics.sign_flip_p_values(part, weights)
    return effect, interval, p_value


def _intervals(
    scores: StageScores, rows: list[int], mask: Mask, confidence: float, resamples: int
) -> Floats:
    """Return the intervals of some trials over some of the items, chosen by bool [N]."""
    strata = statistics.strata_of(scores.strata[mask], _probes_among(scores, mask))
    part = scores.differences[rows][:, mask]
    weights = weights_among(scores, mask)
    return statistics.bootstrap_intervals(part, weights, strata, confidence, resamples)


def _probes_among(scores: StageScores, mask: Mask) -> list[str]:
    return [scores.probes[position] for position in np.flatnonzero(mask)]


def weights_among(scores: StageScores, mask: Mask) -> Floats:
    """Return the weights of some of the items, chosen by bool [N]."""
    return statistics.weights_of(_probes_among(scores, mask))


def intervals_by_probe(scores: StageScores, row: int) -> dict[str, tuple[float, float]]:
    """Return the 95% intervals of a trial's difference in each probe."""
    names = np.array(scores.probes)
    found: dict[str, tuple[float, float]] = {}
    for probe in dict.fromkeys(scores.probes):
        mask = (names == probe) & ~np.isnan(scores.differences[row])
        if mask.any():
            low, high = _intervals(scores, [row], mask, confidence=0.95, resamples=4000)[0]
            found[probe] = (float(low), float(high))
    return found


def plain_effects(store: Store, stage: Stage) -> dict[str, float]:
    """Return the effects of a stage's trials by path, without intervals; NaN if not measured."""
    loaded = load_scores(store, stage)
    if loaded is None:
        return {}
    found = dict.fromkeys((trial.path for trial in loaded.trials), float("nan"))
    for rows, mask in _measured_alike(loaded):
        effects = loaded.differences[rows][:, mask] @ weights_among(loaded, mask)
        for row, effect in zip(rows, effects, strict=True):
            found[loaded.trials[row].path] = float(effect)
    return found


def deviation_of(scores: StageScores, row: int) -> float:
    """Return the standard deviation of an item's weighted difference, of one trial."""
    mask = ~np.isnan(scores.differences[row])
    part = scores.differences[[row]][:, mask]
    return float(statistics.deviations_of(part, weights_among(scores, mask))[0])


def mean_of(values: Floats | None) -> float:
    """Return the mean of what was measured, NaN if nothing was."""
    if values is None or np.isnan(values).all():
        return float("nan")
    return float(np.nanmean(values))


def baseline_scores(store: Store, what: str) -> dict[str, Floats]:
    """Return "score", "parsed" or "truncated" of the baseline's items in the search, by probe."""
    trials = store.trials(Stage.SEARCH)
    base = next(trial for trial in trials if trial.role == Role.BASELINE)
    values = store.scores(Stage.SEARCH, what)[base.id]
    names = np.array([probe for probe, _, _, _ in store.items(Stage.SEARCH)])
    return {probe: values[names == probe] for probe in dict.fromkeys(names.tolist())}
