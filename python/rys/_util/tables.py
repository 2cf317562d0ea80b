"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["table"]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out rows under a header. Columns that hold only figures stand to the right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [
        all(not isinstance(cell, str) or cell[:1] in "0123456789+-[.<" for cell in column)
        for column in zip(*rows, strict=True)
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(
                row, widths, right or [False] * len(widths), strict=True
            )
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)
