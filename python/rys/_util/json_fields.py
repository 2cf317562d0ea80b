"""Fields of a JSON document that somebody else wrote: a value of a wrong type counts as missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["count", "mapping", "number"]


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object; an empty one if the value is not an object."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float:
    """Return a number, also if it was written as text; NaN if the value is not a number."""
    if value in ("True", "False"):
        return float(value == "True")
    if not isinstance(value, (bool, int, float, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):  # a word, or an integer of 400 digits
        return math.nan


def count(value: Any) -> int | None:
    """Return a number of items; None if the value is not a positive integer."""
    # bool is a subclass of int. Beyond 2**53 a float does not hold every integer.
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53
    return value if is_count else None
