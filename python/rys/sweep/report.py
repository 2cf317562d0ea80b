"""What a sweep says: one verdict, the best path, the confirm stage; as JSON can hold it."""

from __future__ import annotations

import math
from typing import Any

from rys.sweep import analysis
from rys.sweep.store import Store

__all__ = ["report"]


def report(store: Store) -> dict[str, Any]:
    """Return the state of a sweep.

    verdict: "confirmed" or "none". sentence: the verdict for people. best: the best confirmed path,
        else the best of
    the search, with `layer_path`, `effect`, `interval`, `by_probe` and `interval_by_probe`, or
    None. confirmed: list of
    such. top and controls: the confirm stage. bar: what a gain must exceed to be more than that of
    the controls, None
    before that stage and NaN with fewer than two. n_candidates: tried. seconds: of the model.
    store: the file. notes:
    what a reader of the figures should know.
    """
    meta = store.meta
    forced = bool(meta.get("force")) and any(meta.get("preflight", {}).values())
    found = analysis.search(store)
    confirmed_stage = analysis.confirmation(store)
    frame = found.frame
    done = frame[frame["status"] == "done"] if len(frame) else frame
    if len(frame) and not len(done):
        done = frame[frame["status"].isin(["partial", "left"])]
    trials = [trial for stage in ("search", "confirm") for trial in store.trials(stage)]
    best: dict[str, Any] | None = None
    if len(done):
        row = done.iloc[0]
        best = {
            "layer_path": row["path"],
            "effect": float(row["effect"]),
            "interval": [float(row["low"]), float(row["high"])],
            "by_probe": {probe: float(row[f"{probe}_difference"]) for probe in found.baseline},
            "extra_slots": int(row["extra_slots"]),
            "q": float(row["q"]),
            "stage": "search",
        }
        stage = analysis.load_stage(store, "search")
        assert stage is not None
        place = next(k for k, trial in enumerate(stage.trials) if trial.path == row["path"])
        best["interval_by_probe"] = analysis.intervals_by_probe(stage, place)
    confirmed: list[dict[str, Any]] = []
    if confirmed_stage is not None:
        confirmed = [_confirmed(row) for row in confirmed_stage.confirmed]
        best = confirmed[0] if confirmed else best
    return {
        "verdict": "confirmed" if confirmed else "none",
        "sentence": _sentence(forced, best, confirmed, confirmed_stage, len(frame)),
        "best": best,
        "confirmed": confirmed,
        "top": confirmed_stage.top if confirmed_stage else [],
        "controls": confirmed_stage.controls if confirmed_stage else [],
        "confirm_items": confirmed_stage.n_items if confirmed_stage else 0,
        "bar": confirmed_stage.bar if confirmed_stage else None,
        "power": confirmed_stage.power if confirmed_stage else None,
        "min_effect": confirmed_stage.min_effect if confirmed_stage else meta.get("min_effect"),
        "baseline": found.baseline,
        "n_candidates": len(frame),
        "n_left": int((frame["status"] == "left").sum()) if len(frame) else 0,
        "n_failed": int((frame["status"] == "failed").sum()) if len(frame) else 0,
        "is_complete": bool(meta.get("is_complete")),
        "stopped": meta.get("stopped", ""),
        "forced": forced,
        "preflight": meta.get("preflight", {}),
        "seconds": sum(trial.seconds for trial in trials),
        "tokens": sum(trial.tokens for trial in trials),
        "store": str(store.path),
        "model": meta.get("model"),
        "fingerprint": meta.get("fingerprint"),
        "n_layer": meta.get("n_layer"),
        "probes": meta.get("probes"),
        "arguments": meta.get("arguments"),
        "seed": meta.get("seed"),
        "space": meta.get("space"),
        "strategy": meta.get("strategy"),
        "notes": meta.get("notes", []),
    }


def _confirmed(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "layer_path": row["path"],
        "effect": float(row["effect"]),
        "interval": [float(row["low"]), float(row["high"])],
        "search_effect": float(row["search_effect"]),
        "by_probe": row["by_probe"],
        "interval_by_probe": row["interval_by_probe"],
        "extra_slots": row["extra_slots"],
        "stage": "confirm",
    }


def _why_none(stage: analysis.Confirmation) -> str:
    """Return the end of a sentence: what the best lacks, or how small a gain would have been found."""
    better = next((row for row in stage.top if row["low"] > 0), None)
    if math.isnan(stage.bar):
        return ", with too few random paths to compare with"
    if better is not None:
        return (
            f"; {better['path']} gains {better['effect']:+.3f} "
            f"[{better['low']:+.3f}, {better['high']:+.3f}] but is not above random paths ({stage.bar:+.3f})"
        )
    if stage.bar >= stage.min_effect:
        return f", where a path has to gain more than {stage.bar:+.3f} to be above random ones"
    return (
        f", which would show a gain of {stage.min_effect:g} with a probability of {stage.power:.0%}"
    )


def _sentence(
    is_forced: bool,
    best: dict[str, Any] | None,
    confirmed: list[dict[str, Any]],
    stage: analysis.Confirmation | None,
    n_candidates: int,
) -> str:
    forced = " (probes that cannot measure were forced)" if is_forced else ""
    if confirmed and stage is not None:
        low, high = confirmed[0]["interval"]
        more = f"; {len(confirmed) - 1} more confirmed" if len(confirmed) > 1 else ""
        return (
            f"Confirmed: {confirmed[0]['layer_path']} makes the model better by {confirmed[0]['effect']:+.3f} "
            f"[{low:+.3f}, {high:+.3f}] on {stage.n_items} fresh items{more}{forced}."
        )
    if stage is not None:
        return (
            f"No path confirmed: none of the best {len(stage.top)} of {n_candidates} candidates held on "
            f"{stage.n_items} fresh items{_why_none(stage)}{forced}."
        )
    if best is None or math.isnan(best["effect"]):
        return f"No path confirmed: nothing was measured yet{forced}."
    return (
        f"No path confirmed: the best of the search so far is {best['layer_path']} with {best['effect']:+.3f}, but it "
        f"was not confirmed on fresh items{forced}."
    )
