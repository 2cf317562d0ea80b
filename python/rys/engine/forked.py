"""Processes that were split off by fork(), where the threads of llama.cpp are missing.

Only the thread that calls fork() lives on in the child. The threads that llama.cpp computes with
are gone there, but OpenMP goes on waiting for them: a computation would never end. That holds for
every model in the child, also for one that is opened there.
"""

from __future__ import annotations

import os

from rys.errors import EngineError

__all__ = ["check_not_forked", "note_threads"]

_has_threads = False  # in this process, llama.cpp has computed with several threads
_lost_threads = False  # the same of the process that this one was split off from


def note_threads(n_threads: int) -> None:
    """Remember that llama.cpp computes with so many threads."""
    global _has_threads
    _has_threads = _has_threads or n_threads > 1


def check_not_forked() -> None:
    """Raise EngineError where a computation would wait for threads that do not exist."""
    if _lost_threads:
        raise EngineError(
            "this process was split off by fork() after its parent had computed with several "
            "threads, which do not exist here; start it with spawn, as in "
            'multiprocessing.get_context("spawn"), or let the parent compute only with '
            "n_threads=1 before it forks"
        )


def _after_fork() -> None:
    global _lost_threads, _has_threads
    _lost_threads = _lost_threads or _has_threads
    _has_threads = False


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
