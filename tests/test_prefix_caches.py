"""Shared prefixes in caches of every kind: windows, recurrent states, both, latent and sparse.

The toys are upstream's, with windows of 32 tokens. The oracle is one sequence at a time, which
shares nothing.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from rys import Generate, LogLikelihood, NextToken
from support import models
from support.toys import Upstream
from support.windowed_toys import (
    KINDS,
    N_CTX,
    N_VOCAB,
    WINDOW,
    OpenToy,
    difference,
    is_plain,
    open_toy,
    toy_writer,
)


@pytest.fixture(scope="module")
def toy(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> OpenToy:
    return toy_writer(upstream, tmp_path_factory.mktemp("toys"))


def random_options(rng: random.Random) -> dict[str, Any]:
    return {
        "n_seq_max": rng.choice([2, 2, 3, 5, 8, 64]),
        "n_ubatch": rng.choice([8, 16, 64, 512]),
        "n_batch": rng.choice([64, 2048]),
    }


def random_requests(rng: random.Random) -> list[Any]:
    """Return requests whose prompts share prefixes shorter and longer than a window."""
    prompts: list[list[int]] = [[]]
    requests: list[Any] = []
    for _ in range(rng.choice([2, 4, 9])):
        base = rng.choice(prompts)
        if rng.random() < 0.3:
            base = base[: rng.randint(0, len(base))]
        n = rng.choice([1, 3, WINDOW - 1, WINDOW, WINDOW + 1, 90, 300, 700])
        tokens = [*base, *(rng.randrange(5, N_VOCAB) for _ in range(n))][: N_CTX - 40]
        prompts.append(tokens)
        match rng.randrange(3):
            case 0:
                requests.append(NextToken(tokens))
            case 1:
                cut = rng.randint(max(1, len(tokens) - 50), len(tokens))
                requests.append(LogLikelihood(tokens[:cut], [*tokens[cut:], 9]))
            case _:
                # what is chosen is a matter of rounding, where the random weights see a tie
                requests.append(Generate(tokens, max_tokens=rng.choice([1, 5, 40]), logprobs=True))
    return requests


def check_run(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    requests, options = random_requests(rng), random_options(rng)
    with open_toy(path, n_seq_max=1) as model:
        expected = model.run(requests)
    with open_toy(path, **options) as model:
        results = model.run(requests)
    for result, single in zip(results, expected, strict=True):
        assert difference(result, single) < 1e-3, (path.stem, seed, options)


@pytest.mark.parametrize("name", KINDS)
def test_shared_prefixes_give_the_results_of_one_sequence(toy: OpenToy, name: str) -> None:
    for seed in (0, 3):
        check_run(toy(name), seed)


def test_windows_of_sequences_side_by_side_in_a_batch_of_many_ubatches(toy: OpenToy) -> None:
    # cells that later ubatches use again are still seen by the first ones
    check_run(toy("plamo3-dense"), 105)


@pytest.mark.parametrize("name", ["gemma3-dense", "lfm2-dense", "dots3note-moe"])
@pytest.mark.parametrize("n_seq_max", [2, 3])
def test_questions_about_a_document_that_is_longer_than_the_windows(
    toy: OpenToy, name: str, n_seq_max: int
) -> None:
    document = [5 + i % 100 for i in range(900)]
    requests = [LogLikelihood([*document, 20 + i], [30, 31]) for i in range(4)]
    with open_toy(toy(name), n_seq_max=1) as model:
        expected = model.run(requests)
    with open_toy(toy(name), n_seq_max=n_seq_max) as model:
        results = model.run(requests)
    for result, single in zip(results, expected, strict=True):
        assert difference(result, single) < 1e-3
    assert [result.n_shared_tokens for result in results[1:]] == [900] * 3


@pytest.mark.archs
def test_every_cache_gives_the_results_of_one_sequence(toy: OpenToy, upstream: Upstream) -> None:
    """100 random runs over all toys with windows or recurrent states."""
    paths = [
        toy(path.stem)
        for architecture in upstream.architectures()
        for path in upstream.write_toys(architecture, models.folder() / "toys")
        if not is_plain(path)
    ]
    assert len(paths) >= 38
    for seed in range(100):
        check_run(paths[seed % len(paths)], seed)
