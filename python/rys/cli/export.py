"""`rys export`: write a GGUF whose layers follow a path, for programs that do not know paths."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from rys.export import export

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write a model file along a layer path, for other programs",
        description="Write a GGUF whose layers follow a path, for programs without layer paths.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a GGUF file; of a split model, the first part"
    )
    parser.add_argument("output", metavar="OUTPUT", help="the file to write")
    parser.add_argument(
        "--layer-path", required=True, metavar="P", help="the path, such as 0..14,12..39"
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUTPUT if it exists")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the copy and describe it."""
    progress = not options.quiet and sys.stderr.isatty()
    done = export(
        options.model, options.output, options.layer_path, force=options.force, progress=progress
    )
    if options.json:
        print(json.dumps(asdict(done)))
    else:
        # a name on Linux is bytes, perhaps not of UTF-8
        name = os.fsencode(done.destination).decode("utf-8", "replace")
        layers = f"{done.n_slot} layers, {done.layer_path} of {done.n_layer}"
        print(f"{name}: {layers}; {done.bytes / 1e6:,.1f} MB")
    return 0
