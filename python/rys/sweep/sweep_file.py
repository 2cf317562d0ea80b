"""The file of a sweep, for reading: table, best path, report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rys.layer_path import LayerPath
from rys.sweep import analysis
from rys.sweep.report import SweepReport, make_report
from rys.sweep.settings import SweepOptions, SweepSettings
from rys.sweep.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Self

__all__ = ["SweepFile"]

Value = TypeVar("Value")


class SweepFile:
    """The results of a sweep, while it runs or afterwards. No model is needed.

    What is computed from the whole file is computed once for each state of the file.

    Args:
        store: The file, which is closed with this object.
    """

    is_imported = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._computed: dict[Any, Any] = {}
        self._state: tuple[int, int] | None = None

    @staticmethod
    def open(path: str | os.PathLike[str]) -> SweepFile:
        """Open the file of a sweep for reading.

        Raises:
            StoreError: The file is damaged, foreign, or newer than this rys. Nothing was changed.
        """
        return SweepFile(Store.open(Path(path), read_only=True))

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._store.path

    @property
    def settings(self) -> SweepSettings:
        """What all results of the sweep depend on."""
        return self._store.settings

    @property
    def options(self) -> SweepOptions:
        """What the latest run was told."""
        return self._store.options

    @property
    def n_layer(self) -> int:
        """Layers of the model."""
        return self.settings.n_layer

    @property
    def model(self) -> str | None:
        """The model's file, as it was named when the sweep ran."""
        return self.options.model

    def results(self, probe: str | None = None) -> pd.DataFrame:
        """Return one row per candidate, best first.

        `rys.sweep.analysis.search` describes the columns.

        Args:
            probe: The probe that effect, interval, p and q are about; None for all, each with the
                same weight.
        """
        return self._search(probe).frame.copy()  # what a user does to it stays there

    def items(self) -> pd.DataFrame:
        """Return one row per evaluated item.

        The columns are stage, role, path, probe, item, family, prompt, target, score, parsed,
        truncated and answer.
        """
        import pandas as pd

        return pd.DataFrame(self._store.item_rows())

    def pareto(self) -> pd.DataFrame:
        """Return the candidates that no other beats in gain with as few extra slots."""
        return analysis.pareto_front(self.results())

    @property
    def best(self) -> LayerPath | None:
        """The best confirmed path, else the best of the search; None if nothing was measured."""
        best = self.report().best
        return None if best is None else LayerPath(best.layer_path, self.n_layer)

    def report(self) -> SweepReport:
        """Return what the sweep says so far."""
        return self._once("report", self._make_report)

    def _make_report(self) -> SweepReport:
        return make_report(self._store, self._search(None), analysis.confirmation(self._store))

    def _search(self, probe: str | None) -> analysis.Search:
        return self._once(("search", probe), lambda: analysis.search(self._store, probe))

    def _once(self, key: Any, compute: Callable[[], Value]) -> Value:
        """Return a value that is computed once for each state of the file."""
        # Another process may write the file meanwhile, so its state is asked for each time.
        state = self._store.state
        if state != self._state:
            self._computed.clear()
            self._state = state
        if key not in self._computed:
            self._computed[key] = compute()
        found: Value = self._computed[key]
        return found

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
