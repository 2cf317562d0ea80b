"""Families of generated questions for the reasoning probe, and how difficult each tier makes them.

They are in the manner of BIG-Bench-Hard and GSM8K, in wording of our own. The difficulty of a
family is the number of its objects or dependent steps. A new family is a function in a file of its
own and one line in the table below.
"""

from __future__ import annotations

from rys.probes.families.dates import date_understanding
from rys.probes.families.moves import navigate
from rys.probes.families.orders import logical_deduction
from rys.probes.families.quantities import word_problems
from rys.probes.families.swaps import tracking_shuffled_objects
from rys.probes.families.tables import table_lookup
from rys.probes.families.truth import boolean_expressions, web_of_lies
from rys.probes.questions import Family

__all__ = ["DIFFICULTIES", "FAMILIES"]

# Family; difficulty in the tiers easy, medium and hard. The probe asks them in this order.
_TABLE: tuple[tuple[Family, tuple[int, int, int]], ...] = (
    (logical_deduction, (3, 5, 7)),
    (navigate, (4, 6, 10)),
    (date_understanding, (2, 3, 5)),
    (tracking_shuffled_objects, (3, 5, 7)),
    (boolean_expressions, (5, 8, 14)),
    (web_of_lies, (4, 6, 10)),
    (table_lookup, (2, 4, 7)),
    (word_problems, (2, 4, 6)),
)

FAMILIES: dict[str, Family] = {family.__name__: family for family, _ in _TABLE}

# For each family, in the tiers "easy", "medium" and "hard".
DIFFICULTIES: dict[str, dict[str, int]] = {
    family.__name__: dict(zip(("easy", "medium", "hard"), difficulties, strict=True))
    for family, difficulties in _TABLE
}
