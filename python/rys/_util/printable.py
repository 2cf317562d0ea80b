"""Text of unknown origin, made fit for a terminal."""

from __future__ import annotations

import re

__all__ = ["printable"]

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")


def printable(text: str, limit: int | None = 200, keep: str = "") -> str:
    """Return a text without what would steer the terminal: escape sequences vanish, other controls
    become spaces.

    limit: characters, behind which the text is cut; None = all. keep: characters to leave, such as
        a newline.
    """
    cut = text if limit is None else text[: 4 * limit]
    clean = "".join(
        c if c.isprintable() or c in keep else " " for c in _ESCAPE_SEQUENCE.sub("", cut)
    )
    return clean if limit is None or len(clean) <= limit else clean[: limit - 3] + "..."
