"""How long a sweep may take: "2h", "90min", "30s" of wall time, or "500M-tokens" evaluated."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from rys.errors import RequestError

__all__ = ["Budget"]

_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_TOKENS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}


@dataclass
class Budget:
    """Count what a sweep spends. seconds, tokens: the limit; None = none."""

    seconds: float | None = None
    tokens: float | None = None
    started: float = field(default_factory=time.monotonic)
    tokens_spent: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Budget:
        """Read a budget. Raises RequestError for what is none."""
        if text is None:
            return cls()
        match = re.fullmatch(
            r"(\d+(?:\.\d+)?)\s*([kMGB]?)-?tokens|(\d+(?:\.\d+)?)\s*(s|min|m|h|d)", text.strip()
        )
        if match and match[1]:
            return cls(tokens=float(match[1]) * _TOKENS[match[2]])
        if match:
            return cls(seconds=float(match[3]) * _SECONDS[match[4]])
        raise RequestError(
            f"the budget is {text!r}, but must be a time such as 2h, 90min or 30s, or 500M-tokens"
        )

    def is_spent(self, share: float = 1.0) -> bool:
        """Return whether a share of the budget is used up."""
        if self.seconds is not None and time.monotonic() - self.started >= share * self.seconds:
            return True
        return self.tokens is not None and self.tokens_spent >= share * self.tokens
