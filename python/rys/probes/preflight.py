"""Whether a probe can measure: what the baseline's result must be before any comparison."""

from __future__ import annotations

from rys.probes.result import ProbeResult

__all__ = ["MAX_MEAN", "MAX_TRUNCATION", "MIN_PARSE", "preflight"]

# Beyond these limits a difference between two paths says more about the format of the answers, or
# about the ends of the scale, than about the model.
MIN_PARSE = 0.80
MAX_TRUNCATION = 0.10
MAX_MEAN = 0.97


def preflight(result: ProbeResult) -> list[str]:
    """Return the reasons why a probe cannot measure with this model, each with what to change.

    No item may fail. The baseline must parse on at least 80% of the items and be truncated on at
    most 10%. The interval of its score must lie above the best constant answer and above chance,
    and its score must leave room below 0.97.

    Args:
        result: The baseline's result.

    Returns:
        The reasons; empty if the probe can measure.
    """
    reasons = []
    if result.n_failed:
        first = next(error for error in result.errors if error)
        reasons.append(
            f"{result.n_failed} of {result.n} items failed ({first}); "
            f"raise n_ctx or take shorter items"
        )
    if result.truncation_rate > MAX_TRUNCATION:
        reasons.append(
            f"{result.truncation_rate:.0%} of the answers are cut off (at most "
            f"{MAX_TRUNCATION:.0%}): raise the budget (--thinking with --thinking-budget for "
            f"models that think), or take a format without text"
        )
    if result.parse_rate < MIN_PARSE:
        reasons.append(
            f"only {result.parse_rate:.0%} of the answers can be read (at least {MIN_PARSE:.0%}): "
            f"look at them with --show 5, and take another format or tier"
        )
    # The whole interval must lie above: a score that is above by luck measures nothing.
    low, high = result.interval
    if low <= max(result.best_constant, result.chance):
        reasons.append(
            f"the score {result.mean:.3f} [{low:.3f}, {high:.3f}] is not above {_floor(result)}: "
            f"take an easier tier or more items"
        )
    # Written so that a NaN is refused too.
    if not result.mean < MAX_MEAN:
        reasons.append(
            f"the score {result.mean:.3f} leaves no room (below {MAX_MEAN}): take a harder tier"
        )
    return reasons


def _floor(result: ProbeResult) -> str:
    """Name the higher one of the two scores that need no understanding."""
    # Where every guess is a constant both are equal, but for rounding.
    if result.best_constant > result.chance - 1e-9:
        return f"what the constant answer {result.constant} gets ({result.best_constant:.3f})"
    return f"what random answers get ({result.chance:.3f})"
