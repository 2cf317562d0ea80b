"""Plots of sweeps and of models, with matplotlib (`pip install "rys[plot]"`).

Each returns its Axes.
"""

from rys.errors import PlotError
from rys.plot.blocks import heatmap, heatmaps, skyline
from rys.plot.candidates import pareto, repeats
from rys.plot.stages import race, shrinkage
from rys.plot.streams import anatomy, influence

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
