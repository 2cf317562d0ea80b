"""One entry of a file and its fields, checked.

Entries come from outside: every field is checked, and an error names the file, the entry and what
was expected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from rys.errors import ProbeError
from rys.probes.base import Item
from rys.probes.parsers import LARGEST_EXPONENT

__all__ = ["MAX_TOKENS", "Entry", "Record", "Settings", "is_token_limit", "preview"]

MAX_ENTRY_BYTES = 1 << 20
MAX_TOKENS = 32_768  # of an answer
_MAX_PREVIEW = 60  # characters of a value in an error


@dataclass(frozen=True)
class Entry:
    """An item of a file with what it is known by.

    Attributes:
        key: The question, without examples and instructions; it decides on the split.
        answer: The right answer, as the file has it.
        item: The item.
    """

    key: str
    answer: str
    item: Item


@dataclass(frozen=True)
class Settings:
    """How a file is to be read; see `rys.probes.files.load`.

    Attributes:
        name: The file's name, without its suffix.
        scoring: How answers are read or scored, where a format leaves a choice; None = as usual.
        max_tokens: Of written answers; None = what suits the format.
        examples: Messages with examples of reasoning, which stand before each question.
    """

    name: str
    scoring: str | None = None
    max_tokens: int | None = None
    examples: tuple[Mapping[str, str], ...] = ()

    def choose(self, allowed: Sequence[str], default: str) -> str:
        """Return the scoring, or the default if none was asked for.

        Raises:
            ProbeError: The scoring is not one of those allowed.
        """
        if self.scoring is None:
            return default
        if self.scoring not in allowed:
            ways = "has one way of scoring only"
            if allowed:
                ways = f"can be scored by {', '.join(allowed)}"
            raise ProbeError(f"scoring is {self.scoring!r}, but {self.name} {ways}")
        return self.scoring


class Record:
    """One JSON object of a file, which knows where it stands when something is wrong with it.

    Attributes:
        where: The words that say where it stands, for errors.
        value: The object.
    """

    def __init__(self, where: str, value: Any) -> None:
        """Check an entry.

        Args:
            where: The words that say where it stands, such as "mine.jsonl, line 3".
            value: The parsed JSON.

        Raises:
            ProbeError: It is not an object, is too large or too deep, or has no valid text.
        """
        self.where = where
        if not isinstance(value, dict):
            raise self.error(f"it is {preview(value)}, but must be an object")
        try:
            n_bytes = len(json.dumps(value, ensure_ascii=False).encode("utf-8"))
        except UnicodeEncodeError as error:
            raise self.error(
                "it holds half of a surrogate pair (\\ud800..\\udfff), which is no character"
            ) from error
        except RecursionError as error:
            raise self.error("it is nested too deeply") from error
        if n_bytes > MAX_ENTRY_BYTES:
            raise self.error(f"it has {n_bytes} bytes, but at most {MAX_ENTRY_BYTES} are read")
        self.value: dict[str, Any] = value

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def error(self, message: str) -> ProbeError:
        """Return the error that says what is wrong here."""
        return ProbeError(f"{self.where}: {message}")

    def text(self, *names: str) -> str:
        """Return the text under the first of these names that is there, as it stands.

        Raises:
            ProbeError: None is there, or it is not a text, or it is blank.
        """
        name = next((name for name in names if name in self.value), None)
        if name is None:
            wanted = " or ".join(map(repr, names))
            raise self.error(f"it has no {wanted}; it has {', '.join(map(repr, self.value))}")
        value = self.value[name]
        if not _is_text(value):
            raise self.error(f"{name!r} is {preview(value)}, but must be a text that is not blank")
        text: str = value
        return text

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the list of texts under a name.

        Raises:
            ProbeError: It is not a list, is empty, or holds something else than texts.
        """
        value = self.value.get(name)
        if not isinstance(value, list) or not value or not all(map(_is_text, value)):
            raise self.error(
                f"{name!r} is {preview(value)}, but must be a list of texts that are not blank"
            )
        return tuple(value)

    def scalar(self, name: str) -> str:
        """Return the text or number under a name as a text.

        Raises:
            ProbeError: It is something else, or is not finite.
        """
        value = self.value.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self.text(name)
        if not math.isfinite(value):
            raise self.error(f"{name!r} is {value}, but must be finite")
        return str(value)

    def number(self, name: str) -> Decimal:
        """Return the number under a name, which may also be written as a text.

        Raises:
            ProbeError: It is not a number, or is too large to be written out.
        """
        text = self.scalar(name)
        try:
            number = Decimal(text.replace(",", "").strip())
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or abs(number.adjusted()) > LARGEST_EXPONENT:
            raise self.error(f"{name!r} is {preview(text)}, but must be a number")
        return number


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def is_token_limit(value: Any) -> bool:
    """Return whether a value is a number of tokens that an answer may have."""
    return type(value) is int and 1 <= value <= MAX_TOKENS


def preview(value: Any) -> str:
    """Return a value as an error shows it: cut if it is long, "missing" for None."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= _MAX_PREVIEW else text[: _MAX_PREVIEW - 3] + "..."
