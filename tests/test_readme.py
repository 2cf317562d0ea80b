"""The README stays true: its Python runs, its commands exist and its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rys
from support.tiny_model import write_tiny_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_python_example_runs_on_a_model_with_enough_layers(tmp_path: Path) -> None:
    code = EXAMPLES[0]
    write_tiny_model(tmp_path / "model.gguf", n_layer=16)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert (
        lines[-1] == "(20, 12, 64)"
    )  # 19 slots and the stream after the last; BOS and 11 characters; n_embd


def test_sweep_example_finds_and_confirms_the_planted_block(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Confirmed: 0..7,4..11 makes the model better by +")


def test_example_runs_a_model_along_paths() -> None:
    assert "python examples/layer_paths.py" in README
    result = subprocess.run(
        [sys.executable, "examples/layer_paths.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "layer_path='0..3,3..5', 7 slots" in result.stdout


@pytest.mark.parametrize(
    ("written", "layers"), re.findall(r"^\| `([\d.,+x]+)` \| (.*) \|$", README, re.MULTILINE)
)
def test_notation_in_the_table_is_read(written: str, layers: str) -> None:
    assert rys.LayerPath(written, 40).n_slot > 0, layers


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
