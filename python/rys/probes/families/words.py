"""Words that several families use. A change to any list changes the questions of the families."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["COLORS", "COUNTS", "NAMES", "ORDINALS", "YES_NO", "join_words", "word_tuple"]


def word_tuple(words: str) -> tuple[str, ...]:
    """Return the words of a text, which reads better than a list of quoted words."""
    return tuple(words.split())


NAMES = word_tuple(
    "Ada Boris Clara Dmitri Elena Farid Grace Hugo Ines Jonas Katya Liam Mona Nadia Oscar Petra "
    "Quentin Rosa Samir Tessa Umar Vera Wendy Yusuf Zoe"
)
COLORS = ("red", "blue", "green", "yellow", "black", "white", "purple", "orange", "pink", "brown")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
YES_NO = ("Yes", "No")


def join_words(words: Sequence[str], conjunction: str = "and") -> str:
    """Return words as a list within a sentence: "a, b and c"; at least two."""
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"
