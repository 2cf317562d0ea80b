"""llama.cpp's log, as records of the logger `rys.llama`."""

from __future__ import annotations

import logging

from rys import _core

logger = logging.getLogger("rys.llama")
logger.addHandler(logging.NullHandler())  # quiet unless the program sets up logging

# ggml's numbers (enum ggml_log_level)
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_ERROR = 4
_NO_LINES = 5  # above all of them


def follow_level() -> None:
    """Tell llama.cpp which lines the logger would show, so that the others cost nothing."""
    level = logger.getEffectiveLevel()
    shown = [ours for ours, theirs in _LEVELS.items() if theirs >= level]
    _core.set_log_level(min(shown, default=_NO_LINES))


def flush() -> None:
    """Pass the lines that were kept since the last call on to the logger."""
    for level, text in _core.drain_log():
        # An error also raises an exception, so its lines are information and not a second error.
        logger.log(logging.INFO if level == _ERROR else _LEVELS[level], "%s", text)
