"""`rys run`: prompts, conversations, paths side by side."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rys
from rys._util.printable import printable
from rys.cli.run import side_by_side
from support.child_processes import heeding
from support.tiny_model import write_tiny_model

QUESTION = "3+4-5="


def run(
    *arguments: str, said: str | None = None, status: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "rys", "run", *arguments],
        input=said,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_model(tmp_path_factory.mktemp("run") / "tiny.gguf"))


def test_a_prompt_is_continued_along_the_path():
    path = "0..7,4..11"
    with rys.reference_model(path) as model:
        expected = model.chat([{"role": "user", "content": QUESTION}], max_tokens=4).text
    assert run("-p", QUESTION, "-n", "4", "--layer-path", path).stdout == expected + "\n"


def test_the_prompt_may_come_from_standard_input():
    assert run("-n", "4", said=QUESTION + "\n").stdout == run("-n", "4", "-p", QUESTION).stdout


def test_json_holds_every_path():
    document = json.loads(run("-p", QUESTION, "-n", "4", "--compare", "0..7,4..", "--json").stdout)
    assert document["prompt"] == QUESTION
    assert [result["layer_path"] for result in document["results"]] == ["0..11", "0..7,4..11"]
    with rys.reference_model("0..7,4..11") as model:
        expected = model.chat([{"role": "user", "content": QUESTION}], max_tokens=4).text
    assert document["results"][1]["text"] == expected


def test_a_template_makes_the_prompt_a_message_unless_raw(tiny: str):
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    with rys.Model(tiny) as model:
        as_message = model.chat(asked, max_tokens=4).text
        as_text = model.generate("Be brief.\nHello", max_tokens=4).text
    options = (tiny, "-p", "Hello", "--system", "Be brief.", "-n", "4", "--json")
    assert json.loads(run(*options).stdout)["results"][0]["text"] == as_message
    raw = run(tiny, "-p", "Be brief.\nHello", "-n", "4", "--json", "--raw")
    assert json.loads(raw.stdout)["results"][0]["text"] == as_text
    assert as_message != as_text


def test_a_conversation_remembers_what_was_said(tiny: str):
    done = run(tiny, "--chat", "-n", "4", said="Hello\n\nAnd then\n")
    with rys.Model(tiny) as model:
        first = {"role": "user", "content": "Hello"}
        answer = model.chat([first], max_tokens=4).text
        again = model.chat(
            [
                first,
                {"role": "assistant", "content": answer},
                {"role": "user", "content": "And then"},
            ],
            max_tokens=4,
        ).text
    shown = [printable(text, limit=None, keep="\n\t") for text in (answer, again)]
    assert done.stdout == f"> {shown[0]}\n> > {shown[1]}\n> \n"


def test_a_full_context_ends_neither_the_conversation_nor_what_was_said(tiny: str):
    done = run(tiny, "--chat", "-n", "2", "--n-ctx", "64", said=f"Hello\n{'long ' * 200}\nHello\n")
    assert "the context holds 64" in done.stderr
    assert done.stdout.count("> ") == 4


def test_a_long_conversation_goes_on_without_its_beginning(tiny: str):
    said = f"{'long ' * 12}\n" * 3
    done = run(tiny, "--chat", "-n", "2", "--n-ctx", "128", "--seed", "random", said=said)
    assert "the context is full; the 2 oldest messages are left out (--n-ctx" in done.stderr
    assert "error" not in done.stderr
    assert "the context holds" not in done.stderr


def test_paths_answer_side_by_side():
    done = run("-p", QUESTION, "-n", "4", "--compare", "0..7,4..")
    title, line, *_ = done.stdout.splitlines()
    assert [part.strip() for part in title.split("|")] == ["0..11", "0..7,4..11"]
    assert set(line) == {"-", " ", "|"}


def test_narrow_terminals_have_the_texts_one_after_the_other():
    assert side_by_side(["a", "b"], ["one two", "three"], 40) == "a:\none two\n\nb:\nthree"
    assert side_by_side(["a", "b"], ["one two", "x | y\n\nz"], 60).splitlines()[2:] == [
        f"{'one two':<28} | x | y",
        f"{'':<28} |",
        f"{'':<28} | z",
    ]


def test_a_model_cannot_steer_the_terminal():
    assert printable("a\x1b[31mred\x1b]0;title\x07b\x9b\rc\u202ed", keep="\n") == "aredb  c d"
    assert printable("x" * 300, limit=10) == "x" * 7 + "..."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--chat", "--json"), "leave out --json and --raw"),
        ((), "there is no prompt"),
        (("-p", "hi", "--raw", "--system", "Be brief."), "leave out --system"),
        (("-p", "hi", "--layer-path", "0..99"), "has layers 0..11"),
        (("-p", "hi", "-n", "-1"), "max_tokens"),
        (("-p", "hi", "--temperature", "-1"), "temperature"),
        (("none.gguf", "-p", "hi"), "no such file"),
    ],
)
def test_bad_usage_is_told(arguments: tuple[str, ...], message: str):
    assert message in run(*arguments, said="", status=1).stderr


def test_a_conversation_needs_a_chat_template(tmp_path: Path):
    plain = write_tiny_model(tmp_path / "plain.gguf", chat_template=None)
    assert "has no chat template" in run(str(plain), "--chat", said="", status=1).stderr


def test_ctrl_c_ends_the_program_with_its_status(tiny: str):
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "rys",
            "run",
            tiny,
            "-p",
            "Hello",
            "-n",
            "100000",
            "--n-ctx",
            "200000",
            "--raw",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=heeding(signal.SIGINT),
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "rys run: interrupted\n"
