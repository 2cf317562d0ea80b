"""How well a model predicts a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rys.errors import RequestError
from rys.requests import LogLikelihood

__all__ = ["Perplexity", "windows"]


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How well a model predicts a text.

    Attributes:
        value: exp of the mean negative log-probability of the scored tokens.
        standard_error: Of `value`, from the spread of the log-probabilities (delta method). NaN
            for a single token.
        n_tokens: Scored tokens.
    """

    value: float
    standard_error: float
    n_tokens: int

    @classmethod
    def from_logprobs(cls, logprobs: Sequence[npt.NDArray[np.float32]]) -> Perplexity:
        """Return the perplexity of a text whose tokens have been scored.

        Args:
            logprobs: Natural logarithms, float32 [T] for each window; at least one token.
        """
        losses = -np.concatenate(logprobs).astype(np.float64)
        value = float(np.exp(losses.mean()))
        error = float("nan")
        if losses.size > 1:
            # the derivative of exp is exp
            error = float(value * losses.std(ddof=1) / np.sqrt(losses.size))
        return cls(value=value, standard_error=error, n_tokens=losses.size)


def windows(tokens: Sequence[int], n_window: int, bos: int | None) -> list[LogLikelihood]:
    """Cut a text into windows that do not overlap; each is scored but for its first token.

    Args:
        tokens: The text.
        n_window: Tokens of a window, at least 2.
        bos: The token that begins every window; None = none, so that a token of the text does.

    Raises:
        RequestError: The text is too short to score a token.
    """
    head = [] if bos is None else [bos]
    size = n_window - len(head)
    requests = []
    for begin in range(0, len(tokens), size):
        # the first token has no context, so BOS stands in its place where the model has one
        window = [*head, *tokens[begin : begin + size]]
        if len(window) > 1:
            requests.append(LogLikelihood(window[:1], window[1:]))
    if not requests:
        raise RequestError(
            f"a perplexity needs at least two tokens, but the text has {len(tokens)}"
        )
    return requests
