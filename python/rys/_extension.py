"""Load the extension module `rys._core`, apart from any other copy of llama.cpp in the process.

rys's libraries have names of their own, so another package's llama.cpp (llama-cpp-python's, say) is
never taken for
them. One way to collide is left on Linux: a copy loaded with `RTLD_GLOBAL` offers its symbols to
every library that is
loaded later, ours too. Then, and only then, ours are told to look among themselves first.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import ModuleType


def load_core() -> ModuleType:
    """Import `rys._core` and return it.

    Raises `ImportError`, which says how to build it, if it is missing or does not load.
    """
    if not hasattr(sys, "setdlopenflags"):
        return _import_core()
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
    return hasattr(ctypes.CDLL(None), "ggml_init")


def _import_core() -> ModuleType:
    try:
        from rys import _core
    except ImportError as error:
        raise ImportError(_explain(error, Path(__file__).parent), name="rys._core") from error
    return _core


def _explain(error: ImportError, package: Path) -> str:
    built = sorted(path.name for path in package.glob("_core.*") if path.suffix in (".so", ".pyd"))
    if isinstance(error, ModuleNotFoundError) or "cannot import name" in str(error):
        if built:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            what = f"rys was built for another Python than this one ({version}): {', '.join(built)} in {package}."
        else:
            what = f"rys's extension module is not built: there is no rys._core in {package}."
    else:
        what = f"rys's extension module does not load: {error}."
    return (
        f"{what}\nBuild it with `pip install .` in rys's source tree; if you work on rys, with"
        f" `pip install --no-build-isolation -Ceditable.rebuild=true -e .`"
    )
