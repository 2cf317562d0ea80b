"""The content of the page apart from its look: plain values that JSON can hold.

None stands for what is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rys._util.json_values import json_value
from rys.html_report.settings import list_settings
from rys.next_steps import commands, sweep_command
from rys.sweep.block_map import colour_limit
from rys.sweep.report import SweepReport
from rys.sweep.results import Results
from rys.sweep.trial import Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["collect_content"]

ELIMINATED = Status.ELIMINATED.value
MAX_FAILURES = 10  # reasons that are listed one by one


class _Column(NamedTuple):
    """A column of the table of candidates.

    Attributes:
        key: Column of the sweep's frame.
        label: Heading.
        kind: How values are written, see `writers` in report.js.
    """

    key: str
    label: str
    kind: str


_BEFORE_PROBES = (
    _Column("path", "layer path", "text"),
    _Column("effect", "gain", "signed"),
    _Column("low", "95% from", "signed"),
    _Column("high", "to", "signed"),
    _Column("q", "q", "figure"),
)
_AFTER_PROBES = (
    _Column("extra_slots", "extra slots", "signed_integer"),
    _Column("n_items", "items", "integer"),
    _Column("status", "status", "text"),
    _Column("parse_rate", "answers read", "percent"),
    _Column("truncation_rate", "cut off", "percent"),
    _Column("seconds", "seconds", "decimal"),
    _Column("tokens", "tokens", "integer"),
    _Column("reason", "why it was eliminated or failed", "text"),
)


def collect_content(results: Results) -> dict[str, Any]:
    """Return what the page shows of a sweep.

    Returns:
        `data` is what the script draws, see `list_candidates` and `list_maps`. The other keys are
        for the template.
    """
    report = results.report()
    frame = results.results()
    probes = list(report.baseline)
    next_steps = commands(report)
    if report.provenance:  # known if the sweep was made on the command line
        again = sweep_command(report.provenance, report.store)
        next_steps = [("Repeat the sweep", again), *next_steps]
    shown: dict[str, Any] = {
        "title": report.model or results.path.name,
        "report": report.to_json(),
        "is_imported": report.is_imported,
        "notes": list_notes(report),
        "best": None if report.best is None else report.best.to_json(),
        "confirm": collect_confirm_stage(report),
        "departures": count_departures(frame),
        "settings": list_settings(report),
        "commands": next_steps,
        "n_outside": 0,
        "data": {"columns": [], "values": {}, "blocks": [], "maps": []},
    }
    if len(frame):
        confirmed = {gain.layer_path for gain in report.confirmed}
        data = list_candidates(frame, probes, confirmed)
        data["maps"] = list_maps(results, frame, probes)
        shown["data"] = data
        shown["n_outside"] = data["blocks"].count(None)
    # Six digits are more than any figure shows, and keep the page small.
    plain: dict[str, Any] = json_value(shown, n_digits=6)
    return plain


def list_candidates(frame: pd.DataFrame, probes: list[str], confirmed: set[str]) -> dict[str, Any]:
    """Return the candidates column by column, in the order of the frame.

    Args:
        frame: Results of the sweep.
        probes: Its probes.
        confirmed: Paths that were confirmed, in their notation.

    Returns:
        columns: key, label and kind of the columns that hold anything.
        values: A list per key.
        blocks: Per row the block (i, j) that runs twice, None for other paths.
        confirmed: The rows of the confirmed paths.
    """
    per_probe = []
    if len(probes) > 1:  # with one probe its difference is the gain itself
        for probe in probes:
            per_probe.append(_Column(f"{probe}_difference", probe, "signed"))
    if not frame["n_items"].any():
        frame = frame.assign(n_items=np.nan)  # files of other programs do not say
    columns = []
    for column in (*_BEFORE_PROBES, *per_probe, *_AFTER_PROBES):
        values = frame[column.key]
        if (values.notna() & (values != "")).any():
            columns.append(column)
    values_by_key = {column.key: frame[column.key].tolist() for column in columns}
    return {
        "columns": [column._asdict() for column in columns],
        "values": values_by_key,
        "blocks": frame["block"].tolist(),
        "confirmed": np.flatnonzero(frame["path"].isin(confirmed)).tolist(),
    }


def list_maps(results: Results, frame: pd.DataFrame, probes: list[str]) -> list[dict[str, Any]]:
    """Return a heatmap of the mean over probes and of each probe, or of the only probe.

    Returns:
        Per map a title; `effect`, `low`, `high` and `q` with one value per row of the frame;
        `limit`, the size of a gain that gets the strongest colour; and `best`, the row of the
        best path that was measured to the end, None if none was.
    """
    if len(probes) == 1:  # its differences are the mean over probes
        frames = {probes[0]: frame}
    else:
        frames = {"mean over probes": frame}
        for probe in probes:
            frames[probe] = results.results(probe)
    maps = []
    for title, one in frames.items():
        done = one.loc[one["status"] == "done", "path"]
        # Each frame is sorted by its own effect; the script wants all in one order.
        aligned = one.set_index("path").loc[frame["path"]]
        drawn: dict[str, Any] = {}
        for name in ("effect", "low", "high", "q"):
            drawn[name] = aligned[name].tolist()
        drawn["title"] = title
        drawn["limit"] = colour_limit(aligned["effect"].to_numpy(dtype=float))
        drawn["best"] = int((frame["path"] == done.iloc[0]).argmax()) if len(done) else None
        maps.append(drawn)
    return maps


def collect_confirm_stage(report: SweepReport) -> dict[str, Any] | None:
    """Return the rows of the confirm stage with what their drawing needs.

    Returns:
        None if the stage was not run to its end, else
        rows: As in the report, with `role`.
        bar: What a gain must exceed, as in the report.
        start, end: Ends of the scale.
        curse: Mean gain of the best paths in the search and on fresh items, None if unknown.
    """
    document = report.to_json()
    if not report.top:
        return None
    rows = []
    for row in document["top"]:
        rows.append(row | {"role": "confirmed" if row["confirmed"] else "not confirmed"})
    for row in document["controls"]:
        rows.append(row | {"role": "control"})
    figures = [0.0, document["bar"]]
    for row in rows:
        figures += [row[name] for name in ("effect", "low", "high", "search_effect")]
    known = list(filter(math.isfinite, figures))
    # All gains may be 0; the scale must have a length even then.
    margin = 0.06 * (max(known) - min(known)) or 0.1
    return {
        "rows": rows,
        "bar": document["bar"],
        "start": min(known) - margin,
        "end": max(known) + margin,
        "curse": _mean_gains(document["top"]),
    }


def _mean_gains(rows: Iterable[Mapping[str, Any]]) -> list[float] | None:
    """Return the mean gain in the search and on fresh items, over rows that have both."""
    pairs = np.array([(row["search_effect"], row["effect"]) for row in rows], dtype=float)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(pairs):
        return None
    means: list[float] = pairs.mean(axis=0).tolist()
    return means


def count_departures(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Return why candidates were not measured to the end, with how many."""
    found = []
    status = frame["status"]
    looks = frame.loc[status == ELIMINATED, "n_items"].value_counts().sort_index()
    for n_items, n in looks.items():
        reason = f"eliminated after {n_items} items: too far behind the best to catch up"
        found.append((reason, int(n)))
    n_partial = int((status == "partial").sum())
    if n_partial:
        found.append(("measured in part", n_partial))
    failures = frame.loc[status == "failed", "reason"].value_counts()
    for reason, n in failures.head(MAX_FAILURES).items():
        found.append((f"failed: {reason}", int(n)))
    if len(failures) > MAX_FAILURES:
        found.append(("failed for other reasons", int(failures[MAX_FAILURES:].sum())))
    return found


def list_notes(report: SweepReport) -> list[str]:
    """Return what a reader should know before the figures."""
    notes = list(report.notes)
    if report.forced:
        notes.append("Probes were used that cannot measure this model (--force).")
    for probe, reasons in report.left_out.items():
        notes.append(f"{probe} was left out: {' and '.join(reasons)}")
    for probe, reasons in report.preflight.items():
        if probe not in report.left_out:
            notes += [f"{probe}: {reason}" for reason in reasons]
    stopped = report.stopped
    if not report.is_complete:
        why = f": {stopped}" if stopped else ""
        notes.append(f"The sweep is not complete{why}.")
    elif stopped:
        notes.append(f"Stopped: {stopped}.")
    return notes
