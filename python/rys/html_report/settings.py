"""The table of settings: what the results depend on, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["format_duration", "list_settings"]


def list_settings(report: Mapping[str, Any], meta: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the name and the value of each setting that is known.

    Args:
        report: Of the sweep.
        meta: Settings of the sweep's file.
    """
    seconds, tokens = report["seconds"], report["tokens"]
    pairs: list[tuple[str, Any]] = [
        ("model", report["model"]),
        ("fingerprint", report["fingerprint"]),
        ("layers", report["n_layer"]),
        ("options that change results", _format_options(meta.get("variant"))),
        ("probes", ", ".join(map(str, report["probes"] or []))),
        ("items of each probe", meta.get("items")),
        ("fresh items of the confirmation", report["confirm_items"] or None),
        ("thinking", _format_thinking(meta.get("asking"))),
        ("candidates", _format_candidates(report["n_candidates"], report["space"])),
        ("strategy", report["strategy"]),
        ("seed", meta.get("seed")),
        ("candidates to confirm", meta.get("top")),
        ("smallest gain to find", report["min_effect"]),
        ("budget", meta.get("budget")),
        ("time of the model", None if seconds is None else format_duration(seconds)),
        ("tokens evaluated", None if tokens is None else f"{tokens:,}"),
        ("rys", meta.get("rys")),
        ("llama.cpp", meta.get("llama_cpp")),
        ("file", report["store"]),
    ]
    known = []
    for name, value in pairs:
        # 0 is a value: a seed, or no candidates to confirm.
        if value is not None and value is not False and value != "":
            known.append((name, str(value)))
    return known


def _format_options(variant: Mapping[str, Any] | None) -> str:
    """Return the options of the model that change results, as name=value."""
    given = [f"{name}={value}" for name, value in (variant or {}).items() if value is not None]
    return ", ".join(given)


def _format_thinking(asking: Mapping[str, Any] | None) -> str:
    if not asking or not asking.get("thinking"):
        return ""
    return f"up to {asking.get('thinking_budget')} tokens"


def _format_candidates(n_candidates: int, space: str | None) -> str:
    return f"{n_candidates:,}, {space}" if space else f"{n_candidates:,}"


def format_duration(seconds: float) -> str:
    """Return a time in its two largest units: "42.0 s", "7 min", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.1f} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
