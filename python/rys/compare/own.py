"""Read what rys writes: the JSON of `rys probe`, and the file of a sweep.

Both may hold several layer paths. `FILE::PATH` names one. Without, the base is a sweep's baseline
or the first path of `rys probe`, and what is compared with it a sweep's best path, confirmed if
there is one, or the last of `rys probe`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rys.compare.run import (
    ItemId,
    Key,
    Run,
    Samples,
    Score,
    count,
    mapping,
    number,
    printable,
    some,
)
from rys.errors import CompareError, LayerPathError
from rys.layer_path import LayerPath
from rys.sweep.report import report
from rys.sweep.store import SQLITE_MAGIC, Store

__all__ = ["is_probe_result", "is_sweep", "load_probe", "load_sweep"]

_METRIC = "score"


def is_sweep(path: Path) -> bool:
    """Return whether a file is an SQLite database, as that of a sweep is."""
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except OSError:
        return False


def is_probe_result(content: Any) -> bool:
    """Return whether a JSON document is what `rys probe --json` printed."""
    results = mapping(content).get("results")
    return isinstance(results, list) and all(
        {"probe", "layer_path", "mean", "n"} <= set(mapping(r)) for r in results
    )


def load_probe(
    path: Path, content: Mapping[str, Any], name: str, layer_path: str | None, is_base: bool
) -> Run:
    """Return one path's results of `rys probe --json`."""
    results = content["results"]
    paths = list(dict.fromkeys(str(result["layer_path"]) for result in results))
    if not paths:
        raise CompareError(f"{path} has no results")
    chosen = layer_path or paths[0 if is_base else -1]
    if chosen not in paths:
        raise CompareError(
            f"{path} has no layer path {chosen!r}; it has {some(map(printable, paths))}"
        )
    run = Run(f"{name} ({printable(chosen)})", {})
    for result in results:
        if result["layer_path"] != chosen:
            continue
        probe, _, version = printable(result["probe"]).rpartition(":")
        n = count(result["n"])
        interval = result.get("interval")
        stderr = math.nan
        if isinstance(interval, list) and len(interval) == 2:
            stderr = (number(interval[1]) - number(interval[0])) / (2 * 1.96)
        run.scores[Key(probe, _METRIC, "")] = Score(
            value=number(result["mean"]), stderr=stderr, n=n, lower_is_better=False
        )
        run.settings[probe] = {"task version": version, "items": str(n)}
        for part in map(mapping, content.get("item_scores") or []):
            if (part.get("probe"), part.get("layer_path")) == (result["probe"], chosen):
                run.samples[probe] = partial(_probe_samples, path, part, n)
    return run


def _probe_samples(path: Path, part: Mapping[str, Any], n: int | None) -> Samples:
    """Return the items of a probe.

    They are known by their content, so that the same ones are found in any order.
    """
    hashes, scores = part.get("hashes"), part.get("scores")
    if (
        not isinstance(hashes, list)
        or not isinstance(scores, list)
        or not len(hashes) == len(scores) == n
    ):
        raise CompareError(f"{path}: the scores of its items are not those of {n} items")
    items = [
        f"{printable(content)} {hashes[:k].count(content)}" for k, content in enumerate(hashes)
    ]  # one may recur
    identities: dict[ItemId, tuple[str | None, ...]] = dict.fromkeys(items, (None, None, None))
    return Samples(
        identities,
        {(_METRIC, ""): {item: (number(s), 1.0) for item, s in zip(items, scores, strict=True)}},
    )


def load_sweep(path: Path, name: str, layer_path: str | None, is_base: bool) -> Run:
    """Return one path's scores of a sweep: those of the search and of the confirmation, told apart
    by the filter.
    """
    store = Store.open(path, read_only=True)
    try:
        chosen = _chosen_path(store, layer_path, is_base)
        run = Run(f"{name} ({printable(chosen)})", {})
        meta = store.meta
        versions = dict(str(probe).rpartition(":")[::2] for probe in meta.get("probes", []))
        for probe, samples in _samples(store, chosen).items():
            run.samples[probe] = partial(replace, samples)
            run.settings[probe] = {
                "task version": versions.get(probe, "?"),
                "thinking": str(meta.get("asking")),
            }
            for (metric, stage), scores in samples.scores.items():
                values = np.array(list(scores.values()))[:, 0]
                n = len(values)
                stderr = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
                run.scores[Key(probe, metric, stage)] = Score(
                    value=float(values.mean()), stderr=stderr, n=n, lower_is_better=False
                )
    finally:
        store.close()
    if not run.scores:
        raise CompareError(f"{path} has no scores along {chosen}")
    if not is_base and any(key.filter == "search" for key in run.scores):
        run.notes.append(
            f"{run.name}: rows of 'search' are of the items by which paths are chosen, so gains look larger there"
        )
    return run


def _chosen_path(store: Store, layer_path: str | None, is_base: bool) -> str:
    trials = [trial for stage in ("search", "confirm") for trial in store.trials(stage)]
    if layer_path is not None:
        try:
            layers = LayerPath(layer_path, int(store.meta["n_layer"])).layers
        except LayerPathError as error:
            raise CompareError(f"{store.path}::{layer_path}: {error}") from None
        found = next((trial.path for trial in trials if trial.layers == tuple(layers)), None)
        if found is None:
            raise CompareError(f"{store.path} did not try the layer path {layer_path}")
        return found
    if is_base:
        found = next((trial.path for trial in trials if trial.role == "baseline"), None)
    else:
        best = report(store)["best"]
        found = best and best["layer_path"]
    if found is None:
        raise CompareError(
            f"{store.path} has measured no {'baseline' if is_base else 'candidate'} yet"
        )
    return str(found)


def _samples(store: Store, layer_path: str) -> dict[str, Samples]:
    """Return by probe what a path scored on the items of both stages."""
    found: dict[str, Samples] = {}
    for stage in ("search", "confirm"):
        trial = next((trial for trial in store.trials(stage) if trial.path == layer_path), None)
        values = None if trial is None else store.scores(stage).get(trial.id)
        hashes = store.item_hashes(stage)
        for (probe, position, _, _), value in zip(
            store.items(stage), [] if values is None else values, strict=False
        ):
            if not math.isnan(value):
                samples = found.setdefault(printable(probe), Samples({}, {}, may_shrink=True))
                item = f"{stage} {position}"
                samples.identities[item] = (hashes[probe][position], None, None)
                samples.scores.setdefault((_METRIC, stage), {})[item] = float(value), 1.0
    return found
