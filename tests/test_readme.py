"""The README stays true: its Python runs, its commands do what they say, its table is right."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rys
from rys.cli import main
from support import pages
from support.compare_runs import write_run
from support.pages import DOCS, ROOT
from support.tiny_model import write_tiny_model

README = pages.read(ROOT / "README.md")
EXAMPLES = pages.python_blocks(README)
COMMANDS = pages.rys_commands(README)
N_LAYER = 40  # of the model that the tables of notation are about


def run_python(*arguments: str, cwd: Path) -> str:
    """Run Python with warnings as errors, and return what it printed."""
    result = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_python_example_runs_on_a_model_with_enough_layers(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "model.gguf", n_layer=16)
    lines = run_python("-c", EXAMPLES[0], cwd=tmp_path).splitlines()
    # 19 slots and the stream after the last; BOS and 11 characters; n_embd
    assert lines[-1] == "(20, 12, 64)"


def test_sweep_example_finds_and_confirms_the_planted_block(tmp_path: Path) -> None:
    output = run_python("-c", EXAMPLES[1], cwd=tmp_path)
    assert output.startswith("Confirmed: 0..7,4..11 makes the model better by +")


def test_example_runs_a_model_along_paths() -> None:
    assert "python examples/layer_paths.py" in README
    output = run_python("examples/layer_paths.py", cwd=ROOT)
    assert "the middle third twice: layer_path='0..7,4..11', ready in " in output
    assert re.findall(r"^  '(\d)'$", output, re.MULTILINE)[:2] == ["1", "0"]  # 0 is right


# commands


def command_folder(folder: Path) -> None:
    """Write the files that the README's commands name, but for a sweep."""
    write_tiny_model(folder / "model.gguf", n_layer=16)
    for name, scores in (("base", [0, 0, 1, 1]), ("longer", [1, 0, 1, 1])):
        write_run(folder / "results" / name, {"quiz": {"acc": np.array(scores, float)}})


LONG = [line for line in COMMANDS if line.startswith(("probe", "sweep"))]
QUICK = [line for line in COMMANDS if line not in LONG]
# what compares paths refuses a model that it cannot measure, and random weights cannot be
REFUSED = [line for line in LONG if "sweep model.gguf" in line or line.count("--layer-path") == 2]


def test_every_subcommand_is_shown() -> None:
    shown = {line.partition(" ")[0] for line in COMMANDS}
    assert shown == {"compare", "export", "info", "plot", "probe", "report", "run", "sweep"}
    assert len(LONG) > len(REFUSED) > 0


@pytest.mark.parametrize("arguments", QUICK)
def test_command_succeeds(
    arguments: str,
    tmp_path: Path,
    finished_sweep: rys.Sweep,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_folder(tmp_path)
    shutil.copy(finished_sweep.path, tmp_path / "sweep.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))  # a conversation ends at once
    status = main(shlex.split(arguments, comments=True))
    assert status == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("arguments", LONG)
def test_measuring_command_measures_or_says_why_it_cannot(
    arguments: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    status = main(shlex.split(arguments, comments=True))
    error = capsys.readouterr().err
    if arguments in REFUSED:
        assert (status, "measure" in error) == (1, True), error
    else:
        assert status == 0, error


# the table of notation


def layers_meant(meaning: str) -> list[int]:
    """Return the layers that a phrase such as "layers 0 to 3, then 7: ..." lists."""
    phrase = re.split("[:;]", meaning)[0]
    layers: list[int] = []
    # "0 to 3" or a single "7"
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", phrase):
        layers += range(int(first), int(last or first) + 1)
    return layers


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", DOCS / "layer_paths.md"], ids=["README", "docs"]
)
def test_notation_means_what_the_table_says(page: Path) -> None:
    n_compared = 0
    before = None
    for written, meaning in pages.table(pages.read(page)).items():
        # 0..14,12..39 is notation; [0, 1] and None are Python
        if not re.fullmatch(r"[\d.,+x]+", written):
            continue
        layers = list(rys.LayerPath(written, N_LAYER).layers)
        if meaning.startswith("the same"):
            assert layers == before
        else:
            assert layers == layers_meant(meaning)
        before = layers
        n_compared += 1
    assert n_compared >= 4


def test_the_block_of_the_table_is_the_path_of_the_table() -> None:
    rows = pages.table(README)
    (block,) = (written for written in rows if "LayerPath.block" in written)
    assert rows[block].startswith("layers 12 to 14 twice")
    assert eval(block, {"rys": rys}) == rys.LayerPath("0..14,12..39", N_LAYER)
    assert rys.LayerPath([0, 1, 1, 2], N_LAYER).layers == (0, 1, 1, 2)
    assert "[0, 1, 1, 2]" in rows
