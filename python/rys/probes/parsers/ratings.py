"""Answers that rate several things, each with a number from 0 to 10."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

from rys.probes.parsers.labels import any_of, index_of
from rys.probes.parsers.normalise import plain_text, visible_lines
from rys.probes.parsers.number import LIST_MARKER
from rys.probes.stable_names import stable_name

__all__ = ["parse_ratings", "ratings_parser"]

# after a name: ": 7", " (how much) score is 7.5/10", " - 3 out of 10", ": 7-8" with its range
_RATED = (
    r"(?P<gap>[^\w\n.]{0,12}(?:\([^()\n]{0,60}\)[^\w\n.]{0,8})?"
    r"(?:(?:score|rating|intensity|level|is|at|of|a)\b[^\w\n]{1,6}){0,3})"
    r"(?P<value>\d{1,6}(?:[.,]\d{1,6})?)(?!\w)"
    r"(?:[ ]?(?:/|out of)[ ]?(?P<scale>\d{1,6}))?(?P<range>[ ]?(?:-|to)[ ]?\d)?"
)
_BARE_RATING = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(?:/10)?\.?")  # "7", "7.5", "7/10."
_BOX = re.compile(r"\\(?:boxed|fbox)\{([^{}]{0,300})\}")  # "\boxed{7}"
_BETWEEN_BARE = re.compile(r"[\s,;|\[\]()*]+")  # ", ", " | "
_HIGHEST = 10


@functools.lru_cache(maxsize=64)
def _rating_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(any_of(names) + _RATED, re.IGNORECASE)


def parse_ratings(text: str, names: Sequence[str]) -> list[float] | None:
    """Return the rating of each name.

    The last rating of a name counts, so that a revised one replaces the first. "7/10" is 7. An
    answer without any name may be a bare list of exactly as many numbers, in the order of the
    names: the whole text, or its last line.

    Args:
        text: The answer.
        names: What is rated.

    Returns:
        A number in 0..10 for each name, in their order. None if any is missing, out of range or
        itself a range.
    """
    text = _BOX.sub(r"\1", plain_text(text))
    named: dict[int, float | None] = {}
    for match in _rating_pattern(tuple(names)).finditer(text):
        named[index_of(match)] = _rating(match)
    if named:
        return _complete([named.get(index) for index in range(len(names))])
    for part in (text, visible_lines(text)[-1]):
        bare = _bare_numbers(part)
        if len(bare) == len(names):
            return _complete(bare)
    return None


def _rating(match: re.Match[str]) -> float | None:
    """Return the rating that a match gives; None if it is not one number in 0..10."""
    gap = match["gap"]
    # "Sad: -3" is negative, but the dash of "Sad - 3" and of "Sad** -3" sets a number off
    is_negative = gap.endswith("-") and gap != "-" and gap[:-1].strip(" *_\"'") != ""
    if is_negative or match["range"] or int(match["scale"] or _HIGHEST) != _HIGHEST:
        return None
    rating = float(match["value"].replace(",", "."))
    return rating if rating <= _HIGHEST else None


def _bare_numbers(text: str) -> list[float | None]:
    """Return the numbers of a bare list, None for what is not a rating."""
    text = LIST_MARKER.sub("", text.partition(":")[2] or text)
    numbers: list[float | None] = []
    for part in _BETWEEN_BARE.split(text.strip(" \n,;|[]()*")):
        match = _BARE_RATING.fullmatch(part)
        is_rating = match and float(match[1]) <= _HIGHEST
        numbers.append(float(match[1]) if match and is_rating else None)
    return numbers


def _complete(values: Sequence[float | None]) -> list[float] | None:
    """Return the values if none is missing."""
    found = [value for value in values if value is not None]
    return found if found and len(found) == len(values) else None


def ratings_parser(names: tuple[str, ...]) -> Callable[[str], tuple[float, ...] | None]:
    """Return the parser of answers that rate these names; see `parse_ratings`."""

    @stable_name(f"ratings {names}")
    def parse(text: str) -> tuple[float, ...] | None:
        ratings = parse_ratings(text, names)
        return None if ratings is None else tuple(ratings)

    return parse
