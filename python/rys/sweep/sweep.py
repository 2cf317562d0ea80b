"""The sweep: baseline, candidates, confirmation; everything that is measured goes to a file at
once.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from rys import statistics
from rys.build_info import build_info
from rys.engine import options
from rys.engine.model import Model
from rys.errors import ProbeError, RequestError, RysError, SpaceError, StoreError
from rys.layer_path import LayerPath
from rys.probes import DEFAULT_PROBES, Evaluation, Probe, ProbeResult, load, preflight
from rys.sweep import analysis
from rys.sweep.budget import Budget
from rys.sweep.controls import control_paths
from rys.sweep.space import Plan, Space, as_plan, blocks
from rys.sweep.store import Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sweep"]

LOOKS = (16, 32, 64, 128)  # items of each probe after which candidates may leave the race
RACE_FROM = 50  # more candidates than this are raced
N_ITEMS = {"scan": 64, "race": 256}
MAX_ITEMS = 100_000  # of each probe
MAX_CONFIRM_ITEMS = 1024
POWER = 0.9
SEARCH_SHARE = 0.75  # of the budget, if a confirmation is to follow


class Sweep:
    """Try many layer paths on one model, and tell which make it better.

    model: the model, with any path; the baseline is the file's own order.
    probes: probes or their names, see rys.probes.load.
    space: the candidates, from rys.space; None = every block of up to 8 layers.
    store: the file for results, made or resumed; None = beside the model, named after it and the
        probes.
    items: of each probe, 2 to 100,000; None = 64 for a scan, 256 for a race. seed: which items, and
        the controls.
    strategy: "scan" = every candidate answers all items; "race" = candidates leave when their
        bounds say so; None = race for more than 50 candidates.
    top: candidates to confirm. min_effect: the smallest gain that the confirmation should find.
    budget: "2h", "30min", "500M-tokens"; what is left when it is spent is not measured.
    force: use probes that the preflight refuses; the result is marked.
    thinking, thinking_budget: as in rys.probes.evaluate.
    on_measured: called after each measured part of a path with a dict: stage, role, layer_path,
        status, reason, n_items, score, seconds.
    arguments: those of the command line, kept in the file for `rys sweep --resume`.

    A sweep that was interrupted goes on where it was: make it again with the same arguments.
    Raises StoreError (the file is of another sweep, with what differs), ProbeError, SpaceError or
    RequestError.
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
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if strategy not in (None, "scan", "race"):
            raise RequestError(f'strategy is {strategy!r}, but must be "scan", "race" or None')
        seed = options.integer("seed", seed, -(2**63) + 1, 2**63 - 1)
        min_effect = options.number("min_effect", min_effect, 0.001, 1.0)  # a difference of scores
        self._model: Model | None = model
        self._plan = as_plan(space or blocks(sizes=range(1, min(8, model.n_layer) + 1)))
        self._budget = Budget.parse(budget)
        self._search_share = SEARCH_SHARE
        self._baseline: dict[str, dict[str, statistics.Floats]] = {}
        self._on_measured = on_measured
        self._force = force
        self._asking: dict[str, Any] = {"thinking": thinking, "thinking_budget": thinking_budget}
        chosen = [probes] if isinstance(probes, (Probe, str)) else list(probes)
        self._probes = [load(probe) if isinstance(probe, str) else probe for probe in chosen]

        first = next(self._plan.phases(model.n_layer, list))
        n_first = first.count(model.n_layer)
        if not n_first:
            raise SpaceError(
                f"{first.name} has no path for a model of {model.n_layer} layers, other than the file's own order, "
                f"which is the baseline of every sweep"
            )
        is_plan = isinstance(space, Plan)
        strategy = strategy or ("race" if is_plan or n_first > RACE_FROM else "scan")
        n_items = options.integer(
            "items", N_ITEMS[strategy] if items is None else items, 2, MAX_ITEMS
        )
        self._evaluation = Evaluation(model, self._probes, n=n_items, seed=seed, **self._asking)
        found = {
            probe.id: len(self._evaluation.items(probe.id)) for probe in self._probes
        }  # a fixed list may have fewer
        analysis.columns_of(found)
        notes = [
            f"{probe} has only {n} of {n_items} items for the search"
            for probe, n in found.items()
            if n < n_items
        ]
        n_items = max(found.values())
        info = build_info()
        settings = {
            "fingerprint": model.fingerprint,
            "variant": model.variant,
            "n_layer": model.n_layer,
            "probes": [f"{probe.id}:{probe.version}" for probe in self._probes],
            "space": self._plan.name,
            "strategy": strategy,
            "items": n_items,
            "seed": seed,
            "asking": self._asking,
            "rys": info["rys_version"],
            "llama_cpp": info["llama_cpp_commit"],
        }
        free: dict[str, Any] = {
            "top": options.integer("top", top, 1, 100),
            "min_effect": min_effect,
            "force": bool(force),
        }
        free |= {
            "notes": notes,
            "budget": budget,
            "model": model.source,
        }  # the file may move; its fingerprint decides
        if arguments is not None:
            free["arguments"] = dict(arguments)
        path = Path(store) if store is not None else default_store(model.source, self._probes)
        self._store = open_or_create(path, settings, free)
        known = self._store.item_hashes("search")
        for probe in self._probes:
            if known.get(probe.id) not in (
                None,
                [item.content_hash for item in self._evaluation.items(probe.id)],
            ):
                self._store.close()
                raise StoreError(
                    f"{path} was made with other items of probe {probe.id!r}; give another file name"
                )
        meta = self.meta
        fixed = {key: meta.get(key) for key in ("top", "min_effect")}
        if "confirm" in meta and fixed != {key: free[key] for key in fixed}:
            self._store.close()
            raise StoreError(
                f"{path}: its confirmation was planned with top={fixed['top']} and min_effect={fixed['min_effect']}, "
                f"and fresh items are fresh only once; give these, or another --store"
            )
        self._store.set_meta(free)
        for probe in self._probes:
            self._store.add_items("search", probe.id, self._evaluation.items(probe.id))

    @classmethod
    def open(cls, store: str | os.PathLike[str]) -> Sweep:
        """Open a sweep's file to look at it, while it runs or afterwards. `run` and `confirm` need
        a model.

        Raises StoreError, with nothing changed, if the file is damaged, foreign or newer than this
        rys.
        """
        sweep = object.__new__(cls)
        sweep._model = None
        sweep._store = Store.open(Path(store), read_only=True)
        return sweep

    @property
    def path(self) -> Path:
        """Where the results are."""
        return self._store.path

    @property
    def meta(self) -> dict[str, Any]:
        """Settings, versions and the state of the sweep."""
        return self._store.meta

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return one row per candidate, best first; see rys.sweep.analysis.search for the columns.

        probe: the one that effect, interval, p and q are about; None = all, each with the same
            weight.
        """
        return analysis.search(self._store, probe).frame

    def items(self) -> pd.DataFrame:
        """Return one row per measured item: stage, role, path, probe, item, family, prompt, right,
        score, ...
        """
        import pandas as pd

        return pd.DataFrame(self._store.item_rows())

    def pareto(self) -> pd.DataFrame:
        """Return the candidates that no other beats in gain with as few extra slots."""
        return analysis.pareto_front(self.results())

    @property
    def best(self) -> LayerPath | None:
        """The best confirmed path, else the best of the search so far; None if nothing was
        measured.
        """
        report = self.report()
        return (
            None
            if report["best"] is None
            else LayerPath(report["best"]["layer_path"], self.meta["n_layer"])
        )

    def report(self) -> dict[str, Any]:
        """Return what the sweep says so far, as JSON can hold it: see rys.sweep.report."""
        from rys.sweep.report import report

        return report(self._store)

    def run(self, progress: bool = False, *, to_confirm: bool = True) -> None:
        """Measure the baseline and all candidates that are not measured yet.

        progress: show a progress bar with the time left and the best so far.
        to_confirm: leave a quarter of the budget for `confirm`.
        Raises ProbeError if no probe can measure the baseline, and KeyboardInterrupt on Ctrl-C,
        with all of what was measured in the file.
        """
        model = self._open_model()
        self._search_share = SEARCH_SHARE if to_confirm else 1.0
        self._store.set_meta({"is_complete": False})
        with model.with_path(None) as baseline:
            self._measure("search", "baseline", baseline.layer_path, self._evaluation, 0, None)
            self._preflight(baseline)
        strategy, n_items = self.meta["strategy"], self.meta["items"]
        looks = (
            [*(look for look in LOOKS if look < n_items), n_items]
            if strategy == "race"
            else [n_items]
        )
        seen: dict[str, LayerPath] = {}

        def ranking() -> list[tuple[LayerPath, float]]:
            frame = self.results()
            measured = frame[
                frame["status"].isin(["done", "left"]) & frame["path"].isin(list(seen))
            ]
            ranked = measured.sort_values(["n_items", "effect"], ascending=False, kind="stable")
            return [
                (seen[path], float(effect))
                for path, effect in zip(ranked["path"], ranked["effect"], strict=True)
            ]

        for phase, space in enumerate(self._plan.phases(model.n_layer, ranking)):
            candidates = [path for path in space.candidates(model.n_layer) if str(path) not in seen]
            seen |= {str(path): path for path in candidates}
            if not self._race(candidates, looks, f"phase {phase}", progress):
                self._store.set_meta({"stopped": "the budget was spent"})
                return
        self._store.set_meta({"is_complete": True, "stopped": ""})

    def _race(
        self, candidates: list[LayerPath], looks: Sequence[int], phase: str, progress: bool
    ) -> bool:
        """Measure candidates up to each look; those leave that cannot be among the best.

        False: the budget is spent.
        """
        for number, look in enumerate(looks):
            trials = self._store.trials("search")
            is_out = {trial.path for trial in trials if trial.status in ("failed", "left")}
            n_done = {trial.path: trial.n_items for trial in trials}
            running = [path for path in candidates if str(path) not in is_out]
            todo = [path for path in running if n_done.get(str(path), 0) < look]
            title = "paths" if len(looks) == 1 else f"round {number + 1}/{len(looks)}"
            with tqdm(
                total=len(running),
                initial=len(running) - len(todo),
                desc=title,
                unit="path",
                disable=not progress,
            ) as bar:
                before = analysis.plain_effects(self._store, "search")
                effects = {path: effect for path, effect in before.items() if path not in is_out}
                for path in todo:
                    if self._budget.is_spent(self._search_share):
                        return False
                    start = n_done.get(str(path), 0)
                    gain = self._measure(
                        "search",
                        "candidate",
                        path,
                        self._evaluation,
                        start,
                        look,
                        is_last=look == looks[-1],
                    )
                    if gain is not None:
                        effects[str(path)] = (
                            before.get(str(path), 0.0) * start + gain * (look - start)
                        ) / look
                        best = max(effects, key=effects.__getitem__)
                        bar.set_postfix_str(f"best so far {effects[best]:+.3f} {best}")
                    bar.update()
            if look < looks[-1]:
                self._leave(running, look, len(looks) - 1, f"{phase}, look {look}")
        return True

    def _leave(self, running: Iterable[LayerPath], look: int, n_looks: int, name: str) -> None:
        """Let candidates leave the race whose upper bound lies below the top-th best.

        name: of this decision, which is made once: after a resume others are in the race than were
            then.
        """
        decided = self.meta.get("decided", [])
        if name in decided:
            return
        stage = analysis.load_stage(self._store, "search")
        if stage is None:
            return
        names = {str(path) for path in running}
        rows = [
            k for k, trial in enumerate(stage.trials)
            if trial.path in names and trial.status != "failed" and trial.n_items == look
        ]  # fmt: skip
        if not rows:
            return
        positions = np.array([position for _, position, _, _ in self._store.items("search")])
        mask = positions < look
        weights = analysis.weights_among(stage, mask)
        differences = stage.differences[rows][:, mask]
        bounds = statistics.leaves_race(differences, weights, self.meta["top"], n_looks)
        reasons = {
            stage.trials[rows[k]].path: (
                f"after {look} items at most {bound:+.3f} from place {self.meta['top']} of the race, "
                f"at all {n_looks} looks together with 95% confidence"
            )
            for k, bound in enumerate(bounds)
            if bound < 0
        }
        self._store.set_status("search", reasons, "left", {"decided": [*decided, name]})

    def _measure(
        self,
        stage: str,
        role: str,
        path: LayerPath,
        evaluation: Evaluation,
        start: int,
        stop: int | None,
        is_last: bool = True,
    ) -> float | None:
        """Measure items of a path and save them; what fails is saved as failed.

        Return the mean difference of these items to the baseline of the search.
        """
        model = self._open_model()
        done = (
            {trial.path: trial for trial in self._store.trials(stage)}
            if role != "candidate"
            else {}
        )
        if str(path) in done and done[str(path)].status in ("done", "failed"):
            return None
        try:
            with model.with_path(path) as view:
                results = evaluation.run(view, start, stop)
        except RysError as error:
            if role == "baseline":
                raise
            reason = f"{type(error).__name__}: {error}"
            self._store.save(stage, role, str(path), path.layers, {}, start, "failed", reason)
            self._tell(stage, role, path, "failed", reason, {}, start)
            return None
        status, reason = "done" if is_last else "partial", ""
        errors = [error for result in results.values() for error in result.errors if error]
        if errors:  # the preflight looks at the baseline's
            status, reason = (
                status if role == "baseline" else "failed",
                f"{len(errors)} items failed: {errors[0]}",
            )
        self._store.save(stage, role, str(path), path.layers, results, start, status, reason)
        self._tell(stage, role, path, status, reason, results, start)
        self._budget.tokens_spent += sum(result.n_evaluated_tokens for result in results.values())
        if stage != "search" or status == "failed":
            return None
        base = self._baseline_scores("score")
        return float(
            np.mean(
                [
                    result.mean - base[probe][start : start + result.n].mean()
                    for probe, result in results.items()
                ]
            )
        )

    def _tell(
        self,
        stage: str,
        role: str,
        path: LayerPath,
        status: str,
        reason: str,
        results: Mapping[str, ProbeResult],
        start: int,
    ) -> None:
        if self._on_measured is not None:
            self._on_measured(
                {
                    "stage": stage, "role": role, "layer_path": str(path), "status": status, "reason": reason,
                    "n_items": start + max((result.n for result in results.values()), default=0),
                    "score": {probe: result.mean for probe, result in results.items()},
                    "seconds": sum(result.seconds for result in results.values()),
                }
            )  # fmt: skip

    def _preflight(self, baseline: Model) -> None:
        """Refuse probes that cannot measure. Raises ProbeError, unless forced."""
        if "preflight" in self.meta and (self._force or not any(self.meta["preflight"].values())):
            return
        results = self._stored_baseline(baseline)
        refused = {probe: preflight(result) for probe, result in results.items()}
        failure = next(
            trial.reason for trial in self._store.trials("search") if trial.role == "baseline"
        )
        if failure:
            for probe, result in results.items():
                if result.parse_rate < 1:
                    refused[probe].append(f"{failure}; raise n_ctx or take shorter items")
        self._store.set_meta({"preflight": refused})
        if any(refused.values()) and not self._force:
            reasons = "; ".join(
                f"{probe}: {' and '.join(why)}" for probe, why in refused.items() if why
            )
            raise ProbeError(
                f"the baseline cannot be measured with {reasons}. --force (force=True) sweeps anyway"
            )

    def _stored_baseline(self, baseline: Model) -> dict[str, ProbeResult]:
        """Return the baseline's results as they are in the store."""
        scores, parsed, truncated = map(self._baseline_scores, ("score", "parsed", "truncated"))
        return {
            probe.id: self._evaluation.stored_result(
                probe.id,
                str(baseline.layer_path),
                scores[probe.id],
                parsed[probe.id],
                truncated[probe.id],
            )
            for probe in self._probes
        }

    def _baseline_scores(self, what: str) -> dict[str, statistics.Floats]:
        """Return "score", "parsed" or "truncated" of the baseline's items in the search, by probe."""
        if what not in self._baseline:
            trial = next(
                trial for trial in self._store.trials("search") if trial.role == "baseline"
            )
            values = self._store.scores("search", what)[trial.id]
            names = np.array([probe for probe, _, _, _ in self._store.items("search")])
            self._baseline[what] = {probe.id: values[names == probe.id] for probe in self._probes}
        return self._baseline[what]

    def confirm(self, progress: bool = False) -> None:
        """Measure the best candidates and as many random paths of the same extra length on fresh
        items.

        The number of items is what finds an effect of min_effect with a power of 0.9, as far as the
        probes have so many and up to 1024 of each. Raises RequestError if nothing was searched yet.
        """
        model = self._open_model()
        if not self._plan_confirmation(model):
            return  # the budget went before anything was measured in full; a resumed run may bring something
        plan = self.meta["confirm"]
        evaluation = Evaluation(
            model,
            self._probes,
            n=plan["n_items"],
            split="confirm",
            seed=self.meta["seed"],
            **self._asking,
        )
        plan["n_items"] = max(
            len(evaluation.items(probe.id)) for probe in self._probes
        )  # a fixed list may have fewer
        for probe in self._probes:
            self._store.add_items("confirm", probe.id, evaluation.items(probe.id))
        work = [("baseline", LayerPath(None, model.n_layer))]
        work += [("top", LayerPath(layers, model.n_layer)) for layers in plan["top"]]
        work += [("control", LayerPath(layers, model.n_layer)) for layers in plan["controls"]]
        with tqdm(total=len(work), desc="confirming", unit="path", disable=not progress) as bar:
            for role, path in work:
                if self._budget.is_spent():
                    self._store.set_meta(
                        {"stopped": "the budget was spent before the confirmation was complete"}
                    )
                    return
                self._measure("confirm", role, path, evaluation, 0, None)
                bar.update()
        self._store.set_meta({"confirm": plan | {"is_complete": True}})

    def _plan_confirmation(self, model: Model) -> bool:
        """Choose the paths and the number of items, and keep them in the file. False: there is
        nothing to confirm yet.

        After a search that went on since (its budget was spent) the paths are chosen again; the
        number of items stays.
        """
        meta = self.meta
        frame = self.results()
        if not len(frame) and not meta.get("stopped"):
            raise RequestError("nothing was searched yet; call run() first")
        done = frame[frame["status"] == "done"]
        earlier = meta.get("confirm")
        if not len(done) or (earlier and earlier["n_searched"] == len(done)):
            return bool(earlier)
        chosen = done.head(meta["top"])
        tops = [LayerPath(list(layers), model.n_layer) for layers in chosen["layers"]]
        controls = control_paths(tops, model.n_layer, random.Random(f"controls {meta['seed']}"))
        # few items tell a deviation badly, and one that is too small would plan too few of them
        deviation = max(
            statistics.deviation_at_most(row["deviation"], row["n_items"] * len(self._probes))
            for _, row in chosen.iterrows()
        )
        needed = statistics.items_needed(deviation, meta["min_effect"], max(1, len(tops)), POWER)
        plan = {
            "top": [list(path.layers) for path in tops],
            "controls": [list(path.layers) for path in controls],
            "n_items": max(16, min(MAX_CONFIRM_ITEMS, -(-needed // len(self._probes)))),
            "n_needed": needed,
            "n_searched": len(done),
            "min_effect": meta["min_effect"],
            "is_complete": False,
        }
        if earlier:
            plan["n_items"] = earlier["n_items"]
            roles = {str(path): "control" for path in controls} | {
                str(path): "top" for path in tops
            }
            self._store.keep_trials(
                "confirm", roles | {str(LayerPath(None, model.n_layer)): "baseline"}
            )
        self._store.set_meta({"confirm": plan})
        return True

    def close(self) -> None:
        """Close the file. The model stays open."""
        self._store.close()

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_model(self) -> Model:
        if self._model is None:
            raise RequestError(
                "this sweep was opened to be looked at; make it with rys.Sweep(model, ...) to go on"
            )
        return self._model


def default_store(source: str, probes: Sequence[Probe]) -> Path:
    """Return the name of a store in the current folder: from the model's file and the probes."""
    return Path(
        f"{Path(source).stem}.{'+'.join(probe.id for probe in probes)}.sweep.db".replace("/", "_")
    )


def open_or_create(path: Path, settings: Mapping[str, Any], free: Mapping[str, Any]) -> Store:
    """Return the sweep's file, new or resumed. Raises StoreError if it is of another sweep.

    settings: what must be the same. free: what else a new file holds.
    """
    if not path.exists():
        return Store.create(path, {**settings, **free})
    store = Store.open(path)
    meta = store.meta
    differing = list(_differences(meta, settings))
    if differing:
        store.close()
        raise StoreError(
            f"{path} is the file of another sweep: {'; '.join(differing)}. Give another --store, or the same settings"
        )
    return store


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Yield what of the new settings differs, in words."""
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            yield from _differences(before, {**dict.fromkeys(before), **value}, f"{within}{key}.")
        elif before != value:
            yield f"{within}{key} was {before!r} and is {value!r}"
