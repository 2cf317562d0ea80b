"""A scheduler that tests drive step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rys
from rys import _core
from support.checks import check_same


class Driver:
    """A scheduler on the context of a model, and what it has given away."""

    def __init__(self, model: rys.Model) -> None:
        self.model = model
        self.scheduler = _core.Scheduler(model._session.context(), model.n_ctx)
        self.requests: dict[int, _core.Request] = {}
        self.results: dict[int, Any] = {}
        self.n_free = self.free

    @property
    def free(self) -> tuple[int, int]:
        return self.scheduler.n_cells_free, self.scheduler.n_seqs_free

    def insert(self, requests: Sequence[Any], *, cache_prompt: bool = False) -> list[int]:
        prepared = self.model.prepare(requests)
        ids = self.scheduler.insert(prepared, cache_prompt)
        self.requests.update(zip(ids, prepared, strict=True))
        return ids

    def step(self, n: int = 1) -> None:
        for _ in range(n):
            self.scheduler.advance(0.0)
            self.collect()

    def finish(self) -> None:
        while not self.scheduler.advance(1.0):
            pass
        self.collect()

    def collect(self) -> None:
        while (done := self.scheduler.next()) is not None:
            request, core = done
            assert request not in self.results
            self.results[request] = self.model._convert(self.requests[request], core)

    def check_empty(self) -> None:
        """Check that nothing is kept, and that cells and sequences are all free."""
        assert self.free == self.n_free
        assert self.scheduler.n_kept == 0


def check_single(driver: Driver, ids: Sequence[int], requests: Sequence[Any]) -> None:
    """Compare results with those of single runs: the oracle."""
    for request, given in zip(ids, requests, strict=True):
        check_same(driver.results[request], driver.model.run([given])[0])
