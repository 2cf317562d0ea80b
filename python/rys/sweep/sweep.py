"""The sweep: baseline, candidates, confirmation. All that is measured goes to a file at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rys._util import checks
from rys.engine.model import Model
from rys.errors import ProbeError, SpaceError
from rys.layer_path import LayerPath
from rys.probes import DEFAULT_PROBES, Evaluation, Probe
from rys.probes.base import SearchSplit
from rys.probes.preflight import preflight_of_scores
from rys.sweep.analysis import columns_of
from rys.sweep.budget import Budget
from rys.sweep.candidates import Space, blocks
from rys.sweep.confirm import measure_confirmation, plan_confirmation
from rys.sweep.evaluator import LocalEvaluator, Task
from rys.sweep.forecast import make_forecast
from rys.sweep.measurer import Measurer
from rys.sweep.plan import Plan, as_plan
from rys.sweep.probe_choice import load_probes, none_measures
from rys.sweep.record import to_json
from rys.sweep.resume import begin, default_path
from rys.sweep.rounding import describe_rounding, measure_rounding
from rys.sweep.search import CandidateSearch
from rys.sweep.settings import Progress, SweepOptions
from rys.sweep.stage_scores import baseline_scores
from rys.sweep.strategies import STRATEGIES, check_strategy, chosen_strategy
from rys.sweep.sweep_file import SweepFile
from rys.sweep.trial import Role, Stage

__all__ = ["Sweep"]

MAX_ITEMS = 100_000  # of each probe
SEARCH_SHARE = 0.75  # of the budget, if a confirmation is to follow


class Sweep(SweepFile):
    """A search for layer paths that make a model better, and its confirmation.

    A sweep that was interrupted continues where it stopped: make it again with the same arguments.
    It reads its file as `SweepFile` does; `Sweep.open` opens a file without a model.

    Args:
        model: The model, with any path. The baseline is the file's own order.
        probes: Probes or their names, see `rys.probes.load`. A probe that cannot measure the model
            is left out, unless it is the last one.
        space: The candidates, from `rys.space`; None for every block of up to 8 layers.
        store: The file for results, made or resumed; None for one in the current folder, named
            after the model and the probes.
        items: Items of each probe in the search, 2 to 100,000; None for the strategy's default.
        seed: Which items and controls are taken.
        strategy: "scan" evaluates every candidate on all items, "race" eliminates those whose
            bounds say so; None for a race with more than 50 candidates.
        top: Candidates to confirm, 1 to 100.
        min_effect: The smallest gain that the confirmation should find, as a difference of mean
            scores, 0.001 to 1.
        budget: What one run may spend, such as "2h", "30min" or "500M-tokens"; None for no limit.
            What is not measured then is left for another run.
        force: Whether to use probes that the preflight refuses. The result says so.
        thinking: Whether a model that can think does so.
        thinking_budget: Tokens for it.
        calibrate: Whether to choose tier, examples and format of probes that are given by a bare
            name, such as "math"; see `rys.probes.calibrate`. A file that exists decides itself.
        progress: Whether to show progress bars of the calibration.
        on_measured: Called after each measured part of a path with a dict: stage, role,
            layer_path, status, reason, n_items, score, seconds.
        on_finding: Called before the search with what was found out: its name ("calibration",
            "left_out", "rounding" or "forecast"), lines for people, and a dict that JSON can hold.
        provenance: How the sweep was asked for, as JSON holds it. It is kept in the file and never
            read here; None for a sweep made in Python.

    Raises:
        StoreError: The file is of another sweep (the message says what differs), or is unusable.
        ProbeError: A probe cannot be used, or none can measure the model.
        SpaceError: The space has no path for this model.
        RequestError: An argument is out of range.
    """

    def __init__(
        self,
        model: Model,
        probes: Probe | str | Sequence[Probe | str] = DEFAULT_PROBES,
        space: Space | Plan | None = None,
        *,
        store: str | os.PathLike[str] | None = None,
        items: int | None = None,
        seed: int = 0,
        strategy: str | None = None,
        top: int = 5,
        min_effect: float = 0.03,
        budget: str | None = None,
        force: bool = False,
        thinking: bool = False,
        thinking_budget: int = 1024,
        calibrate: bool = True,
        progress: bool = False,
        on_measured: Callable[[dict[str, Any]], None] | None = None,
        on_finding: Callable[[str, list[str], dict[str, Any]], None] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        check_strategy(strategy)
        seed = checks.integer("seed", seed, -(2**63) + 1, 2**63 - 1)
        min_effect = checks.number("min_effect", min_effect, 0.001, 1.0)
        self._model = model
        self._plan = as_plan(space or blocks(sizes=range(1, min(8, model.n_layer) + 1)))
        self._is_open = isinstance(space, Plan)
        limit = Budget.parse(budget)
        asked = load_probes(probes)
        _check_ids(asked)
        n_first = _count_first(self._plan, model.n_layer)
        strategy = chosen_strategy(strategy, n_first, self._is_open)
        wanted = STRATEGIES[strategy].default_items if items is None else items
        wanted = checks.integer("items", wanted, 2, MAX_ITEMS)
        self._on_finding = on_finding
        options = SweepOptions(
            top=checks.integer("top", top, 1, 100),
            min_effect=min_effect,
            force=bool(force),
            budget=budget,
            model=model.source,
            provenance=None if provenance is None else dict(provenance),
        )
        fixed = {"space": self._plan.name, "strategy": strategy, "seed": seed}
        fixed |= {"thinking": thinking, "thinking_budget": thinking_budget}
        path = default_path(model.source, asked) if store is None else Path(store)
        beginning: dict[str, Any] = {"items": wanted, "calibrate": calibrate, "progress": progress}
        opened, search, self._calibration = begin(path, model, probes, options, fixed, **beginning)
        if self._calibration is not None:
            limit.tokens_spent += self._calibration.n_evaluated_tokens
        super().__init__(opened)
        self._evaluations = {Stage.SEARCH: search}
        evaluator = LocalEvaluator(model, self._evaluations)
        self._measurer = Measurer(self._store, evaluator, limit, on_measured)

    def run(self, progress: bool = False, *, to_confirm: bool = True) -> None:
        """Measure the baseline and all candidates that are not measured yet.

        Args:
            progress: Whether to show a progress bar with the time left and the best so far.
            to_confirm: Whether to leave a quarter of the budget for `confirm`.

        Raises:
            ProbeError: A probe cannot measure the baseline.
            KeyboardInterrupt: Ctrl-C; all that was measured is in the file.
        """
        # Until the end of this run: it may go on after one that was complete for another budget.
        self._store.write(replace(self._store.progress, is_complete=False))
        self._tell_calibration()
        identity = LayerPath(None, self._model.n_layer)
        self._measurer.measure_once(Task(Stage.SEARCH, identity), Role.BASELINE)
        self._preflight()
        self._measure_rounding()
        self._tell_forecast(to_confirm)
        share = SEARCH_SHARE if to_confirm else 1.0
        search = CandidateSearch(self, self._store, self._measurer, self._plan, share, progress)
        is_complete = search.run()
        stopped = "" if is_complete else "the budget was spent"
        self._store.write(replace(self._store.progress, is_complete=is_complete, stopped=stopped))

    def _tell(self, what: str, lines: list[str], document: dict[str, Any]) -> None:
        if self._on_finding is not None:
            self._on_finding(what, lines, document)

    def _tell_calibration(self) -> None:
        """Tell what was found before this run: by calibration, and by earlier runs."""
        if self._calibration is not None:
            self._tell("calibration", self._calibration.lines(), self._calibration.to_json())
            self._calibration = None  # a second run has nothing new to tell
        elif self._store.progress.left_out:
            self._tell_left_out(self._store.progress.left_out)

    def _tell_left_out(self, left_out: Mapping[str, Sequence[str]]) -> None:
        lines = [f"{probe} is left out: {' and '.join(why)}" for probe, why in left_out.items()]
        self._tell("left_out", lines, {probe: list(why) for probe, why in left_out.items()})

    def _preflight(self) -> None:
        """Leave out probes that cannot measure.

        Raises:
            ProbeError: No probe can, and they are not forced.
        """
        progress, is_forced = self._store.progress, self._store.options.force
        known = progress.preflight
        if known is not None:
            # A sweep that stopped, because no probe measured, goes on once it is forced.
            stopped = not is_forced and all(known.get(name) for name in self._probe_ids)
            if not stopped:
                return
        refused = {probe: tuple(why) for probe, why in self._refused().items()}
        failing = {probe: why for probe, why in refused.items() if why}
        progress = replace(progress, preflight=(known or {}) | refused)
        if is_forced or not failing:
            self._store.write(progress)
        elif len(failing) == len(refused):
            self._store.write(progress)
            raise none_measures(failing | progress.left_out)
        else:
            self._leave_out(failing, progress)

    def _leave_out(self, failing: dict[str, tuple[str, ...]], progress: Progress) -> None:
        """Go on without some probes. What the baseline answered to them is forgotten."""
        left_out = {**progress.left_out, **failing}
        self._store.leave_out(Stage.SEARCH, failing, replace(progress, left_out=left_out))
        search = self._evaluations[Stage.SEARCH]
        kept = [probe for probe in search.probes if probe.id not in failing]
        self._evaluations[Stage.SEARCH] = self._evaluation(kept, self._store.settings.items)
        self._tell_left_out(failing)

    @property
    def _probe_ids(self) -> list[str]:
        return [probe.id for probe in self._evaluations[Stage.SEARCH].probes]

    def _evaluation(
        self, probes: Sequence[Probe], n: int, split: SearchSplit = "search"
    ) -> Evaluation:
        settings = self._store.settings
        return Evaluation(
            self._model,
            probes,
            n=n,
            split=split,
            seed=settings.seed,
            thinking=settings.thinking,
            thinking_budget=settings.thinking_budget,
        )

    def _measure_rounding(self) -> None:
        """Find out what rounding alone does, once for a file."""
        search = self._evaluations[Stage.SEARCH]
        if self._store.progress.rounding is None:
            items = {name: search.items(name) for name in self._probe_ids}
            found = measure_rounding(self._store, self._measurer, items)
            self._store.write(replace(self._store.progress, rounding=found))
            self._tell("rounding", [describe_rounding(found)], to_json(found))

    def _tell_forecast(self, to_confirm: bool) -> None:
        # An empty ranking: the first phase depends on nothing.
        first = next(self._plan.phases(self._model.n_layer, list))
        forecast = make_forecast(
            self._store,
            first.candidates(self._model.n_layer),
            more_follow=self._is_open,
            to_confirm=to_confirm,
        )
        if forecast.n_candidates:
            self._tell("forecast", forecast.lines(), forecast.to_json())

    def _refused(self) -> dict[str, list[str]]:
        """Return by probe why it cannot measure the baseline."""
        trials = self._store.trials(Stage.SEARCH)
        failure = next(trial.reason for trial in trials if trial.role == Role.BASELINE)
        scores = baseline_scores(self._store, "score")
        parsed = baseline_scores(self._store, "parsed")
        truncated = baseline_scores(self._store, "truncated")
        evaluation = self._evaluations[Stage.SEARCH]
        refused = {}
        for probe in evaluation.probes:
            name = probe.id
            floors = evaluation.floors(name)
            why = preflight_of_scores(scores[name], parsed[name], truncated[name], floors)
            if failure and not parsed[name].all():
                why.append(f"{failure}; raise n_ctx or take shorter items")
            refused[name] = why
        return refused

    def confirm(self, progress: bool = False) -> None:
        """Measure the best candidates and random paths of the same extra length on fresh items.

        There are enough items to find an effect of `min_effect` with a power of 0.9, but at most
        1024 of each probe, and no more than the probe has. There are as many random paths as best
        ones, and at least three.

        Args:
            progress: Whether to show a progress bar.

        Raises:
            RequestError: Nothing was searched yet.
        """
        plan = plan_confirmation(self, self._store)
        if plan is None:  # the budget was spent too early; a resumed run may bring something
            return
        probes = self._evaluations[Stage.SEARCH].probes
        fresh = self._evaluation(probes, plan.n_items, split="confirm")
        self._evaluations[Stage.CONFIRM] = fresh
        measure_confirmation(self._store, self._measurer, plan, fresh, progress)


def _check_ids(probes: Sequence[Probe]) -> None:
    """Refuse names that clash before anything is measured."""
    ids = [probe.id for probe in probes]
    if not ids or len(set(ids)) < len(ids):
        raise ProbeError(f"the probes are {ids}; give at least one, and each once")
    columns_of(ids)


def _count_first(plan: Plan, n_layer: int) -> int:
    """Return how many candidates the first phase has. Raises SpaceError if there is none."""
    # An empty ranking: the first phase depends on nothing.
    first = next(plan.phases(n_layer, list))
    n = first.count(n_layer)
    if not n:
        raise SpaceError(
            f"{first.name} has no path for a model of {n_layer} layers, other than the file's own "
            f"order, which is the baseline of every sweep"
        )
    return n
