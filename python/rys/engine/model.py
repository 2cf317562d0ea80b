"""A GGUF model that runs along a layer path: the only door to the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from rys import _core
from rys._util import checks
from rys.engine import params as engine_params
from rys.engine.chat_template import find_given_template, named_templates
from rys.engine.convert import convert
from rys.engine.model_base import ModelBase
from rys.engine.perplexity import Perplexity, windows
from rys.engine.prepare import PreparedRequests, RequestPreparer
from rys.engine.session import Session
from rys.engine.variant import result_variant
from rys.engine.view import Shared, View, load_weights
from rys.errors import ContextFullError, EngineError, RequestError
from rys.layer_path import LayerPathLike
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


class Model(ModelBase):
    """A GGUF model that runs along a layer path.

    A model may be used from several threads, and while one of its streams is suspended. Requests of
    several calls are evaluated side by side; see Session for what happens when one of them fails.
    Models on the same weights run in parallel.

    Args:
        path: The file; of a split model, the first part.
        layer_path: The layers to visit, slot by slot, in any form that LayerPath reads; None =
            the file's own order.
        n_ctx: Tokens that the KV cache holds, for all sequences that run in parallel; one
            request may use them all. 0 = as many as the model was trained with.
        n_batch: Tokens per batch that is submitted.
        n_ubatch: Tokens that are computed at once.
        n_seq_max: Sequences that run in parallel, 1..256; None = 64, or 16 for recurrent
            models, whose every sequence has a state of its own. With sliding windows or recurrent
            states every sequence takes memory from the start, so None then means 4, until `run`
            gets a longer list; see `rys info`.
        cache_prompt: Keep what calls have evaluated for later calls that begin with the same
            tokens; see `run`.
        n_gpu_layers: Layers to keep on the GPU, -1 = all.
        n_threads: Threads for generation; None = the physical cores.
        n_threads_batch: Threads for prompts; None = n_threads.
        flash_attn: None = where the backend is good at it.
        type_k: Type of the keys in the KV cache, such as "q8_0"; None = "f16".
        type_v: Type of the values in the KV cache; None = "f16".
        split_mode: How to use several GPUs: "none", "layer", "row" or "tensor".
        main_gpu: The GPU for what is not split.
        tensor_split: Share of each GPU.
        devices: Names of the devices to use; see `rys.build_info()`.
        use_mmap: Map the file into memory instead of reading it.
        use_mlock: Keep the weights in RAM.
        check_tensors: Look for invalid values while loading.
        offload_kqv: Keep the KV cache on the GPU, as in llama.cpp.
        op_offload: Compute large batches on the GPU, as in llama.cpp.
        swa_full: Keep the whole context of sliding-window layers, as in llama.cpp.
        rope_scaling_type: "none", "linear", "yarn" or "longrope"; None = the file's.
        rope_freq_base: As in llama.cpp; 0.0 = the file's.
        rope_freq_scale: As in llama.cpp; 0.0 = the file's.
        yarn_ext_factor: As in llama.cpp; -1.0 = the file's, as with the next three.
        yarn_attn_factor: As in llama.cpp.
        yarn_beta_fast: As in llama.cpp.
        yarn_beta_slow: As in llama.cpp.
        yarn_orig_ctx: As in llama.cpp; 0 = the file's.
        lora_path: A LoRA adapter in GGUF; it touches every visit of a layer.
        lora_scale: Factor of the adapter.
        chat_template: The Jinja source of a template instead of the file's, or the name of one of
            several that the file has, such as "tool_use". A path is refused.
        progress: True = show a progress bar while loading; or a function of the fraction in
            [0, 1].

    Raises:
        ChatTemplateError: `chat_template` is neither the source of a template nor the name of one.
        LayerPathError: The path does not fit the file.
        ModelFileError: The file cannot be used.
        ModelFileNotFoundError: There is no such file.
        RequestError: An option is out of range.
        UnsupportedArchitectureError: No path fits the file.
    """

    def __init__(
        self, path: str | os.PathLike[str], layer_path: LayerPathLike = None, *,
        n_ctx: int = 4096, n_batch: int = 2048, n_ubatch: int = 512, n_seq_max: int | None = None,
        cache_prompt: bool = True,
        n_gpu_layers: int = -1, n_threads: int | None = None, n_threads_batch: int | None = None,
        flash_attn: bool | None = None,
        type_k: str | int | None = None, type_v: str | int | None = None,
        split_mode: str | int = "layer", main_gpu: int = 0,
        tensor_split: Sequence[float] | None = None, devices: Sequence[str] | None = None,
        use_mmap: bool = True, use_mlock: bool = False, check_tensors: bool = False,
        offload_kqv: bool = True, op_offload: bool = True, swa_full: bool = False,
        rope_scaling_type: str | int | None = None,
        rope_freq_base: float = 0.0, rope_freq_scale: float = 0.0,
        yarn_ext_factor: float = -1.0, yarn_attn_factor: float = -1.0,
        yarn_beta_fast: float = -1.0, yarn_beta_slow: float = -1.0, yarn_orig_ctx: int = 0,
        lora_path: str | os.PathLike[str] | None = None, lora_scale: float = 1.0,
        chat_template: str | None = None, progress: bool | Callable[[float], None] = False,
    ) -> None:  # fmt: skip
        """Load a file. See the class for the arguments."""
        engine_params.check_progress(progress)
        context = engine_params.context_params(
            n_ctx=n_ctx, n_batch=n_batch, n_ubatch=n_ubatch, n_threads=n_threads,
            n_threads_batch=n_threads_batch, flash_attn=flash_attn, type_k=type_k, type_v=type_v,
            offload_kqv=offload_kqv, op_offload=op_offload, swa_full=swa_full,
        )  # fmt: skip
        context = engine_params.with_rope_scaling(
            context, rope_scaling_type=rope_scaling_type, rope_freq_base=rope_freq_base,
            rope_freq_scale=rope_freq_scale, yarn_ext_factor=yarn_ext_factor,
            yarn_attn_factor=yarn_attn_factor, yarn_beta_fast=yarn_beta_fast,
            yarn_beta_slow=yarn_beta_slow, yarn_orig_ctx=yarn_orig_ctx,
        )  # fmt: skip
        load = engine_params.weights_params(
            n_gpu_layers=n_gpu_layers, split_mode=split_mode, main_gpu=main_gpu,
            tensor_split=tensor_split, devices=devices, use_mmap=use_mmap, use_mlock=use_mlock,
            check_tensors=check_tensors, lora_path=lora_path, lora_scale=lora_scale,
        )  # fmt: skip
        weights = load_weights(path, load, progress)
        if chat_template is not None:
            templates = named_templates(weights.metadata)
            chat_template = find_given_template(chat_template, templates)
        shared = Shared(
            weights=weights,
            params=context,
            n_seq_max=n_seq_max,
            cache_prompt=checks.boolean("cache_prompt", cache_prompt),
            chat_template=chat_template,
            variant=result_variant(context, chat_template, lora_path, lora_scale),
        )
        self._view = View(shared, layer_path)
        self.tokenizer.warn_of_missing_keys()

    @classmethod
    def _of(cls, view: View) -> Model:
        """Return a model of a view. No file is loaded, so __init__ is not called."""
        model = cls.__new__(cls)
        model._view = view
        return model

    def with_path(self, layer_path: LayerPathLike) -> Model:
        """Return a model that runs the same weights along another path.

        Nothing is loaded or copied. The other model has its own KV cache and lives on when this one
        is closed.

        Args:
            layer_path: The path, in any form that LayerPath reads; None = the file's own order.

        Raises:
            LayerPathError: The path does not fit the file.
            UnsupportedArchitectureError: No path fits the file.
        """
        return self._of(View(self._view.shared, layer_path))

    def close(self) -> None:
        """Free the KV cache, and the weights if no other model runs them.

        Waits for the calls of other threads, and ends suspended streams. Closing twice is fine.
        """
        self._view.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._view.is_closed:
            return f"<rys.Model {self.source!r}, closed>"
        return (
            f"<rys.Model {self.source!r}: {self.description}, layer_path={str(self.layer_path)!r}, "
            f"n_layer={self.n_layer}, n_slot={self.n_slot}, n_ctx={self.n_ctx}>"
        )

    @property
    def _session(self) -> Session:
        return self._view.session

    @property
    def _preparer(self) -> RequestPreparer:
        return RequestPreparer(
            self.tokenizer,
            self._render_prompt,
            source=self.source,
            has_tokenizer=self._view.has_tokenizer,
            n_ctx=self._session.n_ctx,
        )

    def prepare(self, requests: Sequence[Request]) -> PreparedRequests:
        """Return requests checked and in tokens.

        They can be run along many paths of these weights without doing so again.

        Args:
            requests: Of any kind, mixed.

        Raises:
            RequestError: A request cannot be right.
        """
        return PreparedRequests(self._preparer.prepare(list(requests)))

    def run(
        self,
        requests: Sequence[Request] | PreparedRequests,
        progress: bool = False,
        *,
        cache_prompt: bool | None = None,
    ) -> list[Result]:
        """Run requests of any kind, mixed, and return their results in the same order.

        Sequences run in parallel as the context has room, and a prefix that requests share is
        evaluated once. A request that cannot be computed fails alone: its place holds a
        FailedRequest.

        What the last calls have evaluated stays in the KV cache as long as nothing else needs the
        room, and a request that begins with the same tokens goes on behind them. So a turn of a
        conversation costs its new tokens alone. Results are then the same but for rounding, which
        can turn a greedy choice where two tokens are nearly as likely. With `cache_prompt=False`
        the cache is emptied first, and greedy results are the same each time for the same list of
        requests, if no other call runs beside. Probes and sweeps measure that way.

        Args:
            requests: A list, or what `prepare` made of it with any model on these weights.
            progress: Show a progress bar.
            cache_prompt: Whether the requests may go on behind what earlier calls have evaluated,
                and stay in the cache themselves; None = as the model was opened.

        Raises:
            EngineError: llama.cpp failed. The model stays usable, here and in the next case.
            KeyboardInterrupt: Ctrl-C.
            ModelClosedError: The model is closed.
            RequestError: A request cannot be right.
        """
        if not isinstance(requests, Iterable):
            raise RequestError(f"run takes a list of requests, not {type(requests).__name__}")
        if isinstance(requests, PreparedRequests):
            prepared: Sequence[_core.Request] = requests
        else:
            prepared = self._preparer.prepare(list(requests))
        if cache_prompt is not None:
            checks.boolean("cache_prompt", cache_prompt)
        results = self._session.run(prepared, progress=progress, cache_prompt=cache_prompt)
        pairs = zip(prepared, results, strict=True)
        return [self._convert(request, result) for request, result in pairs]

    def generate(self, prompt: Prompt, **options: Any) -> GenerateResult:
        """Continue a prompt.

        Args:
            prompt: Text, token ids or messages.
            **options: Those of Generate.

        Raises:
            RysError: What `run` raises, and the error of a FailedRequest.
        """
        return cast(GenerateResult, self._run_one(Generate(prompt, **options)))

    def chat(self, messages: str | Sequence[Mapping[str, Any]], **options: Any) -> GenerateResult:
        """Answer a conversation.

        Args:
            messages: Mappings with "role" and "content"; or a text, as the only message of a user.
            **options: Those of Generate.

        Raises:
            RysError: What `run` raises, and the error of a FailedRequest.
        """
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return self.generate(messages, **options)

    def stream(self, prompt: Prompt, **options: Any) -> Generator[str, None, None]:
        """Continue a prompt and yield the text piece by piece.

        Other calls may come in between; they compute the stream's next tokens, too. A stream that
        is closed or dropped is cancelled.

        Args:
            prompt: Text, token ids or messages.
            **options: Those of Generate.

        Raises:
            RysError: What `generate` raises, when the first piece is asked for or later.
        """
        prepared = self._preparer.prepare([Generate(prompt, **options)])[0]
        core = yield from self._session.stream(prepared)
        if core is None:  # the model was closed
            return
        result = self._convert(prepared, core)
        if isinstance(result, FailedRequest):
            raise result.error

    def loglikelihood(
        self, context: Prompt, continuation: str | Sequence[int]
    ) -> LogLikelihoodResult:
        """Return how probable a continuation is after a context.

        Args:
            context: Text, token ids or messages.
            continuation: Text or token ids; see LogLikelihood.

        Raises:
            RysError: What `run` raises, and the error of a FailedRequest.
        """
        return cast(LogLikelihoodResult, self._run_one(LogLikelihood(context, continuation)))

    def logits(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        """Return the logits after every token: float32 [T, V].

        Args:
            prompt: Text, token ids or messages.

        Raises:
            ContextFullError: There are more tokens than the context holds.
        """
        tokens = self._tokens(prompt)
        if not self._open_model.has_memory:
            # diffusion models and encoder-decoders see the whole sequence at once
            logits, _ = self._session.evaluate(tokens=tokens, logits=True)
            return cast(npt.NDArray[np.float32], logits)
        n_vocab = self.n_vocab  # another thread may close the model while the request runs
        request = _core.Request(_core.RequestKind.logits, tokens)
        core = self._session.run([request], cache_prompt=False)[0]
        if core.state == _core.Finish.failed:  # llama.cpp failed in another call beside this one
            raise EngineError(core.error)
        return core.logits.reshape(len(tokens), n_vocab)

    def hidden_states(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        """Return the residual stream before every slot and after the last.

        Args:
            prompt: Text, token ids or messages.

        Returns:
            float32 [n_slot + 1, T, D]. D is n_embd, times the number of parallel streams for the
            architectures that have several (Gemma 3n, and those with hyper-connections). Row 0 is
            the embedding as slot 0 sees it; the last row is what the output norm sees.

        Raises:
            ContextFullError: There are more tokens than the context holds.
        """
        _, hidden = self._session.evaluate(tokens=self._tokens(prompt), hidden=True)
        return cast(npt.NDArray[np.float32], hidden)

    def perplexity(
        self, text: str | Sequence[int], *, n_window: int = 512, progress: bool = False
    ) -> Perplexity:
        """Return how well the model predicts a text.

        The text is cut into windows of n_window tokens that do not overlap. Each begins with the
        model's BOS token, if it has one, and without context; every token but the first of a window
        is scored.

        Args:
            text: The text, or its token ids.
            n_window: Tokens of a window; n_ctx if that is smaller.
            progress: Show a progress bar.

        Raises:
            RequestError: The text is too short to score a token.
        """
        n_window = min(checks.integer("n_window", n_window, 2), self.n_ctx)
        if isinstance(text, str):
            tokens = self.tokenize(text, add_special=False)
        else:
            tokens = self.tokenizer.check(text)
        bos = self.bos_token if self.tokenizer.add_bos else None
        logprobs = []
        for result in self.run(windows(tokens, n_window, bos), progress, cache_prompt=False):
            if isinstance(result, FailedRequest):
                raise result.error
            logprobs.append(cast(LogLikelihoodResult, result).token_logprobs)
        return Perplexity.from_logprobs(logprobs)

    def _run_one(self, request: Request) -> Result:
        result = self.run([request])[0]
        if isinstance(result, FailedRequest):
            raise result.error
        return result

    def _convert(self, request: _core.Request, core: _core.Result) -> Result:
        # another thread may have closed the model since, so nothing here asks the engine
        return convert(
            request,
            core,
            layer_path=self.layer_path,
            n_ctx=self._session.n_ctx,
            n_vocab=self._view.n_vocab,
        )

    def _tokens(self, prompt: Prompt) -> list[int]:
        tokens = self._preparer.prompt_tokens(prompt)
        if len(tokens) > self.n_ctx:
            raise ContextFullError(
                f"the prompt has {len(tokens)} tokens, but the context holds {self.n_ctx}"
            )
        return tokens
