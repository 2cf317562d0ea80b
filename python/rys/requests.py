"""What an evaluator asks of a model, and the results that it gets.

A prompt is a text, a sequence of token ids, or chat messages (mappings with "role" and "content"),
which the model's chat template renders. A text is tokenized with control tokens recognised and, if
the model wants that, a BOS token in front; a BOS that the text brings itself is not doubled. The
control tokens of a conversation are those that its template writes, and not those in its messages.
Token ids are taken as they are.
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
    """A request for a continuation of a prompt.

    Attributes:
        prompt: Text, token ids or messages.
        max_tokens: How many tokens to generate at most; None to go on until the context is full.
        stop: Strings before the first of which the text ends. They may name control tokens, which
            are not part of the text.
        temperature: Randomness of the choices. 0, the default, is greedy; top_k, top_p and min_p
            are not used then.
        top_k: Choose among this many tokens, the most probable ones; 0 for all.
        top_p: Choose among the most probable tokens that together have this probability; 1.0 for
            all.
        min_p: Choose among tokens with at least this part of the highest probability; 0.0 for all.
        repeat_penalty: Divisor for tokens that are among the last 64 generated ones; 1.0 for none.
            See llama.cpp for this and the three options before it.
        seed: Seed of the random choices; the same seed gives the same text. None for a random seed,
            which the result reports.
        grammar: GBNF with the rule `root`, which the text must follow; None for any text.
        logprobs: Whether to report the log-probability of every token.
        template_variables: Variables for the chat template if the prompt is messages, such as
            `{"enable_thinking": False}`. `add_generation_prompt` and `continue_final_message` are
            among them, with the meaning that they have in transformers: with
            `{"continue_final_message": True}`, the model goes on with the last message.
        parse_special: Whether control tokens that are written out, such as `<|im_end|>`, are read
            as such. None, the default: in a text they are, and in messages they are not, so that no
            message can end its turn. What the template writes is always read so.
        on_full: What happens if a conversation leaves no room for the answer. "error": it fails if
            its prompt has more tokens than the context holds. "drop_oldest": as many of its oldest
            turns are left out as must be, but no system message at its beginning, and not the last
            turn. Room for the answer means max_tokens, but at most half of the context, and a
            quarter for None.
    """

    prompt: Prompt = field(kw_only=False)
    max_tokens: int | None = 256
    stop: Sequence[str] = ()
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int | None = 0
    grammar: str | None = None
    logprobs: bool = False
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    parse_special: bool | None = None
    on_full: Literal["error", "drop_oldest"] = "error"


@dataclass(frozen=True, kw_only=True)
class LogLikelihood:
    r"""A request for the probability of a continuation after a context.

    Attributes:
        context: Text, token ids or messages. An empty context is possible with models that have a
            BOS token.
        continuation: Text or token ids. Two texts are split by the rule of lm-evaluation-harness
            (`_encode_pair`): white space at the end of the context moves to the continuation, both
            are tokenized together, and as many tokens as the context has by itself are not scored.
            So "Answer:\n" and "yes" score "yes" alone where ":\n" is one token, and "\n" and "yes"
            where it is two. There are two exceptions. The white space at the end of a rendered
            conversation stays with it. Where no token would be left, because the texts merge as
            "Onc" and "e", all tokens that differ from the context's are scored.
        template_variables: Variables for the chat template if the context is messages.
        parse_special: As in Generate. A continuation is a text.
    """

    context: Prompt = field(kw_only=False)
    continuation: str | Sequence[int] = field(kw_only=False)
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    parse_special: bool | None = None


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """A request for the distribution of the token after a prompt.

    Attributes:
        prompt: Text, token ids or messages.
        allowed: The tokens to report, as ids or as strings that are one token each; None for the
            whole vocabulary.
        template_variables: Variables for the chat template if the prompt is messages.
        parse_special: As in Generate.
    """

    prompt: Prompt = field(kw_only=False)
    allowed: Sequence[int | str] | None = None
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    parse_special: bool | None = None


Request: TypeAlias = Generate | LogLikelihood | NextToken


@dataclass(frozen=True, kw_only=True)
class GenerateResult:
    """A generated text.

    Attributes:
        text: The text, without special tokens, the stop string and what follows it.
        tokens: All generated tokens but an end-of-generation token. Those of a stop string are
            among them.
        logprobs: float32 [len(tokens)], natural logarithms before any sampling option is applied;
            None if they were not asked for.
        finish_reason: "stop" (a stop string), "eos" (the model ended the text) or "length"
            (max_tokens, or a full context).
        n_prompt_tokens: Tokens of the prompt.
        n_shared_tokens: Those of them that another request of the run, or an earlier call, has
            evaluated.
        seconds: Time from the start of the prompt's own tokens to the end, with other requests
            running at the same time.
        seed: The seed of the random choices.
        n_dropped_messages: Messages that were left out because of `on_full`.
        is_context_full: Whether the text ended because the context was full.
    """

    text: str
    tokens: list[int]
    logprobs: npt.NDArray[np.float32] | None
    finish_reason: FinishReason
    n_prompt_tokens: int
    n_shared_tokens: int
    seconds: float
    seed: int = 0
    n_dropped_messages: int = 0
    is_context_full: bool = False


@dataclass(frozen=True, kw_only=True)
class LogLikelihoodResult:
    """The probability of a continuation.

    Attributes:
        logprob: Sum of `token_logprobs`, a natural logarithm.
        token_logprobs: float32 [T], one for every token of the continuation.
        tokens: The continuation, T ids.
        is_greedy: Whether greedy decoding would have given the continuation.
        n_prompt_tokens: Tokens that the request evaluates: all but the last of the continuation.
        n_shared_tokens: As in GenerateResult.
        seconds: As in GenerateResult.
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
    """The distribution of the next token.

    Attributes:
        tokens: A ids, the allowed tokens in the order of the request (or the whole vocabulary).
        logits: float32 [A].
        logprobs: float32 [A], natural logarithms, normalised over the whole vocabulary.
        n_prompt_tokens: As in GenerateResult.
        n_shared_tokens: As in GenerateResult.
        seconds: As in GenerateResult.
    """

    tokens: Sequence[int]
    logits: npt.NDArray[np.float32]
    logprobs: npt.NDArray[np.float32]
    n_prompt_tokens: int
    n_shared_tokens: int
    seconds: float

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """Probabilities over `tokens` alone, float32 [A]: the softmax of `logits`."""
        # the largest logit is subtracted so that exp cannot overflow
        values: npt.NDArray[np.float32] = np.exp(self.logits - self.logits.max())
        probabilities: npt.NDArray[np.float32] = values / values.sum()
        return probabilities

    @property
    def best(self) -> int:
        """The most probable of `tokens`."""
        return self.tokens[int(np.argmax(self.logits))]


@dataclass(frozen=True)
class FailedRequest:
    """The result of a request that failed while the others of its run did not.

    Attributes:
        error: ContextFullError (the prompt has more tokens than the context holds),
            NonFiniteLogitsError (the model computed NaN or infinity) or EngineError (the grammar
            allows no further token).
    """

    error: RysError


Result: TypeAlias = GenerateResult | LogLikelihoodResult | NextTokenResult | FailedRequest
