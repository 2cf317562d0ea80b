"""What the benchmarks are made of.

That each of them runs is what `pytest benchmarks --quick` shows.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from support.child_processes import heeding

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _benchmarks_importable() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def test_the_interval_of_a_median_is_that_of_the_sign_test() -> None:
    import measuring

    # the tables of the sign test: of 10 sorted values the 2nd and the 9th, of 20 the 6th and the
    # 15th, of 5 none
    assert measuring.spread(range(1, 11))["interval"] == [2, 9]
    assert measuring.spread(range(1, 21))["interval"] == [6, 15]
    assert measuring.spread(range(1, 6))["interval"] == [1, 5]
    assert measuring.spread([3.0])["interval"] == [3, 3]


def test_a_verdict_is_undecided_if_the_target_lies_in_the_interval() -> None:
    import measuring

    assert measuring.verdict([0.97, 0.99], at_least=0.98) == {
        "target": ">= 0.98",
        "verdict": "undecided",
    }
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


def test_a_disturbed_measurement_is_repeated_while_there_is_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
def test_random_tensors_are_as_large_as_announced_and_the_same_each_time(
    kind: str, dtype: str
) -> None:
    import make_model

    def written(name: str, seed: int) -> bytes:
        tensor = make_model.RandomTensor(
            name, (5000, 64), gguf.GGMLQuantizationType[kind], 0.5, 0.0, seed
        )
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

    with rys.Model(
        make_model.write_model(tmp_path / "model.gguf"), n_ctx=256, n_threads=1
    ) as model:
        assert (model.n_layer, model.n_embd, model.n_vocab) == (24, 896, 151936)
        assert model.metadata["qwen2.attention.head_count"] == 14
        assert model.metadata["qwen2.attention.head_count_kv"] == 2
        assert model.metadata["qwen2.rope.freq_base"] == 1e6
        assert model.size == pytest.approx(494e6 * 34 / 32, rel=0.01)
        assert "<|im_start|>user\nHello<|im_end|>" in model.apply_chat_template(
            [{"role": "user", "content": "Hello"}]
        )
        assert model.detokenize(model.tokenize("Hello, world")) == "Hello, world"
        assert model.generate("Hello", max_tokens=2).tokens


def test_tokens_that_sequences_begin_with_together_count_once() -> None:
    import floor

    # a, ab, abc, abd, x: the prefixes of all sequences, each once
    assert floor.n_distinct([b"abc", b"abd", b"ab", b"x", b"abc"]) == 5
    assert floor.n_distinct([[1, 2, 3], [2, 3], [1, 2, 3, 4]]) == 6
    assert floor.n_distinct([]) == 0


def test_an_exponent_is_the_slope_of_the_logarithms() -> None:
    import scaling

    sizes, rounds = [1, 2, 4, 8], (3.0, 5.0)
    linear = scaling.curve(
        "seconds", "items", sizes, [[c * size for c in rounds] for size in sizes], scaling.LINEAR
    )
    assert (linear["exponent"]["median"], linear["exponent"]["n"]) == (pytest.approx(1), 2)
    assert (linear["target"], linear["verdict"]) == ("<= 1.1", "met")
    square = scaling.curve(
        "seconds", "items", sizes, [[c * size**2 for c in rounds] for size in sizes], scaling.LINEAR
    )
    assert square["exponent"]["interval"] == pytest.approx([2, 2])
    assert square["verdict"] == "missed"
    flat = scaling.curve("seconds", "items", sizes, [rounds for _ in sizes], scaling.FLAT)
    assert (flat["target"], flat["verdict"]) == ("<= 0.1", "met")


def test_the_picture_of_the_curves_is_small(tmp_path: Path) -> None:
    import scaling

    sizes = [10, 100, 1000]
    curves = [
        scaling.curve(what, "candidates", sizes, [[1.0, 1.1]] * 3, scaling.FLAT)
        for what in [
            "seconds",
            "own_seconds",
            "run_peak_bytes",
            "peak_bytes",
            "seconds",
            "seconds",
            "seconds",
        ]
    ]
    scaling.draw(curves, tmp_path / "folder" / "curves.png")
    picture = (tmp_path / "folder" / "curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 150_000


def test_a_profile_tells_what_takes_a_hundredth() -> None:
    import measuring

    def wait() -> None:
        time.sleep(0.05)
        gguf.GGMLQuantizationType(0)  # takes next to nothing

    (function, share), *others = measuring.profiled(wait)
    assert "time.sleep" in function
    assert share > 0.9
    assert not any("enum" in name for name, _ in others)


def test_the_error_of_logits_is_relative_to_their_mean_square() -> None:
    import gpu

    expected = np.array([[3.0, -4.0]], np.float32)
    assert gpu.normalised_error(expected, expected) == 0
    assert gpu.normalised_error(np.array([[3.0, -3.0]], np.float32), expected) == pytest.approx(
        1 / 25
    )


def test_on_the_cpu_a_path_and_its_copy_agree(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import gpu
    from rys.reference import reference_model_path

    # what the script does on a GPU
    monkeypatch.setattr(gpu, "scratch_folder", lambda: contextlib.nullcontext(tmp_path))
    options = argparse.Namespace(model=reference_model_path(), n_threads=1, quick=True)
    compared = gpu.compare_with_copies(options)
    assert [one["path"] for one in compared] == ["0..11", "0..5,4..11"]
    assert all(one["error"] < 1e-10 for one in compared)


HEALTHY = """
import http.server, json, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"model_path": sys.argv[2]}).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1])), Answer).serve_forever()
"""


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_that_ends_early_is_told_with_what_it_said(tmp_path: Path) -> None:
    import stock_server

    command = [sys.executable, "-c", "print('no such model'); raise SystemExit(3)"]
    server = stock_server.StockServer(command, Path("model.gguf"), tmp_path / "log")
    with pytest.raises(RuntimeError, match=r"exited with code 3. It said:\nno such model"), server:
        pass


def test_a_server_that_never_answers_is_stopped(tmp_path: Path) -> None:
    import stock_server

    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = stock_server.StockServer(command, Path("model.gguf"), tmp_path / "log", patience=0.1)
    with pytest.raises(RuntimeError, match=r"is not healthy after 0.1 s"), server:
        pass
    assert not is_running(server.process_id)


def test_a_server_ends_with_its_block_whatever_happens(tmp_path: Path) -> None:
    import stock_server

    server = stock_server.StockServer(
        [sys.executable, "-c", HEALTHY], Path("model.gguf"), tmp_path / "log"
    )

    def interrupted() -> None:
        with server:
            assert server.get("/health") == {"model_path": "model.gguf"}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not is_running(server.process_id)


@pytest.mark.skipif(sys.platform != "linux", reason="the system call is Linux's")
def test_a_server_dies_with_a_benchmark_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(BENCHMARKS)!r})
from stock_server import StockServer
log = Path({str(tmp_path / "log")!r})
with StockServer([sys.executable, "-c", {HEALTHY!r}], Path("model.gguf"), log) as server:
    print(server.process_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    deadline = time.monotonic() + 10
    while is_running(int(result.stdout)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(int(result.stdout))


@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes of POSIX")
def test_what_a_build_started_ends_with_it(tmp_path: Path) -> None:
    child = tmp_path / "child"
    code = f"""
import signal, sys
import upstream_programs
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
script = "sleep 60 & echo $! > {child}.part; mv {child}.part {child}; wait"
upstream_programs.run(["sh", "-c", script])
"""
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent / "tools")}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as program:
        wait_for(child.exists)
        program.terminate()
        assert program.wait(30) == 143
    wait_for(lambda: not is_running(int(child.read_text())))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_script_that_is_told_to_end_leaves_no_files(name: str, tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
import measuring
from rys.reference import reference_model_path
sys.argv[1:] = ["--model", str(reference_model_path())]
measuring.parse(measuring.argument_parser("", None))
with measuring.scratch_folder(Path({str(tmp_path)!r})):
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    number = getattr(signal, name)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        preexec_fn=heeding(number),
    ) as program:
        wait_for(lambda: any(tmp_path.iterdir()))
        program.send_signal(number)
        assert program.wait(30) == 128 + number
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "option", "value"),
    [
        ("switching", "--patience", "nan"),
        ("switching", "--patience", "-1"),
        ("scaling", "--png", "."),
        ("scaling", "--png", "x"),
        ("make_model", "--output", "."),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_measured(
    script: str,
    option: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rys.reference import reference_model_path

    model = [] if script == "make_model" else ["--model", str(reference_model_path())]
    monkeypatch.setattr(sys, "argv", [script, *model, option, value])
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(script).main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert option in said
    assert "must be" in said or "give" in said


def test_a_path_whose_logits_are_nan_fails_the_comparison(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu
    from rys.reference import reference_model_path

    errors = [
        {"path": "..", "error": error, "view_bytes": 0, "copy_bytes": 0}
        for error in (0.0, float("nan"))
    ]
    monkeypatch.setattr(sys, "argv", ["gpu", "--model", str(reference_model_path())])
    monkeypatch.setattr(gpu, "gpus", lambda: [{"description": "a GPU"}])
    monkeypatch.setattr(gpu, "compare_with_copies", lambda _: errors)
    for script in (gpu.paths, gpu.switching, gpu.batching):
        monkeypatch.setattr(script, "measure", lambda _: {})
    gpu.main()
    logits = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]["logits"]
    assert (logits["error"], logits["verdict"]) == (None, "missed")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_script_under_nohup_outlives_its_terminal() -> None:
    code = """
import signal, sys
import measuring
from rys.reference import reference_model_path
sys.argv[1:] = ["--model", str(reference_model_path())]
measuring.parse(measuring.argument_parser("", None))
signal.raise_signal(signal.SIGHUP)
"""
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    ignore = signal.SIG_IGN
    subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, ignore),
    )


def test_a_server_whose_port_another_one_took_is_not_taken_for_it(tmp_path: Path) -> None:
    import stock_server

    with stock_server.StockServer(
        [sys.executable, "-c", HEALTHY], Path("other.gguf"), tmp_path / "other"
    ) as other:
        server = stock_server.StockServer(
            [sys.executable, "-c", "raise SystemExit(1)"], Path("model.gguf"), tmp_path / "log"
        )
        server.address = other.address
        with pytest.raises(RuntimeError, match="exited with code 1"), server:
            pass


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
