"""Does the patch cost anything?

Measured: prefill of 512 tokens, and an answer of 32 tokens to a prompt of 8, along views of the
same paths as in paths.py; and the same work in stock llama.cpp on their physical copies:
llama-bench of upstream's unpatched sources, with the same threads, batch sizes and types, each
right after a short run. The two are processes that take turns.

Why: rys runs a patched llama.cpp, through a scheduler of its own, along views. All of this together
must cost nothing.

The physical limit: both compute the same graph. llama-bench does a little less: it takes the next
token at random, where rys looks for the most probable of the vocabulary. And it is compiled by
upstream's own recipe, for this machine.

Target: at least 0.98 of the stock speed, prefill and decode.

JSON: `results` has `n_prefill`, `n_prompt` and `n_decode` (tokens, the last at most), and a list
`paths`, of each: `path`, `what` ("path" or "control": the file's own order), `n_slot`, and
`prefill` and `decode`, each with `rys` and `stock` in tokens per second and their `ratio`,
rys/stock; then `prefill` and `decode`: the `ratio` over all paths, with `target` and `verdict`.

    python benchmarks/stock.py
"""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import numpy as np

from measuring import (
    Report,
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
from paths import N_CTX, path_parser, some_paths
from rys import Generate, Model, NextToken
from rys.engine.options import default_n_threads
from rys.requests import Request
from stock_programs import stock_program_or_exit

N_PROMPT = 8


def rys_seconds(model: Model, request: Request) -> float:
    """Return how long rys takes, right after another request: llama-bench has just had a warm-up as
    well.
    """
    model.run([NextToken([1] * N_PROMPT, allowed=[1])])
    return seconds(lambda: model.run([request]))


def stock_seconds(
    program: Path, model: Path, n_threads: int, n_prompt: int, n_generate: int
) -> float:
    """Return how long llama-bench took for a prompt and the tokens after it."""
    # of itself it would also measure prompts and generations alone
    command = [
        program,
        "-m",
        model,
        "-p",
        0,
        "-n",
        0,
        "-pg",
        f"{n_prompt},{n_generate}",
        "-r",
        1,
        "-o",
        "json",
    ]
    command += [
        "-t",
        n_threads,
        "-b",
        2048,
        "-ub",
        512,
        "-fa",
        "auto",
        "-ctk",
        "f16",
        "-ctv",
        "f16",
    ]
    command += ["-ngl", 0, "-nkvo", 1, "-nopo", 1]
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True)
    (test,) = json.loads(result.stdout)
    assert (test["n_prompt"], test["n_gen"]) == (n_prompt, n_generate)
    elapsed: float = test["avg_ns"] / 1e9
    return elapsed


def main() -> None:
    options = parse(path_parser(__doc__ or "", n_rounds=5))
    n_threads = options.n_threads or default_n_threads()
    n_prefill, n_decode = (64, 8) if options.quick else (512, 32)
    program = stock_program_or_exit("llama-bench")
    settings: Report = {"n_ctx": N_CTX, "n_threads": n_threads, "cache_prompt": False}
    settings |= {
        "n_gpu_layers": 0,
        "op_offload": False,
        "offload_kqv": False,
    }  # llama-bench is built for the CPU alone

    measured: list[Report] = []
    pooled: dict[str, list[float]] = {"prefill": [], "decode": []}
    with (
        scratch_folder() as folder,
        Model(physical_copy(options.model, None, folder / "base.gguf"), **settings) as base,
    ):
        prompt = random_tokens(np.random.default_rng(0), base.n_vocab, n_prefill)
        for what, path in some_paths(base.n_layer, options):
            copy = physical_copy(options.model, path.layers, folder / "copy.gguf")
            with base.with_path(None if path.is_identity else path) as view:
                answer = view.generate(prompt[:N_PROMPT], max_tokens=n_decode)
                # the last token is generated and not evaluated, but for one that ends the text
                n_steps = len(answer.tokens) - (answer.finish_reason == "length")
                speeds = {}
                for work, request, n_prompt, n_after in (
                    ("prefill", NextToken(prompt, allowed=[1]), n_prefill, 0),
                    ("decode", Generate(prompt[:N_PROMPT], max_tokens=n_decode), N_PROMPT, n_steps),
                ):
                    sides = {
                        "rys": partial(rys_seconds, view, request),
                        "stock": partial(
                            stock_seconds, program, copy, n_threads, n_prompt, n_after
                        ),
                    }
                    times = take_turns(sides, options.rounds, n_warm_up=0)
                    n_tokens = n_after or n_prompt
                    speeds[work] = {
                        side: [n_tokens / one for one in values] for side, values in times.items()
                    }
            report: Report = {"path": str(path), "what": what, "n_slot": path.n_slot}
            for work, speed in speeds.items():
                ratio = ratios(speed["rys"], speed["stock"])
                report[work] = {side: spread(values) for side, values in speed.items()} | {
                    "ratio": spread(ratio)
                }
                pooled[work] += ratio
            measured.append(report)
            rows = [
                [
                    f"{path}, {work}",
                    *(report[work][column]["median"] for column in ("rys", "stock", "ratio")),
                ]
                for work in pooled
            ]
            print(table(["tokens per second", "rys", "stock", "ratio"], rows), flush=True)

    results: Report = {
        "n_prefill": n_prefill,
        "n_prompt": N_PROMPT,
        "n_decode": n_decode,
        "paths": measured,
    }
    for work, all_ratios in pooled.items():
        overall = spread(all_ratios)
        results[work] = {"ratio": overall} | verdict(overall["interval"], at_least=0.98)
        print(
            f"{work}: {overall['median']} of stock llama.cpp "
            f"(target >= 0.98: {results[work]['verdict']})"
        )
    write_report("stock", options, results)


if __name__ == "__main__":
    main()
