"""What a user can do about a path that no copy expresses: the ends of the refusals' messages."""

from __future__ import annotations

__all__ = [
    "EVERY_KIND",
    "OTHER_COUNT",
    "OWN_ORDER",
    "START_AT_0",
    "USE_RYS",
    "WHOLE_PERIODS",
]

USE_RYS = "run the path in rys itself, which needs no copy: rys.Model(file, layer_path=...)"
OWN_ORDER = "only the file's own order can be copied"
EVERY_KIND = "visit at least one layer of each kind"
START_AT_0 = "begin the path with layer 0"
WHOLE_PERIODS = "repeat or skip blocks as long as the pattern of its layers"
OTHER_COUNT = "take another number of slots"
