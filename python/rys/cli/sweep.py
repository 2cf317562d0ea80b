"""`rys sweep`: find layers worth repeating, and say how certain the gain is."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from rys._util.json_values import json_value
from rys._util.printable import printable
from rys.cli.model_options import add_model_options, add_thinking_options, open_model
from rys.engine.model import Model
from rys.errors import RequestError
from rys.next_steps import resume_command, sweep_words
from rys.probes import DEFAULT_PROBES, REFERENCE_PROBES
from rys.sweep import space
from rys.sweep.space import Plan, Space, beam, coarse_to_fine
from rys.sweep.strategies import STRATEGIES
from rys.sweep.sweep import Sweep
from rys.sweep.sweep_file import SweepFile
from rys.sweep.terminal import summary

__all__ = ["add_parser", "run"]

# Options that say which candidates there are.
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

# Options of one run, which the file does not keep.
_OF_A_RUN = ("resume", "store", "json", "quiet", "budget")

# Options that the file keeps, and that a resumed run may change.
_CHANGEABLE = ("no_confirm", "force")

# What the parser adds to the options.
_OF_THE_PARSER = ("run", "defaults", "command")


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sweep", help="find the layers to repeat", description=__doc__
    )
    add_options(parser)
    defaults = vars(parser.parse_args([]))
    # What is not given is None until `with_defaults`, so that --resume can tell what is.
    parser.set_defaults(**dict.fromkeys(defaults), run=run, defaults=defaults)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of `rys sweep`."""
    add_model_options(parser)
    # such as "scan 64, race 256"
    default_items = ", ".join(f"{name} {one.default_items}" for name, one in STRATEGIES.items())
    parser.add_argument(
        "--probes",
        metavar="A,B",
        help=f"default: {','.join(DEFAULT_PROBES)}; for the reference model: "
        f"{','.join(REFERENCE_PROBES)}",
    )
    _add_candidate_options(parser)
    parser.add_argument(
        "--strategy", choices=list(STRATEGIES), help="default: race for more than 50 candidates"
    )
    parser.add_argument(
        "--items", type=int, metavar="N", help=f"items of each probe (default: {default_items})"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the items and controls (default: 0)"
    )
    parser.add_argument(
        "--top", type=int, default=5, metavar="K", help="candidates to confirm (default: 5)"
    )
    parser.add_argument("--no-confirm", action="store_true", help="stop after the search")
    parser.add_argument(
        "--confirm",
        action="store_false",
        dest="no_confirm",
        help="with --resume: confirm after all, where the file was begun with --no-confirm",
    )
    parser.add_argument(
        "--min-effect",
        type=float,
        default=0.03,
        metavar="X",
        help="smallest gain to find (default: 0.03)",
    )
    parser.add_argument("--budget", metavar="B", help="limit of this run: 2h, 30min or 500M-tokens")
    parser.add_argument(
        "--force",
        action="store_true",
        help="use probes that cannot measure this model; the result says so",
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
        help="continue the sweep in this file, with the options it was made with",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON lines; the last one is the result"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print only the verdict, and no progress bar"
    )


def _add_candidate_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "candidates (default: every block of up to 8 layers; these options can be combined)"
    )
    group.add_argument(
        "--blocks",
        type=int,
        nargs="*",
        metavar="SIZE",
        help="blocks of SIZE layers run twice; without SIZE, of all sizes",
    )
    group.add_argument(
        "--start", type=int, default=0, metavar="N", help="first layer of the blocks"
    )
    group.add_argument("--stop", type=int, metavar="N", help="layer before which blocks end")
    group.add_argument(
        "--stride", type=int, default=1, metavar="N", help="layers between the starts of blocks"
    )
    group.add_argument(
        "--repeats", type=int, nargs="+", metavar="N", help="single layers, run N times in a row"
    )
    group.add_argument(
        "--skips", type=int, nargs="+", metavar="SIZE", help="leave out SIZE neighbouring layers"
    )
    group.add_argument(
        "--multi", type=int, nargs="+", metavar="N", help="run the blocks N times instead of twice"
    )
    group.add_argument(
        "--interleave",
        action="store_true",
        help="also repeat the blocks layer by layer: i,i,i+1,i+1",
    )
    group.add_argument("--paths", nargs="+", metavar="P", help="these paths")
    group.add_argument(
        "--beam",
        metavar="WIDTHxDEPTH",
        help="combine the best WIDTH with further blocks, DEPTH times",
    )
    group.add_argument(
        "--coarse-to-fine", action="store_true", help="large blocks first, then around the best"
    )


def run(options: argparse.Namespace) -> int:
    """Sweep, confirm, and print what was found."""
    options = resumed(options) if options.resume is not None else with_defaults(options)
    with open_model(options) as model, make_sweep(model, options) as sweep:
        _print_start(sweep, model.source, options)
        progress = _shows_progress(options)
        try:
            sweep.run(progress=progress, to_confirm=not options.no_confirm)
            if options.json:
                document = {"event": "searched"} | json_value(sweep.report().to_json())
                print(json.dumps(document), flush=True)
            if not options.no_confirm:
                sweep.confirm(progress=progress)
        except KeyboardInterrupt:
            command = resume_command(str(sweep.path), *_flags(options), budget=options.budget)
            print(
                f"\ninterrupted; everything measured is in {sweep.path}. To go on:\n    {command}",
                file=sys.stderr,
            )
            if options.json:
                print_report(sweep, options)
            return 130
        print_report(sweep, options)
    return 0


def _shows_progress(options: argparse.Namespace) -> bool:
    # A bar would spoil output that is read by a program.
    return not options.quiet and not options.json and sys.stderr.isatty()


def make_sweep(model: Model, options: argparse.Namespace) -> Sweep:
    """Return the sweep that the options describe."""
    if options.probes is None:
        probes = list(DEFAULT_PROBES if options.model else REFERENCE_PROBES)
    else:
        probes = [name.strip() for name in options.probes.split(",")]
    tells = options.json or not options.quiet
    return Sweep(
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
        progress=_shows_progress(options),
        on_measured=print_line if options.json else None,
        on_finding=partial(print_finding, options.json) if tells else None,
        provenance=provenance_of(options),
    )


def provenance_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a sweep's file keeps of the command line: all that is not of one run."""
    kept = {}
    for name, value in vars(options).items():
        if name not in (*_OF_A_RUN, *_OF_THE_PARSER):
            kept[name] = value
    if options.model:
        # The sweep may be resumed from another folder.
        kept["model"] = str(Path(options.model).absolute())
    return kept


def _print_start(sweep: Sweep, source: str, options: argparse.Namespace) -> None:
    notes = list(sweep.options.notes)
    if options.json:
        start = {"event": "start", "store": str(sweep.path), "model": source, "notes": notes}
        print(json.dumps(start), flush=True)
    elif not options.quiet:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)


def print_line(measured: dict[str, Any]) -> None:
    """Print a measured part of a path as a line of JSON."""
    print(json.dumps({"event": "measured"} | measured), flush=True)


def print_finding(
    as_json: bool, what: str, lines: Sequence[str], document: Mapping[str, Any]
) -> None:
    """Print what was found out before the search: lines for people, or a line of JSON."""
    if as_json:
        print(json.dumps({"event": what, what: json_value(document)}), flush=True)
        return
    for line in lines:
        # The reasons may quote a file, which is not to be trusted.
        print(printable(line, limit=None), file=sys.stderr)


def print_report(sweep: Sweep, options: argparse.Namespace) -> None:
    """Print what the sweep found, in the form that the options ask for."""
    report = sweep.report()
    if options.json:
        print(json.dumps(json_value(report.to_json())), flush=True)
        return
    if options.quiet:
        print(report.sentence)
        return
    width = shutil.get_terminal_size().columns
    print(summary(report, sweep.results(), has_colours(), width=width))
    print(f"Everything is in {sweep.path}.", end="")
    if report.stopped:
        command = resume_command(str(sweep.path), *_flags(options))
        print(f" Stopped: {report.stopped}. To go on without one: {command}", end="")
    print()


def has_colours() -> bool:
    """Return whether to print colours: to a terminal that has them, unless NO_COLOR is set."""
    # The convention of no-color.org.
    is_wanted = os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    return sys.stdout.isatty() and is_wanted


def with_defaults(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with the defaults of those that were not given."""
    return argparse.Namespace(**{**options.defaults, **given(options)})


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were given, by name."""
    return {key: value for key, value in vars(options).items() if value is not None}


class _Parser(argparse.ArgumentParser):
    """A parser that raises RequestError where others print to the terminal and exit."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(message)


def resumed(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options that a file was made with, and those given now that may differ.

    The options of a run, --force, --no-confirm and the model's options may differ; model options
    that would change results are refused later.

    Raises:
        RequestError: Another option was given, or the file was not made by `rys sweep`.
        StoreError: The file cannot be read.
    """
    path = Path(options.resume)
    if options.store:
        raise RequestError(f"--resume writes to {path} itself: leave out --store")
    with SweepFile.open(path) as file:
        provenance = file.options.provenance
    if provenance is None:
        raise RequestError(
            f"{path} was made in Python; continue it there, with rys.Sweep and the same arguments"
        )
    made_with = {**options.defaults, **_parsed(path, provenance)}
    # All but these are fixed, so a new option is refused unless it is named here.
    now = given(options)
    may_differ = _model_options() | {*_OF_A_RUN, *_OF_THE_PARSER, *_CHANGEABLE}
    refused = []
    for name, value in now.items():
        if name not in may_differ and value != made_with[name]:
            refused.append(f"--{name.replace('_', '-')}")
    if refused:
        raise RequestError(
            f"--resume continues {path} with the options it was made with: leave out "
            f"{', '.join(refused)}, or begin another --store"
        )
    return argparse.Namespace(**{**made_with, **now, "store": str(path)})


def _parsed(path: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the command line that a file was made with.

    The words are parsed anew, since a file may hold anything.
    """
    # No abbreviations: what a later rys knows must not be taken for what this one does.
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_options(parser)
    try:
        return vars(parser.parse_args(sweep_words(provenance)))
    except RequestError as error:
        raise RequestError(
            f"{path} was made with options that this rys does not know ({error}); begin another "
            f"--store"
        ) from None


def _model_options() -> set[str]:
    """Return the names of the model's options."""
    parser = argparse.ArgumentParser(add_help=False)
    add_model_options(parser)
    return set(vars(parser.parse_args([])))


def _flags(options: argparse.Namespace) -> list[str]:
    """Return the flags that were given and that the file does not keep."""
    return [name for name in ("json", "quiet") if getattr(options, name)]


def chosen_space(options: argparse.Namespace) -> Space | Plan | None:
    """Return the space that the options describe, None for the default.

    --start, --stop and --stride say which blocks and layers; they choose none by themselves.
    """
    chosen = [name for name in _CANDIDATES if getattr(options, name) not in (None, False)]
    if options.coarse_to_fine:
        named = [name for name in [*chosen, "start", "stop", "stride"] if _is_given(options, name)]
        others = [f"--{name}" for name in named if name != "coarse_to_fine"]
        if others:
            raise RequestError(
                f"--coarse-to-fine is a plan of its own: leave out {', '.join(others)}"
            )
        return coarse_to_fine()
    parts = _parts_of_space(options, chosen)
    joined: Space | None = None
    if parts:
        joined = space.union(*parts) if len(parts) > 1 else parts[0]
    if options.beam:
        match = re.fullmatch("([0-9]{1,6})x([0-9]{1,6})", options.beam)  # such as 4x2
        if not match:
            raise RequestError(f"--beam is {options.beam!r}, but must be WIDTHxDEPTH, such as 4x2")
        return beam(int(match[1]), int(match[2]), joined)
    return joined


def _parts_of_space(options: argparse.Namespace, chosen: Sequence[str]) -> list[Space]:
    """Return a space for each option that chooses candidates. chosen: the names of these."""
    window = {"start": options.start, "stop": options.stop}
    sizes: Iterable[int] | None = options.blocks or None
    if chosen and options.blocks is None:
        sizes = range(2, 9)  # for --multi and --interleave without --blocks
    blocks = space.blocks(sizes=sizes, stride=options.stride, **window)
    is_window_alone = not chosen and any(map(partial(_is_given, options), (*window, "stride")))
    parts: list[Space] = []
    if options.multi:
        parts.append(space.again(blocks, options.multi))
    elif options.blocks is not None or is_window_alone:
        parts.append(blocks)
    if options.interleave:
        parts.append(space.in_place(blocks))
    if options.repeats:
        parts.append(space.repeats(options.repeats, **window))
    if options.skips:
        parts.append(space.skips(options.skips, **window))
    if options.paths:
        parts.append(space.paths(options.paths))
    return parts


def _is_given(options: argparse.Namespace, name: str) -> bool:
    return bool(getattr(options, name) != options.defaults[name])
