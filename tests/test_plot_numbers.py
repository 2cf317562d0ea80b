"""The numbers of the plots, without a library that draws. Oracles are by hand, or plain loops."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import rys
from rys import plot
from rys.errors import PlotError, RequestError
from rys.layer_path import LayerPath
from rys.plot._anatomy import compute_anatomy, compute_similarities
from rys.plot._influence import compute_influence
from rys.plot._pareto import compute_pareto_points
from rys.plot._race import compute_race_rounds
from rys.plot._repeats import compute_repeat_matrix
from rys.plot._shrinkage import collect_confirm_stage
from rys.plot._skyline import compute_skyline
from rys.plot.block_gains import compute_balanced_map, compute_block_map
from rys.plot.residual_stream import repeated_slots
from rys.plot.style import escape, shorten
from rys.plot.sweep_data import CachedResults
from rys.sweep.block_map import colour_limit
from rys.sweep.results import Results, open_results
from rys.sweep.space import repeated_block
from support.simulated_sweep import write_sweep


def imported(folder: Path, *blocks: tuple[int, int, float, float], n_layer: int = 6) -> Results:
    """Return a sweep of another program: i, j, math and eq of every block; the baseline has 0.5 and
    0.5.
    """
    rows: list[dict[str, Any]] = [{"is_baseline": True, "math_score": 0.5, "eq_score": 0.5}]
    rows += [
        {"dup_start": i, "dup_end": j, "math_score": a, "eq_score": b} for i, j, a, b in blocks
    ]
    file = folder / "results.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return open_results(file, n_layer)


@pytest.fixture
def unmeasured(tmp_path: Path) -> Results:
    """Return a sweep of which only the baseline was measured."""
    path = write_sweep(tmp_path / "s.db", 4, sizes=[9], strategy="scan", with_confirmation=False)
    return open_results(path)


@pytest.mark.parametrize(
    "kind", ["heatmap", "heatmaps", "skyline", "repeats", "pareto", "race", "shrinkage"]
)
def test_a_sweep_that_has_just_begun_has_nothing_to_show(unmeasured: Results, kind: str) -> None:
    with pytest.raises(PlotError, match=r"s\.db"):
        getattr(plot, kind)(unmeasured)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Results:
    path = tmp_path_factory.mktemp("plot") / "s.db"
    return CachedResults(open_results(write_sweep(path, 12, sizes=[1, 2, 3], repeats=[2, 3, 4])))


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Results:
    path = tmp_path_factory.mktemp("plot") / "s.db"
    return CachedResults(
        open_results(
            write_sweep(
                path, 12, sizes=[2], strategy="scan", with_confirmation=False, probes=["math"]
            )
        )
    )


# --- heatmap, heatmaps, skyline


def test_block_map_has_starts_down_and_ends_across(tmp_path: Path) -> None:
    found = compute_block_map(imported(tmp_path, (1, 3, 0.7, 0.4), (0, 6, 0.1, 0.5)), "math")
    expected = np.full((6, 6), np.nan)
    expected[1, 2], expected[0, 5] = 0.2, -0.4
    np.testing.assert_allclose(found.gain, expected)
    assert found.best == (1, 3)
    assert found.what == "math"


def test_block_map_without_a_probe_is_the_mean_over_probes(tmp_path: Path) -> None:
    found = compute_block_map(imported(tmp_path, (1, 3, 0.7, 0.4)))
    assert found.gain[1, 2] == pytest.approx((0.2 - 0.1) / 2)
    assert found.what == "mean over probes"


def test_a_file_without_intervals_has_no_uncertain_cells_and_says_so(tmp_path: Path) -> None:
    found = compute_block_map(imported(tmp_path, (1, 3, 0.5, 0.5)))
    assert not found.has_intervals
    assert found.missing == "no intervals"
    assert not found.is_uncertain.any()
    assert found.confirmed == []


@pytest.mark.parametrize("probe", [None, "eq"])
def test_uncertain_cells_are_those_whose_interval_contains_zero(
    sweep: Results, probe: str | None
) -> None:
    found = compute_block_map(sweep, probe)
    n_uncertain = 0
    for _, row in sweep.results(probe).iterrows():
        i, j = next(
            (
                (i, j)
                for i in range(12)
                for j in range(i + 1, 13)
                if row["layers"] == (*range(j), *range(i, 12))
            ),
            (None, None),
        )
        if i is not None and not math.isnan(row["effect"]):
            assert found.is_uncertain[i, j - 1] == (row["low"] <= 0 <= row["high"])
            n_uncertain += int(row["low"] <= 0 <= row["high"])
    assert 0 < n_uncertain == found.is_uncertain.sum() < (~np.isnan(found.gain)).sum()
    assert found.missing == ""


def test_confirmed_blocks_are_those_of_the_report(sweep: Results) -> None:
    found = compute_block_map(sweep)
    paths = {str(LayerPath([*range(j), *range(i, 12)], 12)) for i, j in found.confirmed}
    reported = {row.layer_path for row in sweep.report().confirmed}
    assert paths
    assert paths == {path for path in reported if "x" not in path and path.count(",") == 1}


def test_the_best_block_answered_everything(sweep: Results) -> None:
    best = compute_block_map(sweep).best
    assert best is not None
    frame = sweep.results().set_index("layers")
    done = frame[frame["status"] == "done"]
    blocks = {
        repeated_block(LayerPath(list(layers), 12)): effect
        for layers, effect in done["effect"].items()
    }
    assert blocks[best] == max(effect for block, effect in blocks.items() if block)


def test_balanced_map_is_the_mean_of_z_scores(tmp_path: Path) -> None:
    found = compute_balanced_map(
        imported(tmp_path, (0, 1, 0.5, 0.5), (1, 2, 0.7, 0.51), (2, 3, 0.9, 0.49))
    )
    # math: 0, 0.2, 0.4 with deviation 0.2 sqrt(2/3); eq: 0, 0.01, -0.01 with deviation 0.01
    # sqrt(2/3)
    z = math.sqrt(3 / 2)
    assert [found.gain[0, 0], found.gain[1, 1], found.gain[2, 2]] == pytest.approx(
        [-z / 2, z / 2, 0.0], abs=1e-9
    )
    assert found.best == (1, 2)


def test_balanced_map_counts_a_probe_that_never_varies_as_zero(tmp_path: Path) -> None:
    found = compute_balanced_map(imported(tmp_path, (0, 1, 0.4, 0.6), (1, 2, 0.6, 0.6)))
    assert [found.gain[0, 0], found.gain[1, 1]] == pytest.approx([-0.5, 0.5])


def test_skyline_is_the_mean_of_rows_and_columns(tmp_path: Path) -> None:
    found = compute_skyline(
        compute_block_map(
            imported(tmp_path, (0, 2, 0.6, 0.6), (0, 3, 0.8, 0.8), (1, 3, 0.4, 0.4), n_layer=4)
        )
    )
    np.testing.assert_allclose(found.by_start, [0.2, -0.1, np.nan, np.nan])
    np.testing.assert_allclose(found.by_end, [np.nan, 0.1, 0.1, np.nan])


def test_a_sweep_without_blocks_says_what_to_sweep(tmp_path: Path) -> None:
    path = write_sweep(
        tmp_path / "s.db", 4, sizes=[9], repeats=[3], strategy="scan", with_confirmation=False
    )
    with pytest.raises(
        PlotError,
        match=r"s\.db has no block that runs twice with a measured gain; sweep some with --blocks",
    ):
        compute_block_map(open_results(path))


def test_a_probe_that_was_not_measured_is_refused(sweep: Results) -> None:
    with pytest.raises(RequestError, match="probe is 'code', but this sweep has eq, math"):
        compute_block_map(sweep, "code")


def test_colours_clip_at_the_98th_percentile_of_the_sizes() -> None:
    values = np.array([*range(-50, 51), np.nan], dtype=np.float64)
    assert colour_limit(values) == np.percentile(np.abs(values[:-1]), 98) == 49
    assert colour_limit(np.array([np.nan, 0.0])) == 1.0
    assert colour_limit(np.array([0.0] * 99 + [-3.0])) == 3.0


# --- repeats, pareto


def test_repeats_are_layers_by_visits_in_a_row() -> None:
    layers = [
        (0, 1, 1, 2),
        (0, 1, 1, 1, 2),
        (0, 0, 1, 2),
        (0, 1, 2, 1, 2),
        (0, 1),
        (2, 2, 0, 1),
        (0, 1, 2, 2, 2, 2),
    ]
    values = compute_repeat_matrix(
        pd.DataFrame({"layers": layers, "effect": [0.1, 0.2, 0.3, 9, 9, 9, 0.4]}), 3
    )
    nan = np.nan
    np.testing.assert_array_equal(values, [[0.3, 0.1, nan], [nan, 0.2, nan], [nan, nan, 0.4]])


def test_a_sweep_without_repeats_says_what_to_sweep(scanned: Results) -> None:
    with pytest.raises(
        PlotError, match="no path that repeats a single layer; sweep some with --repeats 2 3 4"
    ):
        plot.repeats(scanned)


def test_pareto_front_rises_and_nothing_done_lies_above(sweep: Results) -> None:
    measured, front, confirmed = compute_pareto_points(sweep)
    assert front["effect"].is_monotonic_increasing
    done = measured[measured["status"] == "done"]
    for slots in done["extra_slots"].unique():
        assert done.loc[done["extra_slots"] <= slots, "effect"].max() == pytest.approx(
            front.loc[front["extra_slots"] <= slots, "effect"].max()
        )
    assert confirmed["path"].tolist() == [row.layer_path for row in sweep.report().confirmed]
    assert (confirmed["low"] > 0).all()
    assert measured["effect"].notna().all()


# --- race, shrinkage


def test_race_rounds_count_who_was_in_and_who_was_eliminated() -> None:
    frame = pd.DataFrame(
        [
            ("eliminated", 16, -0.1),
            ("eliminated", 16, 0.0),
            ("eliminated", 32, 0.1),
            ("done", 64, 0.3),
            ("failed", 0, np.nan),
        ],
        columns=["status", "n_items", "effect"],
    )
    rounds = compute_race_rounds(frame)
    assert [(one.n_items, one.n_in, one.eliminated.tolist()) for one in rounds] == [
        (16, 4, [-0.1, 0.0]), (32, 2, [0.1]), (64, 1, []),
    ]  # fmt: skip


def test_a_scan_has_no_race(scanned: Results) -> None:
    assert compute_race_rounds(scanned.results()) == []
    with pytest.raises(
        PlotError, match="no candidate that was eliminated; sweep with --strategy race"
    ):
        plot.race(scanned)


def test_shrinkage_has_every_path_of_the_confirm_stage(sweep: Results) -> None:
    rows = collect_confirm_stage(sweep).set_index("path")
    said = sweep.report()
    for row in said.top:
        mine = rows.loc[row.path]
        assert mine["role"] == ("confirmed" if row.confirmed else "not confirmed")
        assert (mine["search"], mine["effect"]) == (row.search_effect, row.effect)
        assert mine["low"] < mine["effect"] < mine["high"]
    assert (rows["role"] == "control").sum() == len(said.controls) > 0


def test_a_sweep_that_was_not_confirmed_says_how(scanned: Results, tmp_path: Path) -> None:
    with pytest.raises(
        PlotError, match=r"has no confirm stage; `rys sweep --resume .*s\.db` runs it"
    ):
        collect_confirm_stage(scanned)
    with pytest.raises(PlotError, match="files of other programs never have one"):
        collect_confirm_stage(imported(tmp_path, (1, 3, 0.7, 0.4)))


# --- anatomy, influence


def test_similarities_are_cosines_raw_and_less_the_mean() -> None:
    vectors = np.array([[[3.0, 0.0], [0.0, 2.0], [3.0, 4.0]]])  # one slot, three texts
    found = compute_similarities(vectors, [(0, 1), (0, 2), (1, 2)])
    np.testing.assert_allclose(found.raw, [[0.0], [0.6], [0.8]])
    # less the mean (2, 2): (1, -2), (-2, 0), (1, 2)
    np.testing.assert_allclose(found.centred, [[-1 / math.sqrt(5)], [-3 / 5], [-1 / math.sqrt(5)]])


@pytest.fixture(scope="module")
def model() -> rys.Model:
    return rys.reference_model(n_ctx=256)


def test_anatomy_compares_means_of_unit_tokens_without_the_first(model: rys.Model) -> None:
    texts = ["Last digit of 1+2+3?", "Which day?", "wait one, two days"]
    (found,) = compute_anatomy(model, texts)
    assert found.kind == "all pairs"
    assert found.raw.shape == found.centred.shape == (3, 13)
    hidden = [model.hidden_states(text).astype(float) for text in texts[:2]]
    for slot in (0, 5, 12):
        a, b = (sum(row / np.linalg.norm(row) for row in states[slot][1:]) for states in hidden)
        assert found.raw[0, slot] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_anatomy_tells_pairs_of_one_content_from_pairs_of_one_form(model: rys.Model) -> None:
    texts = {"a": ["1+2?", "one two"], "b": ["3+4?", "three four"], "c": ["5+6?", "five six"]}
    same, other = compute_anatomy(model, texts)
    assert (same.kind, len(same.raw)) == ("same content, other form", 3)
    assert (other.kind, len(other.raw)) == ("other content, same form", 6)
    flat = [text for forms in texts.values() for text in forms]
    (everything,) = compute_anatomy(model, flat)
    np.testing.assert_allclose(same.centred[0], everything.centred[0])  # the pair (0, 1)
    np.testing.assert_allclose(other.centred[0], everything.centred[1])  # the pair (0, 2)


@pytest.mark.parametrize(
    "texts", [[], ["one", "two"], "three", {"a": ["one"], "b": ["two"]}, {"a": "one"}]
)
def test_anatomy_needs_three_texts(model: rys.Model, texts: Any) -> None:
    with pytest.raises(PlotError, match="compares at least three texts"):
        compute_anatomy(model, texts)


def test_influence_is_one_minus_the_cosine_of_input_and_output(model: rys.Model) -> None:
    with model.with_path("0..7,4..") as view:
        found = compute_influence(view, ["Which day?", "1+2"])
        hidden = view.hidden_states("1+2").astype(float)
    assert found[1].shape == (16, hidden.shape[1])
    before, after = hidden[8, 1], hidden[9, 1]
    expected = 1 - before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    assert found[1][8, 1] == pytest.approx(expected)


@pytest.mark.parametrize("texts", [[], "one text"])
def test_influence_needs_a_list_of_texts(model: rys.Model, texts: Any) -> None:
    with pytest.raises(PlotError, match="needs a list of texts"):
        compute_influence(model, texts)


def test_slots_that_visit_a_layer_again() -> None:
    assert list(repeated_slots([0, 1, 2, 1, 2, 3, 3])) == [(3, 5), (6, 7)]
    assert list(repeated_slots(range(5))) == []


# --- text, and the library that draws


def test_names_of_unknown_origin_are_drawn_as_they_are() -> None:
    assert escape("a$b_{c}$\x1b[31m\n") == "a\\$b_{c}\\$ "
    assert shorten("0123456789", 7) == "012…789"
    assert shorten("0123456", 7) == "0123456"


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )


def test_numbers_need_no_matplotlib_and_drawing_says_how_to_get_it(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["matplotlib"] = None  # importing it fails
import rys.plot
from rys.plot.block_gains import compute_block_map
from rys.sweep.results import open_results
sweep = open_results(sys.argv[1])
assert compute_block_map(sweep).best
for name in ("heatmap", "heatmaps", "skyline", "repeats", "pareto"):
    try:
        getattr(rys.plot, name)(sweep)
    except ImportError as error:
        assert isinstance(error, rys.RysError)
        assert str(error).endswith('pip install "rys[plot]"'), error
    else:
        raise AssertionError(name)
"""
    result = python(code, imported(tmp_path, (1, 2, 0.7, 0.4)).path)
    assert result.returncode == 0, result.stderr


def test_importing_the_plots_loads_no_matplotlib_and_no_pandas() -> None:
    code = """
import sys, rys.plot
sys.exit(', '.join({'matplotlib', 'pandas', 'scipy'} & set(sys.modules)))
"""
    assert python(code).stderr.strip() == ""
