"""Weights along one layer path: what a Model holds, and every model made by `with_path` anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from rys import _core
from rys._util import checks
from rys.engine import options
from rys.engine.session import Session
from rys.engine.tokenizer import Tokenizer
from rys.engine.weights import Weights
from rys.errors import (
    LayerPathError,
    ModelClosedError,
    ModelFileError,
    RequestError,
    UnsupportedArchitectureError,
)
from rys.layer_path import LayerPath, LayerPathLike

__all__ = ["Shared", "View", "load_weights"]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all models on the same weights have in common.

    Attributes:
        weights: The loaded file.
        params: Options of a context. Never changed: every view copies them.
        n_seq_max: Sequences that run in parallel; None = by the kind of model and what is asked.
        cache_prompt: Keep what calls have evaluated for later calls.
        chat_template: A template instead of the file's, or None.
        variant: The options that change what the model computes; see Model.variant.
    """

    weights: Weights
    params: _core.ContextParams
    n_seq_max: int | None
    cache_prompt: bool
    chat_template: str | None
    variant: Mapping[str, Any]


class View:
    """Weights along a layer path, with the tokenizer and the session that serve them.

    Attributes:
        layer_path: The path.
        source: The name of the file.
        tokenizer: The vocabulary of the file.
        session: The engine.
        has_tokenizer: Whether the file has a vocabulary of texts.
        n_vocab: Tokens of the vocabulary.
    """

    def __init__(self, shared: Shared, layer_path: LayerPathLike) -> None:
        """Open a view. Nothing is loaded or copied.

        Args:
            shared: The weights and their options.
            layer_path: The path, in any form that LayerPath reads; None = the file's own order.

        Raises:
            LayerPathError: The path does not fit the file.
            ModelFileError: The file holds an encoder, which predicts no tokens.
            RequestError: `n_ctx` or `n_seq_max` does not fit the file.
            UnsupportedArchitectureError: No path fits the file.
        """
        weights = shared.weights
        self.source = weights.name
        self.layer_path = LayerPath(layer_path, weights.core.n_layer, source=self.source)
        core = self._core_model(weights.core, has_path=layer_path is not None)
        self.tokenizer = Tokenizer(core, self.source)
        _check_predicts_tokens(self.source, weights.core, core)
        params = self._context_params(shared, core)
        # a learned position table may have fewer rows than the context has cells
        n_ctx = params.n_ctx
        if core.n_pos_max:
            n_ctx = min(n_ctx, core.n_pos_max)
        self.session = Session(
            core,
            params,
            n_ctx,
            n_seq_few=self._n_seq_few(shared, params),
            cache_prompt=shared.cache_prompt,
            source=self.source,
            architecture=weights.core.architecture,
        )
        # asked for while another thread may be closing the view
        self.has_tokenizer = core.has_tokenizer
        self.n_vocab = core.n_vocab
        self._shared: Shared | None = shared
        self._core: _core.Model | None = core

    def _core_model(self, weights: _core.Weights, *, has_path: bool) -> _core.Model:
        """Make the view in C++, which checks the path."""
        # Without a path the file's own model runs, so that nothing can be refused.
        try:
            return _core.Model(weights, list(self.layer_path.layers) if has_path else [])
        except UnsupportedArchitectureError as error:
            raise UnsupportedArchitectureError(
                f"{self.source}: {weights.architecture} cannot be run along a layer path: {error}"
            ) from None
        except LayerPathError as error:
            raise LayerPathError(
                f"layer_path={str(self.layer_path)!r} is not possible with {self.source} "
                f"({weights.architecture}): {error}"
            ) from None

    def _context_params(self, shared: Shared, core: _core.Model) -> _core.ContextParams:
        """Copy the options of a context and settle those that depend on the model."""
        params = _core.ContextParams(shared.params)
        if params.n_ctx == 0:
            params.n_ctx = max(core.n_ctx_train, 0)
            if params.n_ctx == 0:
                raise RequestError(
                    f"n_ctx=0 asks for the model's own, but {self.source} names none; give a number"
                )
        n_seq_max = shared.n_seq_max
        if n_seq_max is None:
            n_seq_max = options.default_n_seq_max(core.is_recurrent)
        params.n_seq_max = checks.integer("n_seq_max", n_seq_max, 1, 256)
        return params

    def _n_seq_few(self, shared: Shared, params: _core.ContextParams) -> int | None:
        if shared.n_seq_max is not None:
            return None
        return options.default_n_seq_few(shared.weights.core, params)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._core is None

    @property
    def core(self) -> _core.Model:
        """The model in C++.

        Raises:
            ModelClosedError: The view is closed.
        """
        if self._core is None:
            raise self._closed_error()
        return self._core

    @property
    def shared(self) -> Shared:
        """What it has in common with other views.

        Raises:
            ModelClosedError: The view is closed.
        """
        if self._shared is None:
            raise self._closed_error()
        return self._shared

    def close(self) -> None:
        """Free the KV cache, and the weights if no other view holds them."""
        self.session.close()
        self.tokenizer.close()
        self._core = None
        self._shared = None

    def _closed_error(self) -> ModelClosedError:
        return ModelClosedError(f"the model {self.source} is closed; open it again with rys.Model")


def load_weights(
    path: str | os.PathLike[str],
    params: _core.WeightsParams,
    progress: bool | Callable[[float], None],
) -> Weights:
    """Load a file.

    Args:
        path: The file; of a split model, the first part.
        params: How to load it.
        progress: True = show a progress bar; or a function of the fraction in [0, 1].

    Raises:
        ModelFileNotFoundError: There is no such file.
        ModelFileError: The file cannot be used.
    """
    if progress is not True:
        return Weights(path, params, progress or None)
    with tqdm(total=100, unit="%", desc="loading") as bar:

        def show(fraction: float) -> None:
            bar.update(round(100 * fraction) - bar.n)

        return Weights(path, params, show)


def _check_predicts_tokens(source: str, weights: _core.Weights, model: _core.Model) -> None:
    if not model.has_decoder or not (weights.is_causal or model.is_diffusion):
        raise ModelFileError(
            f"{source}: {weights.architecture} is an encoder, which gives embeddings and no text; "
            f"rys runs models that predict tokens"
        )
