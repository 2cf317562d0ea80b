"""`rys sweep` as a program: what it prints, how it ends, and that nothing is lost when it is
stopped.
"""

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

import rys
from rys.cli import sweep as cli
from rys.errors import StoreError
from rys.next_steps import resume_command
from support.child_processes import heeding

# few candidates and items: the planted block and some around it
SMALL = [
    "--blocks",
    "4",
    "--start",
    "3",
    "--stop",
    "9",
    "--items",
    "16",
    "--min-effect",
    "0.2",
    "--force",
]


def command(*arguments):
    return [sys.executable, "-m", "rys", "sweep", "--n-ctx", "1024", *map(str, arguments)]


def sweep(*arguments, cwd):
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, check=False)


def scores(store):
    connection = sqlite3.connect(store)
    rows = connection.execute(
        "SELECT t.stage, t.path, s.probe, s.position, s.score"
        " FROM score s JOIN trial t ON t.id = s.trial ORDER BY 1, 2, 3, 4"
    ).fetchall()
    connection.close()
    return rows


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    result = sweep(*SMALL, "--json", "--store", "s.db", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "s.db", result.stdout


def test_json_ends_with_one_object_that_holds_the_verdict(undisturbed):
    store, output = undisturbed
    lines = [json.loads(line) for line in output.splitlines()]
    assert lines[0]["event"] == "start"
    measured = [line for line in lines if line.get("event") == "measured"]
    found = {line["event"]: line for line in lines if line.get("event") in ("rounding", "forecast")}
    assert found["rounding"]["rounding"]["ends"] == [8, 16]
    assert found["forecast"]["forecast"]["n_candidates"] == 3
    assert {line["layer_path"] for line in measured} >= {
        "0..11",
        "0..6,3..11",
        "0..7,4..11",
        "0..8,5..11",
    }
    last = lines[-1]
    assert {"verdict", "best", "confirmed", "controls", "n_candidates", "seconds", "store"} <= set(
        last
    )
    assert (last["verdict"], last["best"]["layer_path"], last["n_candidates"]) == (
        "confirmed",
        "0..7,4..11",
        3,
    )
    assert last["store"] == store.name


def test_the_store_is_named_after_model_and_probes_and_output_is_plain(tmp_path):
    result = sweep(*SMALL, "--no-confirm", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "reference.reference.sweep.db").is_file()
    assert result.stdout.startswith(
        "No path confirmed: the best of the search so far is 0..7,4..11 with +"
    )
    assert "\x1b" not in result.stdout
    assert 'not confirmed: layer_path="0..7,4..11"' in result.stdout
    command = "rys sweep --resume reference.reference.sweep.db --confirm"
    assert f"fresh items:\n    {command}" in result.stdout
    rounding, forecast = result.stderr.splitlines()
    assert rounding.startswith("rounding alone moves a score by 0.0")
    assert forecast.startswith("3 candidates: at most ")
    assert sweep(*SMALL, "--no-confirm", "--quiet", "--store", "s.db", cwd=tmp_path).stderr == ""


def test_resuming_a_finished_sweep_prints_its_verdict(undisturbed, tmp_path):
    store, output = undisturbed
    before = scores(store)
    result = sweep("--resume", store, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (
        json.loads(result.stdout.splitlines()[-1])["confirmed"]
        == json.loads(output.splitlines()[-1])["confirmed"]
    )
    assert scores(store) == before


def test_resuming_with_other_settings_is_refused(undisturbed, tmp_path):
    store, _ = undisturbed
    result = sweep("--resume", store, "--items", "99", "--top", "2", cwd=tmp_path)
    assert result.returncode == 1
    assert "leave out --items, --top" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--min-effect", "0.03"], "leave out --min-effect,"),  # the default; the file has 0.2
        (["--stop", "9", "--start", "0"], "leave out --start,"),
        (["--store", "other.db"], "leave out --store"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_given_with_its_default_value_is_not_ignored_by_resume(
    undisturbed, arguments, said, tmp_path
):
    result = sweep("--resume", undisturbed[0], *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_resume_takes_what_does_not_differ(undisturbed, tmp_path):
    same = ["--min-effect", "0.2", "--seed", "0", "--start", "3", "--blocks", "4"]
    result = sweep("--resume", undisturbed[0], *same, "--quiet", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Confirmed: 0..7,4..11")


def test_a_probe_with_fewer_items_than_wanted_is_told_once(tmp_path):
    lines = [{"question": f"{k} + 1 =", "answer": str(k + 1)} for k in range(40)]
    (tmp_path / "few.jsonl").write_text("\n".join(map(json.dumps, lines)))
    few = [
        "--paths",
        "0..7,4..",
        "--probes",
        "reference,few.jsonl",
        "--items",
        "64",
        "--force",
        "--no-confirm",
    ]
    result = sweep(*few, "--store", "s.db", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert notes == ["note: few has only 20 of 64 items for the search"]
    start, *_, last = map(
        json.loads, sweep(*few, "--store", "s.db", "--json", cwd=tmp_path).stdout.splitlines()
    )
    assert start["notes"] == last["notes"] == ["few has only 20 of 64 items for the search"]


def test_a_confirmation_that_was_planned_cannot_be_changed(undisturbed, tmp_path):
    shutil.copy(undisturbed[0], tmp_path / "copy.db")
    with rys.reference_model(n_ctx=1024) as model:
        blocks = rys.space.blocks([4], start=3, stop=9)
        with pytest.raises(StoreError, match="its confirmation was planned with top="):
            rys.Sweep(
                model, "reference", blocks, store=tmp_path / "copy.db", items=16, min_effect=0.77
            )
        with rys.Sweep.open(tmp_path / "copy.db") as untouched:
            assert untouched.options.min_effect != 0.77


def chosen(*arguments):
    """Return the candidates that a command line means for 12 layers."""
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    space = cli.chosen_space(cli.with_defaults(parser.parse_args(["sweep", *arguments])))
    return [str(path) for path in space.candidates(12)]


def test_start_and_stop_restrict_and_choose_nothing_themselves():
    assert chosen("--repeats", "2", "--start", "4", "--stop", "7") == [
        "0..4,4..11",
        "0..5,5..11",
        "0..6,6..11",
    ]
    assert chosen("--skips", "1", "--start", "8") == [
        "0..7,9..11",
        "0..8,10..11",
        "0..9,11",
        "0..10",
    ]
    assert chosen("--blocks", "2", "--repeats", "3", "--start", "9") == [
        "0..10,9..11", "0..11,10..11", "0..9,9,9..11", "0..9,10x3,11", "0..10,11x3"
    ]  # fmt: skip
    assert chosen("--start", "10") == ["0..9,10x2,11", "0..11,11", "0..11,10..11"]


def test_the_command_that_resumes_keeps_what_is_not_in_the_file(undisturbed, tmp_path):
    result = sweep("--resume", undisturbed[0], "--quiet", "--budget", "9h", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    resumed = f"rys sweep --resume {undisturbed[0]} --quiet --budget 9h"
    flags = cli._flags(argparse.Namespace(json=False, quiet=True))
    assert resume_command(str(undisturbed[0]), *flags, budget="9h") == resumed


def test_a_sweep_begun_without_confirmation_is_resumed_without(tmp_path):
    def stages():
        return {stage for stage, *_ in scores(tmp_path / "s.db")}

    begun = sweep(*SMALL, "--no-confirm", "--budget", "2k-tokens", "--store", "s.db", cwd=tmp_path)
    assert begun.returncode == 0, begun.stderr
    resumed = sweep("--resume", "s.db", "--quiet", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.startswith("No path confirmed: the best of the search so far")
    assert stages() == {"search"}
    after_all = sweep("--resume", "s.db", "--confirm", "--quiet", cwd=tmp_path)
    assert after_all.stdout.startswith("Confirmed: 0..7,4..11")
    assert stages() == {"search", "confirm"}


@pytest.mark.parametrize(
    ("provenance", "said"),
    [
        ({"start": "x"}, "argument --start: invalid int value: 'x'"),
        ({"a_later_flag": 3}, "unrecognized arguments: --a-later-flag"),
        ({"strategy": "guess"}, "invalid choice: 'guess'"),
        ({"blocks": [[1]]}, "argument --blocks: invalid int value"),
    ],
)
def test_a_file_may_say_anything_of_how_it_was_made(undisturbed, tmp_path, provenance, said):
    store = tmp_path / "copy.db"
    shutil.copy(undisturbed[0], store)
    connection = sqlite3.connect(store)
    (text,) = connection.execute("SELECT value FROM meta WHERE key = 'options'").fetchone()
    text = json.dumps(json.loads(text) | {"provenance": provenance})
    connection.execute("UPDATE meta SET value = ? WHERE key = 'options'", (text,))
    connection.commit()
    connection.close()
    result = sweep("--resume", store, cwd=tmp_path)
    assert result.returncode == 1
    assert f"{store} was made with options that this rys does not know" in result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--probes", "nonsense"], "there is no probe 'nonsense'"),
        (["--beam", "4"], "must be WIDTHxDEPTH"),
        (["--budget", "soon"], "must be a time such as 2h"),
        (["nowhere.gguf"], "nowhere.gguf: no such file"),
        (["--blocks", "40"], "has no path for a model of 12 layers"),
        (["--paths", "0..90"], "0..90"),
        (["--start", "9", "--stop", "3"], "0 <= start < stop <= 12"),
        (["--min-effect", "7"], "min_effect is 7.0"),
        (["--resume", "nowhere.db"], "nowhere.db"),
        (["--coarse-to-fine", "--beam", "2x1"], "leave out --beam"),
        (["--beam", "²x2"], "must be WIDTHxDEPTH"),
        (["--paths", ".."], "which is the baseline of every sweep"),
        (["--items", "99999999"], "items is 99999999, but must be 2..100000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_told_in_a_line_and_leaves_no_file(arguments, said, tmp_path):
    result = sweep("--items", "16", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("rys sweep: ")
    assert list(tmp_path.iterdir()) == []


def test_the_store_of_another_sweep_is_refused_with_what_differs(undisturbed, tmp_path):
    store, _ = undisturbed
    result = sweep(*SMALL, "--seed", "5", "--store", store, cwd=tmp_path)
    assert result.returncode == 1
    assert "seed was 0 and is 5" in result.stderr


def test_a_spent_budget_ends_in_good_order_and_can_be_taken_up(undisturbed, tmp_path):
    result = sweep(*SMALL, "--budget", "2k-tokens", "--store", "s.db", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "To go on without one: rys sweep --resume s.db\n" in result.stdout
    assert sweep("--resume", "s.db", "--quiet", cwd=tmp_path).stdout.startswith(
        "Confirmed: 0..7,4..11"
    )
    assert scores(tmp_path / "s.db") == scores(undisturbed[0])


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_saves_and_prints_the_command_that_resumes(undisturbed, tmp_path):
    program = subprocess.Popen(
        command(*SMALL, "--json", "--store", "s.db"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding(signal.SIGINT),
    )
    # started, the baseline, rounding, the forecast, one candidate
    lines = [json.loads(program.stdout.readline()) for _ in range(5)]
    assert lines[4]["role"] == "candidate"
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 130, said
    assert "rys sweep --resume s.db" in said
    assert "Traceback" not in said
    resumed = sweep("--resume", "s.db", "--quiet", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert scores(tmp_path / "s.db") == scores(undisturbed[0])


@pytest.mark.parametrize(
    ("arguments", "n_kills"),
    [
        pytest.param(SMALL, 5, id="5 kills"),
        pytest.param(
            ["--blocks", *"123456", "--min-effect", "0.1"],
            25,
            marks=pytest.mark.slow,
            id="25 kills",
        ),
    ],
)
def test_a_sweep_killed_at_random_moments_ends_with_the_scores_of_an_undisturbed_one(
    arguments, n_kills, tmp_path
):
    start = time.monotonic()
    undisturbed = sweep(*arguments, "--quiet", "--store", "undisturbed.db", cwd=tmp_path)
    longest = min(2.5, time.monotonic() - start)
    assert undisturbed.returncode == 0, undisturbed.stderr
    rng = random.Random(0)
    store = tmp_path / "s.db"
    n_killed = n_compared = 0
    while n_killed < n_kills or not n_compared or store.exists():
        again = ["--resume", "s.db"] if store.exists() else [*arguments, "--store", "s.db"]
        program = subprocess.Popen(
            command(*again, "--quiet"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if n_killed < n_kills:
            time.sleep(rng.uniform(0.1, 1) * longest)
            n_killed += program.poll() is None
            program.kill()
        _, said = program.communicate()
        assert program.returncode in (0, -signal.SIGKILL), said
        if (
            program.returncode == 0
        ):  # on a fast machine before all the kills: then another one has to bear the rest
            assert scores(store) == scores(tmp_path / "undisturbed.db")
            n_compared += 1
            for file in tmp_path.glob("s.db*"):
                file.unlink()
