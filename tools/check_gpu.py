"""Run rys on a machine with a GPU, and write what was seen to one JSON file.

    python tools/check_gpu.py --output check_gpu.json              all of it, with the installed rys
    python tools/check_gpu.py --output check_gpu.json --minutes 8  leaves out what no longer fits
    python tools/check_gpu.py --output check_gpu.json --steps equality sweep

Without a GPU the same steps run on the CPU, on small models: so the script can be rehearsed.

The steps, each in a process of its own, so that one that crashes does not cost the others:

- environment: what was built in, which devices are there.
- equality: logits along paths against physical copies of the file, with all layers and with half of
  them on the GPU, and both against the CPU. A slot's cache must lie where its weights lie.
- large: a model of 7B shape with random weights. Memory over many switches of path, the time of a
  switch, and the seconds that a candidate of a sweep takes, against writing and loading its copy.
- benchmark: benchmarks/gpu.py on the 0.5B shape.
- sweep: the reference model, to a verdict, on the GPU and on the CPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import make_model  # type: ignore[import-not-found]  # noqa: E402  (found through the line above)
import rys  # noqa: E402
from rys._util.json_values import json_value  # noqa: E402
from rys.export import export  # noqa: E402
from rys.probes import Evaluation  # noqa: E402
from rys.reference import reference_model_path  # noqa: E402

Step = dict[str, Any]
Logits = npt.NDArray[np.float32]

TOLERANCE = 1e-4  # of the mean square: kernels of different backends add up in different orders
N_SWITCHES = 30
N_CANDIDATES = 6
STEPS = ("environment", "equality", "large", "benchmark", "sweep")
N_COPIES = 2  # writing and loading the copy of a 7B model takes a while


def gpus() -> list[dict[str, Any]]:
    """Return the devices that are GPUs."""
    devices = rys.build_info()["devices"]
    return [device for device in devices if device["type"] in ("gpu", "igpu")]


def free_memory() -> int:
    """Return the bytes that are free on all GPUs together."""
    return sum(device["memory_free"] for device in gpus())


def normalised_error(found: Logits, expected: Logits) -> float:
    """Return the mean squared error over the mean square of what is expected."""
    difference = found.astype(np.float64) - expected
    return float(np.mean(difference**2) / np.mean(expected.astype(np.float64) ** 2))


def environment() -> Step:
    """Say what was built in and which devices there are."""
    return {"has_gpu": bool(gpus()), "build": rys.build_info()}


def equality(folder: Path) -> Step:
    """Compare views with physical copies, with all and with half of the layers on the GPU."""
    file = reference_model_path()
    with rys.Model(file, n_gpu_layers=0) as model:
        n = model.n_layer
        tokens = model.tokenize("Last digit of 4+8+9+2?")
    paths = {
        "a layer twice": f"..{n // 2},{n // 2}..",
        "a block twice": f"..{2 * n // 3 - 1},{n // 3}..",
        "everything twice": "..,..",
        "without the middle": f"..{n // 2 - 1},{n // 2 + 1}..",
    }
    rows: list[dict[str, Any]] = []
    for name, path in paths.items():
        copy = folder / "copy.gguf"
        export(file, copy, path, force=True)
        with rys.Model(file, path, n_gpu_layers=0) as model:
            on_cpu = model.logits(tokens)
        for n_gpu_layers in (-1, n // 2):
            with rys.Model(file, path, n_gpu_layers=n_gpu_layers) as view:
                found = view.logits(tokens)
            with rys.Model(copy, n_gpu_layers=n_gpu_layers) as model:
                expected = model.logits(tokens)
            rows.append(
                {
                    "path": path,
                    "what": name,
                    "n_gpu_layers": n_gpu_layers,
                    "is_bit_identical": bool(np.array_equal(found, expected)),
                    "error_to_copy": normalised_error(found, expected),
                    "error_to_cpu": normalised_error(found, on_cpu),
                }
            )
    errors = [row[kind] for row in rows for kind in ("error_to_copy", "error_to_cpu")]
    largest = float(np.max(errors))  # NaN if any is
    return {"rows": rows, "largest_error": largest, "is_met": largest <= TOLERANCE}


def sweep(folder: Path) -> Step:
    """Sweep the reference model on the GPU and on the CPU, to a verdict."""
    found: Step = {}
    for name, n_gpu_layers in (("gpu", -1), ("cpu", 0)):
        begin = time.perf_counter()
        with rys.reference_model(n_gpu_layers=n_gpu_layers) as model:
            blocks = rys.space.blocks(sizes=range(1, 7))
            store = folder / f"{name}.db"
            with rys.Sweep(model, "reference", blocks, store=store, min_effect=0.1) as run:
                run.run()
                run.confirm()
                report = run.report()
        found[name] = {
            "seconds": time.perf_counter() - begin,
            "n_candidates": report.n_candidates,
            "verdict": report.verdict,
            "best": report.best and report.best.layer_path,
            "sentence": report.sentence,
        }
    found["is_same_verdict"] = found["gpu"]["verdict"] == found["cpu"]["verdict"]
    return found


def large(folder: Path, shape: str) -> Step:
    """Measure memory, switches and candidates on a model of a real model's shape."""
    begin = time.perf_counter()
    file = make_model.write_model(folder / "large.gguf", shape=shape)
    found: Step = {"shape": shape, "bytes": file.stat().st_size}
    found["seconds_to_write"] = time.perf_counter() - begin
    with rys.Model(file, n_ctx=4096) as base:
        evaluation = Evaluation(base, ["math", "eq", "reasoning"], n=64)
        evaluation.run(base)  # what the backend allocates once belongs to no path
        found |= switches(base)
        found["candidates"] = candidates(base, evaluation, file, folder)
    return found


def switches(base: rys.Model) -> Step:
    """Switch from path to path, each with its context and one answer; watch time and memory."""
    seconds, free = [], []
    for k in range(N_SWITCHES):
        start = 1 + k % (base.n_layer - 4)
        begin = time.perf_counter()
        with base.with_path(rys.LayerPath.block(start, start + 2, base.n_layer)) as view:
            view.generate([1, 2, 3], max_tokens=1)
            seconds.append(time.perf_counter() - begin)
        free.append(free_memory())
    return {
        "n_switches": N_SWITCHES,
        "switch_seconds": float(np.median(seconds)),
        "free_bytes_after_first": free[0],
        "free_bytes_after_last": free[-1],
    }


def candidates(base: rys.Model, evaluation: Evaluation, file: Path, folder: Path) -> Step:
    """Time candidates of the default probes along views, and from physical copies."""
    views, copies = [], []
    free = free_memory()
    for k in range(N_CANDIDATES):
        path = rys.LayerPath.block(2 + 3 * k, 4 + 3 * k, base.n_layer)
        begin = time.perf_counter()
        with base.with_path(path) as view:
            evaluation.run(view)
            views.append(time.perf_counter() - begin)
            view_bytes = free - free_memory()
        if k < N_COPIES:
            begin = time.perf_counter()
            copy = folder / "copy.gguf"
            export(file, copy, path, force=True)
            with rys.Model(copy, n_ctx=4096) as model:
                Evaluation(model, ["math", "eq", "reasoning"], n=64).run(model)
            copies.append(time.perf_counter() - begin)
            copy.unlink()
    return {
        "view_seconds": views,
        "copy_seconds": copies,
        "view_bytes": view_bytes,
        "ratio": float(np.median(copies) / np.median(views)),
    }


def benchmark(rounds: int) -> Step:
    """Run benchmarks/gpu.py, print what it prints, and take its report, which is the last line."""
    report: Step = json.loads(last_line([str(BENCHMARKS / "gpu.py"), "--rounds", str(rounds)]))
    return report


def last_line(arguments: list[str]) -> str:
    """Run a Python program, print all that it prints but the last line, and return that.

    Raises:
        RuntimeError: The program failed, or crashed. The message ends with what it said last.
    """
    command = [sys.executable, "-X", "faulthandler", *arguments]
    last = ""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(last, end="", flush=True)  # a run that is cut short has told something
            last = line
        if status := process.wait():
            errors.seek(0)
            raise RuntimeError(f"exit status {status}\n{last}{errors.read()[-4000:]}")
    return last


def run_step(step: str, rounds: int) -> Step:
    """Run one step, in this process."""
    with tempfile.TemporaryDirectory(prefix="rys-check-gpu-") as name:
        folder = Path(name)
        if step == "equality":
            return equality(folder)
        if step == "large":
            return large(folder, "7b" if gpus() else "tiny")
        if step == "benchmark":
            return benchmark(rounds)
        if step == "sweep":
            return sweep(folder)
        return environment()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, help="the JSON file to write")
    what.add_argument("--here", choices=STEPS, help="run one step in this process, and print it")
    parser.add_argument("--minutes", type=float, default=10, help="begin no step after this time")
    parser.add_argument("--rounds", type=int, default=5, help="of the benchmark")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="default: all")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(json_value(run_step(options.here, options.rounds))))
        return 0

    deadline = time.monotonic() + 60 * options.minutes
    results: Step = {}
    for step in options.steps:
        if time.monotonic() > deadline:
            results[step] = {"skipped": f"it was not begun within {options.minutes} minutes"}
            continue
        begin = time.perf_counter()
        try:
            arguments = ["--here", step, "--rounds", str(options.rounds)]
            results[step] = json.loads(last_line([__file__, *arguments]))
        except (RuntimeError, ValueError) as error:  # the other steps can still tell something
            results[step] = {"error": str(error)}
        results[step]["step_seconds"] = time.perf_counter() - begin
        options.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
        print(f"{step}: {results[step].get('error') or 'done'}", flush=True)
    return int(any("error" in step for step in results.values()))


if __name__ == "__main__":
    sys.exit(main())
