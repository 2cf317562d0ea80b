"""Each script runs, and reports what its header says. Whether a target is met is no matter of a
test.

To add a script: write its report with `write_report`, add a line to SCRIPTS, and a test of what it
reports.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rys
import stock_programs
from make_model import benchmark_folder
from upstream_programs import NotHereError

FOLDER = Path(__file__).resolve().parent
SPREAD = {"median", "quartiles", "interval", "n"}
MACHINE = {"cpu", "n_cpu", "memory_gib", "backends", "devices", "python", "rys", "llama_cpp"}

# script, and what shortens it for the suite; for figures worth keeping it is run alone, without
# these
SCRIPTS = {
    "switching": "--rounds 5",
    "paths": "--rounds 2 --paths 1",
    "stock": "--rounds 1 --paths 1",
    "memory": "--paths 2",
    "batching": "--rounds 1 --prefix 128",
    "floor": "--rounds 1 --items 4",
    "scaling": "--rounds 1 --candidates 320",
    "sweep": "",
    "gpu": "--rounds 2",
    "field": "--candidates 3 --items 4 --profile",
    "field --reference": "--candidates 6",
}

Results = dict[str, Any]
Run = Callable[[str], Results]


@pytest.fixture(scope="session")
def run(outputs: dict[str, str], quick: bool, model_file: Path) -> Run:
    """Return what runs a script, once for all tests, and returns `results` of its report."""

    def run(script: str) -> Results:
        name, *options = script.split()
        if name in ("field", "stock"):
            need_stock_programs(quick)
        if name == "memory" and not Path("/proc/self/smaps_rollup").exists():
            pytest.skip("needs Linux's smaps_rollup")
        if quick:
            options = ["--quick", "--model", str(model_file), "--n-threads", "1"]
        else:
            options += SCRIPTS[script].split()
        command = " ".join([f"{name}.py", *options])
        if command not in outputs:
            program = [sys.executable, str(FOLDER / f"{name}.py"), *options]
            result = subprocess.run(program, capture_output=True, text=True, check=False)
            assert result.returncode == 0, result.stderr
            outputs[command] = result.stdout
        report = json.loads(outputs[command].splitlines()[-1])
        assert report["benchmark"] == name
        assert report["quick"] is quick
        assert set(report["machine"]) == MACHINE
        assert set(report["noise"]) == {"busy_elsewhere", "n_repeated", "n_disturbed"}
        results: Results = report["results"]
        return results

    return run


def need_stock_programs(quick: bool) -> None:
    if quick and not stock_programs.are_built():
        pytest.skip(
            "building stock programs takes minutes: python benchmarks/stock_programs.py, then again"
        )
    try:
        stock_programs.stock_program(stock_programs.PROGRAMS[0])
    except NotHereError as error:
        pytest.skip(str(error))


def assert_verdict(result: Results, target: str, value: str = "ratio") -> None:
    assert result["target"] == target
    assert result["verdict"] in ("met", "missed", "undecided")
    assert isinstance(result[value], float) or set(result[value]) == SPREAD


def test_every_script_is_run() -> None:
    reporting = {
        path.stem
        for path in FOLDER.glob("*.py")
        if "\n    write_report(" in path.read_text(encoding="utf-8")
    }
    assert reporting == {script.split()[0] for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_results_are_what_the_header_says(script: str, run: Run) -> None:
    results = run(script)
    names = [script.split()[0]]
    if names == ["gpu"] and "skipped" not in results:  # its results hold theirs
        names += ["paths", "switching", "batching"]
    headers = [
        (FOLDER / f"{name}.py").read_text(encoding="utf-8").split('"""')[1] for name in names
    ]
    documented = set(re.findall(r"`(\w+)`", " ".join(headers))) | SPREAD
    promised = set(
        re.findall(r"`(\w+)`", " ".join(header.partition("\nJSON: ")[2] for header in headers))
    )
    if "skipped" in results:
        promised = {"skipped"}

    def words(value: Any, in_values: bool) -> set[str]:
        """Return the keys, and of the values what is a string."""
        if isinstance(value, dict):
            return set(value).union(*(words(item, in_values) for item in value.values()))
        if isinstance(value, list):
            return set().union(*(words(item, in_values) for item in value))
        return {value} if in_values and isinstance(value, str) else set()

    assert words(results, in_values=False) <= documented
    if names == ["field"]:
        promised -= {"profile"}  # an option
    assert promised - {"results"} <= words(results, in_values=True)


def test_switching_compares_a_new_path_with_loading_its_copy(run: Run) -> None:
    results = run("switching")
    assert_verdict(results["ready"], "<= 0.1")
    for path in results["paths"]:
        for what in ("ready", "first_answer"):
            assert set(path[what]) == {"switch_seconds", "load_seconds", "ratio"}
            assert path[what]["switch_seconds"]["median"] > 0
        assert set(path["parts"]) == {"view_seconds", "context_seconds"}
    assert_verdict(results["in_a_row"], "<= 1.1")
    assert results["in_a_row"]["switch_seconds"]["n"] == results["in_a_row"]["n_switches"]
    assert_verdict(results["alive"], "<= 1.1")


def test_paths_compares_views_with_copies_and_a_control(run: Run) -> None:
    results = run("paths")
    assert {path["what"] for path in results["paths"]} == {"path", "control"}
    for work, target in (("prefill", ">= 0.98"), ("decode", ">= 0.98"), ("first_token", "<= 1.02")):
        assert_verdict(results[work], target)
        for path in results["paths"]:
            assert set(path[work]) == {"view", "copy", "ratio"}
            assert path[work]["view"]["median"] > 0


def test_stock_compares_rys_with_llama_bench_on_the_copies(run: Run) -> None:
    results = run("stock")
    for work in ("prefill", "decode"):
        assert_verdict(results[work], ">= 0.98")
        for path in results["paths"]:
            # the same work on both sides: neither is many times faster
            assert set(path[work]) == {"rys", "stock", "ratio"}
            assert 0.2 < path[work]["ratio"]["median"] < 5


def test_memory_reports_every_case_beside_its_expected_cache(run: Run, quick: bool) -> None:
    results = run("memory")
    assert_verdict(results["weights"], "<= 0.02", "fraction")
    assert_verdict(results["per_slot"], "<= 0.02", "fraction")
    assert {case["what"] for case in results["cases"]} == {"view", "copy"}
    for case in results["cases"]:
        # of both models: 128 values, for keys and for values, in 16 bits
        assert case["kv_bytes_expected"] == case["n_slot"] * results["n_ctx"] * 128 * 2 * 2
        assert case["extra_bytes"] == case["pss_after"] - case["pss_before"]
        assert case["extra_bytes"] > 0.9 * case["kv_bytes_expected"]
        assert case["buffer_bytes_allocated"] > 0
        assert case["unexplained_bytes"] >= 0
        assert case["pss_after_close"] > 0
        assert ("of_copy" in case) is (case["what"] == "view")
    all_layers = (12 if quick else 24) * results["per_slot"]["layer_bytes"]
    assert (
        0.5 * results["weights_bytes"] < all_layers < results["weights_bytes"]
    )  # the others are the embeddings


def test_batching_compares_parallel_generations_with_single_ones(run: Run) -> None:
    generations = run("batching")["generations"]
    assert_verdict(generations, ">= 4")
    for name in ("known_tokens", "ceiling", "of_ceiling"):
        assert set(generations[name]) == SPREAD
    curve = {point["n_parallel"]: point for point in generations["curve"]}
    assert list(curve) == [1, 2, 4, 8, 16, 32, 64]
    assert curve[1]["ratio"]["median"] == 1
    assert curve[generations["n_parallel"]]["ratio"] == generations["ratio"]
    for n, point in curve.items():
        assert point["speed"]["median"] > 0
        assert (
            point["of_limit"]["median"] >= 0.999 * point["ratio"]["median"] / n
        )  # rounded; the limit is n or less


def test_batching_evaluates_a_shared_prefix_once(run: Run) -> None:
    prefix = run("batching")["shared_prefix"]
    assert prefix["n_requests"] == 32
    assert_verdict(prefix, "<= 1.15")
    assert prefix["tokens_minimum"] == prefix["n_prefix"] + 32 * prefix["n_tail"]
    assert prefix["tokens_without_sharing"] == 32 * (prefix["n_prefix"] + prefix["n_tail"])
    assert prefix["tokens_evaluated"] <= 1.15 * prefix["tokens_minimum"]
    for name in ("shared", "unshared", "prefix", "tails"):
        assert set(prefix[f"{name}_seconds"]) == SPREAD
    assert prefix["gain_limit"] == pytest.approx(
        prefix["tokens_without_sharing"] / prefix["tokens_minimum"], rel=0.01
    )
    assert prefix["gain"]["median"] > 1


def test_floor_counts_what_prompts_begin_with_together_once(run: Run) -> None:
    kinds = {kind["what"]: kind for kind in run("floor")["kinds"]}
    assert set(kinds) == {"log-likelihood", "next token", "generation"}
    for kind in kinds.values():
        # prefixes of a few tokens are not worth sharing
        assert kind["distinct_tokens"] <= kind["evaluated_tokens"] <= kind["prompt_tokens"]
        assert kind["of_floor"]["median"] > 0
    # the four questions about a situation
    assert kinds["next token"]["distinct_tokens"] < kinds["next token"]["prompt_tokens"] / 2
    assert kinds["generation"]["generated_tokens"] > 0


def test_scaling_tells_how_each_curve_grows(run: Run, quick: bool) -> None:
    results = run("scaling")
    assert [(curve["what"], curve["against"], curve["target"]) for curve in results["curves"]][
        :5
    ] == [
        ("seconds", "slots", "<= 1.1"),
        ("seconds", "items", "<= 1.1"),
        ("seconds", "tokens", "<= 1.1"),
        ("seconds", "candidates", "<= 0.1"),
        ("own_seconds", "candidates", "<= 0.1"),
    ]
    for curve in results["curves"]:
        assert_verdict(curve, curve["target"], "exponent")
        assert len(curve["values"]) == len(curve["sizes"])
    picture = "scaling.quick.png" if quick else "scaling.png"
    assert (benchmark_folder() / picture).read_bytes().startswith(b"\x89PNG")


def test_gpu_compares_paths_with_copies_or_tells_why_not(run: Run) -> None:
    results = run("gpu")
    if any(device["type"] in ("gpu", "igpu") for device in rys.build_info()["devices"]):
        assert_verdict(results["logits"], "<= 0.0001", "error")
        assert {"paths", "switching", "batching"} < set(results)
    else:
        assert list(results) == ["skipped"]
        assert results["skipped"].startswith("no GPU among the devices of this rys (")


def test_a_sweep_is_split_into_llama_cpps_time_and_ours(run: Run) -> None:
    results = run("sweep")
    assert_verdict(results, ">= 0.97", "share")
    assert 0 < results["model_seconds"] < results["seconds"]
    assert results["share"] == pytest.approx(
        results["model_seconds"] / results["seconds"], rel=0.01
    )
    assert_verdict(results["switch_seconds"], "<= 0.02", "median")
    assert all(share >= 0.01 for _, share in results["profile"])
    # the control: nearly all of the time of a sweep is found in the calls that are timed
    assert results["share"] > 0.5


@pytest.mark.parametrize("script", ["field", "field --reference"])
def test_field_asks_both_sides_the_same(script: str, run: Run) -> None:
    results = run(script)
    assert results["agreement"]["prompts"] == 1
    assert results["agreement"]["n_answers"] == len(results["candidates"]) * results["n_questions"]
    # where answers part, two tokens are nearly as probable
    assert results["agreement"]["largest_margin"] < 1
    assert set(results["pipeline"]["parts"]) == {"copy", "start", "ask", "stop"}
    assert sum(results["pipeline"]["parts"].values()) == pytest.approx(1, abs=0.01)
    assert results["pipeline"]["disk_bytes"] > 0
    assert results["ratio"]["n"] == len(results["candidates"])
