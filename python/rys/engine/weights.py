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

# model-00001-of-00003.gguf
_SPLIT = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")

_SAMPLE = 4096  # bytes of a tensor that the content id covers at each of three places


class Weights:
    """The loaded weights of one GGUF, which all models on it share.

    Attributes:
        path: The file, as it was given.
        name: Its name, for messages.
        core: llama.cpp's handle of the weights.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        params: _core.WeightsParams,
        progress: Callable[[float], None] | None,
    ) -> None:
        """Load a file.

        Args:
            path: The file; of a split model, the first part.
            params: llama.cpp's options for loading.
            progress: Called with the part that is loaded, from 0 to 1; None for no report.

        Raises:
            ModelFileNotFoundError: There is no such file.
            ModelFileError: The file cannot be used.
        """
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
    """Refuse a file that is not a model, with a message for each of the usual mistakes.

    Structure and sizes of the header are right afterwards. Whether the tensors' data are complete
    is not checked.

    Args:
        path: The file; of a split model, the first part.

    Raises:
        ModelFileNotFoundError: There is no such file.
        ModelFileError: It cannot be used.
    """
    if not path.exists():
        raise ModelFileNotFoundError(f"{path}: no such file")
    if path.is_dir():
        raise ModelFileError(f"{path}: is a directory; give the .gguf file in it")
    if not path.is_file():
        # to open a pipe might take forever
        raise ModelFileError(f"{path}: is not a regular file")
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
    """Return where the tensors lie in a file.

    Returns:
        Where the tensor data begin, and (offset from there, size) of each tensor, all in bytes. The
        file may still be shorter than that.

    Raises:
        ModelFileError: llama.cpp cannot parse the header.
    """
    with _parsing(file):
        return _core.read_layout(file)


def parts(path: Path) -> list[Path]:
    """Return all files of a model.

    Args:
        path: The file; of a split model, the first part.

    Raises:
        ModelFileNotFoundError: A part is missing.
        ModelFileError: A file is not the part that its name says, or the name of the first does
            not tell those of the others.
    """
    _, count = _split(path)
    if count <= 1:
        return [path]
    name = _SPLIT.match(path.name)
    if name is None or (int(name["number"]), int(name["count"])) != (1, count):
        raise ModelFileError(
            f"{path}: is the first of {count} parts, which are found by their names, but its own "
            f"does not end in -00001-of-{count:05}.gguf; give it back the name it was made with"
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

    It is the BLAKE2b hash of the whole header and metadata, and of 4 KiB at the beginning, in the
    middle and at the end of every tensor, of all parts. So it takes milliseconds for a file of any
    size, and tells different weights apart unless somebody takes care to change none of these
    bytes.

    Args:
        path: The file; of a split model, the first part.

    Raises:
        ModelFileError: A file cannot be parsed.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts(path):
        data_offset, tensors = read_layout(part)
        # plain reads: if the file were mapped, the pages around each spot would count as memory
        with part.open("rb", buffering=0) as file:
            for start in range(0, data_offset, 2**20):
                digest.update(file.read(min(2**20, data_offset - start)))
            for offset, size in tensors:
                begin, end = data_offset + offset, data_offset + offset + size
                for spot in (begin, begin + size // 2, end - _SAMPLE):
                    start = max(spot, begin)  # small tensors have less than a sample
                    file.seek(start)
                    digest.update(file.read(min(_SAMPLE, end - start)))
    return digest.hexdigest()


def _split(file: Path) -> tuple[int, int]:
    """Return which part of a split model a file is, from 0, and how many there are.

    A file that is not split is part 0 of 1.
    """
    with _parsing(file):
        # without arrays, since reading a vocabulary takes a while
        values = _core.read_metadata(file, arrays=False)
    number, count = values.get("split.no", 0), values.get("split.count", 1)
    if isinstance(number, int) and isinstance(count, int):
        return number, count
    return 0, 1


@contextmanager
def _parsing(file: Path) -> Iterator[None]:
    """Raise ModelFileError in place of an EngineError of the body."""
    try:
        yield
    except EngineError as error:
        raise ModelFileError(f"{file}: is not a readable GGUF file: {error}") from None
