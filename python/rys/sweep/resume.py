"""The file of a sweep, made or resumed. A file is resumed only by the sweep that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rys.errors import StoreError
from rys.probes import Evaluation, Probe
from rys.sweep.record import differences
from rys.sweep.settings import SweepOptions, SweepSettings
from rys.sweep.store import Store
from rys.sweep.trial import Stage

__all__ = ["default_path", "open_or_create"]


def default_path(source: str, probes: Sequence[Probe]) -> Path:
    """Return the name of a sweep's file in the current folder.

    Args:
        source: The model's file.
        probes: The probes.
    """
    names = "+".join(probe.id for probe in probes)
    return Path(f"{Path(source).stem}.{names}.sweep.db".replace("/", "_"))


def open_or_create(
    path: Path, settings: SweepSettings, options: SweepOptions, evaluation: Evaluation
) -> Store:
    """Return the sweep's file for writing, new or resumed, with the items of the search in it.

    Args:
        path: The file.
        settings: What must be the same in a file that exists.
        options: What the file says from now on.
        evaluation: The items of the search.

    Raises:
        StoreError: The file is of another sweep, damaged, in use, or cannot be written.
    """
    if not path.exists():
        store = Store.create(path, settings, options)
    else:
        store = Store.open(path)
        try:
            _check_same(store, settings, options, evaluation)
        except StoreError:
            store.close()
            raise
        if options.provenance is None:  # resumed in Python: the file still says how it was made
            options = replace(options, provenance=store.options.provenance)
        store.write(options)
    for probe in evaluation.probes:
        store.add_items(Stage.SEARCH, probe.id, evaluation.items(probe.id))
    return store


def _check_same(
    store: Store, settings: SweepSettings, options: SweepOptions, evaluation: Evaluation
) -> None:
    """Raise StoreError if a file is of another sweep."""
    differing = list(differences(store.settings, settings))
    if differing:
        raise StoreError(
            f"{store.path} is the file of another sweep: {'; '.join(differing)}. "
            f"Give another --store, or the same settings"
        )
    # A probe may have changed without a new version, as a file of questions may be edited.
    known = store.item_hashes(Stage.SEARCH)
    for probe in evaluation.probes:
        hashes = [item.content_hash for item in evaluation.items(probe.id)]
        if known.get(probe.id, hashes) != hashes:
            raise StoreError(
                f"{store.path} was made with other items of probe {probe.id!r}; give another "
                f"file name"
            )
    planned = store.options
    is_same = (planned.top, planned.min_effect) == (options.top, options.min_effect)
    if store.confirmation_plan is not None and not is_same:
        raise StoreError(
            f"{store.path}: its confirmation was planned with top={planned.top} and "
            f"min_effect={planned.min_effect}, and fresh items are fresh only once; give these, "
            f"or another --store"
        )
