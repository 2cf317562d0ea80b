"""What calls leave in the cache for later calls that begin with the same tokens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rys
from rys import Generate, LogLikelihood, NextToken
from rys.errors import NonFiniteLogitsError, RequestError
from rys.requests import GenerateResult
from support import models
from support.checks import check_same
from support.toys import Upstream
from support.windowed_toys import KINDS, OpenToy, difference, is_plain, open_toy, toy_writer

DOCUMENT = [1] + [7] * 99


def open_caching(**options: Any) -> rys.Model:
    return models.open_tiny(**{"cache_prompt": True, **options})


@pytest.fixture
def model() -> Iterator[rys.Model]:
    with open_caching() as model:
        yield model


@pytest.fixture(scope="module")
def toy(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> OpenToy:
    return toy_writer(upstream, tmp_path_factory.mktemp("toys"))


def n_evaluated(result: Any) -> int:
    n: int = result.n_prompt_tokens - result.n_shared_tokens
    return n


# what a conversation costs


def test_a_chat_of_20_turns_costs_the_tokens_of_its_new_text() -> None:
    messages: list[dict[str, str]] = []
    n_new = n_cost = n_before = 0
    with open_caching(n_ctx=4096) as model:
        for turn in range(20):
            messages.append({"role": "user", "content": f"Question {turn}, with some words."})
            result = model.chat(messages, max_tokens=8, grammar="root ::= [a-z]{40}")
            messages.append({"role": "assistant", "content": result.text})
            n_new += result.n_prompt_tokens - n_before
            n_cost += n_evaluated(result)
            # the last token of an answer is chosen, but not evaluated
            n_before = result.n_prompt_tokens + len(result.tokens) - 1
    assert n_new > 1000
    assert n_cost <= 1.05 * n_new


@pytest.mark.parametrize("name", KINDS)
def test_turns_are_cheap_with_every_cache(toy: OpenToy, name: str) -> None:
    tokens = [5 + i % 100 for i in range(150)]
    with open_toy(toy(name), cache_prompt=True, n_seq_max=4) as model:
        for turn in range(4):
            result = model.generate(tokens, max_tokens=6)
            assert result.n_shared_tokens == (0 if turn == 0 else len(tokens) - 4)
            tokens = [*tokens, *result.tokens, 9, 10, 11]


def test_a_stream_that_is_given_up_is_continued() -> None:
    with open_caching() as model:
        stream = model.stream(DOCUMENT, max_tokens=50)
        next(stream)
        next(stream)
        stream.close()
        result = model.generate([*DOCUMENT, 9, 9], max_tokens=3)
        assert n_evaluated(result) == 2


def test_an_equal_request_costs_one_token(model: rys.Model) -> None:
    first = model.generate(DOCUMENT, max_tokens=5, logprobs=True)
    second = model.generate(DOCUMENT, max_tokens=5, logprobs=True)
    assert (n_evaluated(first), n_evaluated(second)) == (100, 1)
    check_same(second, first)


def test_calls_of_every_kind_share_a_document(model: rys.Model) -> None:
    with models.open_tiny() as fresh:
        requests = [
            NextToken([*DOCUMENT, 8]),
            LogLikelihood([*DOCUMENT, 9], [3, 4]),
            Generate([*DOCUMENT, 8, 7], max_tokens=3),
        ]
        for request, n_shared in zip(requests, (0, 100, 101), strict=True):
            (result,) = model.run([request])
            assert getattr(result, "n_shared_tokens", None) == n_shared
            check_same(result, fresh.run([request])[0])


def test_a_list_begins_with_what_is_there(model: rys.Model) -> None:
    model.generate(DOCUMENT, max_tokens=2)
    requests = [NextToken([*DOCUMENT, 10 + i]) for i in range(4)]
    results = model.run(requests)
    assert [getattr(result, "n_shared_tokens", None) for result in results] == [99, 100, 100, 100]
    with models.open_tiny() as fresh:
        for result, expected in zip(results, fresh.run(requests), strict=True):
            check_same(result, expected)


def test_conversations_may_take_turns(model: rys.Model) -> None:
    chats = [[1] + [20 + i] * 40 for i in range(3)]
    for turn in range(3):
        for i, tokens in enumerate(chats):
            result = model.generate(tokens, max_tokens=4)
            assert n_evaluated(result) == (41 if turn == 0 else 3)
            chats[i] = [*tokens, *result.tokens, 9, 9]


def test_a_conversation_forks(model: rys.Model) -> None:
    # the other end is still there
    first = model.generate([*DOCUMENT, 20], max_tokens=4)
    assert model.generate([*DOCUMENT, 30], max_tokens=4).n_shared_tokens == 100
    again = model.generate([*DOCUMENT, 20, *first.tokens, 5], max_tokens=1)
    assert n_evaluated(again) == 2


def test_views_have_caches_of_their_own(model: rys.Model) -> None:
    model.generate(DOCUMENT, max_tokens=2)
    with model.with_path("0..2,2..5") as twice:
        assert twice.generate(DOCUMENT, max_tokens=2).n_shared_tokens == 0
        assert twice.generate(DOCUMENT, max_tokens=2).n_shared_tokens == 99
    assert model.generate(DOCUMENT, max_tokens=2).n_shared_tokens == 99


# what it does not change


def test_a_fresh_model_gives_the_same_bits(model: rys.Model) -> None:
    requests = [NextToken([*DOCUMENT[:n], 9]) for n in (5, 40, 99)] + [NextToken([3, 4, 5])]
    with models.open_tiny() as fresh:
        for result, expected in zip(model.run(requests), fresh.run(requests), strict=True):
            np.testing.assert_array_equal(result.logits, expected.logits)  # type: ignore[union-attr]


def test_a_list_that_begins_otherwise_gives_the_same_bits(model: rys.Model) -> None:
    model.generate(DOCUMENT, max_tokens=20)
    requests = [NextToken([30 + i] * 50) for i in range(3)]
    with models.open_tiny() as fresh:
        for result, expected in zip(model.run(requests), fresh.run(requests), strict=True):
            np.testing.assert_array_equal(result.logits, expected.logits)  # type: ignore[union-attr]


def test_the_cache_can_be_left_out(model: rys.Model) -> None:
    first = model.run([NextToken(DOCUMENT)])[0]
    model.generate([*DOCUMENT, 9], max_tokens=30)
    second = model.run([NextToken(DOCUMENT)], cache_prompt=False)[0]
    assert second.n_shared_tokens == 0  # type: ignore[union-attr]
    np.testing.assert_array_equal(second.logits, first.logits)  # type: ignore[union-attr]
    # and nothing of it was kept
    assert model.generate(DOCUMENT, max_tokens=1).n_shared_tokens == 0


def test_logits_and_perplexity_do_not_depend_on_earlier_calls(model: rys.Model) -> None:
    expected = model.logits(DOCUMENT), model.perplexity(DOCUMENT)
    model.generate(DOCUMENT, max_tokens=20)
    np.testing.assert_array_equal(model.logits(DOCUMENT), expected[0])
    model.generate(DOCUMENT, max_tokens=20)
    assert model.perplexity(DOCUMENT) == expected[1]


def test_probes_measure_without_it(model: rys.Model) -> None:
    first = rys.probes.evaluate(model, "math", n=4)
    second = rys.probes.evaluate(model, "math", n=4)
    assert second["math"].n_evaluated_tokens == first["math"].n_evaluated_tokens


def test_a_model_can_be_opened_without_it() -> None:
    with models.open_tiny(cache_prompt=False) as model:
        for _ in range(2):
            assert model.generate(DOCUMENT, max_tokens=2).n_shared_tokens == 0
    with pytest.raises(RequestError, match="cache_prompt is 'no', but must be True or False"):
        models.open_tiny(cache_prompt="no")


# little room


@pytest.mark.parametrize("n_seq_max", [1, 2, 8])
def test_a_request_that_needs_the_whole_context_gets_it(n_seq_max: int) -> None:
    with open_caching(n_seq_max=n_seq_max) as model:
        for i in range(3):
            model.generate([1] + [10 + i] * 70, max_tokens=2)
        result = model.generate([1] + [50] * 200, max_tokens=None, grammar="root ::= [a-z]{400}")
        assert (result.n_shared_tokens, len(result.tokens)) == (0, 256 - 201 + 1)
        # now its own cells are all there are
        result = model.generate([1] + [50] * 100 + [3] * 155, max_tokens=None)
        assert result.n_shared_tokens == 101


def test_what_is_kept_takes_no_sequence_from_a_list() -> None:
    with open_caching(n_seq_max=2) as model, models.open_tiny(n_seq_max=2) as fresh:
        model.generate(DOCUMENT, max_tokens=2)
        model.generate([1] + [20] * 50, max_tokens=2)
        requests = [Generate([*DOCUMENT, 9 + i], max_tokens=40) for i in range(5)]
        for result, expected in zip(model.run(requests), fresh.run(requests), strict=True):
            check_same(result, expected)


def test_logits_that_are_not_finite_are_not_kept() -> None:
    with open_caching(model={"poison": "x"}) as model:
        before = model.generate("A fine sentence, of some length, and so on.", max_tokens=3)
        with pytest.raises(NonFiniteLogitsError):
            model.generate("A fine sentence, of some length, and an x.", max_tokens=3)
        after = model.generate("A fine sentence, of some length, and so on.", max_tokens=3)
        assert after.n_shared_tokens == 0
        check_same(after, before)


# at random


def random_call(rng: random.Random, prompts: list[list[int]], n_ctx: int, n_vocab: int) -> Any:
    """Return a request that goes on behind an earlier one, changes it, or begins anew."""
    base = rng.choice(prompts[-4:])
    cut = rng.choice([len(base), len(base), rng.randint(0, len(base)), 0])
    more = [rng.randrange(5, n_vocab) for _ in range(rng.choice([1, 2, 10, 50, 120]))]
    tokens = [*base[:cut], *more][: n_ctx - 30]
    match rng.randrange(5):
        case 0:
            return NextToken(tokens)
        case 1:
            cut = rng.randint(1, len(tokens))
            return LogLikelihood(tokens[:cut], [*tokens[cut:], 9])
        case _:
            return Generate(tokens, max_tokens=rng.choice([1, 5, 25]), logprobs=True)


def check_calls(path: Any, seed: int, n_vocab: int) -> int:
    """Compare random calls with those of a model that keeps nothing; return the shared tokens."""
    rng = random.Random(seed)
    n_ctx = rng.choice([256, 1024])
    options = {"n_seq_max": rng.choice([1, 2, 3, 8]), "n_ubatch": rng.choice([16, 64, 512])}
    prompts: list[list[int]] = [[1]]
    n_shared = 0
    with (
        open_toy(path, n_ctx=n_ctx, cache_prompt=True, **options) as model,
        open_toy(path, n_ctx=n_ctx, n_seq_max=1) as fresh,
    ):
        for step in range(12):
            n = rng.choice([1, 1, 1, 3])
            requests = [random_call(rng, prompts, n_ctx, n_vocab) for _ in range(n)]
            expected = fresh.run(requests)
            for request, result, single in zip(
                requests, model.run(requests), expected, strict=True
            ):
                assert difference(result, single) < 1e-3, (path, seed, step, request)
                n_shared += 0 if n > 1 else result.n_shared_tokens  # type: ignore[union-attr]
                tokens = getattr(request, "prompt", None) or request.context
                chosen = result.tokens if isinstance(result, GenerateResult) else []
                prompts.append([*tokens, *chosen][: n_ctx - 40])
    return n_shared


@pytest.mark.parametrize("name", KINDS)
def test_calls_give_the_results_of_a_fresh_model(toy: OpenToy, name: str) -> None:
    assert check_calls(toy(name), 1, 128) > 0


def test_many_calls_give_the_results_of_a_fresh_model() -> None:
    assert sum(check_calls(models.tiny(), seed, 356) for seed in range(10)) > 500


@pytest.mark.archs
def test_every_cache_gives_the_results_of_a_fresh_model(toy: OpenToy, upstream: Upstream) -> None:
    for architecture in upstream.architectures():
        for path in upstream.write_toys(architecture, models.folder() / "cached"):
            if not is_plain(path):
                for seed in range(4):
                    check_calls(path, seed, 128)
            path.unlink()
