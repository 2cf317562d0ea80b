"""Lay out a copy: which bytes of the source become which bytes of the copy."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rys.errors import ModelFileError
from rys.export.architectures import ARCHITECTURES
from rys.export.gguf_file import Kind, Tensor, encode, pack_field
from rys.export.source import PlannedCopy

__all__ = ["Layout", "Piece", "lay_out"]

CHUNK = 8 << 20  # bytes that are held at once
SMALL_PART = 2**16  # bytes; smaller parts are gathered in memory, larger ones are read one by one
MAX_NAME = 63  # bytes; GGML_MAX_NAME without the zero at the end

# Tensors of no layer that have a part for each layer, and the dimension that runs through the
# layers; dimension 0 is the fastest.
LAYER_TABLES = {"per_layer_token_embd.weight": 0, "per_layer_model_proj.weight": 1}

_OF_LAYER = re.compile(r"blk\.(\d+)\.(.*)", re.DOTALL)  # blk.12.attn_norm.weight
_PART_OF_SPLIT = re.compile(r"-\d{5}-of-\d{5}$")  # -00001-of-00003


@dataclass(frozen=True)
class Piece:
    """A tensor of the copy, and what it takes of a tensor of the source.

    That is all of the tensor, unless it has a part for each layer. Then it is seen as `n_rows` rows
    of `n_parts` equal parts.

    Attributes:
        name: Its name in the copy, as GGUF holds strings.
        shape: Its dimensions in the copy, the fastest first.
        tensor: The tensor of the source.
        n_rows: Rows of the source's tensor.
        n_parts: Parts of each row.
        parts: Which parts of each row the copy holds, in order.
    """

    name: bytes
    shape: list[int]
    tensor: Tensor
    n_rows: int = 1
    n_parts: int = 1
    parts: tuple[int, ...] = (0,)

    @property
    def part_bytes(self) -> int:
        """Size of a part."""
        return self.tensor.n_bytes // (self.n_rows * self.n_parts)

    @property
    def n_bytes(self) -> int:
        """Size of the tensor in the copy."""
        return self.n_rows * len(self.parts) * self.part_bytes

    def read(self) -> Iterator[bytes]:
        """Yield the bytes of the copy, some MB at a time."""
        return self._read_rows() if self.part_bytes < SMALL_PART else self._read_parts()

    def _read_rows(self) -> Iterator[bytes]:
        row_bytes = self.n_parts * self.part_bytes
        step = max(1, CHUNK // max(1, row_bytes))
        for row in range(0, self.n_rows, step):
            n_rows = min(step, self.n_rows - row)
            data = b"".join(read_tensor(self.tensor, row * row_bytes, n_rows * row_bytes))
            rows = np.frombuffer(data, np.uint8).reshape(n_rows, self.n_parts, self.part_bytes)
            yield rows[:, self.parts].tobytes()

    def _read_parts(self) -> Iterator[bytes]:
        for row in range(self.n_rows):
            for part in self.parts:
                start = (row * self.n_parts + part) * self.part_bytes
                yield from read_tensor(self.tensor, start, self.part_bytes)


@dataclass(frozen=True)
class Layout:
    """All bytes of a copy.

    Attributes:
        header: Header, metadata and descriptions of the tensors, in pieces.
        pieces: The tensors.
        offsets: Where each tensor begins in the file.
        n_bytes: Size of the file.
    """

    header: list[bytes]
    pieces: list[Piece]
    offsets: list[int]
    n_bytes: int


def lay_out(copy: PlannedCopy, fingerprint: str) -> Layout:
    """Lay out a copy.

    Args:
        copy: The plan. Its name, its path and the id of its source are added to its metadata.
        fingerprint: Content id of the source.

    Returns:
        What to write.

    Raises:
        CannotExpressError: The tensors cannot be gathered along the path.
    """
    add_origin(copy, fingerprint)
    pieces = list(gather(copy))
    alignment = copy.source.alignment
    # magic, version, number of tensors, number of key-values
    header = [
        struct.pack("<4sIQQ", b"GGUF", 3, len(pieces), len(copy.pairs)),
        *copy.pairs.values(),
    ]
    starts, end = [], 0  # counted from where the first tensor begins
    for piece in pieces:
        starts.append(end)
        n_dims = len(piece.shape)
        # name, dimensions, type, and where the data begin
        dims = struct.pack(f"<I{n_dims}Q", n_dims, *piece.shape)
        header += [piece.name, dims, struct.pack("<IQ", piece.tensor.type, end)]
        end = aligned(end + piece.n_bytes, alignment)
    begin = aligned(sum(map(len, header)), alignment)
    return Layout(header, pieces, [begin + start for start in starts], begin + end)


def aligned(n_bytes: int, alignment: int) -> int:
    """Round up to the next multiple of the alignment."""
    return n_bytes + -n_bytes % alignment


def add_origin(copy: PlannedCopy, fingerprint: str) -> None:
    """Say in the copy's metadata which path of which model it is."""
    field = copy.source.fields.get("general.name")
    if field is not None and field.kind is Kind.STRING and not field.is_array:
        name = field.value
    else:
        name = _PART_OF_SPLIT.sub("", Path(copy.source.file_name).stem)
    texts = {
        "general.name": f"{name} (layers {copy.layer_path})",
        "rys.layer_path": str(copy.layer_path),
        "rys.source_fingerprint": fingerprint,
    }
    for key, text in texts.items():
        copy.pairs[key] = pack_field(key, text, Kind.STRING)


def gather(copy: PlannedCopy) -> Iterator[Piece]:
    """Yield the tensors of the copy: first those of no layer, then block by block."""
    blocks: dict[int, list[tuple[str, Tensor]]] = {}
    others: list[tuple[str, Tensor]] = []
    for name, tensor in copy.source.tensors.items():
        found = _OF_LAYER.fullmatch(name)
        if found is not None:
            blocks.setdefault(int(found[1]), []).append((found[2], tensor))
        else:
            others.append((name, tensor))
    is_own_order = copy.path == list(range(copy.n_layer))
    is_complete = all(layer in blocks for layer in copy.path)
    copy.require(is_own_order or is_complete, "a layer has no tensors")

    for name, tensor in others:
        yield gather_parts(copy, name, tensor)
    for block, layer in enumerate(copy.layers):
        for name, tensor in blocks.get(layer, []):
            yield Piece(checked_name(copy, f"blk.{block}.{name}"), list(tensor.shape), tensor)


def gather_parts(copy: PlannedCopy, name: str, tensor: Tensor) -> Piece:
    """Return a tensor of no layer: as it is, or its parts along the path if it has one a layer."""
    raw, shape = checked_name(copy, name), list(tensor.shape)
    if name not in LAYER_TABLES or not ARCHITECTURES[copy.source.arch].layer_tables:
        return Piece(raw, shape, tensor)
    axis, n_all = LAYER_TABLES[name], copy.n_layer
    can_be_cut = shape[axis] % n_all == 0
    if axis == 0:
        # along the fastest dimension a cut must not go through values that are quantised together
        can_be_cut = can_be_cut and shape[0] // n_all % block_size(tensor.type) == 0
    copy.require(can_be_cut, f"{name} cannot be cut between two layers")
    shape[axis] = shape[axis] // n_all * copy.n_slot
    n_rows = shape[1] if axis == 0 else 1
    return Piece(raw, shape, tensor, n_rows, copy.n_layer, tuple(copy.path))


def checked_name(copy: PlannedCopy, name: str) -> bytes:
    """Return a tensor's name as GGUF holds it, if llama.cpp can hold it too."""
    raw = encode(name)
    # encode puts the length in front, 8 bytes
    copy.require(len(raw) <= 8 + MAX_NAME, f"the name {name} is too long for llama.cpp")
    return raw


def block_size(tensor_type: int) -> int:
    """Return how many values of a tensor are quantised together."""
    # imported here: gguf takes a while, and few architectures need it
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    return int(GGML_QUANT_SIZES[GGMLQuantizationType(tensor_type)][0])


def read_tensor(tensor: Tensor, start: int, n_bytes: int) -> Iterator[bytes]:
    """Yield bytes of a tensor, at most CHUNK at a time."""
    try:
        # plain reads: mapped pages would count as memory of the process
        with tensor.file.open("rb", buffering=0) as file:
            file.seek(tensor.offset + start)
            while n_bytes:
                data = file.read(min(n_bytes, CHUNK))
                if not data:
                    raise ModelFileError(f"{tensor.file}: became shorter while it was copied")
                n_bytes -= len(data)
                yield data
    except OSError as error:
        raise ModelFileError(f"{tensor.file}: cannot be read: {error.strerror}") from error
