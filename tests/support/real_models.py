"""Real models, which lie where RYS_REAL_MODELS says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["real_model"]


def real_model(name: str) -> Path:
    """Return the file of a real model; skip the test where there is none.

    Args:
        name: The beginning of its name, such as "smollm2".
    """
    folder = os.environ.get("RYS_REAL_MODELS")
    if not folder:
        pytest.skip("needs real models: RYS_REAL_MODELS is not set")
    found = sorted(Path(folder).glob(f"{name}*.gguf"))
    if not found:
        pytest.skip(f"needs a real model: {folder} has no {name}*.gguf")
    return found[0]
