"""Files that are written for a user: complete or absent, and never over another file unasked."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rys._util.printable import printable
from rys.errors import OutputFileError

__all__ = ["checked_output", "whole_file"]

_MARK_WITHIN = 1 << 20  # bytes from the start of a file, in which a mark is looked for


def checked_output(
    destination: str | os.PathLike[str],
    *,
    sources: Iterable[Path],
    force: bool,
    mark: bytes | None = None,
) -> Path:
    """Return the file to write, with links followed.

    Args:
        destination: The name that the user gave.
        sources: Files that are read, which are never overwritten.
        force: Whether to overwrite any other file.
        mark: Bytes near the start of files that rys wrote, which are overwritten without asking;
            None if there are no such files.

    Raises:
        OutputFileError: Another file would be overwritten, or nothing can be written there.
    """
    given = Path(destination)
    name = printable(str(given), limit=None)
    path = Path(os.path.realpath(given))
    try:
        may_write = _may_write(path, name, sources, force=force, mark=mark)
    except OutputFileError:
        raise
    except OSError as error:
        raise OutputFileError(f"{name}: cannot be written: {error.strerror or error}") from error
    if not may_write:
        raise OutputFileError(f"{name}: exists; --force (in Python force=True) overwrites it")
    return path


def _may_write(
    path: Path, name: str, sources: Iterable[Path], *, force: bool, mark: bytes | None
) -> bool:
    """Return whether a file can be written, and is absent or may be overwritten."""
    if not path.parent.is_dir():
        folder = printable(str(path.parent))
        raise OutputFileError(f"{name}: there is no directory {folder}; make it first")
    if not path.exists():
        return True
    if path.is_dir():
        raise OutputFileError(f"{name}: is a directory; give the name of a file in it")
    # samefile sees through hard links, too
    if any(path.samefile(source) for source in sources):
        raise OutputFileError(f"{name}: is the source itself; give another name")
    if not path.is_file():
        raise OutputFileError(f"{name}: is not a regular file")
    return force or (mark is not None and _is_marked(path, mark))


def _is_marked(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return mark in file.read(_MARK_WITHIN)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path`, which replaces it at the end.

    If the body raises, the temporary file is removed and `path` stays as it was.

    Args:
        path: The file to write.

    Yields:
        The name of the temporary file, which does not exist yet.

    Raises:
        OutputFileError: The system cannot write the file.
    """
    # the ending stays: some writers go by it
    temporary = path.with_name(f".rys-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # without an errno it is an error of ours that derives from OSError
        if isinstance(error, OutputFileError) or error.errno is None:
            raise
        name = printable(str(path), limit=None)
        raise OutputFileError(f"{name}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
