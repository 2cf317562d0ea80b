"""Files that are written for a user: whole or not there at all, and never in the place of something
else unasked.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rys._util.printable import printable
from rys.errors import OutputFileError

__all__ = ["checked_output", "whole_file"]

_MARK_WITHIN = 1 << 20  # bytes


def checked_output(
    destination: str | os.PathLike[str],
    *,
    sources: Iterable[Path],
    force: bool,
    mark: bytes | None = None,
) -> Path:
    """Return the file to write, links followed. Raises OutputFileError if it would take the place
    of something else.

    sources: what is read, and never overwritten. force: overwrite any other file.
    mark: what files hold that may be overwritten without asking, since rys wrote them.
    """
    given = Path(destination)
    name = printable(str(given), limit=None)
    path = Path(os.path.realpath(given))
    try:
        if not path.parent.is_dir():
            raise OutputFileError(
                f"{name}: there is no directory {printable(str(path.parent))}; make it first"
            )
        if not path.exists():
            return path
        if path.is_dir():
            raise OutputFileError(f"{name}: is a directory; give the name of a file in it")
        if any(path.samefile(source) for source in sources):
            raise OutputFileError(f"{name}: is the source itself; give another name")
        if not path.is_file():
            raise OutputFileError(f"{name}: is not a regular file")
        if force:
            return path
        if mark is not None:
            with path.open("rb") as file:
                if mark in file.read(_MARK_WITHIN):
                    return path
    except OutputFileError:
        raise
    except OSError as error:
        raise OutputFileError(f"{name}: cannot be written: {error.strerror or error}") from error
    raise OutputFileError(f"{name}: exists; --force (in Python force=True) overwrites it")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path`, which becomes it when all went well and is removed
    otherwise.
    """
    # the ending stays: some writers go by it
    temporary = path.with_name(f".rys-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, OutputFileError) or error.errno is None:
            raise
        raise OutputFileError(
            f"{printable(str(path), limit=None)}: cannot be written: {error.strerror or error}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
