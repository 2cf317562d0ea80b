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
    """Run a command line.

    Args:
        arguments: Words behind `rys`; None for those of the process.

    Returns:
        The exit status: 0, 1 after an error, or 130 after Ctrl-C.

    Raises:
        SystemExit: With status 2 after bad usage, and with 0 after --help and --version.
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
        # names and answers may hold what the terminal's encoding does not
        sys.stdout.reconfigure(errors="replace")
    try:
        status: int = options.run(options)
        return status
    except RysError as error:
        # the message may quote a file, which is not to be trusted
        message = printable(str(error), limit=None, keep="\n")
        print(f"rys {options.command}: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"rys {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # what reads the output has gone, as `head` does; Python would complain when it flushes
        sys.stderr.close()
        return 1
    except OSError as error:
        # most often a full disk behind the output
        print(f"rys {options.command}: {error}", file=sys.stderr)
        return 1
