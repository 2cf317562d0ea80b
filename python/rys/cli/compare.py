"""`rys compare`: what one run gained and lost against another, task by task, and whether that is
more than noise.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import sys
from typing import Any

from rys._util.json_values import json_value
from rys._util.tables import table
from rys.compare import Comparison, compare

__all__ = ["add_parser", "run"]

_HEADER = [
    "task",
    "metric",
    "n",
    "base",
    "other",
    "difference",
    "95% interval",
    "gained",
    "lost",
    "p",
    "q",
    "test",
]


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "compare",
        help="compare results of lm-evaluation-harness, probes or sweeps",
        description=__doc__,
    )
    parser.add_argument(
        "base",
        metavar="A",
        help="what the others are compared with: results of lm-evaluation-harness (results_*.json or a folder), the "
        "output of rys probe --json, or the file of a sweep; FILE::PATH for one layer path of the latter two",
    )
    parser.add_argument(
        "others",
        nargs="*",
        metavar="B",
        help="compared with A (default: the best path of the sweep A, or its last)",
    )
    parser.add_argument(
        "--unpaired",
        action="store_true",
        help="go on where items, prompts or settings differ: compares the reported values, and marks the rows",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of rows instead of a table")
    form.add_argument("--csv", action="store_true", help="print rows for a spreadsheet")
    form.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare, and print what was found."""
    found = compare(options.base, *options.others, unpaired=options.unpaired)
    if options.json:
        print(json.dumps(json_value(found.rows)))
    elif options.csv:
        _print_csv(found)
    else:
        _print_tables(found, options.markdown)
    for note in found.notes:
        line = f"note: {note}"
        print(
            _escaped(line) if options.markdown else line,
            file=sys.stderr if options.json or options.csv else None,
        )
    return 0


def _print_csv(found: Comparison) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for k, row in enumerate(found.rows):
        low, high = row["interval"] or (None, None)
        cells = {name: value for name, value in json_value(row).items() if name != "interval"}
        cells |= {"low": low, "high": high, "notes": "; ".join(row["notes"])}
        if k == 0:
            writer.writerow(cells)
        writer.writerow(cells.values())


def _print_tables(found: Comparison, is_markdown: bool) -> None:
    written = _escaped if is_markdown else str
    for other in dict.fromkeys(row["other_name"] for row in found.rows):
        rows = [_cells(row) for row in found.rows if row["other_name"] == other]
        print(written(f"{other} against {found.base_name}") + "\n")
        print(_markdown(rows) if is_markdown else table(_HEADER, rows))
        print()
    print(found.sentence)
    reasons: dict[str, list[str]] = {}
    for row in found.rows:
        for note in row["notes"]:
            reasons.setdefault(note, []).append(row["task"])
    for note, tasks in reasons.items():
        print(written(f"note: {', '.join(dict.fromkeys(tasks))}: {note}"))


def _cells(row: dict[str, Any]) -> list[object]:
    metric = f"{row['metric']},{row['filter']}" if row["filter"] else row["metric"]
    return [
        row["task"] + (" (group)" if row["group"] else ""),
        metric + (" (lower is better)" if row["lower_is_better"] else ""),
        _or_nothing(row["n"], "d"),
        _value(row["base"]),
        _value(row["other"]),
        _value(row["difference"], "+"),
        "[{}, {}]".format(*(_value(end, "+") for end in row["interval"]))
        if row["interval"]
        else "",
        _or_nothing(row["gained"], "d"),
        _or_nothing(row["lost"], "d"),
        _or_nothing(row["p"], ".2g"),
        _or_nothing(row["q"], ".2g"),
        row["test"] + ("" if row["paired"] or row["test"] == "none" else " (unpaired)"),
    ]


def _or_nothing(value: float | None, form: str) -> str:
    return "" if value is None or math.isnan(value) else format(value, form)


def _value(value: float, sign: str = "") -> str:
    return _or_nothing(value, sign + (".4f" if abs(value) < 1e4 else ".4g"))


def _markdown(rows: list[list[object]]) -> str:
    ruler = ["---", "---"] + ["---:"] * (len(_HEADER) - 3) + ["---"]
    lines = [
        _HEADER,
        ruler,
        *([*map(_escaped, map(str, row[:2])), *map(str, row[2:])] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Return a text so that Markdown shows it as it is.

    An underscore within a word needs no escape.
    """
    return re.sub(r"[\\`*<>|&~\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
