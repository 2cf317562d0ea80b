"""`rys plot`: pictures of a sweep, from a store of rys or the JSON lines of llm-circuit-finder and
its forks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rys import plot
from rys._util.output_file import checked_output, whole_file
from rys._util.printable import printable
from rys.errors import PlotError, RequestError
from rys.plot.blocks import heatmaps_size, probes_of
from rys.plot.drawing import SIZES, Once, require_matplotlib
from rys.sweep.results import Results, open_results

__all__ = ["add_parser", "run"]

KINDS = ("heatmap", "skyline", "repeats", "pareto", "race", "shrinkage")
OF_A_PROBE = ("heatmap", "skyline", "repeats", "pareto")
FORMATS = (".png", ".svg", ".pdf")
MARK = "rys plot"  # in the files that are written, which may be overwritten


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "plot", help="draw a sweep's results", description=__doc__
    )
    parser.add_argument(
        "file", metavar="FILE", help="a store of `rys sweep`, or JSON lines of another program"
    )
    parser.add_argument(
        "--kind",
        choices=[*KINDS, "all"],
        default="heatmap",
        help="what to draw (default: heatmap, of every probe and of their balanced combination); "
        "all = whatever the file has something for",
    )
    parser.add_argument(
        "--probe", metavar="P", help=f"of one probe alone ({', '.join(OF_A_PROBE)})"
    )
    parser.add_argument(
        "--n-layer", type=int, metavar="N", help="layers of the model, for JSON lines without them"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="a .png, .svg or .pdf (default: FILE.kind.png)",
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite files that are no plots of rys"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw, and print the names of the files."""
    output: Path | None = options.output
    if output is not None and output.suffix.lower() not in FORMATS:
        raise RequestError(f"--output is {str(output)!r}, but must end in {', '.join(FORMATS)}")
    if output is not None and options.kind == "all":
        raise RequestError(
            "--output names one file, but --kind all draws several; leave it out or choose a kind"
        )
    if options.probe is not None and options.kind not in (*OF_A_PROBE, "all"):
        raise RequestError(f"--kind {options.kind} is about all probes together; leave --probe out")
    require_matplotlib()
    sweep = Once(open_results(options.file, options.n_layer))
    for note in sweep.report()["notes"]:
        print(f"note: {note}", file=sys.stderr)
    kinds = KINDS if options.kind == "all" else (options.kind,)
    n_drawn = 0
    for kind in kinds:
        try:
            figure = draw(sweep, kind, options.probe)
        except PlotError as error:
            if options.kind != "all":
                raise
            print(f"no {kind}: {error}", file=sys.stderr)
            continue
        file = output or Path(options.file).with_suffix(f".{kind}.png")
        path = checked_output(file, sources=[sweep.path], force=options.force, mark=MARK.encode())
        with whole_file(path) as temporary:
            figure.savefig(
                temporary,
                dpi=160,
                metadata={"Software" if path.suffix == ".png" else "Creator": MARK},
            )
        print(printable(str(file), limit=None))
        n_drawn += 1
    return 0 if n_drawn else 1


def draw(sweep: Results, kind: str, probe: str | None) -> Any:
    """Return a figure with a plot, made without the windows of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_probes = len(probes_of(sweep.results()))
    is_side_by_side = kind == "heatmap" and probe is None and n_probes > 1
    figure = Figure(
        figsize=heatmaps_size(n_probes + 1) if is_side_by_side else SIZES[kind],
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    if is_side_by_side:
        plot.heatmaps(sweep, figure=figure)
        return figure
    function: Callable[..., Any] = getattr(plot, kind)
    function(sweep, **({"probe": probe} if kind in OF_A_PROBE else {}), ax=figure.add_subplot())
    return figure
