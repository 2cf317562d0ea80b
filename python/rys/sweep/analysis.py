"""From a sweep's file to what it says: the table of candidates, and the confirmation.

No model is needed. Nothing here keeps results; SweepFile does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rys import statistics
from rys.errors import StoreError
from rys.layer_path import LayerPath
from rys.statistics import Floats
from rys.sweep.candidates import Block
from rys.sweep.controls import is_apart
from rys.sweep.stage_scores import (
    StageScores,
    deviation_of,
    effects_of,
    intervals_by_probe,
    load_scores,
    mean_of,
    plain_effects,
)
from rys.sweep.store import Store
from rys.sweep.trial import Role, Stage, Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "Confirmation",
    "ConfirmedTrial",
    "ControlTrial",
    "Search",
    "TopTrial",
    "columns_of",
    "confirmation",
    "pareto_front",
    "search",
]

# The columns of a sweep's results before those of its probes.
COLUMNS = [
    "path",
    "layers",
    "block",
    "status",
    "reason",
    "n_items",
    "extra_slots",
    "effect",
    "low",
    "high",
    "p",
    "q",
    "deviation",
    "parse_rate",
    "truncation_rate",
    "seconds",
    "tokens",
]

# Those with the most items come first: half-way, a few items say little.
_STATUS_ORDER = {"done": 0, "partial": 1, "eliminated": 2, "failed": 3}

_NEAR = "changes mostly the layers that one of the best changes"


@dataclass(frozen=True)
class Search:
    """What the search found.

    Attributes:
        frame: One row per candidate, best first; see `search`.
        baseline: The baseline's mean score by probe.
    """

    frame: pd.DataFrame
    baseline: dict[str, float]


def columns_of(probes: Iterable[str]) -> list[str]:
    """Return the columns of a sweep's results.

    Raises:
        StoreError: A probe has the name of another column.
    """
    columns = list(COLUMNS)
    for probe in probes:
        columns += [probe, f"{probe}_difference"]
    for name, n in Counter(columns).items():
        if n > 1:
            raise StoreError(
                f"a probe is named so that two columns of the results are {name!r}; give it "
                f"another name"
            )
    return columns


def search(store: Store, probe: str | None = None) -> Search:
    """Return the candidates of the search, those that were eliminated after all others.

    The columns are `path`, `layers` (a tuple), `block` (the block (i, j) that runs twice, or
    None), `status`, `reason`, `n_items`, `extra_slots`, `effect`, `low` and `high` (its 95%
    interval), `p`, `q` (adjusted by Benjamini and Hochberg over all that were measured),
    `deviation` (of an item's difference), `parse_rate`, `truncation_rate`, `seconds`, `tokens`;
    and for each probe its mean score and its difference, such as `math` and `math_difference`.

    Args:
        store: The sweep's file.
        probe: The probe that effect, interval, p and q are about; None for all, each with the same
            weight.

    Raises:
        RequestError: The sweep has no such probe.
    """
    import pandas as pd  # here, since `import rys` must not load it

    scores = load_scores(store, Stage.SEARCH, probe)
    if scores is None:
        return Search(pd.DataFrame(columns=COLUMNS), {})
    effect, interval, p_value = effects_of(scores)
    # Only what was measured counts as a test: a failed path must not make others less certain.
    q_value = np.full(len(effect), np.nan)
    is_measured = ~np.isnan(p_value)
    q_value[is_measured] = statistics.adjusted_p_values(p_value[is_measured])
    parsed = store.scores(Stage.SEARCH, "parsed")
    truncated = store.scores(Stage.SEARCH, "truncated")
    names = np.array(scores.probes)
    baseline: dict[str, float] = {}
    for name in dict.fromkeys(scores.probes):
        baseline[name] = float(scores.baseline[names == name].mean())

    n_layer = store.settings.n_layer
    rows = []
    for k, trial in enumerate(scores.trials):
        row: dict[str, Any] = {
            "path": trial.path,
            "layers": trial.layer_path.layers,
            "block": trial.block,
            "status": trial.status.value,
            "reason": trial.reason,
            "n_items": trial.n_items,
            "extra_slots": trial.layer_path.n_slot - n_layer,
            "effect": effect[k],
            "low": interval[k, 0],
            "high": interval[k, 1],
            "p": p_value[k],
            "q": q_value[k],
            "deviation": deviation_of(scores, k),
            "parse_rate": mean_of(parsed.get(trial.id)),
            "truncation_rate": mean_of(truncated.get(trial.id)),
            "seconds": trial.seconds,
            "tokens": trial.tokens,
        }
        rows.append(row | _columns_by_probe(scores, k))
    frame = pd.DataFrame(rows, columns=columns_of(baseline))
    return Search(_ranked(frame), baseline)


def _columns_by_probe(scores: StageScores, k: int) -> dict[str, float]:
    """Return a trial's mean score and difference of every probe."""
    # The score is the baseline's over the same items and the difference to it, so that a path
    # that was eliminated early can be compared with one that answered everything.
    names, difference = np.array(scores.probes), scores.differences[k]
    found: dict[str, float] = {}
    for probe in dict.fromkeys(scores.probes):
        gain = mean_of(difference[names == probe])
        # The baseline's mean over the items that this trial answered.
        here = ~np.isnan(difference) & (names == probe)
        base = float(scores.baseline[here].mean()) if here.any() else float("nan")
        found[probe] = gain + base
        found[f"{probe}_difference"] = gain
    return found


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(
        ["status", "n_items", "effect"],
        ascending=[True, False, False],
        kind="stable",
        ignore_index=True,
        key=_sort_key,
    )


def _sort_key(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.map(_STATUS_ORDER) if column.name == "status" else column


def pareto_front(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that no other row beats in effect with as few extra slots.

    The baseline counts as a row with neither effect nor extra slots.

    Args:
        frame: The results of a sweep.

    Returns:
        Those rows, fewest extra slots first.
    """
    is_better = (frame["extra_slots"] < 0) | (frame["effect"] > 0)
    done = frame[(frame["status"] == Status.DONE.value) & is_better]
    # Of paths with as many slots only the best can be on the front, so it comes first.
    done = done.sort_values(["extra_slots", "effect"], ascending=[True, False])
    best_before = done["effect"].cummax().shift(fill_value=-np.inf)
    front: pd.DataFrame = done[done["effect"] > best_before]
    return front.reset_index(drop=True)


@dataclass(frozen=True, kw_only=True)
class ConfirmedTrial:
    """A path of the confirmation. Effects are differences of mean scores to the baseline.

    Attributes:
        path: The layer path.
        block: The block (i, j) that it runs twice, or None.
        extra_slots: Slots more than the model has layers.
        status: "done", "partial" or "failed".
        reason: Why it failed, else "".
        effect: The gain on fresh items; NaN if it was not measured.
        low: Lower end of its interval, corrected for the number of paths that are confirmed.
        high: Upper end.
        p: p-value of the effect.
        search_effect: The gain in the search; NaN for a control that the search did not have.
        by_probe: The gain in each probe.
        interval_by_probe: The 95% interval of each of these.
    """

    path: str
    block: Block | None
    extra_slots: int
    status: str
    reason: str
    effect: float
    low: float
    high: float
    p: float
    search_effect: float
    by_probe: dict[str, float]
    interval_by_probe: dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class TopTrial(ConfirmedTrial):
    """One of the best of the search, on fresh items.

    Attributes:
        confirmed: Whether the gain is confirmed.
        why: Why, or why not.
    """

    confirmed: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class ControlTrial(ConfirmedTrial):
    """A random path, on fresh items.

    Attributes:
        is_apart: Whether it changes other layers than the best.
        why: Why not, else "".
    """

    is_apart: bool
    why: str


@dataclass(frozen=True)
class Confirmation:
    """What the confirmation found.

    Attributes:
        top: The best paths of the search, largest gain first.
        controls: The random paths.
        n_items: Fresh items of all probes.
        bar: What a gain must exceed: the controls' mean and two standard deviations; NaN with
            fewer than two controls.
        power: The probability to confirm a gain of `min_effect` with this bar; 0 if it is NaN.
        min_effect: The smallest gain that was to be found.
        rounding: How far rounding alone moves the mean score; 0 if unknown.
    """

    top: tuple[TopTrial, ...]
    controls: tuple[ControlTrial, ...]
    n_items: int
    bar: float
    power: float
    min_effect: float
    rounding: float = 0.0

    @property
    def confirmed(self) -> list[TopTrial]:
        """The paths that are confirmed, largest gain first."""
        return [trial for trial in self.top if trial.confirmed]


def confirmation(store: Store) -> Confirmation | None:
    """Return what the confirmation found, None if it was not run to its end."""
    plan = store.confirmation_plan
    scores = load_scores(store, Stage.CONFIRM)
    if scores is None or plan is None or not plan.is_complete:
        return None
    n_top = sum(trial.role == Role.TOP for trial in scores.trials)
    if n_top == 0:
        return None
    # Bonferroni: one of several paths must not be confirmed by luck more often than one alone.
    effect, interval, p_value = effects_of(scores, confidence=1 - 0.05 / n_top, resamples=10_000)
    # A control that failed on some items would set the bar by the others.
    is_control = []
    for trial in scores.trials:
        is_control.append(trial.role == Role.CONTROL and trial.status != Status.FAILED)
    controls = effect[np.array(is_control) & ~np.isnan(effect)]
    tops = [trial.layer_path for trial in scores.trials if trial.role == Role.TOP]
    rows = _confirmed_rows(scores, effect, interval, p_value, plain_effects(store, Stage.SEARCH))
    noise = store.progress.rounding
    rounding = 0.0 if noise is None else noise.shift
    judged: list[TopTrial] = []
    random: list[ControlTrial] = []
    for trial, row in zip(scores.trials, rows, strict=True):
        if trial.role == Role.TOP:
            judged.append(_judged(row, controls, rounding))
        else:
            random.append(_compared(row, trial.layer_path, tops))

    # The widest path decides about the power, which is promised for each of them.
    measured = [i for i in range(len(scores.trials)) if not np.isnan(effect[i])]
    n_items = len(scores.baseline)
    # Where no path was measured: one changed item in n, as in statistics.deviations_of.
    deviation = max([deviation_of(scores, i) for i in measured], default=1 / math.sqrt(n_items))
    bar, power = statistics.control_threshold(controls), 0.0
    if not math.isnan(bar):
        harder = max(bar, rounding)
        power = statistics.power(deviation, plan.min_effect, n_top, n_items, bar=harder)
    return Confirmation(
        # NaN compares with nothing, so paths that failed are put last by hand.
        top=tuple(sorted(judged, key=lambda row: -np.nan_to_num(row.effect, nan=-np.inf))),
        controls=tuple(random),
        n_items=n_items,
        bar=bar,
        power=power,
        min_effect=plan.min_effect,
        rounding=rounding,
    )


def _confirmed_rows(
    scores: StageScores,
    effect: Floats,
    interval: Floats,
    p_value: Floats,
    search_effects: dict[str, float],
) -> list[dict[str, Any]]:
    """Return the fields of ConfirmedTrial for every trial."""
    names = np.array(scores.probes)
    rows = []
    for i, trial in enumerate(scores.trials):
        by_probe: dict[str, float] = {}
        for probe in dict.fromkeys(scores.probes):
            by_probe[probe] = mean_of(scores.differences[i][names == probe])
        row: dict[str, Any] = {
            "path": trial.path,
            "block": trial.block,
            "extra_slots": trial.layer_path.extra,
            "status": trial.status.value,
            "reason": trial.reason,
            "effect": float(effect[i]),
            "low": float(interval[i, 0]),
            "high": float(interval[i, 1]),
            "p": float(p_value[i]),
            "search_effect": search_effects.get(trial.path, float("nan")),
            "by_probe": by_probe,
            "interval_by_probe": intervals_by_probe(scores, i),
        }
        rows.append(row)
    return rows


def _judged(row: dict[str, Any], controls: Floats, rounding: float) -> TopTrial:
    """Return one of the best with the verdict on it; see `statistics.is_confirmed`."""
    if row["status"] == Status.FAILED.value or math.isnan(row["effect"]):
        return TopTrial(**row, confirmed=False, why=row["reason"] or "not measured")
    interval = (row["low"], row["high"])
    verdict = statistics.is_confirmed(row["effect"], interval, controls, rounding)
    return TopTrial(**row, confirmed=verdict.is_confirmed, why=verdict.reason)


def _compared(row: dict[str, Any], path: LayerPath, tops: list[LayerPath]) -> ControlTrial:
    """Return a control, and whether it lies apart from the best."""
    if is_apart(path, tops, path.n_slot - path.extra):
        return ControlTrial(**row, is_apart=True, why="")
    reasons = [reason for reason in (row["reason"], _NEAR) if reason]
    return ControlTrial(**row, is_apart=False, why="; ".join(reasons))
