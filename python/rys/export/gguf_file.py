"""Read the header of a GGUF file: its key-values as the bytes they are, its tensors as places in
the file.

A vocabulary has hundreds of thousands of strings, and a copy needs none of them as an object: a
value is decoded when it is asked for. llama.cpp's own parser has accepted the file before; lengths
are checked here all the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from rys.engine import weights
from rys.errors import ModelFileError

__all__ = ["Field", "GGUFFile", "Kind", "Tensor", "encode", "pack_field"]


class Kind(IntEnum):
    """The types of a value in GGUF."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


FORMATS = {
    kind: code for kind, code in zip(Kind, "BbHhIif?  Qqd", strict=True) if code != " "
}  # of the struct module


@dataclass(frozen=True)
class Field:
    """A key-value.

    raw: all its bytes, from the length of the key on.
    start: where in `raw` the value begins, or the first item.
    kind: of the value; of its items if it is an array.
    count: items of an array, 1 for a single value.
    """

    raw: bytes
    start: int
    kind: Kind
    is_array: bool
    count: int

    @property
    def value(self) -> Any:
        """The value: a number, a bool, a string or a list of them."""
        if self.kind is not Kind.STRING:
            values = list(
                struct.unpack_from(f"<{self.count}{FORMATS[self.kind]}", self.raw, self.start)
            )
        else:
            values, start = [], self.start
            for _ in range(self.count):
                (length,) = struct.unpack_from("<Q", self.raw, start)
                values.append(decode(self.raw[start : start + 8 + length]))
                start += 8 + length
        return values if self.is_array else values[0]


@dataclass(frozen=True)
class Tensor:
    """A tensor: its dimensions, the fastest first, ggml's number of its type, and where its bytes
    are.
    """

    shape: tuple[int, ...]
    type: int
    file: Path
    offset: int
    n_bytes: int


class GGUFFile:
    """Hold the header of one file: `fields` and `tensors` by name, in the order of the file.

    Raises ModelFileError if the header cannot be parsed or if the file ends before its data do.
    """

    def __init__(self, path: Path) -> None:
        data_offset, layout = weights.read_layout(path)
        with path.open("rb") as self._file:
            self._left = data_offset
            try:
                _, _, n_tensors, n_fields = self._unpack("<4sIQQ")
                self.fields = dict(self._field() for _ in range(n_fields))
                infos = [self._tensor_info() for _ in range(n_tensors)]
                self.tensors = {
                    name: Tensor(shape, kind, path, data_offset + offset, n_bytes)
                    for (name, shape, kind), (offset, n_bytes) in zip(infos, layout, strict=True)
                }
            except (struct.error, LookupError, ValueError):
                raise ModelFileError(
                    f"{path}: is not a readable GGUF file, or is being written to"
                ) from None
        end = max((tensor.offset + tensor.n_bytes for tensor in self.tensors.values()), default=0)
        if end > (size := path.stat().st_size):
            raise ModelFileError(
                f"{path}: is cut off: it has {size} bytes, but its data end at byte {end}"
            )

    def _read(self, n_bytes: int) -> bytes:
        if n_bytes > self._left:
            raise ValueError
        self._left -= n_bytes
        data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise ValueError
        return data

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))

    def _string(self) -> bytes:
        """Read a string with its length."""
        length = self._read(8)
        return length + self._read(int.from_bytes(length, "little"))

    def _field(self) -> tuple[str, Field]:
        name, head = self._string(), self._read(4)
        kind, count = Kind(int.from_bytes(head, "little")), 1
        if is_array := kind is Kind.ARRAY:
            head += self._read(12)
            kind, count = (
                Kind(int.from_bytes(head[4:8], "little")),
                int.from_bytes(head[8:], "little"),
            )
        value = bytearray()  # a list of all strings would take much more memory than they
        if kind is Kind.STRING:
            for _ in range(count):
                value += self._string()
        else:
            value += self._read(count * struct.calcsize("<" + FORMATS[kind]))
        return decode(name), Field(name + head + value, len(name + head), kind, is_array, count)

    def _tensor_info(self) -> tuple[str, tuple[int, ...], int]:
        name = decode(self._string())
        (n_dims,) = self._unpack("<I")
        *shape, kind, _ = self._unpack(f"<{n_dims}QIQ")
        return name, tuple(shape), kind


def decode(raw: bytes) -> str:
    """Return a string of the file from its length and its bytes; what is not UTF-8 survives
    `encode`.
    """
    return raw[8:].decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Return a string as GGUF holds it: its length, then its bytes."""
    raw = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(raw)) + raw


def pack_field(name: str, value: Any, kind: Kind) -> bytes:
    """Return a key-value as GGUF holds it. value: a number, a bool, a string, or a list of numbers
    or bools.
    """
    if kind is Kind.STRING:
        return encode(name) + struct.pack("<I", kind) + encode(value)
    values = value if isinstance(value, list) else [value]
    head = (
        struct.pack("<IIQ", Kind.ARRAY, kind, len(values))
        if values is value
        else struct.pack("<I", kind)
    )
    return encode(name) + head + struct.pack(f"<{len(values)}{FORMATS[kind]}", *values)
