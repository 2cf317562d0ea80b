"""Text of unknown origin, made fit for a terminal."""

from __future__ import annotations

import re

__all__ = ["printable"]

# Escape sequences of a terminal, whole or cut off: a control sequence such as "\x1b[31m" (red), an
# operating system command such as "\x1b]0;title\x07" (set the title), or any other character after
# the escape, such as "\x1bc" (reset).
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")


def printable(text: str, limit: int | None = 200, keep: str = "") -> str:
    """Return a text without what would control the terminal.

    Escape sequences are removed, and other control characters become spaces.

    Args:
        text: Any text.
        limit: The longest result in characters, behind which the text is cut; None for no limit.
        keep: Control characters to leave in, such as a newline.
    """
    # a hostile text may be huge: what is cut off anyway is not searched
    start = text if limit is None else text[: 4 * limit]
    without_escapes = _ESCAPE_SEQUENCE.sub("", start)
    characters = [c if c.isprintable() or c in keep else " " for c in without_escapes]
    clean = "".join(characters)
    if limit is None or len(clean) <= limit:
        return clean
    return clean[: limit - 3] + "..."
