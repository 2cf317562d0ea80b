"""Text of messages and tables about files that somebody else wrote."""

from __future__ import annotations

from collections.abc import Iterable

from rys._util.printable import printable

__all__ = ["summarise", "terminal_text"]


def terminal_text(value: object) -> str:
    """Return a value from a file as a terminal can show it, at full length.

    Names of tasks are keys too, so they must not be cut.
    """
    return printable(str(value), limit=None)


def summarise(names: Iterable[object], n_shown: int = 5) -> str:
    """Return the first names, fit for a terminal, and how many more there are."""
    texts = list(map(terminal_text, names))
    shown = ", ".join(texts[:n_shown])
    n_more = len(texts) - n_shown
    return f"{shown} and {n_more} more" if n_more > 0 else shown
