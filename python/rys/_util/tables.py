"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["table"]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows under a header.

    Columns that hold only figures are aligned to the right, the others to the left.

    Args:
        header: A title for each column.
        rows: Cells, which are printed as `str` prints them.
    """
    columns = []
    for number, title in enumerate(header):
        cells = [row[number] for row in rows]
        to_right = bool(cells) and all(map(_is_figure, cells))
        columns.append(_align([title, *map(str, cells)], to_right))
    lines = map("  ".join, zip(*columns, strict=True))
    return "\n".join(map(str.rstrip, lines))


def _is_figure(cell: object) -> bool:
    """Return whether a cell is a number, or a text that begins as one, such as "12 GB" or "<1%"."""
    return not isinstance(cell, str) or cell[:1] in "0123456789+-[.<"


def _align(column: Sequence[str], to_right: bool) -> list[str]:
    width = max(map(len, column))
    return [cell.rjust(width) if to_right else cell.ljust(width) for cell in column]
