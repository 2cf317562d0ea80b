"""Compare runs, task by task: results of lm-evaluation-harness, of `rys probe` and of sweeps.

`compare` is the function, which has the name of this package::

    from rys.compare import compare

    found = compare("base/", "other/")
    found.rows      # a list of Row
    found.sentence  # what was found

It returns a `Comparison` with one `Row` for every task, metric and filter, and raises
`CompareError`.
"""

from rys.compare.comparison import Comparison, compare
from rys.compare.row import Row
from rys.errors import CompareError

__all__ = ["CompareError", "Comparison", "Row", "compare"]
