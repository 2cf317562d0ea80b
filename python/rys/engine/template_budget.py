"""What rendering one chat template may cost: limits, and a budget that is charged.

Jinja's sandbox keeps a template from reaching Python, but not from exhausting memory or time. So
what can make a big value out of small ones is bounded before it is computed, what remains is paid
from a budget, and every loop and call looks at the clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

__all__ = [
    "BUDGET",
    "Budget",
    "check_bits",
    "check_clock",
    "check_digits",
    "check_size",
    "check_width",
    "iterate",
    "join",
    "measured",
    "pay",
    "printed_size",
    "size_of",
    "stop",
    "text_of",
]

MAX_CHARACTERS = 16 * 1024 * 1024  # of the rendered prompt, and of any value on the way
MAX_TOTAL_CHARACTERS = 256 * 1024 * 1024  # of all values that one rendering makes
MAX_SECONDS = 10.0
MAX_INTEGER_BITS = 4096
MAX_FIELD_WIDTH = 10_000  # of `%9d` and `{:9}`, and of an indent in JSON
CHARACTERS_PER_ELEMENT = 64  # what an element of a list, with its object, counts for

T = TypeVar("T")


@dataclass
class Budget:
    """What one rendering may call, and what it has used.

    Attributes:
        callables: Functions that the caller passed in for the template to call.
        characters: Size of all values that were made so far.
        deadline: When the rendering must have ended, by time.monotonic().
    """

    callables: tuple[Any, ...]
    characters: int = 0
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)


BUDGET: ContextVar[Budget] = ContextVar("rys_chat_template_budget")


def stop(reason: str) -> NoReturn:
    """End the rendering."""
    raise SecurityError(reason)


def check_clock() -> None:
    """Stop a rendering that takes too long."""
    if time.monotonic() > BUDGET.get().deadline:
        stop(f"it runs for more than {MAX_SECONDS:g} seconds")


def check_size(characters: int) -> None:
    """Stop a rendering that makes too large a value."""
    if characters > MAX_CHARACTERS:
        stop(f"it makes a value or a prompt of more than {MAX_CHARACTERS} characters")


def check_bits(bits: int) -> None:
    """Stop a rendering that makes too large an integer."""
    if bits > MAX_INTEGER_BITS:
        stop(f"it makes an integer of more than {MAX_INTEGER_BITS} bits")


def check_width(width: int) -> None:
    """Stop a rendering that makes too wide a field."""
    if width > MAX_FIELD_WIDTH:
        stop(f"it makes a field of more than {MAX_FIELD_WIDTH} characters")


def check_digits(digits: str) -> int:
    """Return the width of a field that is written out; `*` is refused."""
    # 9 digits are too many anyway, and int() of millions of them takes long
    width = int(digits) if digits.isdigit() and len(digits) < 9 else MAX_FIELD_WIDTH + 1
    check_width(width)
    return width


def size_of(value: Any) -> int:
    """Return about how much memory a value takes by itself, in characters."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, Namespace):
        value = value._Namespace__attrs
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return CHARACTERS_PER_ELEMENT * len(value)
    return 0


def printed_size(*values: Any) -> int:
    """Return about how many characters values print, and stop where they are too many."""
    # What lists within lists print can grow exponentially, while the lists share their memory.
    size, stack = 0, list(values)
    while stack:
        value = stack.pop()
        size += 8
        if isinstance(value, (str, bytes)):
            size += len(value)
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack.extend(value)
        elif isinstance(value, Mapping):
            stack.extend(value.keys())
            stack.extend(value.values())
        elif isinstance(value, Namespace):
            stack.append(value._Namespace__attrs)
        check_size(size)
    return size


def pay(value: T) -> T:
    """Charge a new value to the budget and return it."""
    check_clock()
    check_size(size_of(value))
    budget = BUDGET.get()
    budget.characters += size_of(value)
    if budget.characters > MAX_TOTAL_CHARACTERS:
        stop(f"it makes values of more than {MAX_TOTAL_CHARACTERS} characters in total")
    return value


def measured(value: T) -> T:
    """Return a value if it is not too large to be compared or searched."""
    check_clock()
    if isinstance(value, (list, tuple, Mapping, Namespace)):
        printed_size(value)
    return value


def iterate(values: Iterable[T]) -> Iterator[T]:
    """Yield values, with a look at the clock before each."""
    for value in values:
        check_clock()
        yield value


def text_of(value: Any) -> str:
    """Return a value as it is printed."""
    return str(measured(value))


def join(parts: Iterable[str], separator: str = "") -> str:
    """Join texts, and stop before the whole is too large."""
    collected: list[str] = []
    size = 0
    for part in iterate(parts):
        size += len(part) + len(separator)
        check_size(size)
        collected.append(part)
    return pay(separator.join(collected))
