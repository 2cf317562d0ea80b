"""The confirmation: which paths meet fresh items, on how many items, and their evaluation."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace

from tqdm import tqdm

from rys import statistics
from rys._util.durations import end_time
from rys.errors import RequestError
from rys.layer_path import LayerPath
from rys.probes import Evaluation
from rys.sweep.controls import control_paths
from rys.sweep.evaluator import Task
from rys.sweep.measurer import Measurer
from rys.sweep.settings import ConfirmationPlan
from rys.sweep.store import Store
from rys.sweep.sweep_file import SweepFile
from rys.sweep.trial import Role, Stage, Status, bound_path

__all__ = [
    "MAX_CONFIRM_ITEMS",
    "MIN_CONFIRM_ITEMS",
    "POWER",
    "measure_confirmation",
    "plan_confirmation",
]

MAX_CONFIRM_ITEMS = 1024  # of each probe
MIN_CONFIRM_ITEMS = 16  # of each probe; fewer tell little whatever the plan says
POWER = 0.9  # the probability to find a gain of min_effect

OUT_OF_BUDGET = "the budget was spent before the confirmation was complete"


def plan_confirmation(sweep: SweepFile, store: Store) -> ConfirmationPlan | None:
    """Choose the paths and the number of items, and keep them in the file.

    After a search that went on since (because its budget had been spent) the paths are chosen
    again; the number of items stays.

    Args:
        sweep: The sweep's file, for its results.
        store: The same file, for writing.

    Returns:
        The plan; None if nothing can be confirmed yet, because the budget was spent before a
        candidate had answered all items.

    Raises:
        RequestError: Nothing was searched yet.
    """
    settings, options = store.settings, store.options
    frame = sweep.results()
    if not len(frame) and not store.progress.stopped:
        raise RequestError("nothing was searched yet; call run() first")
    done = frame[frame["status"] == Status.DONE.value]
    earlier = store.confirmation_plan
    if not len(done) or (earlier and earlier.n_searched == len(done)):
        return earlier
    chosen = done.head(options.top)
    n_layer, n_probes = settings.n_layer, len(store.item_hashes(Stage.SEARCH))
    tops = [bound_path(text, n_layer) for text in chosen["path"]]
    # Seeded by the sweep's seed, so that a resumed sweep draws the same paths.
    controls = control_paths(tops, n_layer, random.Random(f"controls {settings.seed}"))
    # Few items estimate a deviation badly, and one that is too small would plan too few items.
    deviations = []
    for deviation, n_items in zip(chosen["deviation"], chosen["n_items"], strict=True):
        deviations.append(statistics.deviation_at_most(deviation, n_items * n_probes))
    n_top = max(1, len(tops))
    needed = statistics.items_needed(max(deviations), options.min_effect, n_top, POWER)
    of_each = -(-needed // n_probes)  # rounded up
    plan = ConfirmationPlan(
        top=tuple(map(str, tops)),
        controls=tuple(map(str, controls)),
        n_items=max(MIN_CONFIRM_ITEMS, min(MAX_CONFIRM_ITEMS, of_each)),
        n_needed=needed,
        n_searched=len(done),
        min_effect=options.min_effect,
    )
    if earlier:
        # The items are fresh only once, so as many as were planned first are all there are.
        plan = replace(plan, n_items=earlier.n_items)
        roles = dict.fromkeys(plan.controls, Role.CONTROL) | dict.fromkeys(plan.top, Role.TOP)
        roles[str(LayerPath(None, n_layer))] = Role.BASELINE
        store.keep_trials(Stage.CONFIRM, roles)
    store.write(plan)
    return plan


def measure_confirmation(
    store: Store,
    measurer: Measurer,
    plan: ConfirmationPlan,
    evaluation: Evaluation,
    progress: bool,
) -> None:
    """Evaluate what was planned, as far as it is not evaluated yet.

    Args:
        store: The sweep's file.
        measurer: What measures the paths.
        plan: The paths.
        evaluation: The fresh items.
        progress: Whether to show a progress bar.
    """
    sizes = []
    for probe in evaluation.probes:
        items = evaluation.items(probe.id)
        store.add_items(Stage.CONFIRM, probe.id, items)
        sizes.append(len(items))
    plan = replace(plan, n_items=max(sizes))  # a probe with a fixed list may have fewer
    work = _work(plan, store.settings.n_layer)
    begun = time.monotonic()
    with tqdm(total=len(work), desc="confirming", unit="path", disable=not progress) as bar:
        for done, (role, path) in enumerate(work):
            if measurer.budget.is_spent():
                store.write(replace(store.progress, stopped=OUT_OF_BUDGET))
                return
            measurer.measure_once(Task(Stage.CONFIRM, path), role)
            pace = (time.monotonic() - begun) / (done + 1)
            bar.set_postfix_str(f"ends about {end_time(pace * (len(work) - done - 1))}")
            bar.update()
    store.write(replace(plan, is_complete=True))


def _work(plan: ConfirmationPlan, n_layer: int) -> Sequence[tuple[Role, LayerPath]]:
    # The baseline first: without it nothing of the stage can be read.
    work = [(Role.BASELINE, LayerPath(None, n_layer))]
    work += [(Role.TOP, bound_path(text, n_layer)) for text in plan.top]
    work += [(Role.CONTROL, bound_path(text, n_layer)) for text in plan.controls]
    return work
