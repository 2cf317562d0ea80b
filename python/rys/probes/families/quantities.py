"""The family of quantities: word problems with one number as the answer."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rys.probes.families.words import NAMES, join_words, word_tuple
from rys.probes.questions import Question

__all__ = ["word_problems"]

_LEAST = 4  # the smallest quantity, so that there are smaller ones for wrong options
_MOST = 900
_PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
_TIMES = {2: "twice", 3: "three times"}
_THINGS = ("marbles", "stamps", "shells", "postcards", "stickers", "badges")
_GOODS = word_tuple("pens mugs candles scarves lamps notebooks bowls hats plants puzzles")
_NOTES = (20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class _Story:
    """Sentences about a quantity that changes.

    In them {v} is the quantity, {k} a number and {m} how many times; {name} is a person.
    """

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
        share="All its rolls are then put into {k} bags, the same number "
        "in each. How many rolls are in one bag?",
    ),
    _Story(
        start="A small library owns {v} books.",
        add="It is given {k} more books.",
        take="It sells {k} books.",
        packs="It buys {m} boxes of {k} books each.",
        part="It passes {k} of its books on to another library.",
        times="A big gift makes its number of books {k} as large.",
        ask="How many books does the library own now?",
        share="All its books are then put on {k} shelves, the same number "
        "on each. How many books are on one shelf?",
    ),
    _Story(
        start="A train leaves its first station with {v} passengers.",
        add="At a stop, {k} more passengers get on.",
        take="At a stop, {k} passengers get off.",
        packs="At {m} stops in a row, {k} passengers each get on.",
        part="At a stop, {k} of the passengers get off.",
        times="At a big stop, the number of passengers becomes {k} as large.",
        ask="How many passengers are on the train now?",
        share="All passengers then spread over {k} cars, the same number "
        "in each. How many passengers are in one car?",
    ),
    _Story(
        start="{name} has saved {v} coins.",
        add="{name} finds {k} more coins.",
        take="{name} spends {k} coins.",
        packs="On {m} days in a row, {name} earns {k} coins each day.",
        part="{name} gives away {k} of the coins.",
        times="A prize makes the number of {name}'s coins {k} as large.",
        ask="How many coins does {name} have now?",
        share="{name} then puts all the coins into {k} jars, the same number "
        "in each. How many coins are in one jar?",
    ),
    _Story(
        start="{name} has {v} eggs to sell.",
        add="{name} fetches {k} more eggs.",
        take="{name} sells {k} eggs.",
        packs="{name} buys {m} cartons of {k} eggs each.",
        part="{name} uses {k} of the eggs for cakes.",
        times="A neighbour's gift makes the number of {name}'s eggs {k} as large.",
        ask="How many eggs does {name} have now?",
        share="{name} then packs all the eggs into {k} boxes, the same number "
        "in each. How many eggs are in one box?",
    ),
)


def word_problems(rng: random.Random, n: int) -> Question:
    """Ask for a quantity that n operations, at most 6, lead to.

    Every quantity on the way is a positive integer.
    """
    write = rng.choice((_changes, _comparison, _shopping))
    text, answer = write(rng, n)
    return Question(text=text, answer=str(answer))


def _changes(rng: random.Random, n: int) -> tuple[str, int]:
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
        if kind == "times":
            k = rng.choice(tuple(_TIMES))
        elif kind == "part":
            k = rng.choice(tuple(_PARTS))
        elif kind == "share":
            if n > 1:  # a share can only be the last operation
                continue
            k = rng.randrange(2, 10)
        steps, after = _operate(kind, value, k, m)
        if steps > n or not _LEAST <= after <= _MOST:
            continue
        n -= steps
        value = after
        if kind == "share":
            ask = story.share.format(k=k, name=name)
        else:
            said = {"times": _TIMES, "part": _PARTS}.get(kind, {}).get(k, str(k))
            sentences.append(getattr(story, kind).format(k=said, m=m, name=name))
    return " ".join([*sentences, ask.format(name=name)]), value


def _operate(kind: str, value: int, k: int, m: int) -> tuple[int, int]:
    """Return how many steps an operation takes and what comes out; 0 if it is impossible."""
    if kind == "add":
        return 1, value + k
    if kind == "take":
        return 1, value - k
    if kind == "packs":
        return 2, value + m * k
    if kind == "times":
        return 1, value * k
    if value % k:  # a part or a share of it would not be a whole number
        return 1, 0
    if kind == "share":
        return 1, value // k
    # a half is subtracted at once, a third is first computed
    return (2 if k > 2 else 1), value - value // k


def _comparison(rng: random.Random, n: int) -> tuple[str, int]:
    """Return a problem about people who have more or fewer things than others, in n operations."""
    thing = rng.choice(_THINGS)
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
            # 0 is out of range: an odd number has no half
            value = 0 if value % 2 else value // 2
            said = f"half as many {thing} as"
        if _LEAST <= value <= _MOST:
            values.append(value)
            sentences.append(f"{person} has {said} {before}.")
    last = people[len(values) - 1]
    if is_sum:
        other = people[len(values) - 2]
        question = f"How many {thing} do {other} and {last} have together?"
        return " ".join([*sentences, question]), sum(values[-2:])
    return " ".join([*sentences, f"How many {thing} does {last} have?"]), values[-1]


def _shopping(rng: random.Random, n: int) -> tuple[str, int]:
    """Return a problem about a purchase, in n operations.

    These are a product for each of the goods, their sum, and the change if n is even.
    """
    name = rng.choice(NAMES)
    goods = rng.sample(_GOODS, (n + 1) // 2)
    counts = [rng.randrange(2, 9) for _ in goods]
    prices = [rng.randrange(2, 15) for _ in goods]
    total = 0
    bought = []
    for count, good, price in zip(counts, goods, prices, strict=True):
        total += count * price
        bought.append(f"{count} {good} at {price} dollars each")
    text = f"{name} buys {join_words(bought) if len(bought) > 1 else bought[0]}"
    if n % 2:
        return f"{text}. How many dollars does {name} pay in all?", total
    note = next(note for note in _NOTES if note >= total + _LEAST)
    text = f"{text}, and pays with a note of {note} dollars. How many dollars does {name} get back?"
    return text, note - total
