"""`rys probe`: measure a model along one layer path, or compare two paths item by item."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rys._util.tables import table
from rys.cli.model_options import add_model_options, add_thinking_options, open_model
from rys.engine.model import Model
from rys.errors import ProbeError, RequestError
from rys.probes import (
    BUILT_IN,
    DEFAULT_PROBES,
    REFERENCE_PROBES,
    Calibration,
    Evaluation,
    Probe,
    ProbeResult,
    calibrate,
    preflight,
)
from rys.probes.paired import PairedDifference, compare_paths
from rys.probes.registry import is_open
from rys.probes.result_file import preview, to_json

__all__ = ["add_parser", "run"]

_HEADER = [
    "path",
    "probe",
    "items",
    "score",
    "95% interval",
    "accuracy",
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
        help=f"names ({', '.join(BUILT_IN)}), or files with questions. A name alone takes the form "
        f"that measures this model best; with a tier (math:hard) it is taken as it is "
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

    found = _measure(options, paths)
    along, refused = found.along, found.refused
    comparison = None
    if len(along) == 2:
        comparison = compare_paths(along[0], along[1], refused, options.force)
    if options.json:
        document = to_json(along, refused, comparison, options.show, found.calibration)
        print(json.dumps(document))
    else:
        if found.calibration is not None:
            print("\n".join([*found.calibration.lines(), ""]))
        _print_tables(along, refused, comparison, options.show)
    return 0


@dataclass(frozen=True)
class _Measured:
    """What was measured.

    Attributes:
        along: The results along every path.
        refused: Why probes cannot measure along the first path.
        calibration: How the forms of the probes were chosen; None if they were given.
    """

    along: list[Results]
    refused: Reasons
    calibration: Calibration | None


def _measure(options: argparse.Namespace, paths: Sequence[str | None]) -> _Measured:
    """Choose the forms of the probes along the first path, and measure along every path.

    Raises:
        ProbeError: No probe can measure along the first path, and two paths are given or no form
            of any probe is left.
    """
    with open_model(options) as model:
        # A bar in a file or a pipe is only noise.
        shows_progress = not options.quiet and sys.stderr.isatty()
        with model.with_path(paths[0]) as view:
            calibration, probes = _chosen(options, view, shows_progress)
        # One evaluation serves all paths, so that they get the same items and the same tokens.
        evaluation = Evaluation(
            model,
            probes,
            n=options.items,
            split=options.split,
            seed=options.seed,
            thinking=options.thinking,
            thinking_budget=options.thinking_budget,
        )
        along: list[Results] = []
        left_out = {} if calibration is None else calibration.refused
        refused: dict[str, Sequence[str]] = {}
        for path in paths:
            with model.with_path(path) as view:
                along.append(evaluation.run(view, progress=shows_progress))
            if len(along) == 1:
                refused = {probe: preflight(result) for probe, result in along[0].items()}
                # Before the second path is run: it may take long.
                if len(paths) == 2 and not options.force:
                    _check_any_measures(refused)
    # A probe that is compared by force has its reasons from the preflight.
    return _Measured(along, {**left_out, **refused}, calibration)


def _chosen(
    options: argparse.Namespace, model: Model, shows_progress: bool
) -> tuple[Calibration | None, list[Probe | str]]:
    """Return how the forms of the probes were chosen, None if all are given; and the probes.

    Raises:
        ProbeError: No probe is left.
    """
    names: list[Probe | str] = list(_names(options))
    if not any(map(is_open, _names(options))):
        return None, names
    calibration = calibrate(
        model,
        names,
        items=options.items,
        seed=options.seed,
        thinking=options.thinking,
        thinking_budget=options.thinking_budget,
        progress=shows_progress,
    )
    chosen: list[Probe | str] = list(calibration.probes)
    if options.force:  # in their usual form
        chosen += calibration.refused
    if not chosen:
        raise ProbeError(
            f"no form of any probe measures this model: {'; '.join(calibration.lines())}. Give a "
            f"file with questions of your own (--probes mine.jsonl), or more --items"
        )
    # `reference` has one form, so there is nothing to tell of it alone.
    is_told = any(one.is_calibrated for one in calibration.found)
    return (calibration if is_told else None), chosen


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
        "" if result.accuracy is None else f"{result.accuracy:.3f}",
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
        print(f"  asked:  {item['asked']}")
        print(f"  said:   {item['answer']}")
        print(f"  target: {item['target']}")
