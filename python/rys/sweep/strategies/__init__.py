"""The strategies of a sweep's search, by name.

A new one is a file beside these and a line in `STRATEGIES`; the command line offers it at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from rys.errors import RequestError
from rys.sweep.strategies.base import Look, Strategy
from rys.sweep.strategies.race import Race
from rys.sweep.strategies.scan import Scan

__all__ = ["STRATEGIES", "Look", "Race", "Scan", "Strategy", "chosen_strategy"]

STRATEGIES: Mapping[str, Strategy] = {
    "scan": Scan(),
    "race": Race(),
}

# With so few candidates a scan costs little more than a race, and compares all on all items.
_LARGEST_SCAN = 50


def chosen_strategy(name: str | None, n_candidates: int, is_plan: bool) -> str:
    """Return the name of a strategy.

    Args:
        name: The name; None for a race where there are more than 50 candidates or a plan, whose
            number of candidates is not known beforehand, and for a scan otherwise.
        n_candidates: Candidates of the first phase.
        is_plan: Whether more phases may follow.

    Raises:
        RequestError: There is no such strategy.
    """
    if name is None:
        return "race" if is_plan or n_candidates > _LARGEST_SCAN else "scan"
    check_strategy(name)
    return name


def check_strategy(name: str | None) -> None:
    """Raise RequestError unless the name is None or that of a strategy."""
    if name is not None and name not in STRATEGIES:
        names = ", ".join([f'"{known}"' for known in STRATEGIES])
        raise RequestError(f"strategy is {name!r}, but must be {names} or None")
