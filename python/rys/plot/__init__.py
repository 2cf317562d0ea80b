"""Plots of sweeps and of models, with matplotlib (`pip install "rys[plot]"`).

Every function returns its Axes. Each plot has a file of its own, `_<name>.py`, which computes its
numbers apart from the drawing. A new plot is one new file, registered here: in the imports, in
`__all__`, and in `SWEEP_PLOTS` if `rys plot` is to offer it.
"""

# The files begin with an underscore because a function would hide a module of the same name.
from rys.errors import PlotError
from rys.plot._anatomy import anatomy
from rys.plot._heatmap import HEATMAP, heatmap
from rys.plot._heatmaps import heatmaps
from rys.plot._influence import influence
from rys.plot._pareto import PARETO, pareto
from rys.plot._race import RACE, race
from rys.plot._repeats import REPEATS, repeats
from rys.plot._shrinkage import SHRINKAGE, shrinkage
from rys.plot._skyline import SKYLINE, skyline

__all__ = [
    "PlotError",
    "anatomy",
    "heatmap",
    "heatmaps",
    "influence",
    "pareto",
    "race",
    "repeats",
    "shrinkage",
    "skyline",
]

# The kinds of `rys plot`, in the order in which `--kind all` draws them
SWEEP_PLOTS = (HEATMAP, SKYLINE, REPEATS, PARETO, RACE, SHRINKAGE)
