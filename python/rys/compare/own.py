"""Read what rys writes: the JSON of `rys probe`, and the file of a sweep.

Both may hold several layer paths. `FILE::PATH` names one. If none is named, the base is a sweep's
baseline or the first path of `rys probe`. What is compared with it is a sweep's best path
(confirmed if there is one) or the last path of `rys probe`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rys.compare.run import ItemId, Key, Run, Samples, Score
from rys.compare.text import summarise, terminal_text
from rys.errors import CompareError, LayerPathError, ProbeError
from rys.layer_path import LayerPath
from rys.probes.result_file import SavedResult, is_probe_output, read_results
from rys.sweep.store import SQLITE_MAGIC, Store
from rys.sweep.sweep_file import SweepFile
from rys.sweep.trial import Role, Stage

__all__ = ["is_probe_output", "is_sweep", "load_probe", "load_sweep"]

_METRIC = "score"


def is_sweep(path: Path) -> bool:
    """Return whether a file is an SQLite database, as the file of a sweep is."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except OSError:
        return False


def load_probe(
    path: Path, content: Mapping[str, Any], name: str, layer_path: str | None, is_base: bool
) -> Run:
    """Return the results of `rys probe --json` along one path.

    Args:
        path: The file, for messages.
        content: What it holds.
        name: Name of the run.
        layer_path: The path, as the file writes it; None for the first or the last one.
        is_base: Whether others are compared with it. Then the first path is taken, else the last.

    Raises:
        CompareError: The file has no results, or none along this path.
    """
    results = read_results(content)
    paths = list(dict.fromkeys(result.layer_path for result in results))
    if not paths:
        raise CompareError(f"{path} has no results")
    chosen = layer_path or paths[0 if is_base else -1]
    if chosen not in paths:
        raise CompareError(f"{path} has no layer path {chosen!r}; it has {summarise(paths)}")
    run = Run(f"{name} ({terminal_text(chosen)})", {})
    for result in results:
        if result.layer_path != chosen:
            continue
        probe = terminal_text(result.probe)
        run.scores[Key(probe, _METRIC, "")] = Score(
            value=result.mean, stderr=result.stderr, n=result.n, lower_is_better=False
        )
        run.settings[probe] = {
            "task version": terminal_text(result.version),
            "items": str(result.n),
        }
        if result.saved_items is not None:
            run.samples[probe] = partial(_probe_samples, path, result)
    return run


def _probe_samples(path: Path, result: SavedResult) -> Samples:
    """Return the items of a probe.

    They are known by their content, so that the same ones are found in any order.
    """
    try:
        saved = result.item_scores()
    except ProbeError as error:
        raise CompareError(f"{path}: {error}") from None
    samples = Samples({}, {(_METRIC, ""): {}})
    n_seen: Counter[str] = Counter()
    for k, (content, score) in enumerate(zip(saved.hashes, saved.scores, strict=True)):
        # The same item may occur twice.
        item: ItemId = f"{terminal_text(content)} {n_seen[content]}"
        n_seen[content] += 1
        # The content hash covers question and target, and is in the item's name already.
        samples.identities[item] = (None, None, None)
        if saved.families is not None:
            samples.families[item] = saved.families[k]
        samples.scores[_METRIC, ""][item] = (score, 1.0)
    return samples


def load_sweep(path: Path, name: str, layer_path: str | None, is_base: bool) -> Run:
    """Return one path's scores of a sweep. The filter tells search from confirmation.

    Args:
        path: The file.
        name: Name of the run.
        layer_path: The path, in any notation; None for the baseline or the best path.
        is_base: Whether others are compared with it. Then the baseline is taken, else the best.

    Raises:
        CompareError: The sweep has no scores along this path.
        StoreError: The file cannot be read or is damaged.
    """
    store = Store.open(path, read_only=True)
    try:
        chosen = _chosen_path(store, layer_path, is_base)
        run = Run(f"{name} ({terminal_text(chosen)})", {})
        versions = _versions(store)
        settings = store.settings
        asking = {"thinking": settings.thinking, "thinking_budget": settings.thinking_budget}
        for probe, samples in _samples(store, chosen).items():
            # They are read already, as the file is closed before they are asked for.
            run.samples[probe] = partial(replace, samples)
            run.settings[probe] = {
                "task version": versions.get(probe, "?"),
                "thinking": str(asking),
            }
            for (metric, stage), scores in samples.scores.items():
                run.scores[Key(probe, metric, stage)] = _mean_score(scores)
    finally:
        store.close()
    if not run.scores:
        raise CompareError(f"{path} has no scores along {chosen}")
    # The best path was chosen for its scores on these items.
    if not is_base and any(key.filter == "search" for key in run.scores):
        run.notes.append(
            f"{run.name}: rows of 'search' use the items by which the paths were chosen, so their "
            f"gains look larger than they are"
        )
    return run


def _versions(store: Store) -> dict[str, str]:
    """Return the versions of a sweep's probes, which it names as "math:1"."""
    versions = {}
    for name in store.settings.probes:
        probe, _, version = str(name).rpartition(":")
        versions[probe] = version
    return versions


def _mean_score(scores: Mapping[ItemId, tuple[float, float]]) -> Score:
    values = np.array(list(scores.values()))[:, 0]
    n = len(values)
    stderr = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Score(value=float(values.mean()), stderr=stderr, n=n, lower_is_better=False)


def _chosen_path(store: Store, layer_path: str | None, is_base: bool) -> str:
    """Return the path to load, as the sweep writes it."""
    trials = [trial for stage in Stage for trial in store.trials(stage)]
    if layer_path is not None:
        try:
            wanted = LayerPath(layer_path, store.settings.n_layer)
        except LayerPathError as error:
            raise CompareError(f"{store.path}::{layer_path}: {error}") from None
        for trial in trials:
            if trial.layer_path == wanted:
                return trial.path
        raise CompareError(f"{store.path} did not try the layer path {layer_path}")
    if is_base:
        for trial in trials:
            if trial.role == Role.BASELINE:
                return trial.path
        raise CompareError(f"{store.path} has measured no baseline yet")
    best = SweepFile(store).report().best
    if best is None:
        raise CompareError(f"{store.path} has measured no candidate yet")
    return best.layer_path


def _samples(store: Store, layer_path: str) -> dict[str, Samples]:
    """Return, by probe, what a path scored on the items of both stages."""
    found: dict[str, Samples] = {}
    for stage in Stage:
        scores = _scores_along(store, stage, layer_path)
        hashes = store.item_hashes(stage)
        # Without scores the loop ends at once.
        for (probe, position, _, family), score in zip(store.items(stage), scores, strict=False):
            if math.isnan(score):
                continue  # an eliminated path answered only the first items
            samples = found.setdefault(terminal_text(probe), Samples({}, {}, may_shrink=True))
            item = f"{stage.value} {position}"
            samples.identities[item] = (hashes[probe][position], None, None)
            samples.families[item] = family
            samples.scores.setdefault((_METRIC, stage.value), {})[item] = (float(score), 1.0)
    return found


def _scores_along(store: Store, stage: Stage, layer_path: str) -> list[float]:
    """Return what a path scored on the items of a stage; empty if it was not measured there."""
    for trial in store.trials(stage):
        if trial.path == layer_path:
            scores = store.scores(stage).get(trial.id)
            return [] if scores is None else scores.tolist()
    return []
