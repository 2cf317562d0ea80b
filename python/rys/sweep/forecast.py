"""How long a search takes, from the time of the baseline: told beforehand, and while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rys import statistics
from rys._util.durations import end_time, format_duration
from rys.layer_path import LayerPath
from rys.sweep.candidates import repeated_block
from rys.sweep.confirm import MAX_CONFIRM_ITEMS, MIN_CONFIRM_ITEMS, POWER
from rys.sweep.stage_scores import baseline_scores
from rys.sweep.store import Store
from rys.sweep.strategies import STRATEGIES
from rys.sweep.trial import Role, Stage, Status

__all__ = ["Clock", "Forecast", "RoundCosts", "Shorter", "make_forecast", "round_costs"]

# The share of a round's candidates that go on to the next. With a half, a race of 57 candidates
# asks 20% of the items that it could; races with a planted block asked 22% to 27%.
SURVIVAL = 0.5
LONG = 3600.0  # seconds after which a sweep without a budget says so first
_WORTH_SHORTENING = 60.0  # seconds


@dataclass(frozen=True)
class RoundCosts:
    """What the rounds of a search cost along the file's own order.

    Attributes:
        looks: Items of each probe after which each round ends.
        seconds: Time of the model for each round, in seconds.
        n_layer: Layers of the model.
    """

    looks: tuple[int, ...]
    seconds: tuple[float, ...]
    n_layer: int

    def of(
        self, path: LayerPath, n_done: int = 0, survival: float = 1.0, least: float = 0
    ) -> float:
        """Return the expected time of a path's rounds that are left, in seconds.

        Args:
            path: The path. Its time is taken to grow with its slots.
            n_done: Items of each probe that it has answered.
            survival: The probability to go on to the next round.
            least: The least probability to be in any round.
        """
        chance, total = 1.0, 0.0
        for look, seconds in zip(self.looks, self.seconds, strict=True):
            if look > n_done:
                total += max(chance, least) * seconds
                chance *= survival
        return total * path.n_slot / self.n_layer

    def until(self, n_items: int) -> RoundCosts:
        """Return the costs of a search with fewer items."""
        looks, seconds, start = [], [], 0
        for look, cost in zip(self.looks, self.seconds, strict=True):
            stop = min(look, n_items)
            if stop > start:
                looks.append(stop)
                seconds.append(cost * (stop - start) / (look - start))
            start = look
        return RoundCosts(tuple(looks), tuple(seconds), self.n_layer)


def round_costs(store: Store) -> RoundCosts:
    """Return what the rounds of a sweep's search cost, from its baseline.

    Args:
        store: The sweep's file, with the baseline and what rounding does to it.
    """
    settings, rounding = store.settings, store.progress.rounding
    assert rounding is not None  # it is measured before anything is forecast
    n_items = rounding.ends[-1]
    looks = tuple(STRATEGIES[settings.strategy].looks(n_items))
    baseline = next(t for t in store.trials(Stage.SEARCH) if t.role == Role.BASELINE)
    if looks == rounding.ends:
        seconds = rounding.seconds
    else:
        # The first time may have read the weights from the disk, the parts may have evaluated a
        # common beginning several times.
        whole = min(baseline.seconds, sum(rounding.seconds))
        ends = (0, *looks)
        spans = zip(ends, looks, strict=False)
        seconds = tuple([whole * (end - start) / n_items for start, end in spans])
    return RoundCosts(looks, seconds, settings.n_layer)


@dataclass(frozen=True)
class Shorter:
    """A sweep that takes less time.

    Attributes:
        option: The option of `rys sweep` and of rys.Sweep or rys.space.blocks.
        value: Its value.
        seconds: Time that the search probably takes then, in seconds.
    """

    option: str
    value: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """How long a search and its confirmation take.

    Attributes:
        n_candidates: Candidates that are not measured to the end, of the first phase.
        more_follow: Whether further phases choose more.
        at_most: Seconds of the search if no candidate is eliminated.
        probably: Seconds of the search if about half are eliminated at each look.
        confirm_at_most: Seconds of the confirmation with the most items; 0 for none.
        confirm_probably: Seconds with the items that the spread of the baseline's scores asks for.
        shorter: Sweeps that take less time.
        budget: What the run may spend; None for no limit.
    """

    n_candidates: int
    more_follow: bool
    at_most: float
    probably: float
    confirm_at_most: float
    confirm_probably: float
    shorter: tuple[Shorter, ...]
    budget: str | None

    def lines(self) -> list[str]:
        """Return the forecast for people."""
        lines = []
        longest = self.at_most + self.confirm_at_most
        if longest > LONG and self.budget is None:
            lines.append(
                f"This sweep may take {format_duration(longest)}, and no --budget limits it. "
                f"Ctrl-C loses nothing: a sweep can be resumed."
            )
        more = ", and more that follow from them" if self.more_follow else ""
        noun = "candidate" if self.n_candidates == 1 else "candidates"
        lines.append(
            f"{self.n_candidates:,} {noun}{more}: at most {format_duration(self.at_most)}, "
            f"probably about {format_duration(self.probably)}"
        )
        if self.confirm_at_most:
            lines[-1] += (
                f"; then the confirmation, at most {format_duration(self.confirm_at_most)}, "
                f"probably about {format_duration(self.confirm_probably)}"
            )
        if self.shorter and self.probably > _WORTH_SHORTENING:
            named = []
            for sweep in self.shorter:
                flag = f"--{sweep.option} {sweep.value}"
                named.append(f"{flag} (search about {format_duration(sweep.seconds)})")
            lines.append(f"A shorter sweep: {' or '.join(named)}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the fields; times are in seconds."""
        return asdict(self)


def make_forecast(
    store: Store, candidates: Sequence[LayerPath], *, more_follow: bool, to_confirm: bool
) -> Forecast:
    """Return how long the search of some candidates takes.

    Args:
        store: The sweep's file, with the baseline and what rounding does to it.
        candidates: The candidates of the first phase.
        more_follow: Whether further phases choose more.
        to_confirm: Whether a confirmation follows.
    """
    options, costs = store.options, round_costs(store)
    left = _left(store, candidates)
    least = min(1.0, options.top / max(1, len(left)))
    n_slot = max([path.n_slot for path in left], default=costs.n_layer)
    at_most = probably = 0.0
    if to_confirm:
        n_top = max(1, min(options.top, len(candidates)))
        at_most, probably = _confirmation(store, costs, n_slot, n_top)
    return Forecast(
        n_candidates=len(left),
        more_follow=more_follow,
        at_most=sum([costs.of(path, n) for path, n in left.items()], 0.0),
        probably=_probably(costs, left, least),
        confirm_at_most=at_most,
        confirm_probably=probably,
        shorter=tuple(_shorter_sweeps(costs, left, least)),
        budget=options.budget,
    )


def _probably(costs: RoundCosts, left: Mapping[LayerPath, int], least: float) -> float:
    return sum([costs.of(path, n, SURVIVAL, least) for path, n in left.items()], 0.0)


def _left(store: Store, candidates: Sequence[LayerPath]) -> dict[LayerPath, int]:
    """Return the candidates that are not measured to the end, with the items they answered."""
    trials = {trial.path: trial for trial in store.trials(Stage.SEARCH)}
    left = {}
    for path in candidates:
        trial = trials.get(str(path))
        if trial is None:
            left[path] = 0
        elif trial.status == Status.PARTIAL:
            left[path] = trial.n_items
    return left


def _confirmation(store: Store, costs: RoundCosts, n_slot: int, n_top: int) -> tuple[float, float]:
    """Return the seconds of the confirmation of n_top paths: at most, and probably."""
    n_paths = 1 + n_top + max(3, n_top)
    seconds = n_paths * n_slot / costs.n_layer * sum(costs.seconds) / costs.looks[-1]
    # Differences to the baseline vary about as much as its own scores: both items' scores vary,
    # but they go together.
    by_probe = baseline_scores(store, "score")
    scores = np.concatenate(list(by_probe.values()))
    names = [probe for probe, values in by_probe.items() for _ in values]
    weights = statistics.weights_of(names)
    deviation = float(statistics.deviations_of(scores[None], weights)[0])
    needed = statistics.items_needed(deviation, store.options.min_effect, n_top, POWER)
    of_each = math.ceil(needed / len(by_probe))
    n_items = max(MIN_CONFIRM_ITEMS, min(MAX_CONFIRM_ITEMS, of_each))
    return seconds * MAX_CONFIRM_ITEMS, seconds * n_items


def _shorter_sweeps(
    costs: RoundCosts, left: Mapping[LayerPath, int], least: float
) -> list[Shorter]:
    """Return the same sweep with a quarter of the items, and with every second start of blocks."""
    found = []
    fewer = max(16, costs.looks[-1] // 4)
    if fewer < costs.looks[-1]:
        found.append(Shorter("items", fewer, _probably(costs.until(fewer), left, least)))
    blocks = [repeated_block(path) for path in left]
    starts = sorted({block[0] for block in blocks if block is not None})
    if None not in blocks and len(starts) > 2:
        stride = 2 * math.gcd(*[start - starts[0] for start in starts])
        kept = {}
        for (path, n), block in zip(left.items(), blocks, strict=True):
            if block is not None and (block[0] - starts[0]) % stride == 0:
                kept[path] = n
        found.append(Shorter("stride", stride, _probably(costs, kept, least)))
    return found


class Clock:
    """When a phase of the search ends, from how long its candidates took so far.

    Args:
        costs: The costs of the rounds.
    """

    def __init__(self, costs: RoundCosts) -> None:
        self._costs = costs
        self._expected = 0.0
        self._taken = 0.0
        self._left = 0.0
        self._mark = time.monotonic()

    def start_round(self, running: Mapping[LayerPath, int], least: float) -> None:
        """Begin a round.

        Args:
            running: The candidates of the round, with the items that they answered.
            least: The least part of them that goes on to any round.
        """
        self._left = _probably(self._costs, running, least)
        self._mark = time.monotonic()

    def measured(self, path: LayerPath, n_before: int, look: int) -> None:
        """Take note of a candidate that was measured just now, up to a look."""
        now = time.monotonic()
        expected = self._costs.until(look).of(path, n_before)
        self._expected += expected
        self._taken += now - self._mark
        self._left = max(0.0, self._left - expected)
        self._mark = now

    @property
    def end(self) -> str:
        """The time of day when the phase probably ends."""
        # The machine may be busier, or cooler, than it was with the baseline.
        pace = self._taken / self._expected if self._expected else 1.0
        return end_time(self._left * pace)
