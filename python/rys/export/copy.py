"""Write the GGUF that a layer path stands for, for programs that know nothing of paths.

Block `s` of the copy holds, byte for byte, the tensors of block `path[s]`; what the file says per
layer is gathered along the path; the blocks of multi-token prediction stay behind it. An unmodified
llama.cpp that loads the copy then computes what rys computes along the path if, and only if, a
layer means the same in its new place. rules.py sees to that, and refuses the paths for which no
file means the same.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rys._util.output_file import checked_output, whole_file
from rys._util.printable import printable
from rys.engine import weights
from rys.errors import ModelFileError, OutputFileError, RysError
from rys.export.gguf_file import Kind, Tensor, encode, pack_field
from rys.export.rules import rewrite_metadata
from rys.export.source import Source
from rys.layer_path import LayerPathLike

__all__ = ["Export", "export"]

CHUNK = 8 << 20  # bytes that are held at once
TABLES = (
    "per_layer_token_embd.weight",
    "per_layer_model_proj.weight",
)  # of gemma3n and gemma4: a part for each layer
MAX_NAME = 63  # bytes, GGML_MAX_NAME without the end


@dataclass(frozen=True)
class Export:
    """What was written.

    n_layer: of the source. n_slot: layers of the copy.
    bytes: of the copy.
    fingerprint: of the source, which the copy names as `rys.source_fingerprint`.
    """

    source: str
    destination: str
    layer_path: str
    n_layer: int
    n_slot: int
    bytes: int
    fingerprint: str


@dataclass(frozen=True)
class Piece:
    """A tensor of the copy, and what it takes of the source's tensor.

    That is all of it, unless the tensor has a part for each layer: then, of `n_rows` rows of
    `n_parts` equal parts each, the parts with the numbers in `parts`.
    """

    name: bytes
    shape: list[int]
    tensor: Tensor
    n_rows: int = 1
    n_parts: int = 1
    parts: tuple[int, ...] = (0,)

    @property
    def part_bytes(self) -> int:
        return self.tensor.n_bytes // (self.n_rows * self.n_parts)

    @property
    def n_bytes(self) -> int:
        return self.n_rows * len(self.parts) * self.part_bytes

    def read(self) -> Iterator[bytes]:
        """Yield the bytes of the copy, some MB at a time."""
        if self.part_bytes < 2**16:
            row_bytes = self.n_parts * self.part_bytes
            step = max(1, CHUNK // max(1, row_bytes))
            for row in range(0, self.n_rows, step):
                n_rows = min(step, self.n_rows - row)
                data = b"".join(read(self.tensor, row * row_bytes, n_rows * row_bytes))
                rows = np.frombuffer(data, np.uint8).reshape(n_rows, self.n_parts, self.part_bytes)
                yield rows[:, self.parts].tobytes()
        else:
            for row in range(self.n_rows):
                for part in self.parts:
                    yield from read(
                        self.tensor, (row * self.n_parts + part) * self.part_bytes, self.part_bytes
                    )


def read(tensor: Tensor, start: int, n_bytes: int) -> Iterator[bytes]:
    """Yield bytes of a tensor, at most CHUNK at a time.

    Plain reads: mapped pages would count as memory.
    """
    try:
        with tensor.file.open("rb", buffering=0) as file:
            file.seek(tensor.offset + start)
            while n_bytes:
                data = file.read(min(n_bytes, CHUNK))
                if not data:
                    raise ModelFileError(f"{tensor.file}: got shorter while it was copied")
                n_bytes -= len(data)
                yield data
    except OSError as error:
        raise ModelFileError(f"{tensor.file}: cannot be read: {error.strerror}") from error


def gather(m: Source) -> Iterator[Piece]:
    """Yield the tensors of the copy: first those of no layer, then block by block."""
    blocks: dict[int, list[tuple[str, Tensor]]] = {}
    for name, tensor in m.tensors.items():
        if match := re.fullmatch(r"blk\.(\d+)\.(.+)", name):
            blocks.setdefault(int(match[1]), []).append((match[2], tensor))
    m.require(
        m.path == list(range(m.n)) or all(i in blocks for i in m.path), "a layer has no tensors"
    )
    named = [(k, t) for k, t in m.tensors.items() if not re.match(r"blk\.\d+\.", k)]
    named += [
        (f"blk.{s}.{rest}", t) for s, i in enumerate(m.layers) for rest, t in blocks.get(i, [])
    ]
    for name, tensor in named:
        raw, shape = encode(name), list(tensor.shape)
        m.require(len(raw) <= 8 + MAX_NAME, f"the name {name} is too long for llama.cpp")
        if name not in TABLES or m.arch not in ("gemma3n", "gemma4"):
            yield Piece(raw, shape, tensor)
            continue
        axis = TABLES.index(
            name
        )  # the dimension that runs through all layers; dimension 0 is the fastest
        whole = shape[axis] % m.n == 0 and (
            axis == 1 or shape[0] // m.n % block_size(tensor.type) == 0
        )
        m.require(whole, f"{name} cannot be cut between two layers")
        shape[axis] = shape[axis] // m.n * len(m.path)
        yield Piece(raw, shape, tensor, shape[1] if axis == 0 else 1, m.n, tuple(m.path))


def block_size(tensor_type: int) -> int:
    """Return how many values of a tensor are quantised together."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    return int(GGML_QUANT_SIZES[GGMLQuantizationType(tensor_type)][0])


def plan(m: Source, fingerprint: str) -> tuple[list[bytes], list[Piece], list[int]]:
    """Return what to write: the header in pieces, the tensors, and where each begins and the file
    ends.

    Raises CannotExpressError.
    """
    rewrite_metadata(m)
    name = m.fields.get("general.name")
    known = name is not None and name.kind is Kind.STRING and not name.is_array
    old = name.value if name and known else re.sub(r"-\d{5}-of-\d{5}$", "", Path(m.file_name).stem)
    for key, text in (
        ("general.name", f"{old} (layers {m.layer_path})"),
        ("rys.layer_path", str(m.layer_path)),
        ("rys.source_fingerprint", fingerprint),
    ):
        m.pairs[key] = pack_field(key, text, Kind.STRING)

    pieces = list(gather(m))
    header = [struct.pack("<4sIQQ", b"GGUF", 3, len(pieces), len(m.pairs)), *m.pairs.values()]
    ends = [0]  # of the tensors, from where the first begins
    for piece in pieces:
        n_dims = len(piece.shape)
        header += [
            piece.name,
            struct.pack(f"<I{n_dims}QIQ", n_dims, *piece.shape, piece.tensor.type, ends[-1]),
        ]
        ends.append(ends[-1] + piece.n_bytes + -piece.n_bytes % m.alignment)
    size = sum(map(len, header))
    begin = size + -size % m.alignment
    return header, pieces, [begin + end for end in ends]


def export(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    layer_path: LayerPathLike,
    *,
    force: bool = False,
    progress: bool = False,
) -> Export:
    """Write to `destination` the GGUF whose layers are those of `source` along a path, for programs
    without paths.

    Weights are copied as stored, never converted. The copy is written under another name and then
    renamed, so that `destination` is whole or not there at all.

    source: a GGUF; of a split model the first part. The copy is one file.
    layer_path: any form that LayerPath reads; None = the file's own order.
    force: overwrite `destination`.
    progress: show a progress bar.

    Raises ModelFileError, LayerPathError (the model lacks a layer), CannotExpressError (no GGUF of
    this architecture says what the path says) or OutputFileError (the destination). Nothing is
    written then.
    """
    source, destination = Path(source), Path(destination)
    weights.check_file(source)
    try:
        m = Source(source, layer_path)
        fingerprint = weights.fingerprint(source)
        header, pieces, offsets = plan(m, fingerprint)
    except RysError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        # The rules trust that keys have the types and lengths with which llama.cpp would load the
        # model.
        raise ModelFileError(f"{source}: its metadata contradict themselves: {error!r}") from error
    path = checked_output(destination, sources=m.files, force=force)
    check_space(path, needed=offsets[-1])
    write(path, header, pieces, offsets, progress)
    return Export(
        source=str(source),
        destination=str(destination),
        layer_path=str(m.layer_path),
        n_layer=m.n,
        n_slot=len(m.path),
        bytes=offsets[-1],
        fingerprint=fingerprint,
    )


def check_space(path: Path, needed: int) -> None:
    """Raise OutputFileError unless there is room for `needed` bytes."""
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OutputFileError(
            f"{printable(str(path))}: the copy needs {needed:,} bytes, but {printable(str(path.parent))} has {free:,} "
            f"bytes free; make room or write it elsewhere"
        )


def write(
    path: Path, header: list[bytes], pieces: list[Piece], offsets: list[int], progress: bool
) -> None:
    """Write the copy, whole or not at all."""
    with (
        whole_file(path) as temporary,
        temporary.open("xb") as out,
        tqdm(
            total=offsets[-1], unit="B", unit_scale=True, desc="exporting", disable=not progress
        ) as bar,
    ):
        out.writelines(header)
        for piece, offset in zip(pieces, offsets, strict=False):
            out.seek(offset)  # the gap reads as zeros
            bar.update(offset - bar.n)
            for data in piece.read():
                bar.update(out.write(data))
        out.truncate(offsets[-1])
        bar.update(offsets[-1] - bar.n)
        out.flush()
        os.fsync(out.fileno())
