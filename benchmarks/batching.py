"""What does `run` gain over one call at a time?

Measured, in two parts:

- generations: the same 64 `Generate` requests, 1, 2, 4, ... 64 of them in each call of `run`.
  Throughput is generated tokens per second.
- shared prefix: `run` of 32 prompts (`NextToken`) that begin with the same 512 tokens and go on
  differently, against two others. Unshared: 32 prompts as long, of which already the first tokens
  differ, so that there is nothing to share. And the minimum: the prefix alone, once, plus one `run`
  of 32 plain prompts as long as the tails. Compared are the tokens that were evaluated and the
  time. The minimum leaves out that the tails attend to the prefix, which no scheduler can.

Why: an evaluation is a list of questions, which often share their instructions and examples.

The physical limit of generations: a single one reads every weight for every token, and waits for
memory. n at once read the weights once for n tokens, and are at best n times as fast, until
arithmetic becomes the limit. `known_tokens` measures where that is: the log-likelihood of the same
tokens after the same prompts, which is the same arithmetic in batches as large as they come. So the
gain cannot be above n, nor, but for noise, above `ceiling`, the throughput of known tokens over
that of single calls. The fewer cores, and the smaller the weights, the lower the ceiling: a
quantised model is quicker to read, and takes no less arithmetic.

The physical limit of sharing is `gain_limit`: the tokens of the unshared prompts over those of the
minimum. A small model can pass it, since each token takes longer while more cells of the KV cache
are in use, and several unshared prompts are in it at a time.

Generations are short (8 tokens after 4), and rounds are few, so that all of it takes some seven
minutes on two cores.

Targets: at least 4 times the throughput with 32 at once; at most 1.15 times the minimum.

JSON: `results` has `generations`: `n_requests`, `n_prompt`, `max_tokens`, `known_tokens` (tokens
per second), `curve`, `n_parallel` (the one with a target), its `ratio`, `target` and `verdict`,
`ceiling`, and `of_ceiling` (its speed over that of known tokens). The curve is a list of
`n_parallel`, `speed` (tokens per second), `ratio` (to the speed of single calls) and `of_limit`
(the ratio's part of what is possible: of `n_parallel`, or of the ceiling if that is less). And
`shared_prefix`: `n_requests`, `n_prefix`, `n_tail`, `tokens_evaluated`, `tokens_minimum`,
`tokens_without_sharing`, `tokens_ratio` (evaluated/minimum), `shared_seconds`, `unshared_seconds`,
`prefix_seconds`, `tails_seconds`, `gain` (unshared/shared in time), `gain_limit`, and `ratio`
(shared/minimum in time, with `target` and `verdict`).

    python benchmarks/batching.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from measuring import (
    Report,
    argument_parser,
    digits,
    parse,
    positive,
    quiet,
    random_tokens,
    ratios,
    seconds,
    spread,
    table,
    take_turns,
    verdict,
    write_report,
)
from rys import Generate, LogLikelihood, Model, NextToken
from rys.requests import Request

N_PARALLEL = (1, 2, 4, 8, 16, 32, 64)
N_PREFIX = 512
N_REQUESTS = 32  # of the targets


def timed_run(model: Model, requests: Sequence[Request]) -> tuple[float, list[Any]]:
    """Return how many seconds a run takes, and its results."""
    results: list[Any] = []
    elapsed = seconds(lambda: results.extend(model.run(requests)))
    return elapsed, results


def measure_generations(model: Model, n_prompt: int, max_tokens: int, n_rounds: int) -> Report:
    rng = np.random.default_rng(0)
    prompts = [random_tokens(rng, model.n_vocab, n_prompt) for _ in range(max(N_PARALLEL))]
    requests = [Generate(prompt, max_tokens=max_tokens) for prompt in prompts]
    generated = [result.tokens for result in timed_run(model, requests)[1]]
    # a generation of n tokens evaluates all of them but the last, which a log-likelihood leaves out
    # as well
    known = [
        LogLikelihood(prompt, tokens)
        for prompt, tokens in zip(prompts, generated, strict=True)
        if tokens
    ]
    n_known = sum(len(tokens) for tokens in generated)

    def speed(n_parallel: int) -> float:
        # the same prompt may come to another text in another batch: the order of additions depends
        # on its size
        n_generated: dict[int, int] = {}

        def batch(start: int) -> float:
            elapsed, results = timed_run(model, requests[start : start + n_parallel])
            n_generated[start] = sum(len(result.tokens) for result in results)
            return elapsed

        # every call is a measurement of its own, so that a disturbed one is repeated alone
        elapsed = sum(
            quiet.measure(partial(batch, start)) for start in range(0, len(requests), n_parallel)
        )
        return sum(n_generated.values()) / elapsed

    speeds = take_turns(
        {str(n): partial(speed, n) for n in N_PARALLEL}
        | {"known_tokens": lambda: n_known / seconds(lambda: model.run(known))},
        n_rounds,
        n_warm_up=0,
    )
    ceilings = ratios(speeds["known_tokens"], speeds["1"])
    curve: list[Report] = []
    for n in N_PARALLEL:
        gains = ratios(speeds[str(n)], speeds["1"])
        limits = [min(n, ceiling) for ceiling in ceilings]
        point = {"speed": speeds[str(n)], "ratio": gains, "of_limit": ratios(gains, limits)}
        curve.append({"n_parallel": n} | {name: spread(values) for name, values in point.items()})
    ratio = curve[N_PARALLEL.index(N_REQUESTS)]["ratio"]
    return {
        "n_requests": len(requests),
        "n_prompt": n_prompt,
        "max_tokens": max_tokens,
        "known_tokens": spread(speeds["known_tokens"]),
        "curve": curve,
        "n_parallel": N_REQUESTS,
        "ratio": ratio,
        **verdict(ratio["interval"], at_least=4),
        "ceiling": spread(ceilings),
        "of_ceiling": spread(ratios(speeds[str(N_REQUESTS)], speeds["known_tokens"])),
    }


def measure_shared_prefix(model: Model, n_prefix: int, n_tail: int, n_rounds: int) -> Report:
    rng = np.random.default_rng(1)
    prefix = random_tokens(rng, model.n_vocab, n_prefix)
    tails = [random_tokens(rng, model.n_vocab, n_tail) for _ in range(N_REQUESTS)]
    prompts = {
        "shared": [[*prefix, *tail] for tail in tails],
        "unshared": [[first, *prefix[1:], *tail] for first, tail in enumerate(tails)],
        "prefix": [prefix],
        "tails": tails,
    }
    requests = {
        name: [NextToken(prompt, allowed=[1]) for prompt in some] for name, some in prompts.items()
    }
    n_evaluated: dict[str, int] = {}

    def run(name: str) -> float:
        elapsed, results = timed_run(model, requests[name])
        n_evaluated[name] = sum(
            result.n_prompt_tokens - result.n_shared_tokens for result in results
        )
        return elapsed

    run("shared")  # warms up; the unshared prompts would take most of a round
    times = take_turns({name: partial(run, name) for name in requests}, n_rounds, n_warm_up=0)
    n_minimum = n_evaluated["prefix"] + n_evaluated["tails"]
    minimum = [a + b for a, b in zip(times["prefix"], times["tails"], strict=True)]
    ratio = spread(ratios(times["shared"], minimum))
    return {
        "n_requests": N_REQUESTS,
        "n_prefix": n_prefix,
        "n_tail": n_tail,
        "tokens_evaluated": n_evaluated["shared"],
        "tokens_minimum": n_minimum,
        "tokens_without_sharing": n_evaluated["unshared"],
        "tokens_ratio": digits(n_evaluated["shared"] / n_minimum),
        **{f"{name}_seconds": spread(values) for name, values in times.items()},
        "gain": spread(ratios(times["unshared"], times["shared"])),
        "gain_limit": digits(n_evaluated["unshared"] / n_minimum),
        "ratio": ratio,
        **verdict(ratio["interval"], at_most=1.15),
    }


def measure(options: argparse.Namespace, n_prefix: int = N_PREFIX) -> Report:
    model = Model(
        options.model,
        n_threads=options.n_threads,
        n_seq_max=max(N_PARALLEL),
        cache_prompt=False,
    )

    n_prompt, max_tokens = (2, 4) if options.quick else (4, 8)
    generations = measure_generations(model, n_prompt, max_tokens, options.rounds)
    columns = ["speed", "ratio", "of_limit"]
    rows = [
        [point["n_parallel"], *(point[name]["median"] for name in columns)]
        for point in generations["curve"]
    ]
    print(table(["generations at once", "tokens/s", "to single calls", "of the limit"], rows))
    print(
        f"{N_REQUESTS} at once: {generations['ratio']['median']} of single calls "
        f"(target {generations['target']}: {generations['verdict']}); "
        f"the ceiling is {generations['ceiling']['median']}, "
        f"of which {generations['of_ceiling']['median']} is reached",
        flush=True,
    )

    n_prefix, n_tail = (64, 8) if options.quick else (n_prefix, 32)
    prefix = measure_shared_prefix(model, n_prefix, n_tail, options.rounds)
    print(
        f"{N_REQUESTS} prompts of {n_prefix} shared and {n_tail} own tokens: "
        f"{prefix['tokens_evaluated']} tokens evaluated, {prefix['tokens_ratio']} of the minimum; "
        f"{prefix['shared_seconds']['median']} s, against "
        f"{prefix['prefix_seconds']['median']} s + {prefix['tails_seconds']['median']} s"
    )
    print(
        f"time/minimum: {prefix['ratio']['median']} "
        f"(target {prefix['target']}: {prefix['verdict']})"
    )
    print(
        f"without sharing {prefix['tokens_without_sharing']} tokens "
        f"in {prefix['unshared_seconds']['median']} s: "
        f"the gain is {prefix['gain']['median']}, of a possible {prefix['gain_limit']}"
    )
    return {"generations": generations, "shared_prefix": prefix}


def main() -> None:
    parser = argument_parser(__doc__ or "", n_rounds=3)
    parser.add_argument(
        "--prefix",
        type=positive,
        default=N_PREFIX,
        help=f"tokens that are shared (default: {N_PREFIX})",
    )
    options = parse(parser)
    write_report("batching", options, measure(options, options.prefix))


if __name__ == "__main__":
    main()
