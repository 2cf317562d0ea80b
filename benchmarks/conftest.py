"""What the suite's files share: `--quick`, the model, and the output of the scripts at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import rys
from make_model import cached_model
from measuring import table
from rys.reference import reference_model_path

OUTPUTS = pytest.StashKey[dict[str, str]]()
OVERHEADS = pytest.StashKey[list[list[object]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="benchmarks: show that they run, in minutes; no figures",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("the benchmarks need pytest-benchmark: pip install 'rys[bench]'")
    config.stash[OUTPUTS], config.stash[OVERHEADS] = {}, []
    if config.getoption("quick"):
        config.option.benchmark_min_rounds = 1
        config.option.benchmark_max_time = 0.01


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if overheads := config.stash[OVERHEADS]:
        terminalreporter.section("of a candidate")
        terminalreporter.write_line(table(["", "ratio"], overheads))
    for command, output in config.stash[OUTPUTS].items():
        terminalreporter.section(command)
        terminalreporter.write(output)


@pytest.fixture(scope="session")
def outputs(pytestconfig: pytest.Config) -> dict[str, str]:
    """Return what scripts printed, by the command; shown at the end."""
    return pytestconfig.stash[OUTPUTS]


@pytest.fixture(scope="session")
def overheads(pytestconfig: pytest.Config) -> list[list[object]]:
    """Return rows of the parts of a sweep and their ratios to a candidate's evaluation; shown at
    the end.
    """
    return pytestconfig.stash[OVERHEADS]


@pytest.fixture(scope="session")
def quick(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("quick"))


@pytest.fixture(scope="session")
def model_file(quick: bool) -> Path:
    """Return the model that the scripts run: the 0.5B shape, or the reference model if quick."""
    return reference_model_path() if quick else cached_model()


@pytest.fixture(scope="session")
def reference(quick: bool) -> Iterator[rys.Model]:
    """Return the reference model: the smallest that a sweep is worth while with, where overheads
    weigh most.
    """
    with rys.reference_model(n_threads=1 if quick else None) as model:
        yield model
