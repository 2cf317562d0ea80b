"""Families about dates, tables and quantities; and the list of all families of the reasoning probe.

They are in the manner of BIG-Bench-Hard and GSM8K, in wording of our own. The difficulty of a
family is the number of its objects or dependent steps; those of families_logic.py are listed here
with the others.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
from dataclasses import dataclass

from rys.probes.families_logic import (
    NAMES,
    boolean_expressions,
    listed,
    logical_deduction,
    navigate,
    tracking_shuffled_objects,
    web_of_lies,
)
from rys.probes.questions import Family, Question

__all__ = ["FAMILIES", "date_understanding", "table_lookup", "word_problems"]

# dates

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_EVENTS = (
    "concert",
    "exam",
    "wedding",
    "match",
    "auction",
    "picnic",
    "lecture",
    "parade",
    "fair",
    "hike",
    "dinner",
)
_UNITS = (  # name, months, days, the most of them in a step
    ("day", 0, 1, 40),
    ("week", 0, 7, 7),
    ("month", 1, 0, 11),
    ("year", 12, 0, 4),
)
_N_DATES = 6


def _shift(date: dt.date, months: int, days: int) -> dt.date:
    """Return the date some months and days later.

    Where months are counted, the day is the 28th at the latest.
    """
    if months:
        month = date.year * 12 + date.month - 1 + months
        date = dt.date(month // 12, month % 12 + 1, min(date.day, 28))
    return date + dt.timedelta(days=days)


def _written(date: dt.date) -> str:
    return f"{date.day} {_MONTHS[date.month - 1]} {date.year}"


def _follow(date: dt.date, steps: list[tuple[int, int]]) -> dt.date:
    for months, days in steps:
        date = _shift(date, months, days)
    return date


def date_understanding(rng: random.Random, n: int) -> Question:
    """Ask for the date of an event that is n steps, 2 to 10, from one whose date is told."""
    events = rng.sample(_EVENTS, n + 1)
    start = date = dt.date(rng.randrange(1960, 2031), rng.randrange(1, 13), rng.randrange(1, 29))
    form = rng.random()
    told = f"on {_written(start)}"
    if form < 0.15:
        start = date = _shift(start.replace(day=1), 1, -1)
        told = f"on the last day of {_MONTHS[start.month - 1]} {start.year}"
    elif form < 0.3:
        start = date = start.replace(day=31, month=12)
        told = f"on the day before New Year's Day {start.year + 1}"
    sentences = [f"The {events[0]} was {told}."]
    steps: list[tuple[int, int]] = []
    for before, event in itertools.pairwise(events):
        # what "a month after the 31st" means is open to dispute, so months are counted from other
        # days only
        unit, months, days, most = rng.choice(_UNITS[:2] if date.day > 28 else _UNITS)
        count = rng.randrange(1, most + 1)
        sign, word = rng.choice(((1, "after"), (-1, "before")))
        exactly = "exactly " if months else ""
        sentences.append(
            f"The {event} was {exactly}{count} {unit}{'s' * (count > 1)} {word} the {before}."
        )
        steps.append((sign * count * months, sign * count * days))
        date = _shift(date, *steps[-1])

    wrong: set[dt.date] = set()
    while len(wrong) < _N_DATES - 1:
        # three errors, each made or not: the right date has as much in common with the wrong ones
        # as these among them
        errors = [
            (k, rng.choice((-1, 0))) for k in rng.sample(range(n), 2)
        ]  # a step reversed or left out
        near = rng.choice(((0, 1), (0, -1), (0, 7), (0, -7), (1, 0), (-1, 0), (12, 0), (-12, 0)))
        for is_made in itertools.product((False, True), repeat=3):
            factors = {
                k: factor for (k, factor), is_one in zip(errors, is_made, strict=False) if is_one
            }
            path = [
                (months * factors.get(k, 1), days * factors.get(k, 1))
                for k, (months, days) in enumerate(steps)
            ]
            wrong.add(_follow(start, [*path, near] if is_made[2] else path))
        wrong.discard(date)
    dates = [date, *rng.sample(sorted(wrong), _N_DATES - 1)]
    rng.shuffle(dates)
    text = f"{' '.join(sentences)} On which date was the {events[-1]}?"
    return Question(
        text=text, answer=_written(date), choices=tuple(_written(date) for date in dates)
    )


# tables

_TABLES = (
    (
        "a fruit",
        (
            "apple",
            "pear",
            "plum",
            "fig",
            "mango",
            "lemon",
            "melon",
            "kiwi",
            "date",
            "quince",
            "banana",
            "lime",
        ),
    ),
    (
        "an animal",
        (
            "cat",
            "dog",
            "goat",
            "hen",
            "horse",
            "rabbit",
            "otter",
            "donkey",
            "owl",
            "seal",
            "mole",
            "fox",
        ),
    ),
    (
        "a city",
        (
            "Oslo",
            "Lima",
            "Cairo",
            "Quito",
            "Delhi",
            "Paris",
            "Osaka",
            "Perth",
            "Miami",
            "Accra",
            "Turin",
            "Riga",
        ),
    ),
)
_N_ENTRIES = 4


def table_lookup(rng: random.Random, n: int) -> Question:
    """Ask what is in the row that n links, at most 10, through a small table lead to."""
    kind, pool = rng.choice(_TABLES)
    n_row = max(6, n + 2)
    names = rng.sample(NAMES, n_row)
    things = rng.sample(pool, n_row)
    # one ring, in the order of the links: no row comes twice on the way, and each is named once
    rows = [f"{names[k]} | {names[(k + 1) % n_row]} | {things[k]}" for k in range(n_row)]
    rng.shuffle(rows)
    times = "once" if n == 1 else f"{n} times in all"
    text = (
        f"In this table, every row has a name, the name of its next row, and {kind}.\n"
        + "\n".join(rows)
        + f"\nStart in the row of {names[0]}. Go to its next row, and do so {times}. "
        f"Which {kind.split()[1]} is in the row where you arrive?"
    )
    others = [thing for k, thing in enumerate(things) if k not in (n - 1, n)]
    choices = [things[n - 1], things[n], *rng.sample(others, _N_ENTRIES - 2)]
    rng.shuffle(choices)
    return Question(text=text, answer=things[n], choices=tuple(choices))


# quantities

_LEAST = 4  # the smallest quantity, so that there are smaller ones for wrong options
_MOST = 900
_PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
_TIMES = {2: "twice", 3: "three times"}


@dataclass(frozen=True)
class _Story:
    """Hold the sentences about a quantity that changes."""

    start: str
    add: str
    take: str
    packs: str
    part: str
    times: str
    ask: str
    share: str


_STORIES = (
    _Story(
        start="A bakery opens with {v} rolls.",
        add="It bakes {k} more rolls.",
        take="Customers buy {k} rolls.",
        packs="It bakes {m} trays of {k} rolls each.",
        part="It sends {k} of its rolls to a school.",
        times="A delivery makes its number of rolls {k} as large.",
        ask="How many rolls does the bakery have now?",
        share="All its rolls are then put into {k} bags, the same number in each. How many rolls are in one bag?",
    ),
    _Story(
        start="A small library owns {v} books.",
        add="It is given {k} more books.",
        take="It sells {k} books.",
        packs="It buys {m} boxes of {k} books each.",
        part="It passes {k} of its books on to another library.",
        times="A big gift makes its number of books {k} as large.",
        ask="How many books does the library own now?",
        share="All its books are then put on {k} shelves, the same number on each. How many books are on one shelf?",
    ),
    _Story(
        start="A train leaves its first station with {v} passengers.",
        add="At a stop, {k} more passengers get on.",
        take="At a stop, {k} passengers get off.",
        packs="At {m} stops in a row, {k} passengers each get on.",
        part="At a stop, {k} of the passengers get off.",
        times="At a big stop, the number of passengers becomes {k} as large.",
        ask="How many passengers are on the train now?",
        share="All passengers then spread over {k} cars, the same number in each. How many passengers are in one car?",
    ),
    _Story(
        start="{name} has saved {v} coins.",
        add="{name} finds {k} more coins.",
        take="{name} spends {k} coins.",
        packs="On {m} days in a row, {name} earns {k} coins each day.",
        part="{name} gives away {k} of the coins.",
        times="A prize makes the number of {name}'s coins {k} as large.",
        ask="How many coins does {name} have now?",
        share="{name} then puts all the coins into {k} jars, the same number in each. How many coins are in one jar?",
    ),
    _Story(
        start="{name} has {v} eggs to sell.",
        add="{name} fetches {k} more eggs.",
        take="{name} sells {k} eggs.",
        packs="{name} buys {m} cartons of {k} eggs each.",
        part="{name} uses {k} of the eggs for cakes.",
        times="A neighbour's gift makes the number of {name}'s eggs {k} as large.",
        ask="How many eggs does {name} have now?",
        share="{name} then packs all the eggs into {k} boxes, the same number in each. How many eggs are in one box?",
    ),
)


def _story(rng: random.Random, n: int) -> tuple[str, int]:
    """Return a problem about one quantity that n operations change."""
    story = rng.choice(_STORIES)
    name = rng.choice(NAMES)
    value = rng.randrange(20, 80)
    sentences = [story.start.format(v=value, name=name)]
    ask = story.ask
    while n:
        kind = rng.choice(("add", "take", "packs", "part", "part", "times", "share"))
        k = rng.randrange(2, 30)
        m = rng.randrange(2, 7)
        steps, after, said = 1, value, str(k)
        if kind == "add":
            after = value + k
        elif kind == "take":
            after = value - k
        elif kind == "packs":
            steps, after = 2, value + m * k
        elif kind == "times":
            k = rng.choice(tuple(_TIMES))
            after, said = value * k, _TIMES[k]
        elif kind == "part":
            k = rng.choice(tuple(_PARTS))
            steps, after, said = 1 + (k > 2), value - value // k if value % k == 0 else 0, _PARTS[k]
        elif kind == "share" and n == 1:
            k = rng.randrange(2, 10)
            after, said = value // k if value % k == 0 else 0, str(k)
        else:
            continue
        if steps > n or not _LEAST <= after <= _MOST:
            continue
        n -= steps
        value = after
        if kind == "share":
            ask = story.share.format(k=k, name=name)
        else:
            sentences.append(getattr(story, kind).format(k=said, m=m, name=name))
    return " ".join([*sentences, ask.format(name=name)]), value


def _comparison(rng: random.Random, n: int) -> tuple[str, int]:
    """Return a problem about people who have more or fewer things than one another, in n
    operations.
    """
    thing = rng.choice(("marbles", "stamps", "shells", "postcards", "stickers", "badges"))
    people = rng.sample(NAMES, n + 1)
    is_sum = n > 1 and rng.random() < 0.4
    values = [rng.randrange(10, 60)]
    sentences = [f"{people[0]} has {values[0]} {thing}."]
    while len(values) < n + 1 - is_sum:
        value = values[-1]
        before, person = people[len(values) - 1 : len(values) + 1]
        kind = rng.choice(("more", "fewer", "times", "half"))
        k = rng.randrange(2, 30)
        if kind == "more":
            value, said = value + k, f"{k} more {thing} than"
        elif kind == "fewer":
            value, said = value - k, f"{k} fewer {thing} than"
        elif kind == "times":
            k = rng.choice(tuple(_TIMES))
            value, said = value * k, f"{_TIMES[k]} as many {thing} as"
        else:
            value, said = value // 2 if value % 2 == 0 else 0, f"half as many {thing} as"
        if _LEAST <= value <= _MOST:
            values.append(value)
            sentences.append(f"{person} has {said} {before}.")
    last = people[len(values) - 1]
    if is_sum:
        other = people[len(values) - 2]
        return " ".join(
            [*sentences, f"How many {thing} do {other} and {last} have together?"]
        ), sum(values[-2:])
    return " ".join([*sentences, f"How many {thing} does {last} have?"]), values[-1]


_GOODS = (
    "pens",
    "mugs",
    "candles",
    "scarves",
    "lamps",
    "notebooks",
    "bowls",
    "hats",
    "plants",
    "puzzles",
)
_NOTES = (20, 50, 100, 200, 500, 1000)


def _shopping(rng: random.Random, n: int) -> tuple[str, int]:
    """Return a problem about a purchase, in n operations: a product each, their sum, and the change
    if n is even.
    """
    name = rng.choice(NAMES)
    goods = rng.sample(_GOODS, (n + 1) // 2)
    counts = [rng.randrange(2, 9) for _ in goods]
    prices = [rng.randrange(2, 15) for _ in goods]
    total = sum(count * price for count, price in zip(counts, prices, strict=True))
    bought = [
        f"{count} {good} at {price} dollars each"
        for count, good, price in zip(counts, goods, prices, strict=True)
    ]
    text = f"{name} buys {listed(bought) if len(bought) > 1 else bought[0]}"
    if n % 2:
        return f"{text}. How many dollars does {name} pay in all?", total
    note = next(note for note in _NOTES if note >= total + _LEAST)
    text = f"{text}, and pays with a note of {note} dollars. How many dollars does {name} get back?"
    return text, note - total


def word_problems(rng: random.Random, n: int) -> Question:
    """Ask for a quantity that n operations, at most 6, lead to; every quantity on the way is a
    positive integer.
    """
    text, answer = rng.choice((_story, _comparison, _shopping))(rng, n)
    return Question(text=text, answer=str(answer))


FAMILIES: dict[str, Family] = {
    "logical_deduction": logical_deduction,
    "navigate": navigate,
    "date_understanding": date_understanding,
    "tracking_shuffled_objects": tracking_shuffled_objects,
    "boolean_expressions": boolean_expressions,
    "web_of_lies": web_of_lies,
    "table_lookup": table_lookup,
    "word_problems": word_problems,
}
