"""Benchmarks: each runs, and reports what its header says. Whether a target is met is no matter of a test."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from rys.reference import reference_model_path
from tiny_model import write_tiny_model

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SPREAD = {"median", "quartiles", "interval", "n"}


@pytest.fixture(scope="module", autouse=True)
def _benchmarks_importable() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("benchmarks") / "tiny.gguf")


@cache
def run(name: str, model: Path) -> dict[str, Any]:
    """Run a benchmark quickly and return `results` of its report."""
    if name == "memory" and not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("needs Linux's smaps_rollup")
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--model", str(model), "--n-threads", "1"]
    environment = os.environ | {"RYS_CACHE_DIR": str(model.parent / "cache")}
    command += ["--n-ctx", "512"] if name == "memory" else []
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert report["benchmark"] == name
    assert report["model"] == model.name
    assert report["quick"] is True
    assert set(report["machine"]) == {"cpu", "n_cpu", "memory_gib", "backends", "devices", "rys", "llama_cpp"}
    assert set(report["noise"]) == {"busy_elsewhere", "n_repeated", "n_disturbed"}
    results: dict[str, Any] = report["results"]
    return results


def assert_verdict(result: dict[str, Any], target: str, value: str = "ratio") -> None:
    assert result["target"] == target
    assert result["verdict"] in ("met", "missed", "undecided")
    assert isinstance(result[value], float) or set(result[value]) == SPREAD


def test_switching_compares_a_new_path_with_loading_its_copy(tiny: Path) -> None:
    results = run("switching", tiny)
    assert_verdict(results["ready"], "<= 0.1")
    for path in results["paths"]:
        assert path["n_slot"] > 6
        for what in ("ready", "first_answer"):
            assert set(path[what]) == {"switch_seconds", "load_seconds", "ratio"}
            assert path[what]["switch_seconds"]["median"] > 0
        assert set(path["parts"]) == {"view_seconds", "context_seconds"}


def test_paths_compares_views_with_copies_and_a_control(tiny: Path) -> None:
    results = run("paths", tiny)
    assert {path["what"] for path in results["paths"]} == {"path", "control"}
    for work in ("prefill", "decode"):
        assert_verdict(results[work], ">= 0.98")
        for path in results["paths"]:
            assert set(path[work]) == {"view", "copy", "ratio"}
            assert path[work]["view"]["median"] > 0


def test_memory_reports_every_case_beside_its_expected_cache(tiny: Path) -> None:
    results = run("memory", tiny)
    assert_verdict(results["weights"], "<= 0.02", "fraction")
    assert_verdict(results["per_slot"], "<= 0.02", "fraction")
    assert [case["what"] for case in results["cases"]] == ["view", "view", "copy"]
    for case in results["cases"]:
        # 2 KV heads of 16, for keys and values, in 16 bits
        assert case["kv_bytes_expected"] == case["n_slot"] * 512 * 2 * 16 * 2 * 2
        assert case["extra_bytes"] == case["pss_after"] - case["pss_before"]
        assert case["extra_bytes"] > 0.9 * case["kv_bytes_expected"]
        assert case["buffer_bytes_allocated"] > 0
        assert case["unexplained_bytes"] >= 0
        assert case["pss_after_close"] > 0
    assert results["per_slot"]["layer_bytes"] == pytest.approx((results["weights_bytes"] - 357 * 64 * 8) / 6, rel=0.02)


def test_batching_evaluates_a_shared_prefix_once(tiny: Path) -> None:
    results = run("batching", tiny)
    generations, prefix = results["generations"], results["shared_prefix"]
    assert_verdict(generations, ">= 4")
    assert generations["n_requests"] == prefix["n_requests"] == 32
    for name in ("run", "single", "known_tokens", "ceiling", "of_ceiling"):
        assert set(generations[name]) == SPREAD
    assert_verdict(prefix, "<= 1.15")
    assert prefix["tokens_minimum"] == 64 + 32 * 8
    assert prefix["tokens_without_sharing"] == 32 * (64 + 8)
    assert prefix["tokens_evaluated"] <= 1.15 * prefix["tokens_minimum"]
    for name in ("shared", "prefix", "tails"):
        assert set(prefix[f"{name}_seconds"]) == SPREAD


def test_a_sweep_is_split_into_llama_cpps_time_and_ours() -> None:
    results = run("sweep", reference_model_path())
    assert_verdict(results, ">= 0.97", "share")
    assert 0 < results["model_seconds"] < results["seconds"]
    assert results["share"] == pytest.approx(results["model_seconds"] / results["seconds"], rel=0.01)
    assert_verdict(results["switch_seconds"], "<= 0.02", "median")
    # the control: nearly all of the time of a sweep is found in the calls that are timed
    assert results["share"] > 0.5


@pytest.mark.parametrize("name", ["switching", "paths", "memory", "batching", "sweep"])
def test_every_key_of_the_results_is_in_the_header(name: str, tiny: Path) -> None:
    header = (BENCHMARKS / f"{name}.py").read_text(encoding="utf-8").split('"""')[1]
    documented = set(re.findall(r"`(\w+)`", header)) | SPREAD

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*(keys(item) for item in value.values()))
        return set().union(*(keys(item) for item in value)) if isinstance(value, list) else set()

    assert keys(run(name, reference_model_path() if name == "sweep" else tiny)) <= documented


def test_the_interval_of_a_median_is_that_of_the_sign_test() -> None:
    import measuring

    # the tables of the sign test: of 10 sorted values the 2nd and the 9th, of 20 the 6th and the 15th, of 5 none
    assert measuring.spread(range(1, 11))["interval"] == [2, 9]
    assert measuring.spread(range(1, 21))["interval"] == [6, 15]
    assert measuring.spread(range(1, 6))["interval"] == [1, 5]
    assert measuring.spread([3.0])["interval"] == [3, 3]


def test_a_verdict_is_undecided_if_the_target_lies_in_the_interval() -> None:
    import measuring

    assert measuring.verdict([0.97, 0.99], at_least=0.98) == {"target": ">= 0.98", "verdict": "undecided"}
    assert measuring.verdict([0.98, 0.99], at_least=0.98)["verdict"] == "met"
    assert measuring.verdict([0.90, 0.97], at_least=0.98)["verdict"] == "missed"
    assert measuring.verdict([0.05, 0.1], at_most=0.1) == {"target": "<= 0.1", "verdict": "met"}
    assert measuring.verdict([0.11, 0.2], at_most=0.1)["verdict"] == "missed"


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    import measuring

    calls: list[str] = []

    def call(name: str) -> float:
        calls.append(name)
        return len(calls)

    sides = {name: partial(call, name) for name in "ab"}
    assert measuring.take_turns(sides, n_rounds=2) == {"a": [4, 5], "b": [3, 6]}
    assert "".join(calls) == "abbaab"


def test_a_disturbed_measurement_is_repeated_while_there_is_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    import measuring

    monkeypatch.setattr("time.sleep", lambda _: None)
    clock: Iterator[tuple[float, float]] = iter([(0, 0)])
    monkeypatch.setattr(measuring, "cpu_seconds", lambda: next(clock))
    values = iter([1.0, 2.0, 3.0])
    quiet = measuring.Quiet()

    # CPU time of all and elsewhere, before and after: disturbed; still busy; calm; undisturbed
    clock = iter([(0, 0), (9, 5), (9, 5), (11, 7), (11, 7), (13, 7), (13, 7), (23, 7.1)])
    quiet.patience = 60.0
    assert quiet.measure(lambda: next(values)) == 2.0
    assert (quiet.n_repeated, quiet.n_disturbed) == (1, 0)

    clock = iter([(0, 0), (10, 5)])
    quiet.patience = 0.0
    assert quiet.measure(lambda: next(values)) == 3.0
    assert (quiet.n_repeated, quiet.n_disturbed) == (1, 1)


@pytest.mark.parametrize(("kind", "dtype"), [("Q8_0", "u1"), ("F16", "<f2"), ("F32", "<f4")])
def test_random_tensors_are_as_large_as_announced_and_the_same_each_time(kind: str, dtype: str) -> None:
    import make_model

    def written(name: str, seed: int) -> bytes:
        tensor = make_model.RandomTensor(name, (5000, 64), gguf.GGMLQuantizationType[kind], 0.5, 0.0, seed)
        file = io.BytesIO()
        tensor.tofile(file)
        assert len(file.getvalue()) == tensor.nbytes
        return file.getvalue()

    first = written("blk.0.ffn_up.weight", 0)
    assert written("blk.0.ffn_up.weight", 0) == first
    assert written("blk.1.ffn_up.weight", 0) != first
    assert written("blk.0.ffn_up.weight", 1) != first
    values = gguf.quants.dequantize(np.frombuffer(first, dtype), gguf.GGMLQuantizationType[kind])
    assert values.std() == pytest.approx(0.5, rel=0.01)


@pytest.mark.slow
def test_the_benchmarks_model_has_the_shape_of_qwen2_5(tmp_path: Path) -> None:
    import make_model
    import rys

    with rys.Model(make_model.write_model(tmp_path / "model.gguf"), n_ctx=256, n_threads=1) as model:
        assert (model.n_layer, model.n_embd, model.n_vocab) == (24, 896, 151936)
        assert model.metadata["qwen2.attention.head_count"] == 14
        assert model.metadata["qwen2.attention.head_count_kv"] == 2
        assert model.metadata["qwen2.rope.freq_base"] == 1e6
        assert model.size == pytest.approx(494e6 * 34 / 32, rel=0.01)
        assert "<|im_start|>user\nHello<|im_end|>" in model.apply_chat_template([{"role": "user", "content": "Hello"}])
        assert model.detokenize(model.tokenize("Hello, world")) == "Hello, world"
        assert model.generate("Hello", max_tokens=2).tokens
