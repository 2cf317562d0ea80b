"""The reference model that comes with rys: real weights in which one block helps when it repeats.

See docs/reference_model.md for how it was trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rys.engine.model import Model

__all__ = ["reference_model", "reference_model_path"]


def reference_model_path() -> Path:
    """Return the reference model's file, which lies in the package."""
    return Path(__file__).parent / "data" / "reference.gguf"


def reference_model(layer_path: Any = None, **options: Any) -> Model:
    """Load the reference model: 12 layers, and one block that helps when it runs twice.

    Args:
        layer_path: As for rys.Model.
        options: As for rys.Model.
    """
    return Model(reference_model_path(), layer_path, **options)
