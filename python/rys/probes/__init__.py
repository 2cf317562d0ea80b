"""Short objective tests of a model: `evaluate(model, ["math", "eq", "reasoning"])`.

A probe is named by "math", "eq", "reasoning" or "reference", also with a tier ("math:hard"), or by
the path of a file with questions (see `rys.probes.files`).
"""

from __future__ import annotations

from rys.errors import ProbeError
from rys.probes.base import Item, Probe, Reading, Scorer
from rys.probes.calibration import Calibration
from rys.probes.evaluation import Evaluation, evaluate
from rys.probes.ladder import calibrate
from rys.probes.preflight import preflight
from rys.probes.registry import BUILT_IN, DEFAULT_PROBES, REFERENCE_PROBES, load
from rys.probes.result import ProbeResult

__all__ = [
    "BUILT_IN",
    "DEFAULT_PROBES",
    "REFERENCE_PROBES",
    "Calibration",
    "Evaluation",
    "Item",
    "Probe",
    "ProbeError",
    "ProbeResult",
    "Reading",
    "Scorer",
    "calibrate",
    "evaluate",
    "load",
    "preflight",
]
