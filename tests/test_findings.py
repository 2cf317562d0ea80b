"""tools/findings.py: what it writes of a sweep and of benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

import findings
from rys.sweep.sweep_file import SweepFile


def test_a_section_says_what_was_found(finished_sweep: SweepFile) -> None:
    report = finished_sweep.report()
    base = findings.Scores("0..11", {"gsm8k": [0.0, 0.0, 1.0, 0.0], "bbh a": [1.0, 1.0]}, 1, 2.0)
    best = findings.Scores("0..7,4..11", {"gsm8k": [1.0, 0.0, 1.0, 1.0], "bbh a": [1.0, 0.0]}, 0, 2)
    text = findings.section(Path("some/model.gguf"), report, [base, best])
    assert text.startswith(f"## model\n\n**{report.sentence}**")
    assert "- rounding alone" in text.replace("Rounding", "rounding")
    assert f"| `{report.top[0].path}` |" in text
    assert text.count("| random |") == len(report.controls)
    assert "| GSM8K | 4 | 0.250 | 0.750 | +0.500 [" in text
    assert "| BIG-Bench-Hard | 2 | 1.000 | 0.500 | -0.500 [" in text
    assert "Cut off before an answer: 1 along `0..11`, 0 along `0..7,4..11`" in text


def test_a_model_without_a_best_path_has_the_baseline_alone() -> None:
    base = findings.Scores("0..11", {"gsm8k": [0.0, 1.0], "bbh a": [1.0]}, 0, 2.0)
    assert "| GSM8K | 2 | 0.500 | | |" in findings.benchmark_table([base])


def test_pictures_are_drawn(finished_sweep: SweepFile, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("agg")
    findings.draw(finished_sweep, tmp_path / "images", "model")
    names = sorted(file.name for file in (tmp_path / "images").iterdir())
    assert names == ["findings_model_map.png", "findings_model_shrinkage.png"]
