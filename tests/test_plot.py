"""The pictures: nothing overlaps or is cut off, for models of every depth, and colour-blind eyes
see the sign.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rys
from rys import plot
from rys.cli import main
from rys.plot.block_gains import compute_block_map
from rys.plot.style import BLUE, DIVERGING, GREY, ORANGE, UNMEASURED
from rys.plot.sweep_data import CachedResults
from rys.sweep.block_map import colour_limit
from rys.sweep.results import Results, open_results
from support.simulated_sweep import write_sweep

mpl = pytest.importorskip("matplotlib")
from matplotlib import pyplot as plt  # noqa: E402  (after the check that there is one)
from matplotlib.colors import to_rgb  # noqa: E402
from matplotlib.text import Text  # noqa: E402

LONG = (
    "/models/Some-Organisation__A-Model-With-A-Name-80B-A3B-Instruct-$i1$-Q4_K_M"
    "-00001-of-00009.gguf"
)
PROBE = "questions_about_everything_that_has_a_long_name.jsonl"
OF_A_SWEEP = ("heatmap", "skyline", "repeats", "pareto", "race", "shrinkage")
PICTURE = re.compile(
    r"```python\n(plot\..*)\n```\n\n!\[.*\]\((images/.*\.png)\)"
)  # as in tools/make_gallery.py
DEPTHS = [12, 40, 80, pytest.param("80, all", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def without_windows() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int | str], Results]:
    folder = tmp_path_factory.mktemp("plots")
    opened: dict[int | str, Results] = {}

    def sweep_of(depth: int | str) -> Results:
        if depth not in opened:
            n_layer = int(str(depth).split(",")[0])
            sizes = None if n_layer == 12 or depth != n_layer else [2, n_layer // 6]
            options: dict[str, Any] = {
                "sizes": sizes,
                "repeats": [2, 3, 8],
                "model": LONG,
                "probes": ("math", PROBE),
            }
            opened[depth] = CachedResults(
                open_results(write_sweep(folder / f"{n_layer} {sizes}.db", n_layer, **options))
            )
        return opened[depth]

    return sweep_of


def boxes(figure: Any) -> dict[str, Any]:
    """Return the boxes of all texts that are drawn; a legend counts as one."""
    figure.draw_without_rendering()
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    in_legends = {text for legend in legends for text in legend.findobj(Text)}
    axes = [*figure.axes, *(child for ax in figure.axes for child in ax.child_axes)]
    ticks = {}
    hidden = set()
    for number, ax in enumerate(axes):
        for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
            low, high = sorted(axis.get_view_interval())
            margin = 1e-6 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                hidden |= {tick.label1, tick.label2}
                if low - margin <= tick.get_loc() <= high + margin:
                    labels = (tick.label1, tick.label2)
                    ticks |= {
                        f"{name} {number} {k} {label.get_text()}": label
                        for k, label in enumerate(labels)
                    }
    others = [text for text in figure.findobj(Text) if text not in in_legends | hidden]
    texts = {f"{k} {text.get_text()}": text for k, text in enumerate(others)} | ticks
    found = {
        name: text for name, text in texts.items() if text.get_visible() and text.get_text().strip()
    }
    found |= {f"legend {k}": legend for k, legend in enumerate(legends)}
    return {name: artist.get_window_extent() for name, artist in found.items()}


def assert_readable(figure: Any) -> None:
    found = boxes(figure)
    assert len(found) > 8, found
    for (one, a), (other, b) in combinations(found.items(), 2):
        assert not a.overlaps(b), f"{one!r} and {other!r} overlap"
    width, height = figure.canvas.get_width_height()
    for name, box in found.items():
        is_inside = min(box.x0, box.y0, width - box.x1, height - box.y1) >= -1
        assert is_inside, f"{name!r} is cut off"


def test_the_check_for_overlaps_can_fail() -> None:
    ax = plt.subplots(figsize=(3, 3))[1]
    ax.set_xticks(range(10), [f"layer {k}" for k in range(10)])
    with pytest.raises(AssertionError, match="overlap"):
        assert_readable(ax.figure)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", OF_A_SWEEP)
def test_nothing_overlaps(
    kind: str, depth: int | str, sweeps: Callable[[int | str], Results]
) -> None:
    ax = getattr(plot, kind)(sweeps(depth))
    assert_readable(ax.figure)


@pytest.mark.parametrize("depth", DEPTHS)
def test_nothing_overlaps_side_by_side(
    depth: int | str, sweeps: Callable[[int | str], Results]
) -> None:
    panels = plot.heatmaps(sweeps(depth))
    assert len(panels) == 3
    assert_readable(panels[0].figure)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_legend_of_a_heatmap_hides_no_block(
    depth: int | str, sweeps: Callable[[int | str], Results]
) -> None:
    for ax in plot.heatmaps(sweeps(depth)):
        ax.figure.draw_without_rendering()
        box = ax.get_legend().get_window_extent().transformed(ax.transData.inverted())
        top, right = min(box.y0, box.y1), max(box.x0, box.x1)
        assert right < top + 1, "blocks (i, j) have j >= i + 1"


@pytest.mark.parametrize("n_files", [1, 4, 5])
def test_many_probes_of_another_program_are_readable(tmp_path: Path, n_files: int) -> None:
    scores = [f"probe_{k}_score" for k in range(n_files)]
    rows = [{"is_baseline": True} | dict.fromkeys(scores, 0.5)]
    rows += [
        {"dup_start": i, "dup_end": i + 3} | dict.fromkeys(scores, 0.5 + 0.001 * (i - 20))
        for i in range(37)
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, rows)))
    panels = plot.heatmaps(open_results(tmp_path / "results.jsonl", 40))
    assert len(panels) == (1 if n_files == 1 else n_files + 1)
    assert_readable(panels[0].figure)
    assert all("no intervals" in ax.get_title(loc="left") for ax in panels)


@pytest.mark.parametrize("path", [None, "0..7,4..", ",".join(["0..11"] * 7)])
def test_nothing_overlaps_in_plots_of_a_model(path: str | None) -> None:
    texts = ["Last digit of 1+2+3?", "Which day?", "wait one, two days"]
    with rys.reference_model(path, n_ctx=256) as model:
        for ax in (plot.anatomy(model, texts), plot.influence(model, texts)):
            assert_readable(ax.figure)
            labels = ax.get_legend_handles_labels()[1]
            assert labels.count("layers visited again") == (path is not None)


def test_a_plot_is_drawn_in_the_given_axes(sweeps: Callable[[int | str], Results]) -> None:
    figure, panels = plt.subplots(2, 3, layout="constrained", figsize=(20, 10))
    for kind, ax in zip(OF_A_SWEEP, panels.flat, strict=True):
        assert getattr(plot, kind)(sweeps(12), ax=ax) is ax
    assert plt.get_fignums() == [figure.number]


def test_a_heatmap_shows_the_values_and_marks(sweeps: Callable[[int | str], Results]) -> None:
    sweep = sweeps(12)
    found = compute_block_map(sweep)
    ax = plot.heatmap(sweep)
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array().filled(np.nan), found.gain)
    limit = colour_limit(found.gain)
    assert image.get_clim() == (-limit, limit)
    assert image.get_extent() == [0.5, 12.5, 11.5, -0.5]  # ends 1 to 12 across, starts 0 to 11 down
    dots = next(line for line in ax.lines if line.get_label() == "95% interval contains 0")
    cells = {(int(i), int(j)) for i, j in zip(dots.get_ydata(), dots.get_xdata(), strict=True)}
    assert cells == {(i, j + 1) for i, j in np.argwhere(found.is_uncertain)}
    assert {(round(p.get_y() + 0.5), round(p.get_x() + 0.5)) for p in ax.patches} == set(
        found.confirmed
    )
    star = next(line for line in ax.lines if line.get_marker() == "*")
    assert found.best == (star.get_ydata()[0], star.get_xdata()[0])


def test_the_kinds_of_the_command_are_the_plots_of_a_sweep() -> None:
    for kind in plot.SWEEP_PLOTS:
        assert getattr(plot, kind.name) is kind.function
        assert kind.takes_probe == ("probe" in inspect.signature(kind.function).parameters)
    assert tuple(kind.name for kind in plot.SWEEP_PLOTS) == OF_A_SWEEP


def test_the_users_settings_stay(sweeps: Callable[[int | str], Results]) -> None:
    before = dict(mpl.rcParams)
    for kind in OF_A_SWEEP:
        getattr(plot, kind)(sweeps(12))
    assert dict(mpl.rcParams) == before


def test_every_plot_has_its_picture_on_the_page() -> None:
    page = (Path(__file__).parent.parent / "docs" / "plots.md").read_text(encoding="utf-8")
    shown = dict(PICTURE.findall(page))
    names = {code.removeprefix("plot.").split("(")[0] for code in shown}
    assert names == set(plot.__all__) - {"PlotError"}
    for image in shown.values():
        file = Path(__file__).parent.parent / "docs" / image
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size < 150_000


# Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of Color Vision
# Deficiency (2009), severity 1.0, for linear RGB
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def seen(colour: Any, deficiency: str) -> np.ndarray:
    """Return CIE L*a*b* of a colour as colour-blind eyes see it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(DEFICIENCIES[deficiency] @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ linear / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colour_blind_eyes_tell_better_from_worse(deficiency: str) -> None:
    colours = mpl.colormaps[DIVERGING]
    for size in (0.1, 0.25, 0.5, 0.75):
        worse, better = (seen(colours(0.5 + sign * size / 2)[:3], deficiency) for sign in (-1, 1))
        assert np.linalg.norm(worse - better) > 8, size  # a difference of 2.3 is just noticeable
    assert np.linalg.norm(seen(UNMEASURED, deficiency) - seen(colours(0.5)[:3], deficiency)) > 8
    for one, other in combinations((BLUE, ORANGE, GREY), 2):
        assert np.linalg.norm(seen(one, deficiency) - seen(other, deficiency)) > 20


# --- rys plot


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    rows = [
        {"is_baseline": True, "math_score": 0.5, "eq_score": 80.0},
        {"dup_start": 2, "dup_end": 4, "math_score": 0.6, "eq_score": 81.0},
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "results.jsonl"


def test_the_command_draws_everything(
    sweeps: Callable[[int | str], Results],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = Path(shutil.copy(sweeps(12).path, tmp_path / "s.db"))
    for _ in range(2):  # pictures of before are overwritten
        assert main(["plot", str(store), "--kind", "all"]) == 0
        files = [tmp_path / f"s.{kind}.png" for kind in OF_A_SWEEP]
        assert capsys.readouterr().out.splitlines() == [str(file) for file in files]
        for file in files:
            assert file.read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("suffix", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")]
)
def test_the_command_writes_what_the_ending_says(
    foreign: Path, tmp_path: Path, suffix: str, start: bytes
) -> None:
    file = tmp_path / f"out.{suffix}"
    file.write_text("keep")
    assert main(["plot", str(foreign), "--kind", "skyline", "-o", str(file)]) == 1
    assert file.read_text() == "keep"
    file.unlink()
    assert (
        main(["plot", str(foreign), "--kind", "skyline", "--probe", "math", "-o", str(file)]) == 0
    )
    assert file.read_bytes().startswith(start)


def test_the_command_opens_no_windows_and_reads_files_of_other_programs(foreign: Path) -> None:
    code = """
import sys
from rys.cli import main
status = main(["plot", "results.jsonl", "--n-layer", "40", "--kind", "all"])
assert "matplotlib.pyplot" not in sys.modules
sys.exit(status)
"""
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(
        command, cwd=foreign.parent, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [
        f"results.{kind}.png" for kind in ("heatmap", "skyline", "pareto")
    ]
    said = [line.split(":")[0] for line in result.stderr.splitlines()]
    assert said == ["note", "no repeats", "no race", "no shrinkage"]  # eq was in percent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--kind", "heatmap", "-o", "x.gif"],
            "--output is 'x.gif', but must end in .png, .svg, .pdf",
        ),
        (["--kind", "all", "-o", "x.png"], "--output names one file"),
        (
            ["--kind", "race", "--probe", "math"],
            "--kind race is about all probes together; leave --probe out",
        ),
        (["--probe", "code"], "probe is 'code', but this sweep has"),
        (
            ["-o", "no/such/folder/x.png", "--kind", "skyline"],
            "no/such/folder/x.png: there is no directory",
        ),
    ],
)
def test_the_command_says_what_is_wrong(
    foreign: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(foreign), *arguments]) == 1
    assert f"rys plot: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", ["UPDATE score SET score = 9e999", "UPDATE trial SET role = 'weird'"]
)
def test_the_command_refuses_a_damaged_sweep(
    sweeps: Callable[[int | str], Results],
    change: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = Path(shutil.copy(sweeps(12).path, tmp_path / "s.db"))
    connection = sqlite3.connect(store)
    connection.executescript(f"PRAGMA ignore_check_constraints = ON; {change}")
    connection.close()
    assert main(["plot", str(store), "--kind", "all"]) == 1
    assert f"rys plot: {store} is damaged" in capsys.readouterr().err


def test_the_command_refuses_what_is_no_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(200))
    assert main(["plot", str(tmp_path / "a.gguf")]) == 1
    assert "is neither the file of a sweep" in capsys.readouterr().err
