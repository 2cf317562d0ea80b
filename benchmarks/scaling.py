"""How does the time of a candidate grow, and the memory of a sweep?

Measured: seconds per candidate, from `with_path` to the results, against the depth (slots of the
path), the items (prompts of 64 tokens) and the length of the prompts; one of them grows, the others
stay. And whole sweeps of more and more candidates, up to the 3,240 blocks that a model of 80 layers
has: seconds per candidate, the part of them that is not llama.cpp's (`own_seconds`), the peak
memory while it runs (`run_peak_bytes`), and with the statistics of `Sweep.results` after it
(`peak_bytes`). A sweep's own part does not depend on the model, so these run the reference model
and few items; each is a process of its own.

Why: a sweep of a large model is planned from a small one's figures, which is right if costs are
linear. And nothing may grow with the number of candidates while a sweep runs: not the time for the
next one, not the memory.

The physical limit: depth, items and tokens are each so many times the same work: linear. Fixed
costs (a context, the output matrix) make the exponent smaller, attention over longer prompts makes
it larger. Candidates cost each the same: flat. The statistics compare all of them at once.

Targets: an `exponent` is the slope of a straight line through the logarithms, one a round. Linear
is at most 1.1 (time against slots, items and tokens; memory with the statistics), flat is at most
0.1 (the others).

JSON: `results` has a list `curves`, of each: `what`, `against`, `sizes`, `values` (one spread for
each size) and `exponent`, with `target` and `verdict`; and `bytes_per_candidate`: the slopes of the
straight lines of `run_peak_bytes` and `peak_bytes`, null but on Linux. The curves are `seconds`
against `slots`, `items` and `tokens`, and `seconds`, `own_seconds`, `run_peak_bytes` and
`peak_bytes` against `candidates`. Below 0, what is paid once a sweep is shared by more.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --png benchmarks/scaling.png   # the picture of README.md
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path

import numpy as np

import rys
from make_model import benchmark_folder
from measuring import (
    Report,
    argument_parser,
    digits,
    parse,
    peak_memory,
    positive,
    random_tokens,
    scratch_folder,
    seconds,
    spread,
    table,
    take_turns,
    verdict,
    write_report,
)
from rys import LayerPath, Model, NextToken
from rys.reference import reference_model
from sweep import timed_core

LINEAR, FLAT = {"at_most": 1.1}, {"at_most": 0.1}
N_ITEMS, N_TOKENS = 4, 64  # where they stay
N_SWEEP_ITEMS = 8


def curve(
    what: str,
    against: str,
    sizes: Sequence[int],
    values: Sequence[Sequence[float]],
    target: dict[str, float],
) -> Report:
    """Return what a curve says. values: for each size, one of each round."""
    rounds = np.array(values).T  # [n_rounds, n_sizes]
    exponents = [float(np.polyfit(np.log(sizes), np.log(one), 1)[0]) for one in rounds]
    exponent = spread(exponents)
    return {
        "what": what,
        "against": against,
        "sizes": list(sizes),
        "values": [spread(one) for one in values],
        "exponent": exponent,
        **verdict(exponent["interval"], **target),
    }


def candidate(base: Model, n_slot: int, n_items: int, n_tokens: int) -> Callable[[], float]:
    """Return what measures a candidate of n_slot slots: the file's layers, over and over."""
    rng = np.random.default_rng(0)
    path = LayerPath(list(islice(cycle(range(base.n_layer)), n_slot)), base.n_layer)
    prompts = [random_tokens(rng, base.n_vocab, n_tokens) for _ in range(n_items)]
    requests = base.prepare([NextToken(prompt, allowed=[1]) for prompt in prompts])

    def evaluate() -> None:
        with base.with_path(path) as view:
            view.run(requests)

    return partial(seconds, evaluate)


def grow_a_candidate(options: argparse.Namespace) -> list[Report]:
    base = Model(options.model, n_threads=options.n_threads, cache_prompt=False)
    n, n_doublings = base.n_layer, 2 if options.quick else 4
    axes: dict[str, tuple[list[int], Callable[[int], Callable[[], float]]]] = {
        "slots": (
            [n // 2 * 2**i for i in range(n_doublings)],
            lambda size: candidate(base, size, N_ITEMS, N_TOKENS),
        ),
        "items": (
            [N_ITEMS * 2**i for i in range(n_doublings)],
            lambda size: candidate(base, n, size, N_TOKENS),
        ),
        "tokens": (
            [N_TOKENS * 2**i for i in range(n_doublings)],
            lambda size: candidate(base, n, N_ITEMS, size),
        ),
    }
    curves = []
    for against, (sizes, make) in axes.items():
        times = take_turns({str(size): make(size) for size in sizes}, options.rounds, n_warm_up=0)
        curves.append(curve("seconds", against, sizes, list(times.values()), LINEAR))
    return curves


def sweep_of(n: int) -> Report:
    """Sweep n paths of the same length on the reference model, in this process."""
    for module in ("pandas", "scipy.stats"):
        importlib.import_module(module)  # not the sweep's time
    with reference_model(n_threads=1, n_ctx=512) as model, scratch_folder() as folder:
        layers = range(model.n_layer)
        paths = [[*layers, *last] for last in islice(product(layers, repeat=4), n)]
        sweep = rys.Sweep(
            model, "reference", rys.space.paths(paths), store=folder / "sweep.db",
            items=N_SWEEP_ITEMS, strategy="scan", force=True,
        )  # fmt: skip
        with sweep, timed_core() as core:
            start = time.perf_counter()
            sweep.run()
            run_peak = peak_memory()
            n_done = len(sweep.results())
            elapsed = time.perf_counter() - start
        assert n_done == n
    return {
        "seconds": elapsed / n,
        "own_seconds": (elapsed - core.seconds) / n,
        "run_peak_bytes": run_peak,
        "peak_bytes": peak_memory(),
    }


def grow_a_sweep(
    options: argparse.Namespace, sizes: Sequence[int]
) -> tuple[list[Report], Report | None]:
    reports: dict[int, list[Report]] = {size: [] for size in sizes}

    def measure(size: int) -> float:
        """Return which of the reports it is: one that was disturbed may be repeated."""
        command = [sys.executable, __file__, "--model", str(options.model), "--sweep-of", str(size)]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        reports[size].append(json.loads(result.stdout))
        return len(reports[size]) - 1

    numbers = take_turns(
        {str(size): partial(measure, size) for size in sizes}, options.rounds, n_warm_up=0
    )

    def values(name: str) -> list[list[float]]:
        return [
            [reports[size][int(number)][name] for number in numbers[str(size)]] for size in sizes
        ]

    targets = {"seconds": FLAT, "own_seconds": FLAT, "run_peak_bytes": FLAT, "peak_bytes": LINEAR}
    if reports[sizes[0]][0]["peak_bytes"] is None:  # not on Linux
        del targets["run_peak_bytes"], targets["peak_bytes"]
    curves = [
        curve(name, "candidates", sizes, values(name), target) for name, target in targets.items()
    ]
    slopes = {
        name: digits(float(np.polyfit(sizes, np.median(values(name), axis=1), 1)[0]))
        for name in targets
        if name.endswith("bytes")
    }
    return curves, slopes or None


def draw(curves: Sequence[Report], png: Path) -> None:
    """Draw every curve with both axes logarithmic, beside a straight line of the target's slope."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    names = {
        "seconds": "seconds per candidate",
        "own_seconds": "of these, not llama.cpp's",
        "run_peak_bytes": "peak bytes of the run",
        "peak_bytes": "with the statistics",
    }
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, one in zip(figure.subplots(2, 4).flat, curves, strict=False):
        sizes = np.array(one["sizes"])
        medians = np.array([value["median"] for value in one["values"]])
        ends = np.array([value["interval"] for value in one["values"]]).T
        slope = 1 if one["target"] == "<= 1.1" else 0
        axes.plot(
            sizes,
            medians[0] * (sizes / sizes[0]) ** slope,
            color="0.7",
            linestyle="--",
            linewidth=1,
        )
        axes.errorbar(
            sizes,
            medians,
            abs(ends - medians),
            color="#1f5fa8",
            marker="o",
            markersize=4,
            capsize=2,
        )
        axes.loglog()
        axes.set_ylim(medians.min() / 4, medians.max() * 4)  # a power of ten is always among them
        axes.set_xticks(sizes, [f"{size}" for size in sizes])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(one["against"])
        axes.set_ylabel(names[one["what"]])
        axes.set_title(
            f"exponent {one['exponent']['median']:.2f}, {one['verdict']}", fontsize="medium"
        )
    for axes in figure.axes[len(curves) :]:
        axes.remove()
    figure.suptitle("dashed: in proportion, or the same for all", fontsize="medium")
    png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(png, dpi=90)


def main() -> None:
    parser = argument_parser(__doc__ or "", n_rounds=3)
    parser.add_argument(
        "--candidates", type=positive, help="of the largest sweep (default: 3240; more than 10)"
    )
    parser.add_argument(
        "--png",
        type=Path,
        help="the picture (default: scaling.png in the cache folder; with --quick, "
        "scaling.quick.png)",
    )
    # measure this one in this process
    parser.add_argument("--sweep-of", type=int, help=argparse.SUPPRESS)
    options = parse(parser)
    if options.candidates and options.candidates <= 10:
        parser.error(
            f"--candidates is {options.candidates}, but the smallest sweep has 10: give more"
        )
    png = options.png or benchmark_folder() / (
        "scaling.quick.png" if options.quick else "scaling.png"
    )
    if png.suffix != ".png" or png.is_dir():
        parser.error(f"--png is {str(png)!r}, but must be a file that ends in .png")
    if options.sweep_of:
        print(json.dumps(sweep_of(options.sweep_of)))
        return

    largest = options.candidates or (20 if options.quick else 3240)
    sizes = [size for size in (10, 32, 100, 320, 1000) if size < largest] + [largest]
    curves = grow_a_candidate(options)
    of_sweeps, bytes_per_candidate = grow_a_sweep(options, sizes)
    curves += of_sweeps
    draw(curves, png)
    rows = [
        [
            f"{one['what']} against {one['against']}",
            f"{one['sizes'][0]}..{one['sizes'][-1]}",
            "{:.4g}..{:.4g}".format(*(one["values"][end]["median"] for end in (0, -1))),
            one["exponent"]["median"],
            "{}..{}".format(*one["exponent"]["interval"]),
            f"{one['target']}: {one['verdict']}",
        ]
        for one in curves
    ]
    print(table(["", "sizes", "values", "exponent", "interval", "target"], rows))
    for name, slope in (bytes_per_candidate or {}).items():
        print(f"{name}: {slope:.0f} more for each candidate")
    print(f"curves: {png}")
    write_report("scaling", options, {"curves": curves, "bytes_per_candidate": bytes_per_candidate})


if __name__ == "__main__":
    main()
