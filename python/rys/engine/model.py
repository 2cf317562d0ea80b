"""A GGUF model that runs along a layer path: the only door to the engine."""

from __future__ import annotations

import inspect
import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from rys import _core, _log
from rys.engine import convert as runner
from rys.engine import options, perplexity
from rys.engine.chat_template import render_chat_template
from rys.engine.prepare import PreparedRequests, prepare_all, prompt_tokens
from rys.engine.tokenizer import Tokenizer
from rys.engine.weights import Weights
from rys.errors import (
    ChatTemplateError,
    ContextFullError,
    EngineError,
    LayerPathError,
    ModelClosedError,
    ModelFileError,
    ModelFileNotFoundError,
    RequestError,
    UnsupportedArchitectureError,
)
from rys.layer_path import LayerPath, LayerPathLike
from rys.requests import (
    FailedRequest,
    Generate,
    GenerateResult,
    LogLikelihood,
    LogLikelihoodResult,
    Prompt,
    Request,
    Result,
)

__all__ = ["Model"]


class Model:
    """Run a GGUF model along a layer path.

    path: the file; of a split model, the first part.
    layer_path: the layers to visit, slot by slot, in any form that LayerPath reads; None = the
        file's own order.
    n_ctx: tokens that the KV cache holds, for all sequences that run in parallel; one request may
        use them all. 0 = as many as the model was trained with.
    n_batch, n_ubatch: tokens per batch that is submitted, and that is computed at once.
    n_seq_max: sequences that run in parallel, 1..256; None = 64, or 16 for recurrent models, whose
        every sequence has a state of its own.
    n_gpu_layers: layers to keep on the GPU, -1 = all.
    n_threads, n_threads_batch: for generation and for prompts; None = the physical cores.
    flash_attn: None = where the backend is good at it.
    type_k, type_v: of the KV cache, such as "q8_0"; None = "f16".
    split_mode, main_gpu, tensor_split, devices: how to use several GPUs; devices by name, see
        `rys.build_info()`.
    use_mmap, use_mlock, check_tensors: how to load the file.
    offload_kqv, op_offload, swa_full: as in llama.cpp.
    rope_scaling_type, rope_freq_base, rope_freq_scale, yarn_*: as in llama.cpp, whose defaults take
        the file's values.
    lora_path, lora_scale: a LoRA adapter in GGUF; it touches every visit of a layer.
    chat_template: a Jinja template instead of the file's.
    progress: True = show a progress bar while loading; or a function of the fraction in [0, 1].

    A model may be used from several threads: calls wait for each other. Models on the same weights
    run in parallel.

    Raises ModelFileNotFoundError, ModelFileError, LayerPathError (the path does not fit the file),
    UnsupportedArchitectureError (no path does) or RequestError (an option is out of range).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        layer_path: LayerPathLike = None,
        *,
        n_ctx: int = 4096,
        n_batch: int = 2048,
        n_ubatch: int = 512,
        n_seq_max: int | None = None,
        n_gpu_layers: int = -1,
        n_threads: int | None = None,
        n_threads_batch: int | None = None,
        flash_attn: bool | None = None,
        type_k: str | int | None = None,
        type_v: str | int | None = None,
        split_mode: str | int = "layer",
        main_gpu: int = 0,
        tensor_split: Sequence[float] | None = None,
        devices: Sequence[str] | None = None,
        use_mmap: bool = True,
        use_mlock: bool = False,
        check_tensors: bool = False,
        offload_kqv: bool = True,
        op_offload: bool = True,
        swa_full: bool = False,
        rope_scaling_type: str | int | None = None,
        rope_freq_base: float = 0.0,
        rope_freq_scale: float = 0.0,
        yarn_ext_factor: float = -1.0,
        yarn_attn_factor: float = -1.0,
        yarn_beta_fast: float = -1.0,
        yarn_beta_slow: float = -1.0,
        yarn_orig_ctx: int = 0,
        lora_path: str | os.PathLike[str] | None = None,
        lora_scale: float = 1.0,
        chat_template: str | None = None,
        progress: bool | Callable[[float], None] = False,
    ) -> None:
        if not isinstance(progress, bool) and not callable(progress):
            raise RequestError(
                f"progress is {progress!r}, but must be a bool or a function of the fraction in [0, 1]"
            )
        if flash_attn is not None and not isinstance(flash_attn, bool):
            raise RequestError(f"flash_attn is {flash_attn!r}, but must be True, False or None")
        params = _core.ContextParams()
        params.n_ctx = options.integer("n_ctx", n_ctx, 0, 2**24)
        params.n_batch = options.integer("n_batch", n_batch, 1)
        params.n_ubatch = min(options.integer("n_ubatch", n_ubatch, 1), params.n_batch)
        params.n_threads = options.integer(
            "n_threads", n_threads or options.default_n_threads(), 1, 512
        )
        params.n_threads_batch = options.integer(
            "n_threads_batch", n_threads_batch or params.n_threads, 1, 512
        )
        params.flash_attn = -1 if flash_attn is None else int(flash_attn)
        params.type_k = options.choice(
            "type_k", "f16" if type_k is None else type_k, options.GGML_TYPES
        )
        params.type_v = options.choice(
            "type_v", "f16" if type_v is None else type_v, options.GGML_TYPES
        )
        params.offload_kqv = offload_kqv
        params.op_offload = op_offload
        params.swa_full = swa_full
        if rope_scaling_type not in (None, -1):
            params.rope_scaling_type = options.choice(
                "rope_scaling_type", rope_scaling_type, options.ROPE_SCALING_TYPES
            )
        params.rope_freq_base = options.number("rope_freq_base", rope_freq_base, -1.0)
        params.rope_freq_scale = options.number("rope_freq_scale", rope_freq_scale, -1.0)
        params.yarn_ext_factor = options.number("yarn_ext_factor", yarn_ext_factor, -1.0)
        params.yarn_attn_factor = options.number("yarn_attn_factor", yarn_attn_factor, -1.0)
        params.yarn_beta_fast = options.number("yarn_beta_fast", yarn_beta_fast, -1.0)
        params.yarn_beta_slow = options.number("yarn_beta_slow", yarn_beta_slow, -1.0)
        params.yarn_orig_ctx = options.integer("yarn_orig_ctx", yarn_orig_ctx, 0)

        load = _core.WeightsParams()
        load.n_gpu_layers = options.integer("n_gpu_layers", n_gpu_layers, -1)
        load.split_mode = options.choice("split_mode", split_mode, options.SPLIT_MODES)
        load.main_gpu = options.integer("main_gpu", main_gpu, 0)
        load.tensor_split = [
            options.number("tensor_split", share, 0.0) for share in tensor_split or []
        ]
        if isinstance(devices, str):
            raise RequestError(f"devices is {devices!r}, but must be a list of names")
        load.devices = list(devices or [])
        load.use_mmap = use_mmap
        load.use_mlock = use_mlock
        load.check_tensors = check_tensors
        if lora_path is not None:
            if not Path(lora_path).is_file():
                raise ModelFileNotFoundError(f"{lora_path}: no such file (lora_path)")
            load.add_lora(lora_path, options.number("lora_scale", lora_scale, -float("inf")))

        if progress is True:
            with tqdm(total=100, unit="%", desc="loading") as bar:

                def show(fraction: float) -> None:
                    bar.update(round(100 * fraction) - bar.n)

                weights = Weights(path, load, show)
        else:
            weights = Weights(path, load, progress or None)
        self._variant = options.what_changes_results(params, chat_template, lora_path, lora_scale)
        self._open(weights, layer_path, params, n_seq_max, chat_template)

    def _open(
        self,
        weights: Weights,
        layer_path: LayerPathLike,
        params: _core.ContextParams,
        n_seq_max: int | None,
        chat_template: str | None,
    ) -> None:
        self.source = weights.name
        self._weights: Weights | None = weights
        self._n_seq_max = n_seq_max
        self._params = params
        self._chat_template = chat_template
        self._lock = threading.Lock()
        self._busy: tuple[int, str] | None = None  # thread and call that hold the lock
        self._cached_context: _core.Context | None = None
        self._streams: weakref.WeakSet[Generator[str, None, None]] = weakref.WeakSet()

        self.layer_path = LayerPath(layer_path, weights.core.n_layer, source=self.source)
        path = [] if layer_path is None else list(self.layer_path.layers)
        if path:
            path = self._check_path(path)
        self._model: _core.Model | None = _core.Model(weights.core, path)
        self.tokenizer = Tokenizer(self._model, self.source)

        if not self._model.has_decoder or not (weights.core.is_causal or self._model.is_diffusion):
            raise ModelFileError(
                f"{self.source}: {weights.core.architecture} is an encoder, which gives embeddings and no text; "
                f"rys runs models that predict tokens"
            )
        if params.n_ctx == 0:
            params.n_ctx = max(self._model.n_ctx_train, 0)
            if params.n_ctx == 0:
                raise RequestError(
                    f"n_ctx=0 asks for the model's own, but {self.source} names none; give a number"
                )
        default = options.default_n_seq_max(self._model.is_recurrent)
        params.n_seq_max = options.integer(
            "n_seq_max", default if n_seq_max is None else n_seq_max, 1, 256
        )

    def _check_path(self, path: list[int]) -> list[int]:
        core = self._open_weights.core
        reason = core.path_unsupported()
        if core.is_tensor_split:
            reason = reason or "its tensors are split over the devices (split_mode='tensor')"
        if reason:
            if self.layer_path.is_identity:
                return []
            raise UnsupportedArchitectureError(
                f"{self.source}: {core.architecture} cannot be run along a layer path: {reason}"
            )
        reason = core.check_path(path)
        if reason:
            raise LayerPathError(
                f"layer_path={str(self.layer_path)!r} is not possible with {self.source} "
                f"({core.architecture}): {reason}"
            )
        return path

    def with_path(self, layer_path: LayerPathLike) -> Model:
        """Return a model that runs the same weights along another path. Nothing is loaded or
        copied.

        The other model has its own KV cache and lives on when this one is closed.
        Raises LayerPathError or UnsupportedArchitectureError.
        """
        other = object.__new__(Model)
        other._variant = self._variant
        other._open(
            self._open_weights, layer_path, self._params, self._n_seq_max, self._chat_template
        )
        return other

    def close(self) -> None:
        """Free the KV cache, and the weights if no other model runs them.

        Ends a stream. Closing twice is fine.
        """
        for stream in list(self._streams):
            if inspect.getgeneratorstate(stream) != inspect.GEN_RUNNING:
                stream.close()
        with self._exclusive("close()", closing=True):
            self._cached_context = None
            self._model = None
            self._weights = None
            self.tokenizer.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._model is None:
            return f"<rys.Model {self.source!r}, closed>"
        return (
            f"<rys.Model {self.source!r}: {self.description}, layer_path={str(self.layer_path)!r}, "
            f"n_layer={self.n_layer}, n_slot={self.n_slot}, n_ctx={self.n_ctx}>"
        )

    @property
    def _open_weights(self) -> Weights:
        if self._weights is None:
            raise ModelClosedError(
                f"the model {self.source} is closed; open it again with rys.Model"
            )
        return self._weights

    @property
    def _open_model(self) -> _core.Model:
        if self._model is None:
            raise ModelClosedError(
                f"the model {self.source} is closed; open it again with rys.Model"
            )
        return self._model

    @contextmanager
    def _exclusive(self, call: str, closing: bool = False) -> Iterator[None]:
        """Hold the model's context for a call.

        Others wait; inside of it, and during a stream, they are refused.
        """
        busy = self._busy
        if busy is not None and (busy[0] == threading.get_ident() or busy[1] == "stream()"):
            raise EngineError(
                f"{call} cannot begin while {busy[1]} of the same model is not finished"
            )
        with self._lock:
            self._busy = (threading.get_ident(), call)
            try:
                if not closing:
                    self._open_model  # noqa: B018  (raises if another thread closed it meanwhile)
                yield
            finally:
                self._busy = None

    def _context(self) -> _core.Context:
        """Return the context, made when it is first needed and kept while it is sound."""
        model = self._open_model
        if not model.has_memory:
            raise UnsupportedArchitectureError(
                f"{self.source}: {self._open_weights.core.architecture} does not generate token by token "
                f"(it has no KV cache, or an encoder); logits() and hidden_states() work"
            )
        if self._cached_context is None:
            _log.follow_level()
            try:
                self._cached_context = _core.Context(model, self._params)
            finally:
                _log.flush()
        return self._cached_context

    def _end_run(self, context: _core.Context) -> None:
        if context.is_broken:
            self._cached_context = None
        _log.flush()

    @property
    def n_layer(self) -> int:
        """Layers of the file, without MTP layers."""
        return self._open_weights.core.n_layer

    @property
    def n_slot(self) -> int:
        """Slots of the path."""
        return self.layer_path.n_slot

    @property
    def n_ctx(self) -> int:
        """Tokens that one request may have: those of the context, or of a learned position table if
        that is shorter.
        """
        n_pos_max = self._open_model.n_pos_max
        return min(self._params.n_ctx, n_pos_max) if n_pos_max else self._params.n_ctx

    @property
    def n_vocab(self) -> int:
        """Tokens of the vocabulary."""
        return self._open_model.n_vocab

    @property
    def n_embd(self) -> int:
        """Width of the residual stream."""
        return self._open_model.n_embd

    @property
    def metadata(self) -> dict[str, Any]:
        """The key-values of the file."""
        return self._open_weights.metadata

    @property
    def size(self) -> int:
        """Bytes of the tensors, which all models on these weights share."""
        return self._open_model.size

    @property
    def description(self) -> str:
        """Architecture, size and quantisation in llama.cpp's words."""
        return self._open_model.description

    @property
    def fingerprint(self) -> str:
        """A content id of the file, 32 hexadecimal digits; fast for any size.

        See Weights.fingerprint.
        """
        return self._open_weights.fingerprint

    @property
    def variant(self) -> dict[str, Any]:
        """The options that change what the model computes, beside its file: for telling results
        apart.
        """
        return dict(self._variant)

    @property
    def has_tokenizer(self) -> bool:
        """Whether the file has a vocabulary of texts; without one, only token ids work."""
        return self._open_model.has_tokenizer

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that renders conversations; None if there is none."""
        return self._chat_template or self.metadata.get("tokenizer.chat_template") or None

    @property
    def special_tokens(self) -> dict[str, int]:
        """Ids of the special tokens that the model has: bos, eos, eot, sep, nl, pad, mask."""
        return dict(self.tokenizer.special)

    @property
    def bos_token(self) -> int | None:
        """Id of the token that begins a sequence."""
        return self.tokenizer.special.get("bos")

    @property
    def eos_token(self) -> int | None:
        """Id of the token that ends a sequence."""
        return self.tokenizer.special.get("eos")

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Return the tokens of a text; see Tokenizer.tokenize."""
        return self.tokenizer.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Return the text of tokens; see Tokenizer.detokenize."""
        return self.tokenizer.detokenize(tokens, special=special)

    def token_strings(self, tokens: Sequence[int]) -> list[str]:
        """Return the text of every single token, special ones written out."""
        return self.tokenizer.token_strings(tokens)

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = True,
        **template_variables: Any,
    ) -> str:
        """Return the text of a conversation, as the model's chat template renders it.

        messages: mappings with "role" and "content".
        add_generation_prompt: end where the assistant's answer begins.
        template_variables: whatever the template knows, such as `enable_thinking=False`.

        The template comes from an untrusted file: it runs in a sandbox, with limits on time and
        size.
        Raises ChatTemplateError if there is no template or it fails.
        """
        template = self.chat_template
        if not template:
            raise ChatTemplateError(
                f"{self.source} has no chat template; give one as rys.Model(chat_template=...)"
            )
        special = {
            f"{name}_token": self.token_strings([token])[0]
            for name, token in self.tokenizer.special.items()
            if name in ("bos", "eos")
        }
        return render_chat_template(
            template,
            messages,
            add_generation_prompt=add_generation_prompt,
            **{**special, **template_variables},
        )

    def prepare(self, requests: Sequence[Request]) -> PreparedRequests:
        """Return requests checked and in tokens, to be run along many paths of these weights
        without doing so again.

        Raises RequestError if a request cannot be right.
        """
        return PreparedRequests(prepare_all(self, list(requests)))

    def run(
        self, requests: Sequence[Request] | PreparedRequests, progress: bool = False
    ) -> list[Result]:
        """Run requests of any kind, mixed, and return their results in the same order.

        Sequences run in parallel as the context has room, and a prefix that requests share is
        evaluated once. Greedy results are the same each time for the same list of requests.
        A request that cannot be computed fails alone: its place holds a FailedRequest.
        requests: or what `prepare` made of them, with any model on these weights.
        progress: show a progress bar.

        Raises RequestError if a request cannot be right, EngineError if llama.cpp fails, and
        KeyboardInterrupt on Ctrl-C; the model stays usable.
        """
        if not isinstance(requests, Iterable):
            raise RequestError(f"run takes a list of requests, not {type(requests).__name__}")
        return runner.run(
            self, requests if isinstance(requests, PreparedRequests) else list(requests), progress
        )

    def generate(self, prompt: Prompt, **options: Any) -> GenerateResult:
        """Continue a prompt. options: those of Generate.

        Raises what `run` raises, and the error of a FailedRequest.
        """
        return cast(GenerateResult, self._run_one(Generate(prompt, **options)))

    def chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> GenerateResult:
        """Answer a conversation. options: those of Generate."""
        return self.generate(messages, **options)

    def stream(self, prompt: Prompt, **options: Any) -> Generator[str, None, None]:
        """Continue a prompt and yield the text piece by piece. options: those of Generate.

        The model is busy until the iterator ends or is closed; other calls are refused meanwhile.
        """
        stream = runner.stream(self, Generate(prompt, **options))
        self._streams.add(stream)
        return stream

    def loglikelihood(
        self, context: Prompt, continuation: str | Sequence[int]
    ) -> LogLikelihoodResult:
        """Return how probable a continuation is after a context; see LogLikelihood."""
        return cast(LogLikelihoodResult, self._run_one(LogLikelihood(context, continuation)))

    def _run_one(self, request: Request) -> Result:
        result = self.run([request])[0]
        if isinstance(result, FailedRequest):
            raise result.error
        return result

    def logits(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        """Return the logits after every token: float32 [T, V].

        Raises ContextFullError if there are more tokens than the context holds.
        """
        tokens = self._tokens(prompt)
        if not self._open_model.has_memory:
            return cast(npt.NDArray[np.float32], self._evaluate(tokens=tokens, logits=True)[0])
        core = runner.run_core(self, [_core.Request(_core.RequestKind.logits, tokens)])[0]
        return core.logits.reshape(len(tokens), self.n_vocab)

    def hidden_states(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        """Return the residual stream before every slot and after the last: float32 [n_slot + 1, T,
        D].

        D is n_embd, times the number of parallel streams for the architectures that have several
        (Gemma 3n, and those with hyper-connections). Row 0 is the embedding as slot 0 sees it; the
        last row is what the output norm sees.
        """
        return cast(
            npt.NDArray[np.float32], self._evaluate(tokens=self._tokens(prompt), hidden=True)[1]
        )

    def _tokens(self, prompt: Prompt) -> list[int]:
        tokens = prompt_tokens(self, prompt, {})
        if len(tokens) > self.n_ctx:
            raise ContextFullError(
                f"the prompt has {len(tokens)} tokens, but the context holds {self.n_ctx}"
            )
        return tokens

    def _evaluate(
        self,
        *,
        tokens: list[int] | None = None,
        embd: npt.NDArray[np.float32] | None = None,
        logits: bool = False,
        hidden: bool = False,
    ) -> tuple[Any, Any]:
        """Run one sequence in a context of its own, from tokens or from a residual stream [T, D]
        before slot 0.
        """
        with self._exclusive("an evaluation"):
            _log.follow_level()
            try:
                return self._open_model.evaluate(self._params, tokens or [], embd, logits, hidden)
            finally:
                _log.flush()

    def perplexity(
        self, text: str | Sequence[int], *, n_window: int = 512, progress: bool = False
    ) -> perplexity.Perplexity:
        """Return how well the model predicts a text.

        The text is cut into windows of n_window tokens that do not overlap. Each begins with the
        model's BOS token, if it has one, and without context; every token but the first of a window
        is scored.
        n_window: taken as n_ctx if that is smaller.

        Raises RequestError if the text is too short to score a token.
        """
        return perplexity.perplexity(self, text, n_window, progress)
