"""Upstream's toys whose caches are not plain, and how far results of them are apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rys
from rys.requests import GenerateResult, LogLikelihoodResult, NextTokenResult
from support import models
from support.toys import Upstream

# one of each kind of cache
KINDS = [
    "gemma3-dense",  # windows
    "gpt-oss-moe",
    "mamba-dense",  # recurrent
    "qwen35-dense",  # recurrent and attention
    "plamo2-dense",
    "lfm2-dense",  # recurrent, windows
    "deepseek2-moe",  # latent attention
    "glm-dsa-moe",  # sparse: an indexer of its own
    "minimax-m3-moe",
    "dots3note-moe",  # sparse, windows
    "deepseek4-moe",  # windows, and compressed blocks
]
N_CTX = 1024
N_VOCAB = 128  # of the toys
WINDOW = 32

OpenToy = Callable[[str], Path]


def toy_writer(upstream: Upstream, folder: Path) -> OpenToy:
    """Return a function that writes a toy, once, by its name."""

    def write(name: str) -> Path:
        path = folder / f"{name}.gguf"
        if not path.exists():
            upstream.write_toys(name.rpartition("-")[0], folder)
        return path

    return write


def open_toy(path: Path, **options: Any) -> rys.Model:
    """Return an open toy with results that depend on the order of sums alone."""
    return rys.Model(path, **{"n_ctx": N_CTX, **models.EXACT, **options})


def difference(result: Any, expected: Any) -> float:
    """Return how far two results are apart, up to the first token that differs."""
    match result, expected:
        case NextTokenResult(), NextTokenResult():
            return float(np.abs(result.logprobs - expected.logprobs).max())
        case LogLikelihoodResult(), LogLikelihoodResult():
            return float(np.abs(result.token_logprobs - expected.token_logprobs).max())
        case GenerateResult(), GenerateResult():
            pairs = zip(result.tokens, expected.tokens, strict=False)
            if not result.tokens and not expected.tokens:
                return 0.0
            n = next((i for i, (a, b) in enumerate(pairs) if a != b), len(expected.tokens))
            return float(np.abs(result.logprobs[: n + 1] - expected.logprobs[: n + 1]).max())
    raise AssertionError((result, expected))


def is_plain(path: Path) -> bool:
    """Return whether a model has one cache for all tokens, or none."""
    with rys.Model(path, n_ctx=64, n_threads=1) as model:
        core = model._view.core
        layers = model._view.shared.weights.core.layers
        return not (core.has_memory and any(it.has_window or it.is_recurrent for it in layers))
