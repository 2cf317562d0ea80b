"""Patterns for a fixed list of words or labels, and for what may stand around one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["FILLER", "LINE_ENDS", "any_of", "index_of"]

_LETTER = "[^\\W\u3040-\u9fff]"  # Chinese and Japanese set no spaces around a word
# " most likely (", " that it is: **"
FILLER = (
    r"(?:[\s*_:,\"']{0,4}\b(?:the|that|it|is|it's|option|choice|letter|answer|correct|most|likely"
    r"|probably|definitely|clearly|therefore|thus|still|simply|indeed|on|would|be)\b){0,5}"
    r"[\s*_:,\"'<>({\[$\\-]{0,8}"
)
# the ")." of "(B).", at the end of a line
LINE_ENDS = re.compile(r"[)\]}>\"'*_.!$\\]{0,4}[ ]{0,8}(?:\Z|\n)")

_GROUP = re.compile(r"w\d+")  # "w0", the group of the first word


def any_of(words: Sequence[str]) -> str:
    """Return a pattern of whole words.

    Args:
        words: The words or phrases. Any number of spaces up to 3 may stand within a phrase.

    Returns:
        A pattern with the group "w0" for the first word and so on, and "label" for any of them. It
        matches nothing if all words are blank.
    """
    # The longest first, so that "not plausible" is not read as "plausible".
    longest_first = sorted(range(len(words)), key=lambda index: -len(words[index]))
    groups = []
    for index in longest_first:
        parts = words[index].split()
        if parts:
            groups.append(f"(?P<w{index}>{'[ ]{1,3}'.join(map(re.escape, parts))})")
    return rf"(?<!{_LETTER})(?<!\w-)(?P<label>{'|'.join(groups) or '(?!)'})(?!{_LETTER})"


def index_of(match: re.Match[str]) -> int:
    """Return which of the words of `any_of` a match found."""
    for name, found in match.groupdict().items():
        if found and _GROUP.fullmatch(name):
            return int(name[1:])
    raise ValueError("the pattern of the match does not come from any_of")
