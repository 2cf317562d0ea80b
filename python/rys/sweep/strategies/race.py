"""The race: candidates that cannot be among the best any more are eliminated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rys import statistics
from rys.sweep.strategies.base import Look, Strategy

__all__ = ["LOOKS", "Race"]

LOOKS = (16, 32, 64, 128)  # items of each probe; fixed beforehand, so that the bounds hold together


class Race(Strategy):
    """Evaluation in rounds, each of about as many items as all before it.

    After a round, candidates are eliminated whose upper bound lies below the running top-th best;
    see `rys.statistics.elimination_bounds`.
    """

    default_items = 256

    def looks(self, n_items: int) -> Sequence[int]:
        """Return 16, 32, 64 and 128, as far as they are below the number of items, and that."""
        return [*(look for look in LOOKS if look < n_items), n_items]

    def eliminated(self, look: Look) -> Mapping[str, str]:
        """Return the candidates whose upper bound lies below the running top-th best."""
        bounds = statistics.elimination_bounds(
            look.differences, look.weights, look.top, look.n_looks
        )
        reasons = {}
        for path, bound in zip(look.paths, bounds, strict=True):
            if bound < 0:
                reasons[path] = (
                    f"after {look.n_items} items at least {-bound:.3f} below place {look.top} of "
                    f"the race (95% confidence over all {look.n_looks} looks)"
                )
        return reasons
