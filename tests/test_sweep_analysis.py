"""What a sweep's file says, from stores with made-up scores: no model is needed.

Oracles are means by hand.
"""

import json
import math
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from rys import statistics
from rys._util.json_values import json_value
from rys.layer_path import LayerPath
from rys.sweep import analysis, stage_scores
from rys.sweep.settings import ConfirmationPlan, Progress, SweepOptions
from rys.sweep.store import Store
from rys.sweep.sweep import Sweep
from rys.sweep.sweep_file import SweepFile
from rys.sweep.terminal import summary
from support.simulated_sweep import items, made_up_settings, result

N_LAYER = 8
SETTINGS = made_up_settings(N_LAYER, probes=("eq:1", "math:1"))
OPTIONS = SweepOptions(top=2, model="m.gguf")
GOOD, FINE, BAD, BROKEN = "0..3,2..7", "0..5,5..7", "0..1,0..7", "0,0..2,2..7"


@dataclass
class Writer:
    """Fill a store. eq has half as many items as math, so that means over items and over probes
    differ.
    """

    store: Store
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    right: dict = field(default_factory=dict)

    def stage(self, stage: str, n: int) -> None:
        for probe, size in (("math", n), ("eq", n // 2)):
            self.store.add_items(stage, probe, items(probe, stage, size))
            self.right[stage, probe] = (np.arange(size) % 5 < 2).astype(float)
        self.save(stage, "baseline", "..", 0.0, 0.0)

    def scores(self, stage: str, math_gain: float, eq_gain: float) -> dict[str, np.ndarray]:
        """Return the baseline's scores with exactly so large a share of items won, or lost."""
        found = {}
        for probe, gain in (("math", math_gain), ("eq", eq_gain)):
            base = self.right[stage, probe].copy()
            count = round(abs(gain) * len(base))
            base[self.rng.choice(np.flatnonzero(base == (gain < 0)), count, replace=False)] = float(
                gain > 0
            )
            found[probe] = base
        return found

    def save(
        self,
        stage,
        role,
        path,
        math_gain=0.0,
        eq_gain=0.0,
        start=0,
        stop=None,
        status="done",
        reason="",
    ) -> None:
        found = self.scores(stage, math_gain, eq_gain)
        parts = {
            probe: result(probe, scores[start:stop])
            for probe, scores in found.items()
            if len(scores[start:stop])
        }
        self.store.save(stage, role, path, parts, start, status, reason)

    def fail(self, stage, role, path, reason="EngineError: NaN logits") -> None:
        self.store.save(stage, role, path, {}, 0, "failed", reason)


@pytest.fixture
def writer(tmp_path):
    store = Store.create(tmp_path / "a.sweep.db", SETTINGS, OPTIONS)
    yield Writer(store)
    store.close()


@pytest.fixture
def searched(writer):
    """Return a store whose search is done: one good path, one that changes nothing, one bad, one
    failed.
    """
    writer.stage("search", 200)
    writer.save("search", "candidate", BAD, -0.3, -0.2)
    writer.fail("search", "candidate", BROKEN)
    writer.save("search", "candidate", FINE, 0.0, 0.0)
    writer.save("search", "candidate", GOOD, 0.3, 0.1)
    return writer


def confirm(writer: Writer, good: float, n: int = 400, is_complete: bool = True) -> None:
    """Run the confirmation: GOOD gains, FINE does not, and two controls lose a little."""
    writer.stage("confirm", n)
    writer.save("confirm", "top", GOOD, good, good)
    writer.save("confirm", "top", FINE, -0.01, 0.0)
    writer.save("confirm", "control", "0..6,5..", -0.05, -0.05)
    writer.save("confirm", "control", "0..1,1..", -0.01, -0.01)
    writer.store.write(plan(n, is_complete))


def plan(n_items: int, is_complete: bool = True) -> ConfirmationPlan:
    """Return the plan of a confirmation; its paths are those that the file has."""
    return ConfirmationPlan((), (), n_items, n_items, 2, 0.03, is_complete)


def report(store: Store):
    return SweepFile(store).report()


def as_json(store: Store) -> dict:
    return json.loads(json.dumps(json_value(report(store).to_json()), allow_nan=False))


# --- search


def test_a_probe_has_its_score_whatever_its_name(tmp_path):
    with closing(
        Store.create(tmp_path / "s.db", made_up_settings(N_LAYER, probes=("order:1",)), OPTIONS)
    ) as store:
        store.add_items("search", "order", items("order", "search", 8))
        for role, path, score in (("baseline", "..", 0.0), ("candidate", GOOD, 1.0)):
            store.save(
                "search",
                role,
                path,
                {"order": result("order", np.full(8, score))},
                0,
                "done",
            )
        frame = analysis.search(store).frame
    assert frame["order"].tolist() == [1.0]


def test_search_ranks_by_the_mean_over_probes(searched):
    found = analysis.search(searched.store)
    frame = found.frame
    assert frame["path"].tolist() == [GOOD, FINE, BAD, BROKEN]
    assert found.baseline == {"eq": pytest.approx(0.4), "math": pytest.approx(0.4)}
    best = frame.iloc[0]
    assert best["effect"] == pytest.approx((0.3 + 0.1) / 2)
    assert best["math_difference"] == pytest.approx(0.3)
    assert best["eq_difference"] == pytest.approx(0.1)
    assert (best["math"], best["eq"]) == (pytest.approx(0.7), pytest.approx(0.5))
    assert 0 < best["low"] < best["effect"] < best["high"]
    assert best["p"] < 0.001
    assert frame["extra_slots"].tolist() == [2, 1, 2, 2]
    assert frame["n_items"].tolist() == [200, 200, 200, 0]
    assert frame["seconds"].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert frame["tokens"].tolist() == [600, 600, 600, 0]
    assert frame["parse_rate"].tolist()[:3] == [1.0, 1.0, 1.0]
    assert frame["layers"].iloc[0] == (0, 1, 2, 3, 2, 3, 4, 5, 6, 7)


def test_search_adjusts_p_values_for_what_was_measured(searched):
    frame = analysis.search(searched.store).frame.set_index("path")
    p = frame["p"]
    assert p[FINE] == 1.0
    # three were measured: the smallest p-value is multiplied by 3 / its rank
    tested = sorted([p[GOOD], p[BAD]])
    assert frame["q"][GOOD] == pytest.approx(
        tested[1] * 3 / 2 if p[GOOD] == tested[1] else min(tested[0] * 3, tested[1] * 1.5)
    )
    assert frame["q"][FINE] == 1.0
    assert math.isnan(frame["q"][BROKEN])


def test_deviation_is_that_of_an_items_weighted_difference(searched):
    frame = analysis.search(searched.store).frame.set_index("path")
    # 200 items of math weigh 1/400 each, 100 of eq 1/200: times 300 items that is 3/4 and 3/2
    scaled = np.concatenate([np.repeat([0.75, 0.0], [60, 140]), np.repeat([1.5, 0.0], [10, 90])])
    assert scaled.mean() == pytest.approx(frame["effect"][GOOD])
    assert frame["deviation"][GOOD] == pytest.approx(scaled.std(ddof=1))
    assert frame["deviation"][FINE] == pytest.approx(
        1 / math.sqrt(300)
    )  # nothing changed: one changed item in 300


def test_failed_candidates_are_shown_and_not_ranked(searched):
    # even with the scores of items that did not fail
    searched.save(
        "search", "candidate", "0..4,4..7", 0.5, 0.5, status="failed", reason="3 items failed: NaN"
    )
    frame = analysis.search(searched.store).frame.set_index("path")
    assert frame.index.tolist()[:3] == [GOOD, FINE, BAD]
    assert set(frame.index[3:]) == {BROKEN, "0..4,4..7"}
    failed = frame.loc[frame["status"] == "failed", ["effect", "low", "high", "p", "q"]]
    assert failed.isna().all(axis=None)
    assert frame["reason"][BROKEN] == "EngineError: NaN logits"
    said = report(searched.store)
    assert said.n_failed == 2
    assert said.n_candidates == 5
    assert said.best.layer_path == GOOD
    text = summary(said, analysis.search(searched.store).frame, colour=False)
    assert "2 failed" in text
    assert "First failure: " in text


def test_eliminated_candidates_come_after_all_others(writer):
    writer.stage("search", 64)
    writer.save("search", "candidate", GOOD, 0.1, 0.1)
    # ahead on its first 16 items, but it was eliminated
    writer.save(
        "search", "candidate", BAD, 0.5, 0.5, stop=16, status="eliminated", reason="after 16 items"
    )
    frame = analysis.search(writer.store).frame
    assert frame["path"].tolist() == [GOOD, BAD]
    assert frame["n_items"].tolist() == [64, 16]
    assert report(writer.store).n_eliminated == 1


def test_effects_of_eliminated_paths_are_over_the_items_they_answered(writer):
    writer.stage("search", 64)
    base = writer.right["search", "math"]
    flipped = base.copy()
    flipped[:8] = 1 - flipped[:8]
    part = {
        "math": result("math", flipped[:16]),
        "eq": result("eq", writer.right["search", "eq"][:16]),
    }
    writer.store.save("search", "candidate", GOOD, part, 0, "eliminated", "why")
    row = analysis.search(writer.store).frame.iloc[0]
    expected = (flipped[:16] - base[:16]).mean()
    assert row["math_difference"] == pytest.approx(expected)
    assert row["effect"] == pytest.approx(expected / 2)
    assert row["math"] == pytest.approx(flipped[:16].mean())


def test_measuring_in_parts_is_the_same_as_at_once(writer):
    writer.stage("search", 64)
    found = writer.scores("search", 0.25, -0.125)
    for start, stop in ((0, 16), (16, 32), (32, 64)):
        parts = {
            probe: result(probe, s[start:stop]) for probe, s in found.items() if len(s[start:stop])
        }
        writer.store.save(
            "search", "candidate", GOOD, parts, start, "done" if stop == 64 else "partial"
        )
    row = analysis.search(writer.store).frame.iloc[0]
    assert (row["n_items"], row["status"]) == (64, "done")
    assert row["effect"] == pytest.approx(0.0625)
    assert row["tokens"] == 2 * (64 + 32)


# --- pareto_front


def test_pareto_front_is_what_no_path_beats_with_as_few_slots(writer):
    writer.stage("search", 200)
    gains = {
        "0..3,3..7": 0.1,
        "0..3,2..7": 0.05,
        "0..3,1..7": 0.2,
        "0..4,4..7": 0.05,
        "0..4,1..7": 0.25,
        "0..4,0..7": 0.1,
    }
    for path, gain in gains.items():
        writer.save("search", "candidate", path, gain, gain)
    writer.fail("search", "candidate", BROKEN)
    writer.save(
        "search", "candidate", "0,0..7", 0.5, 0.5, stop=16, status="eliminated", reason="why"
    )
    front = analysis.pareto_front(analysis.search(writer.store).frame)
    assert front["path"].tolist() == ["0..3,3..7", "0..3,1..7", "0..4,1..7"]
    assert front["extra_slots"].tolist() == [1, 3, 4]
    assert front["effect"].is_monotonic_increasing


# --- confirmation and report


def test_a_path_that_holds_is_confirmed(searched):
    confirm(searched, good=0.15)
    found = analysis.confirmation(searched.store)
    assert [row.path for row in found.confirmed] == [GOOD]
    row = found.confirmed[0]
    assert row.effect == pytest.approx(0.15)
    assert row.search_effect == pytest.approx(0.2)
    assert row.by_probe == {"math": pytest.approx(0.15), "eq": pytest.approx(0.15)}
    assert 0 < row.low < 0.15 < row.high
    other = next(row for row in found.top if row.path == FINE)
    assert not other.confirmed
    assert "does not lie above 0" in other.why
    assert [row.effect for row in found.controls] == [pytest.approx(-0.05), pytest.approx(-0.01)]
    assert all(not hasattr(row, "confirmed") for row in found.controls)

    said = as_json(searched.store)
    assert said["verdict"] == "confirmed"
    assert said["sentence"].startswith(f"Confirmed: {GOOD} makes the model better by +0.150 [")
    assert "on 600 fresh items" in said["sentence"]
    assert said["best"]["layer_path"] == GOOD
    assert said["best"]["stage"] == "confirm"
    assert (said["best"]["effect"], said["best"]["search_effect"]) == (
        pytest.approx(0.15),
        pytest.approx(0.2),
    )


def test_intervals_of_the_confirmation_are_corrected_for_its_paths(searched):
    confirm(searched, good=0.15)
    stage = stage_scores.load_scores(searched.store, "confirm")
    plain = stage_scores.effects_of(stage, confidence=0.95, resamples=20_000)[1][0]
    row = analysis.confirmation(searched.store).confirmed[0]
    # 97.5% of a normal reach 2.241 deviations, 95% reach 1.960
    assert (row.high - row.low) / np.ptp(plain) == pytest.approx(2.2414 / 1.95996, rel=0.03)


def test_no_path_confirmed_comes_first_if_nothing_holds(searched):
    confirm(searched, good=0.0)
    found = analysis.confirmation(searched.store)
    assert found.confirmed == []
    said = as_json(searched.store)
    assert said["verdict"] == "none"
    assert said["confirmed"] == []
    assert said["sentence"].startswith(
        "No path confirmed: none of the best 2 of 4 candidates held on 600 fresh items"
    )
    assert (
        f"would show a gain of 0.03 with a probability of {said['power']:.0%}" in said["sentence"]
    )
    frame = analysis.search(searched.store).frame
    text = summary(report(searched.store), frame, colour=False)
    assert text.startswith("No path confirmed")
    # the gain of the search stands beside that of the confirmation
    line = next(
        line
        for line in text.split("Confirmation on")[1].splitlines()
        if line.strip().startswith(GOOD)
    )
    assert line.split()[1:5] == ["not", "confirmed", "+0.200", "+0.000"]
    assert f"A gain of 0.03 would be confirmed with a probability of {said['power']:.0%}." in text


def test_a_gain_that_random_paths_have_too_is_not_confirmed(searched):
    searched.stage("confirm", 400)
    searched.save("confirm", "top", GOOD, 0.15, 0.15)
    searched.save("confirm", "control", "0..6,5..", 0.16, 0.16)
    searched.save("confirm", "control", "0..1,1..", 0.12, 0.12)
    searched.store.write(plan(400))
    row = analysis.confirmation(searched.store).top[0]
    assert row.low > 0
    assert not row.confirmed
    assert "is not above the random paths'" in row.why
    said = report(searched.store)
    bar = 0.14 + 2 * 0.04 / math.sqrt(2)
    assert said.bar == pytest.approx(bar)
    assert said.sentence == (
        f"No path confirmed: none of the best 1 of 4 candidates held on 600 fresh items; {GOOD} "
        f"gains +0.150 [{row.low:+.3f}, {row.high:+.3f}] but is not above random paths "
        f"({bar:+.3f})."
    )
    text = summary(said, analysis.search(searched.store).frame, colour=False)
    assert (
        f"\nRandom paths of the same lengths gain +0.120 .. +0.160: a path must exceed {bar:+.3f} "
        f"(mean + 2 standard deviations).\nThe smallest gain asked for, 0.03, lies below that, so "
        f"these items cannot confirm it.\n"
    ) in text
    assert "%" not in text.split("Confirmation on")[1].split("Blocks (i, j)")[0]
    assert "No better controls were found" not in text


def test_where_random_paths_gain_the_bar_is_told_instead_of_the_power(searched):
    searched.stage("confirm", 400)
    searched.save("confirm", "top", GOOD, 0.0, 0.0)
    searched.save("confirm", "control", "0..6,5..", 0.16, 0.16)
    searched.save("confirm", "control", "0..1,1..", 0.12, 0.12)
    searched.store.write(plan(400))
    sentence = report(searched.store).sentence
    assert sentence.endswith(
        "fresh items, where a path has to gain more than +0.197 to be above random ones."
    )


def test_controls_that_change_what_the_best_change_are_named(searched):
    searched.stage("confirm", 400)
    searched.save("confirm", "top", GOOD, 0.15, 0.15)
    searched.save("confirm", "control", "0..3,3..7", 0.1, 0.1)  # half of the layers 2, 3
    searched.save("confirm", "control", "0..6,5..", -0.01, -0.01)
    searched.store.write(plan(400))
    said = as_json(searched.store)
    assert [row["is_apart"] for row in said["controls"]] == [False, True]
    assert said["controls"][0]["why"] == "changes mostly the layers that one of the best changes"
    assert "why" not in said["controls"][1]
    text = summary(report(searched.store), analysis.search(searched.store).frame, colour=False)
    assert (
        "\nNo better controls were found: 1 of the 2 random paths change mostly the layers "
        "that one of the best changes" in text
    )


@pytest.mark.parametrize("gain", [0.0, 0.15])
def test_too_few_controls_are_told(searched, gain):
    searched.stage("confirm", 400)
    searched.save("confirm", "top", GOOD, gain, gain)
    searched.save("confirm", "control", "0..6,5..", -0.01, -0.01)
    searched.store.write(plan(400))
    assert as_json(searched.store)["bar"] is None
    assert report(searched.store).sentence.endswith(
        "fresh items, with too few random paths to compare with."
    )
    text = summary(report(searched.store), analysis.search(searched.store).frame, colour=False)
    assert "too few random paths to compare with, so nothing can be confirmed" in text


def test_families_of_one_item_make_their_probe_one_stratum():
    families = np.array([0, 0, 1, 2, 2, 3, 3])
    probes = ["eq", "eq", "eq", "math", "math", "math", "math"]
    strata = statistics.strata_of(families, probes)
    assert len(set(strata[:3])) == 1
    assert len(set(strata[3:5])) == len(set(strata[5:])) == 1
    assert len(set(strata)) == 3


def test_power_is_that_of_the_widest_path(searched):
    confirm(searched, good=0.15)
    found = analysis.confirmation(searched.store)
    # half of the items of eq: 400 weigh 3/4, 200 weigh 3/2; a share of 0.15 won
    scaled = np.concatenate([np.repeat([0.75, 0.0], [60, 340]), np.repeat([1.5, 0.0], [30, 170])])
    z = 0.03 * math.sqrt(600) / scaled.std(ddof=1) - 2.2414
    assert found.power == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))), abs=1e-4)


def test_failed_paths_of_the_confirmation_are_not_confirmed(searched):
    searched.stage("confirm", 400)
    searched.save("confirm", "top", GOOD, 0.15, 0.15)
    searched.fail("confirm", "top", FINE, "EngineError: context full")
    searched.fail("confirm", "control", "0..6,5..")
    searched.save("confirm", "control", "0..1,1..", -0.01, -0.01)
    searched.save("confirm", "control", "0..2,2..", -0.02, -0.01)
    searched.store.write(plan(400))
    found = analysis.confirmation(searched.store)
    assert [row.path for row in found.confirmed] == [GOOD]
    other = next(row for row in found.top if row.path == FINE)
    assert not other.confirmed
    assert other.why == "EngineError: context full"
    assert found.top[-1] is other
    said = as_json(searched.store)
    assert said["top"][-1]["effect"] is None
    assert said["controls"][0]["low"] is None


def test_power_is_known_though_the_first_path_failed(searched):
    searched.stage("confirm", 400)
    searched.fail("confirm", "top", FINE)
    searched.save("confirm", "top", GOOD, 0.01, 0.01)
    searched.store.write(plan(400))
    assert not math.isnan(analysis.confirmation(searched.store).power)
    assert "nan%" not in report(searched.store).sentence


# --- half-way


def test_a_store_without_anything_says_so(writer):
    found = analysis.search(writer.store)
    assert len(found.frame) == 0
    assert found.baseline == {}
    said = as_json(writer.store)
    assert said["verdict"] == "none"
    assert said["best"] is None
    assert said["n_candidates"] == 0
    assert said["sentence"] == "No path confirmed: nothing was measured yet."
    assert summary(report(writer.store), found.frame, colour=False).startswith("No path confirmed")
    assert analysis.confirmation(writer.store) is None
    assert len(analysis.pareto_front(found.frame)) == 0


def test_a_store_with_the_baseline_alone_says_so(writer):
    writer.stage("search", 64)
    said = as_json(writer.store)
    assert said["best"] is None
    assert said["baseline"] == {
        "eq": pytest.approx(0.4, abs=0.05),
        "math": pytest.approx(0.4, abs=0.05),
    }
    assert said["sentence"] == "No path confirmed: nothing was measured yet."


def test_results_with_the_baseline_alone_have_their_columns(writer):
    writer.stage("search", 64)
    frame = analysis.search(writer.store).frame
    assert {"path", "status", "effect", "n_items", "extra_slots", "deviation"} <= set(frame.columns)
    assert len(analysis.pareto_front(frame)) == 0


def test_a_store_whose_candidates_all_failed(writer):
    writer.stage("search", 64)
    writer.fail("search", "candidate", BROKEN)
    said = as_json(writer.store)
    assert said["best"] is None
    assert (said["n_failed"], said["n_candidates"]) == (1, 1)
    assert said["sentence"].startswith("No path confirmed")


def test_a_race_half_way_is_usable(writer):
    writer.stage("search", 64)
    writer.save("search", "candidate", GOOD, 0.2, 0.2, stop=32, status="partial")
    writer.save("search", "candidate", FINE, 0.0, 0.0, stop=16, status="partial")
    writer.save(
        "search",
        "candidate",
        BAD,
        -0.3,
        -0.3,
        stop=16,
        status="eliminated",
        reason="after 16 items",
    )
    said = as_json(writer.store)
    assert said["best"]["layer_path"] == GOOD
    assert said["sentence"].startswith(
        f"No path confirmed: the best of the search so far is {GOOD} with +0."
    )
    frame = analysis.search(writer.store).frame
    assert frame["status"].tolist() == ["partial", "partial", "eliminated"]
    assert frame[["effect", "low", "high", "p", "q"]].notna().all(axis=None)


def test_a_confirmation_half_way_is_no_verdict(searched):
    confirm(searched, good=0.15, is_complete=False)
    assert analysis.confirmation(searched.store) is None
    said = as_json(searched.store)
    assert said["verdict"] == "none"
    assert said["top"] == []
    assert "was not confirmed on fresh items" in said["sentence"]


def test_a_search_without_confirmation_says_that_nothing_is_confirmed(searched):
    said = as_json(searched.store)
    assert said["sentence"] == (
        f"No path confirmed: the best of the search so far is {GOOD} with +0.200, "
        "but it was not confirmed on fresh items."
    )
    assert said["best"]["stage"] == "search"
    assert said["seconds"] == pytest.approx(4.0)  # baseline and three paths, two probes of 0.5 s
    assert said["tokens"] == 4 * 600


def test_forced_probes_mark_the_verdict(searched):
    searched.store.write(
        replace(OPTIONS, force=True), Progress(preflight={"eq": ("cannot",), "math": ()})
    )
    said = as_json(searched.store)
    assert said["forced"] is True
    assert said["sentence"].endswith("(probes that cannot measure were forced).")


def test_every_store_gives_json_without_nan(searched):
    searched.save("search", "candidate", "0..4,4..7", 0.1, 0.1, stop=1, status="partial")
    confirm(searched, good=0.15)
    searched.fail("confirm", "top", BROKEN)
    text = json.dumps(json_value(report(searched.store).to_json()), allow_nan=False)
    for name in ("verdict", "best", "confirmed", "controls", "n_candidates", "seconds", "store"):
        assert name in json.loads(text)


def test_a_running_sweep_can_be_looked_at(searched):
    # opened a second time, read-only, while the first is open
    other = Sweep.open(searched.store.path)
    with other:
        assert other.best == LayerPath(GOOD, N_LAYER)
        assert other.results()["path"].tolist() == [GOOD, FINE, BAD, BROKEN]
        rows = other.items()
        assert len(rows) == 4 * 300
        assert set(rows["role"]) == {"baseline", "candidate"}
        searched.save("search", "candidate", "0..4,4..7", 0.5, 0.5)
        assert other.best == LayerPath("0..4,4..7", N_LAYER)
