"""Whether a file is as a sweep writes it. It is looked at once, as a whole, when it is opened.

A damaged or hostile file may lack our constraints, or hold rows that break them. So its tables are
compared with ours, every row is held against the constraints again, and what no constraint can
say (relations between rows, settings, paths) is checked here. Whoever reads the file later may
rely on all of it.
"""

from __future__ import annotations

import sqlite3
from functools import cache

from rys.errors import LayerPathError
from rys.sweep.schema import DOCUMENTS, TABLES, read_document, statements
from rys.sweep.settings import ConfirmationPlan, SweepSettings
from rys.sweep.trial import Role, bound_path

__all__ = ["find_problem"]

# What a file has if a query finds a row.
_CONTRADICTIONS = {
    "not all items": """
        SELECT 1 FROM item GROUP BY stage, probe
        HAVING min(position) <> 0 OR max(position) <> count(*) - 1""",
    "a path that was measured and has no scores": """
        SELECT 1 FROM trial t WHERE status <> 'failed'
        AND NOT EXISTS (SELECT 1 FROM score WHERE trial = t.id)""",
    "a baseline without scores of all items": """
        SELECT 1 FROM trial t JOIN item i ON i.stage = t.stage
        LEFT JOIN score s ON s.trial = t.id AND s.probe = i.probe AND s.position = i.position
        WHERE t.role = 'baseline' AND s.trial IS NULL""",
    "a baseline with scores of other items": """
        SELECT 1 FROM trial t WHERE role = 'baseline'
        AND (SELECT count(*) FROM score WHERE trial = t.id)
        <> (SELECT count(*) FROM item WHERE stage = t.stage)""",
}

_NAMES = ", ".join(f"'{table}'" for table in TABLES)
# Our tables, and whatever else there is but tables: indices, views, triggers.
_OBJECTS = f"SELECT type, name, sql FROM sqlite_master WHERE type <> 'table' OR name IN ({_NAMES})"


@cache
def _expected_objects() -> set[tuple[str, str, str]]:
    # Made by SQLite itself, so that indices that it adds have the names that it gives them.
    connection = sqlite3.connect(":memory:")
    try:
        for statement in statements():
            connection.execute(statement)
        return set(connection.execute(_OBJECTS))
    finally:
        connection.close()


def find_problem(connection: sqlite3.Connection) -> str | None:
    """Return what shows that no sweep wrote this file as it is, None if nothing does.

    Args:
        connection: The file, at today's version.

    Raises:
        sqlite3.Error: The file is damaged so that SQLite cannot read it.
        RecordError: A document is missing or has a wrong type.
    """
    found = set(connection.execute(_OBJECTS))
    # Triggers and views are not ours either: a trigger would act when we write.
    if found != _expected_objects():
        return "tables are missing, or are not as rys makes them"
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()  # reads every page
    if said != "ok":
        return str(said)
    for name, table in TABLES.items():
        if connection.execute(f"{table.violations(name)} LIMIT 1").fetchone():
            return f"it has a row in the table {name} that no sweep writes"
    if connection.execute("PRAGMA foreign_key_check").fetchone():
        return "it has scores of a path that was not tried"
    for what, query in _CONTRADICTIONS.items():
        if connection.execute(f"{query} LIMIT 1").fetchone():
            return f"it has {what}"
    for key, kind in DOCUMENTS.items():
        is_there = read_document(connection, key, kind) is not None
        if not is_there and kind is not ConfirmationPlan:
            return f"it has no {key}"
    return _problem_of_trials(connection)


def _problem_of_trials(connection: sqlite3.Connection) -> str | None:
    settings = read_document(connection, "settings", SweepSettings)
    # Paths are compared by their layers: one path can be written in several ways.
    assert settings is not None  # find_problem has looked
    identity = tuple(range(settings.n_layer))
    seen: set[tuple[str, tuple[int, ...]]] = set()
    for stage, role, path in connection.execute("SELECT stage, role, path FROM trial ORDER BY id"):
        try:
            layers = bound_path(path, settings.n_layer).layers
        except LayerPathError as error:
            return str(error)
        if (role == Role.BASELINE) != (layers == identity):
            return f"{path!r} has the role {role!r}"
        if (stage, layers) in seen:
            return f"{path!r} stands there twice"
        seen.add((stage, layers))
    return None
