"""Sweeps that llm-circuit-finder and its forks measured: JSON lines with a score per probe.

`circuit_finder` reads which layers a line is about. Scores are the numbers whose names end in
`_score`. There are no scores of single items, so nothing here can be confirmed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rys._util import checks
from rys._util.printable import printable
from rys.errors import StoreError
from rys.layer_path import MAX_SLOTS
from rys.sweep import analysis
from rys.sweep.circuit_finder import read_row, unknown_fields
from rys.sweep.report import PathGain, SweepReport
from rys.sweep.runs import Runs
from rys.sweep.stage_scores import check_probe
from rys.sweep.trial import Stage, Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ImportedSweep", "expected_best_of_noise"]

_MAX_LINES = 1_000_000


@dataclass
class _Lines:
    """Lines of a file, as they are read one after the other.

    Attributes:
        baseline: Scores of the unchanged model. Empty if there are none.
        trials: Scores by path.
        n_layers: Numbers of layers that lines give for the model.
        n_repeated: Lines about a path that an earlier line is about.
        unusable: Scores that are not finite numbers, by line and name.
        readings: How lines were understood that scripts mean in different ways.
        unknown: Fields that are not known, with the first line that has them.
    """

    baseline: dict[str, float] = field(default_factory=dict)
    trials: dict[Runs, dict[str, float]] = field(default_factory=dict)
    n_layers: set[int] = field(default_factory=set)
    n_repeated: int = 0
    unusable: list[str] = field(default_factory=list)
    readings: set[str] = field(default_factory=set)
    unknown: dict[str, int] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any], number: int, file: Path) -> None:
        """Add a line.

        Raises:
            StoreError: It is not a line of a sweep.
        """
        where = f"{file}, line {number}"
        scores = self._scores(row, number, where)
        reading = read_row(row, where)
        if reading.path is None:
            self.n_repeated += bool(self.baseline)
            self.baseline = scores
        else:
            self.n_repeated += reading.path in self.trials
            self.trials[reading.path] = scores
        if reading.n_layer is not None:
            self.n_layers.add(reading.n_layer)
        if reading.note:
            self.readings.add(reading.note)
        for name in unknown_fields(row):
            self.unknown.setdefault(name, number)

    def _scores(self, row: Mapping[str, Any], number: int, where: str) -> dict[str, float]:
        """Return the finite scores by probe: "math_score" is that of math."""
        names = [name for name in row if name.endswith("_score")]
        if not names:
            raise StoreError(
                f"{where}: no number whose name ends in _score; this is not a sweep of "
                "llm-circuit-finder"
            )
        scores = {}
        for name in names:
            probe, value = name.removesuffix("_score"), row[name]
            if probe and _is_number(value):
                scores[probe] = float(value)
            elif value is not None:
                self.unusable.append(f"line {number}: {name}")
        return scores

    def notes(self) -> list[str]:
        """Return what a reader should know about how the lines were read."""
        notes = []
        if self.unusable:
            notes.append(
                f"{len(self.unusable)} scores are not finite numbers and count as not measured, "
                f"the first in {self.unusable[0]}"
            )
        if self.n_repeated:
            notes.append(
                f"{self.n_repeated} paths were measured more than once; the last measurement counts"
            )
        notes += sorted(self.readings)
        if self.unknown:
            named = ", ".join(f"{name} (line {line})" for name, line in self.unknown.items())
            notes.append(f"fields that are not known were not read: {printable(named)}")
        if len(self.n_layers) > 1:
            counts = ", ".join(map(str, sorted(self.n_layers)))
            notes.append(
                f"the lines disagree about how many layers the model has ({counts}); the largest "
                "number counts"
            )
        return notes


class ImportedSweep:
    """Results of another program's sweep, read as `rys.Sweep.open` reads those of rys.

    Scores that are not finite numbers count as not measured. A probe whose scores exceed 1.5 is
    taken for percent. A path that occurs twice counts as it was measured last. Half a line at the
    end, as a killed program leaves it, is passed over. The notes of the report tell of all these.

    Args:
        path: File of JSON lines, see `circuit_finder`.
        n_layer: Layers of the model. None = what the file says, or else the end of the last block.

    Raises:
        StoreError: The file is not such a sweep. The message names the line.
        RequestError: If `n_layer` is fewer layers than the lines need.
    """

    is_imported = True
    model = None

    def __init__(self, path: str | os.PathLike[str], n_layer: int | None = None) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        lines = _Lines()
        for number, row in self._rows():
            lines.add(row, number, self.path)
        if not lines.baseline:  # none, or none of its scores is a number
            raise StoreError(
                f"{self.path} has no baseline (a line with is_baseline or dup_start -1) to compare "
                "with"
            )
        try:
            analysis.columns_of(lines.baseline)
        except StoreError as error:
            raise StoreError(f"{self.path}: {error}") from None
        self.notes += lines.notes()
        self._trials = lines.trials
        self.n_layer = self._choose_n_layer(n_layer, max(lines.n_layers, default=0))
        self._baseline = self._in_units(lines.baseline)

    def _choose_n_layer(self, given: int | None, said: int) -> int:
        """Return the number of layers of the model.

        Args:
            given: By the user; None = not given.
            said: By the file; 0 = not said.
        """
        least = max((runs.least_n_layer for runs in self._trials), default=1)
        if given is None and said < least:
            self.notes.append(
                f"the file does not say how many layers the model has; {least} is the end of the "
                "last block"
            )
        n_layer = checks.integer("n_layer", given or max(said, least), least, MAX_SLOTS)
        for runs in self._trials:
            n_slot = n_layer + runs.extra_slots(n_layer)
            if n_slot > MAX_SLOTS:
                raise StoreError(
                    f"{self.path}: {runs.notation(n_layer)} has {n_slot} slots in a model of "
                    f"{n_layer} layers, but at most {MAX_SLOTS} are possible"
                )
        return n_layer

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the object of every line."""
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
                    # Only the last line may be broken: a killed program leaves half a line.
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
            # Their probes report 0 to 1 or percent, and the file does not say which.
            rows = [row for row in (changed, *self._trials.values()) if probe in row]
            if max(abs(row[probe]) for row in rows) > 1.5:
                self.notes.append(f"{probe} was measured in percent and is shown divided by 100")
                for row in rows:
                    row[probe] /= 100
        return changed

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return one row per path, best first, with the columns of SweepFile.results.

        What the file does not hold (intervals, p, q, rates, seconds, tokens) is NaN; n_items is 0.
        Paths without a score of every probe have the status "partial".

        Args:
            probe: The probe whose difference is the effect; None for the mean over probes.

        Raises:
            RequestError: The sweep has no such probe.
        """
        import pandas as pd

        check_probe(probe, self._baseline)
        rows = []
        for path, scores in self._trials.items():
            differences: dict[str, float] = {}
            for name, base in self._baseline.items():
                differences[name] = scores.get(name, np.nan) - base
            effect = np.mean(list(differences.values())) if probe is None else differences[probe]
            rows.append(self._row(path, scores, differences, float(effect)))
        frame = pd.DataFrame(rows, columns=analysis.columns_of(self._baseline))
        return frame.sort_values("effect", ascending=False, kind="stable").reset_index(drop=True)

    def _row(
        self,
        path: Runs,
        scores: Mapping[str, float],
        differences: Mapping[str, float],
        effect: float,
    ) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(analysis.COLUMNS, float("nan"))
        row |= {
            "path": path.notation(self.n_layer),
            "layers": path.layers(self.n_layer),
            "block": path.repeated_block(),
            "n_items": 0,
            "reason": "",
            "status": Status.PARTIAL.value if math.isnan(effect) else Status.DONE.value,
            "extra_slots": path.extra_slots(self.n_layer),
            "effect": effect,
        }
        for name, difference in differences.items():
            row[name] = scores.get(name, np.nan)
            row[f"{name}_difference"] = difference
        return row

    def report(self) -> SweepReport:
        """Return what can be said of the sweep; nothing is confirmed."""
        frame = self.results()
        done = frame[frame["status"] == Status.DONE.value]
        best = None
        if len(done):
            row = done.iloc[0]
            by_probe = {probe: float(row[f"{probe}_difference"]) for probe in self._baseline}
            best = PathGain(
                layer_path=row["path"],
                block=row["block"],
                effect=float(row["effect"]),
                interval=None,
                by_probe=by_probe,
                interval_by_probe=None,
                extra_slots=int(row["extra_slots"]),
                stage=Stage.SEARCH.value,
            )
        return SweepReport(
            verdict="none",
            sentence=self._sentence(done),
            best=best,
            baseline=self._baseline,
            n_candidates=len(frame),
            is_complete=True,
            preflight={},
            store=str(self.path),
            n_layer=self.n_layer,
            probes=tuple(self._baseline),
            notes=tuple(self.notes),
        )

    def _sentence(self, done: pd.DataFrame) -> str:
        start = (
            "No path confirmed: the file has no scores of single items, so its gains cannot be "
            "told from noise."
        )
        deviation = float(done["effect"].std(ddof=1)) if len(done) > 2 else 0.0
        if not deviation:
            return start
        best = done.iloc[0]
        reached = (best["effect"] - done["effect"].mean()) / deviation
        return (
            f"{start} The best, {best['path']} with {best['effect']:+.3f}, lies {reached:.1f} "
            f"standard deviations above the mean of the {len(done)} paths; of as many that differ "
            f"by chance alone the best lies {expected_best_of_noise(len(done)):.1f} above it."
        )


def expected_best_of_noise(n: int) -> float:
    """Return how many standard deviations the largest of n normal values lies above their mean.

    This is the quantile of (n - 3/8) / (n + 1/4), an approximation of Blom, Statistical Estimates
    and Transformed Beta-Variables (1958).
    """
    from scipy import stats

    return float(stats.norm.ppf((n - 0.375) / (n + 0.25)))


def _is_number(value: Any) -> bool:
    # Far beyond any score; infinity and NaN fail the comparison as well.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
