"""Sweeps that llm-circuit-finder and its forks measured: JSON lines with one score per block and
probe.

A line is the baseline (`is_baseline`, or a start of -1), a block that runs twice (`dup_start`,
`dup_end`, half-open) or layers left out (`prune_start`, `prune_end`); forks write `mode` ("dup" or
"prune"), `start` and `end`. Scores are the numbers whose names end in `_score`. There are no scores
of single items, so nothing here can be confirmed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rys.engine import options
from rys.errors import StoreError
from rys.layer_path import MAX_SLOTS
from rys.sweep import analysis

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ImportedSweep", "expected_best_of_noise"]

_MAX_LINES = 1_000_000
_MODES = {"dup": ("dup_start", "dup_end"), "prune": ("prune_start", "prune_end")}


class ImportedSweep:
    """Read the results of another program's sweep, as `rys.Sweep.open` reads those of rys.

    path: a file of JSON lines. n_layer: layers of the model; None = what the file says, else the
        end of the last block.

    Scores that are no finite numbers count as not measured. A probe whose scores exceed 1.5 is
    taken for percent. A path that occurs twice counts as it was measured last, and half a line at
    the end, as a killed program leaves it, is passed over; `report()["notes"]` tells of all these.
    Raises StoreError, with the line, if the file is no such sweep.
    """

    def __init__(self, path: str | os.PathLike[str], n_layer: int | None = None) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        baseline: dict[str, float] = {}
        self._trials: dict[tuple[str, int, int], dict[str, float]] = {}
        n_repeated, n_layer_said = 0, 0
        unusable: list[str] = []
        for number, row in self._rows():
            where = f"{self.path}, line {number}"
            scores = _scores(row)
            if not scores and not any(name.endswith("_score") for name in row):
                raise StoreError(
                    f"{where}: no number whose name ends in _score; this is no sweep of llm-circuit-finder"
                )
            unusable += [
                f"line {number}: {name}"
                for name in row
                if name.endswith("_score")
                and row[name] is not None
                and name.removesuffix("_score") not in scores
            ]
            said = row.get("n_layers")
            n_layer_said = said if isinstance(said, int) and 0 < said <= MAX_SLOTS else n_layer_said
            change = _change(row, where)
            if change is None:
                n_repeated += bool(baseline)
                baseline = scores
            else:
                n_repeated += change in self._trials
                self._trials[change] = scores
        if not baseline:  # none, or none of its scores is a number
            raise StoreError(
                f"{self.path} has no baseline (a line with is_baseline or dup_start -1) to compare with"
            )
        try:
            analysis.columns_of(baseline)
        except StoreError as error:
            raise StoreError(f"{self.path}: {error}") from None
        if unusable:
            self.notes.append(
                f"{len(unusable)} scores are no finite numbers and count as not measured, the first in {unusable[0]}"
            )
        if n_repeated:
            self.notes.append(
                f"{n_repeated} paths were measured more than once; the last measurement counts"
            )

        end = max((end for _, _, end in self._trials), default=1)
        if n_layer is None and n_layer_said < end:
            self.notes.append(
                f"the file does not say how many layers the model has; {end} is the end of the last block"
            )
        n_layer = options.integer("n_layer", n_layer or max(n_layer_said, end), end, MAX_SLOTS)
        self._baseline = self._in_units(baseline)
        self.meta: dict[str, Any] = {
            "n_layer": n_layer,
            "model": None,
            "seed": None,
            "imported": True,
        }

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        broken: tuple[int, Exception] | None = None
        try:
            with self.path.open(encoding="utf-8-sig") as file:
                for number, line in enumerate(file, 1):
                    if broken is not None or number > _MAX_LINES:
                        break
                    if not line.strip():
                        continue
                    try:
                        row = json.loads(line)
                        if not isinstance(row, dict):
                            raise ValueError("not an object")
                    except (ValueError, RecursionError) as error:
                        broken = number, error
                        continue
                    yield number, row
                else:
                    if broken is not None and broken[0] > 1:
                        self.notes.append(
                            f"line {broken[0]}, the last one, is not whole and was passed over"
                        )
                        broken = None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from None
        if broken is not None:
            raise StoreError(
                f"{self.path}, line {broken[0]}: not JSON as a sweep has it: {broken[1]}"
            )

    def _in_units(self, baseline: Mapping[str, float]) -> dict[str, float]:
        """Bring scores in percent to those of rys, 0 to 1. Return the baseline."""
        changed = dict(baseline)
        for probe in baseline:
            rows = [changed, *self._trials.values()]
            if max(abs(row[probe]) for row in rows if probe in row) > 1.5:
                self.notes.append(f"{probe} was measured in percent and is shown divided by 100")
                for row in rows:
                    if probe in row:
                        row[probe] /= 100
        return changed

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return one row per path, best first, with the columns of rys.Sweep.results.

        probe: whose difference is the effect; None = the mean over probes.

        What the file does not hold (intervals, p, q, rates, seconds, tokens) is NaN; n_items is 0.
        Paths without a score of every probe have the status "partial".
        """
        import pandas as pd

        analysis.check_probe(probe, self._baseline)
        n_layer = self.meta["n_layer"]
        rows = []
        for (mode, start, end), scores in self._trials.items():
            differences = {
                name: scores.get(name, np.nan) - base for name, base in self._baseline.items()
            }
            effect = float(
                np.mean(list(differences.values())) if probe is None else differences[probe]
            )
            kept = (
                [*range(end), *range(start, n_layer)]
                if mode == "dup"
                else [*range(start), *range(end, n_layer)]
            )
            row = dict.fromkeys(analysis.COLUMNS, float("nan")) | {
                "path": _written(mode, start, end, n_layer), "layers": tuple(kept), "n_items": 0, "reason": "",
                "status": "partial" if math.isnan(effect) else "done", "extra_slots": len(kept) - n_layer,
                "effect": effect,
            }  # fmt: skip
            for name, difference in differences.items():
                row |= {name: scores.get(name, np.nan), f"{name}_difference": difference}
            rows.append(row)
        frame = pd.DataFrame(rows, columns=analysis.columns_of(self._baseline))
        return frame.sort_values("effect", ascending=False, kind="stable").reset_index(drop=True)

    def report(self) -> dict[str, Any]:
        """Return what can be said of it, with the keys of rys.sweep.report; nothing is confirmed."""
        frame = self.results()
        done = frame[frame["status"] == "done"]
        best = None
        if len(done):
            row = done.iloc[0]
            best = {
                "layer_path": row["path"], "effect": float(row["effect"]), "interval": None,
                "by_probe": {probe: float(row[f"{probe}_difference"]) for probe in self._baseline},
                "interval_by_probe": None, "extra_slots": int(row["extra_slots"]), "q": None, "stage": "search",
            }  # fmt: skip
        return {
            "verdict": "none",
            "sentence": self._sentence(done),
            "best": best,
            "confirmed": [],
            "top": [],
            "controls": [],
            "confirm_items": 0,
            "bar": None,
            "power": None,
            "min_effect": None,
            "baseline": self._baseline,
            "n_candidates": len(frame),
            "n_left": 0,
            "n_failed": 0,
            "is_complete": True,
            "stopped": "",
            "forced": False,
            "preflight": {},
            "seconds": None,
            "tokens": None,
            "store": str(self.path),
            "model": None,
            "fingerprint": None,
            "n_layer": self.meta["n_layer"],
            "probes": list(self._baseline),
            "arguments": None,
            "seed": None,
            "space": None,
            "strategy": None,
            "notes": self.notes,
        }

    def _sentence(self, done: pd.DataFrame) -> str:
        start = "No path confirmed: the file has no scores of single items, so its gains cannot be told from noise."
        deviation = float(done["effect"].std(ddof=1)) if len(done) > 2 else 0.0
        if not deviation:
            return start
        best = done.iloc[0]
        reached = (best["effect"] - done["effect"].mean()) / deviation
        return (
            f"{start} The best, {best['path']} with {best['effect']:+.3f}, lies {reached:.1f} standard deviations "
            f"above the mean of the {len(done)} paths; of as many that differ by chance alone the best lies "
            f"{expected_best_of_noise(len(done)):.1f} above it."
        )


def expected_best_of_noise(n: int) -> float:
    """Return about how many standard deviations the largest of n normal values lies above their
    mean.

    Blom, Statistical Estimates and Transformed Beta-Variables (1958): the quantile of (n - 3/8) /
    (n + 1/4).
    """
    from scipy import stats

    return float(stats.norm.ppf((n - 0.375) / (n + 0.25)))


def _scores(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite scores by probe: "math_score" is that of math."""
    return {
        name.removesuffix("_score"): float(value)
        for name, value in row.items()
        if name.endswith("_score") and len(name) > len("_score") and _is_number(value)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _change(row: Mapping[str, Any], where: str) -> tuple[str, int, int] | None:
    """Return mode, start and end of a line, None for the baseline."""
    if row.get("is_baseline"):
        return None
    mode = row.get("mode")
    if isinstance(mode, str) and mode in _MODES:
        names = ("start", "end")
    else:
        found = [mode for mode, names in _MODES.items() if names[0] in row]
        if not found:
            raise StoreError(f"{where}: neither dup_start and dup_end nor mode, start and end")
        mode = next((mode for mode in found if row[_MODES[mode][0]] != -1), found[0])
        names = _MODES[mode]
    start, end = (row.get(name) for name in names)
    if start == -1:
        return None
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= MAX_SLOTS:
        raise StoreError(
            f"{where}: {names[0]} is {start!r} and {names[1]} is {end!r}, but they must be whole numbers with "
            f"0 <= {names[0]} < {names[1]} <= {MAX_SLOTS}"
        )
    return mode, start, end


def _written(mode: str, start: int, end: int, n_layer: int) -> str:
    """Return the path with open ends, so that it holds for a model with more layers than were seen."""
    if mode == "dup":
        return f"..{end - 1},{start}.."
    return ",".join(
        [*([f"..{start - 1}"] if start else []), *([f"{end}.."] if end < n_layer else [])]
    )
