"""How much memory does another layer path take?

Measured: the process's proportional set size (PSS, of /proc/self/smaps_rollup: every resident page,
a page that processes share counted in parts) before and after a path is added and has answered a
prompt that fills its compute buffers. Each case runs in a process of its own: views of the paths of
paths.py, and for comparison physical copies of the same paths, GGUFs loaded beside the first one.
Linux only.

Why: the point of a view is that repeated visits reference the same weights; a copy of a file would
show here.

The physical limit: a path needs its KV cache (`kv_bytes_expected`, computed from the model's shape:
slots x n_ctx x KV heads x head size x 2 for keys and values x 2 bytes) and, to compute at all, the
buffers of one graph and of the logits. llama.cpp's log says how large these are
(`buffer_bytes_allocated`); pages of them that were never touched are not resident, so that the
measured size may be smaller. From one view to a longer one the buffers stay the same, so there the
measured difference is that of the KV caches and of the graphs.

Target: no weights. Of any view, the extra size less the KV cache and the buffers is at most 2% of
the weights' size; and from the shortest to the longest view, what a slot adds (`per_slot`) less its
KV cache is at most 2% of `layer_bytes`, the weights of a layer. It is not 0: the graph has nodes
for every slot.

JSON: `results` has `weights_bytes`, `n_ctx`, and a list `cases`, of each: `what` ("view" or
"copy"), `path`, `n_slot`, `weights_bytes`, `pss_before`, `pss_after`, `extra_bytes`,
`kv_bytes_expected`, `buffer_bytes_allocated`, `unexplained_bytes` (extra less both, 0 if negative),
`pss_after_close`, and of a view `of_copy` (its extra bytes, of the copy's); then `weights`:
`fraction` (the largest unexplained part of any view, of the size of the weights), with `target` and
`verdict`; and `per_slot`: `bytes`, `kv_bytes_expected`, `layer_bytes` and `fraction` (of a layer's
weights), with `target` and `verdict`.

    python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from measuring import (
    Report,
    digits,
    parse,
    physical_copy,
    positive,
    random_tokens,
    scratch_folder,
    table,
    verdict,
    write_report,
)
from paths import path_parser, some_paths
from rys import LayerPath, Model, NextToken

SMAPS = Path("/proc/self/smaps_rollup")
MIB = 2**20


def proportional_set_size() -> int:
    """Return the PSS of this process in bytes."""
    gc.collect()
    match = re.search(r"^Pss:\s+(\d+) kB", SMAPS.read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


class BufferSizes(logging.Handler):
    """Add up the sizes of the buffers that llama.cpp's log tells of, apart from the KV cache."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def emit(self, record: logging.LogRecord) -> None:
        match = re.search(r"(output|compute) buffer size = +([\d.]+) MiB", record.getMessage())
        self.n_bytes += int(float(match[2]) * MIB) if match else 0


def kv_bytes(model: Model) -> int:
    """Return the size of the KV cache of the model's path, keys and values in 16 bits."""
    architecture = model.metadata["general.architecture"]

    def per_layer(key: str, default: int) -> list[int]:
        value = model.metadata.get(f"{architecture}.{key}", default)
        return list(value) if isinstance(value, list) else [int(value)] * model.n_layer

    heads = per_layer("attention.head_count", 1)
    heads_kv = per_layer("attention.head_count_kv", heads[0])
    n_embd_head = model.n_embd // heads[0]
    n_key = int(model.metadata.get(f"{architecture}.attention.key_length", n_embd_head))
    n_value = int(model.metadata.get(f"{architecture}.attention.value_length", n_embd_head))
    n_cells = -(-model.n_ctx // 256) * 256
    return (
        sum(heads_kv[layer] for layer in model.layer_path.layers) * (n_key + n_value) * n_cells * 2
    )


def child(options: argparse.Namespace) -> None:
    """Measure one case in this process and print it."""
    log = logging.getLogger("rys.llama")
    log.setLevel(logging.INFO)

    def answer(model: Model) -> None:
        rng = np.random.default_rng(0)
        model.run(
            [NextToken(random_tokens(rng, model.n_vocab, min(512, model.n_ctx)), allowed=[1])]
        )

    base = Model(options.model, n_ctx=options.n_ctx, n_threads=options.n_threads)
    answer(base)
    kv_bytes(base)  # reads the metadata, which stay in memory
    before = proportional_set_size()

    sizes = BufferSizes()
    log.addHandler(sizes)
    path = LayerPath(options.path, base.n_layer)
    if options.copy:
        other = Model(options.copy, n_ctx=options.n_ctx, n_threads=options.n_threads)
    else:
        other = base.with_path(path)
    answer(other)
    after = proportional_set_size()
    expected, weights_bytes = kv_bytes(other), other.size
    other.close()
    report = {
        "what": "copy" if options.copy else "view",
        "path": str(path),
        "n_slot": path.n_slot,
        "pss_before": before,
        "pss_after": after,
        "extra_bytes": after - before,
        "kv_bytes_expected": expected,
        "buffer_bytes_allocated": sizes.n_bytes,
        "unexplained_bytes": max(0, after - before - expected - sizes.n_bytes),
        "pss_after_close": proportional_set_size(),
        "weights_bytes": weights_bytes,
    }
    print(json.dumps(report))


def measure(options: argparse.Namespace, path: LayerPath, copy: Path | None = None) -> Report:
    command = [
        sys.executable,
        __file__,
        "--model",
        str(options.model),
        "--n-ctx",
        str(options.n_ctx),
    ]
    command += ["--path", str(path)] + (["--copy", str(copy)] if copy else [])
    command += ["--n-threads", str(options.n_threads)] if options.n_threads else []
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    report: Report = json.loads(result.stdout.splitlines()[-1])
    return report


def main() -> None:
    parser = path_parser(__doc__ or "", n_rounds=None)
    parser.add_argument("--n-ctx", type=positive, default=4096)
    parser.add_argument("--path", help=argparse.SUPPRESS)  # measure this one in this process
    parser.add_argument("--copy", type=Path, help=argparse.SUPPRESS)
    options = parse(parser)
    if not SMAPS.exists():
        raise SystemExit(f"{SMAPS} is not there: this benchmark needs Linux")
    if options.path:
        child(options)
        return

    with Model(options.model) as model:
        paths = [path for _, path in some_paths(model.n_layer, options)]
    cases = []
    with scratch_folder() as folder:
        for path in paths:
            copy = physical_copy(options.model, path.layers, folder / "copy.gguf")
            of_view, of_copy = measure(options, path), measure(options, path, copy)
            of_view["of_copy"] = digits(of_view["extra_bytes"] / of_copy["extra_bytes"])
            cases += [of_view, of_copy]
    weights_bytes = cases[0]["weights_bytes"]

    ranked = sorted(range(0, len(cases), 2), key=lambda i: cases[i]["n_slot"])
    shortest, longest = cases[ranked[0]], cases[ranked[-1]]
    n_slots = longest["n_slot"] - shortest["n_slot"]
    per_slot: Report = {
        "bytes": (longest["extra_bytes"] - shortest["extra_bytes"]) / n_slots,
        "kv_bytes_expected": (longest["kv_bytes_expected"] - shortest["kv_bytes_expected"])
        / n_slots,
        "layer_bytes": (
            cases[ranked[-1] + 1]["weights_bytes"] - cases[ranked[0] + 1]["weights_bytes"]
        )
        / n_slots,
    }
    fraction = (per_slot["bytes"] - per_slot["kv_bytes_expected"]) / per_slot["layer_bytes"]
    per_slot |= {"fraction": digits(fraction)} | verdict([fraction], at_most=0.02)

    columns = ["extra_bytes", "kv_bytes_expected", "buffer_bytes_allocated", "unexplained_bytes"]
    rows = [
        [f"{case['what']} {case['path']}", *(f"{case[column] / MIB:.1f}" for column in columns)]
        for case in cases
    ]
    of_copies = [case["of_copy"] for case in cases if "of_copy" in case]
    print(f"the weights: {weights_bytes / MIB:.1f} MiB")
    print(table(["MiB", "extra", "KV expected", "buffers", "unexplained"], rows))
    fraction = (
        max(case["unexplained_bytes"] for case in cases if case["what"] == "view") / weights_bytes
    )
    weights = {"fraction": digits(fraction)} | verdict([fraction], at_most=0.02)
    print(f"a view takes {min(of_copies)} to {max(of_copies)} of what the copy takes")
    print(
        f"unexplained: {digits(fraction)} of the weights' size "
        f"(target {weights['target']}: {weights['verdict']})"
    )
    print(
        f"a slot more: {per_slot['bytes'] / MIB:.2f} MiB, "
        f"of which KV cache {per_slot['kv_bytes_expected'] / MIB:.2f}; "
        f"the rest is {per_slot['fraction']} of a layer's weights, "
        f"{per_slot['layer_bytes'] / MIB:.2f} MiB "
        f"(target {per_slot['target']}: {per_slot['verdict']})"
    )
    results = {"weights_bytes": weights_bytes, "n_ctx": options.n_ctx, "cases": cases}
    write_report("memory", options, results | {"weights": weights, "per_slot": per_slot})


if __name__ == "__main__":
    main()
