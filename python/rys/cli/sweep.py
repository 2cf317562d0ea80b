"""`rys sweep`: find the layers to repeat, and tell how sure that is."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

from rys.cli.model_options import add_model_options, add_thinking_options, open_model
from rys.errors import RequestError
from rys.sweep import space
from rys.sweep.plans import Plan, beam, coarse_to_fine
from rys.sweep.space import Space
from rys.sweep.store import Store
from rys.sweep.sweep import Sweep
from rys.sweep.terminal import summary

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sweep", help="find the layers to repeat", description=__doc__
    )
    add_model_options(parser)
    parser.add_argument(
        "--probes", metavar="A,B", help="default: math,eq,reasoning; for the reference model: reference"
    )
    group = parser.add_argument_group(
        "candidates (default: every block of up to 8 layers; all that are given are tried)"
    )
    group.add_argument("--blocks", type=int, nargs="*", metavar="SIZE", help="blocks run twice; no SIZE = all sizes")
    group.add_argument("--start", type=int, default=0, metavar="N", help="first layer of the blocks")
    group.add_argument("--stop", type=int, metavar="N", help="layer before which blocks end")
    group.add_argument("--stride", type=int, default=1, metavar="N", help="between the starts of blocks")
    group.add_argument("--repeats", type=int, nargs="+", metavar="N", help="single layers run so many times")
    group.add_argument("--skips", type=int, nargs="+", metavar="SIZE", help="so many neighbouring layers left out")
    group.add_argument(
        "--multi", type=int, nargs="+", metavar="N", help="the blocks run so many times instead of twice"
    )
    group.add_argument("--interleave", action="store_true", help="the blocks layer by layer as well: i,i,i+1,i+1")
    group.add_argument("--paths", nargs="+", metavar="P", help="paths given by hand")
    group.add_argument("--beam", metavar="WIDTHxDEPTH", help="combine the best WIDTH with further blocks, DEPTH times")
    group.add_argument("--coarse-to-fine", action="store_true", help="large blocks first, then around the best")
    parser.add_argument("--strategy", choices=["scan", "race"], help="default: race for more than 50 candidates")
    parser.add_argument("--items", type=int, metavar="N", help="items of each probe (default: 64, race: 256)")
    parser.add_argument("--seed", type=int, default=0, help="which items and controls")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="candidates to confirm (default: 5)")
    parser.add_argument("--no-confirm", action="store_true", help="stop after the search")
    parser.add_argument(
        "--min-effect", type=float, default=0.03, metavar="X", help="smallest gain to find (default: 0.03)"
    )
    parser.add_argument("--budget", metavar="B", help="stop in good order: 2h, 30min, 500M-tokens")
    parser.add_argument("--force", action="store_true", help="use probes that cannot measure; marks the result")
    add_thinking_options(parser)
    parser.add_argument("--store", metavar="FILE", help="file for the results (default: named after model and probes)")
    parser.add_argument(
        "--resume", metavar="FILE", help="go on with this file; the other options are those it was made with"
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines; the last one is the result")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, and only the verdict")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Sweep, confirm, and print what was found."""
    if options.resume:
        options = resumed(options)
    default = "math,eq,reasoning" if options.model else "reference"
    probes = [name.strip() for name in (options.probes or default).split(",")]
    progress = not options.quiet and not options.json and sys.stderr.isatty()
    arguments = {key: value for key, value in vars(options).items() if key not in ("run", "command", "resume", "store")}
    if options.model:
        arguments["model"] = str(Path(options.model).absolute())  # it may be resumed from another folder
    with open_model(options) as model:
        sweep = Sweep(
            model,
            probes,
            chosen_space(options),
            store=options.store,
            items=options.items,
            seed=options.seed,
            strategy=options.strategy,
            top=options.top,
            min_effect=options.min_effect,
            budget=options.budget,
            force=options.force,
            thinking=options.thinking,
            thinking_budget=options.thinking_budget,
            on_measured=print_line if options.json else None,
            arguments=arguments,
        )
        with sweep:
            if options.json:
                print(json.dumps({"event": "start", "store": str(sweep.path), "model": model.source}), flush=True)
            try:
                sweep.run(progress=progress, to_confirm=not options.no_confirm)
                if options.json:
                    print(json.dumps({"event": "searched"} | brief(sweep.report())), flush=True)
                if not options.no_confirm:
                    sweep.confirm(progress=progress)
            except KeyboardInterrupt:
                print(
                    f"\ninterrupted; everything measured is in {sweep.path}. To go on:\n"
                    f"    rys sweep --resume {shlex.quote(str(sweep.path))}",
                    file=sys.stderr,
                )
                return 130
            print_report(sweep, options)
    return 0


def print_line(measured: dict[str, Any]) -> None:
    print(json.dumps({"event": "measured"} | measured), flush=True)


def print_report(sweep: Sweep, options: argparse.Namespace) -> None:
    report = sweep.report()
    if options.json:
        print(json.dumps(brief(report)), flush=True)
    elif options.quiet:
        print(report["sentence"])
    else:
        print(summary(report, sweep.results(), colour=sys.stdout.isatty()))
        print(f"Everything is in {sweep.path}.", end="")
        if report["stopped"]:
            print(f" Stopped: {report['stopped']}. To go on: rys sweep --resume {shlex.quote(str(sweep.path))}", end="")
        print()


def brief(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report without NaN and infinity, which JSON does not know."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [clean(inner) for inner in value]
        if hasattr(value, "item"):
            value = value.item()
        return None if isinstance(value, float) and not math.isfinite(value) else value

    cleaned: dict[str, Any] = clean(report)
    return cleaned


def resumed(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options that a file was made with. Of those given now, only output, budget and --force count."""
    path = Path(options.resume)
    store = Store.open(path, read_only=True)
    arguments = store.meta.get("arguments")
    store.close()
    if arguments is None:
        raise RequestError(f"{path} was made in Python; go on there, with rys.Sweep and the same arguments")
    merged = {**vars(options), **arguments, "store": str(path)}
    for name in ("json", "quiet", "budget", "no_confirm"):
        merged[name] = getattr(options, name)
    merged["force"] = options.force or merged["force"]
    if options.model:
        merged["model"] = options.model  # the file may have moved; its fingerprint decides
    return argparse.Namespace(**merged)


def chosen_space(options: argparse.Namespace) -> Space | Plan | None:
    """Return the space that the options describe, None for the default."""
    window = {"start": options.start, "stop": options.stop}
    is_windowed = options.blocks is not None or window != {"start": 0, "stop": None} or options.stride != 1
    base = space.blocks(sizes=options.blocks or None, stride=options.stride, **window) if is_windowed else None
    parts: list[Space] = []
    if options.multi:
        source = base or space.blocks(sizes=range(2, 9))
        parts.append(space.again(source, options.multi))
    elif base:
        parts.append(base)
    if options.interleave:
        parts.append(space.in_place(base or space.blocks(sizes=range(2, 9))))
    if options.repeats:
        parts.append(space.repeats(options.repeats, **window))
    if options.skips:
        parts.append(space.skips(options.skips, **window))
    if options.paths:
        parts.append(space.paths(options.paths))
    if options.coarse_to_fine and options.beam:
        raise RequestError("--coarse-to-fine and --beam are two plans; give one of them")
    if options.coarse_to_fine:
        return coarse_to_fine()
    joined = space.union(*parts) if len(parts) > 1 else parts[0] if parts else None
    if options.beam:
        width, x, depth = options.beam.partition("x")
        if not (x and width.isdigit() and depth.isdigit()):
            raise RequestError(f"--beam is {options.beam!r}, but must be WIDTHxDEPTH, such as 4x2")
        return beam(int(width), int(depth), joined)
    return joined
