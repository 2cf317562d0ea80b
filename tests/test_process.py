"""Processes that end or split while a model is open."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.support import models

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork() here")

# The parent computes, then forks; the child prints what comes of its own computation.
PROGRAM = """
import os, signal, sys
import rys
from rys.errors import EngineError

path, n_threads, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
model = rys.Model(path, n_ctx=64, n_threads=n_threads)
stream = model.stream([1, 2, 3], max_tokens=20)
if how != "unused":
    next(stream)
pid = os.fork()
if pid == 0:
    signal.alarm(20)  # a computation that waits for ever ends the child
    try:
        if how == "new":
            model = rys.Model(path, n_ctx=64, n_threads=n_threads)
        if how == "close":
            model.close()
        elif how != "exit":
            model.generate([1, 2, 3], max_tokens=2)
        print("done", flush=True)
    except EngineError as error:
        print("EngineError", "spawn" in str(error), flush=True)
    sys.exit(0)
status = os.waitpid(pid, 0)[1]
model.generate([1, 2, 3], max_tokens=2)  # the parent goes on
print("parent", status)
"""


def fork(n_threads: int, how: str) -> list[str]:
    """Return the lines of a child and its parent."""
    command = [sys.executable, "-c", PROGRAM, str(models.tiny()), str(n_threads), how]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("how", ["same", "new"])
def test_a_child_of_a_process_with_threads_is_told_to_spawn(how: str) -> None:
    assert fork(2, how) == ["EngineError True", "parent 0"]


@pytest.mark.parametrize("how", ["close", "exit"])
def test_a_child_of_a_process_with_threads_can_end(how: str) -> None:
    assert fork(2, how) == ["done", "parent 0"]


@pytest.mark.parametrize(("n_threads", "how"), [(1, "same"), (1, "new"), (2, "unused")])
def test_a_child_without_lost_threads_computes(n_threads: int, how: str) -> None:
    assert fork(n_threads, how) == ["done", "parent 0"]


def test_a_process_ends_while_a_thread_computes_and_a_stream_is_open() -> None:
    program = (
        "import sys, threading, time, rys\n"
        "model = rys.Model(sys.argv[1], n_ctx=2048, n_threads=2)\n"
        "stream = model.stream([1, 2, 3], max_tokens=1000)\n"
        "next(stream)\n"
        "work = lambda: model.generate([1, 2], max_tokens=1000)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.2)\n"
    )
    command = [sys.executable, "-c", program, str(models.tiny())]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
