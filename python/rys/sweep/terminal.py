"""The block heatmap and the tables of a sweep, for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rys._util.printable import printable
from rys._util.tables import table
from rys.next_steps import commands
from rys.sweep.block_map import block_matrix, colour_limit
from rys.sweep.report import SweepReport
from rys.sweep.rounding import describe_rounding
from rys.sweep.trial import Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["heatmap", "next_steps", "summary"]

_SHADES = "=-,.+*#"  # from far below over as good as to far above the baseline
_LABEL_WIDTH = 5  # characters before the first cell of a heatmap


def heatmap(frame: pd.DataFrame, n_layer: int, colour: bool, width: int = 120) -> str:
    """Return a drawing of the effects of blocks (i, j): starts i go down, ends j across.

    Args:
        frame: The results of a sweep.
        n_layer: Layers of the model.
        colour: Whether to use the terminal's colours, from red (worse than the baseline) over
            white to blue (better). Otherwise signs, which the last line explains.
        width: Characters of a line; cells become narrower to fit, down to one.

    Returns:
        The lines; "" if no block was measured.
    """
    values = block_matrix(frame, n_layer) if len(frame) else np.full((0, 0), np.nan)
    is_measured = ~np.isnan(values)
    if not is_measured.any():
        return ""
    rows, columns = np.nonzero(is_measured)
    rows = np.arange(rows.min(), rows.max() + 1)
    columns = np.arange(columns.min(), columns.max() + 1)
    # The scale of the plots and the report, so that all three agree.
    reach = colour_limit(values)
    best = np.unravel_index(np.nanargmax(values), values.shape)
    cell = max(1, min(3 if colour else 2, (width - _LABEL_WIDTH) // len(columns)))
    lines = [_heading(columns, cell)]
    for i in rows:
        cells = []
        for j in columns:
            is_best = (i, j) == best
            cells.append(_cell(float(values[i, j]) / reach, is_best, cell, colour))
        lines.append((f"{i:>{_LABEL_WIDTH}}" + "".join(cells)).rstrip())
    scale = f"{-reach:+.2f} .. {reach:+.2f}"
    if colour:
        legend = f"red worse, blue better than the baseline ({scale}); * the best"
    else:
        legend = f"= - , worse, . alike, + * # better than the baseline ({scale}); @ the best"
    return "\n".join([*lines, f"{legend}; blank not measured"])


def _heading(columns: npt.NDArray[np.intp], cell: int) -> str:
    """Return the line of the ends j, of which as many are named as there is room for."""
    widest = len(str(columns[-1] + 1))
    # Labels that touch each other would read as one number.
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100) if n * cell > widest)
    line = [" "] * (cell * len(columns) + _LABEL_WIDTH)
    for k, j in enumerate(columns):
        label = str(j + 1) if (j + 1) % every == 0 else ""
        end = _LABEL_WIDTH + cell * (k + 1)
        line[end - len(label) : end] = label
    return "  i\\j" + "".join(line).rstrip()[_LABEL_WIDTH:]


def _cell(value: float, is_best: bool, width: int, colour: bool) -> str:
    """Return one cell. value: the effect as a part of that with the fullest colour, or NaN."""
    if math.isnan(value):
        return " " * width
    value = min(1.0, max(-1.0, value))
    if colour:
        mark = "*" if is_best else " "
        return f"\x1b[48;5;{_colour(value)}m\x1b[30m{mark.center(width)}\x1b[0m"
    # Seven shades for the range from -1 to 1.
    shade = _SHADES[min(6, int((value + 1) * 3.5))]
    return ("@" if is_best else shade).rjust(width)


def _colour(value: float) -> int:
    """Return one of the 256 terminal colours for a value in [-1, 1]: red, white, blue."""
    # Colours 16 to 231 are a cube of 6 x 6 x 6: 16 + 36 red + 6 green + blue.
    level = min(5, int(abs(value) * 6))
    if value < 0:
        return 16 + 36 * 5 + 6 * (5 - level) + (5 - level)
    return 16 + 36 * (5 - level) + 6 * (5 - level) + 5


def summary(
    report: SweepReport, frame: pd.DataFrame, colour: bool, n_rows: int = 10, width: int = 120
) -> str:
    """Return the verdict, the best candidates, the confirmation, the heatmap and what to do next.

    Args:
        report: The sweep's.
        frame: Its results.
        colour: Whether the terminal shows colours.
        n_rows: Candidates to show.
        width: Characters of a line of the heatmap.
    """
    parts = [report.sentence]
    if len(frame):
        parts += _search_parts(report, frame, n_rows)
    if report.top:
        parts.append(_confirmation_part(report))
    if report.rounding is not None:
        sentence = describe_rounding(report.rounding)
        parts.append(f"{sentence[0].upper()}{sentence[1:]}. A smaller gain is none.")
    drawn = heatmap(frame, report.n_layer, colour, width) if len(frame) else ""
    if drawn:
        parts.append(f"Blocks (i, j), layers i..j-1 run twice:\n{drawn}")
    for probe, why in report.left_out.items():
        parts.append(printable(f"Left out: {probe}, {' and '.join(why)}", limit=None))
    if report.forced:
        parts.append("Careful: --force used probes that cannot measure this model.")
    parts.append(next_steps(report))
    return "\n\n".join(parts)


def _search_parts(report: SweepReport, frame: pd.DataFrame, n_rows: int) -> list[str]:
    probes = list(report.baseline)
    is_failed = frame["status"] == Status.FAILED.value
    rows = []
    for _, row in frame[~is_failed].head(n_rows).iterrows():
        gains = [f"{row[f'{probe}_difference']:+.3f}" for probe in probes]
        interval = f"[{row['low']:+.3f}, {row['high']:+.3f}]"
        before = [row["path"], f"{row['extra_slots']:+d}", row["n_items"]]
        rows.append([*before, *gains, f"{row['effect']:+.3f}", interval, f"{row['q']:.2g}"])
    head = ["path", "slots", "items", *probes, "gain", "95% interval", "q"]
    text = (
        f"Search: the best of {report.n_candidates} candidates ({report.n_eliminated} eliminated, "
        f"{report.n_failed} failed). Gains are paired differences to the baseline; q is adjusted "
        f"for their number.\n{table(head, rows)}"
    )
    parts = [text]
    if is_failed.any():
        first = frame[is_failed].iloc[0]
        parts.append(f"First failure: {first['path']}: {first['reason']}")
    return parts


def _confirmation_part(report: SweepReport) -> str:
    judged = []
    for top in report.top:
        judged.append((top, "confirmed" if top.confirmed else "not confirmed"))
    rows = []
    for trial, what in [*judged, *((control, "control") for control in report.controls)]:
        before = "" if math.isnan(trial.search_effect) else f"{trial.search_effect:+.3f}"
        interval = f"[{trial.low:+.3f}, {trial.high:+.3f}]"
        rows.append([trial.path, what, before, f"{trial.effect:+.3f}", interval])
    head = ["path", "", "gain in search", "gain", "interval"]
    return (
        f"Confirmation on {report.confirm_items} fresh items; intervals are corrected for the "
        f"{len(report.top)} best.\n{table(head, rows)}\n{_describe_controls(report)}"
    )


def _describe_controls(report: SweepReport) -> str:
    """Return what random paths gain, what a path must exceed, and how small a gain is found."""
    bar, smallest, power = report.bar, report.min_effect, report.power
    if bar is None or smallest is None or power is None or math.isnan(bar):
        return "There are too few random paths to compare with, so nothing can be confirmed."
    measured = [control for control in report.controls if math.isfinite(control.effect)]
    gains = [control.effect for control in measured]
    first = (
        f"Random paths of the same lengths gain {min(gains):+.3f} .. {max(gains):+.3f}: a path "
        f"must exceed {bar:+.3f} (mean + 2 standard deviations)."
    )
    lines = [first]
    if bar >= smallest:
        lines.append(
            f"The smallest gain asked for, {smallest}, lies below that, so these items cannot "
            f"confirm it."
        )
    else:
        lines.append(f"A gain of {smallest} would be confirmed with a probability of {power:.0%}.")
    # Their gain may be that of the best itself, which makes the threshold too high.
    near = sum(not control.is_apart for control in measured)
    if near:
        lines.append(
            f"No better controls were found: {near} of the {len(measured)} random paths change "
            f"mostly the layers that one of the best changes, and may share its gain."
        )
    return "\n".join(lines)


def next_steps(report: SweepReport) -> str:
    """Return what to do with the result, as commands."""
    lines = []
    if report.best and not report.confirmed:
        path = report.best.layer_path
        lines.append(f'The best of the search, not confirmed: layer_path="{path}"')
    for what, command in commands(report):
        lines.append(f"{printable(what)}:\n    {printable(command, limit=None)}")
    return "\n".join(lines)
