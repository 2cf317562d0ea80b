"""What this rys is made of: versions, compiled backends, devices."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from rys import _core


def build_info() -> dict[str, Any]:
    """Return what rys was built from and what it can compute on.

    Keys:
        rys_version: version of this package.
        llama_cpp_version, llama_cpp_commit, ggml_version: what upstream calls itself; "unknown"
        where it does not say.
        llama_cpp_origin: where llama.cpp was taken from: the pinned source distribution, or
        `RYS_LLAMA_CPP_SOURCE`.
        system_info: instruction sets and options that were compiled in, in llama.cpp's words.
        backends: names of the compiled backends, such as "CPU" and "CUDA".
        devices: one dict for each device that is there: name, description, type ("cpu", "gpu",
            "igpu", "accel" or "meta"), memory_free and memory_total in bytes, as of now. llama.cpp
            reports a CPU's whole memory as free.
    """
    return {"rys_version": version("rys"), **_core.build_info()}
