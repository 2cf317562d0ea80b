"""The sweep on the reference model: it finds the planted block, can be interrupted anywhere, and
says what it did.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rys
from rys.errors import EngineError, ProbeError, RequestError, StoreError
from rys.layer_path import LayerPath
from rys.probes import Evaluation
from rys.probes.base import Item, Probe
from rys.probes.reference import Reference
from rys.probes.scorers import Choice
from rys.sweep import space
from rys.sweep.space import Space
from rys.sweep.sweep import Sweep

BLOCK = (4, 8)
PLANTED = "0..7,4..11"
FOURS = space.blocks([4], stride=4)  # (0, 4), (4, 8), (8, 12)
FAST: dict[str, Any] = {
    "items": 16,
    "min_effect": 1.0,
}  # an effect so large needs 16 items to be confirmed


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with rys.reference_model(n_ctx=1024) as model:
        yield model


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def make(
    model: rys.Model, store: Path, what: Any = FOURS, probes: Any = "reference", **options: Any
) -> Sweep:
    return Sweep(model, probes, what, store=store, **FAST | options)


def scores(sweep: Sweep) -> dict[tuple[str, str], list[float]]:
    """Return the scores of all items, by stage and path."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in sweep._store.item_rows():
        found.setdefault((row["stage"], row["path"]), []).append(row["score"])
    return found


class Runs:
    """The runs of evaluations, of which some may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        self.items: list[tuple[str, ...]] = []
        self.errors: dict[int | str, BaseException] = {}  # by number of the run, or by path
        genuine = Evaluation.run

        def run(
            evaluation: Evaluation,
            model: rys.Model,
            start: int = 0,
            stop: int | None = None,
            progress: bool = False,
        ) -> Any:
            n, path = len(self.paths), str(model.layer_path)
            self.paths.append(path)
            error = self.errors.get(n) or self.errors.get(path)
            if error is not None:
                raise error
            results = genuine(evaluation, model, start, stop, progress)
            self.items.append(
                tuple(item.content_hash for result in results.values() for item in result.items)
            )
            return results

        monkeypatch.setattr(Evaluation, "run", run)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


def test_a_small_sweep_finds_the_planted_block(model: rys.Model, store: Path) -> None:
    with make(model, store, probes="reference:hard", items=32, force=True) as sweep:
        assert sweep.best is None
        assert sweep.report().sentence == ("No path confirmed: nothing was measured yet.")
        sweep.run()
        assert sweep.best == LayerPath.block(*BLOCK, n_layer=12)
        frame = sweep.results()
        assert list(frame["status"]) == ["done"] * 3
        assert frame["path"][0] == PLANTED
        # oracle: the mean of the items' differences, straight from the evaluation
        evaluation = Evaluation(model, Reference("hard"), n=32)
        with model.with_path(PLANTED) as view, model.with_path(None) as plain:
            difference = (
                evaluation.run(view)["reference"].scores - evaluation.run(plain)["reference"].scores
            )
        assert frame["effect"][0] == pytest.approx(difference.mean(), abs=1e-12)
        assert frame["effect"][0] > 0.2
        assert frame["reference"][0] - sweep.report().baseline["reference"] == pytest.approx(
            frame["effect"][0]
        )
        assert frame["low"][0] < frame["effect"][0] < frame["high"][0]


def test_all_candidates_answer_the_same_items(model: rys.Model, store: Path, runs: Runs) -> None:
    with make(model, store) as sweep:
        sweep.run()
        # the baseline once more in two parts, for what rounding does
        assert runs.paths == [*["0..11"] * 3, "0..3,0..11", PLANTED, "0..11,8..11"]
        whole = [asked for asked in runs.items if len(asked) == 16]
        assert len(whole) == 4
        assert len(set(whole)) == 1
        assert runs.items[1] + runs.items[2] == whole[0]
        rows = sweep.items()
        assert len(rows) == 4 * 16
        assert all(
            list(group["item"]) == list(rows["item"][:16]) for _, group in rows.groupby("path")
        )


def test_the_confirmation_asks_fresh_items_and_controls_of_the_same_length(
    model: rys.Model, store: Path
) -> None:
    what = space.union(space.paths([PLANTED]), space.skips([1], 9, 10))
    with make(model, store, what) as sweep:
        with pytest.raises(RequestError, match=r"call run\(\) first"):
            sweep.confirm()
        sweep.run()
        sweep.confirm()
        asked = {stage: set(group["prompt"]) for stage, group in sweep.items().groupby("stage")}
        assert len(asked["search"]) == len(asked["confirm"]) == 16
        assert asked["search"].isdisjoint(asked["confirm"])
        report = sweep.report()
        assert report.top[0].path == PLANTED
        extra = sorted(row.extra_slots for row in report.top)
        assert extra == [-1, 4]
        assert sorted(row.extra_slots for row in report.controls) == [
            -1,
            4,
            4,
        ]  # of three, the lengths in turn
        names = {row.path for row in (*report.top, *report.controls)}
        assert len(names) == 5
        before = scores(sweep)
        sweep.run()
        sweep.confirm()  # nothing is measured twice
        assert scores(sweep) == before


def test_the_report_is_json_and_has_its_shape(model: rys.Model, store: Path) -> None:
    with make(model, store) as sweep:
        sweep.run()
        searched = sweep.report().to_json()
        sweep.confirm()
        report = sweep.report().to_json()
    for document in (searched, report):
        json.dumps(document)
        assert document["verdict"] in ("confirmed", "none")
        assert document["best"]["layer_path"] in ("0..3,0..11", PLANTED, "0..11,8..11")
        assert set(document["best"]) >= {"effect", "interval", "by_probe", "extra_slots", "stage"}
        assert set(document["best"]["by_probe"]) == {"reference"}
        assert (document["n_candidates"], document["n_eliminated"], document["n_failed"]) == (
            3,
            0,
            0,
        )
        assert document["is_complete"]
        assert document["store"] == str(store)
        assert document["seconds"] > 0
        assert document["tokens"] > 0
    assert searched["verdict"] == "none"
    assert "not confirmed on fresh items" in searched["sentence"]
    assert searched["best"]["stage"] == "search"
    assert len(report["top"]) == 3
    assert report["confirm_items"] == 16
    assert (report["verdict"] == "confirmed") == bool(report["confirmed"])


@pytest.mark.parametrize("strategy", ["scan", "race"])
@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_an_interrupted_sweep_goes_on_to_the_same_scores(
    model: rys.Model, tmp_path: Path, runs: Runs, strategy: str, k: int
) -> None:
    items = {"scan": 16, "race": 20}[strategy]
    finished = []
    for name, stops in {"straight.db": [], "interrupted.db": [k, k + 2]}.items():
        runs.paths.clear()
        runs.errors = {stop: KeyboardInterrupt() for stop in stops}
        for _ in range(len(stops) + 1):
            with make(model, tmp_path / name, strategy=strategy, items=items, top=1) as sweep:
                try:
                    sweep.run()
                    sweep.confirm()
                except KeyboardInterrupt:
                    assert len(sweep._store.trials("search")) <= 4
        with Sweep.open(tmp_path / name) as sweep:
            assert sweep.report().is_complete
            finished.append((scores(sweep), sweep.report().best, len(runs.paths)))
    assert finished[0][:2] == finished[1][:2]
    # Only what was in flight was done again. What rounding does is measured in two parts, which are
    # saved together.
    assert finished[1][2] == finished[0][2] + (3 if k == 1 else 2)


def test_a_race_that_is_resumed_eliminates_the_same_candidates(
    model: rys.Model, tmp_path: Path, runs: Runs
) -> None:
    what = space.blocks([1, 4], stride=2)
    outcomes = []
    for name, stops in {"a.db": [], "b.db": range(12, 20)}.items():
        runs.paths.clear()
        runs.errors = {stop: KeyboardInterrupt() for stop in stops}
        for _ in range(len(stops) + 1):
            with make(model, tmp_path / name, what, strategy="race", items=48, top=1) as sweep:
                try:
                    sweep.run()
                except KeyboardInterrupt:
                    continue
                trials = [
                    (t.path, t.status, t.reason, t.n_items) for t in sweep._store.trials("search")
                ]
                outcomes.append((trials, scores(sweep)))
    assert outcomes[0] == outcomes[1]
    eliminated = [trial for trial in outcomes[0][0] if trial[1] == "eliminated"]
    assert eliminated
    assert all("of the race" in reason and n in (16, 32) for _, _, reason, n in eliminated)
    assert any(status == "done" and path == PLANTED for path, status, _, _ in outcomes[0][0])


class Few(Reference):
    """A fixed list."""

    id = "few"

    def items(self, n: int, seed: int = 0, split: Any = "search") -> list[Item]:
        return super().items(min(n, 20), seed, split)


def test_a_probe_with_few_items_races_with_those_it_has(
    model: rys.Model, store: Path, runs: Runs
) -> None:
    with make(
        model, store, probes=Few(), strategy="race", items=64, top=1, min_effect=0.1
    ) as sweep:
        sweep.run()
        sweep.confirm()
        assert {len(values) for values in scores(sweep).values()} <= {16, 20}
        assert sweep.settings.items == 20
        assert sweep.report().confirm_items == 20
        assert PLANTED in [
            trial.path for trial in sweep._store.trials("search") if trial.status == "done"
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"probes": "reference:hard"},
            "forms.reference was 'reference:mixed' and is 'reference:hard'",
        ),
        ({"probes": "math"}, r"probes was \['reference:1'\] and is \['math:"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"items": 17}, "items was 16 and is 17"),
        ({"what": space.blocks([3])}, r"space was 'blocks\(4.*' and is 'blocks\(3\)'"),
        ({"strategy": "race"}, "strategy was 'scan' and is 'race'"),
        ({"thinking": True}, "thinking was False and is True"),
    ],
)
def test_another_sweep_does_not_go_on_with_the_file(
    model: rys.Model, store: Path, change: dict[str, Any], message: str
) -> None:
    make(model, store).close()
    before = store.read_bytes()
    with pytest.raises(StoreError, match=message) as error:
        make(model, store, **{"force": True} | change)
    assert str(store) in str(error.value)
    assert store.read_bytes() == before


def test_another_model_does_not_go_on_with_the_file(
    model: rys.Model, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(model, store).close()
    with monkeypatch.context() as patch:
        patch.setattr(rys.Model, "fingerprint", "f" * 32)
        with pytest.raises(StoreError, match=r"fingerprint was .* and is 'fff"):
            make(model, store)
    with monkeypatch.context() as patch:  # the same weights in another place are the same model
        patch.setattr(rys.Model, "source", "moved.gguf")
        make(model, store).close()


def test_a_path_of_too_many_slots_is_left_out(model: rys.Model, store: Path, runs: Runs) -> None:
    with make(
        model, store, space.union(space.paths([PLANTED]), space.multi((0, 12), [43]))
    ) as sweep:
        sweep.run()
    assert runs.paths == [*["0..11"] * 3, PLANTED]


def test_a_candidate_that_fails_is_recorded_and_not_tried_again(
    model: rys.Model, store: Path, runs: Runs
) -> None:
    runs.errors["0..3,0..11"] = EngineError("no memory for 16 slots")
    for _ in range(2):
        with make(model, store) as sweep:
            sweep.run()
            report, frame = sweep.report(), sweep.results()
            assert (report.n_failed, report.n_candidates, report.is_complete) == (
                1,
                3,
                True,
            )
            assert frame["reason"][2] == "EngineError: no memory for 16 slots"
            assert list(frame["status"]) == ["done", "done", "failed"]
    assert runs.paths.count("0..3,0..11") == 1
    with make(model, store) as sweep:
        sweep.confirm()
        assert "0..3,0..11" not in [row.path for row in sweep.report().top]


def test_a_sweep_whose_candidates_all_fail_says_that_nothing_was_measured(
    model: rys.Model, store: Path, runs: Runs
) -> None:
    with make(model, store) as sweep:
        runs.errors = {k: EngineError("broken") for k in (3, 4, 5)}  # those of the candidates
        sweep.run()
        sweep.confirm()
        report = sweep.report()
        assert (report.verdict, report.best, report.n_failed) == ("none", None, 3)
        assert report.sentence == "No path confirmed: nothing was measured yet."
        assert sweep.best is None


class Long(Reference):
    """Every fourth item is too long for a small context."""

    id = "long"

    def items(self, n: int, seed: int = 0, split: Any = "search") -> list[Item]:
        items = super().items(n, seed, split)
        padding = "Last digit of " + "+".join("1" * 120) + "?"
        return [
            Item(prompt=padding + item.prompt, scorer=item.scorer) if k % 4 == 0 else item
            for k, item in enumerate(items)
        ]


def test_items_that_fail_on_the_baseline_are_refused_with_the_reason(store: Path) -> None:
    with rys.reference_model(n_ctx=128) as small, make(small, store, probes=Long()) as sweep:
        try:
            sweep.run()
        except ProbeError as error:
            assert "items failed" in str(error)  # noqa: PT017
        else:
            pytest.fail("the preflight let items pass that failed")


class Trivial(Reference):
    """Whatever is answered is right."""

    id = "trivial"

    class Always(Choice):
        def score(self, answer: Any) -> float:
            return 1.0

    def items(self, n: int, seed: int = 0, split: Any = "search") -> list[Item]:
        asked = super().items(n, seed, split)
        return [
            Item(prompt=item.prompt, scorer=self.Always(item.scorer.constants, item.scorer.target))
            for item in asked
        ]


def test_a_probe_that_cannot_measure_is_refused_and_force_marks_the_result(
    model: rys.Model, store: Path, runs: Runs
) -> None:
    with make(model, store, probes=Trivial()) as sweep:
        for _ in range(2):
            with pytest.raises(ProbeError, match=r"trivial: .*leaves no room.*--force"):
                sweep.run()
        assert runs.paths == ["0..11"]
        assert not sweep.report().is_complete
    with make(model, store, probes=Trivial(), force=True) as sweep:
        sweep.run()
        report = sweep.report()
        assert report.forced
        assert "(probes that cannot measure were forced)" in report.sentence
        assert any("leaves no room" in why for why in report.preflight["trivial"])


@pytest.mark.parametrize("budget", ["0.3s", "1k-tokens"])
def test_a_spent_budget_stops_in_good_order_and_a_new_one_goes_on(
    model: rys.Model, store: Path, budget: str
) -> None:
    what = space.blocks([2, 3, 4])
    with make(model, store, what, strategy="scan", budget=budget) as sweep:
        sweep.run()
        sweep.confirm()
        report = sweep.report()
        assert report.n_candidates < what.count(12)
        assert not report.is_complete
        assert "the budget was spent" in report.stopped
        assert report.sentence.startswith("No path confirmed")
    with make(model, store, what, strategy="scan") as sweep:
        sweep.run()
        sweep.confirm()
        report = sweep.report()
        assert (report.n_candidates, report.is_complete, report.stopped) == (
            what.count(12),
            True,
            "",
        )


@pytest.mark.parametrize("strategy", ["scan", "race"])
def test_a_budget_that_the_baseline_uses_up_leaves_a_report(
    model: rys.Model, store: Path, strategy: str
) -> None:
    with make(model, store, budget="1-tokens", strategy=strategy) as sweep:
        sweep.run()
        sweep.confirm()
        report = sweep.report()
        assert (report.n_candidates, report.best) == (0, None)
        assert len(sweep.results()) == 0


def test_a_race_stopped_in_its_first_round_is_confirmed_later(
    model: rys.Model, store: Path, runs: Runs
) -> None:
    options: dict[str, Any] = {"strategy": "race", "items": 20}
    with make(model, store, budget="900-tokens", **options) as sweep:
        sweep.run()
        sweep.confirm()
        assert sweep.report().stopped
        assert sweep.best is not None
        assert sweep._store.confirmation_plan is None
    with make(model, store, **options) as sweep:
        sweep.run()
        sweep.confirm()
        assert len(sweep.report().top) > 0


@pytest.mark.parametrize("text", ["2 hours", "fast", "", "-1s", "500M", "1e3s", "infs"])
def test_a_budget_that_cannot_be_read_is_refused(model: rys.Model, store: Path, text: str) -> None:
    with pytest.raises(RequestError, match="must be a time such as 2h"):
        make(model, store, budget=text)
    assert not store.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "fast"}, "strategy is 'fast'"),
        ({"min_effect": 0}, "min_effect is 0"),
        ({"min_effect": float("nan")}, "min_effect is nan"),
        ({"min_effect": 1e-200}, "min_effect is 1e-200, but must be 0.001..1"),
        ({"min_effect": 10**400}, "min_effect is 1000"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"seed": 1.5}, "seed is 1.5, but must be an integer"),
        ({"top": 0}, "top is 0, but must be 1..100"),
        ({"items": 1}, "items is 1"),
        ({"items": 2.5}, "items is 2.5"),
        ({"probes": []}, "at least one"),
        ({"probes": ["reference", "reference:hard"]}, "each once"),
        ({"probes": "nonsense"}, "nonsense"),
        ({"what": space.blocks([13])}, r"blocks\(13\) has no path for a model of 12 layers"),
        ({"what": space.paths(["0..12"])}, "12"),
    ],
)
def test_impossible_arguments_are_refused_before_a_file_is_made(
    model: rys.Model, store: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(rys.RysError, match=message):
        make(model, store, **options)
    assert not store.exists()


def test_a_file_can_be_looked_at_while_it_grows_and_afterwards(
    model: rys.Model, store: Path, runs: Runs
) -> None:
    seen = []

    def candidates() -> Iterator[list[int]]:
        yield from FOURS.build(12)

    with make(model, store, Space("blocks(4)", lambda n: candidates())) as sweep:
        looker = Sweep.open(store)
        genuine = sweep._measurer.measure

        def measure(*arguments: Any, **options: Any) -> Any:
            seen.append((len(looker.results()), looker.report().is_complete))
            return genuine(*arguments, **options)

        sweep._measurer.measure = measure  # type: ignore[method-assign]
        sweep.run()
        assert seen == [(0, False), (0, False), (1, False), (2, False)]
        assert looker.report().is_complete
        assert looker.best == sweep.best
        assert not hasattr(looker, "run")  # that needs a model
        looker.close()
        expected = scores(sweep)
    with Sweep.open(store) as finished:
        assert scores(finished) == expected
        assert finished.path == store
    assert [file.name for file in store.parent.iterdir()] == ["s.db"]


def test_plans_unfold_and_resume(model: rys.Model, tmp_path: Path, runs: Runs) -> None:
    from rys.sweep.plan import beam

    plan = beam(1, 1, space.blocks([4], stride=4))
    finished = []
    for name, stops in {"a.db": [], "b.db": [2, 6]}.items():
        runs.paths.clear()
        runs.errors = {stop: KeyboardInterrupt() for stop in stops}
        for _ in range(len(stops) + 1):
            with make(model, tmp_path / name, plan, strategy="scan") as sweep:
                try:
                    sweep.run()
                    finished.append(scores(sweep))
                except KeyboardInterrupt:
                    pass
    assert finished[0] == finished[1]
    assert (
        max(len(LayerPath(path, 12).layers) for _, path in finished[0]) == 20
    )  # two blocks of four


def test_scores_do_not_depend_on_what_else_is_tried(model: rys.Model, tmp_path: Path) -> None:
    with (
        make(model, tmp_path / "a.db", space.paths([PLANTED])) as alone,
        make(model, tmp_path / "b.db") as all_three,
    ):
        alone.run()
        all_three.run()
        assert np.array_equal(
            scores(alone)["search", PLANTED], scores(all_three)["search", PLANTED]
        )


def test_probe_objects_are_taken_as_they_are(model: rys.Model, store: Path) -> None:
    probe: Probe = Reference("mixed")
    with make(model, store, space.paths([PLANTED]), probes=[probe]) as sweep:
        sweep.run()
        assert sweep.settings.probes == ("reference:1",)


def test_a_search_that_goes_on_after_its_budget_is_confirmed_anew(
    model: rys.Model, tmp_path: Path
) -> None:
    store = tmp_path / "s.db"
    candidates = rys.space.paths(
        ["0..9,9..", "0..10,10..", "0..7,4.."]
    )  # the planted block comes last
    arguments = {
        "store": store,
        "items": 16,
        "strategy": "scan",
        "min_effect": 0.5,
        "force": True,
        "top": 1,
    }
    with rys.Sweep(model, "reference:hard", candidates, budget="1000-tokens", **arguments) as sweep:
        sweep.run()
        sweep._measurer.budget.tokens = None  # what is left of the budget goes to the confirmation
        sweep.confirm()
        early = sweep.report()
    assert early.n_candidates < 3
    assert early.top
    assert early.top[0].path != "0..7,4..11"
    with rys.Sweep(model, "reference:hard", candidates, **arguments) as sweep:
        sweep.run()
        sweep.confirm()
        late = sweep.report()
    assert [row.path for row in late.top] == ["0..7,4..11"]
    assert late.confirm_items == early.confirm_items
    assert late.verdict == "confirmed"
