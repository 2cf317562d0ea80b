"""Checks of numbers and choices that a caller gives. Errors name the option and what is allowed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rys.errors import RequestError

__all__ = ["boolean", "choice", "integer", "number"]


def boolean(name: str, value: Any) -> bool:
    """Check that an option is True or False.

    Args:
        name: Name of the option, for the message.
        value: What was given.

    Returns:
        The value.

    Raises:
        RequestError: If it is anything else, such as a word or a number.
    """
    if not isinstance(value, bool):
        raise RequestError(f"{name} is {value!r}, but must be True or False")
    return value


def integer(name: str, value: Any, low: int, high: int = 2**31 - 1) -> int:
    """Check that an option is an integer in a range.

    Args:
        name: Name of the option, for the message.
        value: What was given; any type with `__index__`, but no bool.
        low: Smallest value allowed.
        high: Largest value allowed; the default is the largest int of C.

    Returns:
        The value as an int.

    Raises:
        RequestError: It is not an integer, or out of range.
    """
    # numpy's integers have __index__ as well
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise RequestError(f"{name} is {value!r}, but must be an integer")
    if not low <= int(value) <= high:
        raise RequestError(f"{name} is {value}, but must be {low}..{high}")
    return int(value)


def number(name: str, value: Any, low: float, high: float = float("inf")) -> float:
    """Check that an option is a finite number in a range.

    Args:
        name: Name of the option, for the message.
        value: What was given; any type with `__float__`, but no bool.
        low: Smallest value allowed.
        high: Largest value allowed.

    Returns:
        The value as a float.

    Raises:
        RequestError: It is not a number, not finite, or out of range.
    """
    is_number = hasattr(value, "__float__") and not isinstance(value, bool)
    # a NaN fails every comparison, and so the first of these
    if not is_number or not low <= value <= high or abs(value) > sys.float_info.max:
        raise RequestError(f"{name} is {value!r}, but must be {low:g}..{high:g}")
    return float(value)


def choice(name: str, value: Any, choices: Mapping[str, int]) -> int:
    """Check that an option is one of several.

    Args:
        name: Name of the option, for the message.
        value: What was given: a name in any case, or a number.
        choices: The numbers of llama.cpp by name.

    Returns:
        The number.

    Raises:
        RequestError: The value is none of the choices.
    """
    if isinstance(value, str) and value.lower() in choices:
        return choices[value.lower()]
    if isinstance(value, int) and not isinstance(value, bool) and value in choices.values():
        return value
    raise RequestError(f"{name} is {value!r}, but must be one of {', '.join(choices)}")
