"""The tables of a sweep's file, with their constraints, and how older files become today's.

A constraint says what holds in every row, so that neither a reader nor a writer has to check it.
What concerns several rows or tables is in rys.sweep.integrity.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rys.errors import LayerPathError
from rys.layer_path import LayerPath
from rys.sweep.record import RecordError, from_json, to_json
from rys.sweep.settings import ConfirmationPlan, Decision, Progress, SweepOptions, SweepSettings

__all__ = [
    "APPLICATION_ID",
    "DOCUMENTS",
    "OLDEST_VERSION",
    "SCHEMA_VERSION",
    "TABLES",
    "migrate",
    "read_document",
    "statements",
    "write_documents",
]

APPLICATION_ID = 0x72797331  # "rys1", in the header of the file
SCHEMA_VERSION = 2
OLDEST_VERSION = 1

# The documents in the table `meta`: their keys, and the dataclasses that they hold.
DOCUMENTS: Mapping[str, type[Any]] = {
    "settings": SweepSettings,
    "options": SweepOptions,
    "progress": Progress,
    "confirmation": ConfirmationPlan,
}


@dataclass(frozen=True)
class Table:
    """A table with constraints that can also be asked for as a query.

    SQLite keeps a value of any type in any column, so each column's type is checked as well.
    (STRICT tables would do it, but need SQLite 3.37, which some builds of Python 3.10 lack.)

    Attributes:
        columns: By name, the type and what holds in every row.
        keys: Constraints on the whole table.
        options: What follows the columns.
    """

    columns: Mapping[str, tuple[str, str]]
    keys: Sequence[str]
    options: str = ""

    def statement(self, name: str) -> str:
        """Return the statement that creates the table."""
        lines = []
        for column, (kind, check) in self.columns.items():
            lines.append(f"{column} {kind} NOT NULL CHECK ({check})")
        lines += self.keys
        columns = ",\n    ".join(lines)
        return f"CREATE TABLE {name} (\n    {columns}\n){self.options}"

    def violations(self, name: str) -> str:
        """Return a query that finds rows which break a constraint on a column.

        `PRAGMA integrity_check` would find them too, but not over a read-only connection: there
        SQLite does not even parse CHECK constraints.
        """
        checks = [f"({check})" for _, check in self.columns.values()]
        # "IS NOT 1" holds for NULL as well, which "NOT" would pass over.
        return f"SELECT 1 FROM {name} WHERE ({' AND '.join(checks)}) IS NOT 1"


def _text(name: str) -> tuple[str, str]:
    return "TEXT", f"typeof({name}) = 'text'"


def _number(name: str, largest: str) -> tuple[str, str]:
    return "INTEGER", f"typeof({name}) = 'integer' AND {name} BETWEEN 0 AND {largest}"


def _flag(name: str) -> tuple[str, str]:
    return "INTEGER", f"typeof({name}) = 'integer' AND {name} IN (0, 1)"


_STAGE = ("TEXT", "stage IN ('search', 'confirm')")
_ROLE = """CASE stage WHEN 'search' THEN role IN ('baseline', 'candidate')
        ELSE role IN ('baseline', 'top', 'control') END"""

TABLES = {
    "meta": Table(
        columns={"key": _text("key"), "value": _text("value")},
        keys=["PRIMARY KEY (key)"],
        options=" WITHOUT ROWID",
    ),
    "item": Table(
        columns={
            "stage": _STAGE,
            "probe": _text("probe"),
            "position": _number("position", "1e9"),
            "id": _text("id"),
            "hash": _text("hash"),
            "family": _text("family"),
            "tags": _text("tags"),
            "prompt": _text("prompt"),
            "target": _text("target"),
        },
        keys=["PRIMARY KEY (stage, probe, position)"],
        options=" WITHOUT ROWID",
    ),
    "trial": Table(
        columns={
            "id": ("INTEGER", "typeof(id) = 'integer'"),
            "stage": _STAGE,
            "role": ("TEXT", _ROLE),
            "path": _text("path"),
            "status": ("TEXT", "status IN ('done', 'partial', 'eliminated', 'failed')"),
            "reason": _text("reason"),
            "n_items": _number("n_items", "1e9"),
            "seconds": ("REAL", "typeof(seconds) = 'real' AND seconds BETWEEN 0 AND 1e12"),
            "tokens": _number("tokens", "1e15"),
        },
        keys=["PRIMARY KEY (id)", "UNIQUE (stage, path)"],
    ),
    "score": Table(
        columns={
            "trial": ("INTEGER", "typeof(trial) = 'integer'"),
            "probe": _text("probe"),
            "position": _number("position", "1e9"),
            "score": ("REAL", "typeof(score) = 'real' AND score BETWEEN -1 AND 1"),
            "parsed": _flag("parsed"),
            "truncated": _flag("truncated"),
            "answer": _text("answer"),
        },
        keys=["PRIMARY KEY (trial, probe, position)", "FOREIGN KEY (trial) REFERENCES trial (id)"],
        options=" WITHOUT ROWID",
    ),
}


def statements() -> list[str]:
    """Return the statements that make the tables."""
    return [table.statement(name) for name, table in TABLES.items()]


Record = TypeVar("Record")


def read_document(connection: sqlite3.Connection, key: str, kind: type[Record]) -> Record | None:
    """Return a document of the file, None if it has none under this key.

    Raises:
        RecordError: It is not JSON, or a field is missing or has a wrong type.
        sqlite3.Error: The file cannot be read.
    """
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    try:
        document = json.loads(row[0])
    except (ValueError, RecursionError) as error:
        raise RecordError(f"its {key} is not JSON: {error}") from None
    return from_json(kind, document)


def write_documents(connection: sqlite3.Connection, records: Iterable[Any]) -> None:
    """Write documents, within the caller's transaction."""
    keys = {kind: key for key, kind in DOCUMENTS.items()}
    for record in records:
        connection.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            (keys[type(record)], json.dumps(to_json(record))),
        )


# Version 1 had the status "left", the column "right" and each path a second time as "layers".
_COPY_FROM_1 = """
INSERT INTO item SELECT stage, probe, position, id, hash, family, tags, prompt, "right"
    FROM item_of_1 ORDER BY stage, probe, position;
INSERT INTO trial SELECT id, stage, role, path,
    CASE status WHEN 'left' THEN 'eliminated' ELSE status END, reason, n_items, seconds, tokens
    FROM trial_of_1 ORDER BY id;
INSERT INTO score SELECT trial, probe, position, score, parsed, truncated, answer
    FROM score_of_1 ORDER BY trial, probe, position;
"""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file of version 1 to today's version, within the caller's transaction.

    Args:
        connection: The file; a transaction was begun.

    Raises:
        sqlite3.Error: A row breaks a constraint, or a table or column is missing.
        RecordError: A setting is missing or has a wrong type.
    """
    # The old tables go aside, since a table that is renamed keeps its new name in quotes, and the
    # statements of ours are compared with those of the file.
    documents = _documents_of_1(connection)
    for table in TABLES:
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_of_1")
    for statement in statements():
        connection.execute(statement)
    for statement in _COPY_FROM_1.split(";"):  # executescript() would commit first
        connection.execute(statement)
    write_documents(connection, documents)
    for table in reversed(TABLES):  # scores refer to trials, so they go first
        connection.execute(f"DROP TABLE {table}_of_1")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _documents_of_1(connection: sqlite3.Connection) -> list[Any]:
    """Return today's documents from version 1, which had a row for every field."""
    old: dict[str, Any] = {}
    for key, value in connection.execute("SELECT key, value FROM meta"):
        try:
            old[key] = json.loads(value)
        except (ValueError, TypeError, RecursionError) as error:
            raise RecordError(f"its {key} is not JSON: {error}") from None
    asking = old.get("asking")
    settings = {**old, **asking} if isinstance(asking, dict) else old
    options = {**old, "provenance": old.get("arguments")}
    progress = {**old, "decisions": _decisions_of_1(old)}
    kept = from_json(SweepSettings, settings)
    documents: list[Any] = [kept]
    documents += [from_json(SweepOptions, options), from_json(Progress, progress)]
    if "confirm" in old:
        plan = _plan_of_1(old["confirm"], kept.n_layer)
        documents.append(from_json(ConfirmationPlan, plan))
    return documents


def _decisions_of_1(old: Mapping[str, Any]) -> list[dict[str, int]]:
    decided = old.get("decided", [])
    if not isinstance(decided, list):
        raise RecordError("its decided is not a list")
    decisions = []
    for name in decided:
        # such as "phase 0, look 16"
        match = re.fullmatch(r"phase ([0-9]{1,9}), look ([0-9]{1,9})", str(name))
        if match is None:
            raise RecordError(f"its decided has {name!r:.60}")
        decisions.append(to_json(Decision(phase=int(match[1]), look=int(match[2]))))
    return decisions


def _plan_of_1(plan: Any, n_layer: int) -> Any:
    """Return a plan whose paths are texts; version 1 had lists of layers."""
    if not isinstance(plan, dict):
        return plan
    texts = dict(plan)
    for name in ("top", "controls"):
        try:
            texts[name] = [str(LayerPath(layers, n_layer)) for layers in plan.get(name, [])]
        except (LayerPathError, TypeError) as error:
            raise RecordError(f"its confirm has {name} that are not paths: {error}") from None
    return texts
