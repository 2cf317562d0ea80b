"""Sweeps of other programs: what their JSON lines say, and what they cannot."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rys.errors import RequestError, StoreError
from rys.layer_path import LayerPath
from rys.sweep.imported import ImportedSweep, expected_best_of_noise
from rys.sweep.results import open_results
from rys.sweep.runs import Runs
from rys.sweep.sweep_file import SweepFile

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
    assert first["block"] == (2, 4)
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


# What the scripts of the published repositories write, with the layers that they then run. Oracles
# are the scripts themselves: how they build the list of layers.
ROWS = [
    # sweep.py
    ({"dup_start": 2, "dup_end": 4, "n_dup_layers": 2}, "..3,2..", 2),
    ({"dup_start": 0, "dup_end": 8}, "..7,0..", 8),
    # sweep.py --mode
    ({"mode": "add", "dup_start": 2, "dup_end": 4}, "..3,2..", 2),
    ({"mode": "remove", "dup_start": 4, "dup_end": 6}, "..3,6..", -2),
    ({"mode": "remove", "dup_start": 5, "dup_end": 8}, "..4", -3),
    ({"mode": "replace-next", "dup_start": 4, "dup_end": 5}, "..3,5,5..", 0),
    ({"mode": "replace-same", "dup_start": 4, "dup_end": 6}, "..3,6,5..", 0),
    ({"mode": "replace-same", "dup_start": 6, "dup_end": 7}, "..5,7,7..", 0),
    ({"mode": "replace-next", "dup_start": 0, "dup_end": 1}, "1,1..", 0),
    # prune_sweep.py
    ({"prune_start": 0, "prune_end": 3, "removed_layers": 3, "remaining_layers": 5}, "3..", -3),
    ({"prune_start": 5, "prune_end": 8}, "..4", -3),
    ({"dup_start": -1, "dup_end": -1, "prune_start": 2, "prune_end": 4}, "..1,4..", -2),
    ({"dup_start": 2, "dup_end": 4, "prune_start": -1, "prune_end": -1}, "..3,2..", 2),
    # combined_sweep.py: n_layers is that of the changed model
    (
        {
            "prune_start": 5,
            "prune_end": 6,
            "dup_start": 2,
            "dup_end": 4,
            "layer_path": "0..3,2..4,6..7",
            "n_layers": 9,
        },
        "..3,2..4,6..",
        1,
    ),
    (
        {
            "prune_start": 1,
            "prune_end": 4,
            "dup_start": 4,
            "dup_end": 6,
            "layer_path": "0,4..5,4..7",
            "n_layers": 7,
        },
        "..0,4..5,4..",
        -1,
    ),
    # repeat_sweep.py: the end is included, and the block runs n_repeats times more
    ({"dup_start": 2, "dup_end": 4, "n_repeats": 1, "total_layers": 11}, "..4,2..", 3),
    ({"dup_start": 2, "dup_end": 4, "n_repeats": 2, "total_layers": 14}, "..4,2..4,2..", 6),
    # swe_sweep.py and surrogate_sweep.py: the end of a "dup" is included, that of a "prune" is not
    ({"mode": "dup", "start": 2, "end": 4, "label": "dup(2,4)"}, "..4,2..", 3),
    ({"mode": "dup", "start": 2, "end": 4, "predicted": 0.1, "iteration": 1}, "..4,2..", 3),
    ({"mode": "prune", "start": 2, "end": 4, "label": "del(2,4)"}, "..1,4..", -2),
    # circuit_map.py: the end of a "dup" is not included
    ({"mode": "dup", "start": 2, "end": 4, "block_size": 2}, "..3,2..", 2),
    ({"mode": "prune", "start": 2, "end": 4, "block_size": 2}, "..1,4..", -2),
    # qwen35_combo.py
    ({"combo": "two", "swaps": [[1, 3], [4, 6]]}, "..0,3,2..3,6,5..", 0),
    # rys_ng_benchmark.py
    ({"variant": "M", "layers_dup": [3, 6], "overhead": "4.7%"}, "..5,3..", 3),
]


@pytest.mark.parametrize(("row", "path", "extra"), ROWS)
def test_every_script_s_rows_become_the_layers_that_it_ran(
    tmp_path: Path, row: dict[str, Any], path: str, extra: int
) -> None:
    sweep = ImportedSweep(
        written(tmp_path, BASE, row | {"math_score": 0.6, "eq_score": 90}), n_layer=8
    )
    (found,) = sweep.results().itertuples()
    assert found.path == path
    assert found.extra_slots == extra
    assert LayerPath(path, 8).layers == found.layers
    assert not [note for note in sweep.notes if "not known" in note]


def test_a_removed_layer_and_a_replaced_one_are_no_blocks_that_run_twice(tmp_path: Path) -> None:
    """The kinds of `rys plot` and the report find blocks by their layers."""
    rows = [block(1, 3)]
    for mode in ("remove", "replace-same", "replace-next"):
        rows.append(block(4, 6) | {"mode": mode})
    frame = ImportedSweep(written(tmp_path, BASE, *rows), n_layer=8).results()
    blocks = frame["block"].tolist()
    assert sorted(frame["path"]) == ["..2,1..", "..3,6,5..", "..3,6.."]
    assert [block for block in blocks if block] == [(1, 3)]


def test_two_ways_to_write_one_path_are_one_candidate(tmp_path: Path) -> None:
    scores = {"math_score": 0.7, "eq_score": 90}
    rows = [
        block(2, 4),
        {"mode": "dup", "start": 2, "end": 3} | scores,
        {"dup_start": 2, "dup_end": 3, "n_repeats": 1} | scores,
    ]
    sweep = ImportedSweep(written(tmp_path, BASE, *rows), n_layer=8)
    assert sweep.results()["path"].tolist() == ["..3,2.."]
    assert sweep.results()["math"].tolist() == [0.7]
    assert "2 paths were measured more than once; the last measurement counts" in sweep.notes


def test_an_end_that_is_included_is_told(tmp_path: Path) -> None:
    row = {"mode": "dup", "start": 2, "end": 4, "math_score": 0.6, "eq_score": 90}
    note = (
        'lines with mode "dup", start and end were read as their scripts run them: the end is '
        "included"
    )
    assert note in ImportedSweep(written(tmp_path, BASE, row, row), n_layer=8).notes
    assert note not in ImportedSweep(written(tmp_path, BASE, block(2, 4)), n_layer=8).notes


@pytest.mark.parametrize(
    ("row", "n_layer"),
    [
        ({"dup_start": 2, "dup_end": 4, "n_layers": 48}, 48),
        ({"prune_start": 4, "prune_end": 6, "removed_layers": 2, "remaining_layers": 46}, 48),
        ({"dup_start": 8, "dup_end": 11, "n_repeats": 2, "total_layers": 56}, 48),
        ({"prune_start": 4, "prune_end": 6, "dup_start": 8, "dup_end": 11, "n_layers": 49}, 48),
    ],
)
def test_the_layers_of_the_model_are_those_of_the_unchanged_one(
    tmp_path: Path, row: dict[str, Any], n_layer: int
) -> None:
    sweep = ImportedSweep(written(tmp_path, BASE, row | {"math_score": 0.6, "eq_score": 90}))
    assert sweep.n_layer == n_layer
    assert not [note for note in sweep.notes if "how many layers" in note]


def test_lines_of_two_models_are_told(tmp_path: Path) -> None:
    rows = [block(2, 4) | {"n_layers": 40}, block(3, 5) | {"n_layers": 48}]
    notes = ImportedSweep(written(tmp_path, BASE, *rows)).notes
    assert (
        "the lines disagree about how many layers the model has (40, 48); the largest number counts"
        in notes
    )


def test_fields_that_are_not_known_are_told(tmp_path: Path) -> None:
    rows = [block(2, 4), block(3, 5) | {"gate": 0.5}, block(4, 6) | {"gate": 0.5, "part": "ffn"}]
    notes = ImportedSweep(written(tmp_path, BASE, *rows)).notes
    assert "fields that are not known were not read: gate (line 3), part (line 4)" in notes


DUP = {"dup_start": 2, "dup_end": 4}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            DUP | {"mode": "swap"},
            (
                'mode is \'swap\', but with dup_start it must be "add" or "remove" or '
                '"replace-next" or "replace-same" or absent'
            ),
        ),
        (DUP | {"mode": "dup"}, "mode is 'dup', but with dup_start it must be \"add\" or"),
        (
            {"start": 2, "end": 4, "mode": "add"},
            'mode is \'add\', but with start it must be "dup" or "prune"',
        ),
        ({"start": 2, "end": 4}, "mode is absent, but with start it must be"),
        (
            {"prune_start": 2, "prune_end": 4, "mode": "remove"},
            "with prune_start it must be absent",
        ),
        ({"mode": "dup"}, "no field names the layers; it must have one of dup_start, prune_start,"),
        (DUP | {"start": 1, "end": 3}, "dup_start and start are both given"),
        (DUP | {"swaps": [[1, 2]]}, "dup_start and swaps are both given"),
        (DUP | {"n_repeats": 2, "mode": "add"}, "n_repeats belongs to dup_start and dup_end"),
        (DUP | {"n_repeats": 0}, "n_repeats is 0, but must be a whole number from 1 on"),
        (DUP | {"n_repeats": 10**9}, "n_repeats is 1000000000, but must be"),
        (
            {"mode": "dup", "start": 0, "end": 4},
            'mode "dup" with start 0: the scripts that write such lines leave the model as it is',
        ),
        (
            DUP | {"n_dup_layers": 3},
            "n_dup_layers is 3, but dup_start is 2 and dup_end is 4, which are 2 layers",
        ),
        (
            {"mode": "dup", "start": 2, "end": 4, "block_size": 3},
            "block_size is 3, but start is 2 and end is 4, which are 2 layers",
        ),
        (
            DUP | {"layer_path": "0..4,2..7"},
            "layer_path is '0..4,2..7', but the other fields say ..3,2..",
        ),
        (DUP | {"layer_path": "all"}, "layer_path is 'all', but the other fields say"),
        (DUP | {"layer_path": [0, 1]}, "layer_path is [0, 1], but the other fields say"),
        (
            {"mode": "replace-same", "dup_start": 4, "dup_end": 512},
            "dup_start and dup_end are 4 and 512, but must be two layers, whole numbers of 0..511",
        ),
        (
            {"mode": "replace-next", "dup_start": 4, "dup_end": None},
            "dup_start and dup_end are 4 and None, but must be two layers",
        ),
        ({"swaps": [[1, "2"]]}, "a pair of swaps is 1 and '2', but must be two layers"),
        ({"swaps": [[1, 2, 3]]}, "swaps is [[1, 2, 3]], but must be a list of pairs of layers"),
        ({"swaps": []}, "swaps is [], but must be a list of pairs"),
        ({"swaps": 5}, "swaps is 5, but must be a list of pairs"),
        ({"layers_dup": [4]}, "layers_dup is [4], but must be a list of a start and an end"),
        ({"layers_dup": [4, 4]}, "layers_dup[0] is 4 and layers_dup[1] is 4, but they must be"),
        (
            {"prune_start": 3, "prune_end": 6, "dup_start": 2, "dup_end": 4},
            "the block that runs twice (2, 4) and the one that is left out (3, 6) overlap",
        ),
        (
            {"mode": "remove", "dup_start": 0, "dup_end": 512},
            "dup_start and dup_end leave no layer",
        ),
        (
            {"prune_start": 4, "prune_end": 9, "remaining_layers": 1},
            "need a model of 9 layers, but it says that there are 6",
        ),
        (
            {"repeat_layers": [14], "repeat_factor": 2},
            "repeat_layers repeats the attention of layers without their feed-forward part",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name_with_the_line(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    file = written(tmp_path, BASE, row | {"math_score": 0.5, "eq_score": 90})
    with pytest.raises(StoreError, match=re.escape(message)) as caught:
        ImportedSweep(file)
    assert str(caught.value).startswith(f"{file}, line 2: ")


def test_a_path_with_too_many_slots_is_refused(tmp_path: Path) -> None:
    row = {"dup_start": 0, "dup_end": 99, "n_repeats": 5, "math_score": 0.5, "eq_score": 90}
    with pytest.raises(StoreError, match="has 600 slots in a model of 100 layers, but at most 512"):
        ImportedSweep(written(tmp_path, BASE, row))


@pytest.mark.parametrize(
    ("runs", "n_layer", "layers", "notation"),
    [
        ([(0, None)], 3, (0, 1, 2), ".."),
        ([(0, 2), (2, None)], 3, (0, 1, 2), ".."),
        ([(0, 0), (1, None)], 3, (1, 2), "1.."),
        ([(0, 1), (0, None)], 3, (0, 0, 1, 2), "..0,0.."),
        ([(1, 2), (0, 2), (3, None)], 3, (1, 0, 1), "1,0..1"),
    ],
)
def test_runs_are_written_with_open_ends(
    runs: list[tuple[int, int | None]], n_layer: int, layers: tuple[int, ...], notation: str
) -> None:
    path = Runs.of(*runs)
    assert path.layers(n_layer) == layers
    assert path.notation(n_layer) == notation
    assert LayerPath(notation, n_layer).layers == layers
    assert path.extra_slots(n_layer) == len(layers) - n_layer


def test_nothing_is_confirmed_and_the_best_is_held_against_chance(tmp_path: Path) -> None:
    report = ImportedSweep(
        written(tmp_path, BASE, *(block(i, i + 2, 0.5 + i / 50) for i in range(6)))
    ).report()
    assert report.verdict == "none"
    assert report.best.layer_path == "..6,5.."
    assert report.sentence.startswith("No path confirmed: the file has no scores of single items")
    assert "lies 1.3 standard deviations above the mean of the 6 paths" in report.sentence
    assert "by chance alone the best lies 1.3 above" in report.sentence


def test_the_expected_best_of_noise_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(0)
    for n in (5, 45, 667):
        simulated = rng.standard_normal((4000, n)).max(axis=1).mean()
        assert expected_best_of_noise(n) == pytest.approx(simulated, abs=0.04)


def test_a_report_has_the_keys_of_a_sweep_of_rys(tmp_path: Path, finished_sweep: SweepFile) -> None:
    imported = ImportedSweep(written(tmp_path, BASE, block(0, 2))).report()
    assert imported.to_json().keys() == finished_sweep.report().to_json().keys()
    assert imported.is_imported
    assert not finished_sweep.report().is_imported


def test_what_was_assumed_is_told(tmp_path: Path) -> None:
    rows = [BASE, block(2, 4), block(2, 4, 0.7), '{"dup_start": 3, "dup_e']
    report = ImportedSweep(written(tmp_path, *rows)).report()
    assert report.n_candidates == 1
    assert report.best.by_probe["math"] == pytest.approx(0.2)
    notes = " ".join(report.notes)
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
        ([BASE, {"math_score": 1}], "line 2: no field names the layers; it must have one of"),
    ],
)
def test_a_file_that_is_no_such_sweep_is_refused_with_the_line(
    tmp_path: Path, rows: list[dict[str, Any] | str], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        ImportedSweep(written(tmp_path, *rows))


def test_open_results_tells_stores_from_json_lines(
    tmp_path: Path, finished_sweep: SweepFile
) -> None:
    assert isinstance(open_results(written(tmp_path, BASE, block(0, 2))), ImportedSweep)
    assert isinstance(open_results(finished_sweep.path), SweepFile)
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
    with pytest.raises(StoreError, match=r"line 2: mode is .*, but with start it must be"):
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
        "1 scores are not finite numbers and count as not measured, the first in line 2: math_score"
    )
    assert note in sweep.report().notes
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
    assert sweep.report().baseline["eq"] == pytest.approx(0.94492, abs=1e-5)
