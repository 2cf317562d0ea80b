"""What to type to make a sweep again, to go on with it, and to use what it found.

This is the only place that writes command lines.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rys.sweep.report import PathGain, SweepReport

__all__ = ["commands", "resume_command", "sweep_command", "sweep_words"]


def sweep_words(provenance: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line after `rys sweep`.

    Args:
        provenance: The parsed options by name, as `rys sweep` gives them to its sweep.
    """
    words = []
    if provenance.get("model"):
        words.append(str(provenance["model"]))
    for name, value in provenance.items():
        if name == "model" or value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, list):
            words += map(str, value)
        elif value is not True:
            words.append(str(value))
    return words


def sweep_command(provenance: Mapping[str, Any], store: str) -> str:
    """Return the command line of a sweep.

    Args:
        provenance: As for `sweep_words`.
        store: The sweep's file.
    """
    return shlex.join(["rys", "sweep", *sweep_words(provenance), "--store", store])


def resume_command(store: str, *flags: str, budget: str | None = None) -> str:
    """Return the command line that goes on with a sweep.

    Args:
        store: The sweep's file.
        flags: Names of flags that are not kept in the file, such as "quiet".
        budget: For the next run; None for no limit.
    """
    words = ["rys", "sweep", "--resume", store]
    words += [f"--{flag.replace('_', '-')}" for flag in flags]
    if budget:
        words += ["--budget", budget]
    return shlex.join(words)


def commands(report: SweepReport) -> list[tuple[str, str]]:
    """Return what can be done after a sweep, each with what to type.

    A path is offered for use once it is confirmed, and for a look before that.

    Args:
        report: The sweep's.

    Returns:
        Pairs of a description and a line for a shell, or for Python where the description says so.
    """
    words = ["rys", "report", report.store]
    if report.is_imported:
        words += ["--n-layer", str(report.n_layer)]
    page = ("Write the report, a page for the browser", shlex.join(words))
    if report.best is None:
        return [page]
    # Before it is confirmed a path is offered for a look only.
    file = _model_file(report)
    found = [*_looks(report, report.best, file), page]
    if report.confirmed:
        found.insert(0, ("Use the path in Python", _loading_line(report.best, file)))
        if file is not None:
            output = f"{file.removesuffix('.gguf')}-path.gguf"
            export = ["rys", "export", file, output, "--layer-path", report.best.layer_path]
            found.append(("Write a file for programs without paths", shlex.join(export)))
    elif not report.top and report.provenance:
        found.insert(
            0, ("Confirm the best on fresh items", resume_command(report.store, "confirm"))
        )
    return found


def _model_file(report: SweepReport) -> str | None:
    """Return the model's file, None for the reference model, which has none."""
    if report.model == "reference.gguf":
        return None
    return str(report.provenance.get("model") or report.model or "model.gguf")


def _looks(report: SweepReport, best: PathGain, file: str | None) -> list[tuple[str, str]]:
    """Return how to look at the best path, and how to measure it once more."""
    model = [] if file is None else [file]
    along = ["--layer-path", best.layer_path]
    run = ["rys", "run", *model, *along, "--compare", ".."]
    probe = ["rys", "probe", *model, "--layer-path", "..", *along]
    names = _probe_names(report)
    if names:
        probe += ["--probes", ",".join(names)]
    # Another seed takes items that neither the search nor the confirmation had.
    seed = report.settings.seed if report.settings else 0
    probe += ["--split", "confirm", "--seed", str(seed + 1)]
    return [
        ("See what it answers, beside the unchanged model", shlex.join(run)),
        ("Measure it on items that were not used", shlex.join(probe)),
    ]


def _probe_names(report: SweepReport) -> list[str]:
    """Return the probes that measured, in the forms that did; none for the default ones."""
    forms = report.settings.forms if report.settings else {}
    asked = report.provenance.get("probes")
    if not asked and report.calibration is None:
        return []
    names = str(asked).split(",") if asked else list(forms)
    stripped = [name.strip() for name in names]
    return [forms.get(name, name) for name in stripped if name not in report.left_out]


def _loading_line(best: PathGain, file: str | None) -> str:
    path = json.dumps(best.layer_path)
    if file is None:
        return f"import rys; model = rys.reference_model({path})"
    return f"import rys; model = rys.Model({json.dumps(file, ensure_ascii=False)}, {path})"
