"""Families about orders, moves, swaps and truth values, in the manner of BIG-Bench-Hard; the
wording is our own.

The difficulty of a family is the number of its objects or dependent steps.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rys.probes.questions import Question

__all__ = [
    "NAMES",
    "boolean_expressions",
    "listed",
    "logical_deduction",
    "navigate",
    "tracking_shuffled_objects",
    "web_of_lies",
]

NAMES = (
    *(
        "Ada",
        "Boris",
        "Clara",
        "Dmitri",
        "Elena",
        "Farid",
        "Grace",
        "Hugo",
        "Ines",
        "Jonas",
        "Katya",
        "Liam",
        "Mona",
    ),
    *(
        "Nadia",
        "Oscar",
        "Petra",
        "Quentin",
        "Rosa",
        "Samir",
        "Tessa",
        "Umar",
        "Vera",
        "Wendy",
        "Yusuf",
        "Zoe",
    ),
)
COLORS = ("red", "blue", "green", "yellow", "black", "white", "purple", "orange", "pink", "brown")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
YES_NO = ("Yes", "No")


def listed(words: Sequence[str]) -> str:
    """Return words as a list within a sentence."""
    return f"{', '.join(words[:-1])} and {words[-1]}"


# orders


@dataclass(frozen=True)
class _Setting:
    """Hold the words for a hidden order: a comes before b, and k is a place that is counted from
    the first.
    """

    things: tuple[str, ...]
    intro: str
    before: str
    adjacent: str
    gap: str
    place: str
    ask: str


_SETTINGS = (
    _Setting(
        things=tuple(f"the {color} jar" for color in COLORS),
        intro="{n} jars stand in a row on a shelf: {things}.",
        before="{a} is somewhere to the left of {b}.",
        adjacent="{a} is immediately to the left of {b}.",
        gap="Exactly one jar stands between {a} and {b}.",
        place="{a} is the {k} from the left.",
        ask="Which jar is the {k} from the left?",
    ),
    _Setting(
        things=NAMES,
        intro="{n} runners finished a race, and no two at the same time: {things}.",
        before="{a} finished before {b}.",
        adjacent="{a} finished immediately before {b}.",
        gap="Exactly one runner finished between {a} and {b}.",
        place="{a} finished in {k} place.",
        ask="Who finished in {k} place?",
    ),
    _Setting(
        things=NAMES,
        intro="{n} friends are all of different ages: {things}.",
        before="{a} is older than {b}.",
        adjacent="{a} is older than {b}, and none of the others is between them in age.",
        gap="Exactly one of the friends is between {a} and {b} in age.",
        place="Counted from the oldest, {a} comes {k}.",
        ask="Counted from the oldest, who comes {k}?",
    ),
    _Setting(
        things=(
            "apples",
            "pears",
            "plums",
            "figs",
            "mangoes",
            "lemons",
            "grapes",
            "cherries",
            "dates",
            "melons",
        ),
        intro="A stall sells {n} kinds of fruit, all at different prices: {things}.",
        before="{a} cost more than {b}.",
        adjacent="{a} cost more than {b}, and no other price is between theirs.",
        gap="Exactly one kind of fruit has a price between those of {a} and {b}.",
        place="Counted from the most expensive, {a} come {k}.",
        ask="Counted from the most expensive, which fruit comes {k}?",
    ),
)


@lru_cache
def _order_sets(n: int) -> tuple[list[list[int]], dict[tuple[int, int, str], int]]:
    """Return the orders of n things in which a clue is true, as bits of an integer, one bit for
    each of the n! orders.

    First [thing][place]; then by two things and the kind of clue.
    """
    orders = list(itertools.permutations(range(n)))
    at = [
        [
            int("".join("1" if order[place] == thing else "0" for order in orders), 2)
            for place in range(n)
        ]
        for thing in range(n)
    ]
    pairs = dict.fromkeys(itertools.product(range(n), range(n), ("before", "adjacent", "gap")), 0)
    for a, b in itertools.permutations(range(n), 2):
        for i, j in itertools.permutations(range(n), 2):
            both = at[a][i] & at[b][j]
            pairs[a, b, "before"] |= both if i < j else 0
            pairs[a, b, "adjacent"] |= both if j == i + 1 else 0
            pairs[a, b, "gap"] |= both if abs(i - j) == 2 else 0
    return at, pairs


def logical_deduction(rng: random.Random, n: int) -> Question:
    """Ask which of n things, 3 to 7, has a place in an order that the clues determine; no clue can
    be left out.
    """
    setting = rng.choice(_SETTINGS)
    things = rng.sample(setting.things, n)
    order = list(range(n))
    rng.shuffle(order)
    at, pairs = _order_sets(n)

    # few clues that say much, and as many comparisons as it takes: all of them together always
    # suffice
    told = rng.randrange(n)
    i = rng.randrange(n - 1)
    j = rng.randrange(n - 2)
    apart = (order[j], order[j + 2]) if rng.random() < 0.5 else (order[j + 2], order[j])
    strong = [("adjacent", order[i], order[i + 1]), ("gap", *apart), ("place", order[told], told)]
    clues = rng.sample(strong, rng.randrange(1, 4))
    comparisons = [("before", a, b) for a, b in itertools.combinations(order, 2)]
    rng.shuffle(comparisons)
    clues += comparisons

    chosen: list[tuple[str, int, int]] = []
    masks: list[int] = []
    possible = -1
    for kind, a, b in clues:
        mask = at[a][b] if kind == "place" else pairs[a, b, kind]
        if possible & mask != possible:
            possible &= mask
            chosen.append((kind, a, b))
            masks.append(mask)
            if not possible & (possible - 1):
                break
    for k in reversed(range(len(chosen))):
        rest = -1
        for mask in masks[:k] + masks[k + 1 :]:
            rest &= mask
        if rest == possible:
            del chosen[k], masks[k]

    rng.shuffle(chosen)
    sentences = []
    for kind, a, b in chosen:
        second = {"k": ORDINALS[b]} if kind == "place" else {"b": things[b]}
        sentence = getattr(setting, kind).format(a=things[a], **second)
        sentences.append(sentence[0].upper() + sentence[1:])
    given = {place for kind, _, place in chosen if kind == "place"}
    asked = rng.choice([place for place in range(n) if place not in given])
    intro = setting.intro.format(n=COUNTS[n], things=listed(things))
    text = " ".join(
        [intro[0].upper() + intro[1:], *sentences, setting.ask.format(k=ORDINALS[asked])]
    )
    return Question(text=text, answer=things[order[asked]], choices=tuple(things))


# moves

_DIRECTIONS = ("forward", "right", "backward", "left")
_TURNS = ("", "Turn right. ", "Turn around. ", "Turn left. ")


def _loop(rng: random.Random, n: int) -> list[tuple[int, int]]:
    """Return n moves, each a direction 0..3 and 1 to 9 steps, that lead back to their start."""
    n_along = rng.choice([k for k in range(n + 1) if k not in (1, n - 1) and (n < 5 or 0 < k < n)])
    moves: list[tuple[int, int]] = []
    for axis, count in ((0, n_along), (1, n - n_along)):
        steps: list[int] = []
        while count:
            steps = [rng.choice((-1, 1)) * rng.randrange(1, 10) for _ in range(count - 1)]
            steps.append(-sum(steps))
            if 1 <= abs(steps[-1]) <= 9:
                break
        moves += [(axis if step > 0 else axis + 2, abs(step)) for step in steps]
    rng.shuffle(moves)
    return moves


def navigate(rng: random.Random, n: int) -> Question:
    """Ask whether n moves, at least 2, lead back to their start."""
    moves = _loop(rng, n)
    answer = rng.choice(YES_NO)
    if answer == "No":  # one move is off, so that both answers look alike
        k = rng.randrange(n)
        direction, steps = moves[k]
        if rng.random() < 0.3:
            moves[k] = ((direction + 2) % 4, steps)
        else:
            # an odd difference would show in the sum of all steps, which is even for every way back
            moves[k] = (
                direction,
                rng.choice([other for other in range(1, 10) if abs(other - steps) in (2, 4)]),
            )
    parts = []
    if rng.random() < 0.5:
        intro = "You follow these instructions and face the same way all the time."
        for direction, steps in moves:
            parts.append(f"Go {steps} step{'s' * (steps > 1)} {_DIRECTIONS[direction]}.")
    else:
        intro = "You follow these instructions, always walking the way that you face."
        heading = 0
        for direction, steps in moves:
            parts.append(
                f"{_TURNS[(direction - heading) % 4]}Walk {steps} step{'s' * (steps > 1)}."
            )
            heading = direction
    text = f"{intro} {' '.join(parts)} Are you back at the point where you started?"
    return Question(text=text, answer=answer, choices=YES_NO)


# swaps

_HOLDINGS = (
    (
        "{a} holds {x}",
        "they trade",
        "what does {a} hold",
        tuple(f"the {color} ball" for color in COLORS),
    ),
    (
        "{a} sits in {x}",
        "they change seats",
        "where does {a} sit",
        tuple(f"seat {letter}" for letter in "KLMNPQRSTV"),  # the letters of the options are others
    ),
    (
        "{a} has {x}",
        "they exchange what they have",
        "what does {a} have",
        (
            "the map",
            "the lamp",
            "the drum",
            "the kite",
            "the mug",
            "the rope",
            "the key",
            "the coin",
            "the bell",
        ),
    ),
    (
        "{a} looks after {x}",
        "they swap animals",
        "what does {a} look after",
        (
            "the cat",
            "the dog",
            "the goat",
            "the hen",
            "the horse",
            "the rabbit",
            "the parrot",
            "the donkey",
        ),
    ),
)
_LINKS = ("First,", "Then", "After that,", "Next,", "Later,")


def tracking_shuffled_objects(rng: random.Random, n: int) -> Question:
    """Ask what one of n people, 3 to 8, has after n swaps of two people each."""
    holds, swaps, ask, pool = rng.choice(_HOLDINGS)
    people = rng.sample(NAMES, n)
    things = rng.sample(pool, n)
    now = list(range(n))
    starts = [holds.format(a=person, x=thing) for person, thing in zip(people, things, strict=True)]
    sentences = [f"At the start, {listed(starts)}."]
    last: set[int] = set()
    touched: set[int] = set()
    for step in range(n):
        a, b = rng.sample(range(n), 2)
        while {a, b} == last:  # two swaps in a row that undo each other would be no steps
            a, b = rng.sample(range(n), 2)
        last = {a, b}
        touched |= last
        now[a], now[b] = now[b], now[a]
        link = _LINKS[0] if step == 0 else rng.choice(_LINKS[1:])
        sentences.append(f"{link} {people[a]} and {people[b]} meet and {swaps}.")
    asked = rng.choice(sorted(touched))
    text = f"{' '.join(sentences)} At the end, {ask.format(a=people[asked])}?"
    rng.shuffle(choices := list(things))
    return Question(text=text, answer=things[now[asked]], choices=tuple(choices))


# truth values


def _expression(rng: random.Random, n: int, value: bool) -> str:
    """Return an expression with n operators that has a value; the operators alone say nothing about
    the value.
    """
    if n == 0:
        return str(value)
    if rng.random() < 0.3:
        inner = _expression(rng, n - 1, not value)
        return f"not {inner}" if n == 1 or inner.startswith("not") else f"not ( {inner} )"
    operator = rng.choice(("and", "or"))
    decisive = operator == "or"  # one operand with this value is enough
    left, right = value, value
    if value == decisive:
        left, right = rng.choice(((value, value), (value, not value), (not value, value)))
    n_left = rng.randrange(n)
    sides = []
    for side, count in ((left, n_left), (right, n - 1 - n_left)):
        part = _expression(rng, count, side)
        sides.append(f"( {part} )" if count else part)
    return f" {operator} ".join(sides)


def boolean_expressions(rng: random.Random, n: int) -> Question:
    """Ask for the value of an expression of n operators."""
    value = rng.random() < 0.5
    text = f"What is the value of this expression?\n{_expression(rng, n, value)}"
    return Question(text=text, answer=str(value), choices=("True", "False"))


_SAYS = {
    True: ("{a} says that {b} tells the truth.", "{a} claims that {b} is honest."),
    False: ("{a} says that {b} lies.", "{a} claims that {b} is a liar."),
}


def web_of_lies(rng: random.Random, n: int) -> Question:
    """Ask whether the last of n people, at least 2, is honest: each but the first speaks of the one
    before.
    """
    people = rng.sample(NAMES, n)
    honest = rng.random() < 0.5
    sentences = [
        "Each of these people either always tells the truth or always lies.",
        f"{people[0]} {'tells the truth' if honest else 'lies'}.",
    ]
    for before, person in itertools.pairwise(people):
        says = rng.random() < 0.5
        sentences.append(rng.choice(_SAYS[says]).format(a=person, b=before))
        honest = says == honest
    text = f"{' '.join(sentences)} Does {people[-1]} tell the truth?"
    return Question(text=text, answer=YES_NO[not honest], choices=YES_NO)
