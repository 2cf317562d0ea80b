"""The block heatmap and the tables of a sweep, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rys.layer_path import LayerPath
from rys.sweep.space import repeated_block
from rys.tables import table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["block_matrix", "heatmap", "summary"]

_SHADES = "=-. +*#"  # far below, below, a little below; a little above, above, far above


def block_matrix(frame: pd.DataFrame, n_layer: int) -> npt.NDArray[np.float64]:
    """Return the effects of the blocks that run twice, float64 [n_layer, n_layer]: row i, column j - 1; NaN = none."""
    values = np.full((n_layer, n_layer), np.nan)
    for layers, effect in zip(frame["layers"], frame["effect"], strict=True):
        block = repeated_block(LayerPath(list(layers), n_layer))
        if block:
            values[block[0], block[1] - 1] = effect
    return values


def heatmap(frame: pd.DataFrame, n_layer: int, colour: bool) -> str:
    """Draw the effects of blocks (i, j): starts i go down, ends j across.

    colour: shades from red (worse than the baseline) over white to blue (better). Without, signs: see the legend.
    """
    values = block_matrix(frame, n_layer) if len(frame) else np.full((0, 0), np.nan)
    if np.isnan(values).all():
        return ""
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    columns = np.flatnonzero(~np.isnan(values).all(axis=0))
    rows = np.arange(rows[0], rows[-1] + 1)
    columns = np.arange(columns[0], columns[-1] + 1)
    reach = float(np.nanmax(np.abs(values))) or 1.0
    best = np.unravel_index(np.nanargmax(values), values.shape)
    wide = 3 if colour else 2
    header = "".join(
        f"{column + 1:>{wide}}" if wide == 3 or (column + 1) % 2 == 0 else " " * wide for column in columns
    )
    lines = ["  i\\j" + header]
    for i in rows:
        cells = []
        for j in columns:
            value = values[i, j]
            mark = "*" if (i, j) == best else " "
            if np.isnan(value):
                cells.append(" " * wide)
            elif colour:
                cells.append(f"\x1b[48;5;{_colour(value / reach)}m\x1b[30m {mark} \x1b[0m")
            else:
                cells.append(f" {'@' if mark == '*' else _SHADES[min(6, int((value / reach + 1) * 3.5))]}")
        lines.append(f"{i:>5}" + "".join(cells))
    scale = f"{-reach:+.2f} .. {reach:+.2f}"
    legend = (
        f"red worse, blue better than the baseline ({scale}); * the best; blank not measured"
        if colour
        else f"= - . worse, + * # better than the baseline ({scale}); @ the best; blank near it, or not measured"
    )
    return "\n".join([*lines, legend])


def _colour(value: float) -> int:
    """Return one of the 256 terminal colours for a value in [-1, 1]: red, white, blue."""
    level = min(5, int(abs(value) * 6))
    if value < 0:
        return 16 + 36 * 5 + 6 * (5 - level) + (5 - level)
    return 16 + 36 * (5 - level) + 6 * (5 - level) + 5


def summary(report: dict[str, Any], frame: pd.DataFrame, colour: bool, n_rows: int = 10) -> str:
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
        judged = [(row, "confirmed" if row["confirmed"] else "not confirmed") for row in report["top"]]
        judged += [(row, "control") for row in report["controls"]]
        rows = [
            [
                row["path"],
                what,
                f"{row['search_effect']:+.3f}" if row["search_effect"] == row["search_effect"] else "",
                f"{row['effect']:+.3f}",
                f"[{row['low']:+.3f}, {row['high']:+.3f}]",
            ]
            for row, what in judged
        ]
        parts.append(
            f"Confirmation on {report['confirm_items']} fresh items (a gain of {report['min_effect']} "
            f"would be found with {report['power']:.0%}); intervals are corrected for {len(report['top'])} paths.\n"
            + table(["path", "", "gain in search", "gain", "interval"], rows)
        )
    drawn = heatmap(frame, report["n_layer"], colour) if len(frame) else ""
    if drawn:
        parts.append(f"Blocks (i, j), layers i..j-1 run twice:\n{drawn}")
    if report["forced"]:
        parts.append("Marked: probes were used that cannot measure this model (--force).")
    if report["best"]:
        path = report["best"]["layer_path"]
        is_reference = report["model"] == "reference.gguf"
        loaded = f'rys.reference_model("{path}")' if is_reference else f'rys.Model("{report["model"]}", "{path}")'
        model = "" if is_reference else f"{report['model']} "
        parts.append(
            f'To use it: {loaded}, that is layer_path="{path}".\n'
            f"To compare it on other items: rys probe {model}--layer-path .. --layer-path {path} --split confirm"
        )
    return "\n\n".join(parts)
