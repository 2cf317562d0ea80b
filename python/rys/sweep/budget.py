"""What a sweep may spend: wall time such as "2h", or evaluated tokens such as "500M-tokens"."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from rys.errors import RequestError

__all__ = ["Budget"]

_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_TOKENS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}

_TOKEN_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGB]?)-?tokens")  # such as 500M-tokens
_TIME_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")  # such as 1.5 h


@dataclass
class Budget:
    """What a sweep may spend, and what it has spent. It counts for one run.

    Attributes:
        seconds: The limit of wall time, in seconds; None for no limit.
        tokens: The limit of evaluated tokens; None for no limit.
        started: When the run began, by `time.monotonic`.
        tokens_spent: Evaluated tokens so far.
    """

    seconds: float | None = None
    tokens: float | None = None
    started: float = field(default_factory=time.monotonic)
    tokens_spent: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Budget:
        """Read a budget.

        Args:
            text: Such as "2h", "90min", "30s" or "500M-tokens"; None for no limit.

        Raises:
            RequestError: The text is not a budget.
        """
        if text is None:
            return cls()
        tokens = _TOKEN_BUDGET.fullmatch(text.strip())
        if tokens:
            return cls(tokens=float(tokens[1]) * _TOKENS[tokens[2]])
        duration = _TIME_BUDGET.fullmatch(text.strip())
        if duration:
            return cls(seconds=float(duration[1]) * _SECONDS[duration[2]])
        raise RequestError(
            f"the budget is {text!r}, but must be a time such as 2h, 90min or 30s, or 500M-tokens"
        )

    def is_spent(self, share: float = 1.0) -> bool:
        """Return whether a share of the budget is used up."""
        if self.seconds is not None and time.monotonic() - self.started >= share * self.seconds:
            return True
        return self.tokens is not None and self.tokens_spent >= share * self.tokens
