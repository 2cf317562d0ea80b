"""The built-in probes by their names, and `load`, which finds a probe by any name.

A new built-in probe is a file with a class and one line in `BUILT_IN`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from rys.errors import ProbeError
from rys.probes.base import Probe

__all__ = ["BUILT_IN", "DEFAULT_PROBES", "REFERENCE_PROBES", "load"]

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
        name: The name of a built-in probe, such as "math"; with a tier, such as "math:hard"; or the
            path of a file with questions, see `rys.probes.files`.

    Raises:
        ProbeError: There is no such probe, tier or file, or the file cannot be used.
    """
    # A built-in name comes first, so a file named "math" needs "./math".
    base, colon, tier = name.partition(":")
    if base in BUILT_IN:
        probe = _probe_class(base)
        return probe(tier) if colon else probe()
    if Path(name).is_file():
        from rys.probes.files import load as load_file  # late, as above

        return load_file(name)
    raise ProbeError(
        f"there is no probe {name!r}; give one of {', '.join(BUILT_IN)}, with a tier if you like "
        f"(math:hard), or the path of a file with questions"
    )


def _probe_class(name: str) -> Callable[..., Probe]:
    module, _, class_name = BUILT_IN[name].partition(":")
    found: Callable[..., Probe] = getattr(import_module(module), class_name)
    return found
