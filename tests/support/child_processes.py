"""What tests need to start other processes."""

from __future__ import annotations

import signal
from collections.abc import Callable


def heeding(number: int) -> Callable[[], object]:
    """Return a `preexec_fn` of `subprocess`: the child heeds the signal even where the tests
    themselves ignore it.

    Processes inherit that, and what a shell runs in the background ignores SIGINT, what nohup runs
    SIGHUP.
    """
    return lambda: signal.signal(number, signal.SIG_DFL)
