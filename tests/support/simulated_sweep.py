"""Sweeps without a model: a store as rys.Sweep writes it, whose scores are drawn around a planted
block.

An item is answered right if its difficulty, with a little noise of its own for every path, lies
below what the path can do; so scores of different paths go together, as those of one model do.
"""

from __future__ import annotations

import functools
import json
import random
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rys import statistics
from rys.layer_path import LayerPath
from rys.probes.base import Item, Reading, Scorer
from rys.probes.result import ProbeResult
from rys.sweep import space
from rys.sweep.controls import changed_layers, control_paths
from rys.sweep.settings import ConfirmationPlan, Progress, SweepOptions, SweepSettings
from rys.sweep.store import Store
from rys.sweep.strategies import STRATEGIES
from rys.sweep.strategies.race import LOOKS

N_CONFIRM = 256
TOP = 5

Scores = dict[str, npt.NDArray[np.float64]]


def made_up_settings(n_layer: int, **changes: Any) -> SweepSettings:
    """Return the settings of a sweep, with what a test cares about."""
    settings: dict[str, Any] = {
        "fingerprint": "0" * 32,
        "variant": {},
        "n_layer": n_layer,
        "probes": ("p:1",),
        "space": "blocks(all)",
        "strategy": "scan",
        "items": 64,
        "seed": 0,
        "thinking": False,
        "thinking_budget": 1024,
        "rys": "0.1.0",
        "llama_cpp": "0" * 40,
    }
    return SweepSettings(**{**settings, **changes})


def with_field(file: Path, key: str, field: str, value: Any) -> None:
    """Change one field of a document in a file, or write a document with that field alone."""
    connection = sqlite3.connect(file)
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    document = json.loads(row[0]) if row else {}
    text = json.dumps(document | {field: value})
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))
    connection.commit()
    connection.close()


class Says(Scorer):
    """A scorer of answers that were never asked for."""

    target = "yes"

    def requests(self, prompt: Any, prompter: Any) -> list[Any]:
        return []

    def read(self, results: Sequence[Any]) -> Reading:
        return Reading(answer=None, text="")

    def score(self, answer: Any) -> float:
        return float(answer == self.target)


@functools.cache  # hashing them is most of the work
def items(probe: str, stage: str, n: int) -> list[Item]:
    return [
        Item(prompt=f"{stage} {probe} {k}", scorer=Says(), tags={"family": "ab"[k % 2]})
        for k in range(n)
    ]


def result(
    probe: str, scores: npt.NDArray[Any], parsed: npt.NDArray[np.bool_] | None = None
) -> ProbeResult:
    """Return what a probe measured. scores: float [N]."""
    n = len(scores)
    return ProbeResult(
        probe=f"{probe}:1",
        layer_path="",
        items=items(probe, "any", n),
        scores=np.asarray(scores, dtype=np.float64),
        parsed=np.ones(n, bool) if parsed is None else parsed,
        truncated=np.zeros(n, bool),
        answers=[""] * n,
        errors=[None] * n,
        details=[{}] * n,
        chance=0.0,
        best_constant=0.0,
        constant="",
        n_prompt_tokens=10 * n,
        n_evaluated_tokens=2 * n,
        n_generated_tokens=n,
        seconds=0.5,
    )


def planted_block(n_layer: int) -> tuple[int, int]:
    """Return the block whose repetition helps most."""
    return n_layer // 3, n_layer // 3 + max(1, n_layer // 6)


def write_sweep(
    path: Path,
    n_layer: int,
    *,
    probes: Sequence[str] = ("math", "eq"),
    sizes: Iterable[int] | None = range(1, 9),
    strategy: str = "race",
    with_confirmation: bool = True,
    seed: int = 0,
    repeats: Sequence[int] = (),
    model: str = "simulated.gguf",
    gain: float = 0.4,
) -> Path:
    """Write the store of a finished sweep, and return its path.

    sizes: of the blocks; None = all, n (n + 1) / 2 candidates. repeats: single layers so many
        times, as well.
    gain: of the planted block, in standard deviations of difficulty; 0 = nothing helps.
    """
    chosen = space.blocks(sizes)
    if repeats:
        chosen = space.union(chosen, space.repeats(repeats))
    candidates = chosen.candidates(n_layer)
    n_items = STRATEGIES[strategy].default_items
    settings = made_up_settings(
        n_layer,
        probes=tuple(f"{probe}:1" for probe in probes),
        space=chosen.name,
        strategy=strategy,
        items=n_items,
        seed=seed,
    )
    store = Store.create(path, settings, SweepOptions(top=TOP, model=model))
    store.write(Progress(is_complete=True, preflight=dict.fromkeys(probes, ())))
    rng = np.random.default_rng(seed)
    base, scores = _scores(rng, candidates, n_layer, probes, n_items, gain)
    n_measured, reasons = _race(base, scores, n_items) if strategy == "race" else (None, {})
    effects = np.mean([scores[probe].mean(axis=1) - base[probe].mean() for probe in probes], axis=0)

    _add_stage(store, "search", base, n_layer)
    is_broken = rng.random(len(candidates)) < 0.004
    for k, candidate in enumerate(candidates):
        stop = n_items if n_measured is None else int(n_measured[k])
        mine = {probe: scores[probe][k, :stop] for probe in probes}
        if is_broken[k]:
            _save(
                store,
                "search",
                "candidate",
                candidate,
                {},
                "failed",
                "NonFiniteLogitsError: NaN logits",
            )
        else:
            _save(
                store,
                "search",
                "candidate",
                candidate,
                mine,
                "eliminated" if k in reasons else "done",
                reasons.get(k, ""),
            )
    if with_confirmation:
        in_race = [
            k for k in np.argsort(-effects, kind="stable") if k not in reasons and not is_broken[k]
        ]
        tops = [candidates[k] for k in in_race[:TOP]]
        _confirm(store, rng, tops, n_layer, probes, gain, seed)
    store.close()
    return path


def _scores(
    rng: np.random.Generator,
    candidates: Sequence[LayerPath],
    n_layer: int,
    probes: Sequence[str],
    n_items: int,
    gain: float,
) -> tuple[Scores, Scores]:
    """Return by probe the baseline's scores [N] and those of the candidates [C, N]."""
    base, scores = {}, {}
    for number, probe in enumerate(probes):
        reach = np.array([_reach(path, n_layer, number) for path in candidates])[:, None] * gain
        difficulty = rng.normal(size=n_items)
        noise = rng.normal(scale=0.3, size=(len(candidates), n_items))
        base[probe] = (difficulty < 0).astype(np.float64)
        scores[probe] = (difficulty + noise < reach).astype(np.float64)
    return base, scores


def _reach(path: LayerPath, n_layer: int, probe: int) -> float:
    """Return what a path can do more than the baseline, 1 at most; the bump of each probe lies a
    little apart.
    """
    changed = changed_layers(path, n_layer)
    i, j = min(changed), max(changed) + 1
    start, end = planted_block(n_layer)
    width = n_layer / 10
    bump = np.exp(-((i - start - probe * width / 3) ** 2 + (j - end) ** 2) / (2 * width**2))
    early = np.exp(-i / width)
    return float(bump - early - 0.6 * (path.n_slot - n_layer) / n_layer)


def _race(
    base: Scores, scores: Scores, n_items: int
) -> tuple[npt.NDArray[np.intp], dict[int, str]]:
    """Return how many items every candidate answered, and why some were eliminated."""
    looks = [look for look in LOOKS if look < n_items]
    n_candidates = len(next(iter(scores.values())))
    n_measured, reasons = np.full(n_candidates, n_items), {}
    running = np.arange(n_candidates)
    for look in looks:
        differences = np.concatenate(
            [scores[probe][running, :look] - base[probe][:look] for probe in base], axis=1
        )
        weights = statistics.weights_of(np.repeat(np.arange(len(base)), look))
        bounds = statistics.elimination_bounds(differences, weights, TOP, len(looks))
        for k, bound in zip(running[bounds < 0], bounds[bounds < 0], strict=True):
            n_measured[k] = look
            reasons[int(k)] = (
                f"after {look} items at least {-bound:.3f} below place {TOP} of the race "
                f"(95% confidence over all {len(looks)} looks)"
            )
        running = running[bounds >= 0]
    return n_measured, reasons


def _confirm(
    store: Store,
    rng: np.random.Generator,
    tops: Sequence[LayerPath],
    n_layer: int,
    probes: Sequence[str],
    gain: float,
    seed: int,
) -> None:
    controls = control_paths(tops, n_layer, random.Random(f"controls {seed}"))
    paths = [*tops, *controls]
    base, scores = _scores(rng, paths, n_layer, probes, N_CONFIRM, gain)
    _add_stage(store, "confirm", base, n_layer)
    for k, path in enumerate(paths):
        role = "top" if k < len(tops) else "control"
        _save(store, "confirm", role, path, {probe: scores[probe][k] for probe in probes}, "done")
    store.write(
        ConfirmationPlan(
            top=tuple(map(str, tops)),
            controls=tuple(map(str, controls)),
            n_items=N_CONFIRM,
            n_needed=N_CONFIRM,
            n_searched=1,
            min_effect=0.03,
            is_complete=True,
        )
    )


def _add_stage(store: Store, stage: str, base: Scores, n_layer: int) -> None:
    for probe, scores in base.items():
        store.add_items(stage, probe, items(probe, stage, len(scores)))
    _save(store, stage, "baseline", LayerPath(None, n_layer), base, "done")


def _save(
    store: Store,
    stage: str,
    role: str,
    path: LayerPath,
    scores: Mapping[str, Any],
    status: str,
    reason: str = "",
) -> None:
    results = {probe: result(probe, values) for probe, values in scores.items()}
    store.save(stage, role, path, results, 0, status, reason)
