"""`rys.probes.calibrate`: which form of a probe it takes, what that costs, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import rys
from rys.errors import ProbeError, RequestError
from rys.probes import Calibration, Evaluation, Item, Probe, calibrate, load, registry
from rys.probes.calibration import ProbeCalibration, Rung
from rys.probes.ladder import MAX_CANDIDATES, power_per_token
from rys.probes.math import Math
from rys.probes.scorers import Choice

ASKED = ("search", "confirm")


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with rys.reference_model(n_ctx=2048) as model:
        yield model


class Ladder(Probe):
    """Questions of the reference model, with right answers of which a part is made wrong.

    A part of 0 measures best, and a part of 0.9 not at all: half of the answers to sums are right.
    """

    id = "ladder"
    settings = ("wrong",)
    parts: tuple[float, ...] = ()

    def __init__(self, tier: str = "0", wrong: str = "0") -> None:
        self.tier = tier
        self.wrong = float(wrong)

    @property
    def name(self) -> str:
        return f"ladder:{self.tier}:wrong={self.wrong}"

    def rungs(self, thinking: bool = False) -> Sequence[Probe]:
        return [Ladder(str(k), str(part)) for k, part in enumerate(self.parts)]

    def items(self, n: int, seed: int = 0, split: str = "search") -> list[Item]:
        # The probe has no split of its own for the calibration, so the seed keeps them apart.
        drawn = load("reference:easy").items(n, seed + 7 * (split == "calibrate"), "search")
        items = []
        for k, item in enumerate(drawn):
            scorer = item.scorer
            assert isinstance(scorer, Choice)
            labels = list(scorer.labels)
            target = scorer.target
            if k % 10 < 10 * self.wrong:
                target = labels[(labels.index(target) + 1) % len(labels)]
            items.append(Item(prompt=item.prompt, scorer=Choice(labels, target), tags=item.tags))
        return items


@pytest.fixture
def ladder(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes a probe of these parts the built-in probe "ladder"."""
    monkeypatch.setitem(registry.BUILT_IN, "ladder", f"{__name__}:Ladder")

    def make(*parts: float) -> None:
        monkeypatch.setattr(Ladder, "parts", parts)

    return make


# what is chosen


def test_the_tier_that_measures_best_is_chosen(model, ladder):
    ladder(0.6, 0.3, 0.0, 0.95)
    found = calibrate(model, ["ladder"], items=64)
    (one,) = found.found
    assert one.chosen is not None
    figures = {rung.name: rung for rung in one.rungs}
    powers = {n: r.power for n, r in figures.items() if not r.reasons and r.score <= 0.8}
    assert one.chosen.name == max(powers, key=powers.get)
    assert found.probes == [one.chosen]
    assert found.refused == {}


def test_a_tier_without_room_is_climbed_over(model, ladder):
    ladder(0.1, 0.4)
    (one,) = calibrate(model, ["ladder"], items=64).found
    assert one.rungs[0].score > 0.8
    assert one.chosen is not None
    assert one.chosen.name == "ladder:1:wrong=0.4"
    # but it is better than nothing
    ladder(0.1, 0.95)
    (one,) = calibrate(model, ["ladder"], items=64).found
    assert one.chosen is not None
    assert one.chosen.name == "ladder:0:wrong=0.1"


def test_the_climb_ends_above_the_best_tier(model, ladder):
    ladder(0.2, 0.95, 0.95, 0.95)
    (one,) = calibrate(model, ["ladder"], items=64).found
    assert [rung.name for rung in one.rungs] == ["ladder:0:wrong=0.2", "ladder:1:wrong=0.95"]


def test_a_probe_without_a_form_that_measures_is_refused_with_the_reasons(model, ladder):
    ladder(0.95, 0.96, 0.97)
    found = calibrate(model, ["reference", "ladder"], items=64)
    assert [probe.id for probe in found.probes] == ["reference"]
    (reasons,) = found.refused.values()
    assert reasons[0].startswith("ladder:0:wrong=0.95: the score ")
    assert "is not above" in reasons[0]
    first, second = found.lines()
    assert first == "reference: reference:mixed, as given"
    assert second.startswith("ladder: no form measures this model (the score ")


def test_a_form_that_was_given_is_taken_as_it_is(model):
    given = Math("hard", "exact")
    found = calibrate(model, [given, "reasoning:hard", "reference"])
    assert [probe.name for probe in found.probes] == [
        "math:hard:score=exact", "reasoning:hard", "reference:mixed",
    ]  # fmt: skip
    assert found.probes[0] is given
    assert found.n_evaluated_tokens == 0
    assert found.lines()[0] == "math: math:hard:score=exact, as given"


def test_the_same_arguments_choose_the_same(model, ladder):
    ladder(0.3, 0.0)
    first, again = (calibrate(model, ["ladder"], items=32) for _ in range(2))
    assert first.to_json() == again.to_json()


@pytest.mark.parametrize(
    ("probes", "options", "error", "message"),
    [
        ([], {}, ProbeError, r"the probes are \[\]; give at least one"),
        (["math", "math:hard"], {}, ProbeError, r"the probes are \['math', 'math'\]"),
        (["chess"], {}, ProbeError, "there is no probe 'chess'"),
        (["math"], {"items": 0}, RequestError, "items is 0"),
    ],
)
def test_bad_arguments_are_refused(model, probes, options, error, message):
    with pytest.raises(error, match=message):
        calibrate(model, probes, **options)


# what it costs


@pytest.mark.parametrize("items", [32, 64])
def test_it_costs_no_more_than_ten_candidates_of_the_search(model, ladder, items):
    ladder(0.4, 0.3, 0.2, 0.1, 0.0)
    found = calibrate(model, ["ladder"], items=items)
    evaluation = Evaluation(model, found.probes, n=items)
    candidate = sum(result.n_evaluated_tokens for result in evaluation.run(model).values())
    assert 0 < found.n_evaluated_tokens <= MAX_CANDIDATES * candidate


def test_tokens_per_item_are_those_of_a_search(model, ladder):
    ladder(0.3, 0.0)
    (one,) = calibrate(model, ["ladder"], items=64).found
    assert one.chosen_rung is not None
    evaluation = Evaluation(model, one.chosen, n=64)
    (result,) = evaluation.run(model).values()
    measured = result.n_evaluated_tokens / result.n
    assert one.chosen_rung.tokens_per_item == pytest.approx(measured, rel=0.1)


def test_prompt_tokens_are_what_a_run_evaluates(model):
    evaluation = Evaluation(model, ["reference", "math:easy:shots=2"], n=12)
    results = evaluation.run(model).values()
    evaluated = sum(result.n_evaluated_tokens for result in results)
    # The last token of a likelihood's answer is counted, and not evaluated; a beginning of a few
    # tokens is not worth sharing, and is evaluated again.
    assert evaluation.n_prompt_tokens() == pytest.approx(evaluated, rel=0.1)
    assert evaluation.n_prompt_tokens(3) < evaluation.n_prompt_tokens(12)


# which items it asks


@pytest.mark.parametrize("probe", ["math", "eq", "reasoning"])
def test_no_item_of_a_search_or_confirmation_is_asked_or_shown(probe):
    for rung in load(probe).rungs():
        for seed in (0, 5):
            calibrated = {i.content_hash for i in rung.items(32, seed, "calibrate")}
            for split in ASKED:
                asked = rung.items(64, seed, split)
                assert calibrated.isdisjoint(item.content_hash for item in asked)
                shown = {m["content"] for m in asked[0].prompt[:-1]} if shows(rung) else set()
                assert shown.isdisjoint(last_text(item) for item in asked)


def shows(probe: Probe) -> bool:
    return "shots=" in probe.name


def last_text(item: Item) -> str:
    return item.prompt if isinstance(item.prompt, str) else item.prompt[-1]["content"]


# what it says and stores


def test_json_makes_the_same_calibration_again(model, ladder):
    ladder(0.3, 0.0)
    found = calibrate(model, ["reference:easy", "ladder", Math("hard", "exact")], items=16)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    again = Calibration.from_json(document)
    assert again.to_json() == document
    assert [probe.name for probe in again.probes] == [probe.name for probe in found.probes]
    assert again.lines() == found.lines()


def test_probes_that_no_name_makes_are_given_again(model, tmp_path):
    class Mine(Probe):
        id = "mine"

        def items(self, n: int, seed: int = 0, split: Any = "search") -> list[Item]:
            return [Item(prompt="?", scorer=Choice("AB", "A"))]

    given = Mine()
    document = calibrate(model, [given]).to_json()
    assert Calibration.from_json(document, [given]).probes == [given]
    with pytest.raises(ProbeError, match="there is no probe 'mine'"):
        Calibration.from_json(document)


@pytest.mark.parametrize("document", [{}, {"found": 3}, {"found": [{"id": "math"}]}])
def test_another_document_is_refused(document):
    with pytest.raises(ProbeError, match="this is not a calibration"):
        Calibration.from_json(document)


def test_a_line_tells_the_form_and_the_figures():
    form = load("math:easy:shots=6:style=plain")
    rung = Rung(
        name=form.name, n=64, score=0.42, deviation=0.3, floor=0.1, accuracy=0.4,
        tokens_per_item=20.0, n_evaluated_tokens=900, power=0.01,
    )  # fmt: skip
    one = ProbeCalibration(id="math", chosen=form, rungs=(rung,))
    assert one.line() == (
        "math: tier easy, 6 examples, style plain; score 0.42, accuracy 0.40, room 0.58"
    )


# the power


def test_power_is_greatest_in_the_middle_and_falls_with_the_tokens():
    powers = [power_per_token(score, 0.4, 0.0, 50.0) for score in (0.05, 0.3, 0.5, 0.7, 0.95)]
    assert int(np.argmax(powers)) == 2
    assert power_per_token(0.5, 0.4, 0.0, 100.0) == pytest.approx(powers[2] / 2)
    assert power_per_token(0.5, 0.2, 0.0, 50.0) == pytest.approx(powers[2] * 4)
    assert power_per_token(0.1, 0.4, 0.1, 50.0) == power_per_token(1.0, 0.4, 0.1, 50.0) == 0
