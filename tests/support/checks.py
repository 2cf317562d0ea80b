"""Requests that tests ask, and what they compare the results with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import rys
from rys import Generate, LogLikelihood, NextToken, _core
from rys.requests import FailedRequest, GenerateResult, LogLikelihoodResult, NextTokenResult

LETTERS = "root ::= [a-z]{400}"
EOG = {2, 4}  # of `tiny`: </s> and <|im_end|>


def greedy(model: rys.Model, prompt: Sequence[int], n: int) -> list[int]:
    """Continue a prompt one evaluation at a time: the oracle of a greedy generation."""
    tokens = list(prompt)
    for _ in range(n):
        tokens.append(int(model.logits(tokens)[-1].argmax()))
    return tokens[len(prompt) :]


def content(result: Any) -> tuple[Any, ...]:
    """Return what must not depend on other requests: all but times and shared tokens."""
    match result:
        case GenerateResult():
            logprobs = None if result.logprobs is None else result.logprobs.round(4).tolist()
            return (
                result.text,
                result.tokens,
                logprobs,
                result.finish_reason,
                result.n_prompt_tokens,
            )
        case LogLikelihoodResult():
            return (
                result.tokens,
                result.token_logprobs.round(3).tolist(),
                result.is_greedy,
                result.n_prompt_tokens,
            )
        case NextTokenResult():
            return list(result.tokens), result.logits.round(3).tolist(), result.n_prompt_tokens
        case FailedRequest():
            return type(result.error), str(result.error)
    raise AssertionError(result)


def check_same(result: Any, expected: Any) -> None:
    """Check that two results are the same, to 1e-4 where they are numbers."""
    assert type(result) is type(expected)
    match result, expected:
        case GenerateResult(), GenerateResult():
            assert (result.tokens, result.text, result.finish_reason) == (
                expected.tokens,
                expected.text,
                expected.finish_reason,
            )
            if expected.logprobs is not None:
                np.testing.assert_allclose(result.logprobs, expected.logprobs, atol=1e-4)
        case LogLikelihoodResult(), LogLikelihoodResult():
            assert result.tokens == expected.tokens
            np.testing.assert_allclose(result.token_logprobs, expected.token_logprobs, atol=1e-4)
        case NextTokenResult(), NextTokenResult():
            assert list(result.tokens) == list(expected.tokens)
            np.testing.assert_allclose(result.logits, expected.logits, atol=1e-4)
        case FailedRequest(), FailedRequest():
            assert (type(result.error), str(result.error)) == (
                type(expected.error),
                str(expected.error),
            )
    assert getattr(result, "n_prompt_tokens", 0) == getattr(expected, "n_prompt_tokens", 0)


def mixed(n: int) -> list[Any]:
    """Return requests of all kinds, most of them with a long prefix in common."""
    prefix = "In the beginning there was a rather long sentence that many prompts begin with. "
    requests: list[Any] = []
    for i in range(n):
        text = (prefix if i % 4 else "") + f"Number {i} "
        match i % 5:
            case 0:
                requests.append(Generate(text, max_tokens=3 + i % 7, logprobs=bool(i % 2)))
            case 1:
                requests.append(LogLikelihood(text, f"has {i} legs"))
            case 2:
                requests.append(NextToken(text, allowed=["a", "b"]))
            case 3:
                requests.append(Generate(text, max_tokens=5, grammar=LETTERS))
            case 4:
                requests.append(Generate(text, max_tokens=6, temperature=0.7, seed=i))
    return requests


def evaluated(model: rys.Model, requests: Sequence[Any]) -> int:
    """Return how many tokens a run evaluates."""
    scheduler = _core.Scheduler(model._session.context(), model.n_ctx)
    scheduler.insert(model.prepare(requests))
    while not scheduler.advance(1.0):
        pass
    return scheduler.n_tokens
