"""The file behind a model: checks before llama.cpp sees it, loading, metadata, content id."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from rys import _core, _log
from rys.errors import EngineError, ModelFileError, ModelFileNotFoundError

__all__ = ["Weights"]

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
        self._check_file()
        _log.follow_level()
        try:
            self.core = _core.Weights(self._file, params, progress)
        except EngineError as error:
            raise ModelFileError(f"{self.path}: llama.cpp cannot load this file: {error}") from None
        finally:
            _log.flush()

    def _check_file(self) -> None:
        """Tell the usual mistakes apart, in words of their own."""
        if not self.path.exists():
            raise ModelFileNotFoundError(f"{self.path}: no such file")
        if self.path.is_dir():
            raise ModelFileError(f"{self.path}: is a directory; give the .gguf file in it")
        with self.path.open("rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise ModelFileError(
                f"{self.path}: is not a GGUF file, it begins with {magic!r}; "
                f"models in other formats are converted with llama.cpp's convert_hf_to_gguf.py"
            )
        try:
            _, tensors = _core.read_layout(self._file)
            values = _core.read_metadata(self._file, arrays=False)  # a vocabulary takes a while
        except EngineError as error:
            raise ModelFileError(f"{self.path}: is not a readable GGUF file: {error}") from None
        number = values.get("split.no", 0)
        if isinstance(number, int) and number != 0:
            raise ModelFileError(
                f"{self.path}: is part {number + 1} of {values.get('split.count')} "
                f"of a split model; give the first part, the others are found beside it"
            )
        if not tensors:
            raise ModelFileError(f"{self.path}: has no tensors, only a vocabulary; give the file with the weights")

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The key-values of the file."""
        return _core.read_metadata(self._file)

    @cached_property
    def fingerprint(self) -> str:
        """A content id: 32 hexadecimal digits.

        BLAKE2b over the whole header and metadata, and over 4 KiB at the beginning, in the middle and at the end of
        every tensor, of all parts. So it takes milliseconds for a file of any size, and tells different weights
        apart unless somebody takes care to change none of these bytes.
        """
        digest = hashlib.blake2b(digest_size=16)
        for part in self._parts():
            data_offset, tensors = _core.read_layout(part)
            with part.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                digest.update(data[:data_offset])
                for offset, size in tensors:
                    begin, end = data_offset + offset, data_offset + offset + size
                    for start in (begin, begin + size // 2, end - 4096):
                        digest.update(data[max(start, begin) : min(max(start, begin) + 4096, end)])
        return digest.hexdigest()

    def _parts(self) -> list[Path]:
        split = _SPLIT.match(self._file.name)
        if split is None or self.metadata.get("split.count", 1) in (0, 1):
            return [self._file]
        count = int(split["count"])
        return [self._file.with_name(f"{split['prefix']}-{n + 1:05}-of-{count:05}.gguf") for n in range(count)]
