"""What an evaluator asks of a model, and what it gets.

A prompt is a text, a sequence of token ids, or chat messages (mappings with "role" and "content"),
which the model's chat template renders. A text is tokenized with special tokens recognised and, if
the model wants that, a BOS token in front; a BOS that the text brings itself is not doubled. Token
ids are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rys.errors import RysError

__all__ = [
    "FailedRequest",
    "FinishReason",
    "Generate",
    "GenerateResult",
    "LogLikelihood",
    "LogLikelihoodResult",
    "NextToken",
    "NextTokenResult",
    "Prompt",
    "Request",
    "Result",
]

Prompt: TypeAlias = "str | Sequence[int] | Sequence[Mapping[str, Any]]"
FinishReason: TypeAlias = Literal["stop", "eos", "length"]


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Ask for a continuation of a prompt.

    prompt: text, token ids or messages.
    max_tokens: at most this many tokens; None = until the context is full.
    stop: the text ends before the first of these strings.
    temperature: 0 = greedy, the default; then top_k, top_p and min_p have no part.
    top_k, top_p, min_p: as in llama.cpp; 0, 1.0 and 0.0 turn them off.
    repeat_penalty: 1.0 = none; over the last 64 generated tokens.
    seed: of the random choices; the same seed gives the same text.
    grammar: GBNF with the rule `root`, which the text must follow; None = any text.
    logprobs: whether to report the log-probability of every token.
    template_variables: passed on to the chat template, for messages (`{"enable_thinking": False}`).
    """

    prompt: Prompt = field(kw_only=False)
    max_tokens: int | None = 256
    stop: Sequence[str] = ()
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int = 0
    grammar: str | None = None
    logprobs: bool = False
    template_variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LogLikelihood:
    """Ask how probable a continuation is after a context.

    context: text, token ids or messages. An empty context is possible with models that have a BOS
        token.
    continuation: text or token ids. If both are texts they are tokenized together, and the
        continuation begins where the context alone would end; white space at the end of a text
        counts to the continuation, but not that of a rendered conversation.
    template_variables: passed on to the chat template, for messages.
    """

    context: Prompt = field(kw_only=False)
    continuation: str | Sequence[int] = field(kw_only=False)
    template_variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """Ask for the distribution of the token after a prompt.

    prompt: text, token ids or messages.
    allowed: the tokens to report, as ids or as strings that are one token each; None = the whole
        vocabulary.
    template_variables: passed on to the chat template, for messages.
    """

    prompt: Prompt = field(kw_only=False)
    allowed: Sequence[int | str] | None = None
    template_variables: Mapping[str, Any] = field(default_factory=dict)


Request: TypeAlias = Generate | LogLikelihood | NextToken


@dataclass(frozen=True, kw_only=True)
class GenerateResult:
    """Hold a generated text.

    text: without what follows a stop string, the stop string and special tokens.
    tokens: all generated tokens but an end-of-generation token; those of a stop string are among
        them.
    logprobs: float32 [len(tokens)], natural logarithms, before any sampling option; None if not
        asked for.
    finish_reason: "stop" (a stop string), "eos" (the model ended it) or "length" (max_tokens, or a
        full context).
    n_prompt_tokens: tokens of the prompt.
    n_shared_tokens: of these, tokens that another request of the run evaluated.
    seconds: from the start of the prompt's own tokens to the end, with other requests running
        beside.
    """

    text: str
    tokens: list[int]
    logprobs: npt.NDArray[np.float32] | None
    finish_reason: FinishReason
    n_prompt_tokens: int
    n_shared_tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LogLikelihoodResult:
    """Hold how probable a continuation is.

    logprob: sum of `token_logprobs`, a natural logarithm.
    token_logprobs: float32 [T], one for every token of the continuation.
    tokens: the continuation, T ids.
    is_greedy: whether greedy decoding would have given the continuation.
    n_prompt_tokens, n_shared_tokens, seconds: as in GenerateResult; the continuation's last token
        is not evaluated.
    """

    logprob: float
    token_logprobs: npt.NDArray[np.float32]
    tokens: list[int]
    is_greedy: bool
    n_prompt_tokens: int
    n_shared_tokens: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class NextTokenResult:
    """Hold the distribution of the next token.

    tokens: A ids, the allowed tokens in the order of the request (or the whole vocabulary).
    logits: float32 [A].
    logprobs: float32 [A], natural logarithms, normalised over the whole vocabulary.
    probabilities: float32 [A], normalised over `tokens` alone.
    n_prompt_tokens, n_shared_tokens, seconds: as in GenerateResult.
    """

    tokens: Sequence[int]
    logits: npt.NDArray[np.float32]
    logprobs: npt.NDArray[np.float32]
    n_prompt_tokens: int
    n_shared_tokens: int
    seconds: float

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """Return float32 [A]: the softmax of `logits`."""
        values: npt.NDArray[np.float32] = np.exp(self.logits - self.logits.max())
        probabilities: npt.NDArray[np.float32] = values / values.sum()
        return probabilities

    @property
    def best(self) -> int:
        """Return the most probable of `tokens`."""
        return self.tokens[int(np.argmax(self.logits))]


@dataclass(frozen=True)
class FailedRequest:
    """Stand in the place of the result of a request that failed alone.

    error: ContextFullError (the prompt has more tokens than the context holds),
        NonFiniteLogitsError (the model computed NaN or infinity) or EngineError (a grammar that
        came to a dead end).
    """

    error: RysError


Result: TypeAlias = GenerateResult | LogLikelihoodResult | NextTokenResult | FailedRequest
