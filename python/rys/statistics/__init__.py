"""Statistics of paired scores: intervals, tests, and how many items find an effect.

Probes, sweeps and comparisons of runs take their intervals from here, so the same scores of the
same items get the same interval whichever command prints it.

Letters:
    C: candidates (paths that are compared with a baseline).
    N: items.

Arrays:
    differences: float64 [C, N], a candidate's score minus the baseline's score.
    weights: float64 [N], the weights of the items. They sum to 1, so `differences @ weights` is
        the effect of each candidate: the mean over probes of the mean over their items.
    strata: int [N], the group (probe and family) of every item.
"""

from rys.statistics.decisions import (
    Verdict,
    control_threshold,
    deviation_at_most,
    deviations_of,
    elimination_bounds,
    is_confirmed,
    items_needed,
    power,
)
from rys.statistics.intervals import (
    bootstrap_intervals,
    mean_interval,
    paired_interval,
    ratio_interval,
)
from rys.statistics.items import Floats, Ints, strata_of, weights_of
from rys.statistics.p_values import adjusted_p_values, sign_flip_p_values, welch_test

__all__ = [
    "Floats",
    "Ints",
    "Verdict",
    "adjusted_p_values",
    "bootstrap_intervals",
    "control_threshold",
    "deviation_at_most",
    "deviations_of",
    "elimination_bounds",
    "is_confirmed",
    "items_needed",
    "mean_interval",
    "paired_interval",
    "power",
    "ratio_interval",
    "sign_flip_p_values",
    "strata_of",
    "weights_of",
    "welch_test",
]
