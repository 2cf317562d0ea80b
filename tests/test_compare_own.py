"""Comparisons of what rys itself wrote: sweeps, and the output of `rys probe --json`."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rys
from rys.cli import main
from rys.compare import compare
from rys.errors import CompareError
from rys.probes.base import Item
from rys.probes.result import ProbeResult
from rys.probes.scorers import Choice
from rys.statistics import paired_interval
from rys.sweep.results import open_results
from rys.sweep.settings import SweepOptions
from rys.sweep.store import Store
from support.simulated_sweep import made_up_settings, with_field

BASE, BEST, LEFT = "0..3", "0..3,2..3", "0..3,1..3"


def items(n: int, first: int = 0) -> list[Item]:
    return [
        Item(prompt=f"What is {k}?", scorer=Choice(["yes", "no"], ["yes", "no"][k % 2]))
        for k in range(first, first + n)
    ]


def measured(asked: list[Item], scores: np.ndarray) -> dict[str, ProbeResult]:
    n = len(scores)
    result = ProbeResult(
        probe="quiz:1",
        layer_path="",
        items=asked[:n],
        scores=scores.astype(float),
        parsed=np.ones(n, bool),
        truncated=np.zeros(n, bool),
        answers=[""] * n,
        errors=[None] * n,
        details=[{}] * n,
        chance=0.5,
        best_constant=0.5,
        constant="yes",
        n_prompt_tokens=1,
        n_evaluated_tokens=1,
        n_generated_tokens=1,
        seconds=0.1,
    )
    return {"quiz": result}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep's file: 20 items of the search, of which one path left after 8, and 40 of the
    confirmation.
    """
    return write_sweep(tmp_path / "sweep.db")


def write_sweep(file: Path, first_item: int = 0, version: int = 1) -> Path:
    settings = made_up_settings(4, probes=(f"quiz:{version}",))
    store = Store.create(file, settings, SweepOptions())
    search, confirm = items(20, first_item), items(40, 1000 + first_item)
    store.add_items("search", "quiz", search)
    store.add_items("confirm", "quiz", confirm)
    right = np.arange(20) % 2
    store.save("search", "baseline", BASE, measured(search, right), 0, "done")
    store.save("search", "candidate", BEST, measured(search, np.ones(20)), 0, "done")
    store.save(
        "search",
        "candidate",
        LEFT,
        measured(search, np.zeros(8)),
        0,
        "eliminated",
        "far",
    )
    store.save("confirm", "baseline", BASE, measured(confirm, np.arange(40) < 20), 0, "done")
    store.save("confirm", "top", BEST, measured(confirm, np.arange(40) < 26), 0, "done")
    store.close()
    return file


def test_the_best_path_of_a_sweep_against_its_baseline(sweep):
    found = compare(sweep)
    assert found.base_name == f"{sweep} ({BASE})"
    search, confirm = found.rows
    assert (search.task, search.filter, confirm.filter) == ("quiz", "search", "confirm")
    assert (search.n, search.base, search.other, search.gained, search.lost) == (
        20,
        0.5,
        1.0,
        10,
        0,
    )
    assert (confirm.n, confirm.gained, confirm.paired, confirm.p) == (
        40,
        6,
        True,
        pytest.approx(2 / 2**6),
    )
    assert search.other_name == f"{sweep} ({BEST})"
    assert any("rows of 'search'" in note for note in found.notes)


def test_a_path_of_a_sweep_in_any_notation(sweep, capsys):
    assert main(["compare", str(sweep), f"{sweep}::0..3+2..", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["other_name"] == f"{sweep} ({BEST})"
    with pytest.raises(CompareError, match=r"did not try the layer path 0\.\.3,0\.\."):
        compare(sweep, f"{sweep}::0..3,0..")
    with pytest.raises(CompareError, match=r"layers 0\.\.3"):
        compare(sweep, f"{sweep}::0..9")


def test_an_eliminated_path_is_compared_on_its_own_items(sweep):
    (row,) = compare(sweep, f"{sweep}::{LEFT}").rows
    assert (row.n, row.base, row.other, row.lost, row.paired) == (
        8,
        0.5,
        0.0,
        4,
        True,
    )


def test_sweeps_with_other_items_or_versions_are_refused(sweep, tmp_path):
    with pytest.raises(CompareError, match="questions of 60 items differ"):
        compare(sweep, write_sweep(tmp_path / "other.db", first_item=5))
    with pytest.raises(CompareError, match="task version 1 against 2"):
        compare(sweep, write_sweep(tmp_path / "new.db", version=2))


def test_nothing_is_compared_with_itself(sweep):
    with pytest.raises(CompareError, match="would be compared with itself"):
        compare(sweep, f"{sweep}::..")


def test_a_damaged_sweep_is_an_error(sweep, capsys):
    for field, value in (("probes", 3), ("n_layer", "x")):
        with_field(sweep, "settings", field, value)
        assert main(["compare", str(sweep), f"{sweep}::{BEST}"]) == 1
        assert "is damaged" in capsys.readouterr().err
    sweep.write_bytes(sweep.read_bytes()[:5000])
    assert main(["compare", str(sweep)]) == 1
    assert "damaged" in capsys.readouterr().err


@pytest.fixture(scope="module")
def probed() -> dict[str, Any]:
    command = (
        "probe --items 16 --show 16 --force --json --quiet --layer-path .. --layer-path 0..7,4..11"
    )
    done = subprocess.run(
        [sys.executable, "-m", "rys", *command.split()], capture_output=True, check=True
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def write(file: Path, document: dict[str, Any]) -> Path:
    file.write_text(json.dumps(document))
    return file


def test_two_paths_of_one_probe_output(probed, tmp_path):
    (row,) = compare(write(tmp_path / "p.json", probed)).rows
    base, other = ([item["score"] for item in part["items"]] for part in probed["items"])
    assert (row.task, row.metric, row.n, row.paired) == ("reference", "score", 16, True)
    assert (row.base, row.other) == (np.mean(base), np.mean(other))
    assert row.difference == pytest.approx(probed["comparison"][0]["difference"])
    assert row.gained == sum(x < y for x, y in zip(base, other, strict=True))


def test_a_probe_output_without_items_is_not_paired(probed, tmp_path):
    file = write(
        tmp_path / "p.json", {name: part for name, part in probed.items() if name != "item_scores"}
    )
    (row,) = compare(file, f"{file}::0..7,4..11").rows
    assert (row.paired, row.test, row.gained) == (False, "Welch", None)
    assert 0 < row.p <= 1
    with pytest.raises(
        CompareError, match=r"has no layer path '0\.\.1'; it has 0\.\.11, 0\.\.7,4\.\.11"
    ):
        compare(file, f"{file}::0..1")


def test_probe_outputs_of_other_items_or_versions_are_refused(probed, tmp_path):
    a = write(tmp_path / "a.json", probed)
    changed = copy.deepcopy(probed)
    changed["item_scores"][1]["hashes"][3] = "of another item"
    with pytest.raises(CompareError, match="reference: 2 items are in one run only"):
        compare(a, write(tmp_path / "b.json", changed))
    changed["item_scores"][1]["scores"].pop()
    with pytest.raises(CompareError, match="are not those of 16 items"):
        compare(a, write(tmp_path / "b.json", changed))
    changed = copy.deepcopy(probed)
    for part in (*changed["results"], *changed["item_scores"]):
        part["probe"] = "reference:2"
    with pytest.raises(CompareError, match="task version 1 against 2"):
        compare(a, write(tmp_path / "b.json", changed))


def test_a_layer_path_of_a_harness_file_is_an_error(tmp_path):
    file = write(tmp_path / "results.json", {"results": {"quiz": {"acc,none": 0.5}}})
    with pytest.raises(CompareError, match="hold several layer paths"):
        compare(file, f"{file}::0..3")


# one interval for the same scores


@pytest.fixture(scope="module")
def measured_twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same items along the same path: the output of `rys probe`, and the file of a sweep."""
    folder = tmp_path_factory.mktemp("twice")
    command = "probe --items 48 --force --json --quiet --layer-path .. --layer-path 0..7,4..11"
    done = subprocess.run(
        [sys.executable, "-m", "rys", *command.split()], capture_output=True, check=True
    )
    (folder / "probe.json").write_bytes(done.stdout)
    with (
        rys.reference_model() as model,
        rys.Sweep(
            model,
            "reference",
            rys.space.paths(["0..7,4..11"]),
            store=folder / "sweep.db",
            items=48,
            strategy="scan",
            force=True,
        ) as sweep,
    ):
        sweep.run()
    return folder / "probe.json", folder / "sweep.db"


def test_probe_compare_and_sweep_give_the_same_interval(measured_twice):
    probe, sweep = measured_twice
    document = json.loads(probe.read_text())
    families = document["item_scores"][0]["families"]
    assert len(set(families)) > 1  # several strata
    (printed,) = document["comparison"]
    (of_probe,) = compare(probe).rows
    (of_sweep,) = compare(sweep, f"{sweep}::0..7,4..11").rows
    with open_results(sweep) as results:
        (candidate,) = results.results().to_dict("records")
    assert printed["interval"][0] < printed["difference"] < printed["interval"][1]
    assert of_probe.interval == tuple(printed["interval"])
    assert of_sweep.interval == tuple(printed["interval"])
    assert (candidate["low"], candidate["high"]) == tuple(printed["interval"])
    assert of_probe.difference == of_sweep.difference == pytest.approx(candidate["effect"])


def test_outputs_of_earlier_versions_are_read_as_one_family(measured_twice, tmp_path):
    document = json.loads(measured_twice[0].read_text())
    for part in document["item_scores"]:
        del part["families"]
    old = write(tmp_path / "old.json", document)
    base, other = (np.array(part["scores"]) for part in document["item_scores"])
    (row,) = compare(old).rows
    assert row.interval == paired_interval(other - base)
    # families that one of the files knows count for both
    (row,) = compare(old, measured_twice[0]).rows
    assert row.interval == tuple(document["comparison"][0]["interval"])


def test_families_of_other_items_are_refused(measured_twice, tmp_path):
    document = json.loads(measured_twice[0].read_text())
    document["item_scores"][1]["families"].pop()
    with pytest.raises(CompareError, match="are not those of 48 items"):
        compare(write(tmp_path / "cut.json", document))
