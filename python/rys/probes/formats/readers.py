"""From a file to its entries: JSON lines, or one JSON document.

A document is an array of entries, an object of entries by name, or an object with the array under
"examples" (BIG-Bench-Hard). Files come from outside: sizes are limited, and nothing but UTF-8 JSON
is taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rys.errors import ProbeError
from rys.probes.formats.record import Record

__all__ = ["read_records", "read_text"]

MAX_FILE_BYTES = 256 << 20
MAX_LINE_BYTES = 1 << 20


def read_text(path: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        ProbeError: The file is missing, too large, empty, not UTF-8, or no file.
    """
    try:
        if not path.exists():
            raise ProbeError(f"{path} does not exist")
        if not path.is_file():  # a pipe would block, and a device never ends
            raise ProbeError(f"{path} is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ProbeError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ProbeError(
            f"{path} has more than {MAX_FILE_BYTES} bytes, which is the most that is read"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProbeError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    if not text.strip():
        raise ProbeError(f"{path} is empty")
    return text


def read_records(path: Path) -> list[Record]:
    """Return the entries of a file.

    Raises:
        ProbeError: The file cannot be read, is not JSON, holds something else than objects, or
            holds none.
    """
    records = [Record(where, value) for where, value in _values(path, read_text(path))]
    if not records:
        raise ProbeError(f"{path} holds no questions")
    return records


def _values(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a text, each with the words that say where it stands."""
    try:
        document = _parse(text)
    except ValueError as error:
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(lines) == 1 or not _is_json(lines[0][1]):
            raise ProbeError(f"{path} is not JSON: {error}") from error
        yield from _line_values(path, lines)
        return
    if isinstance(document, dict) and isinstance(document.get("examples"), list):
        document = document["examples"]
    if isinstance(document, list):
        for i, value in enumerate(document, 1):
            yield f"{path}, entry {i}", value
    elif _is_object_of_objects(document):
        for name, value in document.items():
            yield f"{path}, entry {name!r}", value
    else:
        # JSON lines with a single one; anything else is refused as an entry
        yield f"{path}, line 1", document


def _is_object_of_objects(document: Any) -> bool:
    return isinstance(document, dict) and all(isinstance(v, dict) for v in document.values())


def _line_values(path: Path, lines: Sequence[tuple[int, str]]) -> Iterator[tuple[str, Any]]:
    """Yield the value of each line, with the words that say where it stands."""
    for i, line in lines:
        where = f"{path}, line {i}"
        # The first test is cheap, and saves encoding a long line.
        if len(line) > MAX_LINE_BYTES or len(line.encode("utf-8")) > MAX_LINE_BYTES:
            raise ProbeError(
                f"{where}: it has more than {MAX_LINE_BYTES} bytes, which is the most that is read"
            )
        try:
            yield where, _parse(line)
        except ValueError as error:
            raise ProbeError(f"{where}: it is not JSON: {error}") from error


def _parse(text: str) -> Any:
    """Return the value of a JSON text. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    # Python's json reads NaN and Infinity, which are not in the standard.
    raise ValueError(f"{constant} is not a number in JSON")


def _is_json(text: str) -> bool:
    try:
        _parse(text)
    except ValueError:
        return False
    return True
