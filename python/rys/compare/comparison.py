"""From runs to rows: what is compared with what, what forbids it, and what is found."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rys.compare import inference
from rys.compare.load import load_run
from rys.compare.pairing import Pairing, pair_task
from rys.compare.row import Row
from rys.compare.run import ItemId, Key, Run, Samples, Score
from rys.compare.text import summarise
from rys.errors import CompareError
from rys.statistics import Floats, Ints, adjusted_p_values, strata_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Row", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What runs gained and lost against a base.

    Attributes:
        base_name: The run that all others are compared with.
        rows: One row for every other run, task, metric and filter.
        notes: What a user should know about the runs.
    """

    base_name: str
    rows: list[Row]
    notes: list[str]

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        tested = [row for row in self.rows if row.is_tested]
        if not tested:
            return "No row could be tested."
        found = [row for row in tested if row.q < 0.05]
        rows = "row" if len(tested) == 1 else "rows"
        verb = "differs" if 1 in (len(found), len(tested)) else "differ"
        which = ""
        if found:
            n_better = [row.is_better for row in found].count(True)
            which = f": {n_better} better, {len(found) - n_better} worse"
        n_untested = len(self.rows) - len(tested)
        untested = f" {n_untested} more could not be tested." if n_untested else ""
        return (
            f"{len(found)} of {len(tested)} {rows} {verb} (q < 0.05){which}; if nothing had "
            f"changed, about {0.05 * len(tested):.1f} would have p < 0.05 by chance.{untested}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a table, one column for each attribute of a row."""
        import pandas as pd

        return pd.DataFrame([row.to_json() for row in self.rows])


def compare(base: str | Path, *others: str | Path, unpaired: bool = False) -> Comparison:
    """Compare runs with a base on the same tasks, item by item where the items are known.

    Args:
        base: Results of lm-evaluation-harness (a file or a folder), the output of
            `rys probe --json`, or the file of a sweep. `FILE::LAYER_PATH` names one of several
            paths in the latter two.
        others: Likewise. Without them, a sweep's best path is compared with its baseline, or the
            last path of `rys probe` with its first.
        unpaired: Go on where items, prompts or settings differ. There the reported values are
            compared.

    Raises:
        CompareError: A file cannot be read, nothing is in common, or, without `unpaired`, items,
            prompts or settings differ.
    """
    first = load_run(base, is_base=True)
    rows: list[Row] = []
    notes = list(first.notes)
    problems: dict[str, list[str]] = {}  # what differs: the tasks
    # A file that holds several paths can be compared with itself.
    for name in others or (base,):
        other = load_run(name, is_base=False)
        common = _common_keys(first, other)
        tasks = list(dict.fromkeys(key.task for key in common))
        notes += [*other.notes, *_notes_on_missing(first, other, tasks)]
        for task in tasks:
            pairing = pair_task(first, other, task)
            for what in pairing.differing:
                problems.setdefault(f"{what}, in {other.name}", []).append(task)
            rows += [_row(first, other, key, pairing) for key in common if key.task == task]
    # Only now, so that one message names all problems of all runs.
    if problems and not unpaired:
        raise CompareError(_refusal(first, problems))
    if not any(row.paired for row in rows):
        notes.append(
            "no row is paired: items of both runs (lm_eval --log_samples) tell smaller differences "
            "from noise"
        )
    return Comparison(first.name, _with_adjusted_p_values(rows), list(dict.fromkeys(notes)))


def _common_keys(first: Run, other: Run) -> list[Key]:
    """Return the rows that both runs have, in the order of the first."""
    if other.name == first.name:
        raise CompareError(
            f"{first.name} would be compared with itself; give another result to compare with it"
        )
    common = [key for key in first.scores if key in other.scores]
    if not common:
        raise CompareError(
            f"{first.name} and {other.name} have nothing in common: "
            f"{summarise(_names(first.scores))} against {summarise(_names(other.scores))}"
        )
    return common


def _notes_on_missing(first: Run, other: Run, tasks: Sequence[str]) -> list[str]:
    """Say which rows, and then which items, only one of the runs has."""
    notes = []
    sides = ((first, other), (other, first))
    for one, two in sides:
        missing = _names(one.scores, known=two.scores)
        if missing:
            notes.append(f"only {one.name} has {summarise(missing)}")
    for one, two in sides:
        missing = [task for task in tasks if task in one.samples and task not in two.samples]
        if missing:
            notes.append(
                f"only {one.name} has samples of {summarise(missing)}, so these are not paired"
            )
    return notes


def _names(keys: Iterable[Key], known: Container[Key] = ()) -> list[str]:
    """Return the rows that are not known; the task alone where none of its rows is known."""
    keys = list(keys)
    partly_known = {key.task for key in keys if key in known}
    names: dict[str, None] = {}  # each once, in order
    for key in keys:
        if key in known:
            continue
        is_partly_known = key.task in partly_known
        name = f"{key.task} {key.metric},{key.filter}" if is_partly_known else key.task
        names[name] = None
    return list(names)


def _refusal(first: Run, problems: Mapping[str, Sequence[str]]) -> str:
    lines = [f"{first.name} and what is compared with it differ in more than the model:"]
    lines += [f"  {summarise(tasks)}: {what}" for what, tasks in problems.items()]
    lines.append(
        "--unpaired (unpaired=True) compares their reported values all the same, and marks the rows"
    )
    return "\n".join(lines)


def _row(first: Run, second: Run, key: Key, pairing: Pairing) -> Row:
    base, other = first.scores[key], second.scores[key]
    # One of the runs may be from a version that does not tell.
    lower = base.lower_is_better
    if lower is None:
        lower = other.lower_is_better
    notes = list(pairing.differing)
    finding = None
    if pairing.samples is not None:
        items = _Items.of(pairing.samples, key)
        if items.may_shrink and len(items.base):
            # What a path scored on all of its items is not what it scored on the common ones.
            base, other = items.shrink(base, 0), items.shrink(other, 1)
        aggregation = items.aggregation(base, other)
        if aggregation is None:
            notes.append("not paired: the items' scores do not make the reported values")
        else:
            base = replace(base, n=len(items.base))
            finding = inference.paired(
                items.base, items.other, aggregation, bool(lower), items.strata
            )
    is_paired = finding is not None
    finding = finding or inference.unpaired(base, other, key.metric)
    if finding.test == "none" and not notes:
        notes.append("not tested: a value or its standard error is not reported")
    return Row(
        task=key.task,
        metric=key.metric,
        filter=key.filter,
        n=base.n,
        base=base.value,
        other=other.value,
        difference=other.value - base.value,
        gained=finding.gained,
        lost=finding.lost,
        p=finding.p,
        interval=finding.interval,
        paired=is_paired,
        other_name=second.name,
        test=finding.test,
        lower_is_better=lower,
        group=base.is_group,
        notes=notes,
    )


@dataclass(frozen=True)
class _Items:
    """The items that two runs have in common, for one metric and filter.

    Attributes:
        base: float64 [N, 2]; see `Samples.scores`.
        other: float64 [N, 2].
        strata: int [N].
        may_shrink: Whether either run may have had more items.
    """

    base: Floats
    other: Floats
    strata: Ints
    may_shrink: bool

    @classmethod
    def of(cls, samples: tuple[Samples, Samples], key: Key) -> _Items:
        first, second = samples
        column = key.metric, key.filter
        scores, others = first.scores.get(column, {}), second.scores.get(column, {})
        items = [item for item in scores if item in others]
        # Files of earlier versions know no families: then those of the other file count.
        known = {**second.families, **first.families}
        families = [known.get(item, "") for item in items]
        return cls(
            base=_values(scores, items),
            other=_values(others, items),
            strata=strata_of(families, [key.task] * len(items)),
            may_shrink=first.may_shrink,
        )

    def shrink(self, score: Score, side: int) -> Score:
        """Return the score of the base (side 0) or the other (1) on these items."""
        scores = (self.base, self.other)[side]
        return replace(score, value=float(scores[:, 0].mean()), n=len(scores))

    def aggregation(self, base: Score, other: Score) -> inference.Aggregation | None:
        """Return what makes both reported values of the scores; None if nothing does."""
        found = inference.aggregation_of(self.base, base.value)
        is_same = found is inference.aggregation_of(self.other, other.value)
        # Items must count alike in both runs.
        has_same_sizes = np.array_equal(self.base[:, 1], self.other[:, 1])
        return found if is_same and has_same_sizes else None


def _values(scores: Mapping[ItemId, tuple[float, float]], items: Sequence[ItemId]) -> Floats:
    """Return the scores of some items, float64 [N, 2]."""
    return np.array([scores[item] for item in items], dtype=np.float64).reshape(-1, 2)


def _with_adjusted_p_values(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their q."""
    p_values = np.array([row.p for row in rows])
    # All runs together: whoever compares ten runs looks at ten times as many rows.
    is_tested = ~np.isnan(p_values)
    q_values = np.full(len(rows), math.nan)
    q_values[is_tested] = adjusted_p_values(p_values[is_tested])
    return [replace(row, q=float(q)) for row, q in zip(rows, q_values, strict=True)]
