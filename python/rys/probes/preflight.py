"""Whether a probe can measure: what is asked of the baseline's result before any comparison."""

from __future__ import annotations

from rys.probes.result import ProbeResult

__all__ = ["MAX_MEAN", "MAX_TRUNCATION", "MIN_PARSE", "preflight"]

MIN_PARSE = 0.80
MAX_TRUNCATION = 0.10
MAX_MEAN = 0.97


def preflight(result: ProbeResult) -> list[str]:
    """Return the reasons why a probe cannot measure with this model, each with what to change; none
    if it can.

    The baseline must parse on at least 80% and be truncated on at most 10% of the items, the
    interval of its score must lie above the best constant answer and above chance, and its score
    must leave room below 0.97.
    """
    reasons = []
    if result.n_failed:
        first = next(error for error in result.errors if error)
        reasons.append(
            f"{result.n_failed} of {result.n} items failed ({first}); raise n_ctx or take shorter items"
        )
    if result.truncation_rate > MAX_TRUNCATION:
        reasons.append(
            f"{result.truncation_rate:.0%} of the answers are cut off (at most {MAX_TRUNCATION:.0%}): "
            f"raise the budget (--thinking with --thinking-budget for models that think), or take a format without text"
        )
    if result.parse_rate < MIN_PARSE:
        reasons.append(
            f"only {result.parse_rate:.0%} of the answers can be read (at least {MIN_PARSE:.0%}): "
            f"look at them with --show 5, and take another format or tier"
        )
    low, high = result.interval
    if low <= max(result.best_constant, result.chance):
        if (
            result.best_constant > result.chance - 1e-9
        ):  # they are equal but for rounding where a guess is the constant
            floor = f"what the constant answer {result.constant} gets ({result.best_constant:.3f})"
        else:
            floor = f"what random answers get ({result.chance:.3f})"
        reasons.append(
            f"the score {result.mean:.3f} [{low:.3f}, {high:.3f}] is not above {floor}: "
            f"take an easier tier or more items"
        )
    if not result.mean < MAX_MEAN:
        reasons.append(
            f"the score {result.mean:.3f} leaves no room (below {MAX_MEAN}): take a harder tier"
        )
    return reasons
