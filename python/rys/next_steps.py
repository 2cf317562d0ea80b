"""What to type to repeat a sweep, and to use what it found."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

__all__ = ["commands", "sweep_command"]


def sweep_command(arguments: Mapping[str, Any], store: str) -> str:
    """Return the command line of a sweep. arguments: the parsed ones, by name, as the sweep's file
    keeps them.
    """
    words = ["rys", "sweep"]
    if arguments.get("model"):
        words.append(str(arguments["model"]))
    for name, value in arguments.items():
        if name == "model" or value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words += map(str, value if isinstance(value, list) else [value])
    return shlex.join([*words, "--store", store])


def commands(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what can be done from here, each with what to type: for a shell, or for Python where
    it says so.

    report: of a sweep, see rys.sweep.report. A path is offered for use once it is confirmed, before
        that for a look.
    """
    store, arguments, best = report["store"], report["arguments"] or {}, report["best"]
    layers = ["--n-layer", str(report["n_layer"])] if report["fingerprint"] is None else []
    page = (
        "Write the report, a page for the browser",
        shlex.join(["rys", "report", store, *layers]),
    )
    if best is None:
        return [page]
    path, is_reference = best["layer_path"], report["model"] == "reference.gguf"
    file = str(arguments.get("model") or report["model"] or "model.gguf")
    model, along = [] if is_reference else [file], ["--layer-path", path]
    probes = ["--probes", arguments["probes"]] if arguments.get("probes") else []
    fresh = ["--split", "confirm", "--seed", str(int(report["seed"] or 0) + 1)]
    run = ["rys", "run", *model, *along, "--compare", ".."]
    probe = ["rys", "probe", *model, "--layer-path", "..", *along, *probes, *fresh]
    found = [
        ("See what it answers, beside the unchanged model", shlex.join(run)),
        ("Measure it on items that were not used", shlex.join(probe)),
        page,
    ]
    if report["confirmed"]:
        loaded = f"rys.Model({json.dumps(file, ensure_ascii=False)}, {json.dumps(path)})"
        loaded = f"rys.reference_model({json.dumps(path)})" if is_reference else loaded
        found.insert(0, ("Use the path in Python", f"import rys; model = {loaded}"))
        output = f"{file.removesuffix('.gguf')}-path.gguf"
        if not is_reference:
            export = ["rys", "export", file, output, *along]
            found.append(("Write a file for programs without paths", shlex.join(export)))
    elif not report["top"] and arguments:
        found.insert(
            0, ("Confirm the best on fresh items", shlex.join(["rys", "sweep", "--resume", store]))
        )
    return found
