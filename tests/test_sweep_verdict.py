"""What stands between the baseline and the search: which probes measure, what rounding does, and
how long it takes; and what a verdict makes of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rys
from rys import statistics
from rys.errors import ProbeError, StoreError
from rys.layer_path import LayerPath
from rys.next_steps import commands
from rys.probes import Calibration, Item
from rys.probes.reference import Reference
from rys.sweep import probe_choice, space
from rys.sweep.forecast import Forecast, RoundCosts, Shorter
from rys.sweep.rounding import describe_rounding, part_ends
from rys.sweep.settings import Rounding
from rys.sweep.sweep import Sweep
from rys.sweep.sweep_file import SweepFile
from support.simulated_sweep import Says, with_field, write_sweep

PLANTED = "0..7,4..11"
FOURS = space.blocks([4], stride=4)  # (0, 4), (4, 8), (8, 12)


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with rys.reference_model(n_ctx=1024) as model:
        yield model


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


class Told:
    """What a sweep tells before its search."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.documents: dict[str, dict[str, Any]] = {}

    def __call__(self, what: str, lines: list[str], document: dict[str, Any]) -> None:
        self.lines[what] = lines
        self.documents[what] = document
        json.dumps(document)


def make(model: rys.Model, store: Path, probes: Any, **options: Any) -> Sweep:
    small: dict[str, Any] = {"items": 16, "min_effect": 1.0}
    return Sweep(model, probes, FOURS, store=store, **{**small, **options})


class Trivial(Reference):
    """Whatever is answered is right."""

    id = "trivial"

    class Always(Says):
        constants = ("no",)

        def requests(self, prompt: Any, prompter: Any) -> list[Any]:
            return [prompter.generate(prompt, 1, ())]

        def read(self, results: Any) -> Any:
            return replace(super().read(results), answer="yes")

    def items(self, n: int, seed: int = 0, split: Any = "search") -> list[Item]:
        asked = super().items(n, seed, split)
        return [Item(prompt=item.prompt, scorer=self.Always()) for item in asked]


# Probes that cannot measure


def test_a_probe_that_cannot_measure_is_left_out_and_the_sweep_goes_on(
    model: rys.Model, store: Path
) -> None:
    told = Told()
    with make(model, store, [Trivial(), "reference"], on_finding=told) as sweep:
        sweep.run()
        sweep.confirm()
        report = sweep.report()
        assert list(report.baseline) == ["reference"]
        assert "leaves no room" in report.left_out["trivial"][0]
        assert told.lines["left_out"][0].startswith("trivial is left out: the score 1.000")
        assert report.probes == ("trivial:1", "reference:1")
        assert not report.forced
        assert set(sweep.items()["probe"]) == {"reference"}
        assert report.top
        expected = sweep.items()
    # the file is sound, and is resumed without the probe
    with make(model, store, [Trivial(), "reference"], on_finding=told, force=True) as sweep:
        sweep.run()
        sweep.confirm()
        assert sweep.items().equals(expected)
        assert not sweep.report().forced
    with SweepFile.open(store) as file:
        assert "trivial" in file.report().left_out


def test_a_probe_that_is_left_out_does_not_decide_how_many_rounds_there_are(
    model: rys.Model, store: Path
) -> None:
    class Few(Reference):
        def items(self, n: int, seed: int = 0, split: Any = "search") -> list[Item]:
            return super().items(min(n, 20), seed, split)

    with make(model, store, [Trivial(), Few()], items=40, strategy="race", top=1) as sweep:
        sweep.run()
        assert sweep.settings.items == 40
        assert set(sweep.results()["n_items"]) <= {16, 20}


def test_a_sweep_without_a_probe_that_measures_says_what_would_help(
    model: rys.Model, store: Path
) -> None:
    with make(model, store, Trivial()) as sweep:
        for _ in range(2):
            with pytest.raises(ProbeError) as error:
                sweep.run()
            said = str(error.value)
            assert said.startswith("no probe can measure this model: trivial: the score 1.000")
            assert "--probes questions.jsonl" in said
    with make(model, store, Trivial(), force=True) as sweep:
        sweep.run()
        assert sweep.report().forced
    with make(model, store, Trivial()) as sweep:
        assert sweep.report().forced  # whatever is said later


# Calibration


@pytest.fixture
def rungs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the reference probe two tiers to choose among, and questions to choose by."""
    tiers = (Reference("mixed"), Reference("easy"))
    genuine = Reference.items

    def items(probe: Reference, n: int, seed: int = 0, split: Any = "search") -> list[Item]:
        if split == "calibrate":  # the training left no questions for it
            return genuine(probe, n, seed + 1000, "search")
        return genuine(probe, n, seed, split)

    monkeypatch.setattr(Reference, "items", items)
    monkeypatch.setattr(Reference, "rungs", lambda self, thinking=False: tiers)


@pytest.mark.usefixtures("rungs")
def test_a_bare_name_is_calibrated_and_the_file_keeps_the_choice(
    model: rys.Model, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    with make(model, store, "reference", items=48, on_finding=told) as sweep:
        sweep.run()
        (form,) = sweep.settings.forms.values()
        assert form in ("reference:mixed", "reference:easy")
        assert sweep._evaluations["search"].probes[0].name == form  # type: ignore[index]
        document = sweep.report().calibration
    assert list(told.lines) == ["calibration", "rounding", "forecast"]
    assert told.lines["calibration"][0].startswith("reference: tier ")
    assert document == told.documents["calibration"]
    assert document is not None
    assert Calibration.from_json(document).probes[0].name == form

    # what is typed next measures with the same form
    asked = {"probes": "reference, other.jsonl"}
    left_out = {"other.jsonl": ("it cannot",)}
    with SweepFile.open(store) as file:
        options = replace(file.options, provenance=asked)
        report = replace(file.report(), options=options, left_out=left_out)
    assert any(f"--probes {form} --split" in command for _, command in commands(report))

    def calibrated_again(*_: Any, **__: Any) -> None:
        pytest.fail("a resumed sweep was calibrated again")

    monkeypatch.setattr(probe_choice, "probes_calibrate", calibrated_again)
    with make(model, store, "reference", items=48, on_finding=told) as sweep:
        assert sweep.settings.forms == {"reference": form}
        sweep.run()


@pytest.mark.usefixtures("rungs")
@pytest.mark.parametrize("probes", ["reference:hard", Reference("hard")], ids=["tier", "object"])
def test_a_tier_that_is_given_is_taken_as_it_is(model: rys.Model, store: Path, probes: Any) -> None:
    with make(model, store, probes, force=True) as sweep:
        assert sweep.settings.forms == {"reference": "reference:hard"}
        assert sweep.report().calibration is None


@pytest.mark.usefixtures("rungs")
def test_without_calibration_the_default_form_is_taken(model: rys.Model, store: Path) -> None:
    with make(model, store, "reference", calibrate=False) as sweep:
        assert sweep.settings.forms == {"reference": "reference:mixed"}


def refusing(monkeypatch: pytest.MonkeyPatch, *refused: str) -> None:
    """Let calibration refuse probes."""
    genuine = probe_choice.probes_calibrate

    def calibrated(*arguments: Any, **options: Any) -> Calibration:
        found = []
        for one in genuine(*arguments, **options).found:
            found.append(replace(one, chosen=None) if one.id in refused else one)
        return Calibration(found=tuple(found), items=16, seed=0)

    monkeypatch.setattr(probe_choice, "probes_calibrate", calibrated)


class Second(Reference):
    """The same questions under another name."""

    id = "second"


@pytest.mark.usefixtures("rungs")
def test_a_probe_that_calibration_refuses_is_left_out(
    model: rys.Model, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "reference")
    for _ in range(2):  # made, and resumed
        with make(model, store, ["reference", Second()]) as sweep:
            assert sweep.settings.forms == {"second": "second:mixed"}
            assert "no form measures" in sweep.report().left_out["reference"][0]
            sweep.run()
            assert list(sweep.report().baseline) == ["second"]


@pytest.mark.usefixtures("rungs")
def test_a_sweep_whose_probes_are_all_refused_by_calibration_leaves_no_file(
    model: rys.Model, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "reference")
    with pytest.raises(ProbeError, match="no probe can measure this model: reference: no form"):
        make(model, store, "reference")
    assert not store.exists()
    with make(model, store, "reference", force=True) as sweep:
        assert sweep.settings.forms == {"reference": "reference:mixed"}


@pytest.mark.usefixtures("rungs")
def test_a_file_cannot_name_a_form_of_something_else(model: rys.Model, store: Path) -> None:
    make(model, store, "reference", items=48).close()
    with_field(store, "settings", "forms", {"reference": "/etc/passwd"})
    with pytest.raises(StoreError, match="is damaged: the form of probe 'reference' is '/etc"):
        make(model, store, "reference", items=48)


# Rounding


def test_what_rounding_does_is_the_mean_difference_of_the_scores(
    model: rys.Model, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    with make(model, store, "reference", items=32, on_finding=told) as sweep:
        genuine = sweep._measurer.repeat

        def moved(task: Any) -> Any:
            """Answer the last of each part wrong, and change its score by 0.5."""
            found = {}
            for probe, part in genuine(task).items():
                scores, answers = part.scores.copy(), list(part.answers)
                scores[-1], answers[-1] = scores[-1] - 0.5, "another"
                found[probe] = replace(part, scores=scores, answers=answers)
            return found

        monkeypatch.setattr(sweep._measurer, "repeat", moved)
        sweep.run()
        rounding = sweep.report().rounding
    assert rounding is not None
    # two parts of 16 items, a changed one in each
    assert rounding.change == pytest.approx(2 * 0.5 / 32)
    assert rounding.by_probe == {"reference": pytest.approx(2 * 0.5 / 32)}
    assert rounding.flips == 2 / 32
    assert (rounding.ends, len(rounding.seconds)) == ((16, 32), 2)
    # two differences of -0.5 among 32, and the standard error of their mean
    deviation = np.std([-0.5] * 2 + [0.0] * 30, ddof=1)
    assert rounding.shift == pytest.approx(2 * 0.5 / 32 + 2 * deviation / np.sqrt(32))
    sentence = (
        "rounding alone moves a score by 0.0312, flips 6.2% of the choices and moves the mean "
        "score by at most 0.0747"
    )
    assert describe_rounding(rounding) == sentence
    assert told.lines["rounding"] == [sentence]


def test_the_parts_are_the_rounds_of_a_race() -> None:
    assert part_ends(256) == (16, 32, 64, 128, 256)
    assert part_ends(64) == (16, 32, 64)
    assert part_ends(16) == (8, 16)
    assert part_ends(2) == (1, 2)


def test_a_gain_that_does_not_exceed_rounding_is_not_confirmed() -> None:
    controls = np.array([0.0, 0.001, -0.001])
    assert statistics.is_confirmed(0.02, (0.01, 0.03), controls, rounding=0.019).is_confirmed
    verdict = statistics.is_confirmed(0.02, (0.01, 0.03), controls, rounding=0.02)
    assert not verdict.is_confirmed
    assert verdict.reason == ("the gain +0.0200 is not above what rounding alone does (0.0200)")


def test_the_report_of_a_sweep_takes_rounding_into_account(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "s.db", 24, strategy="scan", sizes=[4], gain=2.0)
    with SweepFile.open(path) as file:
        before = file.report()
    assert before.confirmed
    rounding = {"change": 0.9, "by_probe": {}, "shift": 0.8, "flips": None}
    with_field(path, "progress", "rounding", {**rounding, "ends": [16], "seconds": [1.0]})
    with SweepFile.open(path) as file:
        after = file.report()
    assert not after.confirmed
    assert "not above what rounding alone does (0.8000)" in after.sentence
    assert all("rounding alone" in top.why for top in after.top if top.low > 0)
    assert after.power == 0.0 or after.power < 1e-6


# How long it takes


COSTS = RoundCosts(looks=(16, 32, 64), seconds=(1.0, 1.0, 2.0), n_layer=10)
LONGER = LayerPath("0..9,0..9", 10)  # twice the slots


def test_a_path_costs_its_slots_in_the_rounds_that_are_left() -> None:
    assert COSTS.of(LayerPath(None, 10)) == pytest.approx(4.0)
    assert COSTS.of(LONGER) == pytest.approx(8.0)
    assert COSTS.of(LONGER, n_done=16) == pytest.approx(6.0)
    assert COSTS.of(LONGER, survival=0.5) == pytest.approx(2 * (1 + 0.5 + 2 * 0.25))
    assert COSTS.of(LONGER, n_done=16, survival=0.5) == pytest.approx(2 * (1 + 2 * 0.5))
    assert COSTS.of(LONGER, survival=0.5, least=0.5) == pytest.approx(2 * (1 + 0.5 + 2 * 0.5))
    assert COSTS.until(48).looks == (16, 32, 48)
    assert COSTS.until(48).seconds == pytest.approx((1.0, 1.0, 1.0))


def forecast(**changes: Any) -> Forecast:
    fields: dict[str, Any] = {
        "n_candidates": 188,
        "more_follow": False,
        "at_most": 5000.0,
        "probably": 1500.0,
        "confirm_at_most": 900.0,
        "confirm_probably": 300.0,
        "shorter": (Shorter("items", 64, 700.0), Shorter("stride", 2, 760.0)),
        "budget": None,
    }
    return Forecast(**{**fields, **changes})


def test_a_long_sweep_without_a_budget_says_so_first() -> None:
    first, second, third = forecast().lines()
    assert first == (
        "This sweep may take 1 h 38 min, and no --budget limits it. Ctrl-C loses nothing: a sweep "
        "can be resumed."
    )
    assert second == (
        "188 candidates: at most 1 h 23 min, probably about 25 min; then the confirmation, at most "
        "15 min, probably about 5 min"
    )
    assert third == (
        "A shorter sweep: --items 64 (search about 12 min) or --stride 2 (search about 13 min)"
    )
    assert len(forecast(budget="2h").lines()) == 2
    assert len(forecast(at_most=50.0, probably=40.0).lines()) == 1
    more = forecast(more_follow=True, confirm_at_most=0.0, budget="2h").lines()
    assert more[0] == (
        "188 candidates, and more that follow from them: at most 1 h 23 min, probably about 25 min"
    )


@pytest.mark.parametrize("strategy", ["scan", "race"])
def test_the_forecast_counts_what_is_left(model: rys.Model, store: Path, strategy: str) -> None:
    told = Told()
    with make(
        model,
        store,
        "reference",
        items=32,
        strategy=strategy,
        budget="1300-tokens",
        on_finding=told,
    ) as sweep:
        sweep.run(to_confirm=False)
        n_measured = len(sweep.results())
    before = told.documents["forecast"]
    assert (before["n_candidates"], before["confirm_at_most"]) == (3, 0.0)
    assert 0 < before["probably"] <= before["at_most"]
    assert [sweep["option"] for sweep in before["shorter"]] == ["items", "stride"]
    assert before["shorter"][1]["value"] == 8  # the starts are 0, 4 and 8
    with make(model, store, "reference", items=32, strategy=strategy, on_finding=told) as sweep:
        sweep.run()
        after = told.documents["forecast"]
        assert after["confirm_at_most"] >= after["confirm_probably"] > 0
        if strategy == "scan":
            assert after["n_candidates"] == 3 - n_measured < 3
        sweep.run()
        told.documents.clear()
        sweep.run()
        assert told.documents == {}  # nothing is left to foretell


def test_a_forecast_is_close_to_what_the_search_takes(model: rys.Model, store: Path) -> None:
    told = Told()
    with make(model, store, "reference", items=64, strategy="scan", on_finding=told) as sweep:
        sweep.run()
        spent = sweep.results()["seconds"].sum()
    # The times of a busy machine vary; a mistake in the unit or the slots would be larger.
    assert spent / 3 < told.documents["forecast"]["probably"] < spent * 3


def test_probes_that_are_no_choices_have_no_flips() -> None:
    found = Rounding(
        change=0.1, by_probe={}, shift=0.02, flips=None, ends=(1, 2), seconds=(0.5, 0.5)
    )
    sentence = "rounding alone moves a score by 0.1000 and moves the mean score by at most 0.0200"
    assert describe_rounding(found) == sentence
