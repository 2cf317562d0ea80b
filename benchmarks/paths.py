"""Does a layer path run as fast as the GGUF that it stands for?

Measured: prefill of 512 tokens (`NextToken`), decode of 32 tokens after a prompt of 8 (`Generate`),
and the time to the first token after a prompt of 128, along views of five paths and on their
physical copies: GGUFs whose layers stand in the order of the path, loaded as ordinary models. Both
are in memory at the same time, with a context of the same size, both from files that were just
written (see measuring.physical_copy), and take turns. As a control the file's own order runs
against a second copy of itself: what its ratio is off 1 by is noise. How much memory the same paths
take is memory.py's question, and what stock llama.cpp makes of the copies is stock.py's.

Why: a view is what every result of this library comes from, so it must cost nothing to be one.

The physical limit: prefill is bound by arithmetic, decode by reading every weight of the path once
a token, repeated layers once a visit; `gigabytes_per_second` is what that comes to (if the output
is tied to the embedding). View and copy compute the same graph, so the ratio cannot pass 1 by much:
only if the repeated layers stay in the CPU's cache between their visits, which needs a model with
small layers.

Targets: at least 0.98 of the copy's speed, prefill and decode; at most 1.02 of its time to the
first token.

JSON: `results` has `n_prefill`, `n_decode` and `n_first` (tokens), and a list `paths`, of each:
`path`, `what` ("path" or "control"), `n_slot`, `gigabytes_per_second`, and `prefill` and `decode`
(each with `view` and `copy` in tokens per second and their `ratio`, view/copy) and `first_token`
(the same in seconds); then `prefill`, `decode` and `first_token`: the `ratio` over all paths but
the control, with `target` and `verdict`.

    python benchmarks/paths.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from measuring import (
    Report,
    argument_parser,
    digits,
    parse,
    physical_copy,
    positive,
    random_tokens,
    ratios,
    scratch_folder,
    seconds,
    spread,
    table,
    take_turns,
    verdict,
    write_report,
)
from rys import LayerPath, Model, NextToken

N_CTX = 1024
TARGETS: dict[str, dict[str, float]] = {
    "prefill": {"at_least": 0.98}, "decode": {"at_least": 0.98}, "first_token": {"at_most": 1.02},
}  # fmt: skip


def path_parser(doc: str, n_rounds: int | None) -> argparse.ArgumentParser:
    """Return a parser for benchmarks that measure `some_paths`."""
    parser = argument_parser(doc, n_rounds)
    parser.add_argument(
        "--paths", type=positive, default=5, help="how many beside the control (default: all 5)"
    )
    return parser


def some_paths(n: int, options: argparse.Namespace) -> list[tuple[str, LayerPath]]:
    """Return the control, and paths of the kinds that a sweep tries."""
    third, block = n // 3, max(1, n // 6)
    each_twice = [
        layer for layer in range(n) for _ in range(2 if third <= layer < n - third else 1)
    ]
    paths = [
        ("control", LayerPath(None, n)),
        ("path", LayerPath.block(third, third + block, n)),
        ("path", LayerPath(each_twice, n)),
        ("path", LayerPath([*range(third), *[third] * 8, *range(third, n)], n)),
        ("path", LayerPath([*range(n), *range(n)], n)),
        ("path", LayerPath([*range(third), *range(third + block, n)], n)),
    ]
    return paths[: 2 if options.quick else 1 + options.paths]


def prefill_seconds(model: Model, prompt: Sequence[int]) -> float:
    return seconds(lambda: model.run([NextToken(prompt, allowed=[1])]))


def decode_speed(model: Model, prompt: Sequence[int], n: int) -> float:
    """Return tokens per second, from the start of the prompt on."""
    n_generated: list[int] = []
    elapsed = seconds(lambda: n_generated.append(len(model.generate(prompt, max_tokens=n).tokens)))
    return n_generated[0] / elapsed


def measure_path(
    view: Model, copy: Model, n_prefill: int, n_decode: int, n_first: int, n_rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Return what was measured each round: measured["prefill"]["view"] and so on."""
    prompt = random_tokens(np.random.default_rng(0), view.n_vocab, n_prefill)
    works: dict[str, Callable[[Model], float]] = {
        "prefill": lambda model: n_prefill / prefill_seconds(model, prompt),
        "decode": lambda model: decode_speed(model, prompt[:8], n_decode),
        "first_token": lambda model: seconds(
            lambda: model.generate(prompt[:n_first], max_tokens=1)
        ),
    }
    models = {"view": view, "copy": copy}
    return {
        name: take_turns({side: partial(work, model) for side, model in models.items()}, n_rounds)
        for name, work in works.items()
    }


def measure(options: argparse.Namespace) -> Report:
    n_prefill, n_decode, n_first = (64, 8, 32) if options.quick else (512, 32, 128)
    settings: Report = {"n_ctx": N_CTX, "n_threads": options.n_threads, "cache_prompt": False}
    measured: list[Report] = []
    pooled: dict[str, list[float]] = {work: [] for work in TARGETS}
    with (
        scratch_folder() as folder,
        Model(physical_copy(options.model, None, folder / "base.gguf"), **settings) as base,
    ):
        for what, path in some_paths(base.n_layer, options):
            file = physical_copy(options.model, path.layers, folder / "copy.gguf")
            with (
                base.with_path(None if path.is_identity else path) as view,
                Model(file, **settings) as copy,
            ):
                sides_of = measure_path(view, copy, n_prefill, n_decode, n_first, options.rounds)
                n_bytes = copy.size
            report: Report = {"path": str(path), "what": what, "n_slot": path.n_slot}
            for work, sides in sides_of.items():
                ratio = ratios(sides["view"], sides["copy"])
                report[work] = {side: spread(values) for side, values in sides.items()} | {
                    "ratio": spread(ratio)
                }
                if what == "path":
                    pooled[work] += ratio
            report["gigabytes_per_second"] = digits(
                report["decode"]["view"]["median"] * n_bytes / 1e9
            )
            measured.append(report)
            print(table(["", "view", "copy", "ratio", "quartiles"], rows(report)), flush=True)

    results: Report = {
        "n_prefill": n_prefill,
        "n_decode": n_decode,
        "n_first": n_first,
        "paths": measured,
    }
    for work, all_ratios in pooled.items():
        overall = spread(all_ratios)
        results[work] = {"ratio": overall} | verdict(overall["interval"], **TARGETS[work])
        print(
            f"{work}: {overall['median']} of the copy's "
            f"(target {results[work]['target']}: {results[work]['verdict']})"
        )
    return results


def rows(report: Report) -> list[list[object]]:
    return [
        [
            f"{report['what']} {report['path']}, {work}, {unit}",
            report[work]["view"]["median"],
            report[work]["copy"]["median"],
            report[work]["ratio"]["median"],
            "{}..{}".format(*report[work]["ratio"]["quartiles"]),
        ]
        for work, unit in (("prefill", "tokens/s"), ("decode", "tokens/s"), ("first_token", "s"))
    ]


def main() -> None:
    options = parse(path_parser(__doc__ or "", n_rounds=10))
    write_report("paths", options, measure(options))


if __name__ == "__main__":
    main()
