"""Options of a model under llama.cpp's names: the values that have names, and defaults."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rys import _core

__all__ = [
    "GGML_TYPES",
    "ROPE_SCALING_TYPES",
    "SPLIT_MODES",
    "default_n_seq_few",
    "default_n_seq_max",
    "default_n_threads",
]

# The types that a KV cache may have, with ggml's numbers.
GGML_TYPES = {
    "f32": 0,
    "f16": 1,
    "q4_0": 2,
    "q4_1": 3,
    "q5_0": 6,
    "q5_1": 7,
    "q8_0": 8,
    "iq4_nl": 20,
    "bf16": 30,
}
SPLIT_MODES = {"none": 0, "layer": 1, "row": 2, "tensor": 3}
ROPE_SCALING_TYPES = {"none": 0, "linear": 1, "yarn": 2, "longrope": 3}


def default_n_seq_max(is_recurrent: bool) -> int:
    """Return how many sequences run in parallel by default.

    Args:
        is_recurrent: Whether each sequence has a state of its own, which takes memory from the
            start; cells of a KV cache are shared.
    """
    return 16 if is_recurrent else 64


def default_n_seq_few(core: _core.Weights, params: _core.ContextParams) -> int | None:
    """Return how many sequences run in parallel by default in calls with as few requests.

    Args:
        core: The weights.
        params: The options of a context.

    Returns:
        A number for models whose every sequence takes memory from the start: that of a window, or
        of a recurrent state. None for all others, which lose nothing by room for many.
    """
    has_windows = any(layer.has_window for layer in core.layers) and not params.swa_full
    takes_memory = has_windows or any(layer.is_recurrent for layer in core.layers)
    # a conversation beside another one, and what both may go back to
    return 4 if takes_memory else None


def default_n_threads() -> int:
    """Return the number of physical cores that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        n_cpu = os.cpu_count() or 1
        # macOS has no hyper-threads; elsewhere two to a core are usual
        return n_cpu if sys.platform == "darwin" else max(1, n_cpu // 2)
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        # all threads of a core list the same siblings, such as "0,4"; some containers hide them
        cores.add(siblings.read_text().strip() if siblings.exists() else str(cpu))
    return max(1, len(cores))
