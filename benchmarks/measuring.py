"""What the benchmarks share: sides that take turns, ratios with their spread, and the report.

The machine that a benchmark runs on is rarely idle, and its clock changes with its load. So nothing
is timed alone: the sides of a comparison run in turns (A B, then B A, then A B ...), every round
gives one ratio of two times that were taken next to each other, and the result is the median of
these ratios. Beside it stand the `quartiles`, between which half of the rounds lie, and the
`interval` that holds the true median with 95% confidence, from the ranks alone (with fewer than six
rounds: from the smallest to the largest). If the target lies inside of it, the verdict is
"undecided".
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import math
import os
import platform
import pstats
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import rys
from make_model import benchmark_folder, cached_model
from rys._util.json_values import json_value
from rys.export import export
from rys.model_info import read_model_info

Report = dict[str, Any]
Value = TypeVar("Value")


def cpu_seconds() -> tuple[float, float] | None:
    """Return CPU time so far: of all CPUs together, and the part of it that was taken from this
    process.

    Linux only, elsewhere None. The system counts in ticks, mostly of 10 ms.
    """
    if not Path("/proc/stat").is_file():
        return None
    ticks = [
        int(value)
        for value in Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0].split()[1:9]
    ]
    idle = ticks[3] + ticks[4]  # the others: user, nice, system, interrupts, stolen by the host
    own = time.process_time() + sum(os.times()[2:4])
    per_second = os.sysconf("SC_CLK_TCK")
    return sum(ticks) / per_second, (sum(ticks) - idle) / per_second - own


class Quiet:
    """Repeat measurements that other processes disturb, for as long as there is patience.

    llama.cpp's threads wait for each other several hundred times a token, so that one of them that
    has to share its core slows down all, and by far more than the share that it lost. Whether a
    measurement counts is decided by the CPU time of the others alone (5% of all, and two ticks),
    never by its result.
    """

    def __init__(self) -> None:
        self.start = cpu_seconds()
        self.patience = 0.0  # seconds left for waiting and repeating
        self.n_measured = 0
        self.n_repeated = 0
        self.n_disturbed = 0  # measurements that count, although they were disturbed

    def measure(self, measure: Callable[[], float]) -> float:
        """Return what `measure` returns. If it calls this method itself, its parts are repeated,
        and not the whole.
        """
        while True:
            began, n_parts = time.perf_counter(), self.n_measured
            value, disturbed = self.watch(measure)
            self.n_measured += 1
            if not disturbed or self.n_measured > n_parts + 1:
                return value
            while (
                self.patience > time.perf_counter() - began
                and self.watch(partial(time.sleep, 1))[1]
            ):
                pass
            self.patience -= time.perf_counter() - began
            if self.patience <= 0:
                self.n_disturbed += 1
                return value
            self.n_repeated += 1

    @staticmethod
    def watch(call: Callable[[], Value]) -> tuple[Value, bool]:
        """Return what `call` returns, and whether other processes were busy meanwhile."""
        before = cpu_seconds()
        value = call()
        if before is None:
            return value, False
        everything, elsewhere = (
            b - a for a, b in zip(before, cpu_seconds() or before, strict=True)
        )
        return value, elsewhere > 0.05 * everything + 0.02

    def report(self) -> Report:
        """Return the part of the CPUs' time that others took since the start, 0..1, and how often
        that mattered.
        """
        everything, elsewhere = (
            b - a for a, b in zip(self.start or (0, 0), cpu_seconds() or (0, 0), strict=True)
        )
        return {
            "busy_elsewhere": digits(max(0.0, elsewhere / everything)) if everything > 0 else None,
            "n_repeated": self.n_repeated,
            "n_disturbed": self.n_disturbed,
        }


quiet = Quiet()


def positive(text: str) -> int:
    """Read an option that is a number of things."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be 1 or more")
    return number


def non_negative(text: str) -> float:
    """Read an option that is a time."""
    if not 0 <= (number := float(text)) < math.inf:  # NaN neither
        raise argparse.ArgumentTypeError(f"{text} must be a number of seconds, 0 or more")
    return number


def argument_parser(doc: str, n_rounds: int | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have. n_rounds: None = there is one,
    nothing is repeated.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a GGUF (default: what make_model.py writes)")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds and short prompts: shows that it runs"
    )
    parser.add_argument(
        "--n-threads", type=positive, help="threads of llama.cpp (default: the physical cores)"
    )
    parser.set_defaults(n_rounds=n_rounds, rounds=None if n_rounds else 1, patience=0)
    if n_rounds:
        parser.add_argument(
            "--rounds",
            type=positive,
            help=f"rounds in which every side has a turn (default: {n_rounds})",
        )
        parser.add_argument(
            "--patience",
            type=non_negative,
            default=0,
            metavar="SECONDS",
            help="spend so long on repeating what other processes disturb "
            "(default: nothing is repeated)",
        )
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the options, and end in good order when the program is told to: processes and scratch
    folders go with it.
    """
    options = parser.parse_args()
    options.model = options.model or cached_model()
    try:
        read_model_info(options.model)
    except rys.RysError as error:
        parser.error(str(error))
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if (
            number is not None and signal.getsignal(number) is not signal.SIG_IGN
        ):  # nohup has it ignored
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    quiet.patience = options.patience
    options.rounds = options.rounds or (2 if options.quick else options.n_rounds)
    return options


def random_tokens(rng: np.random.Generator, n_vocab: int, n: int) -> list[int]:
    """Return n token ids of the first nine tenths of the vocabulary, behind which special tokens
    often stand.
    """
    return [int(token) for token in rng.integers(0, max(1, n_vocab * 9 // 10), n)]


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes. Garbage of what ran before is collected beforehand."""
    gc.collect()
    start = time.perf_counter()
    result = call()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def take_turns(
    sides: Mapping[str, Callable[[], float]], n_rounds: int, n_warm_up: int = 1
) -> dict[str, list[float]]:
    """Run every side once a round, in an order that is turned round each time; return what they
    returned.

    The first `n_warm_up` rounds do not count: they fill caches and fault memory in.
    """
    values: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(n_warm_up + n_rounds):
        order = list(sides) if i % 2 == 0 else list(reversed(list(sides)))
        for name in order:
            value = quiet.measure(sides[name])
            if i >= n_warm_up:
                values[name].append(value)
    return values


def spread(values: Sequence[float]) -> Report:
    """Return the median, the quartiles and the 95% interval of the median."""
    ranked = sorted(values)
    n = len(ranked)
    skip = 0  # as many values at each end as leave the interval of the sign test above 95%
    while 2 * sum(math.comb(n, i) for i in range(skip + 1)) < 0.05 * 2**n:
        skip += 1
    skip = max(0, skip - 1)
    low, median, high = np.quantile(ranked, [0.25, 0.5, 0.75])
    return {
        "median": digits(median),
        "quartiles": [digits(low), digits(high)],
        "interval": [digits(ranked[skip]), digits(ranked[n - 1 - skip])],
        "n": n,
    }


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratio of each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def verdict(
    interval: Sequence[float], *, at_least: float = -math.inf, at_most: float = math.inf
) -> Report:
    """Return the target, and whether all of the interval meets it.

    The verdict is "met", "missed", or "undecided" if the target lies inside the interval.
    """
    target = f">= {at_least:g}" if at_least > -math.inf else f"<= {at_most:g}"
    meets = [at_least <= end <= at_most for end in interval]
    if all(meets):
        return {"target": target, "verdict": "met"}
    return {"target": target, "verdict": "undecided" if any(meets) else "missed"}


def listed(profile: Sequence[tuple[str, float]]) -> str:
    """Return a profile, as `profiled` gives it, in one line."""
    return ", ".join(f"{name} {share}" for name, share in profile) or "nothing"


def digits(value: float) -> float:
    """Return a number as precise as it is worth: four significant digits."""
    return float(f"{value:.4g}")


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Give a folder for copies of models, by default on the disk of the cached model."""
    parent = parent or benchmark_folder()
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rys-scratch-", dir=parent) as folder:
        yield Path(folder)


def physical_copy(model: Path, layers: Sequence[int] | None, copy: Path) -> Path:
    """Write the GGUF whose layers are those of `model` along a path, on disk and in the page cache.

    layers: None = the file's own order. Decode along a view and on a copy are compared with such a
    file as the base: it reads weights faster from a file that was just written (up to 15% in one
    noisy check; why was not looked at).
    """
    export(model, copy, layers, force=True)
    warm_page_cache(copy)
    return copy


def warm_page_cache(path: Path) -> None:
    """Read a file once, so that what loads it afterwards waits for no disk."""
    with path.open("rb") as file:
        while file.read(1 << 22):
            pass


def peak_memory(process: int | str = "self") -> int | None:
    """Return the largest resident set size of a process so far, in bytes; None but on Linux."""
    status = Path(f"/proc/{process}/status")
    if not status.is_file():
        return None
    line = next(
        line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def forget_peak_memory() -> None:
    """Let this process's largest resident set size be that of now."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def profiled(call: Callable[[], object]) -> list[tuple[str, float]]:
    """Return what takes 1% of a call's time or more, apart from llama.cpp's work.

    Returns:
        Pairs of function and share, largest first.
    """
    profile = cProfile.Profile()
    profile.enable()
    call()
    profile.disable()
    stats: Any = pstats.Stats(profile)
    llama_cpp = (
        "_core.advance",
        "_core.Context",
        "session.py:context",
        "session.py:close",
    )  # close frees the context
    shares = [
        (own / stats.total_tt, f"{Path(file).name}:{function}")
        for (file, _, function), (_, _, own, *_) in stats.stats.items()
    ]
    return [
        (function, digits(share))
        for share, function in sorted(shares, reverse=True)
        if share >= 0.01 and not any(name in function for name in llama_cpp)
    ]


def open_context(model: rys.Model) -> rys.Model:
    """Make the model's context, which otherwise the first request would do."""
    model._session.context()
    return model


def machine() -> Report:
    """Describe what the benchmark ran on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    info = rys.build_info()
    return {
        "cpu": cpu,
        "n_cpu": os.cpu_count(),
        "memory_gib": digits(info["devices"][-1]["memory_total"] / 2**30)
        if info["devices"]
        else None,
        "backends": info["backends"],
        "devices": [device["description"] for device in info["devices"]],
        "python": platform.python_version(),
        "rys": info["rys_version"],
        "llama_cpp": info["llama_cpp_commit"],
    }


def write_report(benchmark: str, options: argparse.Namespace, results: Report) -> None:
    """Print the report as one line of JSON, the last line of the output."""
    report = {
        "benchmark": benchmark,
        "model": options.model.name,
        "quick": options.quick,
        "rounds": options.rounds,
        "results": results,
        "machine": machine(),
        "noise": quiet.report(),
    }
    print(json.dumps(json_value(report), allow_nan=False), flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows under a header, in columns."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
