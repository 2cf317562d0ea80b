"""`rys plot`: draw a sweep's results.

It reads a file of `rys sweep`, or JSON lines of llm-circuit-finder and its forks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rys import plot
from rys._util.output_file import checked_output, whole_file
from rys._util.printable import printable
from rys.errors import PlotError, RequestError
from rys.plot._heatmaps import heatmaps_size
from rys.plot.figures import SweepPlot, figure_without_window, require_matplotlib
from rys.plot.sweep_data import CachedResults, notes_of, probes_of
from rys.sweep.results import Results, open_results

__all__ = ["add_parser", "run"]

KINDS = {kind.name: kind for kind in plot.SWEEP_PLOTS}
FORMATS = (".png", ".svg", ".pdf")
MARK = "rys plot"  # in the metadata of every picture: files with it may be overwritten


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "plot", help="draw a sweep's results", description=__doc__
    )
    parser.add_argument(
        "file", metavar="FILE", help="a file of `rys sweep`, or JSON lines of another program"
    )
    parser.add_argument(
        "--kind",
        choices=[*KINDS, "all"],
        default="heatmap",
        help="what to draw (default: heatmap, of every probe and of their balanced combination); "
        "all = every kind that the file has data for",
    )
    of_a_probe = ", ".join(name for name, kind in KINDS.items() if kind.takes_probe)
    parser.add_argument("--probe", metavar="P", help=f"show this probe alone ({of_a_probe})")
    parser.add_argument(
        "--n-layer", type=int, metavar="N", help="layers of the model, for JSON lines without them"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="a .png, .svg or .pdf file (default: FILE.kind.png)",
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite a file even if it is not a plot of rys"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw the plots and print the names of their files.

    Returns:
        Exit status: 1 if there was nothing to draw.
    """
    is_all = options.kind == "all"
    _check(options, is_all)
    require_matplotlib()  # before a large file is read
    sweep = CachedResults(open_results(options.file, options.n_layer))
    for note in notes_of(sweep):
        print(f"note: {note}", file=sys.stderr)
    n_drawn = 0
    for name in KINDS if is_all else [options.kind]:
        try:
            figure = draw(sweep, KINDS[name], options.probe)
        except PlotError as error:
            # Of all kinds some always lack data: a scan has no race.
            if not is_all:
                raise
            print(f"no {name}: {error}", file=sys.stderr)
            continue
        file = options.output or Path(options.file).with_suffix(f".{name}.png")
        save(figure, file, sweep.path, force=options.force)
        print(printable(str(file), limit=None))
        n_drawn += 1
    return 0 if n_drawn else 1


def _check(options: argparse.Namespace, is_all: bool) -> None:
    """Check options that contradict each other.

    Raises:
        RequestError: With what to change.
    """
    output: Path | None = options.output
    if output is not None and output.suffix.lower() not in FORMATS:
        raise RequestError(f"--output is {str(output)!r}, but must end in {', '.join(FORMATS)}")
    if output is not None and is_all:
        raise RequestError(
            "--output names one file, but --kind all draws several; leave it out or choose a kind"
        )
    if options.probe is not None and not is_all and not KINDS[options.kind].takes_probe:
        raise RequestError(f"--kind {options.kind} is about all probes together; leave --probe out")


def draw(sweep: Results, kind: SweepPlot, probe: str | None) -> Any:
    """Return a new figure with a plot of a sweep.

    Without a probe, a heatmap shows every probe and their balanced combination side by side.

    Raises:
        PlotError: The sweep has no data for this kind.
        RequestError: The sweep has no such probe.
    """
    n_probes = len(probes_of(sweep.results()))
    # One probe needs no panels: its heatmap and the mean over probes are the same.
    if kind.function is plot.heatmap and probe is None and n_probes > 1:
        figure = figure_without_window(heatmaps_size(n_probes + 1))
        plot.heatmaps(sweep, figure=figure)
        return figure
    figure = figure_without_window(kind.size)
    arguments = {"probe": probe} if kind.takes_probe else {}
    kind.function(sweep, **arguments, ax=figure.add_subplot())
    return figure


def save(figure: Any, file: Path, source: Path, *, force: bool) -> None:
    """Write a figure. The file is whole or not there at all.

    Args:
        figure: A matplotlib Figure.
        file: File to write; the ending says the format. An earlier plot is overwritten.
        source: File of the sweep, which is never overwritten.
        force: Whether any other file may be overwritten.

    Raises:
        OutputFileError: The file cannot be written, or must not be overwritten.
    """
    path = checked_output(file, sources=[source], force=force, mark=MARK.encode())
    # The formats have different names for the program that wrote a file.
    key = "Software" if path.suffix == ".png" else "Creator"
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=160, metadata={key: MARK})
