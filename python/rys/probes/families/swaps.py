"""The family of swaps: people who exchange what they have."""

from __future__ import annotations

import random

from rys.probes.families.words import COLORS, NAMES, join_words, word_tuple
from rys.probes.questions import Question

__all__ = ["tracking_shuffled_objects"]

_BALLS = tuple(map("the {} ball".format, COLORS))
_SEATS = tuple(map("seat {}".format, "KLMNPQRSTV"))  # the letters of the options are others
_ITEMS = tuple(map("the {}".format, word_tuple("map lamp drum kite mug rope key coin bell")))
_ANIMALS = tuple(map("the {}".format, word_tuple("cat dog goat hen horse rabbit parrot donkey")))

# How somebody has something, how two swap, how one is asked, and what there is.
_HOLDINGS = (
    ("{a} holds {x}", "they trade", "what does {a} hold", _BALLS),
    ("{a} sits in {x}", "they change seats", "where does {a} sit", _SEATS),
    ("{a} has {x}", "they exchange what they have", "what does {a} have", _ITEMS),
    ("{a} looks after {x}", "they swap animals", "what does {a} look after", _ANIMALS),
)
_LINKS = ("First,", "Then", "After that,", "Next,", "Later,")


def tracking_shuffled_objects(rng: random.Random, n: int) -> Question:
    """Ask what one of n people, 3 to 8, has after n swaps of two people each."""
    holds, swaps, ask, pool = rng.choice(_HOLDINGS)
    people = rng.sample(NAMES, n)
    things = rng.sample(pool, n)
    now = list(range(n))  # which thing each of them has
    starts = [holds.format(a=person, x=thing) for person, thing in zip(people, things, strict=True)]
    sentences = [f"At the start, {join_words(starts)}."]
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
    choices = list(things)
    rng.shuffle(choices)
    return Question(text=text, answer=things[now[asked]], choices=tuple(choices))
