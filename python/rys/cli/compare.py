"""`rys compare`: compare runs, and tell gains and losses from noise."""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

from rys._util.json_values import json_value
from rys._util.tables import table
from rys.compare import Comparison, Row, compare

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
# What Markdown reads as markup, such as the stars of "*b*" and the bar of "a|b". An underscore
# within a word, as in "exact_match", is not markup; one at its edge is, as in "_b_".
_MARKUP = re.compile(r"[\\`*<>|&~\[\]]|(?<![^\W_])_|_(?![^\W_])")


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
        help="the base: results of lm-evaluation-harness (results_*.json or a folder), the output "
        "of rys probe --json, or the file of a sweep; FILE::PATH names one layer path of the "
        "latter two",
    )
    parser.add_argument(
        "others",
        nargs="*",
        metavar="B",
        help="compared with A (default: the best path of the sweep A, or the last path of the "
        "probe output A)",
    )
    parser.add_argument(
        "--unpaired",
        action="store_true",
        help="compare runs although items, prompts or settings differ: by their reported values, "
        "with a note in each such row",
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
        print(json.dumps([json_value(row.to_json()) for row in found.rows]))
    elif options.csv:
        _print_csv(found)
    else:
        _print_tables(found, options.markdown)
    # Notes must not get into what a program reads.
    file = sys.stderr if options.json or options.csv else None
    for note in found.notes:
        line = f"note: {note}"
        print(_escape(line) if options.markdown else line, file=file)
    return 0


def _print_csv(found: Comparison) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for k, row in enumerate(found.rows):
        cells = json_value(row.to_json())
        # A spreadsheet wants one number in a cell.
        del cells["interval"]
        low, high = row.interval or (None, None)
        cells |= {"low": low, "high": high, "notes": "; ".join(row.notes)}
        if k == 0:
            writer.writerow(cells)
        writer.writerow(cells.values())


def _print_tables(found: Comparison, is_markdown: bool) -> None:
    form = _escape if is_markdown else str
    for other in dict.fromkeys(row.other_name for row in found.rows):
        rows = [_cells(row) for row in found.rows if row.other_name == other]
        print(form(f"{other} against {found.base_name}") + "\n")
        print(_markdown(rows) if is_markdown else table(_HEADER, rows))
        print()
    print(found.sentence)
    # A note often holds for many tasks: it is printed once.
    tasks: dict[str, dict[str, None]] = {}  # by note, each task once
    for row in found.rows:
        for note in row.notes:
            tasks.setdefault(note, {})[row.task] = None
    for note, names in tasks.items():
        print(form(f"note: {', '.join(names)}: {note}"))


def _cells(row: Row) -> list[object]:
    # As the harness writes it: "exact_match,strict-match".
    metric = f"{row.metric},{row.filter}" if row.filter else row.metric
    # Without a test there is nothing to mark.
    is_marked_unpaired = not row.paired and row.test != "none"
    return [
        row.task + (" (group)" if row.group else ""),
        metric + (" (lower is better)" if row.lower_is_better else ""),
        _format(row.n, "d"),
        _format_score(row.base),
        _format_score(row.other),
        _format_score(row.difference, "+"),
        _format_interval(row.interval),
        _format(row.gained, "d"),
        _format(row.lost, "d"),
        _format(row.p, ".2g"),
        _format(row.q, ".2g"),
        row.test + (" (unpaired)" if is_marked_unpaired else ""),
    ]


def _format(value: float | None, form: str) -> str:
    """Return a number as text, "" if it is unknown."""
    return "" if value is None or math.isnan(value) else format(value, form)


def _format_score(value: float, sign: str = "") -> str:
    # Perplexities may be huge.
    return _format(value, sign + (".4f" if abs(value) < 1e4 else ".4g"))


def _format_interval(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    low, high = interval
    return f"[{_format_score(low, '+')}, {_format_score(high, '+')}]"


def _markdown(rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table: names to the left, figures to the right."""
    ruler = ["---", "---"] + ["---:"] * (len(_HEADER) - 3) + ["---"]
    lines = [_HEADER, ruler]
    for task, metric, *figures in rows:
        lines.append([_escape(str(task)), _escape(str(metric)), *map(str, figures)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """Return a text so that Markdown shows it as it is."""
    return _MARKUP.sub(r"\\\g<0>", text)
