"""Does a layer path run as fast as the GGUF that it stands for?

Measured: prefill of 512 tokens (`NextToken`) and decode of 32 tokens after a prompt of 8 (`Generate`), along a view and
on a physical copy: a GGUF whose layers stand in the order of the path, loaded as an ordinary model. Both are in memory
at the same time, with a context of the same size, and take turns. As a control the file's own order runs against a
second copy of itself: what its ratio is off 1 by is noise.

Why: a view is what every result of this library comes from, so it must cost nothing to be one.

The physical limit: prefill is bound by arithmetic, decode by reading every weight of the path once a token, repeated
layers once a visit; `gigabytes_per_second` is what that comes to (if the output is tied to the embedding). View and
copy compute the same graph, so the ratio cannot pass 1 by much: only if the repeated layers stay in the CPU's cache
between their visits, which needs a model with small layers.

Target: at least 0.98 of the copy's speed, prefill and decode.

JSON: `results` has `n_prefill` and `n_decode` (tokens), and a list `paths`, of each: `path`, `what` ("path" or
"control"), `n_slot`, `gigabytes_per_second`, and `prefill` and `decode` (each with `view` and `copy` in tokens per
second and their `ratio`, view/copy); then `prefill` and `decode`: the `ratio` over all paths but the control, with
`target` and `verdict`.

    python benchmarks/paths.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from measuring import (
    Report,
    argument_parser,
    digits,
    parse,
    physical_copy,
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


def some_paths(n: int, quick: bool) -> list[tuple[str, LayerPath]]:
    """Return paths of the kinds that a sweep tries, and the control."""
    third, block = n // 3, max(1, n // 6)
    each_twice = [layer for layer in range(n) for _ in range(2 if third <= layer < n - third else 1)]
    paths = [
        ("control", LayerPath(None, n)),
        ("path", LayerPath.block(third, third + block, n)),
        ("path", LayerPath(each_twice, n)),
        ("path", LayerPath([*range(n), *range(n)], n)),
        ("path", LayerPath([*range(third), *range(third + block, n)], n)),
    ]
    return paths[:2] if quick else paths


def measure_path(
    view: Model, copy: Model, n_prefill: int, n_decode: int, n_rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Return tokens per second: measured["prefill"]["view"] and so on, one value a round."""
    rng = np.random.default_rng(0)
    prompt = random_tokens(rng, view.n_vocab, n_prefill)

    def prefill(model: Model) -> Callable[[], float]:
        return lambda: n_prefill / seconds(lambda: model.run([NextToken(prompt, allowed=[1])]))

    def decode(model: Model) -> Callable[[], float]:
        def speed() -> float:
            n_generated: list[int] = []
            elapsed = seconds(lambda: n_generated.append(len(model.generate(prompt[:8], max_tokens=n_decode).tokens)))
            return n_generated[0] / elapsed

        return speed

    models = {"view": view, "copy": copy}
    return {
        "prefill": take_turns({side: prefill(model) for side, model in models.items()}, n_rounds),
        "decode": take_turns({side: decode(model) for side, model in models.items()}, n_rounds),
    }


def main() -> None:
    options = parse(argument_parser(__doc__ or "", n_rounds=10))
    n_prefill, n_decode = (64, 8) if options.quick else (512, 32)
    base = Model(options.model, n_ctx=N_CTX, n_threads=options.n_threads)

    measured: list[Report] = []
    pooled: dict[str, list[float]] = {"prefill": [], "decode": []}
    with scratch_folder() as folder:
        for what, path in some_paths(base.n_layer, options.quick):
            file = physical_copy(options.model, path.layers, Path(folder) / "copy.gguf")
            with (
                base.with_path(None if path.is_identity else path) as view,
                Model(file, n_ctx=N_CTX, n_threads=options.n_threads) as copy,
            ):
                speeds = measure_path(view, copy, n_prefill, n_decode, options.rounds)
                n_bytes = copy.size
            report: Report = {"path": str(path), "what": what, "n_slot": path.n_slot}
            for work, sides in speeds.items():
                ratio = ratios(sides["view"], sides["copy"])
                report[work] = {side: spread(values) for side, values in sides.items()} | {"ratio": spread(ratio)}
                if what == "path":
                    pooled[work] += ratio
            report["gigabytes_per_second"] = digits(report["decode"]["view"]["median"] * n_bytes / 1e9)
            measured.append(report)
            print(table(["", "view t/s", "copy t/s", "ratio", "quartiles"], rows(report)), flush=True)

    results: Report = {"n_prefill": n_prefill, "n_decode": n_decode, "paths": measured}
    for work, all_ratios in pooled.items():
        overall = spread(all_ratios)
        results[work] = {"ratio": overall} | verdict(overall["interval"], at_least=0.98)
        print(f"{work}: {overall['median']} of the copy's speed (target >= 0.98: {results[work]['verdict']})")
    write_report("paths", options, results)


def rows(report: Report) -> list[list[object]]:
    return [
        [
            f"{report['what']} {report['path']}, {work}",
            report[work]["view"]["median"],
            report[work]["copy"]["median"],
            report[work]["ratio"]["median"],
            "{}..{}".format(*report[work]["ratio"]["quartiles"]),
        ]
        for work in ("prefill", "decode")
    ]


if __name__ == "__main__":
    main()
