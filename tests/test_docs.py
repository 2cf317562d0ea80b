"""The pages of docs/ stay true: their Python runs, their commands parse, their links lead
somewhere.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import rys
from rys import html_report, model_info, plot  # noqa: F401  (they define errors)
from rys.cli import COMMANDS, main
from support.tiny_model import write_tiny_model

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT.parent / "shared" / "data" / "llm-circuit-finder"
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


def names(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_commands_are_understood(page: Path) -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    for line in re.findall(
        r"^    rys (\w+ .*|sweep)$", page.read_text(encoding="utf-8"), re.MULTILINE
    ):
        parser.parse_args(shlex.split(line, comments=True))


@pytest.mark.parametrize("page", ["quickstart.md", "layer_paths.md"])
def test_python_of_the_page_runs(page: str, tmp_path: Path) -> None:
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL
    )
    assert blocks
    write_tiny_model(tmp_path / "model.gguf", n_layer=16)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for said in re.findall(r"print\(.*\)  # (\d.*)", "\n".join(blocks)):
        assert said in result.stdout.splitlines()


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published results are not here")
def test_the_comparison_of_the_page_is_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    example = re.search(r"^    \$ rys (compare .*)\n((?:    .*\n|\n)+)", page, re.MULTILINE)
    assert example
    monkeypatch.chdir(PUBLISHED)
    assert main(shlex.split(example[1])) == 0
    assert textwrap.dedent(example[2]).strip() == capsys.readouterr().out.strip()


def errors_below(error: type[Exception]) -> Iterator[type[Exception]]:
    for below in error.__subclasses__():
        yield below
        yield from errors_below(below)


def test_every_error_is_on_the_page_of_errors() -> None:
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| `(\w+)` \|",
            (ROOT / "docs/errors.md").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    errors = {
        error.__name__: error
        for error in errors_below(rys.RysError)
        if error.__module__.startswith("rys.")
    }
    assert rows.keys() == errors.keys()
    for name, parent in rows.items():
        assert parent in [error.__name__ for error in errors[name].__mro__], name
