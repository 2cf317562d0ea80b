"""Dataclasses as JSON documents, and back with every type checked.

The annotations of a dataclass are its schema: `bool`, `int`, `float`, `str`, `None`, `Any`, unions
of these, `tuple[X, ...]` (a list in JSON), `dict[str, X]`, another dataclass, and
`Annotated[int, range(1, 101)]` for whole numbers within a range.
"""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["RecordError", "differences", "from_json", "to_json"]

Record = TypeVar("Record")

# SQLite and the seeds of numpy take integers of 64 bits.
_LARGEST_INTEGER = 2**63


class RecordError(ValueError):
    """A document does not have the fields or types of its dataclass."""


def to_json(record: Any) -> dict[str, Any]:
    """Return a dataclass as JSON holds it: tuples become lists.

    Raises:
        TypeError: A value is nothing that JSON can hold.
    """
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    for name, value in values.items():
        values[name] = _plain(value)
    # Through the text and back: what cannot be stored fails here and not when it is read.
    document: dict[str, Any] = json.loads(json.dumps(values))
    return document


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_json(value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def from_json(kind: type[Record], document: Any) -> Record:
    """Return the dataclass of a document. Names that it does not know are passed over.

    Args:
        kind: The dataclass.
        document: What the JSON parser returned.

    Raises:
        RecordError: A field is missing or has a wrong type; the message names it.
    """
    if not isinstance(document, dict):
        raise RecordError(f"its {kind.__name__} is {reprlib.repr(document)}")
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]  # Record is always a dataclass
        if field.name not in document and _has_default(field):
            continue
        value = document.get(field.name)
        try:
            values[field.name] = _read(value, hints[field.name])
        except RecordError:
            raise RecordError(f"its {field.name} is {reprlib.repr(value)}") from None
    return kind(**values)


# The same few classes are asked for again and again, and resolving annotations is slow.
@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _read(value: Any, hint: Any) -> Any:
    """Return a value of a document in the form that its annotation says."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        number = _read(value, inner[0])
        if any(number not in allowed for allowed in inner[1:]):
            raise RecordError
        return number
    if origin in (Union, UnionType):
        return _read_any_of(value, inner)
    if origin is tuple and isinstance(value, list):
        return tuple([_read(element, inner[0]) for element in value])
    if origin is dict and isinstance(value, dict):
        return {name: _read(element, inner[1]) for name, element in value.items()}
    if is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value)
    if not _is_scalar_of(value, hint):
        raise RecordError
    return value


def _read_any_of(value: Any, hints: tuple[Any, ...]) -> Any:
    for hint in hints:
        try:
            return _read(value, hint)
        except RecordError:
            continue
    raise RecordError


def _is_scalar_of(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if hint is float:  # JSON writes 1.0 as 1 where another program wrote it
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if hint is int:  # a bool is an int to isinstance
        return type(value) is int and abs(value) < _LARGEST_INTEGER
    return type(value) is hint


def differences(old: Any, new: Any) -> Iterator[str]:
    """Yield in words what of one dataclass differs from another of its kind.

    Yields:
        Such as "items was 64 and is 32".
    """
    yield from _differences(to_json(old), to_json(new), "")


def _differences(old: dict[str, Any], new: dict[str, Any], within: str) -> Iterator[str]:
    # A dict of both keeps the order of the fields, which a set would not.
    for name in {**old, **new}:
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{within}{name}.")
        elif before != after:
            yield f"{within}{name} was {before!r} and is {after!r}"
