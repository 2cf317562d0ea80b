"""Files of version 1 of the format: they are read as they are, and resumed to the same end.

`tests/data/sweep_schema_1_*.sql` are dumps of files that rys wrote at that version, on the
reference model: a scan of `rys sweep` that was confirmed, and a race that was interrupted in its
second round. `sweep_schema_1_race_finished.json` is what that version made of the race.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rys
from rys._util.json_values import json_value
from rys.errors import StoreError
from rys.probes import load
from rys.sweep import opening, schema
from rys.sweep.schema import SCHEMA_VERSION
from rys.sweep.settings import Decision
from rys.sweep.store import Store

DATA = Path(__file__).parent / "data"


def rebuilt(name: str, folder: Path) -> Path:
    """Return a file of version 1, from its dump."""
    path = folder / f"{name}.db"
    connection = sqlite3.connect(path)
    connection.executescript((DATA / f"sweep_schema_1_{name}.sql").read_text(encoding="utf-8"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return path


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return rebuilt("finished", tmp_path)


@pytest.fixture
def race(tmp_path: Path) -> Path:
    return rebuilt("race", tmp_path)


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


def test_an_old_file_is_read_and_stays_as_it_is(finished: Path) -> None:
    before = finished.read_bytes()
    with rys.Sweep.open(finished) as sweep:
        report = sweep.report()
        assert report.verdict == "confirmed"
        assert report.confirmed[0].layer_path == "0..7,4..11"
        assert report.confirmed[0].block == (4, 8)
        assert report.settings is not None
        assert (report.settings.items, report.settings.thinking_budget) == (16, 1024)
        assert report.provenance["blocks"] == [4]
        assert set(sweep.items().columns) >= {"target", "answer"}
        assert "right" not in sweep.items()
        with pytest.raises(StoreError, match="cannot be written"):
            sweep._store.write(sweep.options)
    assert finished.read_bytes() == before
    assert [file.name for file in finished.parent.iterdir()] == [finished.name]


def test_an_eliminated_candidate_was_one_that_left(race: Path) -> None:
    with rys.Sweep.open(race) as sweep:
        statuses = sweep.results()["status"]
        assert (statuses == "eliminated").sum() == 4
        assert (statuses == "partial").sum() == 7
        assert sweep._store.progress.decisions == (Decision(phase=0, look=16),)


def resumed(race: Path) -> Any:
    with rys.reference_model(n_ctx=1024) as model:
        what = rys.space.blocks([1, 4], stride=2)
        sweep = rys.Sweep(
            model,
            "reference",
            what,
            store=race,
            strategy="race",
            items=48,
            top=1,
            min_effect=0.3,
        )
        with sweep:
            sweep.run()
            sweep.confirm()
            trials = [*sweep._store.trials("search"), *sweep._store.trials("confirm")]
            return sweep.report(), trials, sweep.items()


def test_an_interrupted_race_is_resumed_to_the_end_that_the_old_version_came_to(
    race: Path,
) -> None:
    expected = json.loads((DATA / "sweep_schema_1_race_finished.json").read_text())
    report, trials, items = resumed(race)
    assert version_of(race) == SCHEMA_VERSION
    found = [
        [t.stage.value, t.role.value, t.path, t.status.value, t.reason, t.n_items, t.tokens]
        for t in trials
    ]
    for row, today in zip(expected["trials"], found, strict=True):
        row[3] = "eliminated" if row[3] == "left" else row[3]
        # That version put a reason into other words. Those of the first round stay in the file.
        if today[4].startswith("after 32 items"):
            row[4] = re.sub(
                r"at most -(\S+) from (place \d+ of the race), at all (2 looks) .*",
                r"at least \1 below \2 (95% confidence over all \3)",
                row[4],
            )
    assert found == expected["trials"]
    scores = {
        f"{stage} {path}": rows["score"].tolist()
        for (stage, path), rows in items.groupby(["stage", "path"])
    }
    assert scores == expected["scores"]

    # the report as well, but for times, names of keys and how the file was asked for
    document, old = json_value(report.to_json()), json_value(expected["report"])
    old["n_eliminated"] = old.pop("n_left")
    old["provenance"] = old.pop("arguments")
    for name in ("seconds", "store"):
        del document[name], old[name]
    # that version knew neither calibration nor what rounding does, which the resumed run measured
    assert document.pop("rounding")["ends"] == [16, 32, 48]
    assert (document.pop("calibration"), document.pop("left_out")) == (None, {})
    # That version gave too narrow an interval where few items differ, all in one direction: here
    # three of the last control's 34.
    wider, narrow = document["controls"][-1], old["controls"][-1]
    assert wider["low"] < narrow["low"] < narrow["high"] < wider["high"]
    assert wider["interval_by_probe"]["reference"] == [wider["low"], wider["high"]]
    for name in ("low", "high", "interval_by_probe"):
        del wider[name], narrow[name]
    assert document == old


def test_a_finished_sweep_of_the_command_line_is_resumed(finished: Path) -> None:
    command = [sys.executable, "-m", "rys", "sweep", "--resume", str(finished), "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Confirmed: 0..7,4..11")
    assert version_of(finished) == SCHEMA_VERSION
    with rys.Sweep.open(finished) as sweep:
        assert math.isclose(sweep.report().confirmed[0].effect, 0.2222, abs_tol=0.3)


class KilledError(BaseException):
    """What ends a migration where a kill would."""


@pytest.mark.parametrize("n_statements", [3, 7, 9, 20])
def test_a_migration_that_is_cut_short_changes_nothing(
    race: Path, monkeypatch: pytest.MonkeyPatch, n_statements: int
) -> None:
    genuine = schema.migrate
    n_calls = 0

    class Connection:
        """A connection that breaks after some statements."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self.connection, self.n = connection, 0

        def execute(self, *arguments: Any) -> Any:
            self.n += 1
            if self.n > n_statements:
                raise KilledError
            return self.connection.execute(*arguments)

    def migrate(connection: Any) -> None:
        nonlocal n_calls
        n_calls += 1
        # the first call is of the copy in memory
        genuine(connection if n_calls == 1 else Connection(connection))

    with monkeypatch.context() as patch:
        patch.setattr(opening, "migrate", migrate)
        with pytest.raises(KilledError):
            Store.open(race)
    assert n_calls == 2
    assert version_of(race) == 1
    assert [file.name for file in race.parent.iterdir()] == [race.name]
    Store.open(race).close()
    assert version_of(race) == SCHEMA_VERSION


def test_a_process_killed_while_it_migrates_leaves_a_file_that_opens(race: Path) -> None:
    program = f"""
import os, pathlib
from rys.sweep import opening
from rys.sweep.store import Store
genuine = opening.migrate
def migrate(connection):
    genuine(connection)
    if not connection.execute("PRAGMA database_list").fetchone()[2]:
        return  # the copy in memory
    os.kill(os.getpid(), 9)
opening.migrate = migrate
Store.open(pathlib.Path({str(race)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    Store.open(race, read_only=True).close()
    store = Store.open(race)
    assert len(store.trials("search")) == 12
    store.close()
    assert version_of(race) == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE trial SET status = 'weird'", "CHECK constraint failed"),
        ("UPDATE score SET score = 9e999", "CHECK constraint failed"),
        ("UPDATE meta SET value = '[1]' WHERE key = 'decided'", "its decided has 1"),
        ("UPDATE meta SET value = '5' WHERE key = 'asking'", "its thinking is None"),
        ("UPDATE meta SET value = 'x' WHERE key = 'seed'", "its seed is not JSON"),
        ("DELETE FROM meta WHERE key = 'n_layer'", "its n_layer is None"),
        ("DROP TABLE score", "no such table"),
        ("UPDATE trial SET path = '0..99' WHERE role = 'candidate' AND id = 3", "layers 0..11"),
    ],
)
@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
def test_a_damaged_old_file_is_refused_and_not_touched(
    race: Path, change: str, said: str, read_only: bool
) -> None:
    connection = sqlite3.connect(race)
    connection.executescript(change)
    connection.close()
    before = race.read_bytes()
    with pytest.raises(StoreError, match="is damaged") as error:
        Store.open(race, read_only=read_only)
    assert said in str(error.value)
    assert race.read_bytes() == before
    assert [file.name for file in race.parent.iterdir()] == [race.name]


def test_items_have_the_hashes_that_they_had(finished: Path) -> None:
    # A resumed sweep is refused if they differ. They change with the version of a probe alone.
    first = {
        "reference": "99c6b16e4f65ce59867ad29906fa48a6",
        "math": "f3587b70f74e0d1ea60fd5565f646ada",
        "eq:rated": "3ef18f0fe71171b502e1df899ec3aa95",
        "eq": "0fe224c563b73bde32928929293a894c",
        "reasoning": "bff138313d74a2d82787889aaee19d8d",
    }
    assert {name: load(name).items(1)[0].content_hash for name in first} == first
    store = Store.open(finished, read_only=True)
    hashes = store.item_hashes("search")["reference"]
    assert hashes == [item.content_hash for item in load("reference").items(16)]
    store.close()
