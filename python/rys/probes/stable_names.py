"""Names of functions that stay the same when the functions are renamed or moved.

The hash of an item tells by which functions its answer is read and scored, and files of sweeps
hold these hashes. A function that is part of an item therefore has a name of its own for the hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["stable_name", "stable_name_of"]

Function = TypeVar("Function", bound=Callable[..., Any])


def stable_name(name: str) -> Callable[[Function], Function]:
    """Give a function the name by which hashes of items know it.

    Args:
        name: The name. Never change one: items would get other hashes, and sweeps that were begun
            could not go on.

    Returns:
        A decorator that returns the function itself.
    """

    def decorate(function: Function) -> Function:
        function.stable_name = name  # type: ignore[attr-defined]
        return function

    return decorate


def stable_name_of(function: Callable[..., Any]) -> str:
    """Return the name by which hashes of items know a function.

    Args:
        function: Any function.

    Returns:
        The name that `stable_name` gave it, else its qualified name.
    """
    name: str = getattr(function, "stable_name", None) or function.__qualname__
    return name
