"""Results of the engine, put into the types that users get."""

from __future__ import annotations

from typing import cast

import numpy as np

from rys import _core
from rys.engine.prepare import PreparedGenerate
from rys.errors import ContextFullError, EngineError, NonFiniteLogitsError
from rys.layer_path import LayerPath
from rys.requests import (
    FailedRequest,
    FinishReason,
    GenerateResult,
    LogLikelihoodResult,
    NextTokenResult,
    Result,
)

__all__ = ["convert"]


def convert(
    request: _core.Request, core: _core.Result, *, layer_path: LayerPath, n_ctx: int, n_vocab: int
) -> Result:
    """Return the public result of a request.

    Args:
        request: What was asked.
        core: What the engine gave.
        layer_path: The path of the model, for errors.
        n_ctx: Tokens that a request may have, for errors.
        n_vocab: Tokens of the vocabulary.
    """
    failed = _failure(request, core, layer_path, n_ctx)
    if failed is not None:
        return failed
    if request.kind == _core.RequestKind.generate:
        return _generated(request, core)
    if request.kind == _core.RequestKind.loglikelihood:
        return _scored(request, core)
    return _distribution(request, core, n_vocab)


def _failure(
    request: _core.Request, core: _core.Result, layer_path: LayerPath, n_ctx: int
) -> FailedRequest | None:
    if core.state == _core.Finish.context_full:
        message = f"the prompt has {core.n_prompt} tokens, but the context holds {n_ctx}"
        if isinstance(request, PreparedGenerate) and request.could_drop:
            message += "; with on_full='drop_oldest', a conversation goes on without its beginning"
        return FailedRequest(ContextFullError(message))
    if core.state == _core.Finish.not_finite:
        return FailedRequest(
            NonFiniteLogitsError(
                f"the logits are not finite along layer_path={str(layer_path)!r}: "
                f"the values overflowed"
            )
        )
    # a grammar at a dead end, or llama.cpp failed while another call was computing
    if core.state == _core.Finish.failed:
        return FailedRequest(EngineError(core.error))
    return None


def _generated(request: _core.Request, core: _core.Result) -> GenerateResult:
    n_tokens = len(core.tokens)
    is_cut_off = core.state == _core.Finish.length
    return GenerateResult(
        # the last token may have ended in the middle of a character
        text=core.text.decode("utf-8", "replace"),
        tokens=core.tokens,
        logprobs=core.logprobs if request.logprobs else None,
        finish_reason=cast(FinishReason, core.state.name),
        n_prompt_tokens=core.n_prompt,
        n_shared_tokens=core.n_shared,
        seconds=core.seconds,
        seed=request.sampling.seed,
        n_dropped_messages=getattr(request, "n_dropped_messages", 0),
        is_context_full=is_cut_off and (not request.max_tokens or n_tokens < request.max_tokens),
    )


def _scored(request: _core.Request, core: _core.Result) -> LogLikelihoodResult:
    token_logprobs = core.logprobs
    return LogLikelihoodResult(
        logprob=float(token_logprobs.sum(dtype=np.float64)),
        token_logprobs=token_logprobs,
        tokens=request.tokens[request.n_context :],
        is_greedy=all(core.greedy),
        n_prompt_tokens=core.n_prompt,
        n_shared_tokens=core.n_shared,
        seconds=core.seconds,
    )


def _distribution(request: _core.Request, core: _core.Result, n_vocab: int) -> NextTokenResult:
    logits = core.logits
    return NextTokenResult(
        tokens=request.allowed or range(n_vocab),
        logits=logits,
        # normalised over the whole vocabulary, even if few of its tokens are reported
        logprobs=(logits - core.log_sum_exp).astype(np.float32),
        n_prompt_tokens=core.n_prompt,
        n_shared_tokens=core.n_shared,
        seconds=core.seconds,
    )
