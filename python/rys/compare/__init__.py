"""Compare runs, task by task: results of lm-evaluation-harness, of `rys probe` and of sweeps."""

from rys.compare.comparison import Comparison, compare
from rys.errors import CompareError

__all__ = ["CompareError", "Comparison", "compare"]
