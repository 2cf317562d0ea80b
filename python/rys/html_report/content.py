"""What the page shows, computed apart from how it looks: plain values that JSON can hold, None for
what is unknown.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rys._util.json_values import json_value
from rys.layer_path import LayerPath
from rys.next_steps import commands, sweep_command
from rys.sweep.block_map import colour_limit
from rys.sweep.results import Results
from rys.sweep.space import repeated_block

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["content"]

# key of the frame, heading, how it is written (see `written` in report.js)
_BEFORE_PROBES = [
    ("path", "layer path", "text"),
    ("effect", "gain", "signed"),
    ("low", "95% from", "signed"),
    ("high", "to", "signed"),
    ("q", "q", "figure"),
]
_AFTER_PROBES = [
    ("extra_slots", "extra slots", "signed_integer"),
    ("n_items", "items", "integer"),
    ("status", "status", "text"),
    ("parse_rate", "answers read", "percent"),
    ("truncation_rate", "cut off", "percent"),
    ("seconds", "seconds", "decimal"),
    ("tokens", "tokens", "integer"),
    ("reason", "why it left or failed", "text"),
]


def content(results: Results) -> dict[str, Any]:
    """Return what the page shows of a sweep.

    data: what the script draws, see `candidates` and `maps`. The other keys are for the template.
    """
    report, meta = results.report(), results.meta
    frame = results.results()
    probes = list(report["baseline"])
    shown = {
        "title": report["model"] or results.path.name,
        "report": report,
        "is_imported": bool(meta.get("imported")),
        "warnings": warnings(report),
        "best": report["best"],
        "confirm": confirm_stage(report),
        "departures": departures(frame),
        "settings": settings(report, meta),
        "commands": [*repeated(report), *commands(report)],
        "n_outside": 0,
        "data": {"columns": [], "values": {}, "blocks": [], "maps": []},
    }
    if len(frame):
        shown["data"] = candidates(frame, probes, report) | {"maps": maps(results, frame, probes)}
        shown["n_outside"] = sum(block is None for block in shown["data"]["blocks"])
    plain: dict[str, Any] = json_value(shown, n_digits=6)
    return plain


def repeated(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what to type to make the sweep again, if it was made on the command line."""
    arguments = report["arguments"]
    return [("Repeat the sweep", sweep_command(arguments, report["store"]))] if arguments else []


def candidates(frame: pd.DataFrame, probes: list[str], report: dict[str, Any]) -> dict[str, Any]:
    """Return the candidates column by column, in the order of the frame.

    columns: key, label and kind of those that hold anything. values: by key. blocks: (i, j) or
        None. confirmed: rows.
    """
    per_probe = (
        [(f"{probe}_difference", probe, "signed") for probe in probes] if len(probes) > 1 else []
    )
    columns = [*_BEFORE_PROBES, *per_probe, *_AFTER_PROBES]
    if not frame["n_items"].any():
        frame = frame.assign(n_items=np.nan)  # sweeps of other programs do not say
    columns = [
        column for column in columns if (frame[column[0]].notna() & (frame[column[0]] != "")).any()
    ]
    confirmed = {row["layer_path"] for row in report["confirmed"]}
    n_layer = int(report["n_layer"])
    return {
        "columns": [{"key": key, "label": label, "kind": kind} for key, label, kind in columns],
        "values": {key: frame[key].tolist() for key, _, _ in columns},
        "blocks": [repeated_block(LayerPath(list(layers), n_layer)) for layers in frame["layers"]],
        "confirmed": [row for row, path in enumerate(frame["path"]) if path in confirmed],
    }


def maps(results: Results, frame: pd.DataFrame, probes: list[str]) -> list[dict[str, Any]]:
    """Return a heatmap for the mean over probes and for each, with one value per row of the frame.

    best: its row, None if nothing was measured to the end. limit: where colours end, see `limit`.
    """
    frames = {"mean over probes": frame} | {probe: results.results(probe) for probe in probes}
    if len(probes) == 1:
        frames = {probes[0]: frame}
    drawn = []
    for title, one in frames.items():
        done = one["path"][one["status"] == "done"]
        aligned = one.set_index("path").loc[frame["path"]]
        drawn.append(
            {name: aligned[name].tolist() for name in ("effect", "low", "high", "q")}
            | {
                "title": title,
                "limit": colour_limit(aligned["effect"].to_numpy(dtype=float)),
                "best": int((frame["path"] == done.iloc[0]).argmax()) if len(done) else None,
            }
        )
    return drawn


def confirm_stage(report: dict[str, Any]) -> dict[str, Any] | None:
    """Return the rows of the confirm stage with what their drawing needs, None if it was not run to
    its end.

    rows: as in the report, with `role`. bar: as in the report.
    start, end: of the scale. curse: mean gain of the best paths in the search and on fresh items.
    """
    if not report["top"]:
        return None
    rows = [
        row | {"role": "confirmed" if row["confirmed"] else "not confirmed"}
        for row in report["top"]
    ]
    rows += [row | {"role": "control"} for row in report["controls"]]
    bar = report["bar"]
    names = ("effect", "low", "high", "search_effect")
    figures = [0.0, bar, *(row[name] for row in rows for name in names)]
    figures = [value for value in figures if math.isfinite(value)]
    margin = 0.06 * (max(figures) - min(figures)) or 0.1
    pairs = [(row["search_effect"], row["effect"]) for row in report["top"]]
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    return {
        "rows": rows,
        "bar": bar,
        "start": min(figures) - margin,
        "end": max(figures) + margin,
        "curse": np.mean(pairs, axis=0).tolist() if pairs else None,
    }


def departures(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Return why candidates were not measured to the end, with how many."""
    left = frame[frame["status"] == "left"]["n_items"].value_counts().sort_index()
    found = [
        (f"left the race after {items} items: too far from the best to catch up", n)
        for items, n in left.items()
    ]
    partial = int((frame["status"] == "partial").sum())
    found += [("measured in part", partial)] if partial else []
    failed = frame[frame["status"] == "failed"]["reason"].value_counts()
    found += [(f"failed: {reason}", n) for reason, n in failed.head(10).items()]
    found += [("failed for other reasons", failed[10:].sum())] if len(failed) > 10 else []
    return [(reason, int(n)) for reason, n in found]


def warnings(report: dict[str, Any]) -> list[str]:
    """Return what a reader should know before the figures."""
    said = list(report["notes"])
    if report["forced"]:
        said.append("Probes were used that cannot measure this model (--force).")
    said += [
        f"{probe}: {reason}" for probe, reasons in report["preflight"].items() for reason in reasons
    ]
    if not report["is_complete"]:
        said.append(
            f"The sweep is not complete{': ' if report['stopped'] else ''}{report['stopped']}."
        )
    elif report["stopped"]:
        said.append(f"Stopped: {report['stopped']}.")
    return said


def settings(report: dict[str, Any], meta: dict[str, Any]) -> list[tuple[str, str]]:
    """Return name and value of what the results depend on, and where they come from."""
    asking = meta.get("asking") or {}
    variant = meta.get("variant")
    seconds, tokens = report["seconds"], report["tokens"]
    pairs: list[tuple[str, Any]] = [
        ("model", report["model"]),
        ("fingerprint", report["fingerprint"]),
        ("layers", report["n_layer"]),
        (
            "options that change results",
            variant and ", ".join(f"{k}={v}" for k, v in variant.items() if v is not None),
        ),
        ("probes", ", ".join(map(str, report["probes"] or []))),
        ("items of each probe", meta.get("items")),
        ("fresh items of the confirmation", report["confirm_items"] or None),
        ("thinking", asking.get("thinking") and f"up to {asking.get('thinking_budget')} tokens"),
        (
            "candidates",
            f"{report['n_candidates']:,}" + (f", {report['space']}" if report["space"] else ""),
        ),
        ("strategy", report["strategy"]),
        ("seed", meta.get("seed")),
        ("candidates to confirm", meta.get("top")),
        ("smallest gain to find", report["min_effect"]),
        ("budget", meta.get("budget")),
        ("time of the model", None if seconds is None else duration(seconds)),
        ("tokens evaluated", None if tokens is None else f"{tokens:,}"),
        ("rys", meta.get("rys")),
        ("llama.cpp", meta.get("llama_cpp")),
        ("file", report["store"]),
    ]
    return [
        (name, str(value))
        for name, value in pairs
        if value is not None and value is not False and value != ""
    ]


def duration(seconds: float) -> str:
    """Return a time in the two largest units that it has."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
