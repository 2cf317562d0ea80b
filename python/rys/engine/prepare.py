"""Requests as the engine takes them: checked, and in tokens."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from rys import _core
from rys._util import checks
from rys.engine.chat_prompt import PromptText
from rys.engine.conversation import drop_oldest, room_for_prompt
from rys.engine.tokenizer import Tokenizer
from rys.errors import RequestError, RysError
from rys.requests import Generate, LogLikelihood, NextToken, Prompt, Request

__all__ = ["PreparedGenerate", "PreparedRequests", "RequestPreparer"]

# Logits that are divided by less can become infinite.
_MIN_TEMPERATURE = 1e-6


class PreparedGenerate(_core.Request):
    """A request for a continuation, as the engine takes it, with what the engine need not know.

    Attributes:
        could_drop: Whether `on_full` could have left older messages out.
        n_dropped_messages: Messages that were left out of it.
    """

    could_drop = False
    n_dropped_messages = 0


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
        render: Callable[..., PromptText],
        *,
        source: str,
        has_tokenizer: bool,
        n_ctx: int,
    ) -> None:
        """Prepare requests for one file.

        Args:
            tokenizer: Its vocabulary.
            render: Renders a conversation: called with the messages, with whether their control
                tokens are read as such, and with the variables of the template.
            source: Its name, for errors.
            has_tokenizer: Whether it has a vocabulary of texts.
            n_ctx: Tokens that one request may have.
        """
        self._tokenizer = tokenizer
        self._render = render
        self._source = source
        self._has_tokenizer = has_tokenizer
        self._n_ctx = n_ctx

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
        parse_special: bool | None = None,
        *,
        allow_empty: bool = False,
    ) -> list[int]:
        """Return the tokens of a prompt of any kind.

        Args:
            prompt: Text, token ids or messages.
            template_variables: Passed on to the chat template, for messages.
            parse_special: Whether control tokens are read as such; see Generate.
            allow_empty: Accept a prompt without tokens.

        Raises:
            RequestError: The prompt is of another type, or has no tokens.
        """
        if isinstance(prompt, str) or _is_messages(prompt):
            tokens = self._tokenize(self._text(prompt, template_variables, parse_special))
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
        max_tokens = 0  # until the context is full
        if request.max_tokens is not None:
            max_tokens = checks.integer("max_tokens", request.max_tokens, 1)
        prompt = self._kept(request)
        tokens = self.prompt_tokens(prompt, request.template_variables, request.parse_special)
        core = PreparedGenerate(_core.RequestKind.generate, tokens)
        core.could_drop = (
            request.on_full == "error" and _is_messages(prompt) and len(request.prompt) > 1
        )
        core.n_dropped_messages = len(request.prompt) - len(prompt)
        core.max_tokens = max_tokens
        core.stop = [_text_bytes(text) for text in stop]
        core.logprobs = bool(request.logprobs)
        core.sampling = sampling
        return core

    def _kept(self, request: Generate) -> Prompt:
        """Return a prompt without the messages that `on_full` drops."""
        if request.on_full not in ("error", "drop_oldest"):
            raise RequestError(f"on_full is {request.on_full!r}, but must be error or drop_oldest")
        prompt: Any = request.prompt
        if request.on_full == "error":
            return cast("Prompt", prompt)
        if not _is_messages(prompt):
            raise RequestError("on_full is drop_oldest, but the prompt has no messages to drop")
        room = room_for_prompt(self._n_ctx, request.max_tokens)

        def fits(messages: Any) -> bool:
            tokens = self.prompt_tokens(messages, request.template_variables, request.parse_special)
            return len(tokens) <= room

        return drop_oldest(prompt, fits)

    def _prepare_next_token(self, request: NextToken) -> _core.Request:
        tokens = self.prompt_tokens(
            request.prompt, request.template_variables, request.parse_special
        )
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
        context, continuation = request.context, request.continuation
        is_chat = _is_messages(context)
        parse_special = request.parse_special is not False
        if (is_chat or isinstance(context, str)) and isinstance(continuation, str):
            text = self._text(context, request.template_variables, request.parse_special)
            # What the template writes before an answer is given to the model. White space that a
            # user wrote there may be part of the answer's first token.
            n_alone = len(text.text) if is_chat else len(text.text.rstrip())
            whole = text + PromptText.of(continuation, parse_special=parse_special)
            return self._split(whole, n_alone, n_text=len(text.text))

        head = self.prompt_tokens(
            context, request.template_variables, request.parse_special, allow_empty=True
        )
        if isinstance(continuation, str):
            tail = self._tokenizer.tokenize(
                continuation, add_special=False, parse_special=parse_special
            )
        else:
            tail = self._tokenizer.check(continuation)
        if not tail:
            raise RequestError("the continuation is empty")
        return head + tail, len(head)

    def _split(self, whole: PromptText, n_alone: int, n_text: int) -> tuple[list[int], int]:
        """Return the tokens of a context with a continuation, and how many are the context's.

        As `_encode_pair` of lm-evaluation-harness counts them: as many as the context has by
        itself, even where its last one has merged with white space that follows.

        Args:
            whole: Both texts.
            n_alone: Characters of the context without white space that moves to the continuation.
            n_text: Characters of the context.
        """
        if len(whole.text) == n_text:
            raise RequestError("the continuation is empty")
        tokens = self._tokenize(whole)
        head = self._tokenizer.tokenize_prompt(whole.text[:n_alone], whole.literal)
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

    def _text(
        self,
        prompt: Any,
        template_variables: Mapping[str, Any] | None,
        parse_special: bool | None,
    ) -> PromptText:
        """Return a text, or messages as the chat template renders them."""
        if isinstance(prompt, str):
            return PromptText.of(prompt, parse_special=parse_special is not False)
        return self._render(prompt, bool(parse_special), template_variables or {})

    def _tokenize(self, text: PromptText) -> list[int]:
        return self._tokenizer.tokenize_prompt(text.text, text.literal)


def _sampling(request: Generate) -> _core.SamplingParams:
    sampling = _core.SamplingParams()
    temperature = checks.number("temperature", request.temperature, 0.0)
    sampling.temperature = temperature if temperature > _MIN_TEMPERATURE else 0.0
    sampling.top_k = checks.integer("top_k", request.top_k, 0)
    sampling.top_p = checks.number("top_p", request.top_p, 0.0, 1.0)
    sampling.min_p = checks.number("min_p", request.min_p, 0.0, 1.0)
    sampling.repeat_penalty = checks.number("repeat_penalty", request.repeat_penalty, 1e-6)
    # the largest number means a random seed to llama.cpp
    seed = secrets.randbits(32) if request.seed is None else request.seed
    sampling.seed = checks.integer("seed", seed, -(2**63), 2**63) % (2**32 - 1)
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
