"""The family of dates: events, each some time before or after the one before it."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Sequence

from rys.probes.families.words import word_tuple
from rys.probes.questions import Question

__all__ = ["date_understanding"]

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_EVENTS = word_tuple("concert exam wedding match auction picnic lecture parade fair hike dinner")
_UNITS = (  # name, months, days, the most of them in a step
    ("day", 0, 1, 40),
    ("week", 0, 7, 7),
    ("month", 1, 0, 11),
    ("year", 12, 0, 4),
)
# Months and days that a wrong option is off by.
_NEAR = ((0, 1), (0, -1), (0, 7), (0, -7), (1, 0), (-1, 0), (12, 0), (-12, 0))
_N_DATES = 6  # options

_Step = tuple[int, int]  # months and days


def date_understanding(rng: random.Random, n: int) -> Question:
    """Ask for the date of an event that is n steps, 2 to 10, from one whose date is told."""
    events = rng.sample(_EVENTS, n + 1)
    start, told = _start(rng)
    sentences = [f"The {events[0]} was {told}."]
    date = start
    steps: list[_Step] = []
    for before, event in itertools.pairwise(events):
        # What "a month after the 31st" means is open to dispute, so months are counted from other
        # days only.
        unit, months, days, most = rng.choice(_UNITS[:2] if date.day > 28 else _UNITS)
        count = rng.randrange(1, most + 1)
        sign, word = rng.choice(((1, "after"), (-1, "before")))
        exactly = "exactly " if months else ""
        amount = f"{exactly}{count} {unit}{'s' * (count > 1)}"
        sentences.append(f"The {event} was {amount} {word} the {before}.")
        steps.append((sign * count * months, sign * count * days))
        date = _shift(date, *steps[-1])
    dates = [date, *rng.sample(_wrong_dates(rng, start, steps, date), _N_DATES - 1)]
    rng.shuffle(dates)
    text = f"{' '.join(sentences)} On which date was the {events[-1]}?"
    return Question(text=text, answer=_format_date(date), choices=tuple(map(_format_date, dates)))


def _start(rng: random.Random) -> tuple[dt.date, str]:
    """Return the date of the first event and how it is told."""
    date = dt.date(rng.randrange(1960, 2031), rng.randrange(1, 13), rng.randrange(1, 29))
    form = rng.random()
    if form < 0.15:
        date = _shift(date.replace(day=1), 1, -1)
        return date, f"on the last day of {_MONTHS[date.month - 1]} {date.year}"
    if form < 0.3:
        date = date.replace(day=31, month=12)
        return date, f"on the day before New Year's Day {date.year + 1}"
    return date, f"on {_format_date(date)}"


def _wrong_dates(
    rng: random.Random, start: dt.date, steps: Sequence[_Step], right: dt.date
) -> list[dt.date]:
    """Return the dates that errors on the way lead to, at least as many as there are options."""
    wrong: set[dt.date] = set()
    while len(wrong) < _N_DATES - 1:
        # Three errors, each made or not: the right date has as much in common with the wrong ones
        # as these among them.
        errors = []
        for k in rng.sample(range(len(steps)), 2):
            errors.append((k, rng.choice((-1, 0))))  # a step reversed or left out
        near = rng.choice(_NEAR)
        for first, second, is_off in itertools.product((False, True), repeat=3):
            path = list(steps)
            for (k, factor), is_made in zip(errors, (first, second), strict=True):
                if is_made:
                    path[k] = (path[k][0] * factor, path[k][1] * factor)
            if is_off:
                path.append(near)
            wrong.add(_follow(start, path))
        wrong.discard(right)
    return sorted(wrong)


def _follow(date: dt.date, steps: Sequence[_Step]) -> dt.date:
    """Return the date that some steps lead to."""
    for months, days in steps:
        date = _shift(date, months, days)
    return date


def _shift(date: dt.date, months: int, days: int) -> dt.date:
    """Return the date some months and days later.

    Where months are counted, the day is the 28th at the latest.
    """
    if months:
        month = date.year * 12 + date.month - 1 + months
        date = dt.date(month // 12, month % 12 + 1, min(date.day, 28))
    return date + dt.timedelta(days=days)


def _format_date(date: dt.date) -> str:
    return f"{date.day} {_MONTHS[date.month - 1]} {date.year}"
