"""The file of a sweep: what is written comes back, and a file that is none is refused and left as
it is.
"""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rys.errors import StoreError
from rys.probes.base import Item
from rys.probes.result import ProbeResult
from rys.probes.scorers import Choice
from rys.sweep.schema import APPLICATION_ID, SCHEMA_VERSION
from rys.sweep.settings import Decision, Progress, SweepOptions
from rys.sweep.store import Store
from support.simulated_sweep import made_up_settings, with_field

P = "0..1x2"  # a path of a model of two layers or more

STRANGE = [
    "it's",
    'say "no"',
    "Ünï\N{SNOWMAN}",
    "nul\0inside",
    "'); DROP TABLE score; --",
    "half \ud83d",
    "",
]


def item(name: str, family: str = "sums") -> Item:
    return Item(prompt=name, scorer=Choice(("a", "b"), "a"), tags={"family": family}, id=name)


def result(scores: list[float], answers: list[str] | None = None) -> ProbeResult:
    n = len(scores)
    return ProbeResult(
        probe="p:1",
        layer_path="",
        items=[item(f"i{k}") for k in range(n)],
        scores=np.array(scores),
        parsed=np.ones(n, bool),
        truncated=np.zeros(n, bool),
        answers=answers or ["a"] * n,
        errors=[None] * n,
        details=[{}] * n,
        chance=0.5,
        best_constant=0.5,
        constant="a",
        n_prompt_tokens=9,
        n_evaluated_tokens=7,
        n_generated_tokens=0,
        seconds=0.5,
    )


def state(folder: Path) -> dict[str, bytes]:
    """Return the names and bytes of all files."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a closed store with 40 items and 30 trials: some 100 kB."""
    path = tmp_path_factory.mktemp("store") / "s.db"
    store = Store.create(path, made_up_settings(40, seed=3), SweepOptions(notes=("ü",)))
    items = [item(f"item {k} {'x' * 300}") for k in range(40)]
    store.add_items("search", "p", items)
    for k in range(30):
        store.save(
            "search",
            "candidate",
            f"0..{k}",
            {"p": result([0.0, 1.0] * 20)},
            0,
            "done",
        )
    store.close()
    return path.read_bytes()


@pytest.fixture
def file(tmp_path: Path, whole: bytes) -> Path:
    path = tmp_path / "a sweep#1?%20.db"
    path.write_bytes(whole)
    return path


def test_what_is_written_comes_back(file: Path) -> None:
    store = Store.open(file)
    assert store.settings == made_up_settings(40, seed=3)
    assert store.options == SweepOptions(notes=("ü",))
    assert store.progress == Progress()
    assert store.confirmation_plan is None
    assert [len(hashes) for hashes in store.item_hashes("search").values()] == [40]
    assert store.items("search")[0][:2] == ("p", 0)
    trials = store.trials("search")
    assert [trial.path for trial in trials] == ["0", *(f"0..{k}" for k in range(1, 30))]
    assert (trials[4].layer_path.layers, trials[4].status) == ((0, 1, 2, 3, 4), "done")
    assert (trials[4].n_items, trials[4].block) == (40, None)
    assert (trials[4].seconds, trials[4].tokens) == (0.5, 7)
    assert store.scores("search")[trials[4].id].tolist() == [0.0, 1.0] * 20
    assert store.scores("search", "parsed")[trials[4].id].tolist() == [1.0] * 40
    assert store.scores("confirm") == {}
    assert len(store.item_rows()) == 30 * 40
    with pytest.raises(StoreError, match="must be score, parsed or truncated"):
        store.scores("search", "answer; DROP TABLE score")
    store.close()


def test_a_closed_store_is_one_file_and_reading_leaves_nothing_beside_it(file: Path) -> None:
    before = state(file.parent)
    assert list(before) == [file.name]
    store = Store.open(file, read_only=True)
    with pytest.raises(StoreError, match="cannot be written"):
        store.write(Progress(is_complete=True))
    assert len(store.trials("search")) == 30
    store.close()
    assert state(file.parent) == before


def test_a_reader_sees_what_a_running_sweep_has_written(file: Path) -> None:
    writer = Store.open(file)
    reader = Store.open(file, read_only=True)
    writer.save("search", "candidate", "0..39,0", {}, 0, "failed", "because")
    assert reader.trials("search")[-1].reason == "because"
    reader.close()
    writer.write(Progress(stopped="why"))
    assert writer.progress.stopped == "why"
    writer.close()


def test_a_new_store_refuses_a_name_that_is_taken(file: Path) -> None:
    before = state(file.parent)
    with pytest.raises(StoreError, match="exists already; resume it"):
        Store.create(file, made_up_settings(40), SweepOptions())
    assert state(file.parent) == before


def test_a_store_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        Store.create(tmp_path / "no such folder" / "s.db", made_up_settings(1), SweepOptions())

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            Store.create(tmp_path / "s.db", made_up_settings(1), SweepOptions())
    assert not (tmp_path / "s.db").exists()
    Store.create(tmp_path / "s.db", made_up_settings(1), SweepOptions()).close()
    assert Store.open(tmp_path / "s.db").settings == made_up_settings(1)


def test_items_measured_in_parts_come_together(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s.db", made_up_settings(2), SweepOptions())
    for probe in ("b", "a"):
        store.add_items("search", probe, [item(f"{probe}{k}") for k in range(4)])
    store.save("search", "candidate", P, {"a": result([1.0]), "b": result([0.5])}, 0, "partial")
    (trial,) = store.trials("search")
    # in the order of `items`: probe a, then b
    np.testing.assert_array_equal(
        store.scores("search")[trial.id], [1, np.nan, np.nan, np.nan, 0.5, np.nan, np.nan, np.nan]
    )
    store.save(
        "search",
        "candidate",
        P,
        {"a": result([0, 1, 1]), "b": result([0, 0, 1])},
        1,
        "done",
    )
    (trial,) = store.trials("search")
    assert (trial.status, trial.n_items, trial.seconds, trial.tokens) == ("done", 4, 2.0, 28)
    assert store.scores("search")[trial.id].tolist() == [1, 0, 1, 1, 0.5, 0, 0, 1]
    decided = Progress(decisions=(Decision(phase=0, look=4),))
    store.set_status("search", {P: "why"}, "eliminated", decided)
    (trial,) = store.trials("search")
    assert (trial.status, trial.reason, trial.block) == ("eliminated", "why", (0, 2))
    assert store.progress == decided
    store.close()


def test_a_transaction_that_fails_leaves_nothing_half_written(file: Path) -> None:
    store = Store.open(file)
    good = result([1.0, 1.0])
    bad = result([1.0, 1.0], ["one answer too few"])
    with pytest.raises(ValueError, match="shorter"):
        store.save("search", "candidate", P, {"p": good, "q": bad}, 0, "done")
    assert P not in [trial.path for trial in store.trials("search")]
    with pytest.raises(TypeError, match="JSON"):
        store.write(Progress(stopped="why"), SweepOptions(model=object()))  # type: ignore[arg-type]
    assert store.progress == Progress()
    with pytest.raises(StoreError, match="cannot be written"):
        store.save("search", "candidate", P, {None: good}, 0, "done")  # type: ignore[dict-item]
    assert P not in [trial.path for trial in store.trials("search")]
    store.save("search", "candidate", P, {"p": good}, 0, "done")  # and it can go on
    assert len(store.trials("search")) == 31
    store.close()


def test_an_interrupt_inside_a_transaction_takes_it_back(file: Path) -> None:
    store = Store.open(file)

    def interrupted() -> Any:
        yield "one answer"
        raise KeyboardInterrupt

    part = result([1.0, 1.0])
    object.__setattr__(part, "answers", interrupted())
    with pytest.raises(KeyboardInterrupt):
        store.save("search", "candidate", P, {"p": part}, 0, "done")
    assert len(store.trials("search")) == 30
    store.write(Progress(stopped="why"))
    assert store.progress.stopped == "why"
    store.close()


def test_strange_texts_are_kept(tmp_path: Path) -> None:
    options = SweepOptions(notes=tuple(STRANGE[:5]), provenance={t: t for t in STRANGE[:5]})
    store = Store.create(tmp_path / "s.db", made_up_settings(4), options)
    store.add_items("search", "p'\"ü", [item(text or "empty", family=text) for text in STRANGE])
    marks = [k / 8 for k in range(len(STRANGE))]
    store.save(
        "search",
        "candidate",
        "0..0",
        {"p'\"ü": result(marks, STRANGE)},
        0,
        "failed",
        "'\0\ud83d",
    )
    store.close()
    store = Store.open(tmp_path / "s.db")
    as_kept = [text.encode("utf-8", "replace").decode() for text in STRANGE]
    assert as_kept[5] == "half ?"
    assert [row["answer"] for row in store.item_rows()] == as_kept
    assert [row["family"] for row in store.item_rows()] == as_kept
    assert [name for _, _, name, _ in store.items("search")] == [
        text or "empty" for text in as_kept
    ]
    assert store.trials("search")[0].reason == "'\0?"
    assert store.options == options
    assert store.scores("search")[1].tolist() == marks
    store.close()


def overwritten(start: int, length: int) -> Any:
    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[start : start + length] = random.Random(0).randbytes(length)
        file.write_bytes(content)

    return damage


def altered(script: str) -> Any:
    def damage(file: Path) -> None:
        connection = sqlite3.connect(file)
        connection.executescript(script)
        connection.close()

    return damage


def foreign(file: Path) -> None:
    file.unlink()
    altered("CREATE TABLE meta (key, value)")(file)


OF_P7 = "WHERE trial = (SELECT id FROM trial WHERE path = '0..7')"
P7 = "WHERE path = '0..7'"
NO_ROW = "that no sweep writes"
NO_TABLE = "tables are missing, or are not as rys makes them"
# what no sweep writes: a change, and what is said of it
CHANGES = {
    "DROP TABLE score": NO_TABLE,
    "DROP TABLE score; CREATE TABLE score (trial, probe, position, score)": NO_TABLE,
    "CREATE TRIGGER t AFTER UPDATE ON trial BEGIN DELETE FROM score; END": NO_TABLE,
    "UPDATE meta SET value = 'no JSON' WHERE key = 'settings'": "Expecting value",
    f"UPDATE meta SET value = '{'[' * 100_000}' WHERE key = 'options'": "recursion",
    "UPDATE meta SET value = '[]' WHERE key = 'options'": "its SweepOptions is []",
    "DELETE FROM meta WHERE key = 'settings'": "it has no settings",
    f"UPDATE trial SET path = x'00' {P7}": NO_ROW,
    f"UPDATE trial SET path = '0..99' {P7}": "layers 0..39",
    f"UPDATE trial SET path = 'round' {P7}": "layer_path has a term 'round'",
    f"UPDATE trial SET path = '0,1..7' {P7}; UPDATE trial SET path = '0..7' WHERE path = '0..8'": (
        "'0..7' stands there twice"
    ),
    "UPDATE trial SET role = 'weird'": NO_ROW,
    "UPDATE trial SET role = 'top'": NO_ROW,
    f"UPDATE trial SET role = 'baseline' {P7}": "'0..7' has the role 'baseline'",
    "UPDATE trial SET status = 'left'": NO_ROW,
    "UPDATE trial SET stage = 'weird'": NO_ROW,
    "UPDATE trial SET n_items = 'abc'": NO_ROW,
    "UPDATE trial SET seconds = 9e999": NO_ROW,
    "UPDATE trial SET tokens = 'abc'": NO_ROW,
    f"UPDATE score SET score = 9e999 {OF_P7}": NO_ROW,
    f"UPDATE score SET score = 'x' {OF_P7}": NO_ROW,
    f"UPDATE score SET parsed = 2 {OF_P7}": NO_ROW,
    f"UPDATE score SET position = -1 {OF_P7} AND position = 0": NO_ROW,
    f"DELETE FROM score {OF_P7}": "a path that was measured and has no scores",
    f"DELETE FROM trial {P7}": "scores of a path that was not tried",
    "DELETE FROM item WHERE position = 3": "not all items",
    "UPDATE item SET family = x'00'": NO_ROW,
}
# the documents: a key, a field, and what it cannot be
FIELDS = [
    ("settings", "n_layer", "x"),
    ("settings", "n_layer", True),
    ("settings", "n_layer", 513),
    ("settings", "n_layer", None),
    ("settings", "probes", 3),
    ("settings", "variant", [2]),
    ("settings", "seed", 10**30),
    ("options", "provenance", 5),
    ("options", "min_effect", "0.1"),
    pytest.param("options", "min_effect", 10**400, id="a number that no float holds"),
    ("progress", "preflight", 5),
    ("progress", "preflight", {"p": "x"}),
    ("progress", "decisions", "all"),
    ("progress", "decisions", [{"phase": 0}]),
    ("progress", "stopped", None),
    ("confirmation", "top", None),
]


@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_no_sweep_writes_is_damage(file: Path, change: str, read_only: bool) -> None:
    # as another program may write it, which looks at no constraint
    altered(f"PRAGMA ignore_check_constraints = ON; {change}")(file)
    before = state(file.parent)
    with pytest.raises(StoreError, match="is damaged: ") as error:
        Store.open(file, read_only=read_only)
    assert CHANGES[change] in str(error.value)
    assert state(file.parent) == before


@pytest.mark.parametrize(("key", "field", "value"), FIELDS)
def test_documents_that_no_sweep_has_are_damage(
    file: Path, key: str, field: str, value: Any
) -> None:
    with_field(file, key, field, value)
    with pytest.raises(StoreError, match=f"is damaged: its {field} is"):
        Store.open(file)


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("settings", "variant", {"rope_freq_base": 3580165449.0}),
        ("options", "min_effect", 1),
        ("settings", "seed", -(2**62)),
        ("options", "of a later version", 1),
    ],
)
def test_documents_that_a_sweep_may_have_can_be_read(
    file: Path, key: str, field: str, value: Any
) -> None:
    with_field(file, key, field, value)
    store = Store.open(file)
    assert getattr(getattr(store, key), field, value) == value
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trial SET status = 'left'",
        "UPDATE trial SET role = 'top'",
        "UPDATE trial SET n_items = -1",
        "UPDATE score SET score = 1.5",
        "UPDATE score SET position = -1 WHERE position = 0",
        "UPDATE item SET stage = 'weird'",
        "UPDATE item SET target = x'00'",
        "INSERT INTO score VALUES (999, 'p', 0, 1.0, 1, 0, '')",
    ],
)
def test_the_file_itself_refuses_what_breaks_a_constraint(file: Path, change: str) -> None:
    store = Store.open(file)
    with pytest.raises(sqlite3.IntegrityError):
        store._connection.execute(change)
    store.close()


def test_settings_that_could_not_be_read_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="its force is 1"):
        Store.create(tmp_path / "s.db", made_up_settings(2), SweepOptions(force=1))  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_a_path_is_written_in_one_way(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s.db", made_up_settings(2), SweepOptions())
    store.add_items("search", "p", [item("i")])
    for path in ("0..1,0..", [0, 1, 0, 1], P):
        store.save("search", "candidate", path, {"p": result([1.0])}, 0, "done")
    assert [trial.path for trial in store.trials("search")] == [P]
    store.close()


@pytest.mark.parametrize("gone", [0, 7])
def test_a_baseline_has_scores_of_all_items(tmp_path: Path, gone: int) -> None:
    store = Store.create(tmp_path / "s.db", made_up_settings(2), SweepOptions())
    store.add_items("search", "p", [item(f"i{k}") for k in range(8)])
    store.save("search", "baseline", "0..1", {"p": result([1.0] * 8)}, 0, "done")
    store.close()
    Store.open(tmp_path / "s.db").close()
    altered(f"DELETE FROM score WHERE position = {gone}")(tmp_path / "s.db")
    with pytest.raises(StoreError, match="a baseline without scores of all items"):
        Store.open(tmp_path / "s.db")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-20000]), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:5000]), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "is not an SQLite database"),
        (overwritten(8192, 30000), "is damaged"),
        (overwritten(100, 3000), "is damaged"),
        (lambda file: file.write_bytes(b""), "is not an SQLite database"),
        (lambda file: file.write_text("Dear diary, " * 50), "is not an SQLite database"),
        (lambda file: file.unlink(), "cannot be read: No such file"),
        (lambda file: (file.unlink(), file.mkdir()), "cannot be read"),
        (foreign, "of another program"),
        (altered(f"PRAGMA application_id = {APPLICATION_ID + 1}"), "of another program"),
        (
            altered(f"PRAGMA user_version = {SCHEMA_VERSION + 1}"),
            "open it with the rys that wrote it",
        ),
    ],
    ids=[
        "truncated",
        "cut",
        "header-only",
        "random-middle",
        "random-first-page",
        "empty",
        "text",
        "missing",
        "folder",
        "foreign",
        "other-id",
        "newer",
    ],
)
@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
def test_a_file_that_is_no_store_is_refused_and_not_touched(
    file: Path, damage: Any, message: str, read_only: bool
) -> None:
    damage(file)
    before = {p.name: p.read_bytes() for p in file.parent.iterdir() if p.is_file()}
    with pytest.raises(StoreError, match=message) as error:
        Store.open(file, read_only=read_only)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert {p.name: p.read_bytes() for p in file.parent.iterdir() if p.is_file()} == before


def test_random_damage_gives_a_clear_error_or_none(file: Path, whole: bytes) -> None:
    rng = random.Random(5)
    n_refused = 0
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 3, 30])):
            content[rng.randrange(100, len(content))] = rng.randrange(256)
        file.write_bytes(content)
        store = None
        try:
            store = Store.open(file, read_only=True)
            assert store.settings is not None
            store.trials("search"), store.scores("search"), store.item_rows()
        except StoreError:
            n_refused += 1
        finally:
            if store is not None:
                store.close()
        assert file.read_bytes() == content
        assert [p.name for p in file.parent.iterdir()] == [file.name]
    assert n_refused > 0


def test_a_file_has_one_writer_and_any_number_of_readers(file: Path) -> None:
    writer = Store.open(file)
    with pytest.raises(StoreError, match="in use by another sweep"):
        Store.open(file)
    Store.open(file, read_only=True).close()
    writer.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    Store.open(file).close()
