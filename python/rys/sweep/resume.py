"""The file of a sweep, made or resumed. A file is resumed only by the sweep that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rys.build_info import build_info
from rys.engine.model import Model
from rys.errors import StoreError
from rys.probes import Calibration, Evaluation, Probe
from rys.sweep.probe_choice import ProbeChoice, choose_probes, load_probes
from rys.sweep.record import differences
from rys.sweep.settings import Progress, SweepOptions, SweepSettings
from rys.sweep.store import Store
from rys.sweep.trial import Stage

__all__ = ["begin", "default_path"]


def default_path(source: str, probes: Sequence[Probe]) -> Path:
    """Return the name of a sweep's file in the current folder.

    Args:
        source: The model's file.
        probes: The probes.
    """
    names = "+".join(probe.id for probe in probes)
    return Path(f"{Path(source).stem}.{names}.sweep.db".replace("/", "_"))


def begin(
    path: Path,
    model: Model,
    probes: Probe | str | Sequence[Probe | str],
    options: SweepOptions,
    fixed: Mapping[str, Any],
    *,
    items: int,
    calibrate: bool,
    progress: bool,
) -> tuple[Store, Evaluation, Calibration | None]:
    """Return the sweep's file for writing, new or resumed, with the items of the search in it.

    Args:
        path: The file.
        model: The model.
        probes: Probes or their names.
        options: What the file says from now on.
        fixed: Fields of SweepSettings that do not follow from the other arguments.
        items: Items of each probe that are wanted.
        calibrate: Whether to calibrate the probes of a new sweep.
        progress: Whether to show progress bars of the calibration.

    Returns:
        The file, the items of the search, and what calibration found in this run, if anything.

    Raises:
        StoreError: The file is of another sweep, damaged, in use, or cannot be written.
        ProbeError: No probe can measure the model.
    """
    asking = {name: fixed[name] for name in ("seed", "thinking", "thinking_budget")}
    store = Store.open(path) if path.exists() else None
    try:
        asked = {**asking, "items": items, "progress": progress}
        choice = choose_probes(
            model, probes, store, calibrate=calibrate, force=options.force, **asked
        )
        found = {name: len(form.items(items, fixed["seed"])) for name, form in choice.forms.items()}
        settings = _settings_of(model, probes, choice, found, items, fixed)
        options = replace(options, notes=_notes(found, items))
        if store is not None:
            _check_settings(store, settings, options)
        search = Evaluation(model, choice.used, n=items, **asking)
        if store is None:
            calibration = choice.calibration
            began = Progress(
                calibration=None if calibration is None else calibration.to_json(),
                left_out=choice.left_out,
            )
            store = Store.create(path, settings, options, began)
        else:
            _go_on(store, options, search)
        for probe in search.probes:
            store.add_items(Stage.SEARCH, probe.id, search.items(probe.id))
    except BaseException:  # Ctrl-C as well
        if store is not None:
            store.close()
        raise
    return store, search, choice.calibration


def _settings_of(
    model: Model,
    probes: Probe | str | Sequence[Probe | str],
    choice: ProbeChoice,
    found: Mapping[str, int],
    wanted: int,
    fixed: Mapping[str, Any],
) -> SweepSettings:
    """Return the settings of a sweep. found: how many items of each probe there are."""
    info = build_info()
    versions = [f"{probe.id}:{probe.version}" for probe in load_probes(probes)]
    return SweepSettings(
        fingerprint=model.fingerprint,
        variant=model.variant,
        n_layer=model.n_layer,
        probes=tuple(versions),
        forms={name: form.name for name, form in choice.forms.items()},
        items=max(found.values(), default=wanted),  # those with a fixed list may have fewer
        rys=info["rys_version"],
        llama_cpp=info["llama_cpp_commit"],
        **fixed,
    )


def _notes(found: Mapping[str, int], wanted: int) -> tuple[str, ...]:
    """Return which probes have fewer items than wanted, as those with a fixed list may."""
    notes = []
    for probe, n in found.items():
        if n < wanted:
            notes.append(f"{probe} has only {n} of {wanted} items for the search")
    return tuple(notes)


def _check_settings(store: Store, settings: SweepSettings, options: SweepOptions) -> None:
    """Raise StoreError if a file is of another sweep."""
    known = store.settings
    if not known.forms:  # made before probes had forms; their items are compared below
        settings = replace(settings, forms={})
    differing = list(differences(known, settings))
    if differing:
        raise StoreError(
            f"{store.path} is the file of another sweep: {'; '.join(differing)}. "
            f"Give another --store, or the same settings"
        )
    planned = store.options
    is_same = (planned.top, planned.min_effect) == (options.top, options.min_effect)
    if store.confirmation_plan is not None and not is_same:
        raise StoreError(
            f"{store.path}: its confirmation was planned with top={planned.top} and "
            f"min_effect={planned.min_effect}, and fresh items are fresh only once; give these, "
            f"or another --store"
        )


def _go_on(store: Store, options: SweepOptions, search: Evaluation) -> None:
    """Check that a file has these items, and write the options of this run."""
    # A probe may have changed without a new version, as a file of questions may be edited.
    known = store.item_hashes(Stage.SEARCH)
    for probe in search.probes:
        hashes = [item.content_hash for item in search.items(probe.id)]
        if known.get(probe.id, hashes) != hashes:
            raise StoreError(
                f"{store.path} was made with other items of probe {probe.id!r}; give another "
                f"file name"
            )
    if options.provenance is None:  # resumed in Python: the file still says how it was made
        options = replace(options, provenance=store.options.provenance)
    store.write(options)
