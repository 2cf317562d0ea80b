"""The file behind a model: checks before llama.cpp sees it, loading, metadata, content id."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from rys import _core, _log
from rys.errors import EngineError, ModelFileError, ModelFileNotFoundError

__all__ = ["Weights", "check_file", "fingerprint", "parts", "read_layout"]

_SPLIT = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


class Weights:
    """Hold the loaded weights of one GGUF, which all models on it share.

    Raises ModelFileNotFoundError, or ModelFileError if the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        params: _core.WeightsParams,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.path = Path(path)
        self._file = self.path.absolute()  # the process may change its directory
        self.name = os.fsencode(self.path.name).decode("utf-8", "replace")
        check_file(self.path)
        _log.follow_level()
        try:
            self.core = _core.Weights(self._file, params, progress)
        except EngineError as error:
            raise ModelFileError(f"{self.path}: llama.cpp cannot load this file: {error}") from None
        finally:
            _log.flush()

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The key-values of the file."""
        return _core.read_metadata(self._file)

    @cached_property
    def fingerprint(self) -> str:
        """The content id of the file; see `fingerprint`."""
        return fingerprint(self._file)


def check_file(path: Path) -> None:
    """Tell the usual mistakes apart, in words of their own.

    Raises ModelFileNotFoundError or ModelFileError. Structure and sizes of the header are right
    afterwards; whether the tensors' data are all there is not looked at.
    """
    if not path.exists():
        raise ModelFileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise ModelFileError(f"{path}: is a directory; give the .gguf file in it")
    if not path.is_file():
        raise ModelFileError(f"{path}: is not a regular file")  # to open a pipe might take forever
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from None
    if not magic:
        raise ModelFileError(f"{path}: is empty")
    if magic != b"GGUF":
        raise ModelFileError(
            f"{path}: is not a GGUF file, it begins with {magic!r}; "
            f"models in other formats are converted with llama.cpp's convert_hf_to_gguf.py"
        )
    _, tensors = read_layout(path)
    number, count = _split(path)
    if number != 0:
        raise ModelFileError(
            f"{path}: is part {number + 1} of {count} of a split model; "
            f"give the first part, the others are found beside it"
        )
    if not tensors and count <= 1:
        raise ModelFileError(
            f"{path}: has no tensors, only a vocabulary; give the file with the weights"
        )


def read_layout(file: Path) -> tuple[int, list[tuple[int, int]]]:
    """Return (where the tensor data begin, [(offset from there, size)] of the tensors), in bytes.

    Raises ModelFileError unless llama.cpp can parse the header. The data may still be shorter than
    it says.
    """
    with _parsing(file):
        return _core.read_layout(file)


def parts(path: Path) -> list[Path]:
    """Return the files of a model: itself, or all parts of a split one, of which it is the first.

    Raises ModelFileError if a part is missing, is another part, or cannot be found for the name of
    the first.
    """
    _, count = _split(path)
    if count <= 1:
        return [path]
    name = _SPLIT.match(path.name)
    if name is None or (int(name["number"]), int(name["count"])) != (1, count):
        raise ModelFileError(
            f"{path}: is the first of {count} parts, which are found by their names, but its own does not end "
            f"in -00001-of-{count:05}.gguf; give it back the name it was made with"
        )
    files = [
        path.with_name(f"{name['prefix']}-{number + 1:05}-of-{count:05}.gguf")
        for number in range(count)
    ]
    for number, file in enumerate(files[1:], 1):
        if not file.is_file():
            raise ModelFileNotFoundError(
                f"{file}: no such file, but {path.name} is the first of {count} parts"
            )
        if _split(file)[0] != number:
            raise ModelFileError(f"{file}: is not part {number + 1} of {count}, as its name says")
    return files


def fingerprint(path: Path) -> str:
    """Return the content id of a model file: 32 hexadecimal digits.

    BLAKE2b over the whole header and metadata, and over 4 KiB at the beginning, in the middle and
    at the end of every tensor, of all parts. So it takes milliseconds for a file of any size, and
    tells different weights apart unless somebody takes care to change none of these bytes. Raises
    ModelFileError.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts(path):
        data_offset, tensors = read_layout(part)
        with part.open(
            "rb", buffering=0
        ) as file:  # mapped, the pages around each spot would count as memory
            for start in range(0, data_offset, 2**20):
                digest.update(file.read(min(2**20, data_offset - start)))
            for offset, size in tensors:
                begin, end = data_offset + offset, data_offset + offset + size
                for start in (begin, begin + size // 2, end - 4096):
                    file.seek(max(start, begin))
                    digest.update(file.read(min(4096, end - max(start, begin))))
    return digest.hexdigest()


def _split(file: Path) -> tuple[int, int]:
    """Return which part of a split model a file is, from 0, and how many there are; 0 and 1 if it
    is whole.
    """
    with _parsing(file):
        values = _core.read_metadata(file, arrays=False)  # a vocabulary takes a while
    number, count = values.get("split.no", 0), values.get("split.count", 1)
    return (number, count) if isinstance(number, int) and isinstance(count, int) else (0, 1)


@contextmanager
def _parsing(file: Path) -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise ModelFileError(f"{file}: is not a readable GGUF file: {error}") from None
