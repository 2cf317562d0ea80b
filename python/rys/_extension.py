"""Load the extension module `rys._core`, apart from any other copy of llama.cpp in the process.

rys's libraries have names of their own, so the llama.cpp of another package (llama-cpp-python, for
example) is never taken for them. One way to collide is left on Linux: a copy that is loaded with
`RTLD_GLOBAL` offers its symbols to every library that is loaded later, also to ours. Only then are
ours told to look among themselves first.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import ModuleType


def load_core() -> ModuleType:
    """Import `rys._core` and return it.

    Raises:
        ImportError: The module is missing or does not load. The message says how to build it.
    """
    if not hasattr(sys, "setdlopenflags"):
        return _import_core()
    # Always RTLD_DEEPBIND would hide allocators and sanitizers that a user preloads.
    flags = os.RTLD_NOW | os.RTLD_LOCAL
    if hasattr(os, "RTLD_DEEPBIND") and _is_foreign_ggml_global():
        flags |= os.RTLD_DEEPBIND
    before = sys.getdlopenflags()
    sys.setdlopenflags(flags)
    try:
        return _import_core()
    finally:
        sys.setdlopenflags(before)


def _is_foreign_ggml_global() -> bool:
    """Return whether another ggml offers its symbols to all libraries."""
    # without a name, CDLL looks where the loader looks for symbols of new libraries
    return hasattr(ctypes.CDLL(None), "ggml_init")


def _import_core() -> ModuleType:
    try:
        from rys import _core
    except ImportError as error:
        raise ImportError(_explain(error, Path(__file__).parent), name="rys._core") from error
    return _core


def _explain(error: ImportError, package: Path) -> str:
    """Say why the extension did not load, and how to build it."""
    files = sorted(path.name for path in package.glob("_core.*"))
    built = [name for name in files if name.endswith((".so", ".pyd"))]
    # for a module that is not there, `from rys import _core` says "cannot import name"
    if isinstance(error, ModuleNotFoundError) or "cannot import name" in str(error):
        if built:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            found = f"{', '.join(built)} in {package}"
            what = f"rys was built for another Python than this one ({version}): {found}."
        else:
            what = f"rys's extension module is not built: there is no rys._core in {package}."
    else:
        what = f"rys's extension module does not load: {error}."
    return (
        f"{what}\nBuild it with `pip install .` in rys's source tree; if you work on rys, with"
        f" `pip install --no-build-isolation -Ceditable.rebuild=true -e .`"
    )
