"""The search: the candidates of a plan, evaluated and eliminated as a strategy says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from rys.layer_path import LayerPath
from rys.sweep.evaluator import Measurement, Task
from rys.sweep.forecast import Clock, round_costs
from rys.sweep.measurer import Measurer
from rys.sweep.plan import Plan
from rys.sweep.settings import Decision
from rys.sweep.stage_scores import (
    baseline_scores,
    load_scores,
    plain_effects,
    weights_among,
)
from rys.sweep.store import Store
from rys.sweep.strategies import STRATEGIES, Look
from rys.sweep.sweep_file import SweepFile
from rys.sweep.trial import Role, Stage, Status

__all__ = ["CandidateSearch"]

# tqdm's own bar with the end of the search in place of the time that is left of the round.
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"


class CandidateSearch:
    """The search of one run of a sweep.

    Args:
        sweep: The sweep's file, for its results so far.
        store: The same file, for writing.
        measurer: What measures the candidates.
        plan: The candidates.
        share: Of the budget, what the search may spend.
        progress: Whether to show a progress bar.
    """

    def __init__(
        self,
        sweep: SweepFile,
        store: Store,
        measurer: Measurer,
        plan: Plan,
        share: float,
        progress: bool,
    ) -> None:
        self._sweep = sweep
        self._store = store
        self._measurer = measurer
        self._plan = plan
        self._share = share
        self._shows_progress = progress
        settings = store.settings
        self._n_layer = settings.n_layer
        self._top = store.options.top
        self._strategy = STRATEGIES[settings.strategy]
        self._baseline = baseline_scores(store, "score")
        # A probe that was left out may have had more items than the others have.
        self._looks = self._strategy.looks(max(map(len, self._baseline.values())))
        self._clock = Clock(round_costs(store))
        self._seen: dict[str, LayerPath] = {}

    def run(self) -> bool:
        """Measure all candidates that are not measured yet.

        Returns:
            Whether all were; False if the budget was spent.
        """
        for phase, space in enumerate(self._plan.phases(self._n_layer, self._ranking)):
            # Phases may overlap; a path is measured in the first that names it.
            candidates = []
            for path in space.candidates(self._n_layer):
                if str(path) not in self._seen:
                    self._seen[str(path)] = path
                    candidates.append(path)
            if not self._run_phase(phase, candidates):
                return False
        return True

    def _ranking(self) -> list[tuple[LayerPath, float]]:
        """Return the candidates of the phases so far with their effects, best first."""
        frame = self._sweep.results()
        is_known = frame["path"].isin(list(self._seen))
        # Paths that are measured in part would be ranked by a few items.
        is_measured = frame["status"].isin([Status.DONE.value, Status.ELIMINATED.value])
        ranked = frame[is_measured & is_known].sort_values(
            ["n_items", "effect"], ascending=False, kind="stable"
        )
        pairs = zip(ranked["path"], ranked["effect"], strict=True)
        return [(self._seen[path], float(effect)) for path, effect in pairs]

    def _run_phase(self, phase: int, candidates: Sequence[LayerPath]) -> bool:
        """Measure candidates up to each look. False: the budget is spent."""
        for number, look in enumerate(self._looks):
            trials = {trial.path: trial for trial in self._store.trials(Stage.SEARCH)}
            is_out = set()
            for trial in trials.values():
                if trial.status in (Status.FAILED, Status.ELIMINATED):
                    is_out.add(trial.path)
            running = [path for path in candidates if str(path) not in is_out]
            n_done = dict.fromkeys(map(str, running), 0)
            for path in n_done.keys() & trials.keys():
                n_done[path] = trials[path].n_items
            title = "paths" if len(self._looks) == 1 else f"round {number + 1}/{len(self._looks)}"
            if not self._run_round(running, n_done, look, is_out, title):
                return False
            if look < self._looks[-1]:
                self._eliminate(running, Decision(phase, look))
        return True

    def _run_round(
        self,
        running: Sequence[LayerPath],
        n_done: Mapping[str, int],
        look: int,
        is_out: set[str],
        title: str,
    ) -> bool:
        """Measure candidates up to one look. False: the budget is spent."""
        # A resumed round skips what was measured before the interruption.
        todo = [path for path in running if n_done[str(path)] < look]
        before = plain_effects(self._store, Stage.SEARCH)
        effects = {path: effect for path, effect in before.items() if path not in is_out}
        with tqdm(
            total=len(running),
            initial=len(running) - len(todo),
            desc=title,
            unit="path",
            disable=not self._shows_progress,
            bar_format=_BAR,
        ) as bar:
            waiting = {path: n_done[str(path)] for path in running}
            self._clock.start_round(waiting, least=min(1.0, self._top / max(1, len(running))))
            for path in todo:
                if self._measurer.budget.is_spent(self._share):
                    return False
                name, start = str(path), n_done[str(path)]
                task = Task(Stage.SEARCH, path, start, look)
                is_last = look == self._looks[-1]
                # One transaction a candidate: a kill loses this one at most.
                found = self._measurer.measure(task, Role.CANDIDATE, is_last=is_last)
                # The running best is for the progress bar alone; decisions read the file.
                if not found.failure:
                    gain = self._gain(found, start)
                    effects[name] = (before.get(name, 0.0) * start + gain * (look - start)) / look
                self._clock.measured(path, start, look)
                bar.set_postfix_str(self._status(effects))
                bar.update()
        return True

    def _status(self, effects: Mapping[str, float]) -> str:
        """Return what the progress bar says at its end."""
        text = f"ends about {self._clock.end}"
        if effects:
            best = max(effects, key=effects.__getitem__)
            text += f", best so far {effects[best]:+.3f} {best}"
        return text

    def _gain(self, found: Measurement, start: int) -> float:
        """Return the mean difference of the items of a measurement to the baseline."""
        gains = []
        for probe, part in found.scores.items():
            base = self._baseline[probe][start : start + len(part.scores)]
            gains.append(part.scores.mean() - base.mean())
        return float(np.mean(gains))

    def _eliminate(self, running: Sequence[LayerPath], decision: Decision) -> None:
        """Eliminate what the strategy says, once.

        After a resume the same question would be put about other candidates than were running
        then, so the decisions that were made are kept in the file.
        """
        progress = self._store.progress
        if decision in progress.decisions:
            return
        scores = load_scores(self._store, Stage.SEARCH)
        if scores is None:
            return
        names = {str(path) for path in running}
        rows = []
        for k, trial in enumerate(scores.trials):
            is_running = trial.path in names and trial.status != Status.FAILED
            # Those that answered fewer items were left by a spent budget.
            if is_running and trial.n_items == decision.look:
                rows.append(k)
        if not rows:
            return
        positions = np.array([position for _, position, _, _ in self._store.items(Stage.SEARCH)])
        mask = positions < decision.look
        look = Look(
            n_items=decision.look,
            n_looks=len(self._looks) - 1,
            top=self._top,
            paths=[scores.trials[k].path for k in rows],
            differences=scores.differences[rows][:, mask],
            weights=weights_among(scores, mask),
        )
        reasons = self._strategy.eliminated(look)
        # In one transaction with the statuses: a kill in between would decide twice.
        decided = replace(progress, decisions=(*progress.decisions, decision))
        self._store.set_status(Stage.SEARCH, reasons, Status.ELIMINATED, decided)
