"""The command `rys`. Each subcommand is a file here with `add_parser` and `run`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from rys._util.printable import printable
from rys.build_info import build_info
from rys.cli import compare, export, info, plot, probe, report, run, sweep
from rys.errors import RysError

__all__ = ["main"]

COMMANDS = (sweep, probe, run, plot, export, info, compare, report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit status: 0, 1 after an error, 2 for bad usage, 130
    after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="rys", description="Run GGUF models along layer paths, and measure which help."
    )
    parser.add_argument("--version", action="version", version=f"rys {build_info()['rys_version']}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="replace"
        )  # names and answers may hold what the terminal's encoding does not
    try:
        status: int = options.run(options)
        return status
    except RysError as error:
        message = printable(str(error), limit=None, keep="\n")  # it may quote a file
        print(f"rys {options.command}: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"rys {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # what reads the output has gone, as `head` does
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk behind the output, most often
        print(f"rys {options.command}: {error}", file=sys.stderr)
        return 1
