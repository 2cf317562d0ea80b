"""`rys probe`, as a user runs it: the reference model is there without a file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rys._util.tables import table
from support.tiny_model import write_tiny_model

BOTH = ("--layer-path", "..", "--layer-path", "0..7,4..11")


def probe(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "rys", "probe", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_table_of_the_reference_model():
    done = probe("--items", "16", "--show", "2")
    lines = done.stdout.splitlines()
    header = "path probe items score 95% interval accuracy chance constant read cut off seconds"
    assert " ".join(lines[0].split()) == header
    assert lines[1].split()[:3] == ["0..11", "reference:1", "16"]
    assert "by family: days" in done.stdout
    assert (
        done.stdout.count("  asked:  ")
        == done.stdout.count("  said:   ")
        == done.stdout.count("  target: ")
        == 2
    )
    assert done.stderr == ""


def test_json_is_one_object():
    document = json.loads(
        probe(
            "--items", "6", "--probes", "reference:easy,math:easy", "--json", "--show", "1"
        ).stdout
    )
    assert [result["probe"] for result in document["results"]] == ["reference:1", "math:2"]
    assert all(result["n"] == 6 for result in document["results"])
    assert set(document["preflight"]) == {"reference", "math"}
    assert document["comparison"] is None
    assert [len(shown["items"]) for shown in document["items"]] == [1, 1]
    assert set(document["items"][0]["items"][0]) == {
        "id",
        "prompt",
        "asked",
        "answer",
        "target",
        "score",
    }


def test_split_and_seed_choose_the_items():
    def asked(*arguments: str) -> list[str]:
        document = json.loads(probe("--items", "2", "--show", "2", "--json", *arguments).stdout)
        return [item["id"] for item in document["items"][0]["items"]]

    sets = [asked(), asked("--seed", "1"), asked("--split", "confirm")]
    assert len({tuple(ids) for ids in sets}) == 3
    assert asked("--seed", "0", "--split", "search") == sets[0]


def test_the_planted_path_beats_the_plain_one():
    # with 64 items the plain model is not above the best constant answer of these items: more of
    # them tell
    done = probe("--probes", "reference:hard", "--items", "240", *BOTH, "--json")
    document = json.loads(done.stdout)
    assert document["preflight"] == {"reference": []}
    (row,) = document["comparison"]
    assert (row["probe"], row["n"], row["forced"]) == ("reference:1", 240, False)
    assert [result["layer_path"] for result in document["results"]] == ["0..11", "0..7,4..11"]
    assert [result["mean"] for result in document["results"]] == [row["base"], row["other"]]
    assert row["difference"] == pytest.approx(row["other"] - row["base"])
    low, high = row["interval"]
    assert 0.4 < low < row["difference"] < high < 0.9


def test_a_probe_that_measures_nothing_is_refused_with_the_reason():
    done = probe("--probes", "reference:hard", "--items", "32", *BOTH, status=1)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "rys probe: no probe can measure this model along the first path (reference: the score 0."
    )
    assert "is not above what the constant answer" in line
    assert line.endswith("take an easier tier or more items); --force compares anyway")


def test_force_compares_anyway_and_marks_the_result():
    done = probe("--probes", "reference:hard", "--items", "32", "--force", *BOTH)
    assert "reference cannot measure here: the score" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("reference:1 (forced)")
    assert "+0." in last


def test_only_the_probes_that_can_measure_are_compared():
    done = probe("--probes", "reference,math:easy", "--items", "48", *BOTH, "--json")
    document = json.loads(done.stdout)
    assert document["preflight"]["reference"] == []
    assert document["preflight"]["math"]
    assert [row["probe"] for row in document["comparison"]] == ["reference:1"]


def test_a_file_of_the_user_and_a_model_of_the_user(tmp_path: Path):
    model = write_tiny_model(tmp_path / "tiny.gguf")
    questions = tmp_path / "mine.jsonl"
    lines = [{"prompt": f"1 + {i}?", "answer": i + 1, "scorer": "number"} for i in range(8)]
    questions.write_text("\n".join(map(json.dumps, lines)))
    document = json.loads(
        probe(
            str(model),
            "--probes",
            str(questions),
            "--json",
            "--n-ctx",
            "256",
            "--layer-path",
            "0..3,2..",
        ).stdout
    )
    (result,) = document["results"]
    assert (result["probe"], result["n"], result["layer_path"]) == ("mine:2", 4, "0..3,2..5")


def test_a_model_that_no_form_measures_is_told_why(tmp_path: Path):
    model = str(write_tiny_model(tmp_path / "tiny.gguf"))  # has random weights
    done = probe(model, "--probes", "math", "--items", "16", "--n-ctx", "1024", status=1)
    (line,) = done.stderr.splitlines()
    assert line.startswith("rys probe: no form of any probe measures this model: math: no form")
    assert "Give a file with questions of your own (--probes mine.jsonl)" in line


def test_a_form_that_is_given_is_not_calibrated():
    form = "math:basic:shots=1:style=plain"
    document = json.loads(probe("--probes", form, "--items", "4", "--json", "--show", "1").stdout)
    assert document["calibration"] is None
    (shown,) = document["items"][0]["items"]
    assert shown["asked"].endswith("? (after 1 example)")
    assert len(shown["prompt"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--probes", "nope"],
            "there is no probe 'nope'; give one of math, eq, reasoning, reference",
        ),
        (["--probes", "math:huge"], "tier is 'huge', but must be one of"),
        (["--probes", ""], "there is no probe ''"),
        (["--probes", "math,math"], "the probes are ['math', 'math']"),
        (["--items", "0"], "--items is 0, but must be at least 1"),
        (["--show", "-1"], "--show is -1, but must be at least 0"),
        (["--thinking-budget", "-1"], "thinking_budget is -1, but must be"),
        (
            ["--layer-path", "..", "--layer-path", "..", "--layer-path", ".."],
            "--layer-path was given 3 times",
        ),
        (["--layer-path", "[0,"], "layer_path"),
        (["nowhere.gguf"], "nowhere.gguf"),
        (["--chat-template", "nowhere.jinja"], "--chat-template nowhere.jinja"),
        (["--tensor-split", "a,b"], "--tensor-split is 'a,b', but must be numbers such as 3,1"),
    ],
)
def test_bad_input_is_one_line_and_no_traceback(arguments, message, tmp_path):
    done = probe(*arguments, status=1)
    assert done.stdout == ""
    first, *pointer = done.stderr.splitlines()
    assert first.startswith("rys probe: ")
    assert message in first
    # a layer path is shown with what is wrong in it underlined
    assert not pointer or (message == "layer_path" and pointer[-1].strip(" ^") == "")


def test_a_file_that_is_no_model_or_no_questions_is_refused(tmp_path: Path):
    text = tmp_path / "text.gguf"
    text.write_text("not a model")
    assert probe(str(text), status=1).stderr.startswith("rys probe: ")
    assert "is not JSON" in probe("--probes", str(text), status=1).stderr


def test_items_that_fail_are_shown():
    done = probe("--items", "4", "--n-ctx", "16", "--show", "2")
    assert "of 4 items failed (the prompt has" in done.stdout
    assert "failed: the prompt has" in done.stdout


def test_bad_usage_and_help():
    assert "invalid choice: 'train'" in probe("--split", "train", status=2).stderr
    assert "invalid int value" in probe("--items", "many", status=2).stderr
    for option in (
        "--layer-path",
        "--probes",
        "--items",
        "--seed",
        "--json",
        "--show",
        "--force",
        "--thinking",
    ):
        assert option in probe("--help").stdout


def test_tables_align_figures_to_the_right():
    assert table(["name", "n"], [["a", 5], ["long", 12]]) == "name   n\na      5\nlong  12"
    assert table(["name"], []) == "name"
