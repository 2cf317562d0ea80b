"""Answers that give one word or phrase of a list."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rys.probes.parsers.labels import FILLER, LINE_ENDS, any_of, index_of
from rys.probes.parsers.normalise import boxed, first_sentence, plain_text, visible_lines
from rys.probes.parsers.statements import statements
from rys.probes.stable_names import stable_name

__all__ = ["parse_word", "word_parser"]

# after a word: ".", " - ", " because"
_WORD_ENDS = r"(?=[*_\"')\]]{0,3}[ ]{0,2}(?:\Z|[.,;:!(\u2014]|-[ ]|because\b|since\b))"


class _Patterns(NamedTuple):
    """Patterns for one list of words."""

    mentioned: re.Pattern[str]
    direct: re.Pattern[str]
    another: re.Pattern[str]
    leading: re.Pattern[str]


@functools.lru_cache(maxsize=64)
def _patterns(words: tuple[str, ...]) -> _Patterns:
    word = any_of(words)
    patterns = (
        # "Tuesday"; not that of "not on Tuesday" and "neither Tuesday"
        r"(?<!not )(?<!n't )(?<!not a )(?<!not on )(?<!nor )(?<!neither )" + word,
        # " most likely Tuesday", after "the answer is"
        FILLER + word,
        # ", Wednesday", " or the Wednesday", after a word
        r"[\"')*]{0,2}[ ]{0,2}(?:,[ ]?(?:and |or )?|and |or |/|&)[ ]{0,2}(?:the |on )?" + word,
        # "**Tuesday**", "Tuesday - it is", "Tuesday because"
        r"[\s*_<>#\"'({\[$-]{0,8}" + word + _WORD_ENDS,
    )
    return _Patterns(*(re.compile(pattern, re.IGNORECASE) for pattern in patterns))


def parse_word(text: str, words: Sequence[str]) -> str | None:
    r"""Return the one of some words or phrases that an answer gives.

    The first of these rules that finds a word decides:

    1. the last `\boxed{}`;
    2. the last statement such as "answer is Tuesday"; one of several words gives None;
    3. lines that are a word alone, if they agree;
    4. the word that the first line begins with, marked off;
    5. the only word mentioned in the text, else after its last question, else in its last line.

    "Not Tuesday" does not mention Tuesday.

    Args:
        text: The answer.
        words: The possible answers.

    Returns:
        The word as it is spelled in `words`, or None.
    """
    text = plain_text(text)
    patterns = _patterns(tuple(words))
    found = _mentioned(patterns, boxed(text))
    if len(found) == 1:
        return words[found.pop()]
    for _, region in statements(text):
        match = patterns.direct.match(region)
        if match:
            is_one_of_several = patterns.another.match(region, match.end("label"))
            return None if is_one_of_several else words[index_of(match)]
        found = _mentioned(patterns, first_sentence(region))
        if found:
            return words[found.pop()] if len(found) == 1 else None
    lines = visible_lines(text)
    alone = _alone(patterns, lines)
    if alone:
        return words[alone.pop()] if len(alone) == 1 else None
    match = patterns.leading.match(lines[0])
    if match and not patterns.another.match(lines[0], match.end("label")):
        return words[index_of(match)]
    for part in (text, text.rpartition("?")[2], lines[-1]):
        found = _mentioned(patterns, part)
        if len(found) == 1:
            return words[found.pop()]
    return None


def _mentioned(patterns: _Patterns, text: str) -> set[int]:
    """Return which words a text mentions."""
    return {index_of(match) for match in patterns.mentioned.finditer(text)}


def _alone(patterns: _Patterns, lines: Sequence[str]) -> set[int]:
    """Return which words are a line alone."""
    found = set()
    for line in lines:
        match = patterns.leading.match(line)
        if match and LINE_ENDS.match(line, match.end("label")):
            found.add(index_of(match))
    return found


def word_parser(words: tuple[str, ...]) -> Callable[[str], str | None]:
    """Return the parser of answers that give one of these words; see `parse_word`."""

    @stable_name(f"word {words}")
    def parse(text: str) -> str | None:
        return parse_word(text, words)

    return parse
