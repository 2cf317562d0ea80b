"""The two stages: who left the race and when, and what of the search's gains was confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rys.errors import PlotError
from rys.plot.candidates import MAX_ROWS, draw_intervals
from rys.plot.drawing import (
    BLUE,
    GREY,
    ORANGE,
    SMALL,
    axes_or_new,
    legend_beside,
    model_name,
    set_title,
    shortened,
)
from rys.sweep.results import Results

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Round", "race", "race_rounds", "shrinkage", "shrinkage_rows"]


@dataclass(frozen=True)
class Round:
    """Hold what became of the candidates at one number of items.

    n_items: of each probe. n_in: candidates that answered so many. left: float64, effects of those
        that left then.
    """

    n_items: int
    n_in: int
    left: npt.NDArray[np.float64]


def race_rounds(frame: pd.DataFrame) -> list[Round]:
    """Return the rounds of a race, from the results of a sweep. The list is empty if none left."""
    measured = frame[frame["effect"].notna() & (frame["status"] != "failed")]
    left = measured[measured["status"] == "left"]
    if not len(left):
        return []
    looks = sorted({*map(int, left["n_items"]), int(measured["n_items"].max())})
    return [
        Round(
            n_items=look,
            n_in=int((measured["n_items"] >= look).sum()),
            left=left.loc[left["n_items"] == look, "effect"].to_numpy(np.float64),
        )
        for look in looks
    ]


def race(sweep: Results, *, ax: Axes | None = None) -> Axes:
    """Draw when candidates left the race, with what gain, and how many were still in.

    Raises PlotError if none left.
    """
    frame = sweep.results()
    rounds = race_rounds(frame)
    if not rounds:
        raise PlotError(
            f"{sweep.path}: no candidate left a race; `rys sweep --strategy race` lets them leave"
        )
    stayed = frame.loc[frame["status"].isin(["done", "partial"]), ["n_items", "effect"]].dropna()
    ax = axes_or_new(ax, "race")
    rng = np.random.default_rng(0)
    for x, one in enumerate(rounds):
        here = stayed.loc[stayed["n_items"] == one.n_items, "effect"].to_numpy(np.float64)
        for values, colour, marker in ((one.left, ORANGE, "."), (here, BLUE, "o")):
            aside = rng.uniform(-0.28, 0.28, len(values))  # so that they do not hide each other
            ax.plot(
                x + aside, values, marker, color=colour, markersize=4, alpha=0.5, markeredgewidth=0
            )
    ax.plot([], [], ".", color=ORANGE, label="left after so many items")
    ax.plot([], [], "o", color=BLUE, markersize=4, label="stayed")
    ax.axhline(0, color="0.4", linewidth=0.8)
    ax.set_xticks(
        range(len(rounds)),
        [f"{one.n_items}\n{one.n_in:,} in\n{len(one.left):,} left" for one in rounds],
    )
    ax.set_xlim(-0.5, len(rounds) - 0.5)
    ax.set_xlabel("items of each probe, and candidates")
    ax.set_ylabel("difference to the baseline")
    ax.legend(fontsize=SMALL)
    set_title(ax, model_name(sweep), "The race: gains when candidates left it")
    return ax


def shrinkage_rows(sweep: Results) -> pd.DataFrame:
    """Return one row per path of the confirm stage: path, role, search, effect, low, high.

    role: "confirmed", "not confirmed" or "control". search: the gain in the search, NaN for
        controls outside of it.
    Raises PlotError without a confirm stage.
    """
    import pandas as pd

    report = sweep.report()
    judged = [(row, "confirmed" if row["confirmed"] else "not confirmed") for row in report["top"]]
    judged += [(row, "control") for row in report["controls"]]
    rows: list[dict[str, Any]] = [
        {"path": row["path"], "role": role, "search": row["search_effect"]}
        | {name: row[name] for name in ("effect", "low", "high")}
        for row, role in judged
    ]
    frame = pd.DataFrame(rows, columns=["path", "role", "search", "effect", "low", "high"])
    frame = frame[frame["effect"].notna()].reset_index(drop=True)
    if not len(frame):
        raise PlotError(
            f"{sweep.path} has no confirm stage; "
            + (
                "files of other programs never have one: sweep again with rys"
                if sweep.meta.get("imported")
                else f"`rys sweep --resume {sweep.path}` runs it"
            )
        )
    return frame


def shrinkage(sweep: Results, *, ax: Axes | None = None) -> Axes:
    """Draw the gain on fresh items against that of the search: points below the diagonal shrank
    (the winner's curse).

    Controls that the search did not have stand at the left edge. Raises PlotError without a confirm
    stage.
    """
    frame = shrinkage_rows(sweep)
    known = frame["search"].dropna().to_numpy(np.float64)
    ends = np.concatenate([known, frame[["low", "high"]].to_numpy(np.float64).ravel(), [0.0]])
    ends = ends[~np.isnan(ends)]
    margin = 0.06 * (np.ptp(ends) or 1.0)
    low, high = ends.min() - margin, ends.max() + margin
    ax = axes_or_new(ax, "shrinkage")
    styles = {"confirmed": ("D", ORANGE), "not confirmed": ("o", BLUE), "control": ("s", GREY)}
    ax.plot(
        [low, high],
        [low, high],
        color="0.4",
        linewidth=0.8,
        linestyle="--",
        label="as in the search",
    )
    ax.axhline(0, color="0.4", linewidth=0.8)
    for role, (marker, colour) in styles.items():
        rows = frame[frame["role"] == role]
        if len(rows):
            draw_intervals(ax, rows["search"].fillna(low + margin / 2), rows, marker, colour, role)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_xlabel("gain in the search")
    ax.set_ylabel("gain on fresh items")
    tops = frame[frame["role"] != "control"].head(MAX_ROWS)
    legend_beside(
        ax,
        [
            f"{search:+.3f} became {effect:+.3f}: {shortened(path, 28)}"
            for search, effect, path in zip(
                tops["search"], tops["effect"], tops["path"], strict=True
            )
        ],
    )
    set_title(ax, model_name(sweep), "What the confirmation left of the search's gains")
    return ax
