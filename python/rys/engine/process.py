"""What becomes of the engine when its process splits or ends.

Only the thread that calls fork() lives on in the child. The threads that llama.cpp computes with
are gone there, but OpenMP goes on waiting for them: a computation would never end. That holds for
every model in the child, also for one that is opened there.

When the interpreter ends, it ends daemon threads where they ask for its lock. Inside of C++ that
calls std::terminate. So whoever computes is let out of C++ before, and computes no more.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol

from rys.errors import EngineError

__all__ = ["check_not_forked", "is_ending", "note_threads", "stop_at_exit"]

_SECONDS = 5.0  # that the end of the process waits for a computation


class _Stoppable(Protocol):
    def stop(self, seconds: float) -> None:
        """Let nobody compute any more, and wait so long for who does."""


_has_threads = False  # in this process, llama.cpp has computed with several threads
_lost_threads = False  # the same of the process that this one was split off from
_is_ending = False
_sessions: weakref.WeakSet[_Stoppable] = weakref.WeakSet()


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


def is_ending() -> bool:
    """Return whether the interpreter is about to end."""
    return _is_ending


def stop_at_exit(session: _Stoppable) -> None:
    """Stop a session before the interpreter ends, if it is still there."""
    _sessions.add(session)


def _after_fork() -> None:
    global _lost_threads, _has_threads
    _lost_threads = _lost_threads or _has_threads
    _has_threads = False
    _sessions.clear()  # no thread of the child computes


def _at_exit() -> None:
    global _is_ending
    _is_ending = True
    for session in list(_sessions):
        session.stop(_SECONDS)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
