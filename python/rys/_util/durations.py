"""Times for people."""

from __future__ import annotations

import time

__all__ = ["end_time", "format_duration"]

_DAY = 86400.0


def format_duration(seconds: float) -> str:
    """Return a time in its two largest units: "42.0 s", "7 min", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.1f} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def end_time(seconds: float) -> str:
    """Return the time of day when so many seconds have passed, with the day if it is far."""
    end = time.localtime(time.time() + seconds)
    return time.strftime("%H:%M" if seconds < _DAY else "%a %d %b %H:%M", end)
