"""What this rys is made of: versions, compiled backends, devices."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from rys import _core


def build_info() -> dict[str, Any]:
    """Return what rys was built from and what it can compute on.

    Returns:
        A dict with these keys:

        - rys_version: Version of this package.
        - llama_cpp_version, llama_cpp_commit, ggml_version: What upstream calls itself; "unknown"
          where it does not say.
        - llama_cpp_origin: Where llama.cpp was taken from: the pinned source distribution, or
          `RYS_LLAMA_CPP_SOURCE`.
        - system_info: Instruction sets and options that were compiled in, in llama.cpp's words.
        - backends: Names of the compiled backends, such as "CPU" and "CUDA".
        - devices: A dict for each device that is present: name, description, type ("cpu", "gpu",
          "igpu", "accel" or "meta"), memory_free and memory_total in bytes at this time. llama.cpp
          reports a CPU's whole memory as free.
    """
    return {"rys_version": version("rys"), **_core.build_info()}
