"""Is a path right, and as fast as its copy, on the GPU?

Measured, with whatever backend the installed rys has, all layers on the GPU: the logits of a prompt
along the paths of paths.py against their physical copies, and what each of them takes of the
device's memory; then what paths.py, switching.py and batching.py measure, the whole curve included,
which their headers explain.

Why: a slot's KV cache has to lie on the device of its layer, and other kernels run there than on
the CPU.

The physical limit: of the error 0, if both sides' kernels add up in the same order; of a view's
memory its KV cache and buffers, where the copy needs all weights beside them; of switching, to
allocate these. Prefill is bound by the GPU's arithmetic, decode by reading every weight of the path
once a token from the GPU's memory (`gigabytes_per_second`), for a view as for its copy. Against
that memory a GPU has far more arithmetic than a CPU, and a single generation leaves it idle: n at
once can be nearly n times as fast up to a larger n.

Target: a normalised mean squared error of the logits, mean((path - copy)^2) / mean(copy^2), of at
most 1e-4: kernels may add up in an order of their own choice. The three scripts have theirs.

JSON: `results` has `skipped`: why there is nothing to measure; or `devices` (names), `copies`: a
list of `path`, `error` (of the logits), `view_bytes` and `copy_bytes` (of the memory); `logits`:
the largest `error` with `target` and `verdict`; and `paths`, `switching` and `batching`: the
`results` of these scripts.

    python benchmarks/gpu.py
"""

from __future__ import annotations

import argparse
import gc
from typing import Any

import numpy as np
import numpy.typing as npt

import batching
import paths
import rys
import switching
from measuring import (
    Report,
    digits,
    parse,
    physical_copy,
    random_tokens,
    scratch_folder,
    table,
    verdict,
    write_report,
)
from rys import Model
from rys.reference import reference_model_path

GPU_TYPES = ("gpu", "igpu")


def gpus() -> list[dict[str, Any]]:
    """Return the devices that are GPUs."""
    return [device for device in rys.build_info()["devices"] if device["type"] in GPU_TYPES]


def normalised_error(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Return the mean squared error over the mean square of what is expected."""
    difference = found.astype(np.float64) - expected
    return float(np.mean(difference**2) / np.mean(expected.astype(np.float64) ** 2))


def free_memory() -> int:
    """Return the bytes that are free on all GPUs together."""
    gc.collect()
    return sum(device["memory_free"] for device in gpus())


def compare_with_copies(options: argparse.Namespace) -> list[Report]:
    """Return each path's error of the logits, and the memory that view and copy take."""
    settings: Report = {
        "n_ctx": paths.N_CTX,
        "n_gpu_layers": -1,
        "n_threads": options.n_threads,
        "cache_prompt": False,
    }
    base = Model(options.model, **settings)
    prompt = random_tokens(np.random.default_rng(0), base.n_vocab, 64)
    base.logits(prompt)  # what the backend allocates once is no path's
    compared: list[Report] = []
    with scratch_folder() as folder:
        for _, path in paths.some_paths(base.n_layer, options):
            file = physical_copy(options.model, path.layers, folder / "copy.gguf")
            start = free_memory()
            with base.with_path(path) as view:
                found = view.logits(prompt)
                of_view = start - free_memory()
            start = free_memory()
            with Model(file, **settings) as copy:
                expected = copy.logits(prompt)
                of_copy = start - free_memory()
            error = digits(normalised_error(found, expected))
            compared.append(
                {"path": str(path), "error": error, "view_bytes": of_view, "copy_bytes": of_copy}
            )
    return compared


def main() -> None:
    parser = paths.path_parser(__doc__ or "", n_rounds=10)
    found = gpus()
    if not found:
        parser.set_defaults(model=reference_model_path())  # a larger one need not be written
        options = parse(parser)
        reason = f"no GPU among the devices of this rys ({', '.join(rys.build_info()['backends'])})"
        print(reason)
        write_report("gpu", options, {"skipped": reason})
        return
    options = parse(parser)
    copies = compare_with_copies(options)
    error = float(np.max([one["error"] for one in copies]))  # NaN if any is
    results: Report = {
        "devices": [device["description"] for device in found],
        "copies": copies,
        "logits": {"error": error} | verdict([error], at_most=1e-4),
    }
    rows = [
        [
            one["path"],
            one["error"],
            *(f"{one[side] / 2**20:.1f}" for side in ("view_bytes", "copy_bytes")),
        ]
        for one in copies
    ]
    print(table(["path", "error of the logits", "MiB of the view", "MiB of the copy"], rows))
    print(f"largest error: {error} (target <= 0.0001: {results['logits']['verdict']})", flush=True)
    for script in (paths, switching, batching):
        results[script.__name__] = script.measure(options)
    write_report("gpu", options, results)


if __name__ == "__main__":
    main()
