"""The reference model that comes with rys: real weights with a planted circuit; see
docs/reference_model.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rys.engine.model import Model

__all__ = ["reference_model", "reference_model_path"]


def reference_model_path() -> Path:
    """Return where the reference model's file lies in the package."""
    return Path(__file__).parent / "data" / "reference.gguf"


def reference_model(layer_path: Any = None, **options: Any) -> Model:
    """Load the reference model: 12 layers, trained by us, with one block that helps when it runs
    twice.

    layer_path, options: those of Model.
    """
    return Model(reference_model_path(), layer_path, **options)
