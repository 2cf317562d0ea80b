"""The scan: every candidate answers all items."""

from __future__ import annotations

from collections.abc import Sequence

from rys.sweep.strategies.base import Strategy

__all__ = ["Scan"]


class Scan(Strategy):
    """Evaluation of every candidate on all items, without a look in between."""

    default_items = 64

    def looks(self, n_items: int) -> Sequence[int]:
        """Return the number of items alone."""
        return [n_items]
