"""How well a model predicts a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from rys.engine import options
from rys.errors import RequestError
from rys.requests import FailedRequest, LogLikelihood, LogLikelihoodResult

if TYPE_CHECKING:
    from rys.engine.model import Model

__all__ = ["Perplexity", "perplexity"]


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Hold how well a model predicts a text.

    value: exp of the mean negative log-probability of the scored tokens.
    standard_error: of `value`, from the spread of the log-probabilities (delta method).
    n_tokens: scored tokens.
    """

    value: float
    standard_error: float
    n_tokens: int


def perplexity(
    model: Model, text: str | Sequence[int], n_window: int, progress: bool
) -> Perplexity:
    """Return the perplexity of a text; see Model.perplexity."""
    n_window = min(options.integer("n_window", n_window, 2), model.n_ctx)
    tokens = (
        model.tokenize(text, add_special=False)
        if isinstance(text, str)
        else model.tokenizer.check(text)
    )
    head = [model.bos_token] if model.bos_token is not None and model.tokenizer.add_bos else []
    size = n_window - len(head)
    windows = [head + tokens[i : i + size] for i in range(0, len(tokens), size)]
    requests = [LogLikelihood(window[:1], window[1:]) for window in windows if len(window) > 1]
    if not requests:
        raise RequestError(
            f"a perplexity needs at least two tokens, but the text has {len(tokens)}"
        )
    values = []
    for result in model.run(requests, progress):
        if isinstance(result, FailedRequest):
            raise result.error
        values.append(cast(LogLikelihoodResult, result).token_logprobs)
    losses = -np.concatenate(values).astype(np.float64)
    value = float(np.exp(losses.mean()))
    error = (
        float(value * losses.std(ddof=1) / np.sqrt(losses.size))
        if losses.size > 1
        else float("nan")
    )
    return Perplexity(value=value, standard_error=error, n_tokens=losses.size)
