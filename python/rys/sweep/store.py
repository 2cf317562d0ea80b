"""A sweep's results on disk: one SQLite file, item scores and all that is needed to repeat or doubt
them.

Every measured part of a candidate is one transaction, so that a kill at any moment loses at most
what was in flight.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rys.errors import StoreError
from rys.probes.base import Item
from rys.probes.result import ProbeResult
from rys.sweep.consistency import CONTRADICTIONS, problem_of_meta, problem_of_trials

__all__ = ["Store", "StoreError", "Trial"]

SQLITE_MAGIC = b"SQLite format 3\0"  # the first bytes of every SQLite database
APPLICATION_ID = 0x72797331  # "rys1", in the header of the file
SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE item (
    stage TEXT NOT NULL, probe TEXT NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, hash TEXT NOT NULL,
    family TEXT NOT NULL, tags TEXT NOT NULL, prompt TEXT NOT NULL, "right" TEXT NOT NULL,
    PRIMARY KEY (stage, probe, position)
) WITHOUT ROWID;
CREATE TABLE trial (
    id INTEGER PRIMARY KEY, stage TEXT NOT NULL, role TEXT NOT NULL, path TEXT NOT NULL, layers TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, n_items INTEGER NOT NULL, seconds REAL NOT NULL,
    tokens INTEGER NOT NULL, UNIQUE (stage, path)
);
CREATE TABLE score (
    trial INTEGER NOT NULL REFERENCES trial (id), probe TEXT NOT NULL, position INTEGER NOT NULL,
    score REAL NOT NULL, parsed INTEGER NOT NULL, truncated INTEGER NOT NULL, answer TEXT NOT NULL,
    PRIMARY KEY (trial, probe, position)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Trial:
    """Hold one path that was tried.

    stage: "search" or "confirm". role: "baseline", "candidate", "top" or "control".
    status: "done", "left" (the race; reason says why), "failed" (reason says why) or "partial"
        (measured in part).
    n_items: of each probe. seconds: of the model. tokens: evaluated.
    """

    id: int
    stage: str
    role: str
    path: str
    layers: tuple[int, ...]
    status: str
    reason: str
    n_items: int
    seconds: float
    tokens: int


class Store:
    """Read and write one sweep's file."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: _Lock | None = None
    ) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        if lock is not None:
            # what is committed survives a kill of the process; a power cut may take the last few
            # candidates
            connection.execute("PRAGMA synchronous = NORMAL")
        self.cache: dict[
            Any, Any
        ] = {}  # for what is computed from all of the file: by what, with the state it is of

    @classmethod
    def create(cls, path: Path, meta: Mapping[str, Any]) -> Store:
        """Make a new file. Raises StoreError if there is one or none can be written."""
        if path.exists():
            raise StoreError(f"{path} exists already; resume it, or give another file name")
        problem = problem_of_meta(json.loads(json.dumps(meta)))  # as `open` will find it
        if problem:
            raise StoreError(f"{path}: no sweep can be kept whose settings are wrong: {problem}")
        lock = _Lock(path)
        # under another name until it is whole: a kill leaves either no sweep or one that can be
        # resumed
        draft = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            draft.unlink(missing_ok=True)
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.executescript(
                    f"PRAGMA application_id = {APPLICATION_ID}; BEGIN; {_SCHEMA}"
                    f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                )
                cls(draft, connection).set_meta(meta)
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

        read_only: also while another process writes it; else it is this process's alone until it is
            closed.
        Raises StoreError, with nothing changed, if it is damaged, foreign, in use, or newer than
        this rys.
        """
        _check_header(path)
        _check_content(path)
        lock = None if read_only else _Lock(path)
        connection = _connect(path, "mode=rw")
        if read_only:
            try:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("SELECT count(*) FROM meta")
            except sqlite3.Error:  # a folder that cannot be written
                connection.close()
                connection = _connect(path, "mode=ro" if _has_log(path) else "mode=ro&immutable=1")
        return cls(path, connection, lock)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:  # Ctrl-C as well
                if self._connection.in_transaction:  # a full disk ends it by itself
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written: {error}") from None

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from None

    @property
    def meta(self) -> dict[str, Any]:
        """What the sweep is about: settings, versions, fingerprint."""
        return {key: self._loads(value) for key, value in self._rows("SELECT key, value FROM meta")}

    @property
    def state(self) -> tuple[int, int]:
        """Numbers that change whenever the file does, by this connection or another."""
        return self._connection.total_changes, self._rows("PRAGMA data_version")[0][0]

    def _loads(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self.path} is damaged: {error}") from None

    def set_meta(self, values: Mapping[str, Any]) -> None:
        """Write settings or results of the whole sweep."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [(key, json.dumps(value)) for key, value in values.items()],
            )

    def add_items(self, stage: str, probe: str, items: Sequence[Item]) -> None:
        """Write the items of a probe, if they are not there yet."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        stage, probe, position, _storable(item.id), item.content_hash,
                        _storable(str(item.tags.get("family", ""))), json.dumps(dict(item.tags)),
                        json.dumps(item.prompt, default=list), _storable(str(item.scorer.target)),
                    )
                    for position, item in enumerate(items)
                ],
            )  # fmt: skip

    def item_hashes(self, stage: str) -> dict[str, list[str]]:
        """Return the content hashes of a stage's items, by probe."""
        found: dict[str, list[str]] = {}
        query = "SELECT probe, hash FROM item WHERE stage = ? ORDER BY probe, position"
        for probe, content_hash in self._rows(query, (stage,)):
            found.setdefault(probe, []).append(content_hash)
        return found

    def items(self, stage: str) -> list[tuple[str, int, str, str]]:
        """Return probe, position, id and family of a stage's items, in the order of `scores`."""
        query = (
            "SELECT probe, position, id, family FROM item WHERE stage = ? ORDER BY probe, position"
        )
        return self._rows(query, (stage,))

    def trials(self, stage: str) -> list[Trial]:
        """Return the trials of a stage, in the order in which they began."""
        rows = self._rows("SELECT * FROM trial WHERE stage = ? ORDER BY id", (stage,))
        trials = []
        for i, stage, role, path, layers, *rest in rows:
            loaded = self._loads(layers)
            if not isinstance(loaded, list):
                raise StoreError(f"{self.path} is damaged: the layers of {path!r} are {loaded!r}")
            trials.append(Trial(i, stage, role, path, tuple(loaded), *rest))
        return trials

    def save(
        self,
        stage: str,
        role: str,
        path: str,
        layers: Sequence[int],
        results: Mapping[str, ProbeResult],
        start: int,
        status: str,
        reason: str = "",
    ) -> None:
        """Add what was measured of a path, in one transaction. start: position of the results'
        first items.
        """
        seconds = sum(result.seconds for result in results.values())
        tokens = sum(result.n_evaluated_tokens for result in results.values())
        n_items = start + max((result.n for result in results.values()), default=0)
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO trial (stage, role, path, layers, status, reason, n_items, seconds, tokens)"
                " VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0) ON CONFLICT (stage, path) DO NOTHING",
                (stage, role, path, json.dumps(list(layers)), status, _storable(reason)),
            )
            connection.execute(
                "UPDATE trial SET status = ?, reason = ?, n_items = max(n_items, ?), seconds = seconds + ?,"
                " tokens = tokens + ? WHERE stage = ? AND path = ?",
                (status, _storable(reason), n_items, seconds, tokens, stage, path),
            )
            (trial,) = connection.execute(
                "SELECT id FROM trial WHERE stage = ? AND path = ?", (stage, path)
            ).fetchone()
            for probe, result in results.items():
                connection.executemany(
                    "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?, ?, ?, ?)",
                    zip(
                        [trial] * result.n,
                        [probe] * result.n,
                        range(start, start + result.n),
                        result.scores.tolist(),
                        map(int, result.parsed),
                        map(int, result.truncated),
                        map(_storable, result.answers),
                        strict=True,
                    ),
                )

    def set_status(
        self, stage: str, reasons: Mapping[str, str], status: str, meta: Mapping[str, Any]
    ) -> None:
        """Give trials of a stage another status, and write meta in the same transaction. reasons:
        by path.
        """
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE trial SET status = ?, reason = ? WHERE stage = ? AND path = ?",
                [(status, reason, stage, path) for path, reason in reasons.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [(key, json.dumps(value)) for key, value in meta.items()],
            )

    def keep_trials(self, stage: str, roles: Mapping[str, str]) -> None:
        """Forget the trials of a stage whose paths are not among these, and give the others these
        roles.
        """
        with self._transaction() as connection:
            trials = connection.execute(
                "SELECT id, path FROM trial WHERE stage = ?", (stage,)
            ).fetchall()
            gone = [(trial,) for trial, path in trials if path not in roles]
            connection.executemany("DELETE FROM score WHERE trial = ?", gone)
            connection.executemany("DELETE FROM trial WHERE id = ?", gone)
            connection.executemany(
                "UPDATE trial SET role = ? WHERE stage = ? AND path = ?",
                [(role, stage, path) for path, role in roles.items()],
            )

    def scores(
        self, stage: str, what: str = "score"
    ) -> dict[int, np.ndarray[Any, np.dtype[np.float64]]]:
        """Return by trial the scores of the stage's items, float64 [N] in the order of `items`; NaN
        = not measured.

        what: "score", "parsed" or "truncated".
        """
        if what not in ("score", "parsed", "truncated"):
            raise StoreError(f"what is {what!r}, but must be score, parsed or truncated")
        place = {
            (probe, position): k for k, (probe, position, _, _) in enumerate(self.items(stage))
        }
        found: dict[int, np.ndarray[Any, np.dtype[np.float64]]] = {}
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

    def item_rows(self) -> list[dict[str, Any]]:
        """Return one row for every measured item; the names are the keys."""
        names = [
            "stage",
            "role",
            "path",
            "probe",
            "item",
            "family",
            "prompt",
            "right",
            "score",
            "parsed",
            "truncated",
            "answer",
        ]
        query = (
            'SELECT t.stage, t.role, t.path, s.probe, i.id, i.family, i.prompt, i."right", s.score, s.parsed,'
            " s.truncated, s.answer FROM score s JOIN trial t ON t.id = s.trial"
            " JOIN item i ON i.stage = t.stage AND i.probe = s.probe AND i.position = s.position"
            " ORDER BY t.id, s.probe, s.position"
        )
        return [dict(zip(names, row, strict=True)) for row in self._rows(query)]


class _Lock:
    """Keep other processes from writing to a sweep's file: two of them would measure everything
    twice.

    The lock lies on a file beside it, since SQLite has locks of its own on the file, and the system
    ends it with the process. Raises StoreError if another has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.lock")
        while True:
            try:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
                raise StoreError(
                    f"{path} is in use by another sweep; wait for it, or look at the file with rys.Sweep.open"
                ) from None
            except OSError as error:
                raise StoreError(f"{path}: cannot be written: {error}") from None
            if self.path.exists() and self.path.stat().st_ino == os.fstat(self._file).st_ino:
                return
            os.close(self._file)  # whoever had it has removed it meanwhile

    def release(self) -> None:
        """Let others write."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)


def _storable(text: str) -> str:
    """Return a text as UTF-8 can hold it: half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _connect(path: Path, how: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened: {error}") from None


def _has_log(path: Path) -> bool:
    """Return whether a write-ahead log lies beside the file: it is in use, or was when its process
    was killed.
    """
    return Path(f"{path.resolve()}-wal").exists()


def _check_content(path: Path) -> None:
    """Read the whole file in a way that writes nothing, neither to it nor beside it."""
    connection = _connect(path, "mode=ro" if _has_log(path) else "mode=ro&immutable=1")
    try:
        problem = _problem(Store(path, connection))
    except (
        sqlite3.Error,
        UnicodeDecodeError,
    ) as error:  # the latter where it names what is damaged
        raise StoreError(f"{path} is damaged or cannot be read: {error}") from None
    finally:
        connection.close()
    if problem:
        raise StoreError(f"{path} is damaged: {' '.join(problem.split())}")


_COLUMNS_QUERY = """
    SELECT made.name, columns.name, columns.type, columns.pk, columns."notnull"
    FROM sqlite_schema AS made, pragma_table_info(made.name) AS columns WHERE made.type = 'table'"""


@cache
def _columns_of_tables(schema: str) -> set[tuple[Any, ...]]:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(schema)
        return set(connection.execute(_COLUMNS_QUERY))
    finally:
        connection.close()


def _problem(store: Store) -> str | None:
    """Return what shows that no sweep wrote this file as it is, None if nothing does."""
    connection = store._connection
    if not _columns_of_tables(_SCHEMA) <= set(connection.execute(_COLUMNS_QUERY)):
        return "tables are missing, or are not as rys makes them"
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        return str(found)
    for what, query in CONTRADICTIONS.items():
        if connection.execute(f"{query} LIMIT 1").fetchone():
            return f"it has {what}"
    problem = problem_of_meta(meta := store.meta)
    for stage in ("search", "confirm"):
        problem = problem or problem_of_trials(store.trials(stage), meta["n_layer"])
    return problem


def _check_header(path: Path) -> None:
    """Look at the file without SQLite, which would leave files beside it."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(header) < 100 or not header.startswith(SQLITE_MAGIC):
        raise StoreError(f"{path} is not the file of a sweep (it is no SQLite database)")
    version, application = struct.unpack(">I4xI", header[60:72])
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not the file of a sweep, but of another program")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has version {version} of the file format, and this rys reads version {SCHEMA_VERSION}; "
            f"open it with the rys that wrote it"
        )
