# Written by tools/stubs.py. Do not edit.
"""
The compiled part of rys: a thin layer on llama.cpp. Use the names in `rys`, not these.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import os
import typing
__all__: list[str] = ['Context', 'ContextParams', 'Finish', 'LayerDescription', 'Model', 'Request', 'RequestKind', 'Result', 'SamplingParams', 'Scheduler', 'Weights', 'WeightsParams', 'build_info', 'drain_log', 'read_layout', 'read_metadata', 'read_tensors', 'set_log_level']
class ContextParams:
    offload_kqv: bool
    op_offload: bool
    swa_full: bool
    @typing.overload
    def __init__(self) -> None:
        ...
    @typing.overload
    def __init__(self, other: ContextParams) -> None:
        """
        Copy.
        """
    @property
    def flash_attn(self) -> int:
        ...
    @flash_attn.setter
    def flash_attn(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def n_batch(self) -> int:
        ...
    @n_batch.setter
    def n_batch(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def n_ctx(self) -> int:
        ...
    @n_ctx.setter
    def n_ctx(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def n_seq_max(self) -> int:
        ...
    @n_seq_max.setter
    def n_seq_max(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def n_threads(self) -> int:
        ...
    @n_threads.setter
    def n_threads(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def n_threads_batch(self) -> int:
        ...
    @n_threads_batch.setter
    def n_threads_batch(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def n_ubatch(self) -> int:
        ...
    @n_ubatch.setter
    def n_ubatch(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def rope_freq_base(self) -> float:
        ...
    @rope_freq_base.setter
    def rope_freq_base(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def rope_freq_scale(self) -> float:
        ...
    @rope_freq_scale.setter
    def rope_freq_scale(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def rope_scaling_type(self) -> int:
        ...
    @rope_scaling_type.setter
    def rope_scaling_type(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def type_k(self) -> int:
        ...
    @type_k.setter
    def type_k(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def type_v(self) -> int:
        ...
    @type_v.setter
    def type_v(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def yarn_attn_factor(self) -> float:
        ...
    @yarn_attn_factor.setter
    def yarn_attn_factor(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def yarn_beta_fast(self) -> float:
        ...
    @yarn_beta_fast.setter
    def yarn_beta_fast(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def yarn_beta_slow(self) -> float:
        ...
    @yarn_beta_slow.setter
    def yarn_beta_slow(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def yarn_ext_factor(self) -> float:
        ...
    @yarn_ext_factor.setter
    def yarn_ext_factor(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def yarn_orig_ctx(self) -> int:
        ...
    @yarn_orig_ctx.setter
    def yarn_orig_ctx(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
class WeightsParams:
    check_tensors: bool
    metadata_only: bool
    use_mlock: bool
    use_mmap: bool
    def __init__(self) -> None:
        ...
    def add_lora(self, path: os.PathLike[str] | str | bytes, scale: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def devices(self) -> list[str]:
        ...
    @devices.setter
    def devices(self, arg0: collections.abc.Sequence[str]) -> None:
        ...
    @property
    def main_gpu(self) -> int:
        ...
    @main_gpu.setter
    def main_gpu(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def n_gpu_layers(self) -> int:
        ...
    @n_gpu_layers.setter
    def n_gpu_layers(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def split_mode(self) -> int:
        ...
    @split_mode.setter
    def split_mode(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def tensor_split(self) -> list[float]:
        ...
    @tensor_split.setter
    def tensor_split(self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]) -> None:
        ...
class LayerDescription:
    @property
    def has_attention(self) -> bool:
        ...
    @property
    def has_kv(self) -> bool:
        ...
    @property
    def has_window(self) -> bool:
        ...
    @property
    def is_recurrent(self) -> bool:
        ...
    @property
    def n_head(self) -> int:
        ...
    @property
    def n_head_kv(self) -> int:
        ...
class Weights:
    def __init__(self, path: os.PathLike[str] | str | bytes, params: WeightsParams, progress: collections.abc.Callable[[float], typing.Any] | None = None) -> None:
        ...
    def check_path(self, path: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> str:
        """
        Return why this layer path is not possible, or an empty string.
        """
    def path_unsupported(self) -> str:
        """
        Return why no layer path is possible for the architecture, or an empty string.
        """
    @property
    def architecture(self) -> str:
        ...
    @property
    def file_type(self) -> str:
        ...
    @property
    def is_causal(self) -> bool:
        ...
    @property
    def layers(self) -> list[LayerDescription]:
        """
        Of all layers, the MTP layers last.
        """
    @property
    def n_layer(self) -> int:
        ...
    @property
    def n_layer_nextn(self) -> int:
        ...
class Model:
    def __init__(self, weights: Weights, path: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
    def added_tokens(self) -> list[tuple[int, bytes, int, bool]]:
        """
        Return (id, text, llama_token_attr, whether it ends an answer) of each control, unknown and user-defined token.
        """
    def detokenize(self, tokens: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], remove_special: bool, unparse_special: bool) -> bytes:
        ...
    def evaluate(self, params: ContextParams, tokens: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], embd: typing.Annotated[numpy.typing.ArrayLike, numpy.float32] | None, logits: bool, hidden: bool) -> tuple[typing.Any, typing.Any]:
        """
        Run one sequence in a context of its own: (logits [T, V] or None, residual stream [n_slot + 1, T, D] or None).
        """
    def memory_bytes(self, params: ContextParams) -> int:
        """
        Return the bytes of KV cache and recurrent state that a Context would have.
        """
    def missing_keys(self) -> list[str]:
        """
        Return the keys of the file without which llama.cpp cuts texts into tokens in a way of its own.
        """
    def special_tokens(self) -> dict[str, int]:
        ...
    def token_piece(self, token: typing.SupportsInt | typing.SupportsIndex) -> bytes:
        ...
    def tokenize(self, text: bytes, add_special: bool, parse_special: bool) -> list[int]:
        ...
    @property
    def add_bos(self) -> bool:
        ...
    @property
    def add_eos(self) -> bool:
        ...
    @property
    def description(self) -> str:
        ...
    @property
    def has_decoder(self) -> bool:
        ...
    @property
    def has_memory(self) -> bool:
        ...
    @property
    def has_tokenizer(self) -> bool:
        ...
    @property
    def is_diffusion(self) -> bool:
        ...
    @property
    def is_recurrent(self) -> bool:
        ...
    @property
    def n_ctx_train(self) -> int:
        ...
    @property
    def n_embd(self) -> int:
        ...
    @property
    def n_pos_max(self) -> int:
        ...
    @property
    def n_slot(self) -> int:
        ...
    @property
    def n_vocab(self) -> int:
        ...
    @property
    def size(self) -> int:
        ...
class Context:
    def __init__(self, model: Model, params: ContextParams) -> None:
        ...
    @property
    def is_broken(self) -> bool:
        ...
    @property
    def n_ctx(self) -> int:
        ...
class RequestKind:
    """
    Members:

      generate

      loglikelihood

      next_token

      logits
    """
    __members__: typing.ClassVar[dict[str, RequestKind]]
    generate: typing.ClassVar[RequestKind]
    logits: typing.ClassVar[RequestKind]
    loglikelihood: typing.ClassVar[RequestKind]
    next_token: typing.ClassVar[RequestKind]
    @typing.overload
    def __eq__(self, other: RequestKind) -> bool:
        ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool:
        ...
    def __getstate__(self) -> int:
        ...
    def __hash__(self) -> int:
        ...
    def __index__(self) -> int:
        ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __int__(self) -> int:
        ...
    @typing.overload
    def __ne__(self, other: RequestKind) -> bool:
        ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool:
        ...
    def __repr__(self) -> str:
        ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __str__(self) -> str:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def value(self) -> int:
        ...
class Finish:
    """
    Members:

      none

      eos

      stop

      length

      context_full

      not_finite

      failed
    """
    __members__: typing.ClassVar[dict[str, Finish]]
    context_full: typing.ClassVar[Finish]
    eos: typing.ClassVar[Finish]
    failed: typing.ClassVar[Finish]
    length: typing.ClassVar[Finish]
    none: typing.ClassVar[Finish]
    not_finite: typing.ClassVar[Finish]
    stop: typing.ClassVar[Finish]
    @typing.overload
    def __eq__(self, other: Finish) -> bool:
        ...
    @typing.overload
    def __eq__(self, other: typing.Any) -> bool:
        ...
    def __getstate__(self) -> int:
        ...
    def __hash__(self) -> int:
        ...
    def __index__(self) -> int:
        ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __int__(self) -> int:
        ...
    @typing.overload
    def __ne__(self, other: Finish) -> bool:
        ...
    @typing.overload
    def __ne__(self, other: typing.Any) -> bool:
        ...
    def __repr__(self) -> str:
        ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __str__(self) -> str:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def value(self) -> int:
        ...
class SamplingParams:
    grammar: str
    def __init__(self) -> None:
        ...
    @property
    def min_p(self) -> float:
        ...
    @min_p.setter
    def min_p(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def repeat_penalty(self) -> float:
        ...
    @repeat_penalty.setter
    def repeat_penalty(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def seed(self) -> int:
        ...
    @seed.setter
    def seed(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def temperature(self) -> float:
        ...
    @temperature.setter
    def temperature(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def top_k(self) -> int:
        ...
    @top_k.setter
    def top_k(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def top_p(self) -> float:
        ...
    @top_p.setter
    def top_p(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class Request:
    logprobs: bool
    sampling: SamplingParams
    def __init__(self, kind: RequestKind, tokens: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
    @property
    def allowed(self) -> list[int]:
        ...
    @allowed.setter
    def allowed(self, arg0: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
    @property
    def kind(self) -> RequestKind:
        ...
    @property
    def max_tokens(self) -> int:
        ...
    @max_tokens.setter
    def max_tokens(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def n_context(self) -> int:
        ...
    @n_context.setter
    def n_context(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def stop(self) -> list[bytes]:
        ...
    @stop.setter
    def stop(self, arg1: collections.abc.Sequence[bytes]) -> None:
        ...
    @property
    def tokens(self) -> list[int]:
        ...
class Result:
    @property
    def error(self) -> str:
        ...
    @property
    def greedy(self) -> list[bool]:
        ...
    @property
    def log_sum_exp(self) -> float:
        ...
    @property
    def logits(self) -> numpy.typing.NDArray[numpy.float32]:
        ...
    @property
    def logprobs(self) -> numpy.typing.NDArray[numpy.float32]:
        ...
    @property
    def n_prompt(self) -> int:
        ...
    @property
    def n_shared(self) -> int:
        ...
    @property
    def seconds(self) -> float:
        ...
    @property
    def state(self) -> Finish:
        ...
    @property
    def text(self) -> bytes:
        ...
    @property
    def tokens(self) -> list[int]:
        ...
class Scheduler:
    def __init__(self, context: Context, n_ctx: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def advance(self, seconds: typing.SupportsFloat | typing.SupportsIndex, n_results: typing.SupportsInt | typing.SupportsIndex = 0) -> bool:
        """
        Compute until nothing is left to do, `seconds` have passed or `n_results` results can be taken (0 = any number); return whether nothing is left to do.
        """
    def cancel(self, ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        """
        Drop requests, and free what they hold.
        """
    def hurry(self) -> None:
        """
        Let `advance` return after the batch that is being computed. Other threads may call it.
        """
    def insert(self, requests: collections.abc.Sequence[Request], cache_prompt: bool = False) -> list[int]:
        """
        Take requests, which share prefixes with each other, and with cache_prompt with earlier ones; return their ids in the same order.
        """
    def next(self) -> tuple[int, Result] | None:
        """
        Give away the next result that is done, with its id; None if there is none.
        """
    def settled_text(self, id: typing.SupportsInt | typing.SupportsIndex, begin: typing.SupportsInt | typing.SupportsIndex = 0) -> bytes:
        """
        Return the bytes of a generation, from `begin` on, that later tokens cannot take back.
        """
    @property
    def n_cells_free(self) -> int:
        ...
    @property
    def n_kept(self) -> int:
        """
        Requests, nodes and spans that are kept.
        """
    @property
    def n_seqs_free(self) -> int:
        ...
    @property
    def n_tokens(self) -> int:
        """
        Tokens evaluated so far.
        """
def build_info() -> dict[str, typing.Any]:
    """
    Return what was compiled in, and the devices that are there now; memory in bytes.
    """
def drain_log() -> list[tuple[int, str]]:
    """
    Take the kept log lines, oldest first: (ggml_log_level, text).
    """
def read_layout(path: os.PathLike[str] | str | bytes) -> tuple[int, list[tuple[int, int]]]:
    """
    Return (where the tensor data begin, [(offset from there, size)] of the tensors), in bytes.
    """
def read_metadata(path: os.PathLike[str] | str | bytes, arrays: bool = True) -> dict[str, typing.Any]:
    """
    Return the key-values of a GGUF file, with or without the arrays. Raises EngineError if it is none.
    """
def read_tensors(path: os.PathLike[str] | str | bytes) -> list[tuple[str, str, int, int]]:
    """
    Return [(name, type, number of values, size in bytes)] of the tensors.
    """
def set_log_level(level: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Keep llama.cpp's log lines of at least this ggml_log_level: 1 debug, 2 info, 3 warning, 4 error.
    """
