"""The file of a sweep: what is written comes back, and a file that is none is refused and left as
it is.
"""

from __future__ import annotations

import json
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
from rys.sweep.store import APPLICATION_ID, SCHEMA_VERSION, Store

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
        probe="p:1", layer_path="", items=[item(f"i{k}") for k in range(n)], scores=np.array(scores),
        parsed=np.ones(n, bool), truncated=np.zeros(n, bool), answers=answers or ["a"] * n, errors=[None] * n,
        details=[{}] * n, chance=0.5, best_constant=0.5, constant="a", n_prompt_tokens=9, n_evaluated_tokens=7,
        n_generated_tokens=0, seconds=0.5,
    )  # fmt: skip


def state(folder: Path) -> dict[str, bytes]:
    """Return the names and bytes of all files."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a closed store with 40 items and 30 trials: some 100 kB."""
    path = tmp_path_factory.mktemp("store") / "s.db"
    store = Store.create(path, {"n_layer": 40, "seed": 3, "nested": {"a": [1, None, "ü"]}})
    items = [item(f"item {k} {'x' * 300}") for k in range(40)]
    store.add_items("search", "p", items)
    for k in range(30):
        store.save(
            "search",
            "candidate",
            f"0..{k}",
            range(k + 1),
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
    assert store.meta == {"n_layer": 40, "seed": 3, "nested": {"a": [1, None, "ü"]}}
    assert [len(hashes) for hashes in store.item_hashes("search").values()] == [40]
    assert store.items("search")[0][:2] == ("p", 0)
    trials = store.trials("search")
    assert [trial.path for trial in trials] == [f"0..{k}" for k in range(30)]
    assert (trials[4].layers, trials[4].status, trials[4].n_items) == ((0, 1, 2, 3, 4), "done", 40)
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
        store.set_meta({"seed": 4})
    assert len(store.trials("search")) == 30
    store.close()
    assert state(file.parent) == before


def test_a_reader_sees_what_a_running_sweep_has_written(file: Path) -> None:
    writer = Store.open(file)
    reader = Store.open(file, read_only=True)
    writer.save("search", "candidate", "new", [0], {}, 0, "failed", "because")
    assert reader.trials("search")[-1].reason == "because"
    reader.close()
    writer.set_meta({"seed": 5})
    assert writer.meta["seed"] == 5
    writer.close()


def test_a_new_store_refuses_a_name_that_is_taken(file: Path) -> None:
    before = state(file.parent)
    with pytest.raises(StoreError, match="exists already; resume it"):
        Store.create(file, {})
    assert state(file.parent) == before


def test_a_store_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        Store.create(tmp_path / "no such folder" / "s.db", {"n_layer": 1})

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_meta", killed)
        with pytest.raises(KeyboardInterrupt):
            Store.create(tmp_path / "s.db", {"n_layer": 1})
    assert not (tmp_path / "s.db").exists()
    Store.create(tmp_path / "s.db", {"n_layer": 1}).close()
    assert Store.open(tmp_path / "s.db").meta == {"n_layer": 1}


def test_items_measured_in_parts_come_together(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s.db", {"n_layer": 2})
    for probe in ("b", "a"):
        store.add_items("search", probe, [item(f"{probe}{k}") for k in range(4)])
    store.save(
        "search", "candidate", "P", [0, 1], {"a": result([1.0]), "b": result([0.5])}, 0, "partial"
    )
    (trial,) = store.trials("search")
    # in the order of `items`: probe a, then b
    np.testing.assert_array_equal(
        store.scores("search")[trial.id], [1, np.nan, np.nan, np.nan, 0.5, np.nan, np.nan, np.nan]
    )
    store.save(
        "search",
        "candidate",
        "P",
        [0, 1],
        {"a": result([0, 1, 1]), "b": result([0, 0, 1])},
        1,
        "done",
    )
    (trial,) = store.trials("search")
    assert (trial.status, trial.n_items, trial.seconds, trial.tokens) == ("done", 4, 2.0, 28)
    assert store.scores("search")[trial.id].tolist() == [1, 0, 1, 1, 0.5, 0, 0, 1]
    store.set_status("search", {"P": "why"}, "left", {"decided": ["look 4"]})
    assert (store.trials("search")[0].status, store.trials("search")[0].reason) == ("left", "why")
    assert store.meta == {"n_layer": 2, "decided": ["look 4"]}
    store.close()


def test_a_transaction_that_fails_leaves_nothing_half_written(file: Path) -> None:
    store = Store.open(file)
    good = result([1.0, 1.0])
    bad = result([1.0, 1.0], ["one answer too few"])
    with pytest.raises(ValueError, match="shorter"):
        store.save("search", "candidate", "P", [0], {"p": good, "q": bad}, 0, "done")
    assert "P" not in [trial.path for trial in store.trials("search")]
    with pytest.raises(TypeError, match="JSON"):
        store.set_meta({"seed": 9, "other": object()})
    assert store.meta["seed"] == 3
    with pytest.raises(StoreError, match="cannot be written"):
        store.save("search", "candidate", "P", [0], {None: good}, 0, "done")  # type: ignore[dict-item]
    assert "P" not in [trial.path for trial in store.trials("search")]
    store.save("search", "candidate", "P", [0], {"p": good}, 0, "done")  # and it can go on
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
        store.save("search", "candidate", "P", [0], {"p": part}, 0, "done")
    assert len(store.trials("search")) == 30
    store.set_meta({"seed": 4})
    assert store.meta["seed"] == 4
    store.close()


def test_strange_texts_are_kept(tmp_path: Path) -> None:
    meta = {"n_layer": 4} | {text: text for text in STRANGE[:5]}
    store = Store.create(tmp_path / "s.db", meta)
    store.add_items("search", "p'\"ü", [item(text or "empty", family=text) for text in STRANGE])
    marks = [k / 8 for k in range(len(STRANGE))]
    store.save(
        "search",
        "candidate",
        "0..0",
        [0],
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
    assert store.meta == meta
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
# what no sweep writes: a change, and what is said of it
CHANGES = {
    "DROP TABLE score": "tables are missing",
    "DROP TABLE score; CREATE TABLE score (trial, probe, position, score)": "tables are missing, or are not as rys",
    "UPDATE meta SET value = 'no JSON' WHERE key = 'seed'": "Expecting value",
    f"UPDATE meta SET value = '{'[' * 100_000}' WHERE key = 'seed'": "recursion",
    "DELETE FROM meta WHERE key = 'n_layer'": "its n_layer is None",
    "UPDATE trial SET path = x'00' WHERE path = '0..7'": "a path that no sweep writes",
    "UPDATE trial SET path = '0..99' WHERE path = '0..7'": "layers 0..39",
    "UPDATE trial SET path = '0..39', layers = '0' WHERE path = '0..7'": "the layers of '0..39' are 0",
    "UPDATE trial SET layers = '\"0..7\"' WHERE path = '0..7'": "the layers of '0..7' are '0..7'",
    "UPDATE trial SET layers = '[0, null]' WHERE path = '0..7'": "the layers of '0..7' are [0, None]",
    "UPDATE trial SET path = '0,0' WHERE path = '0..7'": "the layers of '0,0' are [0, 1, 2, 3, 4, 5, ...]",
    "UPDATE trial SET role = 'weird'": "a path that no sweep writes",
    "UPDATE trial SET role = 'top'": "a path that no sweep writes",
    "UPDATE trial SET role = 'baseline' WHERE path = '0..7'": "'0..7' has the role 'baseline'",
    "UPDATE trial SET status = 'weird'": "a path that no sweep writes",
    "UPDATE trial SET stage = 'weird'": "a path that no sweep writes",
    "UPDATE trial SET n_items = 'abc'": "a path that no sweep writes",
    "UPDATE trial SET seconds = 9e999": "a path that no sweep writes",
    "UPDATE trial SET tokens = 'abc'": "a path that no sweep writes",
    f"UPDATE score SET score = 9e999 {OF_P7}": "a score that no sweep writes",
    f"UPDATE score SET score = 'x' {OF_P7}": "a score that no sweep writes",
    f"UPDATE score SET parsed = 2 {OF_P7}": "a score that no sweep writes",
    f"DELETE FROM score {OF_P7}": "a path that was measured and has no scores",
    "DELETE FROM item WHERE position = 3": "not all items",
    "UPDATE item SET family = x'00'": "an item that no sweep writes",
}
# settings: a key, and what it cannot be
META = [
    ("n_layer", "x"), ("n_layer", True), ("n_layer", 513), ("probes", 3), ("variant", [2]), ("preflight", 5),
    ("preflight", {"p": "x"}), ("arguments", {"model": 5}), ("arguments", {"model": None, "probes": [[1]]}),
    ("arguments", {"start": "x"}), ("arguments", {"paths": 5}), ("arguments", {"lora_path": 5}),
    ("confirm", {"is_complete": True}), ("decided", "all"), ("min_effect", "0.1"), ("stopped", None), ("seed", 10**30),
    pytest.param("min_effect", 10**400, id="a number that no float holds"),
]  # fmt: skip


@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_no_sweep_writes_is_damage(file: Path, change: str, read_only: bool) -> None:
    altered(change)(file)
    before = state(file.parent)
    with pytest.raises(StoreError, match="is damaged: ") as error:
        Store.open(file, read_only=read_only)
    assert CHANGES[change] in str(error.value)
    assert state(file.parent) == before


@pytest.mark.parametrize(("key", "value"), META)
def test_settings_that_no_sweep_has_are_damage(file: Path, key: str, value: Any) -> None:
    altered(f"INSERT OR REPLACE INTO meta VALUES ('{key}', '{json.dumps(value)}')")(file)
    with pytest.raises(StoreError, match=f"is damaged: its {key} is"):
        Store.open(file)


@pytest.mark.parametrize(
    ("key", "value"),
    [("variant", {"rope_freq_base": 3580165449.0}), ("min_effect", 1), ("seed", -(2**62))],
)
def test_settings_that_a_sweep_may_have_can_be_read(file: Path, key: str, value: Any) -> None:
    altered(f"INSERT OR REPLACE INTO meta VALUES ('{key}', '{json.dumps(value)}')")(file)
    store = Store.open(file)
    assert store.meta[key] == value
    store.close()


def test_settings_that_could_not_be_read_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="its force is 1"):
        Store.create(tmp_path / "s.db", {"n_layer": 2, "force": 1})
    assert not any(tmp_path.iterdir())


def test_a_path_stands_once_however_it_is_written(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s.db", {"n_layer": 2})
    store.add_items("search", "p", [item("i")])
    for path in ("0..1", "0,1"):
        store.save("search", "baseline", path, [0, 1], {"p": result([1.0])}, 0, "done")
    store.close()
    with pytest.raises(StoreError, match="'0,1' stands there twice"):
        Store.open(tmp_path / "s.db")


@pytest.mark.parametrize("left", [0, 7])
def test_a_baseline_has_scores_of_all_items(tmp_path: Path, left: int) -> None:
    store = Store.create(tmp_path / "s.db", {"n_layer": 2})
    store.add_items("search", "p", [item(f"i{k}") for k in range(8)])
    store.save("search", "baseline", "0..1", [0, 1], {"p": result([1.0] * 8)}, 0, "done")
    store.close()
    Store.open(tmp_path / "s.db").close()
    altered(f"DELETE FROM score WHERE position = {left}")(tmp_path / "s.db")
    with pytest.raises(StoreError, match="a baseline without scores of all items"):
        Store.open(tmp_path / "s.db")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-20000]), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:5000]), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:50]), "is no SQLite database"),
        (overwritten(8192, 30000), "is damaged"),
        (overwritten(100, 3000), "is damaged"),
        (lambda file: file.write_bytes(b""), "is no SQLite database"),
        (lambda file: file.write_text("Dear diary, " * 50), "is no SQLite database"),
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
            assert store.meta is not None
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
