"""Options of rys.Model, checked and put into the parameters that llama.cpp takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rys import _core
from rys._util import checks
from rys.engine import options
from rys.errors import ModelFileNotFoundError, RequestError

__all__ = ["check_progress", "context_params", "weights_params", "with_rope_scaling"]


def context_params(
    *,
    n_ctx: int,
    n_batch: int,
    n_ubatch: int,
    n_threads: int | None,
    n_threads_batch: int | None,
    flash_attn: bool | None,
    type_k: str | int | None,
    type_v: str | int | None,
    offload_kqv: bool,
    op_offload: bool,
    swa_full: bool,
) -> _core.ContextParams:
    """Return the parameters of a context, from the options of rys.Model of the same names.

    What depends on the model, `n_seq_max` and an `n_ctx` of 0, is settled by View.

    Raises:
        RequestError: An option is out of range.
    """
    if flash_attn is not None and not isinstance(flash_attn, bool):
        raise RequestError(f"flash_attn is {flash_attn!r}, but must be True, False or None")
    params = _core.ContextParams()
    # more cells than any model was trained with would only end in a failed allocation
    params.n_ctx = checks.integer("n_ctx", n_ctx, 0, 2**24)
    params.n_batch = checks.integer("n_batch", n_batch, 1)
    # llama.cpp lowers it as well, but then params would not say what is used
    params.n_ubatch = min(checks.integer("n_ubatch", n_ubatch, 1), params.n_batch)
    params.n_threads = checks.integer("n_threads", n_threads or options.default_n_threads(), 1, 512)
    params.n_threads_batch = checks.integer(
        "n_threads_batch", n_threads_batch or params.n_threads, 1, 512
    )
    # -1 leaves the choice to llama.cpp
    params.flash_attn = -1 if flash_attn is None else int(flash_attn)
    params.type_k = _cache_type("type_k", type_k)
    params.type_v = _cache_type("type_v", type_v)
    params.offload_kqv = offload_kqv
    params.op_offload = op_offload
    params.swa_full = swa_full
    return params


def with_rope_scaling(
    params: _core.ContextParams,
    *,
    rope_scaling_type: str | int | None,
    rope_freq_base: float,
    rope_freq_scale: float,
    yarn_ext_factor: float,
    yarn_attn_factor: float,
    yarn_beta_fast: float,
    yarn_beta_slow: float,
    yarn_orig_ctx: int,
) -> _core.ContextParams:
    """Set how positions are rotated, and return the parameters.

    The options are those of rys.Model of the same names.

    Raises:
        RequestError: An option is out of range.
    """
    # -1 is llama.cpp's number for "as the file says", which is the default of the parameters
    if rope_scaling_type not in (None, -1):
        params.rope_scaling_type = checks.choice(
            "rope_scaling_type", rope_scaling_type, options.ROPE_SCALING_TYPES
        )
    params.rope_freq_base = checks.number("rope_freq_base", rope_freq_base, -1.0)
    params.rope_freq_scale = checks.number("rope_freq_scale", rope_freq_scale, -1.0)
    params.yarn_ext_factor = checks.number("yarn_ext_factor", yarn_ext_factor, -1.0)
    params.yarn_attn_factor = checks.number("yarn_attn_factor", yarn_attn_factor, -1.0)
    params.yarn_beta_fast = checks.number("yarn_beta_fast", yarn_beta_fast, -1.0)
    params.yarn_beta_slow = checks.number("yarn_beta_slow", yarn_beta_slow, -1.0)
    params.yarn_orig_ctx = checks.integer("yarn_orig_ctx", yarn_orig_ctx, 0)
    return params


def weights_params(
    *,
    n_gpu_layers: int,
    split_mode: str | int,
    main_gpu: int,
    tensor_split: Sequence[float] | None,
    devices: Sequence[str] | None,
    use_mmap: bool,
    use_mlock: bool,
    check_tensors: bool,
    lora_path: str | os.PathLike[str] | None,
    lora_scale: float,
) -> _core.WeightsParams:
    """Return how to load a file, from the options of rys.Model of the same names.

    Raises:
        ModelFileNotFoundError: The LoRA adapter is not there.
        RequestError: An option is out of range.
    """
    params = _core.WeightsParams()
    params.n_gpu_layers = checks.integer("n_gpu_layers", n_gpu_layers, -1)
    params.split_mode = checks.choice("split_mode", split_mode, options.SPLIT_MODES)
    params.main_gpu = checks.integer("main_gpu", main_gpu, 0)
    params.tensor_split = [
        checks.number("tensor_split", share, 0.0) for share in tensor_split or []
    ]
    # a str would be taken for a list of names of one letter
    if isinstance(devices, str):
        raise RequestError(f"devices is {devices!r}, but must be a list of names")
    params.devices = list(devices or [])
    params.use_mmap = use_mmap
    params.use_mlock = use_mlock
    params.check_tensors = check_tensors
    if lora_path is not None:
        if not Path(lora_path).is_file():
            raise ModelFileNotFoundError(f"{lora_path}: no such file (lora_path)")
        params.add_lora(lora_path, checks.number("lora_scale", lora_scale, -float("inf")))
    return params


def check_progress(progress: object) -> None:
    """Check that `progress` is a bool or a function.

    Raises:
        RequestError: It is neither a bool nor a function.
    """
    if not isinstance(progress, bool) and not callable(progress):
        raise RequestError(
            f"progress is {progress!r}, but must be a bool or a function of the fraction in [0, 1]"
        )


def _cache_type(name: str, value: str | int | None) -> int:
    return checks.choice(name, "f16" if value is None else value, options.GGML_TYPES)
