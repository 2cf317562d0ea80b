"""Sweeps of real models: whatever the model is, they come to an end that says something.

`RYS_REAL_MODELS` names the folder with the models; without it the tests skip. Those of the larger
ones are slow, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rys
from rys.probes import Calibration
from support.real_models import real_model

pytestmark = pytest.mark.real


def swept(model: Path, folder: Path, *options: str) -> list[dict[str, Any]]:
    """Return the lines of JSON that `rys sweep` prints for blocks of two layers."""
    words = [str(model), "--blocks", "2", "--no-confirm", "--json", "--store", "s.db", *options]
    result = subprocess.run(
        [sys.executable, "-m", "rys", "sweep", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def check_lines(lines: list[dict[str, Any]], store: Path) -> None:
    events = {line["event"]: line for line in lines if "event" in line}
    assert list(events)[:2] == ["start", "calibration"]
    calibration = Calibration.from_json(events["calibration"]["calibration"])
    assert len(calibration.probes) >= 2
    assert events["forecast"]["forecast"]["n_candidates"] == lines[-1]["n_candidates"] > 0
    assert len(lines[-1]["baseline"]) >= 2
    assert 0 <= lines[-1]["rounding"]["change"] < 0.05
    with rys.Sweep.open(store) as sweep:
        frame = sweep.results()
        assert set(frame["status"]) == {"done"}
        assert frame["effect"].notna().all()


def test_a_sweep_of_a_small_chat_model_measures_with_both_probes(tmp_path: Path) -> None:
    few = ["--probes", "math,reasoning", "--items", "24", "--stride", "14"]
    lines = swept(real_model("smollm2"), tmp_path, *few)
    check_lines(lines, tmp_path / "s.db")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2", "gemma-3", "qwen2.5"])
def test_a_default_sweep_of_any_model_measures_with_two_probes(name: str, tmp_path: Path) -> None:
    lines = swept(real_model(name), tmp_path, "--items", "32", "--stride", "4")
    check_lines(lines, tmp_path / "s.db")
