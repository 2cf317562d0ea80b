"""How soon is another layer path ready, compared with loading the GGUF that it stands for?

Measured: the time from the wish to a model that can run. On one side `with_path` and the context (KV cache, compute
buffers, graphs) on weights that are in memory already; on the other side `rys.Model` of a physical copy, a GGUF whose
layers stand in the order of the path, and its context. The file is in the page cache and mapped, so this is the
friendliest case for loading: no disk is waited for. Both sides also answer a prompt of one token, "first answer", since
a freshly mapped file has its pages faulted in by the first use.

Why: a sweep tries hundreds of paths. What others do is to write a file for each and to load it.

The physical limit: the context is made on both sides, and most of it is memory that the system must zero (the KV cache
of `n_ctx` tokens, and `n_seq_max` rows of logits), page by page. So a switch cannot be faster than a context, which
`parts` shows beside the view alone. Loading adds the vocabulary, whatever the size of the model, and mapping the file.

Target: ready in less than 1/10 of the time.

JSON: `results` has a list `paths`, of each: `path`, `n_slot`, `ready` and `first_answer` (each with `switch_seconds`,
`load_seconds` and `ratio`, switch/load), and `parts` (`view_seconds`, `context_seconds`); and `ready`: the `ratio` over
all paths, with `target` and `verdict`.

    python benchmarks/switching.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from measuring import (
    Report,
    argument_parser,
    open_context,
    parse,
    physical_copy,
    ratios,
    scratch_folder,
    seconds,
    spread,
    table,
    take_turns,
    verdict,
    warm_page_cache,
    write_report,
)
from rys import LayerPath, Model, NextToken


def measure_path(base: Model, path: LayerPath, copy: Path, n_rounds: int, n_threads: int | None) -> Report:
    def switch() -> Model:
        return open_context(base.with_path(path))

    def load() -> Model:
        return open_context(Model(copy, n_threads=n_threads))

    def first_answer(make: Callable[[], Model]) -> Callable[[], object]:
        return lambda: make().run([NextToken([1], allowed=[1])])

    def views() -> float:
        return seconds(lambda: base.with_path(path))

    def contexts() -> float:
        model = base.with_path(path)
        start = time.perf_counter()
        open_context(model)
        return time.perf_counter() - start

    ready = take_turns({"switch": lambda: seconds(switch), "load": lambda: seconds(load)}, n_rounds)
    first = take_turns(
        {"switch": lambda: seconds(first_answer(switch)), "load": lambda: seconds(first_answer(load))}, n_rounds
    )
    parts = take_turns({"view": views, "context": contexts}, n_rounds)
    return {
        "path": str(path),
        "n_slot": path.n_slot,
        "ready": compare(ready),
        "first_answer": compare(first),
        "parts": {"view_seconds": spread(parts["view"]), "context_seconds": spread(parts["context"])},
    } | {"all_ratios": ratios(ready["switch"], ready["load"])}


def compare(times: dict[str, list[float]]) -> Report:
    return {
        "switch_seconds": spread(times["switch"]),
        "load_seconds": spread(times["load"]),
        "ratio": spread(ratios(times["switch"], times["load"])),
    }


def main() -> None:
    options = parse(argument_parser(__doc__ or "", n_rounds=10))
    warm_page_cache(options.model)
    base = Model(options.model, n_threads=options.n_threads)
    n = base.n_layer
    paths = [LayerPath.block(n // 3, n // 3 + max(1, n // 6), n), LayerPath([*range(n), *range(n)], n)]

    measured = []
    with scratch_folder() as folder:
        for path in paths[:1] if options.quick else paths:
            copy = physical_copy(options.model, path.layers, folder / "copy.gguf")
            measured.append(measure_path(base, path, copy, options.rounds, options.n_threads))
    overall = spread([ratio for path in measured for ratio in path.pop("all_ratios")])
    ready = {"ratio": overall} | verdict(overall["interval"], at_most=0.1)

    rows: list[list[object]] = [
        [
            path["path"],
            what,
            *(f"{1e3 * path[what][f'{side}_seconds']['median']:.2f} ms" for side in ("switch", "load")),
            path[what]["ratio"]["median"],
        ]
        for path in measured
        for what in ("ready", "first_answer")
    ]
    print(table(["path", "until", "switch", "load", "ratio"], rows))
    for report in measured:
        view, context = (1e3 * report["parts"][f"{part}_seconds"]["median"] for part in ("view", "context"))
        print(f"{report['path']}: the view takes {view:.2f} ms of the switch, the context {context:.2f} ms")
    print(f"ready: {overall['median']} of loading (target {ready['target']}: {ready['verdict']})")
    write_report("switching", options, {"paths": measured, "ready": ready})


if __name__ == "__main__":
    main()
