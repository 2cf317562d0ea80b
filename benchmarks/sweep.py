"""How much of a sweep's time is the model's?

Measured: `Sweep.run` and `Sweep.confirm` on one model, every block of a few sizes, all items (a
scan); and in it the time inside of llama.cpp: making and freeing contexts, evaluating requests. The
rest is ours: views, reading and marking answers, the store, statistics, and the time to switch from
one candidate to the next. The time of the libraries' import and of writing the items is not part of
it, since it does not grow with the candidates; it stands beside it. A profile of a smaller sweep
tells what of ours takes 1% of the time or more.

Why: model time is a sweep's time. Nothing of ours may be visible beside it.

The physical limit: 1, if all that is ours were free.

Targets: at least 0.97 of the time in llama.cpp; less than 20 ms from one candidate to the next
(view and context).

JSON: `results` has `n_candidates`, `n_items`, `seconds`, `model_seconds`, `share` (with `target`
and `verdict`), `switch_seconds` (over the candidates, with `target` and `verdict`),
`prepare_seconds`, and `profile`: what of ours takes 1% or more, as [function, share of the whole].

    python benchmarks/sweep.py --model MODEL        # default: the reference model
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rys
from measuring import (
    argument_parser,
    digits,
    listed,
    parse,
    positive,
    profiled,
    scratch_folder,
    spread,
    table,
    verdict,
    write_report,
)
from rys.engine import session as session_module
from rys.engine import view as view_module
from rys.reference import reference_model_path


class Stopwatch:
    """Add up the time that calls of a function take."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls: list[float] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return self.function(*arguments, **options)
        finally:
            self.calls.append(time.perf_counter() - start)


class TimedCore:
    """Stand in front of the extension module, and time what is llama.cpp's work."""

    def __init__(self, core: Any) -> None:
        self.core = core
        self.contexts = Stopwatch(core.Context)
        self.models = Stopwatch(core.Model)
        # frees the context, which nothing else holds
        self.closes = Stopwatch(view_module.View.close)
        self.advances: list[float] = []
        self.switches: list[float] = []  # of a view and its context

    @property
    def seconds(self) -> float:
        """The time of contexts and evaluations so far."""
        return sum(self.contexts.calls) + sum(self.advances) + sum(self.closes.calls)

    def __getattr__(self, name: str) -> Any:
        if name == "Context":
            return self.context
        if name == "Model":
            return self.models
        if name == "Scheduler":
            return self.scheduler
        return getattr(self.core, name)

    def context(self, *arguments: Any) -> Any:
        context = self.contexts(*arguments)
        self.switches.append(self.models.calls[-1] + self.contexts.calls[-1])
        return context

    def scheduler(self, *arguments: Any) -> Any:
        return TimedScheduler(self.core.Scheduler(*arguments), self.advances)


class TimedScheduler:
    def __init__(self, scheduler: Any, advances: list[float]) -> None:
        self.scheduler = scheduler
        self.advances = advances

    def advance(self, *arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return self.scheduler.advance(*arguments)
        finally:
            self.advances.append(time.perf_counter() - start)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scheduler, name)


@contextmanager
def timed_core() -> Iterator[TimedCore]:
    """Time what is llama.cpp's work, of all models."""
    modules: list[Any] = [session_module, view_module]
    core = TimedCore(modules[0]._core)
    close = view_module.View.close
    for module in modules:
        module._core = core
    view_module.View.close = lambda self: core.closes(self)  # type: ignore[method-assign]
    try:
        yield core
    finally:
        for module in modules:
            module._core = core.core
        view_module.View.close = close  # type: ignore[method-assign]


def main() -> None:
    parser = argument_parser(__doc__ or "", n_rounds=None)
    parser.add_argument(
        "--probes", default="reference", help="names, with commas (default: reference)"
    )
    parser.add_argument("--items", type=positive, default=64)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6], help="of the blocks"
    )
    parser.set_defaults(model=reference_model_path())
    options = parse(parser)
    if options.quick:
        options.items, options.sizes = 16, [4]

    for module in ("pandas", "scipy.stats"):
        importlib.import_module(module)  # not the sweep's time

    with rys.Model(options.model, n_threads=options.n_threads) as model, scratch_folder() as folder:
        start = time.perf_counter()
        sweep = rys.Sweep(
            model,
            options.probes.split(","),
            rys.space.blocks(sizes=options.sizes),
            store=Path(folder) / "sweep.db",
            items=options.items,
            strategy="scan",
            min_effect=0.1,
            force=True,
        )
        prepare = time.perf_counter() - start
        with timed_core() as core:
            start = time.perf_counter()
            sweep.run()
            sweep.confirm()
            elapsed = time.perf_counter() - start
        n_candidates = len(sweep.results())
        profile = profile_of_a_sweep(model, options, Path(folder))
        sweep.close()

    share = core.seconds / elapsed
    print(
        table(["", "seconds"], [["sweep", digits(elapsed)], ["in llama.cpp", digits(core.seconds)]])
    )
    print(f"in llama.cpp: {share:.3f} of the time of {n_candidates} candidates (target >= 0.97)")
    switch = 1e3 * spread(core.switches)["median"]
    print(f"from one candidate to the next: {switch:.1f} ms (target < 20)")
    print(f"of ours, 1% or more: {listed(profile)}")
    results = {
        "n_candidates": n_candidates,
        "n_items": options.items,
        "seconds": digits(elapsed),
        "model_seconds": digits(core.seconds),
        "share": digits(share),
        **verdict([share, share], at_least=0.97),
        "switch_seconds": spread(core.switches)
        | verdict(spread(core.switches)["interval"], at_most=0.02),
        "prepare_seconds": digits(prepare),
        "profile": profile,
    }
    write_report("sweep", options, results)


def profile_of_a_sweep(model: rys.Model, options: Any, folder: Path) -> list[tuple[str, float]]:
    """Return what of ours takes 1% of a smaller sweep's time, or more."""
    small = rys.Sweep(
        model,
        options.probes.split(","),
        rys.space.blocks(sizes=options.sizes[:1]),
        store=folder / "profile.db",
        items=options.items,
        strategy="scan",
        force=True,
    )
    with small:
        return profiled(small.run)


if __name__ == "__main__":
    main()
