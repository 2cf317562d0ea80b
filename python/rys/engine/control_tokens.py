"""The control tokens of a vocabulary, and where a text holds them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rys import _core

__all__ = ["ControlTokens", "Span", "overlaps"]

Span = tuple[int, int]  # of characters: the first, and the one after the last

# llama_token_attr of llama.h
_UNKNOWN, _CONTROL, _LSTRIP, _RSTRIP = 1 << 0, 1 << 3, 1 << 7, 1 << 8

# Files of some models call these "user defined", which are parsed in every text; llama.cpp's
# converter looks for the same: <|user|>, <unused7>, <start_of_turn>. U+FF5C is the wide "|" of
# DeepSeek.
_LOOKS_LIKE_CONTROL = re.compile(
    r"<\|.*\|>|<\uff5c.*\uff5c>|<unused\d*>|<(?:start|end)_of_turn>|<pad>|<mask>", re.DOTALL
)


@dataclass
class ControlTokens:
    """The texts that stand for control tokens.

    Attributes:
        texts: Each with whether it takes the white space before it, and after it, away.
        ids: The tokens, without the one for what the vocabulary does not know.
    """

    texts: dict[str, tuple[bool, bool]]
    ids: frozenset[int] = frozenset()
    _lengths: list[int] = field(init=False)
    _first: re.Pattern[str] = field(init=False)
    _sorted: list[str] = field(init=False)
    _sorted_backwards: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lengths = sorted({len(text) for text in self.texts}, reverse=True)
        first = "".join(sorted({re.escape(text[0]) for text in self.texts}))
        self._first = re.compile(f"[{first}]" if first else "(?!)")  # (?!) matches nothing
        # a text begins with another where that would be inserted
        self._sorted = sorted(self.texts)
        self._sorted_backwards = sorted(text[::-1] for text in self.texts)

    @classmethod
    def of(cls, model: _core.Model) -> ControlTokens:
        """Return the control tokens of a model.

        Those are the tokens that the file calls control or unknown, those that end an answer, and
        those that only look like one of them.
        """
        texts = {}
        ids = set()
        for token, text_bytes, attributes, ends_answer in model.added_tokens():
            text = text_bytes.decode("utf-8", "replace")
            is_control = attributes & (_CONTROL | _UNKNOWN) or ends_answer
            if is_control or _LOOKS_LIKE_CONTROL.fullmatch(text):
                if not attributes & _UNKNOWN:
                    ids.add(token)
                if text and "\ufffd" not in text:
                    texts[text] = bool(attributes & _LSTRIP), bool(attributes & _RSTRIP)
        return cls(texts, frozenset(ids))

    def find(self, text: str) -> Iterator[Span]:
        """Yield where a text holds control tokens, from left to right, the longest first."""
        position = 0
        while match := self._first.search(text, position):
            start = match.start()
            position = start + 1
            for length in self._lengths:
                found = text[start : start + length]  # shorter at the end of the text
                if found in self.texts:
                    position = start + len(found)
                    yield start, position
                    break

    def find_parts(self, text: str) -> Iterator[Span]:
        """Yield where the ends of a text hold a part of a control token, as in "and <|im_"."""
        # white space around it may be stripped
        start, stop = len(text) - len(text.lstrip()), len(text.rstrip())
        longest = min(self._lengths[0] - 1 if self._lengths else 0, stop - start)
        for length in range(longest, 0, -1):
            if _begins_one(text[start : start + length][::-1], self._sorted_backwards):
                yield start, start + length
                break
        for length in range(longest, 0, -1):
            if _begins_one(text[stop - length : stop], self._sorted):
                yield stop - length, stop
                break


def overlaps(span: Span, others: Iterable[Span]) -> bool:
    """Return whether a span shares a character with another, or holds an empty one."""
    return any(start < span[1] and span[0] < stop for start, stop in others)


def _begins_one(text: str, ordered: list[str]) -> bool:
    place = bisect_left(ordered, text)
    return place < len(ordered) and ordered[place].startswith(text)
