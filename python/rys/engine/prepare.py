"""Requests as the engine takes them: checked, and in tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from rys import _core
from rys._util import checks
from rys.engine.tokenizer import Tokenizer
from rys.errors import RequestError, RysError
from rys.requests import Generate, LogLikelihood, NextToken, Prompt, Request

__all__ = ["PreparedRequests", "RequestPreparer"]

# Logits that are divided by less can become infinite.
_MIN_TEMPERATURE = 1e-6


class PreparedRequests(tuple[_core.Request, ...]):
    """Requests that are checked and in tokens.

    Any model on the same weights can run them, as often as wanted.
    """

    __slots__ = ()

    def __getitem__(self, part: Any) -> Any:
        """Return one of the requests, or a part of them that can be run as well."""
        found = super().__getitem__(part)
        return PreparedRequests(found) if isinstance(part, slice) else found


class RequestPreparer:
    """Checks requests and puts them into tokens."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        render: Callable[..., str],
        *,
        source: str,
        has_tokenizer: bool,
    ) -> None:
        """Prepare requests for one file.

        Args:
            tokenizer: Its vocabulary.
            render: Renders a conversation: called with the messages, and with the variables of
                the template by name.
            source: Its name, for errors.
            has_tokenizer: Whether it has a vocabulary of texts.
        """
        self._tokenizer = tokenizer
        self._render_messages = render
        self._source = source
        self._has_tokenizer = has_tokenizer

    def prepare(self, requests: Sequence[Request]) -> list[_core.Request]:
        """Check every request and put it into tokens.

        Raises:
            RysError: A request cannot be right. The message names its place in the list.
        """
        prepared = []
        for i, request in enumerate(requests):
            try:
                prepared.append(self._prepare(request))
            except RysError as error:
                if len(requests) == 1:
                    raise
                raise type(error)(f"requests[{i}]: {error}") from None
        return prepared

    def prompt_tokens(
        self,
        prompt: Prompt,
        template_variables: Mapping[str, Any] | None = None,
        *,
        allow_empty: bool = False,
    ) -> list[int]:
        """Return the tokens of a prompt of any kind.

        Args:
            prompt: Text, token ids or messages.
            template_variables: Passed on to the chat template, for messages.
            allow_empty: Accept a prompt without tokens.

        Raises:
            RequestError: The prompt is of another type, or has no tokens.
        """
        if isinstance(prompt, str):
            tokens = self._tokenizer.tokenize_prompt(prompt)
        elif _is_messages(prompt):
            tokens = self._tokenizer.tokenize_prompt(self._render(prompt, template_variables))
        else:
            tokens = self._tokenizer.check(cast("Sequence[int]", prompt))
        if not tokens and not allow_empty:
            raise RequestError("the prompt is empty; give at least one token")
        return tokens

    def _prepare(self, request: Request) -> _core.Request:
        match request:
            case Generate():
                return self._prepare_generate(request)
            case LogLikelihood():
                return self._prepare_loglikelihood(request)
            case NextToken():
                return self._prepare_next_token(request)
            case _:
                raise RequestError(
                    f"a request is a Generate, LogLikelihood or NextToken, not {request!r}"
                )

    def _prepare_generate(self, request: Generate) -> _core.Request:
        stop, grammar = request.stop, request.grammar
        if not _are_texts(stop):
            raise RequestError(
                f"stop is {stop!r}, but must be a list of strings that are not empty"
            )
        if not isinstance(grammar, (str, type(None))):
            raise RequestError(f"grammar is {grammar!r}, but must be a str in GBNF, or None")
        if (stop or grammar) and not self._has_tokenizer:
            raise RequestError(
                f"stop and grammar are about text, but {self._source} has no tokenizer"
            )
        sampling = _sampling(request)
        tokens = self.prompt_tokens(request.prompt, request.template_variables)
        core = _core.Request(_core.RequestKind.generate, tokens)
        if request.max_tokens is not None:  # 0 = until the context is full
            core.max_tokens = checks.integer("max_tokens", request.max_tokens, 1)
        core.stop = [_text_bytes(text) for text in stop]
        core.logprobs = bool(request.logprobs)
        core.sampling = sampling
        return core

    def _prepare_next_token(self, request: NextToken) -> _core.Request:
        tokens = self.prompt_tokens(request.prompt, request.template_variables)
        core = _core.Request(_core.RequestKind.next_token, tokens)
        allowed = request.allowed
        if allowed is None:
            return core
        if not hasattr(allowed, "__len__") or isinstance(allowed, str):
            raise RequestError(
                f"allowed is {allowed!r}, but must be a list of token ids and strings, or None"
            )
        if not len(allowed):
            raise RequestError(
                "allowed is empty; give the tokens to report, or None for the whole vocabulary"
            )
        core.allowed = [self._single_token(token) for token in allowed]
        return core

    def _prepare_loglikelihood(self, request: LogLikelihood) -> _core.Request:
        tokens, n_context = self._context_and_continuation(request)
        if n_context == 0:
            bos = self._tokenizer.special.get("bos")
            if bos is None:
                raise RequestError(
                    "the context is empty, and the model has no BOS token to stand in its place"
                )
            tokens, n_context = [bos, *tokens], 1
        core = _core.Request(_core.RequestKind.loglikelihood, tokens)
        core.n_context = n_context
        return core

    def _context_and_continuation(self, request: LogLikelihood) -> tuple[list[int], int]:
        """Return the tokens of both, and how many of them are the context's."""
        context: Prompt = request.context
        continuation = request.continuation
        is_chat = _is_messages(context)
        if is_chat:
            context = self._render(context, request.template_variables)
        if isinstance(context, str) and isinstance(continuation, str):
            # What the template writes before an answer is given to the model. White space that a
            # user wrote there may be part of the answer's first token.
            alone = context if is_chat else context.rstrip()
            return self._tokenize_together(context, alone, continuation)

        head = self.prompt_tokens(context, allow_empty=True)
        if isinstance(continuation, str):
            tail = self._tokenizer.tokenize(continuation, add_special=False)
        else:
            tail = self._tokenizer.check(continuation)
        if not tail:
            raise RequestError("the continuation is empty")
        return head + tail, len(head)

    def _tokenize_together(
        self, context: str, alone: str, continuation: str
    ) -> tuple[list[int], int]:
        """Return the tokens of both texts, and how many of them are those of `alone`.

        As `_encode_pair` of lm-evaluation-harness counts them: as many as `alone` has by itself,
        even where its last one has merged with white space that follows.
        """
        if not continuation:
            raise RequestError("the continuation is empty")
        tokens = self._tokenizer.tokenize_prompt(context + continuation)
        head = self._tokenizer.tokenize_prompt(alone)
        if len(head) < len(tokens):
            return tokens, len(head)
        # The texts merged into so few tokens that none would be left, as "Onc" and "e" into "Once".
        # The harness gives up there; here, what differs from the context is scored.
        n_context = 0
        while n_context < len(tokens) - 1 and head[n_context] == tokens[n_context]:
            n_context += 1
        return tokens, n_context

    def _single_token(self, token: int | str) -> int:
        if isinstance(token, str):
            return self._tokenizer.single_token(token)
        return self._tokenizer.check([token])[0]

    def _render(self, messages: Any, template_variables: Mapping[str, Any] | None) -> str:
        return self._render_messages(messages, **(template_variables or {}))


def _sampling(request: Generate) -> _core.SamplingParams:
    sampling = _core.SamplingParams()
    temperature = checks.number("temperature", request.temperature, 0.0)
    sampling.temperature = temperature if temperature > _MIN_TEMPERATURE else 0.0
    sampling.top_k = checks.integer("top_k", request.top_k, 0)
    sampling.top_p = checks.number("top_p", request.top_p, 0.0, 1.0)
    sampling.min_p = checks.number("min_p", request.min_p, 0.0, 1.0)
    sampling.repeat_penalty = checks.number("repeat_penalty", request.repeat_penalty, 1e-6)
    # the largest number means a random seed to llama.cpp
    sampling.seed = checks.integer("seed", request.seed, -(2**63), 2**63) % (2**32 - 1)
    sampling.grammar = _text_bytes(request.grammar or "").decode()
    return sampling


def _are_texts(texts: Any) -> bool:
    if not isinstance(texts, (list, tuple)):
        return False
    return all(type(text) is str and text for text in texts)


def _is_messages(prompt: Any) -> bool:
    return isinstance(prompt, Sequence) and len(prompt) > 0 and isinstance(prompt[0], Mapping)


def _text_bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
