"""The seams of a sweep: strategies by name, evaluators of any kind, and results computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import rys
from rys.errors import EngineError, RequestError
from rys.layer_path import LayerPath
from rys.sweep import analysis
from rys.sweep.budget import Budget
from rys.sweep.evaluator import ItemScores, Measurement, Task
from rys.sweep.measurer import Measurer
from rys.sweep.settings import SweepOptions
from rys.sweep.store import Store
from rys.sweep.strategies import STRATEGIES, Look, Race, Scan, Strategy, chosen_strategy
from rys.sweep.strategies.race import LOOKS
from rys.sweep.sweep import Sweep
from rys.sweep.trial import Role, Stage, Status
from support.simulated_sweep import items, made_up_settings, write_sweep


class Halving(Strategy):
    """A strategy of somebody else: the worse half is eliminated after 8 items."""

    default_items = 16

    def looks(self, n_items: int) -> Sequence[int]:
        return [8, n_items]

    def eliminated(self, look: Look) -> Mapping[str, str]:
        order = np.argsort(look.differences @ look.weights, kind="stable")
        return {look.paths[k]: "the worse half" for k in order[: len(order) // 2]}


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with rys.reference_model(n_ctx=1024) as model:
        yield model


def test_a_new_strategy_needs_its_class_and_one_registration(
    model: rys.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cast("dict[str, Strategy]", STRATEGIES), "halving", Halving())
    blocks = rys.space.blocks([4], stride=4)
    store = tmp_path / "s.db"
    with Sweep(model, "reference", blocks, store=store, strategy="halving") as sweep:
        sweep.run()
        frame = sweep.results().set_index("path")
    assert sorted(frame["status"]) == ["done", "done", "eliminated"]
    assert sorted(frame["n_items"]) == [8, 16, 16]
    assert frame["status"]["0..7,4..11"] == "done"
    assert set(frame["reason"]) == {"", "the worse half"}


def test_strategies_look_where_they_say() -> None:
    assert Scan().looks(64) == [64]
    assert Race().looks(256) == [*LOOKS, 256]
    assert Race().looks(20) == [16, 20]
    look = Look(16, 4, 1, ["a"], np.zeros((1, 16)), np.full(16, 1 / 16))
    assert Scan().eliminated(look) == {}


def test_the_default_is_a_race_where_there_are_many_candidates() -> None:
    assert chosen_strategy(None, 50, is_plan=False) == "scan"
    assert chosen_strategy(None, 51, is_plan=False) == "race"
    assert chosen_strategy(None, 3, is_plan=True) == "race"
    assert chosen_strategy("scan", 999, is_plan=True) == "scan"
    with pytest.raises(RequestError, match='strategy is \'x\', but must be "scan", "race" or None'):
        chosen_strategy("x", 3, is_plan=False)


class Elsewhere:
    """An evaluator without a model, as a worker on another machine is to the sweep."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def evaluate(self, task: Task) -> Measurement:
        self.tasks.append(task)
        if task.layer_path.n_slot > 5:
            return Measurement(failure="EngineError: too long")
        n = (task.stop or 4) - task.start
        scores = np.full(n, 0.5)
        parsed, truncated = np.ones(n, bool), np.zeros(n, bool)
        part = ItemScores(scores, parsed, truncated, ["?"] * n, n_evaluated_tokens=7, seconds=0.25)
        return Measurement({"p": part})


def test_whoever_evaluates_the_file_has_one_writer(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s.db", made_up_settings(4), SweepOptions())
    store.add_items(Stage.SEARCH, "p", items("p", "search", 4))
    told: list[dict[str, Any]] = []
    evaluator, budget = Elsewhere(), Budget()
    measurer = Measurer(store, evaluator, budget, told.append)
    path, long = LayerPath("0..3,3", 4), LayerPath("0..3x2", 4)
    for _ in range(2):
        measurer.measure_once(Task(Stage.SEARCH, LayerPath(None, 4)), Role.BASELINE)
    measurer.measure(Task(Stage.SEARCH, path, 0, 2), Role.CANDIDATE, is_last=False)
    measurer.measure(Task(Stage.SEARCH, path, 2, 4), Role.CANDIDATE)
    measurer.measure(Task(Stage.SEARCH, long, 0, 2), Role.CANDIDATE)
    trials = store.trials(Stage.SEARCH)
    assert [(t.path, t.status, t.n_items, t.tokens) for t in trials] == [
        ("0..3", Status.DONE, 4, 7),
        ("0..3,3", Status.DONE, 4, 14),
        ("0..3x2", Status.FAILED, 0, 0),
    ]
    assert trials[2].reason == "EngineError: too long"
    assert [trial.block for trial in trials] == [None, (3, 4), (0, 4)]
    assert len(evaluator.tasks) == 4  # the baseline once
    assert budget.tokens_spent == 21
    assert [line["status"] for line in told] == ["done", "partial", "done", "failed"]
    assert told[1]["n_items"] == 2
    store.close()


def test_a_baseline_that_cannot_be_evaluated_is_an_error_and_not_a_result(tmp_path: Path) -> None:
    class Broken:
        def evaluate(self, task: Task) -> Measurement:
            return Measurement(failure="EngineError: NaN", error=EngineError("NaN"))

    store = Store.create(tmp_path / "s.db", made_up_settings(4), SweepOptions())
    measurer = Measurer(store, Broken(), Budget())
    with pytest.raises(EngineError, match="NaN"):
        measurer.measure(Task(Stage.SEARCH, LayerPath(None, 4)), Role.BASELINE)
    assert store.trials(Stage.SEARCH) == []
    store.close()


def test_what_is_computed_from_the_whole_file_is_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sweep(tmp_path / "s.db", 8, sizes=[1, 2], strategy="scan")
    n_calls = {"search": 0, "confirmation": 0}

    def counted(name: str) -> Any:
        genuine = getattr(analysis, name)

        def function(*arguments: Any) -> Any:
            n_calls[name] += 1
            return genuine(*arguments)

        return function

    for name in n_calls:
        monkeypatch.setattr(analysis, name, counted(name))
    with Sweep.open(path) as sweep:
        first = sweep.report()
        assert sweep.report() is first
        assert sweep.best is not None
        frame = sweep.results()
        frame["effect"] = 0.0  # a copy: what a user does to it stays there
        assert sweep.results()["effect"].any()
        assert n_calls == {"search": 1, "confirmation": 1}
        store = Store.open(path)
        store.write(SweepOptions(notes=("changed",)))
        assert sweep.report().notes == ("changed",)
        assert n_calls == {"search": 2, "confirmation": 2}
        store.close()
