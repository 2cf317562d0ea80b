"""Several threads, Ctrl-C, and what happens when somebody stops in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rys
from rys.errors import ModelClosedError
from support import models
from support.child_processes import heeding

LETTERS = "root ::= [a-z]{2000}"
LARGE = {"n_layer": 12, "n_embd": 256}  # seconds of work for a few thousand tokens


def answer(model: rys.Model, prompt: str) -> tuple[Any, ...]:
    """Ask for something of every kind and return what must not depend on other threads."""
    generated = model.generate(prompt, max_tokens=12)
    return (
        generated.tokens,
        model.logits(prompt).tolist(),
        model.loglikelihood(prompt, "abc").logprob,
    )


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


# one model, several threads


def test_calls_from_several_threads_give_the_results_of_single_calls() -> None:
    # they are evaluated side by side, so that logits round in another way
    prompts = [f"Prompt number {i}" for i in range(4)]
    with models.open_tiny() as model:
        expected = [answer(model, prompt) for prompt in prompts]
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda i: answer(model, prompts[i % 4]), range(32)))
        for i, (tokens, logits, logprob) in enumerate(results):
            assert tokens == expected[i % 4][0]
            np.testing.assert_allclose(logits, expected[i % 4][1], atol=1e-4)
            assert logprob == pytest.approx(expected[i % 4][2], abs=1e-4)
        # nothing is left of it
        assert [answer(model, prompt) for prompt in prompts] == expected


def test_two_views_of_one_base_run_in_two_threads() -> None:
    with models.open_tiny() as base:
        views = [base.with_path("0..3,2.."), base.with_path([5, 0, 0, 3])]
        expected = [answer(view, "Hello") for view in views]
        assert expected[0] != expected[1]
        with ThreadPoolExecutor(3) as pool:
            rounds = [
                pool.submit(lambda view=view: [answer(view, "Hello") for _ in range(10)])
                for view in views
            ]
            making = pool.submit(
                lambda: [answer(base.with_path("0..3,2.."), "Hello") for _ in range(10)]
            )
            results = [future.result() for future in rounds]
        assert results == [[expected[0]] * 10, [expected[1]] * 10]
        assert making.result() == [expected[0]] * 10


def test_views_really_run_at_the_same_time() -> None:
    with models.open_tiny() as base:
        view = base.with_path(None)
        stream = base.stream("Hello", max_tokens=50, grammar=LETTERS)
        next(stream)  # the base is busy now
        with ThreadPoolExecutor(1) as pool:
            assert (
                len(pool.submit(view.generate, "Hello", max_tokens=5).result(timeout=30).tokens)
                == 5
            )
        stream.close()


def test_other_python_threads_run_while_llama_cpp_computes() -> None:
    with models.open_tiny(model=LARGE, n_ctx=2048) as model:
        ticks: list[float] = []
        stop = threading.Event()

        def tick() -> None:
            while not stop.is_set():
                ticks.append(time.monotonic())
                time.sleep(0.002)

        uses: list[Callable[[], Any]] = [
            lambda: model.logits([5] * 400),
            lambda: model.hidden_states([5] * 400),
            lambda: model.run([rys.NextToken([i + 5] * 100) for i in range(4)]),
        ]
        for use in uses:
            ticks.clear()
            stop.clear()
            thread = threading.Thread(target=tick)
            thread.start()
            wait_until(lambda: len(ticks) > 3)
            begin = time.monotonic()
            use()
            end = time.monotonic()
            stop.set()
            thread.join()
            inside = [begin, *(t for t in ticks if begin < t < end), end]
            # without the GIL released, nothing would tick in between
            assert max(np.diff(inside)) < max(0.5 * (end - begin), 0.1)


# in the middle of a stream


def test_other_calls_may_come_between_the_pieces_of_a_stream() -> None:
    with models.open_tiny() as model:
        expected = model.generate("Hello", max_tokens=50, grammar=LETTERS).text
        single = answer(model, "Once")
        states = model.hidden_states("Once").tolist()
        stream = model.stream("Hello", max_tokens=50, grammar=LETTERS)
        pieces = [next(stream)]
        with ThreadPoolExecutor(1) as pool:
            for use in (answer, lambda *args: pool.submit(answer, *args).result(timeout=30)):
                tokens, logits, logprob = use(model, "Once")
                assert tokens == single[0]
                np.testing.assert_allclose(logits, single[1], atol=1e-4)
                assert logprob == pytest.approx(single[2], abs=1e-4)
                pieces.append(next(stream))
        assert model.hidden_states("Once").tolist() == states
        assert model.run([]) == []
        assert model.tokenize("a")
        assert "".join([*pieces, *stream]) == expected
        assert answer(model, "Once") == single


@pytest.mark.parametrize("stop", ["close", "drop", "break", "throw"])
def test_a_stream_that_is_stopped_early_leaves_the_model_usable(stop: str) -> None:
    with models.open_tiny() as model:
        expected = answer(model, "Hello")
        for n in (0, 1, 3):
            stream = model.stream("Once", max_tokens=None, grammar=LETTERS)
            pieces = [next(stream) for _ in range(n)]
            match stop:
                case "close":
                    stream.close()  # type: ignore[attr-defined]
                case "drop":
                    del stream
                case "break":
                    for _ in stream:
                        break
                    del stream
                case "throw":
                    with pytest.raises(ZeroDivisionError):
                        stream.throw(ZeroDivisionError())  # type: ignore[attr-defined]
            assert len(pieces) == n
            assert answer(model, "Hello") == expected


@pytest.mark.parametrize("n_streams", [1, 2])
def test_closing_the_model_ends_its_stream(n_streams: int) -> None:
    with models.open_tiny() as model:
        streams = [model.stream("Once", max_tokens=None, grammar=LETTERS) for _ in range(n_streams)]
        next(streams[0])
    with pytest.raises(ModelClosedError):
        model.generate("a")
    assert list(streams[0]) == []


def test_a_stream_that_never_began_holds_nothing() -> None:
    with models.open_tiny() as model:
        expected = answer(model, "Hello")
        stream = model.stream("Once", max_tokens=5, grammar=LETTERS)
        assert answer(model, "Hello") == expected
        assert len("".join(stream)) == 5


def test_a_stream_may_change_threads() -> None:
    with models.open_tiny() as model, ThreadPoolExecutor(1) as pool:
        expected = model.generate("Once", max_tokens=30, grammar=LETTERS).text
        stream = model.stream("Once", max_tokens=30, grammar=LETTERS)
        pieces = [next(stream), pool.submit(next, stream).result(timeout=30), next(stream)]
        pieces += pool.submit(list, stream).result(timeout=30)
        assert "".join(pieces) == expected
        assert model.generate("Once", max_tokens=30, grammar=LETTERS).text == expected


def test_closing_waits_for_the_call_of_another_thread() -> None:
    with models.open_tiny(model=LARGE, n_ctx=2048) as model, ThreadPoolExecutor(1) as pool:
        expected = model.generate([5] * 50, max_tokens=30).tokens
        running = pool.submit(model.generate, [5] * 50, max_tokens=30)
        wait_until(lambda: model._session._calls or running.done())
        model.close()
        assert running.result(timeout=30).tokens == expected
        with pytest.raises(ModelClosedError):
            model.generate("a")


# Ctrl-C

PROGRAM = """
import sys, time
import rys

model = rys.Model(sys.argv[1], n_ctx=8192, n_threads=1)
long = [[5 + i] * 1500 for i in range(40)]
letters = 'root ::= ' + '[a-z]{{2000}} ' * 3
small = lambda: (model.generate([1, 9, 9], max_tokens=5).tokens, model.logits([7, 8]).tolist())
expected = small()
print("ready", flush=True)
try:
    {use}
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
else:
    print("ended by itself", flush=True)
assert small() == expected
print("usable", flush=True)
"""
USES = {
    "prompts": "model.run([rys.NextToken(tokens) for tokens in long])",
    "generations": "model.run([rys.Generate([1, 5 + i], max_tokens=8000) for i in range(64)])",
    "stream": "list(model.stream([1, 5, 6], max_tokens=8000, grammar=letters))",
    "logits": "[model.logits(tokens) for tokens in long]",
    "hidden_states": "[model.hidden_states([5] * 1500) for _ in range(20)]",
}


@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs signals")
@pytest.mark.parametrize("use", USES)
def test_ctrl_c_ends_a_long_call_within_a_second_and_leaves_the_model_usable(use: str) -> None:
    path = models.tiny(**LARGE)
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(use=USES[use]), path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding(signal.SIGINT),
    )
    with program:
        assert program.stdout is not None
        assert program.stderr is not None
        try:
            assert program.stdout.readline() == "ready\n"
            time.sleep(0.4)
            sent = time.time()
            program.send_signal(signal.SIGINT)
            line = program.stdout.readline().split()
            assert line[0] == "interrupted", (line, program.stderr.read())
            assert float(line[1]) - sent < 1.0
            assert program.stdout.readline() == "usable\n", program.stderr.read()
            assert program.wait(timeout=30) == 0
        finally:
            program.kill()


def test_ctrl_c_while_loading(tmp_path: Path) -> None:
    # the signal is raised from within the callback, as loading a small file takes no time
    def interrupt(_: float) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            rys.Model(models.tiny(), progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    models.open_tiny().close()
