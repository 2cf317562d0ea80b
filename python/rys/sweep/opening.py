"""Opening the database of a sweep: the header, the version, and whether the content is sound."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rys.errors import StoreError
from rys.sweep.integrity import find_problem
from rys.sweep.record import RecordError
from rys.sweep.schema import APPLICATION_ID, OLDEST_VERSION, SCHEMA_VERSION, migrate

__all__ = [
    "SQLITE_MAGIC",
    "check_content",
    "check_header",
    "connect_reader",
    "connect_writer",
    "transaction",
]

SQLITE_MAGIC = b"SQLite format 3\0"  # the first bytes of every SQLite database


def check_header(path: Path) -> None:
    """Look at a file without SQLite, which would leave files beside it.

    Raises:
        StoreError: It cannot be read, is not the file of a sweep, or is newer than this rys.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(header) < 100 or not header.startswith(SQLITE_MAGIC):
        raise StoreError(f"{path} is not the file of a sweep (it is not an SQLite database)")
    # The database file format of sqlite.org: user_version at byte 60, application_id at byte 68.
    version, application = struct.unpack(">I4xI", header[60:72])
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not the file of a sweep, but of another program")
    _check_version(path, version)


def _check_version(path: Path, version: int) -> None:
    if not OLDEST_VERSION <= version <= SCHEMA_VERSION:
        raise StoreError(
            f"{path} has version {version} of the file format, and this rys reads versions "
            f"{OLDEST_VERSION} to {SCHEMA_VERSION}; open it with the rys that wrote it"
        )


def check_content(path: Path) -> sqlite3.Connection | None:
    """Read the whole file in a way that writes nothing, neither to it nor beside it.

    Returns:
        A copy in memory that was brought to today's version, None if the file has that already.

    Raises:
        StoreError: The file is damaged, or newer than this rys.
    """
    connection = _connect_untouched(path)
    try:
        # The header may be older than the log beside the file, so the version is asked for again.
        version = _version_of(connection)
        _check_version(path, version)
        if version == SCHEMA_VERSION:
            _raise_if_damaged(path, connection)
            return None
        return _migrated_copy(path, connection)
    # A UnicodeDecodeError comes where SQLite names what is damaged.
    except (sqlite3.Error, UnicodeDecodeError, RecordError) as error:
        raise StoreError(f"{path} is damaged or cannot be read: {error}") from None
    finally:
        connection.close()


def _migrated_copy(path: Path, connection: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.backup(copy)
        copy.execute("BEGIN")
        migrate(copy)
        copy.execute("COMMIT")
        _raise_if_damaged(path, copy)
        copy.execute("PRAGMA query_only = ON")
    except BaseException:  # Ctrl-C as well
        copy.close()
        raise
    return copy


def _raise_if_damaged(path: Path, connection: sqlite3.Connection) -> None:
    try:
        problem = find_problem(connection)
    except RecordError as error:
        problem = str(error)
    if problem:
        raise StoreError(f"{path} is damaged: {' '.join(problem.split())}")


def connect_writer(path: Path) -> sqlite3.Connection:
    """Connect for writing, and bring a file of an older version to today's.

    That is one transaction: a kill leaves the old file or the new one. The content was checked
    before.

    Raises:
        StoreError: The file cannot be written. It is as it was.
    """
    connection = _connect(path, "mode=rw")
    try:
        if _version_of(connection) != SCHEMA_VERSION:
            with transaction(path, connection):
                migrate(connection)
    except BaseException:  # Ctrl-C as well
        connection.close()
        raise
    return connection


def _version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def transaction(path: Path, connection: sqlite3.Connection) -> Iterator[None]:
    """Write all that the block writes, or nothing.

    Raises:
        StoreError: SQLite reported an error.
    """
    try:
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
        except BaseException:  # Ctrl-C as well
            if connection.in_transaction:  # a full disk ends it by itself
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be written: {error}") from None


def _connect(path: Path, how: str) -> sqlite3.Connection:
    """Connect to a database. how: parameters of SQLite's URI, such as "mode=rw"."""
    try:
        return sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened: {error}") from None


def connect_reader(path: Path) -> sqlite3.Connection:
    """Connect for reading while another process may write."""
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM meta")
    except sqlite3.Error:  # a folder that cannot be written
        connection.close()
        return _connect_untouched(path)
    return connection


def _connect_untouched(path: Path) -> sqlite3.Connection:
    # A write-ahead log lies beside a file in use, or one whose process was killed.
    has_log = Path(f"{path.resolve()}-wal").exists()
    return _connect(path, "mode=ro" if has_log else "mode=ro&immutable=1")
