"""Requests as the engine takes them: checked, and in tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from rys import _core
from rys.engine import options
from rys.errors import RequestError, RysError
from rys.requests import Generate, LogLikelihood, NextToken, Prompt, Request

if TYPE_CHECKING:
    from rys.engine.model import Model

__all__ = ["PreparedRequests", "prepare_all", "prompt_tokens"]


class PreparedRequests(tuple[_core.Request, ...]):
    """Hold requests that are checked and in tokens, for any model on the same weights to run, as
    often as wanted.
    """

    __slots__ = ()

    def __getitem__(self, part: Any) -> Any:
        """Return one of the requests, or a part of them that can be run as well."""
        found = super().__getitem__(part)
        return PreparedRequests(found) if isinstance(part, slice) else found


def prepare_all(model: Model, requests: Sequence[Request]) -> list[_core.Request]:
    """Check every request and put it into tokens. Raises RequestError, which names the request."""
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
            return _prepare_next_token(model, request)
        case _:
            raise RequestError(
                f"a request is a Generate, LogLikelihood or NextToken, not {request!r}"
            )


def _prepare_generate(model: Model, request: Generate) -> _core.Request:
    stop, grammar = request.stop, request.grammar
    if not isinstance(stop, (list, tuple)) or not all(type(text) is str and text for text in stop):
        raise RequestError(f"stop is {stop!r}, but must be a list of strings that are not empty")
    if not isinstance(grammar, (str, type(None))):
        raise RequestError(f"grammar is {grammar!r}, but must be a str in GBNF, or None")
    if (stop or grammar) and not model.has_tokenizer:
        raise RequestError(f"stop and grammar are about text, but {model.source} has no tokenizer")

    sampling = _core.SamplingParams()
    temperature = options.number("temperature", request.temperature, 0.0)
    sampling.temperature = (
        temperature if temperature > 1e-6 else 0.0
    )  # logits divided by less are infinite
    sampling.top_k = options.integer("top_k", request.top_k, 0)
    sampling.top_p = options.number("top_p", request.top_p, 0.0, 1.0)
    sampling.min_p = options.number("min_p", request.min_p, 0.0, 1.0)
    sampling.repeat_penalty = options.number("repeat_penalty", request.repeat_penalty, 1e-6)
    # the largest number means a random seed to llama.cpp
    sampling.seed = options.integer("seed", request.seed, -(2**63), 2**63) % (2**32 - 1)
    sampling.grammar = _text_bytes(grammar or "").decode()

    core = _core.Request(
        _core.RequestKind.generate, prompt_tokens(model, request.prompt, request.template_variables)
    )
    core.max_tokens = (
        0 if request.max_tokens is None else options.integer("max_tokens", request.max_tokens, 1)
    )
    core.stop = [_text_bytes(text) for text in stop]
    core.logprobs = bool(request.logprobs)
    core.sampling = sampling
    return core


def _prepare_next_token(model: Model, request: NextToken) -> _core.Request:
    core = _core.Request(
        _core.RequestKind.next_token,
        prompt_tokens(model, request.prompt, request.template_variables),
    )
    if request.allowed is not None:
        if not hasattr(request.allowed, "__len__") or isinstance(request.allowed, str):
            raise RequestError(
                f"allowed is {request.allowed!r}, but must be a list of token ids and strings, or None"
            )
        if not len(request.allowed):
            raise RequestError(
                "allowed is empty; give the tokens to report, or None for the whole vocabulary"
            )
        core.allowed = [
            model.tokenizer.single_token(token)
            if isinstance(token, str)
            else model.tokenizer.check([token])[0]
            for token in request.allowed
        ]
    return core


def _prepare_loglikelihood(model: Model, request: LogLikelihood) -> _core.Request:
    context: Prompt = request.context
    is_chat = _is_messages(context)
    if is_chat:
        context = _render(model, context, request.template_variables)
    if isinstance(context, str) and isinstance(request.continuation, str):
        if not request.continuation:
            raise RequestError("the continuation is empty")
        tokens = model.tokenizer.tokenize_prompt(context + request.continuation)
        # a template's last line break is given to the model; white space that a user wrote may
        # merge with what follows
        alone = model.tokenizer.tokenize_prompt(context if is_chat else context.rstrip())
        # a token that holds the end of the context and the beginning of the continuation counts to
        # the latter
        n_context = next(
            (i for i, (a, b) in enumerate(zip(alone, tokens, strict=False)) if a != b), len(alone)
        )
        n_context = min(n_context, len(tokens) - 1)
    else:
        head = prompt_tokens(model, context, {}, allow_empty=True)
        tail = (
            model.tokenizer.tokenize(request.continuation, add_special=False)
            if isinstance(request.continuation, str)
            else model.tokenizer.check(request.continuation)
        )
        if not tail:
            raise RequestError("the continuation is empty")
        tokens, n_context = head + tail, len(head)
    if n_context == 0:
        bos = model.bos_token
        if bos is None:
            raise RequestError(
                "the context is empty, and the model has no BOS token to stand in its place"
            )
        tokens, n_context = [bos, *tokens], 1
    core = _core.Request(_core.RequestKind.loglikelihood, tokens)
    core.n_context = n_context
    return core


def prompt_tokens(
    model: Model,
    prompt: Prompt,
    template_variables: Mapping[str, Any],
    *,
    allow_empty: bool = False,
) -> list[int]:
    """Return the tokens of a prompt of any kind. Raises RequestError if there are none."""
    if isinstance(prompt, str):
        tokens = model.tokenizer.tokenize_prompt(prompt)
    elif _is_messages(prompt):
        tokens = model.tokenizer.tokenize_prompt(_render(model, prompt, template_variables))
    else:
        tokens = model.tokenizer.check(cast("Sequence[int]", prompt))
    if not tokens and not allow_empty:
        raise RequestError("the prompt is empty; give at least one token")
    return tokens


def _is_messages(prompt: Any) -> bool:
    return isinstance(prompt, Sequence) and len(prompt) > 0 and isinstance(prompt[0], Mapping)


def _render(model: Model, messages: Any, template_variables: Mapping[str, Any]) -> str:
    return model.apply_chat_template(
        messages, **{"add_generation_prompt": True, **(template_variables or {})}
    )


def _text_bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
