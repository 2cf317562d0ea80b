"""What does `run` gain over one call at a time?

Measured, in two parts:

- generations: `run` of 32 `Generate` requests against 32 calls with one request each. Throughput is generated tokens
  per second.
- shared prefix: `run` of 32 prompts (`NextToken`) that begin with the same 512 tokens and go on differently, against
  the minimum: the prefix alone, once, plus one `run` of 32 plain prompts as long as the tails. Compared are the tokens
  that were evaluated and the time. The minimum leaves out that the tails attend to the prefix, which no scheduler can.

Why: an evaluation is a list of questions, which often share their instructions and examples.

The physical limit: a single generation reads every weight for every token, and waits for memory. 32 at once read the
weights once for 32 tokens, until arithmetic becomes the limit. `known_tokens` measures where that is: the
log-likelihood of the same tokens after the same prompts, which is the same arithmetic in batches as large as they come.
So the gain cannot be above `ceiling`, its throughput over that of the single calls; `of_ceiling` is the part of it that
was reached. The fewer cores, and the smaller the weights, the lower the ceiling: a quantised model is quicker to read,
and takes no less arithmetic.

Targets: at least 4 times the throughput; at most 1.15 times the minimum.

JSON: `results` has `generations`: `n_requests`, `n_prompt`, `max_tokens`, `run`, `single` and `known_tokens` (tokens
per second), `ratio` (run/single, with `target` and `verdict`), `ceiling`, `of_ceiling`; and `shared_prefix`:
`n_requests`, `n_prefix`, `n_tail`, `tokens_evaluated`, `tokens_minimum`, `tokens_without_sharing`, `tokens_ratio`,
`shared_seconds`, `prefix_seconds`, `tails_seconds`, and `ratio` (shared/minimum in time, with `target` and `verdict`).

    python benchmarks/batching.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np

from measuring import (
    Report,
    argument_parser,
    digits,
    parse,
    quiet,
    random_tokens,
    ratios,
    seconds,
    spread,
    take_turns,
    verdict,
    write_report,
)
from rys import Generate, LogLikelihood, Model, NextToken
from rys.requests import GenerateResult, NextTokenResult

N_REQUESTS = 32


def measure_generations(model: Model, n_prompt: int, max_tokens: int, n_rounds: int) -> Report:
    rng = np.random.default_rng(0)
    prompts = [random_tokens(rng, model.n_vocab, n_prompt) for _ in range(N_REQUESTS)]
    requests = [Generate(prompt, max_tokens=max_tokens) for prompt in prompts]
    generated = [cast(GenerateResult, result).tokens for result in model.run(requests)]
    # a generation of n tokens evaluates all of them but the last, which a log-likelihood leaves out as well
    known = [LogLikelihood(prompt, tokens) for prompt, tokens in zip(prompts, generated, strict=True) if tokens]

    # the same prompt may come to another text alone: the order of additions depends on the size of the batch
    n_run = sum(len(tokens) for tokens in generated)
    n_single = sum(len(cast(GenerateResult, model.run([request])[0]).tokens) for request in requests)

    def run() -> float:
        return n_run / seconds(lambda: model.run(requests))

    def single() -> float:
        # every call is a measurement of its own, so that a disturbed one is repeated alone
        calls = [partial(seconds, partial(model.run, [request])) for request in requests]
        return n_single / sum(quiet.measure(call) for call in calls)

    def known_tokens() -> float:
        return n_run / seconds(lambda: model.run(known))

    speeds = take_turns({"run": run, "single": single, "known_tokens": known_tokens}, n_rounds, n_warm_up=0)
    ratio = spread(ratios(speeds["run"], speeds["single"]))
    return {
        "n_requests": N_REQUESTS,
        "n_prompt": n_prompt,
        "max_tokens": max_tokens,
        **{name: spread(values) for name, values in speeds.items()},
        "ratio": ratio,
        **verdict(ratio["interval"], at_least=4),
        "ceiling": spread(ratios(speeds["known_tokens"], speeds["single"])),
        "of_ceiling": spread(ratios(speeds["run"], speeds["known_tokens"])),
    }


def measure_shared_prefix(model: Model, n_prefix: int, n_tail: int, n_rounds: int) -> Report:
    rng = np.random.default_rng(1)
    prefix = random_tokens(rng, model.n_vocab, n_prefix)
    tails = [random_tokens(rng, model.n_vocab, n_tail) for _ in range(N_REQUESTS)]

    def ask(prompts: Sequence[Sequence[int]]) -> list[NextToken]:
        return [NextToken(prompt, allowed=[1]) for prompt in prompts]

    shared, alone, plain = ask([[*prefix, *tail] for tail in tails]), ask([prefix]), ask(tails)
    times = take_turns(
        {
            "shared": lambda: seconds(lambda: model.run(shared)),
            "prefix": lambda: seconds(lambda: model.run(alone)),
            "tails": lambda: seconds(lambda: model.run(plain)),
        },
        n_rounds,
    )
    results = [cast(NextTokenResult, result) for result in model.run(shared)]
    n_evaluated = sum(result.n_prompt_tokens - result.n_shared_tokens for result in results)
    n_minimum = n_prefix + N_REQUESTS * n_tail
    minimum = [a + b for a, b in zip(times["prefix"], times["tails"], strict=True)]
    ratio = spread(ratios(times["shared"], minimum))
    return {
        "n_requests": N_REQUESTS,
        "n_prefix": n_prefix,
        "n_tail": n_tail,
        "tokens_evaluated": n_evaluated,
        "tokens_minimum": n_minimum,
        "tokens_without_sharing": N_REQUESTS * (n_prefix + n_tail),
        "tokens_ratio": digits(n_evaluated / n_minimum),
        **{f"{name}_seconds": spread(values) for name, values in times.items()},
        "ratio": ratio,
        **verdict(ratio["interval"], at_most=1.15),
    }


def measure(options: argparse.Namespace) -> Report:
    model = Model(options.model, n_threads=options.n_threads)

    n_prompt, max_tokens = (4, 8) if options.quick else (16, 32)
    generations = measure_generations(model, n_prompt, max_tokens, options.rounds)
    print(
        f"{N_REQUESTS} generations of {max_tokens} tokens after {n_prompt}, tokens per second: "
        f"run {generations['run']['median']}, single calls {generations['single']['median']}, "
        f"tokens known beforehand {generations['known_tokens']['median']}"
    )
    print(
        f"run/single: {generations['ratio']['median']} (target {generations['target']}: {generations['verdict']}); "
        f"the ceiling is {generations['ceiling']['median']}, of which {generations['of_ceiling']['median']} is reached",
        flush=True,
    )

    n_prefix, n_tail = (64, 8) if options.quick else (512, 32)
    prefix = measure_shared_prefix(model, n_prefix, n_tail, 2 * options.rounds)
    print(
        f"{N_REQUESTS} prompts of {n_prefix} shared and {n_tail} own tokens: {prefix['tokens_evaluated']} tokens "
        f"evaluated, {prefix['tokens_ratio']} of the minimum; {prefix['shared_seconds']['median']} s, against "
        f"{prefix['prefix_seconds']['median']} s + {prefix['tails_seconds']['median']} s"
    )
    print(f"time/minimum: {prefix['ratio']['median']} (target {prefix['target']}: {prefix['verdict']})")
    return {"generations": generations, "shared_prefix": prefix}


def main() -> None:
    options = parse(argument_parser(__doc__ or "", n_rounds=5))
    write_report("batching", options, measure(options))


if __name__ == "__main__":
    main()
