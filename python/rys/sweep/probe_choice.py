"""The probes of a sweep: as they were given, as calibration chose them, or as its file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rys.engine.model import Model
from rys.errors import ProbeError, StoreError
from rys.probes import Calibration, Probe, load
from rys.probes import calibrate as probes_calibrate
from rys.probes.registry import is_open
from rys.sweep.store import Store

__all__ = ["ProbeChoice", "choose_probes", "load_probes", "none_measures"]


@dataclass(frozen=True)
class ProbeChoice:
    """The probes of a sweep.

    Attributes:
        forms: By id, the form in which each probe begins the sweep. Probes that calibration refused
            are missing.
        left_out: By id, why the sweep goes on without a probe.
        calibration: What calibration found; None if it was not asked for, or was done in an
            earlier run.
    """

    forms: dict[str, Probe]
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calibration: Calibration | None = None

    @property
    def used(self) -> list[Probe]:
        """The probes that candidates are measured with."""
        return [probe for name, probe in self.forms.items() if name not in self.left_out]


def load_probes(probes: Probe | str | Sequence[Probe | str]) -> list[Probe]:
    """Return probes that may be given by their names, in their default forms.

    Raises:
        ProbeError: A probe cannot be loaded.
    """
    return [load(probe) if isinstance(probe, str) else probe for probe in _listed(probes)]


def _listed(probes: Probe | str | Sequence[Probe | str]) -> list[Probe | str]:
    return [probes] if isinstance(probes, (Probe, str)) else list(probes)


def choose_probes(
    model: Model,
    probes: Probe | str | Sequence[Probe | str],
    store: Store | None,
    *,
    calibrate: bool,
    force: bool,
    **asking: Any,
) -> ProbeChoice:
    """Return the probes of a sweep, each in the form that measures the model.

    Args:
        model: The model, with any path.
        probes: Probes or their names. Names without a tier are calibrated.
        store: The file of the sweep, which decides if it exists; None for a new sweep.
        calibrate: Whether to calibrate; else all probes are used in their default forms.
        force: Whether to use probes that cannot measure, in their default forms.
        **asking: Options of `rys.probes.calibrate`: items, seed and so on.

    Raises:
        ProbeError: No probe can measure the model.
    """
    given = _listed(probes)
    if store is not None:
        return _choice_of_file(given, store)
    if not calibrate:
        return ProbeChoice({probe.id: probe for probe in load_probes(given)})
    with model.with_path(None) as baseline:
        found = probes_calibrate(baseline, given, **asking)
    if not any(one.is_calibrated for one in found.found):
        return ProbeChoice({probe.id: probe for probe in found.probes})
    forms: dict[str, Probe] = {}
    refused: dict[str, tuple[str, ...]] = {}
    for one, default in zip(found.found, load_probes(given), strict=True):
        if one.chosen is not None:
            forms[one.id] = one.chosen
            continue
        if force:
            forms[one.id] = default
        # The line without the probe's name: the reasons of the easiest form.
        refused[one.id] = (one.line().partition(": ")[2],)
    if not forms:
        raise none_measures(refused)
    return ProbeChoice(forms, {} if force else refused, found)


def _choice_of_file(given: Sequence[Probe | str], store: Store) -> ProbeChoice:
    forms = {}
    for probe in given:
        form = _form_in_file(probe, store)
        if form is not None:
            forms[form.id] = form
    return ProbeChoice(forms, dict(store.progress.left_out))


def _form_in_file(probe: Probe | str, store: Store) -> Probe | None:
    """Return a probe in the form that a file names; None if it was refused by calibration."""
    if not isinstance(probe, str):
        return probe
    default, forms = load(probe), store.settings.forms
    # A file without forms was made before there were any.
    if not is_open(probe) or not forms:
        return default
    form = forms.get(default.id)
    if form is None:
        return None
    # The file may hold anything, and a name can also be that of another file.
    if form.partition(":")[0] != probe:
        raise StoreError(f"{store.path} is damaged: the form of probe {probe!r} is {form!r}")
    return load(form)


def none_measures(refused: Mapping[str, Sequence[str]]) -> ProbeError:
    """Return the error of a sweep without a probe that measures.

    Args:
        refused: By probe, why it cannot.
    """
    reasons = [f"{probe}: {' and '.join(why)}" for probe, why in refused.items()]
    return ProbeError(
        f"no probe can measure this model: {'; '.join(reasons)}. Questions of your own may "
        f"(--probes questions.jsonl), or another tier or format (--probes math:basic); "
        f"--force (force=True) sweeps anyway"
    )
