"""`rys report`: write a sweep as one page for a browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rys._util.printable import printable
from rys.html_report import write_report
from rys.sweep.results import open_results

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "report", help="write a sweep as one page for a browser", description=__doc__
    )
    parser.add_argument(
        "file", metavar="FILE", help="a file of `rys sweep`, or JSON lines of llm-circuit-finder"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="the page (default: FILE with the ending .html)"
    )
    parser.add_argument(
        "--n-layer", type=int, metavar="N", help="layers of the model, for JSON lines without them"
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite OUT even if it is not a report of rys"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page and print its name."""
    results = open_results(options.file, options.n_layer)
    output = Path(options.output or Path(options.file).with_suffix(".html"))
    write_report(results, output, force=options.force)
    print(f"{printable(str(output), limit=None)}: open it in a browser")
    return 0
