"""`rys sweep`: find the layers to repeat, and tell how sure that is."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rys._util.json_values import json_value
from rys.cli.model_options import add_model_options, add_thinking_options, open_model
from rys.errors import RequestError
from rys.probes import DEFAULT_PROBES, REFERENCE_PROBES
from rys.sweep import space
from rys.sweep.space import Plan, Space, beam, coarse_to_fine
from rys.sweep.store import Store
from rys.sweep.sweep import Sweep
from rys.sweep.terminal import summary

__all__ = ["add_parser", "run"]

# options that say which candidates there are
_CANDIDATES = (
    "blocks",
    "repeats",
    "skips",
    "multi",
    "interleave",
    "paths",
    "beam",
    "coarse_to_fine",
)
# what a sweep cannot change half-way
_FIXED = (
    "probes", "items", "seed", "strategy", "top", "min_effect", "thinking", "thinking_budget", "start", "stop",
    "stride", *_CANDIDATES,
)  # fmt: skip
# what belongs to a run, and not to the sweep
_TRANSIENT = (
    "run",
    "defaults",
    "command",
    "resume",
    "store",
    "json",
    "quiet",
    "budget",
    "no_confirm",
)


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sweep", help="find the layers to repeat", description=__doc__
    )
    add_model_options(parser)
    parser.add_argument(
        "--probes",
        metavar="A,B",
        help=f"default: {','.join(DEFAULT_PROBES)}; for the reference model: "
        f"{','.join(REFERENCE_PROBES)}",
    )
    group = parser.add_argument_group(
        "candidates (default: every block of up to 8 layers; all that are given are tried)"
    )
    group.add_argument(
        "--blocks",
        type=int,
        nargs="*",
        metavar="SIZE",
        help="blocks run twice; no SIZE = all sizes",
    )
    group.add_argument(
        "--start", type=int, default=0, metavar="N", help="first layer of the blocks"
    )
    group.add_argument("--stop", type=int, metavar="N", help="layer before which blocks end")
    group.add_argument(
        "--stride", type=int, default=1, metavar="N", help="between the starts of blocks"
    )
    group.add_argument(
        "--repeats", type=int, nargs="+", metavar="N", help="single layers run so many times"
    )
    group.add_argument(
        "--skips", type=int, nargs="+", metavar="SIZE", help="so many neighbouring layers left out"
    )
    group.add_argument(
        "--multi",
        type=int,
        nargs="+",
        metavar="N",
        help="the blocks run so many times instead of twice",
    )
    group.add_argument(
        "--interleave", action="store_true", help="the blocks layer by layer as well: i,i,i+1,i+1"
    )
    group.add_argument("--paths", nargs="+", metavar="P", help="paths given by hand")
    group.add_argument(
        "--beam",
        metavar="WIDTHxDEPTH",
        help="combine the best WIDTH with further blocks, DEPTH times",
    )
    group.add_argument(
        "--coarse-to-fine", action="store_true", help="large blocks first, then around the best"
    )
    parser.add_argument(
        "--strategy", choices=["scan", "race"], help="default: race for more than 50 candidates"
    )
    parser.add_argument(
        "--items", type=int, metavar="N", help="items of each probe (default: 64, race: 256)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which items and controls")
    parser.add_argument(
        "--top", type=int, default=5, metavar="K", help="candidates to confirm (default: 5)"
    )
    parser.add_argument("--no-confirm", action="store_true", help="stop after the search")
    parser.add_argument(
        "--min-effect",
        type=float,
        default=0.03,
        metavar="X",
        help="smallest gain to find (default: 0.03)",
    )
    parser.add_argument("--budget", metavar="B", help="stop in good order: 2h, 30min, 500M-tokens")
    parser.add_argument(
        "--force", action="store_true", help="use probes that cannot measure; marks the result"
    )
    add_thinking_options(parser)
    parser.add_argument(
        "--store",
        metavar="FILE",
        help="file for the results (default: named after model and probes)",
    )
    parser.add_argument(
        "--resume",
        metavar="FILE",
        help="go on with this file; the other options are those it was made with",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON lines; the last one is the result"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="no progress bar, and only the verdict"
    )
    defaults = vars(parser.parse_args([]))
    # what is not given is None until `with_defaults`, so that --resume can tell what is
    parser.set_defaults(**dict.fromkeys(defaults), run=run, defaults=defaults)


def run(options: argparse.Namespace) -> int:
    """Sweep, confirm, and print what was found."""
    options = resumed(options) if options.resume is not None else with_defaults(options)
    default = DEFAULT_PROBES if options.model else REFERENCE_PROBES
    probes = [name.strip() for name in (options.probes or ",".join(default)).split(",")]
    progress = not options.quiet and not options.json and sys.stderr.isatty()
    arguments = {key: value for key, value in vars(options).items() if key not in _TRANSIENT}
    if options.model:
        arguments["model"] = str(
            Path(options.model).absolute()
        )  # it may be resumed from another folder
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
            notes = sweep.meta.get("notes", [])
            if options.json:
                start = {
                    "event": "start",
                    "store": str(sweep.path),
                    "model": model.source,
                    "notes": notes,
                }
                print(json.dumps(start), flush=True)
            elif not options.quiet:
                for note in notes:
                    print(f"note: {note}", file=sys.stderr)
            try:
                sweep.run(progress=progress, to_confirm=not options.no_confirm)
                if options.json:
                    print(
                        json.dumps({"event": "searched"} | json_value(sweep.report())), flush=True
                    )
                if not options.no_confirm:
                    sweep.confirm(progress=progress)
            except KeyboardInterrupt:
                print(
                    f"\ninterrupted; everything measured is in {sweep.path}. To go on:\n"
                    f"    {resume_command(sweep, options, options.budget)}",
                    file=sys.stderr,
                )
                if options.json:
                    print_report(sweep, options)
                return 130
            print_report(sweep, options)
    return 0


def print_line(measured: dict[str, Any]) -> None:
    print(json.dumps({"event": "measured"} | measured), flush=True)


def print_report(sweep: Sweep, options: argparse.Namespace) -> None:
    report = sweep.report()
    if options.json:
        print(json.dumps(json_value(report)), flush=True)
    elif options.quiet:
        print(report["sentence"])
    else:
        print(
            summary(
                report, sweep.results(), has_colours(), width=shutil.get_terminal_size().columns
            )
        )
        print(f"Everything is in {sweep.path}.", end="")
        if report["stopped"]:
            print(
                f" Stopped: {report['stopped']}. To go on without one: {resume_command(sweep, options)}",
                end="",
            )
        print()


def has_colours() -> bool:
    """Return whether standard output is a terminal that shows colours, and nobody minds
    (no-color.org).
    """
    return (
        sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    )


def with_defaults(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with the defaults of those that were not given."""
    return argparse.Namespace(**{**options.defaults, **given(options)})


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were given, by name."""
    return {key: value for key, value in vars(options).items() if value is not None}


def resumed(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options that a file was made with, and of those given now what may differ from run
    to run.

    That is the output, the budget, --force and the model's options: those that would change results
    are refused later. Raises RequestError for any other.
    """
    path = Path(options.resume)
    if options.store:
        raise RequestError(f"--resume goes on in {path} itself: leave out --store")
    store = Store.open(path, read_only=True)
    arguments = store.meta.get("arguments")
    store.close()
    if arguments is None:
        raise RequestError(
            f"{path} was made in Python; go on there, with rys.Sweep and the same arguments"
        )
    now = given(options)
    refused = [key for key in now if key in _FIXED and now[key] != arguments.get(key)]
    if refused:
        names = ", ".join(f"--{key.replace('_', '-')}" for key in refused)
        raise RequestError(
            f"--resume goes on as {path} was begun: leave out {names}, or begin another --store"
        )
    kept = {key: value for key, value in arguments.items() if key not in _TRANSIENT}
    return argparse.Namespace(**{**options.defaults, **kept, **now, "store": str(path)})


def resume_command(sweep: Sweep, options: argparse.Namespace, budget: str | None = None) -> str:
    """Return the command that goes on with a sweep in the same manner. budget: for that run, None =
    none.
    """
    flags = [
        f"--{name.replace('_', '-')}"
        for name in ("no_confirm", "json", "quiet")
        if getattr(options, name)
    ]
    limit = ["--budget", budget] if budget else []
    return shlex.join(["rys", "sweep", "--resume", str(sweep.path), *flags, *limit])


def chosen_space(options: argparse.Namespace) -> Space | Plan | None:
    """Return the space that the options describe, None for the default.

    --start, --stop and --stride say which blocks and layers; they choose none by themselves.
    """
    window = {"start": options.start, "stop": options.stop}
    chosen = [name for name in _CANDIDATES if getattr(options, name) not in (None, False)]
    if options.coarse_to_fine:
        others = [name for name in [*chosen, "start", "stop", "stride"] if _is_given(options, name)]
        if others != ["coarse_to_fine"]:
            names = ", ".join(f"--{name}" for name in others if name != "coarse_to_fine")
            raise RequestError(f"--coarse-to-fine is a plan of its own: leave out {names}")
        return coarse_to_fine()
    sizes = (
        options.blocks
        if options.blocks
        else range(2, 9)
        if chosen and options.blocks is None
        else None
    )
    blocks = space.blocks(sizes=sizes, stride=options.stride, **window)
    parts: list[Space] = []
    if options.multi:
        parts.append(space.again(blocks, options.multi))
    elif options.blocks is not None or (
        not chosen and any(_is_given(options, name) for name in ("start", "stop", "stride"))
    ):
        parts.append(blocks)
    if options.interleave:
        parts.append(space.in_place(blocks))
    if options.repeats:
        parts.append(space.repeats(options.repeats, **window))
    if options.skips:
        parts.append(space.skips(options.skips, **window))
    if options.paths:
        parts.append(space.paths(options.paths))
    joined = space.union(*parts) if len(parts) > 1 else parts[0] if parts else None
    if options.beam:
        match = re.fullmatch("([0-9]{1,6})x([0-9]{1,6})", options.beam)
        if not match:
            raise RequestError(f"--beam is {options.beam!r}, but must be WIDTHxDEPTH, such as 4x2")
        return beam(int(match[1]), int(match[2]), joined)
    return joined


def _is_given(options: argparse.Namespace, name: str) -> bool:
    return bool(getattr(options, name) != options.defaults[name])
