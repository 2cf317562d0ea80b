"""How near is a candidate's evaluation to the least work that it can be?

Measured: a candidate of a sweep, from `with_path` to the scores, once for each kind of request:
log-likelihoods (probe math), next tokens (eq and reasoning) and generations (math, written). Beside
it, in turns, a plain large-batch prefill of the same build along the same path: one prompt that
fills a batch (512 tokens, n_ubatch), in a context that is ready.

Why: whatever a sweep asks, it must put its distinct prompt tokens through the model once: tokens
that several prompts begin with count once. At the speed of the plain prefill that takes so long,
and no less.

The physical limit: `of_floor` is 1 if nothing but these tokens took time. What keeps it below:
logits, for which the output matrix is one more layer, and of a small model with a large vocabulary
the largest (`n_outputs` tokens need them, in the plain prefill one); attention over the cells of
all sequences that run together; and generated tokens, which come one after the other.
`of_floor_with_answers` counts them as tokens as well: what is left is that they come in batches as
small as the number of sequences.

JSON: `results` has `n_plain` and `plain` (tokens, and tokens per second of the plain prefill),
`path`, `n_items`, and a list `kinds`, of each: `what`, `n_requests`, `prompt_tokens`,
`distinct_tokens`, `evaluated_tokens` (of the prompts: as many as are distinct if sharing missed
nothing), `generated_tokens`, `n_outputs`, `seconds`, `tokens_per_second` (of distinct prompt
tokens), `of_floor` (its ratio to the plain prefill) and `of_floor_with_answers`.

    python benchmarks/floor.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise, takewhile
from typing import Any

import numpy as np

from measuring import (
    Report,
    argument_parser,
    digits,
    open_context,
    parse,
    positive,
    random_tokens,
    ratios,
    seconds,
    spread,
    table,
    take_turns,
    write_report,
)
from paths import prefill_seconds
from rys import LayerPath, Model
from rys.probes.base import Probe
from rys.probes.eq import EQ
from rys.probes.evaluation import Evaluation
from rys.probes.math import Math
from rys.probes.reasoning import Reasoning

KINDS: dict[str, list[Probe]] = {
    "log-likelihood": [Math()],
    "next token": [EQ("rated"), Reasoning()],
    "generation": [Math(score="exact")],
}


def n_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with together."""
    return sum(takewhile(bool, (x == y for x, y in zip(a, b, strict=False))))


def n_distinct(sequences: Iterable[Sequence[int]]) -> int:
    """Return how many tokens there are to evaluate if tokens that sequences begin with together are
    evaluated once.
    """
    ranked = [(), *sorted(map(tuple, sequences))]  # what begins alike now stands together
    return sum(len(sequence) - n_shared(last, sequence) for last, sequence in pairwise(ranked))


def evaluated_part(request: Any) -> list[int]:
    """Return the tokens of a prepared request that the model must read: of a continuation, all but
    the last.
    """
    tokens: list[int] = request.tokens
    return tokens[:-1] if request.kind.name == "loglikelihood" else tokens


def describe(what: str, evaluation: Evaluation, view: Model) -> Report:
    """Return what there is to do, and what of it was done."""
    requests = evaluation._requests
    results = evaluation.run(view).values()
    generated = sum(result.n_generated_tokens for result in results)
    outputs = sum(
        max(1, len(r.tokens) - r.n_context) if r.kind.name == "loglikelihood" else 1
        for r in requests
    )
    return {
        "what": what,
        "n_requests": len(requests),
        "prompt_tokens": sum(len(evaluated_part(request)) for request in requests),
        "distinct_tokens": n_distinct(evaluated_part(request) for request in requests),
        "evaluated_tokens": sum(
            result.n_evaluated_tokens - result.n_generated_tokens for result in results
        ),
        "generated_tokens": generated,
        "n_outputs": max(outputs, generated),
    }


def main() -> None:
    parser = argument_parser(__doc__ or "", n_rounds=5)
    parser.add_argument("--items", type=positive, help="of each probe (default: 16)")
    options = parse(parser)
    n_items = options.items or (2 if options.quick else 16)
    base = Model(options.model, n_threads=options.n_threads, cache_prompt=False)
    n = base.n_layer
    path = LayerPath.block(n // 3, n // 3 + max(1, n // 6), n)
    evaluations = {what: Evaluation(base, probes, n=n_items) for what, probes in KINDS.items()}
    n_plain = 512
    plain = random_tokens(np.random.default_rng(0), base.n_vocab, n_plain)

    def evaluate(evaluation: Evaluation) -> None:
        with base.with_path(path) as view:
            evaluation.run(view)

    with base.with_path(path) as view:
        kinds = [describe(what, evaluation, view) for what, evaluation in evaluations.items()]
        open_context(view)
        sides = {
            what: partial(seconds, partial(evaluate, evaluation))
            for what, evaluation in evaluations.items()
        }
        times = take_turns(
            {"plain": lambda: prefill_seconds(view, plain), **sides}, options.rounds, n_warm_up=0
        )

    for kind in kinds:
        elapsed = times[kind["what"]]
        kind["seconds"] = spread(elapsed)
        kind["tokens_per_second"] = spread([kind["distinct_tokens"] / one for one in elapsed])
        of_plain = ratios(times["plain"], elapsed)
        for name, n_tokens in (
            ("of_floor", kind["distinct_tokens"]),
            ("of_floor_with_answers", kind["distinct_tokens"] + kind["generated_tokens"]),
        ):
            kind[name] = spread([ratio * n_tokens / n_plain for ratio in of_plain])
    speed = spread([n_plain / one for one in times["plain"]])
    columns = ["tokens_per_second", "of_floor", "of_floor_with_answers"]
    rows = [
        [
            kind["what"],
            kind["distinct_tokens"],
            kind["generated_tokens"],
            *(kind[name]["median"] for name in columns),
        ]
        for kind in kinds
    ]
    print(
        table(
            ["request", "distinct tokens", "generated", "tokens/s", "of the floor", "with answers"],
            rows,
        )
    )
    print(f"a plain prefill of {n_plain} tokens: {digits(speed['median'])} tokens/s")
    write_report(
        "floor",
        options,
        {"n_plain": n_plain, "plain": speed, "path": str(path), "n_items": n_items, "kinds": kinds},
    )


if __name__ == "__main__":
    main()
