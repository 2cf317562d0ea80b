"""Shared prefixes, and requests that wait for room."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rys
from rys import Generate, LogLikelihood, NextToken
from rys.requests import LogLikelihoodResult, NextTokenResult
from support import models
from support.checks import check_same, content, evaluated, mixed
from support.models import log_softmax


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny() as model:
        yield model


# shared prefixes


def test_a_shared_prefix_is_evaluated_once(model: rys.Model) -> None:
    prefix = [1] + [7] * 99
    requests = [NextToken([*prefix, 10 + i, 20 + i]) for i in range(8)]
    assert evaluated(model, requests) == 100 + 8 * 2
    results = [result for result in model.run(requests) if isinstance(result, NextTokenResult)]
    assert [result.n_shared_tokens for result in results] == [0] + [100] * 7
    assert [result.n_prompt_tokens for result in results] == [102] * 8
    for request, result in zip(requests, results, strict=True):
        np.testing.assert_allclose(result.logits, model.logits(request.prompt)[-1], atol=1e-4)


def test_equal_prompts_are_evaluated_once(model: rys.Model) -> None:
    prompt = [1, 9, 9]
    requests = [Generate(prompt, max_tokens=1, temperature=1.0, seed=seed) for seed in range(50)]
    assert evaluated(model, requests) == 3
    assert [getattr(result, "n_shared_tokens", None) for result in model.run(requests)] == [0] + [
        3
    ] * 49


def test_a_prompt_that_begins_another_is_shared(model: rys.Model) -> None:
    long = [1] + [7] * 80
    requests = [
        NextToken(long),
        NextToken(long[:60]),
        Generate(long[:60], max_tokens=5),
        LogLikelihood(long[:70], [3, 4]),
    ]
    assert evaluated(model, requests) < 100
    single = [model.run([request])[0] for request in requests]
    for result, expected in zip(model.run(requests), single, strict=True):
        check_same(result, expected)


def test_prefixes_within_prefixes_are_shared(model: rys.Model) -> None:
    # 3 groups with 50 more tokens in common, in each 3 prompts with 5 tokens of their own
    root = [1] + [7] * 49
    requests = [
        NextToken([*root, *[20 + g] * 50, *[100 + i] * 5]) for g in range(3) for i in range(3)
    ]
    assert evaluated(model, requests) == 50 + 3 * 50 + 9 * 5
    for request, result in zip(requests, model.run(requests), strict=True):
        assert isinstance(result, NextTokenResult)
        np.testing.assert_allclose(result.logits, model.logits(request.prompt)[-1], atol=1e-4)


def test_log_likelihoods_that_share_a_context_read_every_token(model: rys.Model) -> None:
    # the first tokens of the continuations are themselves shared
    context = [1] + [7] * 60
    requests = [LogLikelihood(context, [*[30] * 40, 40 + i, 50]) for i in range(4)]
    assert evaluated(model, requests) == 61 + 40 + 4 * 1
    rows = [log_softmax(model.logits(context + list(request.continuation))) for request in requests]
    for request, row, result in zip(requests, rows, model.run(requests), strict=True):
        tail = list(request.continuation)
        assert isinstance(result, LogLikelihoodResult)
        np.testing.assert_allclose(result.token_logprobs, row[60 + np.arange(42), tail], atol=1e-4)


# little room


def test_more_requests_than_sequences_wait_for_their_turn() -> None:
    requests = mixed(40)
    with models.open_tiny() as model:
        expected = [model.run([request])[0] for request in requests]
    for n_seq_max in (1, 2, 3, 7, 256):
        with models.open_tiny(n_seq_max=n_seq_max) as model:
            for result, single in zip(model.run(requests), expected, strict=True):
                check_same(result, single)


def test_one_sequence_serves_equal_prompts() -> None:
    with models.open_tiny(n_seq_max=1) as model:
        requests = [
            Generate("Hello", max_tokens=5),
            Generate("Hello", max_tokens=5),
            NextToken("Hello"),
        ]
        results = model.run(requests)
        assert content(results[0]) == content(results[1]) == content(model.run(requests[:1])[0])


def test_a_batch_may_be_smaller_than_the_parallel_sequences() -> None:
    requests = mixed(20)
    with models.open_tiny() as model:
        expected = [model.run([request])[0] for request in requests]
    for n_batch, n_ubatch in ((1, 1), (2, 512), (50, 7)):
        with models.open_tiny(n_batch=n_batch, n_ubatch=n_ubatch) as model:
            for result, single in zip(model.run(requests), expected, strict=True):
                check_same(result, single)


def test_a_context_smaller_than_a_batch() -> None:
    # the context is rounded up inside of llama.cpp, its batch is not
    with models.open_tiny(n_ctx=64, n_batch=2048) as model:
        requests = [NextToken([1] + [10 + i] * 50) for i in range(6)]
        for request, result in zip(requests, model.run(requests), strict=True):
            assert isinstance(result, NextTokenResult)
            np.testing.assert_allclose(result.logits, model.logits(request.prompt)[-1], atol=1e-4)


def test_a_prefix_that_was_given_up_twice_is_evaluated_again() -> None:
    a = [10] * 20
    b = a + [11] * 9
    c = b + [12] * 61
    requests = [
        NextToken(c),
        NextToken([*c, 13, 13, 13]),
        Generate([*b, 14], max_tokens=2),
        NextToken(a + [20] * 6),
        Generate([*b, 14], max_tokens=30),
        LogLikelihood(c[:7], [*c[7:], 15]),
        NextToken(a + [30] * 120),
    ]
    with models.open_tiny(n_ctx=300, n_seq_max=2) as model:
        for result, request in zip(model.run(requests), requests, strict=True):
            check_same(result, model.run([request])[0])


def test_a_prefix_that_is_evaluated_again_has_room_beside_its_first_evaluation() -> None:
    # what is still held of the first evaluation takes cells, too
    a, b, c = [10] * 52, [20] * 40, [21] * 40
    requests = [
        Generate(a + [11] * 35, max_tokens=5),
        Generate(a + [11] * 35 + [12] * 93, max_tokens=None),
        LogLikelihood(a[:20], [*a[20:], *[13] * 40, 9]),
        Generate([*a, *[13] * 40, 14], max_tokens=None),
        Generate(b, max_tokens=None),
        LogLikelihood(b[:23], [*b[23:], *c, 9]),
    ]
    with models.open_tiny(n_ctx=200, n_seq_max=4, n_batch=4) as model:
        for result, request in zip(model.run(requests), requests, strict=True):
            check_same(result, model.run([request])[0])


def random_requests(rng: random.Random, n_ctx: int) -> list[Any]:
    """Return requests whose prompts are a random tree, some of them too long."""
    prompts: list[list[int]] = [[]]
    requests: list[Any] = []
    for _ in range(rng.choice([2, 5, 12, 30])):
        base = rng.choice(prompts)
        if rng.random() < 0.5:
            base = base[: rng.randint(0, len(base))]
        tokens = [
            *base,
            *(rng.randrange(5, 356) for _ in range(rng.choice([0, 1, 3, 10, 40, 90]))),
        ] or [1]
        tokens = tokens[: n_ctx + 2]
        prompts.append(tokens)
        match rng.randrange(4):
            case 0:
                requests.append(NextToken(tokens, allowed=[0, 3, 2]))
            case 1:
                cut = rng.randint(1, len(tokens))
                requests.append(LogLikelihood(tokens[:cut], [*tokens[cut:], 9]))
            case _:
                most: list[int | None] = [1, 2, 5, 30]
                requests.append(
                    Generate(tokens, max_tokens=rng.choice([*most, None] if n_ctx < 100 else most))
                )
    return requests


@pytest.mark.parametrize("seed", range(40))
def test_random_prompt_trees_in_little_room_give_the_results_of_single_runs(seed: int) -> None:
    # oracle: the same requests one by one
    rng = random.Random(seed)
    n_ctx = rng.choice([16, 64, 200, 256])
    options = {"n_seq_max": rng.choice([1, 2, 3, 4, 8]), "n_batch": rng.choice([1, 4, 33, 2048])}
    with models.open_tiny(n_ctx=n_ctx, n_ubatch=rng.choice([1, 16, 512]), **options) as model:
        requests = random_requests(rng, n_ctx)
        for result, request in zip(model.run(requests), requests, strict=True):
            check_same(result, model.run([request])[0])
