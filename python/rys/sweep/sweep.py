"""The sweep: baseline, candidates, confirmation. All that is measured goes to a file at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rys._util import checks
from rys.build_info import build_info
from rys.engine.model import Model
from rys.errors import ProbeError, SpaceError
from rys.layer_path import LayerPath
from rys.probes import DEFAULT_PROBES, Evaluation, Probe, load
from rys.probes.preflight import preflight_of_scores
from rys.sweep.analysis import columns_of
from rys.sweep.budget import Budget
from rys.sweep.candidates import Space, blocks
from rys.sweep.confirm import measure_confirmation, plan_confirmation
from rys.sweep.evaluator import LocalEvaluator, Task
from rys.sweep.measurer import Measurer
from rys.sweep.plan import Plan, as_plan
from rys.sweep.resume import default_path, open_or_create
from rys.sweep.search import CandidateSearch, baseline_scores
from rys.sweep.settings import SweepOptions, SweepSettings
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
        probes: Probes or their names, see `rys.probes.load`.
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
        on_measured: Called after each measured part of a path with a dict: stage, role,
            layer_path, status, reason, n_items, score, seconds.
        provenance: How the sweep was asked for, as JSON holds it. It is kept in the file and never
            read here; None for a sweep made in Python.

    Raises:
        StoreError: The file is of another sweep (the message says what differs), or is unusable.
        ProbeError: A probe cannot be used.
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
        on_measured: Callable[[dict[str, Any]], None] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        check_strategy(strategy)
        seed = checks.integer("seed", seed, -(2**63) + 1, 2**63 - 1)
        min_effect = checks.number("min_effect", min_effect, 0.001, 1.0)
        self._model = model
        self._plan = as_plan(space or blocks(sizes=range(1, min(8, model.n_layer) + 1)))
        limit = Budget.parse(budget)
        loaded = _load_probes(probes)
        n_first = _count_first(self._plan, model.n_layer)
        strategy = chosen_strategy(strategy, n_first, isinstance(space, Plan))
        wanted = STRATEGIES[strategy].default_items if items is None else items
        wanted = checks.integer("items", wanted, 2, MAX_ITEMS)
        thinks: dict[str, Any] = {"thinking": thinking, "thinking_budget": thinking_budget}
        search = Evaluation(model, loaded, n=wanted, seed=seed, **thinks)
        found = {probe.id: len(search.items(probe.id)) for probe in loaded}
        columns_of(found)  # a name that clashes is refused before anything is measured
        settings = _settings_of(
            model,
            loaded,
            space=self._plan.name,
            strategy=strategy,
            items=max(found.values()),  # probes with a fixed list may have fewer than wanted
            seed=seed,
            **thinks,
        )
        options = SweepOptions(
            top=checks.integer("top", top, 1, 100),
            min_effect=min_effect,
            force=bool(force),
            budget=budget,
            model=model.source,
            notes=_notes(found, wanted),
            provenance=None if provenance is None else dict(provenance),
        )
        path = default_path(model.source, loaded) if store is None else Path(store)
        super().__init__(open_or_create(path, settings, options, search))
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
        identity = LayerPath(None, self._model.n_layer)
        self._measurer.measure_once(Task(Stage.SEARCH, identity), Role.BASELINE)
        self._preflight()
        share = SEARCH_SHARE if to_confirm else 1.0
        search = CandidateSearch(self, self._store, self._measurer, self._plan, share, progress)
        is_complete = search.run()
        stopped = "" if is_complete else "the budget was spent"
        self._store.write(replace(self._store.progress, is_complete=is_complete, stopped=stopped))

    def _preflight(self) -> None:
        """Refuse probes that cannot measure.

        Raises:
            ProbeError: A probe cannot, and it is not forced.
        """
        progress, is_forced = self._store.progress, self._store.options.force
        passed = progress.preflight is not None and not any(progress.preflight.values())
        if passed or (progress.preflight is not None and is_forced):
            return
        refused = self._refused()
        self._store.write(
            replace(progress, preflight={probe: tuple(why) for probe, why in refused.items()})
        )
        if any(refused.values()) and not is_forced:
            reasons = [f"{probe}: {' and '.join(why)}" for probe, why in refused.items() if why]
            raise ProbeError(
                f"the baseline cannot be measured with {'; '.join(reasons)}. "
                f"--force (force=True) sweeps anyway"
            )

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
        settings = self._store.settings
        fresh = Evaluation(
            self._model,
            self._evaluations[Stage.SEARCH].probes,
            n=plan.n_items,
            split="confirm",
            seed=settings.seed,
            thinking=settings.thinking,
            thinking_budget=settings.thinking_budget,
        )
        self._evaluations[Stage.CONFIRM] = fresh
        measure_confirmation(self._store, self._measurer, plan, fresh, progress)


def _load_probes(probes: Probe | str | Sequence[Probe | str]) -> list[Probe]:
    chosen = [probes] if isinstance(probes, (Probe, str)) else list(probes)
    return [load(probe) if isinstance(probe, str) else probe for probe in chosen]


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


def _settings_of(model: Model, probes: Sequence[Probe], **chosen: Any) -> SweepSettings:
    info = build_info()
    return SweepSettings(
        fingerprint=model.fingerprint,
        variant=model.variant,
        n_layer=model.n_layer,
        probes=tuple(f"{probe.id}:{probe.version}" for probe in probes),
        rys=info["rys_version"],
        llama_cpp=info["llama_cpp_commit"],
        **chosen,
    )


def _notes(found: Mapping[str, int], wanted: int) -> tuple[str, ...]:
    """Return which probes have fewer items than wanted, as those with a fixed list may."""
    notes = []
    for probe, n in found.items():
        if n < wanted:
            notes.append(f"{probe} has only {n} of {wanted} items for the search")
    return tuple(notes)
