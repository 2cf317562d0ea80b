"""The inside of `Model.run`: requests to the engine, its results back."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from tqdm import tqdm

from rys import _core
from rys.errors import ContextFullError, EngineError, NonFiniteLogitsError, RequestError, RysError
from rys.requests import (
    FailedRequest,
    FinishReason,
    Generate,
    GenerateResult,
    LogLikelihood,
    LogLikelihoodResult,
    NextToken,
    NextTokenResult,
    Prompt,
    Request,
    Result,
)

if TYPE_CHECKING:
    from rys.model import Model

_TICK = 0.1  # seconds between two looks at the progress


def run(model: Model, requests: Sequence[Request], progress: bool) -> list[Result]:
    prepared = prepare_all(model, requests)
    results = [_convert(model, r, core) for r, core in zip(prepared, run_core(model, prepared, progress), strict=True)]
    if len(results) > 1:
        # A NaN in one sequence's cells can reach others through the shared cache, where a mask only multiplies it
        # by 0. Alone in an emptied context, a request shows whether the NaN is its own.
        for i, result in enumerate(results):
            if isinstance(result, FailedRequest) and isinstance(result.error, NonFiniteLogitsError):
                results[i] = _convert(model, prepared[i], run_core(model, [prepared[i]])[0])
    return results


def run_core(model: Model, requests: list[_core.Request], progress: bool = False) -> list[_core.Result]:
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


def stream(model: Model, request: Generate) -> Iterator[str]:
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


def prepare_all(model: Model, requests: Sequence[Request]) -> list[_core.Request]:
    """Put every request into tokens. Raises RequestError, which names the request."""
    prepared = []
    for i, request in enumerate(requests):
        try:
            prepared.append(_prepare(model, request))
        except RysError as error:
            if len(requests) == 1:
                raise
            raise type(error)(f"requests[{i}]: {error}") from None
    return prepared


def _prepare(model: Model, request: Request) -> _core.Request:
    match request:
        case Generate():
            return _prepare_generate(model, request)
        case LogLikelihood():
            return _prepare_loglikelihood(model, request)
        case NextToken():
            core = _core.Request(
                _core.RequestKind.next_token, prompt_tokens(model, request.prompt, request.template_variables)
            )
            if request.allowed is not None:
                if not len(request.allowed):
                    raise RequestError("allowed is empty; give the tokens to report, or None for the whole vocabulary")
                core.allowed = [
                    model.tokenizer.single_token(token) if isinstance(token, str) else model.tokenizer.check([token])[0]
                    for token in request.allowed
                ]
            return core
        case _:
            raise RequestError(f"a request is a Generate, LogLikelihood or NextToken, not {request!r}")


def _prepare_generate(model: Model, request: Generate) -> _core.Request:
    if request.max_tokens is not None and request.max_tokens < 1:
        raise RequestError(f"max_tokens is {request.max_tokens}, but must be at least 1, or None")
    if isinstance(request.stop, str) or not all(type(stop) is str and stop for stop in request.stop):
        raise RequestError(f"stop is {request.stop!r}, but must be a list of strings that are not empty")
    for name, low, high in (
        ("temperature", 0.0, float("inf")),
        ("top_p", 0.0, 1.0),
        ("min_p", 0.0, 1.0),
        ("repeat_penalty", 1e-6, float("inf")),
    ):
        value = getattr(request, name)
        if not low <= value <= high:
            raise RequestError(f"{name} is {value}, but must be {low:g}..{high:g}")
    if (request.stop or request.grammar) and not model.has_tokenizer:
        raise RequestError(f"stop and grammar are about text, but {model.source} has no tokenizer")

    core = _core.Request(_core.RequestKind.generate, prompt_tokens(model, request.prompt, request.template_variables))
    core.max_tokens = request.max_tokens or 0
    core.stop = [stop.encode() for stop in request.stop]
    core.logprobs = request.logprobs
    sampling = _core.SamplingParams()
    sampling.temperature = request.temperature
    sampling.top_k = request.top_k
    sampling.top_p = request.top_p
    sampling.min_p = request.min_p
    sampling.repeat_penalty = request.repeat_penalty
    sampling.seed = request.seed % 2**32
    sampling.grammar = request.grammar or ""
    core.sampling = sampling
    return core


def _prepare_loglikelihood(model: Model, request: LogLikelihood) -> _core.Request:
    context = request.context if isinstance(request.context, str) else None
    if context is None and _is_messages(request.context):
        context = model.apply_chat_template(
            cast("Sequence[Any]", request.context), add_generation_prompt=True, **request.template_variables
        )
    if context is not None and isinstance(request.continuation, str):
        stripped = context.rstrip()
        tokens = model.tokenize(context + request.continuation)
        n_context = len(model.tokenize(stripped)) if stripped else len(model.tokenize(""))
    else:
        head = prompt_tokens(model, request.context if context is None else context, {}, allow_empty=True)
        tail = (
            model.tokenizer.tokenize(request.continuation, add_special=False)
            if isinstance(request.continuation, str)
            else model.tokenizer.check(request.continuation)
        )
        tokens, n_context = head + tail, len(head)
    if n_context == 0:
        bos = model.tokenizer.special.get("bos")
        if bos is None:
            raise RequestError("the context is empty, and the model has no BOS token to stand in its place")
        tokens, n_context = [bos, *tokens], 1
    if n_context >= len(tokens):
        raise RequestError("the continuation is empty")
    core = _core.Request(_core.RequestKind.loglikelihood, tokens)
    core.n_context = n_context
    return core


def _is_messages(prompt: Prompt) -> bool:
    return not isinstance(prompt, str) and len(prompt) > 0 and hasattr(prompt[0], "keys")


def prompt_tokens(model: Model, prompt: Prompt, template_variables: Any, *, allow_empty: bool = False) -> list[int]:
    """Return the tokens of a prompt of any kind. Raises RequestError if there are none."""
    if isinstance(prompt, str):
        tokens = model.tokenize(prompt)
    elif _is_messages(prompt):
        messages = cast("Sequence[Any]", prompt)
        tokens = model.tokenize(model.apply_chat_template(messages, add_generation_prompt=True, **template_variables))
    else:
        tokens = model.tokenizer.check(cast("Sequence[int]", prompt))
    if not tokens and not allow_empty:
        raise RequestError("the prompt is empty; give at least one token")
    return tokens


def _convert(model: Model, request: _core.Request, core: _core.Result) -> Result:
    state = core.state
    if state == _core.Finish.context_full:
        return FailedRequest(
            ContextFullError(f"the prompt has {core.n_prompt} tokens, but the context holds {model.n_ctx}")
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
