"""The table of settings: what the results depend on, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rys._util.durations import format_duration
from rys.errors import ProbeError
from rys.probes import Calibration
from rys.sweep.report import SweepReport
from rys.sweep.rounding import describe_rounding
from rys.sweep.settings import SweepOptions, SweepSettings

__all__ = ["list_settings"]


def list_settings(report: SweepReport) -> list[tuple[str, str]]:
    """Return the name and the value of each setting of a sweep that is known."""
    seconds, tokens = report.seconds, report.tokens
    duration = None if seconds is None else format_duration(seconds)
    pairs: list[tuple[str, Any]] = [
        ("model", report.model),
        *_of_the_results(report.settings),
        ("layers", report.n_layer),
        ("probes", ", ".join(report.probes)),
        ("calibration", _format_calibration(report.calibration)),
        ("rounding", describe_rounding(report.rounding) if report.rounding else ""),
        ("fresh items of the confirmation", report.confirm_items or None),
        ("candidates", _format_candidates(report.n_candidates, report.settings)),
        *_of_the_run(report.options),
        ("smallest gain to find", report.min_effect),
        ("time of the model", duration),
        ("tokens evaluated", None if tokens is None else f"{tokens:,}"),
        ("file", report.store),
    ]
    known = []
    for name, value in pairs:
        # 0 is a value: a seed, or no candidates to confirm.
        if value is not None and value is not False and value != "":
            known.append((name, str(value)))
    return known


def _of_the_results(settings: SweepSettings | None) -> list[tuple[str, Any]]:
    """Return what all results depend on; nothing for sweeps of other programs."""
    if settings is None:
        return []
    return [
        ("fingerprint", settings.fingerprint),
        ("options that change results", _format_options(settings.variant)),
        ("items of each probe", settings.items),
        ("thinking", _format_thinking(settings)),
        ("strategy", settings.strategy),
        ("seed", settings.seed),
        ("rys", settings.rys),
        ("llama.cpp", settings.llama_cpp),
    ]


def _of_the_run(options: SweepOptions | None) -> list[tuple[str, Any]]:
    """Return what the latest run was told; nothing for sweeps of other programs."""
    if options is None:
        return []
    return [("candidates to confirm", options.top), ("budget", options.budget)]


def _format_calibration(calibration: Mapping[str, Any] | None) -> str:
    """Return what calibration chose; "" if nothing was calibrated, or the file is damaged."""
    if calibration is None:
        return ""
    try:
        return "; ".join(Calibration.from_json(calibration).lines())
    except ProbeError:
        return ""


def _format_options(variant: Mapping[str, Any] | None) -> str:
    """Return the options of the model that change results, as name=value."""
    given = [f"{name}={value}" for name, value in (variant or {}).items() if value is not None]
    return ", ".join(given)


def _format_thinking(settings: SweepSettings) -> str:
    return f"up to {settings.thinking_budget} tokens" if settings.thinking else ""


def _format_candidates(n_candidates: int, settings: SweepSettings | None) -> str:
    return f"{n_candidates:,}, {settings.space}" if settings else f"{n_candidates:,}"
