"""From runs to rows: what is compared with what, what forbids it, and what is found."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rys.compare import harness, inference, own
from rys.compare.run import Key, Run, Samples, printable, read_json, some
from rys.errors import CompareError
from rys.statistics import adjusted_p_values

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "compare"]

_IDENTITY = ("questions", "prompts", "right answers")


@dataclass(frozen=True)
class Comparison:
    """Hold one row for every other run, task, metric and filter.

    rows: dicts with
        task, metric, filter;
        n: items, None if unknown; base, other: the values; difference: other - base, whatever is
        better;
        gained, lost: items that the other run does better and worse, None without pairs;
        p: two-sided; q: p adjusted for all rows by Benjamini and Hochberg; NaN where there is none;
        interval: of the difference, 95%, or None; paired: whether the same items were compared one
        by one;
        other_name: the other run; test: what p is from, "McNemar", "sign flips", "Welch" or "none";
        lower_is_better: None if unknown; group: an aggregate over tasks that the harness made;
        notes: what differs between the runs, or why the row is not paired.
    base_name: the run that all are compared with. notes: what a user should know of the runs.
    """

    base_name: str
    rows: list[dict[str, Any]]
    notes: list[str]

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        tested = [row for row in self.rows if row["p"] == row["p"]]
        if not tested:
            return "No row could be tested."
        found = [row for row in tested if row["q"] < 0.05]
        n_better = sum((row["difference"] > 0) != bool(row["lower_is_better"]) for row in found)
        which = f": {n_better} better, {len(found) - n_better} worse" if found else ""
        rest = len(self.rows) - len(tested)
        untested = f" {rest} more could not be tested." if rest else ""
        return (
            f"{len(found)} of {len(tested)} rows {'differs' if len(found) == 1 else 'differ'} after correction for "
            f"their number (q < 0.05){which}; without correction about {0.05 * len(tested):.1f} would by chance alone, "
            f"if nothing had changed.{untested}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a table."""
        import pandas as pd

        return pd.DataFrame(self.rows)


def compare(base: str | Path, *others: str | Path, unpaired: bool = False) -> Comparison:
    """Compare runs with a base, on the same tasks and, where their items are known, item by item.

    base, others: results of lm-evaluation-harness (a file or a folder), what `rys probe --json`
        printed, or the file of a sweep; `FILE::LAYER_PATH` names one of several paths in the latter
        two. Without others, a sweep's best path is compared with its baseline, and the last path of
        `rys probe` with its first.
    unpaired: go on where items, prompts or settings differ: there the reported values are compared.

    Raises CompareError if a file cannot be read, if nothing is in common, or, without `unpaired`,
    if items, prompts or settings differ.
    """
    first = _load(base, is_base=True)
    rows: list[dict[str, Any]] = []
    notes = list(first.notes)
    problems: dict[str, list[str]] = {}
    for name in others or (base,):
        other = _load(name, is_base=False)
        if other.name == first.name:
            raise CompareError(
                f"{first.name} would be compared with itself; give another result to compare with it"
            )
        common = [key for key in first.scores if key in other.scores]
        if not common:
            raise CompareError(
                f"{first.name} and {other.name} have nothing in common: {some(_names(first.scores))} against "
                f"{some(_names(other.scores))}"
            )
        notes += other.notes
        for one, two in ((first, other), (other, first)):
            missing = _names(one.scores, known=two.scores)
            if missing:
                notes.append(f"only {one.name} has {some(missing)}")
        common_tasks = list(dict.fromkeys(key.task for key in common))
        for one, two in ((first, other), (other, first)):
            missing = [
                task for task in common_tasks if task in one.samples and task not in two.samples
            ]
            if missing:
                notes.append(
                    f"only {one.name} has samples of {some(missing)}, so these are not paired"
                )
        for task in common_tasks:
            samples, differing = _samples(first, other, task)
            for what in differing:
                problems.setdefault(f"{what}, in {other.name}", []).append(task)
            rows += [
                _row(first, other, key, samples, differing) for key in common if key.task == task
            ]
    if problems and not unpaired:
        raise CompareError(
            f"{first.name} and what is compared with it differ in more than the model:"
            + "".join(f"\n  {some(tasks)}: {what}" for what, tasks in problems.items())
            + "\n--unpaired (unpaired=True) compares their reported values all the same, and marks the rows"
        )
    if not any(row["paired"] for row in rows):
        notes.append(
            "no row is paired: items of both runs (lm_eval --log_samples) tell smaller differences from noise"
        )
    tested = [row for row in rows if not math.isnan(row["p"])]
    for row, q in zip(
        tested, adjusted_p_values(np.array([row["p"] for row in tested])), strict=True
    ):
        row["q"] = float(q)
    return Comparison(first.name, rows, list(dict.fromkeys(notes)))


def _load(what: str | Path, is_base: bool) -> Run:
    """Return a run, whatever wrote it."""
    name, layer_path = str(what), None
    path = Path(name)
    if not path.exists() and "::" in name:
        file, _, layer_path = name.rpartition("::")
        path = Path(file)
    if path.is_dir() and layer_path is None:
        return harness.load_directory(path, name)
    if own.is_sweep(path):
        return own.load_sweep(path, str(path), layer_path, is_base)
    content = read_json(path)
    if own.is_probe_result(content):
        return own.load_probe(path, content, str(path), layer_path, is_base)
    if harness.is_harness_result(content) and layer_path is None:
        return harness.load_file(path, content, name)
    if layer_path is not None:
        raise CompareError(
            f"{name}: only a sweep and `rys probe --json` hold several layer paths, and {path} is neither"
        )
    raise CompareError(
        f"{path} is no results file of lm-evaluation-harness, no output of `rys probe --json` and no file of a sweep"
    )


def _samples(base: Run, other: Run, task: str) -> tuple[tuple[Samples, Samples] | None, list[str]]:
    """Return the items of a task if both runs have them and they are the same, and all that
    differs.
    """
    runs = (base, other)
    is_known = all(task in run.samples for run in runs)
    mine, its = (run.settings.get(task, {}) for run in runs)
    differing = [
        f"{name} {mine[name]} against {its[name]}"
        if len(mine[name] + its[name]) < 120
        else f"{name} differs"
        for name in mine
        # the hash of a task covers the order of its items, which pairing does not need
        if name in its and mine[name] != its[name] and not (is_known and name == "task hash")
    ]
    if not is_known:
        return None, differing
    try:
        first, second = (run.samples[task]() for run in runs)
    except CompareError as error:
        return None, [*differing, str(error)]
    may_shrink = first.may_shrink and second.may_shrink
    alone = first.identities.keys() ^ second.identities.keys()
    if alone and not may_shrink:
        differing.append(f"{len(alone)} items are in one run only: {some(map(printable, alone))}")
    for place, what in enumerate(_IDENTITY):
        pairs = {
            item: (identity[place], second.identities[item][place])
            for item, identity in first.identities.items()
            if item in second.identities
        }
        changed = [
            printable(item)
            for item, (one, two) in pairs.items()
            if one != two and None not in (one, two)
        ]
        if changed:
            differing.append(f"{what} of {len(changed)} items differ: {some(changed)}")
    for metric, read_by in first.scores.keys() & second.scores.keys() if not may_shrink else ():
        if first.scores[metric, read_by].keys() != second.scores[metric, read_by].keys():
            differing.append(f"{metric} counts other items")
    return (None if differing else (first, second)), differing


def _row(
    first: Run, second: Run, key: Key, samples: tuple[Samples, Samples] | None, differing: list[str]
) -> dict[str, Any]:
    base, other = first.scores[key], second.scores[key]
    lower = base.lower_is_better if base.lower_is_better is not None else other.lower_is_better
    notes = list(differing)
    finding = None
    if samples is not None:
        scores, others = (part.scores.get((key.metric, key.filter), {}) for part in samples)
        items = [item for item in scores if item in others]
        x, y = (
            np.array([part[item] for item in items]).reshape(-1, 2) for part in (scores, others)
        )
        if samples[0].may_shrink and items:
            base, other = (
                replace(base, value=float(part[:, 0].mean()), n=len(items)) for part in (x, y)
            )
        aggregation = inference.aggregation_of(x, base.value)
        is_same = aggregation is not None and aggregation is inference.aggregation_of(
            y, other.value
        )
        if aggregation is not None and is_same and np.array_equal(x[:, 1], y[:, 1]):
            base = replace(base, n=len(items))
            finding = inference.paired(x, y, aggregation, bool(lower))
        else:
            notes.append("not paired: the items' scores do not make the reported values")
    is_paired = finding is not None
    finding = finding or inference.unpaired(base, other, key.metric)
    if finding.test == "none" and not notes:
        notes.append("not tested: a value or its standard error is not reported")
    return {
        "task": key.task,
        "metric": key.metric,
        "filter": key.filter,
        "n": base.n,
        "base": base.value,
        "other": other.value,
        "difference": other.value - base.value,
        "gained": finding.gained,
        "lost": finding.lost,
        "p": finding.p,
        "q": math.nan,
        "interval": (finding.low, finding.high)
        if math.isfinite(finding.high - finding.low)
        else None,
        "paired": is_paired,
        "other_name": second.name,
        "test": finding.test,
        "lower_is_better": lower,
        "group": base.is_group,
        "notes": notes,
    }


def _names(keys: Iterable[Key], known: Container[Key] = ()) -> list[str]:
    """Return the rows that are not known, by the name of the task where none of its rows is."""
    keys = list(keys)
    shared = {key.task for key in keys if key in known}
    return list(
        dict.fromkeys(
            f"{key.task} {key.metric},{key.filter}" if key.task in shared else key.task
            for key in keys
            if key not in known
        )
    )
