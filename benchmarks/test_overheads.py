"""What does a sweep do besides the model's work, and how much is it?

Measured: every part of a sweep that is ours, each beside the evaluation of one candidate (64 items
of the reference model, a model of 2 MB), which runs before and after it. pytest-benchmark's table
shows seconds, the table "of a candidate" the ratio, which `--benchmark-json` has as the extra
information `of_a_candidate`.

Why: what takes 1% of the smallest candidate there is takes nothing of a real one.

The physical limit: a context zeroes its memory, a transaction waits for the disk. Nothing else has
one that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rys
from measuring import digits, open_context, seconds
from rys import statistics
from rys.probes.evaluation import Evaluation
from rys.probes.result import ProbeResult
from rys.sweep.settings import SweepOptions, SweepSettings
from rys.sweep.store import Store

N_ITEMS = 64
N_CANDIDATES = 57  # the blocks of one to six layers of the reference model
PATH = "0..7,4..11"

Overhead = Callable[..., Any]


@pytest.fixture(scope="module")
def evaluation(reference: rys.Model) -> Evaluation:
    return Evaluation(reference, "reference", n=N_ITEMS)


@pytest.fixture(scope="module")
def results(reference: rys.Model, evaluation: Evaluation) -> dict[str, ProbeResult]:
    return evaluation.run(reference)


@pytest.fixture
def overhead(
    benchmark: Any, reference: rys.Model, evaluation: Evaluation, overheads: list[list[object]]
) -> Overhead:
    """Return what times a function, `n` times a candidate, and puts it beside a candidate's
    evaluation.
    """

    def evaluate() -> None:
        with reference.with_path(PATH) as view:
            evaluation.run(view)

    def measure(function: Callable[[], Any], *, n: float = 1) -> Any:
        before = seconds(evaluate)
        result = benchmark(function)
        candidate = (before + seconds(evaluate)) / 2
        share = digits(n * benchmark.stats["median"] / candidate)
        benchmark.extra_info["of_a_candidate"] = share
        overheads.append([benchmark.name, share])
        return result

    return measure


def test_view(overhead: Overhead, reference: rys.Model) -> None:
    overhead(lambda: reference.with_path(PATH).close())


def test_view_and_context(overhead: Overhead, reference: rys.Model) -> None:
    overhead(lambda: open_context(reference.with_path(PATH)).close())


def test_layer_path(overhead: Overhead) -> None:
    path = overhead(lambda: rys.LayerPath("0..11,12..14x2,15..", 40))
    assert path.n_slot == 43


def test_reading_and_marking_answers(
    overhead: Overhead,
    evaluation: Evaluation,
    reference: rys.Model,
    results: dict[str, ProbeResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = reference.run(evaluation._requests)
    # the model's work is done already
    monkeypatch.setattr(reference, "run", lambda *_, **__: answers)
    marked = overhead(lambda: evaluation.run(reference))
    assert marked["reference"].scores.tolist() == results["reference"].scores.tolist()


SETTINGS = SweepSettings(
    fingerprint="", variant={}, n_layer=12, probes=(), space="", strategy="scan", items=16, seed=0,
    thinking=False, thinking_budget=0, rys="", llama_cpp="",
)  # fmt: skip


def new_paths() -> Iterator[rys.LayerPath]:
    """Yield different paths, each a candidate of its own."""
    for last in product(range(12), repeat=8):
        yield rys.LayerPath([*range(12), *last], 12)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / "sweep.db", SETTINGS, SweepOptions())
    yield store
    store.close()


def test_writing_a_candidate_to_the_store(
    overhead: Overhead, store: Store, results: dict[str, ProbeResult]
) -> None:
    paths = new_paths()
    overhead(lambda: store.save("search", "candidate", next(paths), results, 0, "done"))


def test_resuming_a_store(
    overhead: Overhead, store: Store, results: dict[str, ProbeResult]
) -> None:
    for path in islice(new_paths(), N_CANDIDATES):
        store.save("search", "candidate", path, results, 0, "done")
    overhead(lambda: (store.trials("search"), store.scores("search")), n=1 / N_CANDIDATES)


def test_statistics_of_a_search(overhead: Overhead) -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(-1, 2, (N_CANDIDATES, N_ITEMS)).astype(float)
    strata = np.zeros(N_ITEMS, np.intp)
    weights = statistics.weights_of(strata)

    def analyse() -> np.ndarray:
        statistics.adjusted_p_values(statistics.sign_flip_p_values(differences, weights))
        return statistics.bootstrap_intervals(differences, weights, strata)

    assert overhead(analyse, n=1 / N_CANDIDATES).shape == (N_CANDIDATES, 2)


@pytest.mark.parametrize("probe", ["math", "eq", "reasoning", "reference"])
def test_items(overhead: Overhead, probe: str) -> None:
    assert overhead(lambda: rys.probes.load(probe).items(32), n=1 / N_CANDIDATES)


def test_candidates_of_the_largest_space(overhead: Overhead) -> None:
    # all blocks of a model of 80 layers
    paths = overhead(lambda: rys.space.blocks().candidates(80), n=1 / 3240)
    assert len(paths) == 3240
