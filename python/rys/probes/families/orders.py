"""The family of orders: clues that leave one order of several things."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rys.probes.families.words import COLORS, COUNTS, NAMES, ORDINALS, join_words, word_tuple
from rys.probes.questions import Question

__all__ = ["logical_deduction"]

# Kind; two things, or for the kind "place" a thing and its place.
_Clue = tuple[str, int, int]


@dataclass(frozen=True)
class _Setting:
    """Words for a hidden order: a comes before b, and k is a place counted from the first."""

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
        things=word_tuple("apples pears plums figs mangoes lemons grapes cherries dates melons"),
        intro="A stall sells {n} kinds of fruit, all at different prices: {things}.",
        before="{a} cost more than {b}.",
        adjacent="{a} cost more than {b}, and no other price is between theirs.",
        gap="Exactly one kind of fruit has a price between those of {a} and {b}.",
        place="Counted from the most expensive, {a} come {k}.",
        ask="Counted from the most expensive, which fruit comes {k}?",
    ),
)


def logical_deduction(rng: random.Random, n: int) -> Question:
    """Ask which of n things, 3 to 7, has a place in an order that the clues determine.

    No clue can be left out.
    """
    setting = rng.choice(_SETTINGS)
    things = rng.sample(setting.things, n)
    order = list(range(n))
    rng.shuffle(order)
    chosen = _sufficient(_possible_clues(rng, order), n)
    rng.shuffle(chosen)
    sentences = []
    for kind, a, b in chosen:
        second = {"k": ORDINALS[b]} if kind == "place" else {"b": things[b]}
        sentences.append(_sentence(getattr(setting, kind).format(a=things[a], **second)))
    given = {place for kind, _, place in chosen if kind == "place"}
    asked = rng.choice([place for place in range(n) if place not in given])
    intro = _sentence(setting.intro.format(n=COUNTS[n], things=join_words(things)))
    text = " ".join([intro, *sentences, setting.ask.format(k=ORDINALS[asked])])
    return Question(text=text, answer=things[order[asked]], choices=tuple(things))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _possible_clues(rng: random.Random, order: Sequence[int]) -> list[_Clue]:
    """Return true clues: a few that say much, and all comparisons, which always suffice."""
    n = len(order)
    told = rng.randrange(n)
    i = rng.randrange(n - 1)
    j = rng.randrange(n - 2)
    apart = (order[j], order[j + 2]) if rng.random() < 0.5 else (order[j + 2], order[j])
    strong = [("adjacent", order[i], order[i + 1]), ("gap", *apart), ("place", order[told], told)]
    clues = rng.sample(strong, rng.randrange(1, 4))
    comparisons = [("before", a, b) for a, b in itertools.combinations(order, 2)]
    rng.shuffle(comparisons)
    return clues + comparisons


def _sufficient(clues: Sequence[_Clue], n: int) -> list[_Clue]:
    """Return clues that determine the order, none of which can be left out."""
    at, pairs = _order_sets(n)
    chosen: list[_Clue] = []
    masks: list[int] = []
    possible = -1  # all orders
    for kind, a, b in clues:
        mask = at[a][b] if kind == "place" else pairs[a, b, kind]
        if possible & mask != possible:
            possible &= mask
            chosen.append((kind, a, b))
            masks.append(mask)
            if not possible & (possible - 1):  # a single bit: one order is left
                break
    for k in reversed(range(len(chosen))):
        rest = -1
        for mask in masks[:k] + masks[k + 1 :]:
            rest &= mask
        if rest == possible:
            del chosen[k], masks[k]
    return chosen


@lru_cache
def _order_sets(n: int) -> tuple[list[list[int]], dict[tuple[int, int, str], int]]:
    """Return the orders of n things in which a clue is true, as sets.

    A set of orders is an integer with one bit for each of the n! orders, so that the orders that
    fit several clues are their bitwise "and".

    Returns:
        The sets for the clue "place", [thing][place]; and those for the others, by the two things
        and the kind of clue.
    """
    orders = list(itertools.permutations(range(n)))
    at = []
    for thing in range(n):
        at.append([_set_of_orders(orders, thing, place) for place in range(n)])
    kinds = ("before", "adjacent", "gap")
    pairs = dict.fromkeys(itertools.product(range(n), range(n), kinds), 0)
    for a, b in itertools.permutations(range(n), 2):
        for i, j in itertools.permutations(range(n), 2):
            both = at[a][i] & at[b][j]
            pairs[a, b, "before"] |= both if i < j else 0
            pairs[a, b, "adjacent"] |= both if j == i + 1 else 0
            pairs[a, b, "gap"] |= both if abs(i - j) == 2 else 0
    return at, pairs


def _set_of_orders(orders: Sequence[tuple[int, ...]], thing: int, place: int) -> int:
    """Return the set of the orders in which a thing has a place."""
    return int("".join("1" if order[place] == thing else "0" for order in orders), 2)
