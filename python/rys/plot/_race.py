"""The race: when candidates were eliminated, and with what gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rys.errors import PlotError
from rys.plot.figures import SweepPlot, axes_or_new
from rys.plot.style import BLUE, ORANGE, SMALL, draw_baseline, model_name, set_title
from rys.plot.sweep_data import ELIMINATED
from rys.sweep.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["RACE", "Round", "compute_race_rounds", "race"]

SIZE = (7.2, 4.4)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Round:
    """Candidates of a race at one number of items.

    Attributes:
        n_items: Items of each probe.
        n_in: Number of candidates that answered so many items.
        eliminated: float64 [K], effects of those that were eliminated after them.
    """

    n_items: int
    n_in: int
    eliminated: Floats


def compute_race_rounds(frame: pd.DataFrame) -> list[Round]:
    """Return the rounds of a race, from the results of a sweep.

    The list is empty if no candidate was eliminated.
    """
    measured = frame[frame["effect"].notna() & (frame["status"] != "failed")]
    eliminated = measured[measured["status"] == ELIMINATED]
    if not len(eliminated):
        return []
    # The last look eliminates nobody; its round shows those that reached the end.
    looks = {int(measured["n_items"].max()), *map(int, eliminated["n_items"])}
    rounds = []
    for look in sorted(looks):
        effects = eliminated.loc[eliminated["n_items"] == look, "effect"]
        rounds.append(
            Round(
                n_items=look,
                n_in=int((measured["n_items"] >= look).sum()),
                eliminated=effects.to_numpy(np.float64),
            )
        )
    return rounds


def race(sweep: Results, *, ax: Axes | None = None) -> Axes:
    """Draw when candidates were eliminated, with what gain, and how many were still in.

    Args:
        sweep: A `rys.Sweep`, or what `rys.sweep.results.open_results` returns.
        ax: Axes to draw in. None = those of a new figure.

    Raises:
        PlotError: No candidate was eliminated.
    """
    frame = sweep.results()
    rounds = compute_race_rounds(frame)
    if not rounds:
        raise PlotError(
            f"{sweep.path} has no candidate that was eliminated; sweep with --strategy race"
        )
    is_in = frame["status"].isin(["done", "partial"])
    still_in = frame.loc[is_in, ["n_items", "effect"]].dropna()
    ax = axes_or_new(ax, SIZE)
    rng = np.random.default_rng(0)  # the same picture every time
    for x, one in enumerate(rounds):
        effects = still_in.loc[still_in["n_items"] == one.n_items, "effect"].to_numpy(np.float64)
        for values, colour, marker in ((one.eliminated, ORANGE, "."), (effects, BLUE, "o")):
            aside = rng.uniform(-0.28, 0.28, len(values))  # so that they do not hide each other
            _draw_dots(ax, x + aside, values, marker, colour)
    # Empty lines, for the legend alone: the dots above are half transparent.
    ax.plot([], [], ".", color=ORANGE, label="eliminated after so many items")
    ax.plot([], [], "o", color=BLUE, markersize=4, label="not eliminated")
    draw_baseline(ax)
    ax.set_xticks(range(len(rounds)), [_tick_label(one) for one in rounds])
    ax.set_xlim(-0.5, len(rounds) - 0.5)
    ax.set_xlabel("items of each probe, and candidates")
    ax.set_ylabel("difference to the baseline")
    ax.legend(fontsize=SMALL)
    set_title(ax, model_name(sweep), "The race: gains when candidates were eliminated")
    return ax


RACE = SweepPlot(race, size=SIZE, takes_probe=False)


def _draw_dots(ax: Axes, x: Floats, effects: Floats, marker: str, colour: str) -> None:
    ax.plot(x, effects, marker, color=colour, markersize=4, alpha=0.5, markeredgewidth=0)


def _tick_label(one: Round) -> str:
    return f"{one.n_items}\n{one.n_in:,} in\n{len(one.eliminated):,} out"
