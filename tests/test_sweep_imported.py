"""Sweeps of other programs: what their JSON lines say, and what they cannot."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rys.errors import RequestError, StoreError
from rys.layer_path import LayerPath
from rys.sweep.imported import ImportedSweep, expected_best_of_noise
from rys.sweep.results import open_results
from rys.sweep.sweep import Sweep

PUBLISHED = (
    Path(__file__).resolve().parent.parent.parent
    / "shared/data/llm-circuit-finder/quick_test_layer_rys_phi-4-Q6_K.gguf.jsonl"
)
BASE = {"is_baseline": True, "dup_start": -1, "dup_end": -1, "math_score": 0.5, "eq_score": 90.0}


def written(folder: Path, *rows: dict[str, Any] | str) -> Path:
    path = folder / "results.jsonl"
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"
    )
    return path


def block(start: int, end: int, math_score: float = 0.6, eq_score: float = 91.0) -> dict[str, Any]:
    return {"dup_start": start, "dup_end": end, "math_score": math_score, "eq_score": eq_score}


def test_a_line_becomes_a_block_with_differences_to_the_baseline(tmp_path: Path) -> None:
    frame = open_results(
        written(tmp_path, BASE, block(2, 4), block(1, 3, 0.4, 92)), n_layer=8
    ).results()
    first = frame.iloc[0]
    assert first["path"] == "..3,2.."
    assert first["layers"] == LayerPath("0..3,2..7").layers
    assert first["extra_slots"] == 2
    assert first["math_difference"] == pytest.approx(0.1)
    assert first["eq_difference"] == pytest.approx(0.01)  # in percent in the file
    assert first["effect"] == pytest.approx(0.055)
    assert math.isnan(first["low"])
    assert list(frame["path"]) == ["..3,2..", "..2,1.."]


def test_effects_of_one_probe_rank_by_it(tmp_path: Path) -> None:
    sweep = ImportedSweep(written(tmp_path, BASE, block(2, 4), block(1, 3, 0.4, 92)))
    frame = sweep.results("eq")
    assert list(frame["path"]) == ["..2,1..", "..3,2.."]
    assert frame["effect"].tolist() == pytest.approx([0.02, 0.01])
    with pytest.raises(RequestError, match="probe is 'code', but this sweep has math, eq"):
        sweep.results("code")


@pytest.mark.parametrize(
    ("row", "path", "extra"),
    [
        ({"mode": "dup", "start": 2, "end": 4}, "..3,2..", 2),
        ({"mode": "prune", "start": 2, "end": 4}, "..1,4..", -2),
        ({"prune_start": 0, "prune_end": 3}, "3..", -3),
        ({"prune_start": 5, "prune_end": 8}, "..4", -3),
        ({"dup_start": -1, "dup_end": -1, "prune_start": 2, "prune_end": 4}, "..1,4..", -2),
        ({"dup_start": 2, "dup_end": 4, "prune_start": -1, "prune_end": -1}, "..3,2..", 2),
    ],
)
def test_forks_name_blocks_and_pruned_layers_in_their_own_ways(
    tmp_path: Path, row: dict[str, Any], path: str, extra: int
) -> None:
    frame = ImportedSweep(
        written(tmp_path, BASE, row | {"math_score": 0.6, "eq_score": 90}), n_layer=8
    ).results()
    assert frame.iloc[0]["path"] == path
    assert frame.iloc[0]["extra_slots"] == extra
    assert LayerPath(path, 8).layers == frame.iloc[0]["layers"]


def test_nothing_is_confirmed_and_the_best_is_held_against_chance(tmp_path: Path) -> None:
    report = ImportedSweep(
        written(tmp_path, BASE, *(block(i, i + 2, 0.5 + i / 50) for i in range(6)))
    ).report()
    assert report["verdict"] == "none"
    assert report["best"]["layer_path"] == "..6,5.."
    assert report["sentence"].startswith(
        "No path confirmed: the file has no scores of single items"
    )
    assert "lies 1.3 standard deviations above the mean of the 6 paths" in report["sentence"]
    assert "by chance alone the best lies 1.3 above" in report["sentence"]


def test_the_expected_best_of_noise_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(0)
    for n in (5, 45, 667):
        simulated = rng.standard_normal((4000, n)).max(axis=1).mean()
        assert expected_best_of_noise(n) == pytest.approx(simulated, abs=0.04)


def test_a_report_has_the_keys_of_a_sweep_of_rys(tmp_path: Path, finished_sweep: Sweep) -> None:
    imported = ImportedSweep(written(tmp_path, BASE, block(0, 2))).report()
    assert imported.keys() == finished_sweep.report().keys()


def test_what_was_assumed_is_told(tmp_path: Path) -> None:
    rows = [BASE, block(2, 4), block(2, 4, 0.7), '{"dup_start": 3, "dup_e']
    report = ImportedSweep(written(tmp_path, *rows)).report()
    assert report["n_candidates"] == 1
    assert report["best"]["by_probe"]["math"] == pytest.approx(0.2)
    notes = " ".join(report["notes"])
    assert "1 paths were measured more than once" in notes
    assert "line 4, the last one, is not whole" in notes
    assert "4 is the end of the last block" in notes
    assert "eq was measured in percent" in notes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([BASE, '{"dup_start": 3', block(2, 4)], "line 2: not JSON"),
        (["[1, 2]", BASE], "line 1: not JSON as a sweep has it: not an object"),
        (["{" * 5000], "line 1: not JSON"),
        ([block(2, 4)], "has no baseline"),
        ([BASE, block(4, 2)], "line 2: dup_start is 4 and dup_end is 2"),
        ([BASE, block(0, 10**30)], "0 <= dup_start < dup_end <= 512"),
        ([BASE, {"dup_start": 0, "dup_end": 2}], "line 2: no number whose name ends in _score"),
        ([{"is_baseline": True, "math_score": float("nan")}], "has no baseline"),
        ([BASE, {"math_score": 1}], "line 2: neither dup_start and dup_end"),
    ],
)
def test_a_file_that_is_no_such_sweep_is_refused_with_the_line(
    tmp_path: Path, rows: list[dict[str, Any] | str], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        ImportedSweep(written(tmp_path, *rows))


def test_open_results_tells_stores_from_json_lines(tmp_path: Path, finished_sweep: Sweep) -> None:
    assert isinstance(open_results(written(tmp_path, BASE, block(0, 2))), ImportedSweep)
    assert isinstance(open_results(finished_sweep.path), Sweep)
    with pytest.raises(StoreError, match=r"none\.db cannot be read"):
        open_results(tmp_path / "none.db")
    for content in ("hello, this is no sweep" * 10, json.dumps([BASE])):
        (tmp_path / "text").write_text(content)
        with pytest.raises(
            StoreError, match=r"neither the file of a sweep of rys .* nor JSON lines"
        ):
            open_results(tmp_path / "text")
    (tmp_path / "text").write_text("")
    with pytest.raises(StoreError, match="is empty"):
        open_results(tmp_path / "text")
    (tmp_path / "text").write_text("\ufeff" + json.dumps(BASE) + "\n" + json.dumps(block(0, 2)))
    assert len(open_results(tmp_path / "text").results()) == 1
    with pytest.raises(RequestError, match=r"n_layer is 5, but .* 12 layers"):
        open_results(finished_sweep.path, n_layer=5)


@pytest.mark.parametrize("mode", [["dup"], {"dup": 1}, 5])
def test_a_mode_that_is_no_text_is_told(tmp_path: Path, mode: Any) -> None:
    with pytest.raises(StoreError, match="line 2: neither dup_start and dup_end nor mode"):
        open_results(
            written(tmp_path, BASE, {"mode": mode, "start": 1, "end": 2, "math_score": 0.5})
        )


@pytest.mark.parametrize(
    "names",
    [["effect_score"], ["q_score"], ["path_score"], ["math_score", "math_difference_score"]],
)
def test_scores_that_are_named_as_other_columns_are_refused(
    tmp_path: Path, names: list[str]
) -> None:
    scores = dict.fromkeys(names, 0.5)
    file = written(
        tmp_path, {"is_baseline": True} | scores, {"dup_start": 1, "dup_end": 2} | scores
    )
    with pytest.raises(
        StoreError, match=f"{file}: a probe is named so that two columns .* give it another name"
    ):
        open_results(file)


def test_a_score_that_is_no_number_counts_as_not_measured(tmp_path: Path) -> None:
    sweep = ImportedSweep(written(tmp_path, BASE, block(0, 2, float("nan")), block(1, 3)))
    note = (
        "1 scores are no finite numbers and count as not measured, the first in line 2: math_score"
    )
    assert note in sweep.report()["notes"]
    frame = sweep.results()
    assert frame["status"].tolist() == ["done", "partial"]
    assert frame["eq_difference"].tolist() == pytest.approx([0.01, 0.01])


def test_fewer_layers_than_the_file_repeats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="n_layer is 3, but"):
        ImportedSweep(written(tmp_path, BASE, block(2, 4)), n_layer=3)


@pytest.mark.skipif(
    not PUBLISHED.is_file(),
    reason="the published sweep lies beside the checkout only at its makers'",
)
def test_the_published_sweep_of_phi_4_reads_as_published() -> None:
    sweep = open_results(PUBLISHED)
    frame = sweep.results()
    assert len(frame) == 42
    best = frame.iloc[0]
    assert (best["path"], best["extra_slots"]) == ("..10,6..", 5)
    assert best["math"] == pytest.approx(0.8168, abs=1e-4)
    assert best["math_difference"] == pytest.approx(0.0762, abs=1e-4)
    assert sweep.report()["baseline"]["eq"] == pytest.approx(0.94492, abs=1e-5)
