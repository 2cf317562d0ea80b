"""The family of tables: rows that name one another."""

from __future__ import annotations

import random

from rys.probes.families.words import NAMES, word_tuple
from rys.probes.questions import Question

__all__ = ["table_lookup"]

_TABLES = (
    ("a fruit", word_tuple("apple pear plum fig mango lemon melon kiwi date quince banana lime")),
    ("an animal", word_tuple("cat dog goat hen horse rabbit otter donkey owl seal mole fox")),
    ("a city", word_tuple("Oslo Lima Cairo Quito Delhi Paris Osaka Perth Miami Accra Turin Riga")),
)
_N_ENTRIES = 4  # options


def table_lookup(rng: random.Random, n: int) -> Question:
    """Ask what is in the row that n links, at most 10, through a small table lead to."""
    kind, pool = rng.choice(_TABLES)
    n_row = max(6, n + 2)
    names = rng.sample(NAMES, n_row)
    things = rng.sample(pool, n_row)
    # One ring, in the order of the links: no row comes twice on the way, and each is named once.
    rows = [f"{names[k]} | {names[(k + 1) % n_row]} | {things[k]}" for k in range(n_row)]
    rng.shuffle(rows)
    times = "once" if n == 1 else f"{n} times in all"
    text = (
        f"In this table, every row has a name, the name of its next row, and {kind}.\n"
        + "\n".join(rows)
        + f"\nStart in the row of {names[0]}. Go to its next row, and do so {times}. "
        f"Which {kind.split()[1]} is in the row where you arrive?"
    )
    # The row before the last is always an option: it is what one link too few leads to.
    others = [thing for k, thing in enumerate(things) if k not in (n - 1, n)]
    choices = [things[n - 1], things[n], *rng.sample(others, _N_ENTRIES - 2)]
    rng.shuffle(choices)
    return Question(text=text, answer=things[n], choices=tuple(choices))
