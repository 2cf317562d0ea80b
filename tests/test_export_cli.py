"""`rys export`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import rys
from rys.engine import weights
from rys.reference import reference_model_path

PATH = "0..7,4..11"


def run(*arguments: Any, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "rys", "export", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_line_says_what_was_written(tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    done = run(reference_model_path(), copy, "--layer-path", PATH)
    assert done.stdout == f"{copy}: 16 layers, {PATH} of 12; {copy.stat().st_size / 1e6:.1f} MB\n"
    assert done.stderr == ""
    with rys.Model(copy, n_ctx=64) as model:
        assert (model.n_layer, model.metadata["rys.layer_path"]) == (16, PATH)


def test_json_is_one_object(tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    done = run(reference_model_path(), copy, "--layer-path", "..", "--json", "--quiet")
    assert json.loads(done.stdout) == {
        "source": str(reference_model_path()),
        "destination": str(copy),
        "layer_path": "0..11",
        "n_layer": 12,
        "n_slot": 12,
        "bytes": copy.stat().st_size,
        "fingerprint": weights.fingerprint(reference_model_path()),
    }
    assert done.stderr == ""


def test_errors_are_one_line_and_status_1(tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    done = run(tmp_path / "absent.gguf", copy, "--layer-path", PATH, status=1)
    assert done.stderr == f"rys export: {tmp_path / 'absent.gguf'}: no such file\n"
    copy.write_text("precious")
    done = run(reference_model_path(), copy, "--layer-path", PATH, status=1)
    assert (
        done.stderr == f"rys export: {copy}: exists; --force (in Python force=True) overwrites it\n"
    )
    assert copy.read_text() == "precious"
    run(reference_model_path(), copy, "--layer-path", PATH, "--force")
    assert done.stdout == ""
    done = run(reference_model_path(), tmp_path / "new.gguf", "--layer-path", "12", status=1)
    assert "layer_path names layer 12, but reference.gguf has layers 0..11" in done.stderr
    assert not (tmp_path / "new.gguf").exists()


def test_without_a_path_the_usage_is_shown(tmp_path: Path) -> None:
    assert (
        "the following arguments are required: --layer-path"
        in run("a.gguf", "b.gguf", status=2).stderr
    )
