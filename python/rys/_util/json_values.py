"""Values as JSON can hold them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["json_value"]


def json_value(value: Any, n_digits: int | None = None) -> Any:
    """Return a value as JSON can hold it: NaN and infinity become None.

    Args:
        value: Anything, nested in dicts, lists and tuples; numpy's scalars are taken out of it.
        n_digits: Digits after the decimal point of floats; None for all.
    """
    if isinstance(value, dict):
        return {key: json_value(inner, n_digits) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(inner, n_digits) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if n_digits is None else round(value, n_digits)
    return value
