"""Short objective tests of a model: `evaluate(model, ["math", "eq", "reasoning"])`.

Names of probes: "math", "eq", "reasoning" and "reference", also with a tier ("math:hard"); or the
path of a file with
questions (see rys.probes.files).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rys.errors import ProbeError
from rys.probes.base import Item, Probe, Reading, Scorer
from rys.probes.evaluation import Evaluation, evaluate
from rys.probes.preflight import preflight
from rys.probes.result import ProbeResult

__all__ = [
    "BUILT_IN",
    "Evaluation",
    "Item",
    "Probe",
    "ProbeError",
    "ProbeResult",
    "Reading",
    "Scorer",
    "evaluate",
    "load",
    "preflight",
]

BUILT_IN = ("math", "eq", "reasoning", "reference")


def load(name: str) -> Probe:
    """Return a probe by its name, "name:tier", or the path of a file with questions.

    Raises ProbeError for what is neither, and for a file that cannot be used.
    """
    from rys.probes import files
    from rys.probes.eq import EQ
    from rys.probes.math import Math
    from rys.probes.reasoning import Reasoning
    from rys.probes.reference import Reference

    kinds: dict[str, Callable[..., Probe]] = {
        "math": Math,
        "eq": EQ,
        "reasoning": Reasoning,
        "reference": Reference,
    }
    base, colon, tier = name.partition(":")
    if base in kinds:
        return kinds[base](tier) if colon else kinds[base]()
    if Path(name).is_file():
        return files.load(name)
    raise ProbeError(
        f"there is no probe {name!r}; give one of {', '.join(kinds)}, with a tier if you like (math:hard), "
        f"or the path of a file with questions"
    )
