"""A sweep's results on disk: one SQLite file with the score of every item.

Every measured part of a candidate is one transaction, so that a kill at any moment loses at most
what was in flight.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rys.errors import StoreError
from rys.layer_path import LayerPath, LayerPathLike
from rys.probes.base import Item
from rys.sweep import opening, schema
from rys.sweep.lock import Lock
from rys.sweep.opening import SQLITE_MAGIC
from rys.sweep.record import RecordError, from_json, to_json
from rys.sweep.settings import ConfirmationPlan, Progress, SweepOptions, SweepSettings
from rys.sweep.trial import MeasuredItems, Role, Stage, Status, Trial

__all__ = ["SQLITE_MAGIC", "Store", "StoreError"]

Record = TypeVar("Record")


class Store:
    """The file of one sweep, open for reading or for writing.

    Use `create` or `open`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: Lock | None = None):
        self.path = path
        self._connection = connection
        self._lock = lock
        self._n_layer: int | None = None
        if lock is not None:
            connection.execute("PRAGMA foreign_keys = ON")
            # What is committed survives a kill of the process. A power cut may take the last few
            # candidates; waiting for the disk each time would take longer than small models do.
            connection.execute("PRAGMA synchronous = NORMAL")

    @classmethod
    def create(
        cls,
        path: Path,
        settings: SweepSettings,
        options: SweepOptions,
        progress: Progress | None = None,
    ) -> Store:
        """Make a new file.

        Args:
            path: The file.
            settings: What must agree when it is resumed.
            options: What this run was told.
            progress: What was found out already; None for nothing.

        Raises:
            StoreError: The file exists, cannot be written, or could not be read again.
        """
        if path.exists():
            raise StoreError(f"{path} exists already; resume it, or give another file name")
        documents = (settings, options, progress or Progress())
        for record in documents:
            try:
                from_json(type(record), to_json(record))
            except RecordError as error:
                raise StoreError(f"{path}: cannot keep these settings: {error}") from None
        lock = Lock(path)
        # Under another name until it is whole: a kill leaves either no sweep or one that can be
        # resumed.
        draft = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            draft.unlink(missing_ok=True)
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                tables = "; ".join(schema.statements())
                connection.executescript(
                    f"PRAGMA application_id = {schema.APPLICATION_ID}; BEGIN; {tables};"
                    f"PRAGMA user_version = {schema.SCHEMA_VERSION}; COMMIT;"
                )
                cls(draft, connection).write(*documents)
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()  # all of it is in the one file now
            draft.rename(path)
        except BaseException as error:  # Ctrl-C as well
            lock.release()
            if not isinstance(error, (sqlite3.Error, OSError)):
                raise
            draft.unlink(missing_ok=True)
            raise StoreError(f"{path}: cannot be written: {error}") from None
        return cls(path, sqlite3.connect(path, isolation_level=None), lock)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Store:
        """Open a file.

        A file of an older version is brought to today's: in the file if it is opened for writing,
        else in a copy in memory, which does not see what is written to the file later.

        Args:
            path: The file.
            read_only: Open it even while another process writes it. Otherwise it belongs to this
                process until it is closed.

        Raises:
            StoreError: It is damaged, foreign, in use, or newer than this rys. Nothing was changed.
        """
        opening.check_header(path)
        copy = opening.check_content(path)
        if read_only:
            return cls(path, copy or opening.connect_reader(path))
        if copy is not None:
            copy.close()
        lock = Lock(path)
        try:
            connection = opening.connect_writer(path)
        except BaseException:  # Ctrl-C as well
            lock.release()
            raise
        return cls(path, connection, lock)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with opening.transaction(self.path, self._connection):
            yield self._connection

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from None

    @property
    def state(self) -> tuple[int, int]:
        """Numbers that change whenever the file does, by this connection or another."""
        return self._connection.total_changes, self._rows("PRAGMA data_version")[0][0]

    # Documents

    @property
    def settings(self) -> SweepSettings:
        """What must agree when the sweep is resumed."""
        return self._required("settings", SweepSettings)

    @property
    def options(self) -> SweepOptions:
        """What the latest run was told."""
        return self._required("options", SweepOptions)

    @property
    def progress(self) -> Progress:
        """How far the sweep has come."""
        return self._required("progress", Progress)

    @property
    def confirmation_plan(self) -> ConfirmationPlan | None:
        """What the confirmation evaluates; None before it was planned."""
        return self._document("confirmation", ConfirmationPlan)

    def _required(self, key: str, kind: type[Record]) -> Record:
        record = self._document(key, kind)
        if record is None:
            raise StoreError(f"{self.path} is damaged: it has no {key}")
        return record

    def _document(self, key: str, kind: type[Record]) -> Record | None:
        try:
            return schema.read_document(self._connection, key, kind)
        except RecordError as error:
            raise StoreError(f"{self.path} is damaged: {error}") from None
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from None

    def write(self, *records: Any) -> None:
        """Write documents, in one transaction.

        Args:
            records: SweepSettings, SweepOptions, Progress or ConfirmationPlan.
        """
        with self._transaction() as connection:
            schema.write_documents(connection, records)

    # Items and trials

    def leave_out(self, stage: Stage, probes: Iterable[str], *records: Any) -> None:
        """Forget the items and scores of probes, and write documents in the same transaction.

        Args:
            stage: The stage.
            probes: Ids of the probes.
            records: As for `write`.
        """
        with self._transaction() as connection:
            for probe in probes:
                connection.execute(
                    "DELETE FROM score WHERE probe = ?"
                    " AND trial IN (SELECT id FROM trial WHERE stage = ?)",
                    (probe, stage),
                )
                connection.execute("DELETE FROM item WHERE probe = ? AND stage = ?", (probe, stage))
            schema.write_documents(connection, records)

    def add_items(self, stage: Stage, probe: str, items: Sequence[Item]) -> None:
        """Write the items of a probe, if they are not there yet."""
        rows = []
        for position, item in enumerate(items):
            family = str(item.tags.get("family", ""))
            tags, prompt = json.dumps(dict(item.tags)), json.dumps(item.prompt, default=list)
            names = (_storable(item.id), item.content_hash, _storable(family), tags, prompt)
            rows.append((stage, probe, position, *names, _storable(str(item.scorer.target))))
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (stage, probe, position) DO NOTHING",
                rows,
            )

    def item_hashes(self, stage: Stage) -> dict[str, list[str]]:
        """Return the content hashes of a stage's items, by probe."""
        found: dict[str, list[str]] = {}
        query = "SELECT probe, hash FROM item WHERE stage = ? ORDER BY probe, position"
        for probe, content_hash in self._rows(query, (stage,)):
            found.setdefault(probe, []).append(content_hash)
        return found

    def items(self, stage: Stage) -> list[tuple[str, int, str, str]]:
        """Return probe, position, id and family of a stage's items, in the order of `scores`."""
        query = (
            "SELECT probe, position, id, family FROM item WHERE stage = ? ORDER BY probe, position"
        )
        return self._rows(query, (stage,))

    def trials(self, stage: Stage) -> list[Trial]:
        """Return the trials of a stage, in the order in which they began."""
        query = (
            "SELECT id, role, path, status, reason, n_items, seconds, tokens FROM trial"
            " WHERE stage = ? ORDER BY id"
        )
        n_layer = self._layers()
        found = []
        for number, role, path, status, *rest in self._rows(query, (stage,)):
            trial = Trial(number, Stage(stage), Role(role), path, n_layer, Status(status), *rest)
            found.append(trial)
        return found

    def _layers(self) -> int:
        if self._n_layer is None:  # settings never change
            self._n_layer = self.settings.n_layer
        return self._n_layer

    def save(
        self,
        stage: Stage,
        role: Role,
        layer_path: LayerPathLike,
        measured: Mapping[str, MeasuredItems],
        start: int,
        status: Status,
        reason: str = "",
    ) -> None:
        """Add what was measured of a path, in one transaction.

        Args:
            stage: The stage.
            role: What the path is tried for.
            layer_path: The path.
            measured: Scores by probe; empty if the path failed as a whole.
            start: Position of the first items of `measured`.
            status: How far the path has come with these.
            reason: Why it failed.
        """
        path = str(LayerPath(layer_path, self._layers()))
        n_items = start + max([len(part.scores) for part in measured.values()], default=0)
        seconds = sum([part.seconds for part in measured.values()], 0.0)
        tokens = sum([part.n_evaluated_tokens for part in measured.values()])
        with self._transaction() as connection:
            # Parts of one path add up: a race measures it in several.
            connection.execute(
                "INSERT INTO trial (stage, role, path, status, reason, n_items, seconds, tokens)"
                " VALUES (?, ?, ?, ?, ?, 0, 0.0, 0) ON CONFLICT (stage, path) DO NOTHING",
                (stage, role, path, status, _storable(reason)),
            )
            connection.execute(
                "UPDATE trial SET status = ?, reason = ?, n_items = max(n_items, ?),"
                " seconds = seconds + ?, tokens = tokens + ? WHERE stage = ? AND path = ?",
                (status, _storable(reason), n_items, seconds, tokens, stage, path),
            )
            (trial,) = connection.execute(
                "SELECT id FROM trial WHERE stage = ? AND path = ?", (stage, path)
            ).fetchone()
            for probe, part in measured.items():
                _save_scores(connection, trial, probe, start, part)

    def set_status(
        self, stage: Stage, reasons: Mapping[str, str], status: Status, *records: Any
    ) -> None:
        """Give trials of a stage another status, and write documents in the same transaction.

        Args:
            stage: The stage.
            reasons: Why, by the path as the file writes it.
            status: The new status of all of them.
            records: As for `write`.
        """
        rows = [(status, reason, stage, path) for path, reason in reasons.items()]
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE trial SET status = ?, reason = ? WHERE stage = ? AND path = ?", rows
            )
            schema.write_documents(connection, records)

    def keep_trials(self, stage: Stage, roles: Mapping[str, Role]) -> None:
        """Forget the trials of a stage whose paths are not wanted any more.

        Args:
            stage: The stage.
            roles: By path, the roles of those that stay.
        """
        with self._transaction() as connection:
            for trial in self.trials(stage):
                if trial.path not in roles:
                    connection.execute("DELETE FROM score WHERE trial = ?", (trial.id,))
                    connection.execute("DELETE FROM trial WHERE id = ?", (trial.id,))
            connection.executemany(
                "UPDATE trial SET role = ? WHERE stage = ? AND path = ?",
                [(role, stage, path) for path, role in roles.items()],
            )

    def scores(self, stage: Stage, what: str = "score") -> dict[int, npt.NDArray[np.float64]]:
        """Return what was measured of a stage's items.

        Args:
            stage: The stage.
            what: "score", "parsed" or "truncated".

        Returns:
            By the number of the trial, float64 [N] in the order of `items`; NaN where an item was
            not evaluated.
        """
        if what not in ("score", "parsed", "truncated"):
            raise StoreError(f"what is {what!r}, but must be score, parsed or truncated")
        # Scores are read by number of the trial, items by probe; this joins them.
        place: dict[tuple[str, int], int] = {}
        for probe, position, _, _ in self.items(stage):
            place[probe, position] = len(place)
        found: dict[int, npt.NDArray[np.float64]] = {}
        query = (
            f"SELECT trial, probe, position, {what} FROM score"
            " WHERE trial IN (SELECT id FROM trial WHERE stage = ?) ORDER BY trial"
        )
        for trial, probe, position, value in self._rows(query, (stage,)):
            if trial not in found:
                found[trial] = np.full(len(place), np.nan)
            if (probe, position) in place:
                found[trial][place[probe, position]] = value
        return found

    def answers(self, trial: int) -> dict[str, list[str]]:
        """Return the answers of a trial by probe, in the order of `items`."""
        found: dict[str, list[str]] = {}
        query = "SELECT probe, answer FROM score WHERE trial = ? ORDER BY probe, position"
        for probe, answer in self._rows(query, (trial,)):
            found.setdefault(probe, []).append(answer)
        return found

    def item_rows(self) -> list[dict[str, Any]]:
        """Return one row for every evaluated item; the names are the keys."""
        columns = {
            "stage": "t.stage",
            "role": "t.role",
            "path": "t.path",
            "probe": "s.probe",
            "item": "i.id",
            "family": "i.family",
            "prompt": "i.prompt",
            "target": "i.target",
            "score": "s.score",
            "parsed": "s.parsed",
            "truncated": "s.truncated",
            "answer": "s.answer",
        }
        query = (
            f"SELECT {', '.join(columns.values())} FROM score s JOIN trial t ON t.id = s.trial"
            " JOIN item i ON i.stage = t.stage AND i.probe = s.probe AND i.position = s.position"
            " ORDER BY t.id, s.probe, s.position"
        )
        return [dict(zip(columns, row, strict=True)) for row in self._rows(query)]


def _save_scores(
    connection: sqlite3.Connection, trial: int, probe: str, start: int, part: MeasuredItems
) -> None:
    n = len(part.scores)
    rows = zip(
        [trial] * n,
        [probe] * n,
        range(start, start + n),
        part.scores.tolist(),
        map(int, part.parsed),
        map(int, part.truncated),
        map(_storable, part.answers),
        strict=True,
    )
    connection.executemany("INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _storable(text: str) -> str:
    """Return a text as UTF-8 can hold it: half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
