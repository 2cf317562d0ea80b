"""Free texts as answers: what was stated, or the first paragraph."""

from __future__ import annotations

import re
from collections.abc import Callable

from rys.probes.parsers.normalise import boxed, without_tags
from rys.probes.parsers.statements import last_stated_line
from rys.probes.stable_names import stable_name

__all__ = ["parse_symbols", "parse_words", "text_parser"]

_PARAGRAPH_END = re.compile(r"\n\s*\n")  # "\n\n", "\n  \n"


# The names in hashes are older than the functions' names.
@stable_name("read_words")
def parse_words(text: str) -> str | None:
    """Return the words of a stated answer, else of the first paragraph.

    Args:
        text: The answer.

    Returns:
        The words in lower case, without punctuation around them; None if there are none.
    """
    words = []
    for word in _said(text).casefold().split():
        stripped = word.strip(".,;:!?\"'`*()[]\u201c\u201d\u2018\u2019")
        if stripped:
            words.append(stripped)
    return " ".join(words) or None


@stable_name("read_symbols")
def parse_symbols(text: str) -> str | None:
    """Return the signs of an answer that has neither letters nor digits, such as brackets.

    Args:
        text: The answer.

    Returns:
        The signs without spaces, letters, digits and punctuation; None if there are none.
    """
    ignored = ".,;:\"'`*"
    signs = [c for c in _said(text) if not (c.isalnum() or c.isspace() or c in ignored)]
    return "".join(signs) or None


def text_parser(answer: str) -> Callable[[str], str | None]:
    """Return the parser for answers like this one: of words, or of signs if it has no word."""
    return parse_words if any(map(str.isalnum, answer)) else parse_symbols


def _said(text: str) -> str:
    text = without_tags(text)
    stated = boxed(text) or last_stated_line(text) or text
    return _PARAGRAPH_END.split(stated.strip())[0]
