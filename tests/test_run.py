"""Model.run: lists of requests of all kinds, in much room and in little."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rys
from rys import Generate, LogLikelihood, NextToken
from rys.errors import (
    ContextFullError,
    NonFiniteLogitsError,
    RequestError,
    RysError,
    TokenizerError,
    UnsupportedArchitectureError,
)
from rys.requests import FailedRequest, NextTokenResult
from support import models
from support.checks import LETTERS, check_same, content, evaluated, greedy, mixed


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny() as model:
        yield model


# lists of requests


def test_results_are_those_of_single_runs_in_the_order_of_the_requests(model: rys.Model) -> None:
    requests = mixed(30)
    single = [model.run([request])[0] for request in requests]
    for _ in range(2):
        results = model.run(requests)
        assert len(results) == 30
        for result, expected in zip(results, single, strict=True):
            check_same(result, expected)
    backwards = model.run(requests[::-1])
    for result, expected in zip(backwards, single[::-1], strict=True):
        check_same(result, expected)


def test_greedy_results_are_the_same_each_time_for_the_same_list() -> None:
    # with the defaults, whose attention and cache round; few steps, as two threads wait for each
    # other in each
    prefix = "A rather long sentence that several prompts begin with: "
    requests = [Generate(f"{prefix}{i}", max_tokens=3, logprobs=True) for i in range(3)]
    requests += [LogLikelihood(prefix, "has no legs"), NextToken("Another")]
    with rys.Model(models.tiny(), n_ctx=512, n_threads=2) as model:
        first = [content(result) for result in model.run(requests, cache_prompt=False)]
        model.run([NextToken(prefix)])
        again = [content(result) for result in model.run(requests, cache_prompt=False)]
        assert again == first
    with rys.Model(models.tiny(), n_ctx=512, n_threads=2) as other:
        assert [content(result) for result in other.run(requests)] == first


def test_no_requests_give_no_results(model: rys.Model) -> None:
    assert model.run([]) == []


def test_requests_may_come_from_an_iterator(model: rys.Model) -> None:
    requests: Any = (NextToken("a", allowed=[i]) for i in range(3))
    assert [
        list(result.tokens) for result in model.run(requests) if isinstance(result, NextTokenResult)
    ] == [
        [0],
        [1],
        [2],
    ]


@pytest.mark.parametrize("wrong", [None, 5, "text", [], {"prompt": "a"}, Generate])
def test_a_request_of_another_type_is_refused_with_its_place(model: rys.Model, wrong: Any) -> None:
    with pytest.raises(
        RequestError,
        match=r"requests\[1\]: a request is a Generate, LogLikelihood or NextToken, not",
    ):
        model.run([Generate("a"), wrong])


def test_one_request_instead_of_a_list_is_refused(model: rys.Model) -> None:
    single: Any = Generate("a")
    with pytest.raises((RequestError, TypeError), match=r"list|iterable"):
        model.run(single)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0, but must be"),
        ({"max_tokens": -5}, "max_tokens is -5, but must be"),
        ({"max_tokens": 1.5}, "max_tokens is 1.5, but must be"),
        ({"max_tokens": "9"}, "max_tokens is '9', but must be"),
        ({"max_tokens": 2**40}, "max_tokens is 1099511627776, but must be"),
        ({"temperature": -0.1}, r"temperature is -0\.1, but must be 0\.\.inf"),
        ({"temperature": float("nan")}, "temperature is nan, but must be"),
        ({"temperature": None}, "temperature is None, but must be"),
        ({"top_p": 1.1}, r"top_p is 1\.1, but must be 0\.\.1"),
        ({"top_k": 1.5}, r"top_k is 1\.5, but must be"),
        ({"min_p": -0.1}, r"min_p is -0\.1, but must be 0\.\.1"),
        ({"repeat_penalty": 0}, "repeat_penalty is 0, but must be"),
        ({"seed": 0.5}, r"seed is 0\.5, but must be"),
        ({"stop": "."}, r"stop is '\.', but must be a list of strings that are not empty"),
        ({"stop": [""]}, r"stop is \[''\], but must be a list"),
        ({"stop": [b"."]}, r"stop is \[b'\.'\], but must be a list"),
        ({"stop": None}, "stop is None, but must be a list"),
        ({"grammar": 5}, "grammar is 5, but must be"),
    ],
)
def test_an_option_out_of_range_is_refused_with_its_name(
    model: rys.Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        model.generate("a", **options)
    with pytest.raises(RequestError, match=r"requests\[2\]: " + message):
        model.run([Generate("a"), NextToken("a"), Generate("a", **options)])


@pytest.mark.parametrize(
    "prompt",
    [None, 5, b"bytes", {"role": "user", "content": "a"}, object(), {1, 2}, [1, "a"], [1.5]],
)
def test_a_prompt_of_another_type_is_refused(model: rys.Model, prompt: Any) -> None:
    with pytest.raises(RequestError):
        model.generate(prompt)
    with pytest.raises(RequestError):
        model.run([NextToken(prompt)])
    with pytest.raises(RequestError):
        model.loglikelihood(prompt, "a")
    with pytest.raises(RequestError):
        model.logits(prompt)


def test_an_empty_prompt_is_refused(model: rys.Model) -> None:
    for use in (model.generate, model.logits, model.hidden_states):
        with pytest.raises(RequestError, match="the prompt is empty; give at least one token"):
            use([])


@pytest.mark.parametrize("token", [-1, 356, 10**6, 2**31, 2**63, -(2**40)])
def test_tokens_outside_of_the_vocabulary_are_refused(model: rys.Model, token: int) -> None:
    assert model.n_vocab == 356
    message = rf"token {token} is outside of the vocabulary, which has tokens 0\.\.355"
    uses: list[Any] = [
        lambda: model.generate([1, token]),
        lambda: model.run([NextToken([1], allowed=[token])]),
        lambda: model.loglikelihood([1], [token]),
        lambda: model.loglikelihood([token], [1]),
        lambda: model.logits([token]),
        lambda: model.hidden_states([token]),
        lambda: model.detokenize([token]),
        lambda: model.perplexity([1, token]),
    ]
    for use in uses:
        with pytest.raises(RequestError, match=message):
            use()


def test_a_request_that_is_too_long_fails_alone() -> None:
    with models.open_tiny(n_ctx=32) as model:
        long = [5] * 33
        requests = [
            Generate(long, max_tokens=1),
            Generate(long[:32], max_tokens=1),
            LogLikelihood(long, [6]),
            LogLikelihood(long[:20], long[:13]),  # the last token of a continuation needs no place
            NextToken(long),
            NextToken(long[:32]),
            LogLikelihood(long[:20], long[:14]),
        ]
        results = model.run(requests)
        assert [isinstance(result, FailedRequest) for result in results] == [
            True,
            False,
            True,
            False,
            True,
            False,
            True,
        ]
        for result in results:
            if isinstance(result, FailedRequest):
                assert isinstance(result.error, ContextFullError)
                assert re.fullmatch(
                    r"the prompt has 33 tokens, but the context holds 32", str(result.error)
                )
        for result, request in zip(results, requests, strict=True):
            check_same(result, model.run([request])[0])
        with pytest.raises(
            ContextFullError, match="the prompt has 33 tokens, but the context holds 32"
        ):
            model.generate(long)
        for use in (model.logits, model.hidden_states):
            assert len(use(long[:32])) > 0
            with pytest.raises(
                ContextFullError, match="the prompt has 33 tokens, but the context holds 32"
            ):
                use(long)


def test_times_are_those_of_the_run(model: rys.Model) -> None:
    begin = time.perf_counter()
    results = model.run(mixed(20))
    elapsed = time.perf_counter() - begin
    assert all(
        0 < result.seconds <= elapsed for result in results if not isinstance(result, FailedRequest)
    )


def test_a_progress_bar_counts_requests(
    model: rys.Model, capfd: pytest.CaptureFixture[str]
) -> None:
    model.run(mixed(10), progress=True)
    assert "10/10" in capfd.readouterr().err
    model.run(mixed(10))
    assert capfd.readouterr() == ("", "")


# failures


def test_a_request_whose_logits_are_not_finite_fails_alone() -> None:
    with models.open_tiny("0..3,2..", model={"poison": "Z"}) as model:
        requests = [
            Generate("Hello", max_tokens=8),
            Generate("Z Hello", max_tokens=8),
            LogLikelihood("a", " Zeta"),
            LogLikelihood("a", " zeta"),
            NextToken("Zeta"),
            NextToken("zeta"),
        ]
        with models.open_tiny("0..3,2..") as clean:
            expected = clean.run(requests)
        for _ in range(2):  # no trace is left
            results = model.run(requests)
            assert [isinstance(result, FailedRequest) for result in results] == [
                False,
                True,
                True,
                False,
                True,
                False,
            ]
            for result, single in zip(results, expected, strict=True):
                if isinstance(result, FailedRequest):
                    assert isinstance(result.error, NonFiniteLogitsError)
                    assert "layer_path='0..3,2..5'" in str(result.error)
                else:
                    check_same(result, single)
        with pytest.raises(NonFiniteLogitsError):
            model.generate("Z")
        with pytest.raises(NonFiniteLogitsError):
            list(model.stream("Z"))
        check_same(model.generate("Hello", max_tokens=8), expected[0])


def test_values_that_overflow_are_reported() -> None:
    with (
        models.open_tiny(model={"scale": 1e15}) as model,
        pytest.raises(NonFiniteLogitsError, match="overflowed"),
    ):
        model.generate("Hello")


# recurrent state


@pytest.mark.parametrize("architecture", ["mamba", "jamba"])
@pytest.mark.parametrize("layer_path", [None, [0, 1, 1, 2, 0]])
def test_the_answer_of_a_recurrent_model_does_not_depend_on_what_ran_before(
    architecture: str, layer_path: list[int] | None
) -> None:
    def answer(model: rys.Model) -> tuple[Any, ...]:
        generated = model.generate([9, 8, 7], max_tokens=20)
        scored = model.loglikelihood([4, 4], [5, 6, 7])
        return generated.tokens, scored.token_logprobs.tolist(), model.logits([2, 3]).tolist()

    def opened() -> rys.Model:
        return rys.Model(models.recurrent(architecture), layer_path, n_ctx=256, **models.EXACT)

    with opened() as model:
        expected = answer(model)
    with opened() as model:
        for _ in range(3):
            model.generate([1, 2, 3] * 10, max_tokens=30)
            assert answer(model) == expected
            pieces = model.run([Generate([11, i], max_tokens=9) for i in range(20)])
            assert len(pieces) == 20
            assert answer(model) == expected
            with pytest.raises(RysError):
                model.run([Generate([1], max_tokens=5), Generate([48], max_tokens=5)])
            assert answer(model) == expected


@pytest.mark.parametrize("architecture", ["mamba", "jamba"])
def test_recurrent_models_share_prefixes_and_run_in_parallel(architecture: str) -> None:
    prefix = [3, 1, 4, 1, 5, 9, 2, 6] * 8
    requests: list[Any] = [NextToken([*prefix, i]) for i in range(6)]
    requests += [Generate([*prefix[: 40 + i]], max_tokens=12) for i in range(6)]
    requests += [LogLikelihood(prefix[:50], [*prefix[50:60], i]) for i in range(4)]
    for options in ({}, {"n_seq_max": 2, "n_ctx": 100}, {"n_batch": 7}, {"n_seq_max": 1}):
        with rys.Model(
            models.recurrent(architecture), **{"n_ctx": 512, **models.EXACT, **options}
        ) as model:
            for result, request in zip(model.run(requests), requests, strict=True):
                check_same(result, model.run([request])[0])
            if not options:
                assert evaluated(model, requests[:6]) == 64 + 6


def test_logits_of_a_recurrent_model_are_the_same_token_by_token() -> None:
    for architecture in ("mamba", "jamba"):
        with rys.Model(models.recurrent(architecture), n_ctx=256, **models.EXACT) as model:
            tokens = [5, 9, 2, 6, 5, 3, 5]
            result = model.generate(tokens, max_tokens=15)
            assert result.tokens == greedy(model, tokens, 15)


# models that some requests cannot be asked of


def test_text_options_need_a_tokenizer() -> None:
    with rys.Model(models.positions(), n_threads=1) as model:
        for options in ({"stop": ["a"]}, {"grammar": LETTERS}):
            with pytest.raises(
                RequestError, match=r"stop and grammar are about text, but .* has no tokenizer"
            ):
                model.generate([1], **options)
        with pytest.raises(TokenizerError, match="has no tokenizer"):
            model.run([NextToken([1], allowed=["a"])])


def test_the_learned_position_table_limits_the_context() -> None:
    with rys.Model(models.positions(12), n_ctx=64, n_threads=1) as model:
        assert model.n_ctx == 12
        assert len(model.generate([1, 2], max_tokens=None).tokens) == 11
        fine, failed = model.run([NextToken([1] * 12), NextToken([1] * 13)])
        assert isinstance(fine, NextTokenResult)
        assert isinstance(failed, FailedRequest)
        assert isinstance(failed.error, ContextFullError)
        for use in (model.logits, model.hidden_states, model.generate):
            use([1] * 12)
            with pytest.raises(
                ContextFullError, match="the prompt has 13 tokens, but the context holds 12"
            ):
                use([1] * 13)
        assert (
            model.perplexity([3] * 40, n_window=30).n_tokens == 36
        )  # 4 windows of 12, 12, 12 and 4


def test_a_model_that_does_not_generate_token_by_token_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with models.open_tiny() as model:
        core = type("Core", (), {"has_memory": False})()
        monkeypatch.setattr(model._session, "_model", core)
        with pytest.raises(
            UnsupportedArchitectureError, match="llama does not generate token by token"
        ):
            model._session.context()
