"""The block heatmap and the tables of a sweep, for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rys._util.printable import printable
from rys._util.tables import table
from rys.next_steps import commands
from rys.sweep.block_map import block_matrix, colour_limit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["heatmap", "next_steps", "summary"]

_SHADES = "=-,.+*#"  # from far below over as good as to far above


def heatmap(frame: pd.DataFrame, n_layer: int, colour: bool, width: int = 120) -> str:
    """Draw the effects of blocks (i, j): starts i go down, ends j across.

    colour: shades from red (worse than the baseline) over white to blue (better). Without, signs:
        see the legend.
    width: characters of a line, which the cells become narrower for, down to one.
    """
    values = block_matrix(frame, n_layer) if len(frame) else np.full((0, 0), np.nan)
    if np.isnan(values).all():
        return ""
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    columns = np.flatnonzero(~np.isnan(values).all(axis=0))
    rows = np.arange(rows[0], rows[-1] + 1)
    columns = np.arange(columns[0], columns[-1] + 1)
    reach = colour_limit(values)
    best = np.unravel_index(np.nanargmax(values), values.shape)
    cell = max(1, min(3 if colour else 2, (width - 5) // len(columns)))
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100) if n * cell > len(str(columns[-1] + 1)))
    labels = [str(j + 1) if (j + 1) % every == 0 else "" for j in columns]
    header = [" "] * (cell * len(columns) + 5)
    for k, label in enumerate(labels):
        end = 5 + cell * (k + 1)
        header[end - len(label) : end] = label
    lines = ["".join(header).rstrip()]
    lines[0] = "  i\\j" + lines[0][5:]
    for i in rows:
        cells = []
        for j in columns:
            value, mark = min(1.0, max(-1.0, values[i, j] / reach)), "*" if (i, j) == best else " "
            if np.isnan(values[i, j]):
                cells.append(" " * cell)
            elif colour:
                cells.append(f"\x1b[48;5;{_colour(value)}m\x1b[30m{mark.center(cell)}\x1b[0m")
            else:
                cells.append(
                    ("@" if mark == "*" else _SHADES[min(6, int((value + 1) * 3.5))]).rjust(cell)
                )
        lines.append((f"{i:>5}" + "".join(cells)).rstrip())
    scale = f"{-reach:+.2f} .. {reach:+.2f}"
    legend = (
        f"red worse, blue better than the baseline ({scale}); * the best; blank not measured"
        if colour
        else f"= - , worse, . alike, + * # better than the baseline ({scale}); @ the best; blank not measured"
    )
    return "\n".join([*lines, legend])


def _colour(value: float) -> int:
    """Return one of the 256 terminal colours for a value in [-1, 1]: red, white, blue."""
    level = min(5, int(abs(value) * 6))
    if value < 0:
        return 16 + 36 * 5 + 6 * (5 - level) + (5 - level)
    return 16 + 36 * (5 - level) + 6 * (5 - level) + 5


def summary(
    report: dict[str, Any], frame: pd.DataFrame, colour: bool, n_rows: int = 10, width: int = 120
) -> str:
    """Return the verdict, the best candidates, the confirm stage, the heatmap and what to do next."""
    parts = [report["sentence"]]
    probes = list(report["baseline"])
    if len(frame):
        rows = [
            [
                row["path"],
                f"{row['extra_slots']:+d}",
                row["n_items"],
                *(f"{row[f'{probe}_difference']:+.3f}" for probe in probes),
                f"{row['effect']:+.3f}",
                f"[{row['low']:+.3f}, {row['high']:+.3f}]",
                f"{row['q']:.2g}",
            ]
            for _, row in frame[frame["status"] != "failed"].head(n_rows).iterrows()
        ]
        head = ["path", "slots", "items", *probes, "gain", "95% interval", "q"]
        parts.append(
            f"Search: the best of {report['n_candidates']} candidates ({report['n_left']} left the race, "
            f"{report['n_failed']} failed). Gains are paired differences to the baseline; q is adjusted for their "
            f"number.\n" + table(head, rows)
        )
        failed = frame[frame["status"] == "failed"]
        if len(failed):
            parts.append(f"First failure: {failed.iloc[0]['path']}: {failed.iloc[0]['reason']}")
    if report["top"]:
        judged = [
            (row, "confirmed" if row["confirmed"] else "not confirmed") for row in report["top"]
        ]
        judged += [(row, "control") for row in report["controls"]]
        rows = [
            [
                row["path"],
                what,
                f"{row['search_effect']:+.3f}"
                if row["search_effect"] == row["search_effect"]
                else "",
                f"{row['effect']:+.3f}",
                f"[{row['low']:+.3f}, {row['high']:+.3f}]",
            ]
            for row, what in judged
        ]
        parts.append(
            f"Confirmation on {report['confirm_items']} fresh items; intervals are corrected for the "
            f"{len(report['top'])} best.\n"
            + table(["path", "", "gain in search", "gain", "interval"], rows)
            + f"\n{controls(report)}"
        )
    drawn = heatmap(frame, report["n_layer"], colour, width) if len(frame) else ""
    if drawn:
        parts.append(f"Blocks (i, j), layers i..j-1 run twice:\n{drawn}")
    if report["forced"]:
        parts.append("Marked: probes were used that cannot measure this model (--force).")
    parts.append(next_steps(report))
    return "\n\n".join(parts)


def controls(report: dict[str, Any]) -> str:
    """Return what the random paths gain, and so what the best must exceed, and how small a gain
    would be found.
    """
    bar, smallest = report["bar"], report["min_effect"]
    if math.isnan(bar):
        return "There are too few random paths to compare with, so nothing can be confirmed."
    measured = [row for row in report["controls"] if math.isfinite(row["effect"])]
    gains = [row["effect"] for row in measured]
    text = (
        f"Random paths of the same lengths gain {min(gains):+.3f} .. {max(gains):+.3f}: a path must exceed {bar:+.3f} "
        f"(mean + 2 standard deviations).\n"
    )
    if bar >= smallest:
        text += f"The smallest gain asked for, {smallest}, lies below that, so these items cannot confirm it."
    else:
        text += (
            f"A gain of {smallest} would be confirmed with a probability of {report['power']:.0%}."
        )
    near = sum(not row["is_apart"] for row in measured)
    if near:
        text += (
            f"\nNo others were found: {near} of the {len(measured)} random paths change mostly the layers that "
            f"one of the best changes, and may share its gain."
        )
    return text


def next_steps(report: dict[str, Any]) -> str:
    """Return what to do with the result, as commands."""
    lines = [
        f"{printable(what)}:\n    {printable(command, limit=None)}"
        for what, command in commands(report)
    ]
    if report["best"] and not report["confirmed"]:
        best = report["best"]
        lines.insert(0, f'The best of the search, not confirmed: layer_path="{best["layer_path"]}"')
    return "\n".join(lines)
