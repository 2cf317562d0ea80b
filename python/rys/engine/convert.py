"""The inside of `Model.run`: requests to the engine, its results back."""

from __future__ import annotations

import codecs
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

from rys import _core
from rys.engine.prepare import PreparedRequests, prepare_all
from rys.errors import ContextFullError, EngineError, NonFiniteLogitsError
from rys.requests import (
    FailedRequest,
    FinishReason,
    Generate,
    GenerateResult,
    LogLikelihoodResult,
    NextTokenResult,
    Request,
    Result,
)

if TYPE_CHECKING:
    from rys.engine.model import Model

_TICK = 0.1  # seconds between two looks at the progress


def run(
    model: Model, requests: Sequence[Request] | PreparedRequests, progress: bool
) -> list[Result]:
    prepared = (
        list(requests) if isinstance(requests, PreparedRequests) else prepare_all(model, requests)
    )
    results = [
        _convert(model, r, core)
        for r, core in zip(prepared, run_core(model, prepared, progress), strict=True)
    ]
    if len(results) > 1:
        # A NaN in one sequence's cells can reach others through the shared cache, where a mask only
        # multiplies it by 0. Alone in an emptied context, a request shows whether the NaN is its
        # own.
        for i, result in enumerate(results):
            if isinstance(result, FailedRequest) and isinstance(result.error, NonFiniteLogitsError):
                results[i] = _convert(model, prepared[i], run_core(model, [prepared[i]])[0])
    return results


def run_core(
    model: Model, requests: list[_core.Request], progress: bool = False
) -> list[_core.Result]:
    with model._exclusive("run()"):
        context = model._context()
        scheduler = _core.Scheduler(context, requests, model.n_ctx)
        try:
            with tqdm(total=len(requests), unit="request", disable=not progress) as bar:
                done = False
                while not done:
                    done = scheduler.advance(_TICK)
                    bar.update(scheduler.n_done - bar.n)
            return [scheduler.result(i) for i in range(len(requests))]
        finally:
            scheduler.close()
            model._end_run(context)


def stream(model: Model, request: Generate) -> Generator[str, None, None]:
    prepared = prepare_all(model, [request])
    with model._exclusive("stream()"):
        context = model._context()
        scheduler = _core.Scheduler(context, prepared, model.n_ctx)
        try:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            n_sent, done = 0, False
            while not done:
                done = scheduler.advance(0.0)
                settled = scheduler.settled_text(0)
                text = decoder.decode(settled[n_sent:], final=done)
                n_sent = len(settled)
                if text:
                    yield text
            result = _convert(model, prepared[0], scheduler.result(0))
            if isinstance(result, FailedRequest):
                raise result.error
        finally:
            scheduler.close()
            model._end_run(context)


def _convert(model: Model, request: _core.Request, core: _core.Result) -> Result:
    state = core.state
    if state == _core.Finish.context_full:
        return FailedRequest(
            ContextFullError(
                f"the prompt has {core.n_prompt} tokens, but the context holds {model.n_ctx}"
            )
        )
    if state == _core.Finish.not_finite:
        return FailedRequest(
            NonFiniteLogitsError(
                f"the logits are not finite along layer_path={str(model.layer_path)!r}: the values overflowed"
            )
        )
    if state == _core.Finish.failed:
        return FailedRequest(EngineError(core.error))
    if request.kind == _core.RequestKind.generate:
        return GenerateResult(
            text=core.text.decode("utf-8", "replace"),
            tokens=core.tokens,
            logprobs=core.logprobs if request.logprobs else None,
            finish_reason=cast(FinishReason, state.name),
            n_prompt_tokens=core.n_prompt,
            n_shared_tokens=core.n_shared,
            seconds=core.seconds,
        )
    if request.kind == _core.RequestKind.loglikelihood:
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
    logits = core.logits
    return NextTokenResult(
        tokens=request.allowed or range(model.n_vocab),
        logits=logits,
        logprobs=(logits - core.log_sum_exp).astype(np.float32),
        n_prompt_tokens=core.n_prompt,
        n_shared_tokens=core.n_shared,
        seconds=core.seconds,
    )
