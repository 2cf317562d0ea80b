"""The built-in probes by their names, and `load`, which finds a probe by any name.

A new built-in probe is a file with a class and one line in `BUILT_IN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rys.errors import ProbeError
from rys.probes.base import Probe, choose

__all__ = ["BUILT_IN", "DEFAULT_PROBES", "REFERENCE_PROBES", "is_open", "load"]

# Module and class of each. They are imported when they are asked for, because `import rys` should
# not take the time. A class is called without arguments, or with a tier.
BUILT_IN: dict[str, str] = {
    "math": "rys.probes.math:Math",
    "eq": "rys.probes.eq:EQ",
    "reasoning": "rys.probes.reasoning:Reasoning",
    "reference": "rys.probes.reference:Reference",
}

DEFAULT_PROBES = ("math", "eq", "reasoning")  # of `rys probe`, `rys sweep` and rys.Sweep
REFERENCE_PROBES = ("reference",)  # the default for the reference model, which knows nothing else


def load(name: str) -> Probe:
    """Return a probe by its name.

    Args:
        name: The name of a built-in probe, such as "math"; with a tier, such as "math:hard", and
            with settings, such as "math:easy:shots=6" (see `Probe.name`); or the path of a file
            with questions, see `rys.probes.files`.

    Raises:
        ProbeError: There is no such probe, tier, setting or file, or the file cannot be used.
    """
    # A built-in name comes first, so a file named "math" needs "./math".
    base, *parts = name.split(":")
    if base in BUILT_IN:
        return _with_settings(name, _probe_class(base), parts)
    if Path(name).is_file():
        from rys.probes.files import load as load_file  # late, as above

        return load_file(name)
    raise ProbeError(
        f"there is no probe {name!r}; give one of {', '.join(BUILT_IN)}, with a tier if you like "
        f"(math:hard), or the path of a file with questions"
    )


def is_open(name: str) -> bool:
    """Return whether a name leaves the form of the probe to a calibration.

    It does if it is that of a built-in probe without tier and settings.
    """
    return name in BUILT_IN


def _with_settings(name: str, probe: type[Probe], parts: Sequence[str]) -> Probe:
    """Return a probe with the tier and the settings of its name: "hard", "shots=4"."""
    tiers = [part for part in parts if "=" not in part]
    if len(tiers) > 1 or tiers != list(parts[: len(tiers)]):
        raise ProbeError(f"the probe {name!r} must have one tier, before its settings")
    settings: dict[str, Any] = {}
    for part in parts[len(tiers) :]:
        key, _, value = part.partition("=")
        choose(f"a setting of {probe.id}", key, probe.settings)
        settings[key] = value
    if "shots" in settings:
        # isdecimal alone takes digits of other scripts too
        if not (settings["shots"].isascii() and settings["shots"].isdecimal()):
            raise ProbeError(f"shots is {settings['shots']!r}, but must be a whole number")
        settings["shots"] = int(settings["shots"])
    return probe(*tiers, **settings)


def _probe_class(name: str) -> type[Probe]:
    module, _, class_name = BUILT_IN[name].partition(":")
    found: type[Probe] = getattr(import_module(module), class_name)
    return found
