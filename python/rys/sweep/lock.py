"""The lock on a sweep's file: two writers would measure everything twice."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from rys.errors import StoreError

__all__ = ["Lock"]


class Lock:
    """The right of one process to write a sweep's file.

    The lock is on a file beside it, because SQLite has locks of its own on the database. The
    system releases it when the process ends, however it ends.

    Args:
        path: The sweep's file.

    Raises:
        StoreError: Another process has the lock, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.lock")
        while True:
            try:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
                raise StoreError(
                    f"{path} is in use by another sweep; wait for it, or look at the file with "
                    f"rys.Sweep.open"
                ) from None
            except OSError as error:
                raise StoreError(f"{path}: cannot be written: {error}") from None
            if self._is_on_disk():
                return
            # Its owner removed the file between our open and our lock: lock the next one.
            os.close(self._file)

    def _is_on_disk(self) -> bool:
        try:
            return self.path.stat().st_ino == os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let others write."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)
