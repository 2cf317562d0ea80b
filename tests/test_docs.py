"""The pages of documentation stay true.

Their Python runs, their commands parse, their links lead somewhere. What is special about the
README is in test_readme.py.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rys
from rys import plot
from rys.cli import COMMANDS, main
from support import pages
from support.compare_runs import write_run
from support.pages import DOCS, ROOT
from support.tiny_model import write_tiny_model

PUBLISHED = ROOT.parent / "shared" / "data" / "llm-circuit-finder"
PAGES = sorted(
    [
        *DOCS.glob("*.md"),
        *ROOT.glob("*.md"),
        ROOT / "benchmarks/README.md",
        ROOT / "vendor/llama.cpp/README.md",
    ]
)
# pages that call rys on the command line; without the list a page whose blocks are not recognised
# any more would pass on nothing
CALLS_RYS = {
    "README.md",
    "docs/compare.md",
    "docs/export.md",
    "docs/plots.md",
    "docs/probes.md",
    "docs/quickstart.md",
    "docs/report.md",
    "docs/sweeps.md",
}
# pages whose Python is run here, one block after the other; the Python of probes.md runs in
# test_probe_conformance.py, that of plots.md in tools/make_gallery.py, which draws its pictures
RUNS = ("compare.md", "export.md", "layer_paths.md", "quickstart.md", "report.md")


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_to_files(page: Path) -> None:
    # [text](target), ![alt](target); fragments and titles are not used here
    targets = re.findall(r"\]\(([^)#\s]+)\)", pages.read(page))
    local = [target for target in targets if not target.startswith("http")]
    for target in local:
        assert (page.parent / target).exists(), target


def test_pages_have_links() -> None:
    """The expression of the test above still finds links."""
    assert "docs/probes.md" in re.findall(r"\]\(([^)#\s]+)\)", pages.read(ROOT / "README.md"))


def test_commands_are_found_on_every_page_that_has_some() -> None:
    n_commands = {page_name(page): len(pages.rys_commands(pages.read(page))) for page in PAGES}
    assert {name for name, n in n_commands.items() if n} >= CALLS_RYS
    assert sum(n_commands.values()) >= 30


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_are_understood(page: Path) -> None:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    for arguments in pages.rys_commands(pages.read(page)):
        parser.parse_args(shlex.split(arguments, comments=True))


def test_a_command_that_is_not_understood_is_noticed() -> None:
    """The parser of the test above does not take everything."""
    with pytest.raises(SystemExit):
        main(["sweep", "--no-such-option"])


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_programs_and_extras_that_commands_name_are_there(page: Path) -> None:
    project = pages.read(ROOT / "pyproject.toml")
    for command in pages.commands(pages.read(page)):
        # python tools/stubs.py, bash .ci/run
        for program in re.findall(r"\b(?:python|bash) ([\w./-]*/[\w.-]+)", command):
            assert (ROOT / program).is_file(), command
        # pip install -e ".[dev,train]"
        for extras in re.findall(r"pip install .*\.\[([\w,]+)\]", command):
            for extra in extras.split(","):
                assert re.search(rf"^{extra} = \[", project, re.MULTILINE), command


@pytest.fixture
def folder(tmp_path: Path, finished_sweep: rys.Sweep) -> Path:
    """Return a folder that holds the files which the pages name."""
    write_tiny_model(tmp_path / "model.gguf", n_layer=40)
    shutil.copy(finished_sweep.path, tmp_path / "sweep.db")
    for name in ("base", "other"):
        write_run(tmp_path / name, {"quiz": {"acc": np.array([0.0, 1.0, 1.0, 0.0])}})
    return tmp_path


@pytest.mark.parametrize("page", RUNS)
def test_python_of_the_page_runs(page: str, folder: Path) -> None:
    blocks = pages.python_blocks(pages.read(DOCS / page))
    assert blocks
    code = "\n".join(["import rys", *blocks])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    # print(path.n_slot)  # 43
    for said in re.findall(r"print\(.*\)  # (\d.*)", code):
        assert said in result.stdout.splitlines()


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_python_of_the_page_is_python(page: Path) -> None:
    for block in pages.python_blocks(pages.read(page)):
        compile(block, page.name, "exec")


def test_every_plot_has_its_section_and_its_picture() -> None:
    text = pages.read(DOCS / "plots.md")
    drawn = set(plot.__all__) - {"PlotError"}
    assert drawn == set(re.findall(r"^###? (\w+)$", text, re.MULTILINE)) - {"Models"}
    assert drawn == set(re.findall(r"^plot\.(\w+)\(", text, re.MULTILINE))
    assert drawn <= set(re.findall(r"\(images/plot_(\w+)\.png\)", text))


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published results are not here")
def test_the_comparison_of_the_page_is_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = pages.blocks(pages.read(DOCS / "compare.md"))
    (example,) = (block.text for block in blocks if block.text.startswith("$ rys compare "))
    command, _, output = example.partition("\n")
    monkeypatch.chdir(PUBLISHED)
    assert main(shlex.split(command)[2:]) == 0
    assert output.strip() == capsys.readouterr().out.strip()


def test_files_that_contributors_are_sent_to_are_there() -> None:
    n_paths = 0
    for page in (ROOT / "CONTRIBUTING.md", DOCS / "design.md"):
        # `python/rys/plot/`, `docs/plots.md`, `rys/cli/` of the table of the design
        for path in re.findall(r"`([\w.]+/[\w./-]*)`", pages.read(page)):
            n_paths += 1
            assert (ROOT / path).exists() or (ROOT / "python" / path).exists(), path
    assert n_paths > 20


def test_the_reference_has_every_public_name() -> None:
    text = pages.read(DOCS / "api.md")
    modules = {"compare", "export", "plot", "probes", "space"}
    assert modules < set(rys.__all__)
    # .. autoclass:: rys.Model
    documented = set(re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE))
    names = {f"rys.{name}" for name in set(rys.__all__) - modules - {"RysError"}}
    names |= {"rys.errors", "rys.plot", "rys.space"}  # with all their members
    names |= {f"rys.compare.{name}" for name in set(rys.compare.__all__) - {"CompareError"}}
    names |= {f"rys.export.{name}" for name in set(rys.export.__all__) - {"CannotExpressError"}}
    names |= {f"rys.probes.{name}" for name in set(rys.probes.__all__) - {"ProbeError"}}
    constants = {name for name in names if name.rpartition(".")[2].isupper()}
    assert names - constants - documented == set()


def errors_below(error: type[Exception]) -> Iterator[type[Exception]]:
    for below in error.__subclasses__():
        yield below
        yield from errors_below(below)


def test_every_error_is_on_the_page_of_errors() -> None:
    # | `ProbeError` | `ValueError` | ... |
    rows = dict(
        re.findall(r"^\| `(\w+)` \| `(\w+)` \|", pages.read(DOCS / "errors.md"), re.MULTILINE)
    )
    ours = [error for error in errors_below(rys.RysError) if error.__module__.startswith("rys.")]
    errors = {error.__name__: error for error in ours}
    assert len(errors) >= 19
    assert rows.keys() == errors.keys()
    for name, parent in rows.items():
        assert parent in [error.__name__ for error in errors[name].__mro__], name
