"""Options of a model under llama.cpp's names, checked before llama.cpp sees them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rys.errors import RequestError

__all__ = [
    "choice",
    "default_n_seq_max",
    "default_n_threads",
    "integer",
    "number",
    "what_changes_results",
]

GGML_TYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "iq4_nl": 20, "bf16": 30,
}  # fmt: skip
SPLIT_MODES = {"none": 0, "layer": 1, "row": 2, "tensor": 3}
ROPE_SCALING_TYPES = {"none": 0, "linear": 1, "yarn": 2, "longrope": 3}


def integer(name: str, value: Any, low: int, high: int = 2**31 - 1) -> int:
    """Return an option that is an int.

    Raises RequestError, a ValueError, if it is none or out of range.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise RequestError(f"{name} is {value!r}, but must be an integer")
    if not low <= int(value) <= high:
        raise RequestError(f"{name} is {value}, but must be {low}..{high}")
    return int(value)


def number(name: str, value: Any, low: float, high: float = float("inf")) -> float:
    """Return an option that is a number. Raises RequestError if it is none or out of range."""
    if (
        isinstance(value, bool)
        or not hasattr(value, "__float__")
        or not (low <= value <= high and abs(value) <= sys.float_info.max)
    ):
        raise RequestError(f"{name} is {value!r}, but must be {low:g}..{high:g}")
    return float(value)


def choice(name: str, value: Any, choices: Mapping[str, int]) -> int:
    """Return the number of an option given by name, or by llama.cpp's number.

    Raises RequestError.
    """
    if isinstance(value, str) and value.lower() in choices:
        return choices[value.lower()]
    if isinstance(value, int) and not isinstance(value, bool) and value in choices.values():
        return value
    raise RequestError(f"{name} is {value!r}, but must be one of {', '.join(choices)}")


def default_n_seq_max(is_recurrent: bool) -> int:
    """Return how many sequences run in parallel: fewer if each has a state of its own."""
    return 16 if is_recurrent else 64


def default_n_threads() -> int:
    """Return the number of physical cores that this process may use."""
    if not hasattr(
        os, "sched_getaffinity"
    ):  # macOS has no hyper-threads; elsewhere two to a core are usual
        n_cpu = os.cpu_count() or 1
        return n_cpu if sys.platform == "darwin" else max(1, n_cpu // 2)
    cpus = os.sched_getaffinity(0)
    cores = set()
    for cpu in cpus:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text().strip() if siblings.exists() else str(cpu))
    return max(1, len(cores))


def what_changes_results(
    params: Any,
    chat_template: str | None,
    lora_path: str | os.PathLike[str] | None,
    lora_scale: float,
) -> dict[str, Any]:
    """Return the options that change what a model computes, beside its file: for telling results
    apart.

    params: a context's. Left out are the sizes and devices, which change rounding at most.
    """
    names = [
        "type_k", "type_v", "swa_full", "rope_scaling_type", "rope_freq_base", "rope_freq_scale", "yarn_ext_factor",
        "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx",
    ]  # fmt: skip
    found: dict[str, Any] = {name: getattr(params, name) for name in names}
    found["chat_template"] = (
        None if chat_template is None else hashlib.sha256(chat_template.encode()).hexdigest()
    )
    if lora_path is not None:
        with Path(lora_path).open("rb") as file:
            digest = hashlib.sha256()
            while part := file.read(1 << 22):
                digest.update(part)
        found["lora"] = [digest.hexdigest(), lora_scale]
    return found
