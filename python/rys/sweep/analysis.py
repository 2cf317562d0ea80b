"""From a sweep's file to what it says: table, best path, verdict. No model is needed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rys import statistics
from rys.errors import RequestError, StoreError
from rys.layer_path import LayerPath
from rys.statistics import Floats
from rys.sweep.controls import is_apart
from rys.sweep.store import Store, Trial

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "Confirmation",
    "Search",
    "confirmation",
    "intervals_by_probe",
    "pareto_front",
    "search",
]


COLUMNS = [
    "path", "layers", "status", "reason", "n_items", "extra_slots", "effect", "low", "high", "p", "q", "deviation",
    "parse_rate", "truncation_rate", "seconds", "tokens",
]  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Hold the item scores of a stage. N items, C trials beside the baseline.

    differences: float64 [C, N], trial minus baseline; NaN where a trial was not measured.
    weights: float64 [N]; strata: int [N]; probes: N names. baseline: float64 [N].
    """

    trials: list[Trial]
    differences: Floats
    baseline: Floats
    probes: list[str]
    strata: np.ndarray[Any, np.dtype[np.intp]]
    weights: Floats


def load_stage(store: Store, stage: str, probe: str | None = None) -> Stage | None:
    """Return the scores of a stage, of one probe or of all, None as long as it has no baseline."""
    trials = store.trials(stage)
    scores = store.scores(stage)
    base = next(
        (trial for trial in trials if trial.role == "baseline" and trial.id in scores), None
    )
    if base is None:
        return None
    items = store.items(stage)
    others = [trial for trial in trials if trial is not base]
    rows = np.array([scores.get(trial.id, np.full(len(items), np.nan)) for trial in others])
    differences, baseline = rows.reshape(len(others), len(items)) - scores[base.id], scores[base.id]
    if probe is not None:
        check_probe(probe, dict.fromkeys(item[0] for item in items))
        chosen = [item[0] == probe for item in items]
        differences, baseline = differences[:, chosen], baseline[chosen]
        items = [item for item in items if item[0] == probe]
    probes = [name for name, _, _, _ in items]
    return Stage(
        others,
        differences,
        baseline,
        probes,
        np.unique([f"{probe}\n{family}" for probe, _, _, family in items], return_inverse=True)[1],
        statistics.weights_of(probes),
    )


def columns_of(probes: Iterable[str]) -> list[str]:
    """Return the columns of a sweep's results.

    Raises StoreError if a probe has the name of another column.
    """
    columns = [*COLUMNS, *(name for probe in probes for name in (probe, f"{probe}_difference"))]
    twice = [name for name, n in Counter(columns).items() if n > 1]
    if twice:
        raise StoreError(
            f"a probe is named so that two columns of the results are {twice[0]!r}; give it another name"
        )
    return columns


def check_probe(probe: str | None, probes: Iterable[str]) -> None:
    """Raise RequestError unless the probe is among those of the sweep, or None."""
    if probe is not None and probe not in probes:
        raise RequestError(f"probe is {probe!r}, but this sweep has {', '.join(probes)}")


def measured_alike(stage: Stage) -> list[tuple[list[int], np.ndarray[Any, np.dtype[np.bool_]]]]:
    """Return groups of trials that were measured on the same items: rows, and the items as bool
    [N].
    """
    groups: dict[bytes, list[int]] = {}
    is_there = ~np.isnan(stage.differences)
    for row, mask in enumerate(is_there):
        if mask.any() and stage.trials[row].status != "failed":
            groups.setdefault(mask.tobytes(), []).append(row)
    return [(rows, is_there[rows[0]]) for rows in groups.values()]


def effects_of(
    stage: Stage, confidence: float = 0.95, resamples: int = 4000
) -> tuple[Floats, Floats, Floats]:
    """Return effect [C], interval [C, 2] and p-value [C] of every trial; NaN where it was not
    measured.
    """
    n = len(stage.trials)
    effect, interval, p_value = np.full(n, np.nan), np.full((n, 2), np.nan), np.full(n, np.nan)
    for rows, mask in measured_alike(stage):
        weights = weights_among(stage, mask)
        part = stage.differences[rows][:, mask]
        effect[rows] = part @ weights
        interval[rows] = _intervals(stage, rows, mask, confidence, resamples)
        p_value[rows] = statistics.sign_flip_p_values(part, weights)
    return effect, interval, p_value


def _intervals(
    stage: Stage,
    rows: list[int],
    mask: np.ndarray[Any, np.dtype[np.bool_]],
    confidence: float,
    resamples: int,
) -> Floats:
    """Return the intervals of some trials over some of the items, chosen by bool [N]."""
    strata = strata_of(stage.strata[mask], [stage.probes[k] for k in np.flatnonzero(mask)])
    part = stage.differences[rows][:, mask]
    return statistics.bootstrap_intervals(
        part, weights_among(stage, mask), strata, confidence, resamples
    )


def strata_of(
    families: np.ndarray[Any, np.dtype[np.intp]], probes: Sequence[str]
) -> np.ndarray[Any, Any]:
    """Return the strata of items, int [N]: their families, but whole probes where a family has a
    single item.

    A single item never varies within its family, so its share of the noise would be taken for none.
    """
    names = np.array(probes)
    _, which, sizes = np.unique(families, return_inverse=True, return_counts=True)
    is_whole = np.isin(names, names[sizes[which] == 1])
    numbers = np.unique(names, return_inverse=True)[1]
    return np.where(is_whole, -1 - numbers, which)


def weights_among(stage: Stage, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """Return the weights of some of the items, chosen by bool [N]."""
    return statistics.weights_of(
        [probe for probe, is_chosen in zip(stage.probes, mask, strict=True) if is_chosen]
    )


def intervals_by_probe(stage: Stage, row: int) -> dict[str, list[float]]:
    """Return the 95% intervals of a trial's difference in each probe, as [low, high]."""
    names, found = np.array(stage.probes), {}
    for probe in dict.fromkeys(stage.probes):
        mask = (names == probe) & ~np.isnan(stage.differences[row])
        if mask.any():
            found[probe] = _intervals(stage, [row], mask, confidence=0.95, resamples=4000)[
                0
            ].tolist()
    return found


def plain_effects(store: Store, stage: str) -> dict[str, float]:
    """Return the effects of a stage's trials by path, without intervals; NaN where one was not
    measured.
    """
    loaded = load_stage(store, stage)
    if loaded is None:
        return {}
    found = dict.fromkeys((trial.path for trial in loaded.trials), float("nan"))
    for rows, mask in measured_alike(loaded):
        effects = loaded.differences[rows][:, mask] @ weights_among(loaded, mask)
        found |= {
            loaded.trials[row].path: float(effect)
            for row, effect in zip(rows, effects, strict=True)
        }
    return found


@dataclass(frozen=True)
class Search:
    """Hold what the search found. frame: one row per candidate, best first. baseline: mean score by
    probe.
    """

    frame: pd.DataFrame
    baseline: dict[str, float]


def search(store: Store, probe: str | None = None) -> Search:
    """Return the candidates of the search stage, those in the race to the end before those that
    left.

    probe: the one that effect, interval, p and q are about; None = all, each with the same weight.

    Columns: path, layers, status, reason, n_items, extra_slots, effect, low, high (95%), p, q
        (Benjamini-Hochberg over
    all that were measured), deviation (of an item's difference), one column per probe with its mean
    score and one with its difference ("math", "math_difference"), parse_rate, truncation_rate,
    seconds, tokens. All of it is computed once for each state of the file.
    """
    state, found = store.cache.get(("search", probe), (None, None))
    if state != store.state:
        state, found = store.state, _search(store, probe)
        store.cache["search", probe] = state, found
    assert found is not None
    return Search(found.frame.copy(), dict(found.baseline))


def _search(store: Store, probe: str | None) -> Search:
    import pandas as pd

    stage = load_stage(store, "search", probe)
    if stage is None:
        return Search(pd.DataFrame(columns=COLUMNS), {})
    n_layer = int(store.meta["n_layer"])
    effect, interval, p_value = effects_of(stage)
    q_value = np.full(len(effect), np.nan)
    is_measured = ~np.isnan(p_value)
    q_value[is_measured] = statistics.adjusted_p_values(p_value[is_measured])
    parsed, truncated = store.scores("search", "parsed"), store.scores("search", "truncated")
    names = np.array(stage.probes)
    baseline = {
        probe: float(stage.baseline[names == probe].mean()) for probe in dict.fromkeys(stage.probes)
    }

    rows = []
    for k, trial in enumerate(stage.trials):
        row: dict[str, Any] = {
            "path": trial.path, "layers": trial.layers, "status": trial.status, "reason": trial.reason,
            "n_items": trial.n_items, "extra_slots": len(trial.layers) - n_layer, "effect": effect[k],
            "low": interval[k, 0], "high": interval[k, 1], "p": p_value[k], "q": q_value[k],
            "parse_rate": _mean(parsed.get(trial.id)), "truncation_rate": _mean(truncated.get(trial.id)),
            "seconds": trial.seconds, "tokens": trial.tokens,
        }  # fmt: skip
        difference = stage.differences[k]
        row["deviation"] = _deviation(stage, k)
        for probe in baseline:
            mine = _mean(difference[names == probe])
            here = ~np.isnan(difference) & (names == probe)
            row[probe] = mine + float(stage.baseline[here].mean()) if here.any() else float("nan")
            row[f"{probe}_difference"] = mine
        rows.append(row)
    frame = pd.DataFrame(rows, columns=columns_of(baseline))
    # those with the most items first: half-way, a few items say little
    order = {"done": 0, "partial": 1, "left": 2, "failed": 3}
    frame = frame.sort_values(
        ["status", "n_items", "effect"], ascending=[True, False, False], kind="stable", ignore_index=True,
        key=lambda column: column.map(order) if column.name == "status" else column,
    )  # fmt: skip
    return Search(frame, baseline)


def _mean(values: Floats | None) -> float:
    if values is None or np.isnan(values).all():
        return float("nan")
    return float(np.nanmean(values))


def _deviation(stage: Stage, row: int) -> float:
    mask = ~np.isnan(stage.differences[row])
    return float(
        statistics.deviations_of(stage.differences[[row]][:, mask], weights_among(stage, mask))[0]
    )


def pareto_front(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that neither another nor the baseline beats in effect with as few extra
    slots, by extra slots.
    """
    done = frame[
        (frame["status"] == "done") & ((frame["extra_slots"] < 0) | (frame["effect"] > 0))
    ].sort_values(["extra_slots", "effect"], ascending=[True, False])
    best_before = done["effect"].cummax().shift(fill_value=-np.inf)
    front: pd.DataFrame = done[done["effect"] > best_before]
    return front.reset_index(drop=True)


@dataclass(frozen=True)
class Confirmation:
    """Hold the confirm stage. top and controls: one row per path with effect, low, high and for top
    the verdict.

    Controls say with `is_apart` whether they change other layers than the best. n_items: fresh
    items, of all probes
    together. bar: what a gain must exceed, as the controls have it; NaN with fewer than two
    controls. power: to confirm
    an effect of min_effect with this bar; 0 where it is NaN.
    """

    top: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    n_items: int
    bar: float
    power: float
    min_effect: float

    @property
    def confirmed(self) -> list[dict[str, Any]]:
        """The paths that were confirmed, best first."""
        return [row for row in self.top if row["confirmed"]]


def confirmation(store: Store) -> Confirmation | None:
    """Return the confirm stage, None if it was not run to its end."""
    meta = store.meta
    stage = load_stage(store, "confirm")
    if stage is None or "confirm" not in meta or not meta["confirm"].get("is_complete"):
        return None
    plan = meta["confirm"]
    k = sum(trial.role == "top" for trial in stage.trials)
    if k == 0:
        return None
    effect, interval, p_value = effects_of(stage, confidence=1 - 0.05 / k, resamples=10_000)
    names = np.array(stage.probes)
    rows: dict[str, list[dict[str, Any]]] = {"top": [], "control": []}
    is_control = np.array([t.role == "control" and t.status != "failed" for t in stage.trials])
    controls = effect[is_control & ~np.isnan(effect)]
    gains = plain_effects(store, "search")
    n_layer = int(meta["n_layer"])
    tops = [LayerPath(trial.layers, n_layer) for trial in stage.trials if trial.role == "top"]
    for i, trial in enumerate(stage.trials):
        row: dict[str, Any] = {
            "path": trial.path, "extra_slots": len(trial.layers) - n_layer, "status": trial.status,
            "reason": trial.reason, "effect": effect[i], "low": interval[i, 0], "high": interval[i, 1],
            "p": p_value[i], "search_effect": gains.get(trial.path, float("nan")),
            "by_probe": {
                probe: _mean(stage.differences[i][names == probe]) for probe in dict.fromkeys(stage.probes)
            },
            "interval_by_probe": intervals_by_probe(stage, i),
        }  # fmt: skip
        if trial.role == "top":
            if trial.status == "failed" or np.isnan(effect[i]):
                row |= {"confirmed": False, "why": trial.reason or "not measured"}
            else:
                verdict = statistics.is_confirmed(
                    float(effect[i]), (interval[i, 0], interval[i, 1]), controls
                )
                row |= {"confirmed": verdict.is_confirmed, "why": verdict.reason}
        else:
            row["is_apart"] = is_apart(LayerPath(trial.layers, n_layer), tops, n_layer)
            if not row["is_apart"]:
                row["why"] = "; ".join(
                    filter(
                        None,
                        [trial.reason, "changes mostly the layers that one of the best changes"],
                    )
                )
        rows[trial.role].append(row)
    deviations = [_deviation(stage, i) for i in range(len(stage.trials)) if not np.isnan(effect[i])]
    n_items = len(stage.baseline)
    deviation = max(deviations, default=1 / math.sqrt(n_items))
    bar = statistics.bar_of(controls)
    return Confirmation(
        top=sorted(rows["top"], key=lambda row: -np.nan_to_num(row["effect"], nan=-np.inf)),
        controls=rows["control"],
        n_items=n_items,
        bar=bar,
        power=0.0
        if math.isnan(bar)
        else statistics.power(deviation, plan["min_effect"], k, n_items, bar=bar),
        min_effect=plan["min_effect"],
    )
