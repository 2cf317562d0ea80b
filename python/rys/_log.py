"""llama.cpp's log, as records of the logger `rys.llama`."""

from __future__ import annotations

import logging

from rys import _core

logger = logging.getLogger("rys.llama")
logger.addHandler(logging.NullHandler())  # quiet unless the program sets up logging

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}


def follow_level() -> None:
    """Tell llama.cpp which lines the logger would show, so that the others cost nothing."""
    level = logger.getEffectiveLevel()
    _core.set_log_level(
        min((ours for ours, theirs in _LEVELS.items() if theirs >= level), default=5)
    )


def flush() -> None:
    """Hand the lines that were kept since the last call to the logger."""
    for level, text in _core.drain_log():
        # An error is raised as an exception by whoever saw it; as a log record it would be told
        # twice.
        logger.log(min(_LEVELS[level], logging.INFO) if level == 4 else _LEVELS[level], "%s", text)
