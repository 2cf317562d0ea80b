"""Families of generated questions for the reasoning probe, and how difficult each tier makes them.

They are in the manner of BIG-Bench-Hard and GSM8K, in wording of our own. The difficulty of a
family is the number of its objects or dependent steps. A new family is a function in a file of its
own and one line in the table below.
"""

from __future__ import annotations

from rys.probes.families.basics import (
    agreement,
    article,
    kinds,
    look_up,
    order_of_two,
    pattern,
    place_in_list,
    sentiment,
)
from rys.probes.families.dates import date_understanding
from rys.probes.families.moves import navigate
from rys.probes.families.orders import logical_deduction
from rys.probes.families.quantities import word_problems
from rys.probes.families.swaps import tracking_shuffled_objects
from rys.probes.families.tables import table_lookup
from rys.probes.families.truth import boolean_expressions, web_of_lies
from rys.probes.questions import Family

__all__ = ["DIFFICULTIES", "FAMILIES"]

# Families and difficulties of the tiers that have families of their own. A tier has four, with two
# or four choices each, so that 16, 32 or 64 items have every right answer equally often.
_STARTER: tuple[tuple[Family, int], ...] = (
    (agreement, 1),
    (kinds, 3),
    (article, 1),
    (sentiment, 2),
)
_BASIC: tuple[tuple[Family, int], ...] = (
    (look_up, 4),
    (place_in_list, 4),
    (order_of_two, 2),
    (pattern, 4),
)

# Family; difficulty in the tiers easy, medium, hard and expert. The probe asks them in this order.
_TABLE: tuple[tuple[Family, tuple[int, int, int, int]], ...] = (
    (logical_deduction, (3, 5, 7, 7)),
    (navigate, (4, 6, 10, 20)),
    (date_understanding, (2, 3, 5, 10)),
    (tracking_shuffled_objects, (3, 5, 7, 8)),
    (boolean_expressions, (5, 8, 14, 28)),
    (web_of_lies, (4, 6, 10, 20)),
    (table_lookup, (2, 4, 7, 10)),
    (word_problems, (2, 4, 6, 6)),
)

FAMILIES: dict[str, Family] = {
    family.__name__: family for family, _ in (*_STARTER, *_BASIC, *_TABLE)
}


def _of_tier(place: int) -> dict[str, int]:
    """Return the families with their difficulties in a tier of the second table."""
    return {family.__name__: difficulties[place] for family, difficulties in _TABLE}


# For each tier, its families with their difficulties.
DIFFICULTIES: dict[str, dict[str, int]] = {
    "starter": {family.__name__: difficulty for family, difficulty in _STARTER},
    "basic": {family.__name__: difficulty for family, difficulty in _BASIC},
    "easy": _of_tier(0),
    "medium": _of_tier(1),
    "hard": _of_tier(2),
    "expert": _of_tier(3),
}
