"""`rys probe`: measure a model along one layer path, or compare two paths item by item."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rys._util.tables import table
from rys.cli.model_options import add_model_options, add_thinking_options, open_model
from rys.errors import ProbeError, RequestError
from rys.probes import (
    BUILT_IN,
    DEFAULT_PROBES,
    REFERENCE_PROBES,
    Evaluation,
    ProbeResult,
    preflight,
)
from rys.probes.paired import PairedDifference, compare_paths
from rys.probes.result_file import preview, to_json

__all__ = ["add_parser", "run"]

_HEADER = [
    "path",
    "probe",
    "items",
    "score",
    "95% interval",
    "chance",
    "constant",
    "read",
    "cut off",
    "seconds",
]
_COMPARISON_HEADER = ["probe", "items", "first", "second", "difference", "95% interval"]

Results = Mapping[str, ProbeResult]  # by probe
Reasons = Mapping[str, Sequence[str]]  # by probe, why it cannot measure


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "probe", help="measure a model along one or two layer paths", description=__doc__
    )
    add_model_options(parser)
    parser.add_argument(
        "--layer-path",
        action="append",
        metavar="P",
        help="the layer path; if given twice, the two paths are compared item by item",
    )
    parser.add_argument(
        "--probes",
        metavar="A,B",
        help=f"names ({', '.join(BUILT_IN)}), with a tier (math:hard), or files with questions "
        f"(default: {','.join(DEFAULT_PROBES)}; for the reference model: "
        f"{','.join(REFERENCE_PROBES)})",
    )
    parser.add_argument(
        "--items", type=int, default=64, metavar="N", help="items of each probe (default: 64)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed that chooses items (default: 0)")
    parser.add_argument(
        "--split",
        choices=["search", "confirm"],
        default="search",
        help="which half of the items (default: search)",
    )
    add_thinking_options(parser)
    parser.add_argument(
        "--show",
        type=int,
        default=0,
        metavar="N",
        help="print N items of each probe, with the answers",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="compare also with probes that cannot measure this model; the result says so",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of tables"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, and print what was found."""
    paths = options.layer_path or [None]
    if len(paths) > 2:
        # With more than two there is no single difference; a sweep is made for that.
        raise RequestError(
            f"--layer-path was given {len(paths)} times; give one path, or two to compare"
        )
    for name, value, least in (("items", options.items, 1), ("show", options.show, 0)):
        if value < least:
            raise RequestError(f"--{name} is {value}, but must be at least {least}")

    along, refused = _measure(options, paths)
    comparison = None
    if len(along) == 2:
        comparison = compare_paths(along[0], along[1], refused, options.force)
    if options.json:
        print(json.dumps(to_json(along, refused, comparison, options.show)))
    else:
        _print_tables(along, refused, comparison, options.show)
    return 0


def _measure(
    options: argparse.Namespace, paths: Sequence[str | None]
) -> tuple[list[Results], Reasons]:
    """Return the results along every path, and why probes cannot measure along the first.

    Raises:
        ProbeError: Two paths are given, and no probe can measure along the first.
    """
    with open_model(options) as model:
        # One evaluation serves all paths, so that they get the same items and the same tokens.
        evaluation = Evaluation(
            model,
            _names(options),
            n=options.items,
            split=options.split,
            seed=options.seed,
            thinking=options.thinking,
            thinking_budget=options.thinking_budget,
        )
        # A bar in a file or a pipe is only noise.
        shows_progress = not options.quiet and sys.stderr.isatty()
        along: list[Results] = []
        refused: Reasons = {}
        for path in paths:
            with model.with_path(path) as view:
                along.append(evaluation.run(view, progress=shows_progress))
            if len(along) == 1:
                refused = {probe: preflight(result) for probe, result in along[0].items()}
                # Before the second path is run: it may take long.
                if len(paths) == 2 and not options.force:
                    _check_any_measures(refused)
    return along, refused


def _names(options: argparse.Namespace) -> list[str]:
    """Return the names of the probes."""
    if options.probes is None:
        return list(DEFAULT_PROBES if options.model else REFERENCE_PROBES)
    return [name.strip() for name in options.probes.split(",")]


def _check_any_measures(refused: Reasons) -> None:
    if not all(refused.values()):
        return
    reasons = "; ".join(f"{probe}: {' and '.join(why)}" for probe, why in refused.items())
    raise ProbeError(
        f"no probe can measure this model along the first path ({reasons}); --force compares anyway"
    )


def _print_tables(
    along: Sequence[Results],
    refused: Reasons,
    comparison: Sequence[PairedDifference] | None,
    n_shown: int,
) -> None:
    results = list(_each(along))
    print(table(_HEADER, list(map(_cells, results))))
    for result in results:
        _print_families(result)
    for probe, reasons in refused.items():
        for reason in reasons:
            print(f"\n{probe} cannot measure here: {reason}")
    if comparison is not None:
        print("\nSecond path against the first, on the same items:")
        print(table(_COMPARISON_HEADER, list(map(_comparison_cells, comparison))))
    if n_shown:
        for result in results:
            _print_items(result, n_shown)


def _each(along: Sequence[Results]) -> Iterator[ProbeResult]:
    """Yield the results of all paths."""
    for by_probe in along:
        yield from by_probe.values()


def _cells(result: ProbeResult) -> list[object]:
    low, high = result.interval
    return [
        result.layer_path,
        result.probe,
        result.n,
        f"{result.mean:.3f}",
        f"[{low:.3f}, {high:.3f}]",
        f"{result.chance:.3f}",
        f"{result.best_constant:.3f}",
        f"{result.parse_rate:.0%}",
        f"{result.truncation_rate:.0%}",
        f"{result.seconds:.1f}",
    ]


def _comparison_cells(difference: PairedDifference) -> list[object]:
    low, high = difference.interval
    return [
        difference.probe + (" (forced)" if difference.forced else ""),
        difference.n,
        f"{difference.base:.3f}",
        f"{difference.other:.3f}",
        f"{difference.difference:+.3f}",
        f"[{low:+.3f}, {high:+.3f}]",
    ]


def _print_families(result: ProbeResult) -> None:
    families = result.by_family()
    # A single family is the whole probe, whose score the table has.
    if len(families) < 2:
        return
    parts = ", ".join(f"{family} {mean:.3f} ({n})" for family, (mean, n) in families.items())
    print(f"\n{result.probe} along {result.layer_path}, by family: {parts}")


def _print_items(result: ProbeResult, n: int) -> None:
    for item in preview(result, n)["items"]:
        heading = f"{result.probe} along {result.layer_path}, {item['id']}"
        print(f"\n{heading}, score {item['score']:.3f}")
        print(f"  asked:  {item['prompt']}")
        print(f"  said:   {item['answer']}")
        print(f"  target: {item['target']}")
