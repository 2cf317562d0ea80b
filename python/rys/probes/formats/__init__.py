"""The forms of question files that `rys.probes.files` reads.

Each form is a module with `matches`, which tells it by the entries, and `read`, which makes items
of them. A new one is a file like those here and one line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rys.probes.formats import bbh, entries, eq_bench, gsm8k, mbpp, questions
from rys.probes.formats.record import Entry, Record, Settings, preview

__all__ = ["FORMATS", "Format", "format_of"]


class Format(Protocol):
    """What the module of a format has.

    Attributes:
        FIELDS: The fields by which it is told, for the error that lists all formats.
    """

    FIELDS: str

    def matches(self, records: Sequence[Record]) -> bool:
        """Return whether the entries of a file, at least one, are of this format."""

    def read(self, records: Sequence[Record], settings: Settings) -> list[Entry]:
        """Return the items of the entries.

        Raises:
            ProbeError: An entry is not as the format wants it, or a setting does not suit it.
        """


# The first that matches is taken, so one that asks for more stands before one that asks for less.
FORMATS: dict[str, Format] = {
    "entries": entries,
    "bbh": bbh,
    "gsm8k": gsm8k,
    "questions": questions,
    "eq": eq_bench,
    "mbpp": mbpp,
}


def format_of(records: Sequence[Record]) -> str:
    """Return the name of the format of a file.

    Args:
        records: The file's entries, at least one.

    Raises:
        ProbeError: No format matches.
    """
    for name, file_format in FORMATS.items():
        if file_format.matches(records):
            return name
    known = "; ".join(file_format.FIELDS for file_format in FORMATS.values())
    first = records[0]
    raise first.error(
        f"its fields are {preview(list(first.value))}, but it must have those of one format: "
        f"{known}"
    )
