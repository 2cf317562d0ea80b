"""Read the header of a GGUF file.

Key-values stay the bytes that they are, and tensors are places in the file. A vocabulary has
hundreds of thousands of strings, and a copy needs none of them as an object, so a value is decoded
only when it is asked for. That is why gguf-py's reader is not used here. llama.cpp's own parser has
accepted the file before; lengths are checked here all the same.
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


# How the struct module calls each kind. Strings and arrays have lengths of their own.
FORMATS = {
    Kind.UINT8: "B",
    Kind.INT8: "b",
    Kind.UINT16: "H",
    Kind.INT16: "h",
    Kind.UINT32: "I",
    Kind.INT32: "i",
    Kind.FLOAT32: "f",
    Kind.BOOL: "?",
    Kind.UINT64: "Q",
    Kind.INT64: "q",
    Kind.FLOAT64: "d",
}


@dataclass(frozen=True)
class Field:
    """A key-value.

    Attributes:
        raw: All its bytes, from the length of the key on.
        start: Where in `raw` the value begins, or the first item of an array.
        kind: Type of the value, or of an array's items.
        is_array: Whether it is an array.
        count: Items of an array, or 1 for a single value.
    """

    raw: bytes
    start: int
    kind: Kind
    is_array: bool
    count: int

    @property
    def value(self) -> Any:
        """The value: a number, a bool, a string or a list of them."""
        values = self._strings() if self.kind is Kind.STRING else self._numbers()
        return values if self.is_array else values[0]

    def _numbers(self) -> list[Any]:
        layout = f"<{self.count}{FORMATS[self.kind]}"
        return list(struct.unpack_from(layout, self.raw, self.start))

    def _strings(self) -> list[str]:
        values, start = [], self.start
        for _ in range(self.count):
            (length,) = struct.unpack_from("<Q", self.raw, start)
            end = start + 8 + length
            values.append(decode(self.raw[start:end]))
            start = end
        return values


@dataclass(frozen=True)
class Tensor:
    """A tensor and the place of its bytes.

    Attributes:
        shape: Dimensions, the fastest first.
        type: ggml's number of its type.
        file: The file that holds its bytes.
        offset: Where they begin in the file, in bytes.
        n_bytes: How many they are.
    """

    shape: tuple[int, ...]
    type: int
    file: Path
    offset: int
    n_bytes: int


class GGUFFile:
    """The header of one file.

    Attributes:
        fields: Key-values by name, in the order of the file.
        tensors: Tensors by name, in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            ModelFileError: The header cannot be parsed, or the file ends before its data do.
        """
        data_offset, places = weights.read_layout(path)
        self.fields: dict[str, Field] = {}
        self.tensors: dict[str, Tensor] = {}
        with path.open("rb") as self._file:
            self._n_left = data_offset
            try:
                _, _, n_tensors, n_fields = self._unpack("<4sIQQ")
                for _ in range(n_fields):
                    name, field = self._read_field()
                    self.fields[name] = field
                if n_tensors != len(places):
                    raise ValueError
                for offset, n_bytes in places:
                    name, shape, kind = self._read_tensor_info()
                    self.tensors[name] = Tensor(shape, kind, path, data_offset + offset, n_bytes)
            except (struct.error, LookupError, ValueError):
                raise ModelFileError(
                    f"{path}: is not a readable GGUF file, or is being written to"
                ) from None
        self._check_size(path)

    def _check_size(self, path: Path) -> None:
        end = max((tensor.offset + tensor.n_bytes for tensor in self.tensors.values()), default=0)
        size = path.stat().st_size
        if end > size:
            raise ModelFileError(
                f"{path}: is cut off: it has {size} bytes, but its data end at byte {end}"
            )

    def _read(self, n_bytes: int) -> bytes:
        if n_bytes > self._n_left:
            raise ValueError
        self._n_left -= n_bytes
        data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise ValueError
        return data

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))

    def _read_string(self) -> bytes:
        """Read a string with its length."""
        length = self._read(8)
        return length + self._read(int.from_bytes(length, "little"))

    def _read_field(self) -> tuple[str, Field]:
        name = self._read_string()
        head = self._read(4)
        kind, count = Kind(int.from_bytes(head, "little")), 1
        is_array = kind is Kind.ARRAY
        if is_array:
            head += self._read(12)
            kind = Kind(int.from_bytes(head[4:8], "little"))
            count = int.from_bytes(head[8:], "little")
        value = bytearray()  # a list of all strings would take much more memory than they do
        if kind is Kind.STRING:
            for _ in range(count):
                value += self._read_string()
        else:
            value += self._read(count * struct.calcsize("<" + FORMATS[kind]))
        field = Field(name + head + value, len(name + head), kind, is_array, count)
        return decode(name), field

    def _read_tensor_info(self) -> tuple[str, tuple[int, ...], int]:
        name = decode(self._read_string())
        (n_dims,) = self._unpack("<I")
        *shape, kind, _ = self._unpack(f"<{n_dims}QIQ")
        return name, tuple(shape), kind


def decode(raw: bytes) -> str:
    """Return a string of the file from its length (8 bytes) and its bytes."""
    # names may hold anything: what is not UTF-8 survives until `encode`
    return raw[8:].decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Return a string as GGUF holds it: its length, then its bytes."""
    raw = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(raw)) + raw


def pack_field(name: str, value: Any, kind: Kind) -> bytes:
    """Return a key-value as GGUF holds it.

    Args:
        name: The full key.
        value: A number, a bool, a string, or a list of numbers or bools.
        kind: Type of the value, or of the list's items.
    """
    if kind is Kind.STRING:
        return encode(name) + struct.pack("<I", kind) + encode(value)
    if isinstance(value, list):
        head = struct.pack("<IIQ", Kind.ARRAY, kind, len(value))
        return encode(name) + head + struct.pack(f"<{len(value)}{FORMATS[kind]}", *value)
    return encode(name) + struct.pack(f"<I{FORMATS[kind]}", kind, value)
