"""`rys probe`: measure a model along one path, or along two and what is between them."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rys._util.tables import table
from rys.cli.model_options import add_model_options, add_thinking_options, open_model
from rys.errors import ProbeError, RequestError
from rys.probes import Evaluation, ProbeResult, preflight
from rys.probes.result import difference_interval

__all__ = ["add_parser", "run"]


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
        help="the path; given twice, the two are compared item by item",
    )
    parser.add_argument(
        "--probes",
        metavar="A,B",
        help="names (math, eq, reasoning, reference), with a tier (math:hard), or files with questions "
        "(default: math,eq,reasoning; for the reference model: reference)",
    )
    parser.add_argument(
        "--items", type=int, default=64, metavar="N", help="items of each probe (default: 64)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which items (default: 0)")
    parser.add_argument(
        "--split", choices=["search", "confirm"], default="search", help="which half of the items"
    )
    add_thinking_options(parser)
    parser.add_argument(
        "--show",
        type=int,
        default=0,
        metavar="N",
        help="print N items of each probe with the answers",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="compare with probes that cannot measure; marks the result",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of tables"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, and print what was found."""
    paths = options.layer_path or [None]
    if len(paths) > 2:
        raise RequestError(
            f"--layer-path was given {len(paths)} times; give one path, or two to compare"
        )
    for name, value, least in (("items", options.items, 1), ("show", options.show, 0)):
        if value < least:
            raise RequestError(f"--{name} is {value}, but must be at least {least}")
    default = "math,eq,reasoning" if options.model else "reference"
    names = [
        name.strip() for name in (default if options.probes is None else options.probes).split(",")
    ]
    with open_model(options) as model:
        evaluation = Evaluation(
            model,
            names,
            n=options.items,
            split=options.split,
            seed=options.seed,
            thinking=options.thinking,
            thinking_budget=options.thinking_budget,
        )
        along: list[dict[str, ProbeResult]] = []
        for path in paths:
            with model.with_path(path) as view:
                along.append(
                    evaluation.run(view, progress=not options.quiet and sys.stderr.isatty())
                )
            refused = {probe: preflight(result) for probe, result in along[0].items()}
            if len(paths) == 2 and all(refused.values()) and not options.force:
                reasons = "; ".join(
                    f"{probe}: {' and '.join(why)}" for probe, why in refused.items()
                )
                raise ProbeError(
                    f"no probe can measure this model along the first path ({reasons}); --force compares anyway"
                )

    comparison = compare(along[0], along[1], refused, options.force) if len(along) == 2 else None
    if options.json:
        document: dict[str, Any] = {
            "results": [result.summary() for results in along for result in results.values()],
            "preflight": refused,
            "comparison": comparison,
            "item_scores": [
                item_scores(result) for results in along for result in results.values()
            ],
        }
        if options.show:
            document["items"] = [
                shown(result, options.show) for results in along for result in results.values()
            ]
        print(json.dumps(document))
    else:
        print_tables(along, refused, comparison, options.show)
    return 0


def compare(
    base: dict[str, ProbeResult],
    other: dict[str, ProbeResult],
    refused: dict[str, list[str]],
    force: bool,
) -> list[dict[str, Any]]:
    """Return the paired difference of every probe that can measure, or of all with `force`."""
    chosen = [probe for probe in base if force or not refused[probe]]
    rows = []
    for probe in chosen:
        differences = other[probe].scores - base[probe].scores
        rows.append(
            {
                "probe": base[probe].probe,
                "n": len(differences),
                "base": base[probe].mean,
                "other": other[probe].mean,
                "difference": float(differences.mean()),
                "interval": list(difference_interval(differences)),
                "forced": bool(refused[probe]),
            }
        )
    return rows


def print_tables(
    along: list[dict[str, ProbeResult]],
    refused: dict[str, list[str]],
    comparison: list[dict[str, Any]] | None,
    n_shown: int,
) -> None:
    rows = [
        [
            result.layer_path,
            result.probe,
            result.n,
            f"{result.mean:.3f}",
            "[{:.3f}, {:.3f}]".format(*result.interval),
            f"{result.chance:.3f}",
            f"{result.best_constant:.3f}",
            f"{result.parse_rate:.0%}",
            f"{result.truncation_rate:.0%}",
            f"{result.seconds:.1f}",
        ]
        for results in along
        for result in results.values()
    ]
    header = [
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
    print(table(header, rows))
    for results in along:
        for result in results.values():
            families = result.by_family()
            if len(families) > 1:
                parts = ", ".join(
                    f"{family} {mean:.3f} ({n})" for family, (mean, n) in families.items()
                )
                print(f"\n{result.probe} along {result.layer_path}, by family: {parts}")
    for probe, reasons in refused.items():
        for reason in reasons:
            print(f"\n{probe} cannot measure here: {reason}")
    if comparison is not None:
        print("\nSecond path against the first, on the same items:")
        rows = [
            [
                row["probe"] + (" (forced)" if row["forced"] else ""),
                row["n"],
                f"{row['base']:.3f}",
                f"{row['other']:.3f}",
                f"{row['difference']:+.3f}",
                "[{:+.3f}, {:+.3f}]".format(*row["interval"]),
            ]
            for row in comparison
        ]
        print(table(["probe", "items", "first", "second", "difference", "95% interval"], rows))
    for results in along if n_shown else []:
        for result in results.values():
            for row in shown(result, n_shown)["items"]:
                print(
                    f"\n{result.probe} along {result.layer_path}, {row['id']}, score {row['score']:.3f}"
                )
                print(
                    f"  asked:  {row['prompt']}\n  said:   {row['answer']}\n  right:  {row['right']}"
                )


def item_scores(result: ProbeResult) -> dict[str, Any]:
    """Return what `rys compare` pairs items by: their content hashes, and their scores."""
    return {
        "probe": result.probe,
        "layer_path": result.layer_path,
        "hashes": [item.content_hash for item in result.items],
        "scores": result.scores.tolist(),
    }


def shown(result: ProbeResult, n: int) -> dict[str, Any]:
    """Return the first n items of a result, as JSON can hold them."""
    items = [
        {
            "id": item.id,
            "prompt": item.prompt,
            "answer": result.answers[i]
            if result.errors[i] is None
            else f"failed: {result.errors[i]}",
            "right": str(item.scorer.target),
            "score": float(result.scores[i]),
        }
        for i, item in enumerate(result.items[:n])
    ]
    return {"probe": result.probe, "layer_path": result.layer_path, "items": items}
