"""How soon is another layer path ready, compared with loading the GGUF that it stands for?

Measured: the time from the wish to a model that can run. On one side `with_path` and the context
(KV cache, compute buffers, graphs) on weights that are in memory already; on the other side
`rys.Model` of a physical copy, a GGUF whose layers stand in the order of the path, and its context.
The file is in the page cache and mapped, so this is the friendliest case for loading: no disk is
waited for. Both sides also answer a prompt of one token, "first answer", since a freshly mapped
file has its pages faulted in by the first use. Then 500 switches in a row, from block to block,
each with its context: does the last tenth take longer than the first, and what does the process's
memory gain? And 256 views alive at once, without contexts: what does one take of the memory, and is
another view's answer slower for them?

Why: a sweep tries hundreds of paths. What others do is to write a file for each and to load it.

The physical limit: the context is made on both sides, and most of it is memory that the system must
zero (the KV cache of `n_ctx` tokens, and `n_seq_max` rows of logits), page by page. So a switch
cannot be faster than a context, which `parts` shows beside the view alone. Loading adds the
vocabulary, whatever the size of the model, and mapping the file.

Targets: ready in less than 1/10 of the time; at most 1.1 times as long at the end of the row, or
with the others alive.

JSON: `results` has a list `paths`, of each: `path`, `n_slot`, `ready` and `first_answer` (each with
`switch_seconds`, `load_seconds` and `ratio`, switch/load), and `parts` (`view_seconds`,
`context_seconds`); `ready`: the `ratio` over all paths, with `target` and `verdict`; `in_a_row`:
`n_switches`, `switch_seconds`, `bytes_per_switch` and `ratio` (last tenth/first tenth, with
`target` and `verdict`); and `alive`: `n_views`, `bytes_per_view`, `answer_seconds` and `ratio` (of
the answer with the others alive/alone, with `target` and `verdict`). Bytes are null but on Linux.

    python benchmarks/switching.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import rys
from measuring import (
    Report,
    argument_parser,
    digits,
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
from memory import SMAPS, proportional_set_size
from rys import LayerPath, Model, NextToken


def measure_path(
    base: Model, path: LayerPath, copy: Path, n_rounds: int, n_threads: int | None
) -> Report:
    def switch() -> Model:
        return open_context(base.with_path(path))

    def load() -> Model:
        return open_context(Model(copy, n_threads=n_threads))

    def first_answer(make: Callable[[], Model]) -> Callable[[], Model]:
        def answer() -> Model:  # which outlives the time that is measured
            model = make()
            model.run([NextToken([1], allowed=[1])])
            return model

        return answer

    def views() -> float:
        return seconds(lambda: base.with_path(path))

    def contexts() -> float:
        model = base.with_path(path)
        start = time.perf_counter()
        open_context(model)
        return time.perf_counter() - start

    ready = take_turns({"switch": lambda: seconds(switch), "load": lambda: seconds(load)}, n_rounds)
    first = take_turns(
        {
            "switch": lambda: seconds(first_answer(switch)),
            "load": lambda: seconds(first_answer(load)),
        },
        n_rounds,
    )
    parts = take_turns({"view": views, "context": contexts}, n_rounds)
    return {
        "path": str(path),
        "n_slot": path.n_slot,
        "ready": compare(ready),
        "first_answer": compare(first),
        "parts": {
            "view_seconds": spread(parts["view"]),
            "context_seconds": spread(parts["context"]),
        },
    } | {"all_ratios": ratios(ready["switch"], ready["load"])}


def switches_in_a_row(base: Model, n_switches: int) -> Report:
    blocks = cycle(rys.space.blocks(sizes=[3]).candidates(base.n_layer))

    def switch() -> None:
        open_context(base.with_path(next(blocks))).close()

    tenth = n_switches // 10
    times = [seconds(switch) for _ in range(tenth)]
    before = resident()
    times += [seconds(switch) for _ in range(n_switches - tenth)]
    ratio = spread(ratios(times[-tenth:], times[:tenth]))
    return {
        "n_switches": n_switches,
        "switch_seconds": spread(times),
        "ratio": ratio,
        **verdict(ratio["interval"], at_most=1.1),
        "bytes_per_switch": per(n_switches - tenth, before, resident()),
    }


def views_alive(base: Model, n_views: int, n_rounds: int) -> Report:
    path, *others = rys.space.blocks(sizes=[3]).candidates(base.n_layer)

    def answer_among(n: int) -> float:
        alive = [base.with_path(other) for other in islice(cycle(others), n)]
        with open_context(base.with_path(path)) as view:
            elapsed = seconds(lambda: view.run([NextToken([1] * 32, allowed=[1])]))
        assert len(alive) == n
        return elapsed

    before = resident()
    alive = [base.with_path(other) for other in islice(cycle(others), n_views)]
    bytes_per_view = per(n_views, before, resident())
    del alive
    times = take_turns(
        {"alone": lambda: answer_among(0), "many": lambda: answer_among(n_views)}, n_rounds
    )
    ratio = spread(ratios(times["many"], times["alone"]))
    return {
        "n_views": n_views,
        "bytes_per_view": bytes_per_view,
        "answer_seconds": spread(times["many"]),
        "ratio": ratio,
        **verdict(ratio["interval"], at_most=1.1),
    }


def resident() -> int | None:
    """Return the process's memory in bytes, or None where the system does not tell."""
    return proportional_set_size() if SMAPS.exists() else None


def per(n: int, before: int | None, after: int | None) -> float | None:
    return None if before is None or after is None else digits((after - before) / n)


def compare(times: dict[str, list[float]]) -> Report:
    return {
        "switch_seconds": spread(times["switch"]),
        "load_seconds": spread(times["load"]),
        "ratio": spread(ratios(times["switch"], times["load"])),
    }


def measure(options: argparse.Namespace) -> Report:
    warm_page_cache(options.model)
    base = Model(options.model, n_threads=options.n_threads, cache_prompt=False)
    n = base.n_layer
    paths = [
        LayerPath.block(n // 3, n // 3 + max(1, n // 6), n),
        LayerPath([*range(n), *range(n)], n),
    ]

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
            *(
                f"{1e3 * path[what][f'{side}_seconds']['median']:.2f} ms"
                for side in ("switch", "load")
            ),
            path[what]["ratio"]["median"],
        ]
        for path in measured
        for what in ("ready", "first_answer")
    ]
    print(table(["path", "until", "switch", "load", "ratio"], rows))
    for report in measured:
        view, context = (
            1e3 * report["parts"][f"{part}_seconds"]["median"] for part in ("view", "context")
        )
        print(
            f"{report['path']}: the view takes {view:.2f} ms of the switch, "
            f"the context {context:.2f} ms"
        )
    print(f"ready: {overall['median']} of loading (target {ready['target']}: {ready['verdict']})")

    in_a_row = switches_in_a_row(base, 20 if options.quick else 500)
    alive = views_alive(base, 16 if options.quick else 256, options.rounds)
    print(
        f"{in_a_row['n_switches']} in a row, last tenth/first tenth: {in_a_row['ratio']['median']} "
        f"(target {in_a_row['target']}: {in_a_row['verdict']}); "
        f"{in_a_row['bytes_per_switch']} bytes each stay"
    )
    print(
        f"{alive['n_views']} views alive, {alive['bytes_per_view']} bytes each; "
        f"an answer among them/alone: {alive['ratio']['median']} "
        f"(target {alive['target']}: {alive['verdict']})"
    )
    return {"paths": measured, "ready": ready, "in_a_row": in_a_row, "alive": alive}


def main() -> None:
    options = parse(argument_parser(__doc__ or "", n_rounds=10))
    write_report("switching", options, measure(options))


if __name__ == "__main__":
    main()
