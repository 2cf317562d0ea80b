"""LogLikelihood and NextToken against the logits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import rys
from rys import NextToken
from rys.engine.chat_prompt import PromptText
from rys.engine.control_tokens import Span
from rys.engine.prepare import RequestPreparer
from rys.engine.tokenizer import Tokenizer
from rys.errors import (
    RequestError,
)
from rys.requests import NextTokenResult
from support import models
from support.checks import content
from support.models import log_softmax


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny() as model:
        yield model


# LogLikelihood


def test_a_log_likelihood_is_the_sum_over_the_tokens_of_the_continuation(model: rys.Model) -> None:
    # oracle: log-softmax of logits() in numpy, in float64
    context, continuation = (
        model.tokenize("The cat sat"),
        model.tokenize(" on the mat", add_special=False),
    )
    result = model.loglikelihood(context, continuation)
    rows = log_softmax(model.logits(context + continuation))
    expected = rows[len(context) - 1 + np.arange(len(continuation)), continuation]
    np.testing.assert_allclose(result.token_logprobs, expected, atol=1e-5)
    assert result.token_logprobs.dtype == np.float32
    assert result.logprob == pytest.approx(expected.sum(), abs=1e-4)
    assert result.tokens == continuation
    assert result.n_prompt_tokens == len(context) + len(continuation) - 1
    assert not result.is_greedy


def test_is_greedy_says_whether_greedy_decoding_gives_the_continuation(model: rys.Model) -> None:
    best = model.generate("Hello", max_tokens=8).tokens
    context = model.tokenize("Hello")
    assert model.loglikelihood(context, best).is_greedy
    assert model.loglikelihood(context, best[:1]).is_greedy
    for i in (0, 4, 7):
        other = [*best[:i], best[i] - 1, *best[i + 1 :]]
        assert not model.loglikelihood(context, other).is_greedy


def test_texts_of_a_log_likelihood_are_tokenized_together(model: rys.Model) -> None:
    whole = model.tokenize("Tom ate an apple")
    n_context = len(model.tokenize("Tom ate"))
    assert model.loglikelihood("Tom ate", " an apple").tokens == whole[n_context:]
    # white space at the end of the context counts to the continuation
    shifted = model.loglikelihood("Tom ate ", "an apple")
    assert shifted.tokens == whole[n_context:]
    assert shifted.logprob == model.loglikelihood("Tom ate", " an apple").logprob


class MergingTokenizer(Tokenizer):
    """Tokens as in a vocabulary with `merged`: the longest that fits, else a character."""

    def __init__(self, *merged: str, bos: bool = False) -> None:
        self._token = re.compile("|".join([*map(re.escape, merged), "."]), re.DOTALL)
        self._texts = ["<s>"]
        self._bos = [0] if bos else []
        self.special = {"bos": 0}

    def tokenize_prompt(self, text: str, literal: Sequence[Span] = ()) -> list[int]:
        pieces = self._token.findall(text)
        self._texts.extend(piece for piece in pieces if piece not in self._texts)
        return self._bos + [self._texts.index(piece) for piece in pieces]

    def texts(self, tokens: Sequence[int]) -> list[str]:
        return [self._texts[token] for token in tokens]


def scored(tokenizer: MergingTokenizer, context: Any, continuation: str) -> list[str]:
    """Return the tokens that a request scores."""

    def render(messages: Any, *_: Any) -> PromptText:
        return PromptText(str(messages[0]["content"]))

    preparer = RequestPreparer(tokenizer, render, source="x", has_tokenizer=True, n_ctx=64)
    (core,) = preparer.prepare([rys.LogLikelihood(context, continuation)])
    return tokenizer.texts(core.tokens[core.n_context :])


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize(
    ("merged", "context", "continuation", "tokens"),
    [
        # oracle: _encode_pair of lm-evaluation-harness, whole[len(encode(context.rstrip())):]
        ([":\n", "yes"], "Answer:\n", "yes", ["yes"]),
        (["yes"], "Answer:\n", "yes", ["\n", "yes"]),
        ([":\n", "yes", " yes"], "Answer:", " yes", [" yes"]),
        ([":\n", "yes", " yes"], "Answer: ", "yes", [" yes"]),
        (["  ", "yes", " yes"], "Answer: ", " yes", ["  ", "yes"]),
        (["x\n\n\n"], "x\n\n", "\ny", ["y"]),
        ([":\n\n", "yes"], "Answer:\n\n", "yes", ["yes"]),
        (["ab"], "xa", "bc", ["c"]),
        # the harness gives up: no token would be left
        (["Once"], "Onc", "e", ["Once"]),
        (["abc"], "xab", "c", ["abc"]),
    ],
)
def test_texts_are_split_as_lm_evaluation_harness_does(
    bos: bool, merged: list[str], context: str, continuation: str, tokens: list[str]
) -> None:
    assert scored(MergingTokenizer(*merged, bos=bos), context, continuation) == tokens


def test_white_space_at_the_end_of_a_rendered_conversation_stays_with_it() -> None:
    tokenizer = MergingTokenizer("yes")
    assert scored(tokenizer, [{"role": "user", "content": "Answer:\n"}], "yes") == ["yes"]


def test_a_merged_line_break_is_not_scored_by_real_weights() -> None:
    with rys.Model(models.instruct("qwen2.5-coder-0.5b"), n_ctx=64, n_threads=1) as model:
        context = "Is the sky blue?\nAnswer:\n"
        result = model.loglikelihood(context, "yes")
        assert model.token_strings(result.tokens) == ["yes"]
        rows = log_softmax(model.logits(context))
        assert result.logprob == pytest.approx(rows[-1, result.tokens[0]], abs=0.05)


def test_a_continuation_may_be_given_in_tokens_after_a_text_and_the_other_way(
    model: rys.Model,
) -> None:
    expected = content(model.loglikelihood("Tom ate", " an apple"))
    tail = model.tokenize(" an apple", add_special=False)
    assert content(model.loglikelihood("Tom ate", tail)) == expected
    assert content(model.loglikelihood(model.tokenize("Tom ate"), " an apple")) == expected


def test_messages_are_a_context(model: rys.Model) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    prompt = model.tokenize(model.apply_chat_template(messages))
    tail = model.tokenize("yes", add_special=False)
    assert model.loglikelihood(messages, tail).logprob == model.loglikelihood(prompt, tail).logprob


@pytest.mark.parametrize("empty", ["", []])
def test_an_empty_context_is_the_bos_token(model: rys.Model, empty: Any) -> None:
    tail = model.tokenize("Hi", add_special=False)
    expected = log_softmax(model.logits([1, *tail]))[[0, 1], tail]
    for continuation in ("Hi", tail):
        result = model.loglikelihood(empty, continuation)
        np.testing.assert_allclose(result.token_logprobs, expected, atol=1e-5)
        assert result.tokens == tail


def test_an_empty_context_needs_a_bos_token() -> None:
    with (
        rys.Model(models.positions(), n_threads=1) as model,
        pytest.raises(RequestError, match="the context is empty, and the model has no BOS token"),
    ):
        model.loglikelihood([], [1, 2])


def test_a_continuation_that_merges_with_the_context_is_scored() -> None:
    # "Onc" is more tokens than "Once"
    with rys.Model(models.stories(), n_ctx=64, n_threads=1) as model:
        assert len(model.tokenize("Onc")) > len(model.tokenize("Once"))
        result = model.loglikelihood("Onc", "e")
        assert result.tokens == model.tokenize("Once")[-len(result.tokens) :]


@pytest.mark.parametrize("continuation", ["", []])
def test_an_empty_continuation_is_refused(model: rys.Model, continuation: Any) -> None:
    with pytest.raises(RequestError, match="the continuation is empty"):
        model.loglikelihood("Tom", continuation)


def test_an_eos_that_the_model_wants_after_a_text_is_no_part_of_a_log_likelihood_or_prompt() -> (
    None
):
    with models.open_tiny(model={"add_eos": True}) as model:
        assert model.tokenize("ab")[-1] == model.eos_token
        result = model.loglikelihood("Tom ate", " an apple")
        assert model.detokenize(result.tokens, special=True) == " an apple"
        assert result.n_prompt_tokens == len("Tom ate an apple")  # BOS, and without the last one


# NextToken


def test_next_token_reports_logits_and_probabilities(model: rys.Model) -> None:
    # oracle: logits() and log-softmax in numpy, in float64
    logits = model.logits("Hello")[-1]
    (result,) = model.run([NextToken("Hello")])
    assert isinstance(result, NextTokenResult)
    assert list(result.tokens) == list(range(model.n_vocab))
    np.testing.assert_allclose(result.logits, logits, atol=1e-5)
    np.testing.assert_allclose(result.logprobs, log_softmax(logits), atol=1e-5)
    np.testing.assert_allclose(result.probabilities, np.exp(log_softmax(logits)), atol=1e-6)
    assert result.logits.dtype == result.logprobs.dtype == result.probabilities.dtype == np.float32
    assert result.best == int(logits.argmax())


def test_next_token_reports_the_allowed_tokens_in_their_order(model: rys.Model) -> None:
    logits = model.logits("Hello")[-1]
    yes, no = model.tokenizer.single_token("y"), model.tokenizer.single_token("n")
    (result,) = model.run([NextToken("Hello", allowed=["y", "n", 7, no])])
    assert isinstance(result, NextTokenResult)
    assert list(result.tokens) == [yes, no, 7, no]
    np.testing.assert_allclose(result.logits, logits[[yes, no, 7, no]], atol=1e-5)
    np.testing.assert_allclose(result.logprobs, log_softmax(logits)[[yes, no, 7, no]], atol=1e-5)
    np.testing.assert_allclose(
        result.probabilities, np.exp(log_softmax(logits[[yes, no, 7, no]])), atol=1e-6
    )
    assert result.best == max([yes, no, 7], key=lambda token: logits[token])


def test_an_allowed_text_of_several_tokens_is_refused_with_its_pieces(model: rys.Model) -> None:
    with pytest.raises(
        RequestError, match=r"'yes' is 3 tokens \('y' 'e' 's'\), but must be one; give a token id"
    ):
        model.run([NextToken("Hello", allowed=["yes"])])
    with pytest.raises(RequestError, match="allowed is empty; give the tokens to report, or None"):
        model.run([NextToken("Hello", allowed=[])])
