"""Write the GGUF that a layer path stands for: the oracle that views are tested against.

Block `s` of the copy holds, byte for byte, the tensors of block `path[s]`; what the file says per layer is gathered
along the path; the blocks of multi-token prediction stay behind it. An unmodified llama.cpp that loads the copy then
computes what a view must compute, if, and only if, a layer means the same in its new place. gguf_copy_rules.py sees
to that, and refuses the paths for which no file means the same.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf
from gguf import GGUFValueType as Kind

from gguf_copy_rules import MAX_LAYERS, rewrite_metadata

FORMATS = {Kind.UINT32: "I", Kind.INT32: "i", Kind.UINT64: "Q", Kind.FLOAT32: "f", Kind.BOOL: "?"}
TABLES = ("per_layer_token_embd.weight", "per_layer_model_proj.weight")  # of gemma3n and gemma4: a part for each layer


class CannotExpress(ValueError):  # noqa: N818
    """No GGUF of this architecture says what the path says, so there is no copy to compare with."""


class Source:
    """The file to copy: its metadata as values and as the bytes to write (`pairs`), its tensors, and the path.

    It has `n` layers, `n_all` with the blocks of multi-token prediction. `layers[s]` is the layer that block `s` of
    the copy repeats: the path, then those blocks.
    """

    def __init__(self, file: Path, path: Sequence[int]) -> None:
        self.reader: Any = gguf.GGUFReader(file)
        self.fields = {k: f for k, f in self.reader.fields.items() if not k.startswith("GGUF.")}
        self.pairs = {k: b"".join(part.tobytes() for part in f.parts) for k, f in self.fields.items()}
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.arch: str = self.fields["general.architecture"].contents()
        self.n_all = self.integer("block_count")
        self.n = self.n_all - self.integer("nextn_predict_layers")
        if self.arch == "deepseek4" and f"blk.{self.n}.nextn.eh_proj.weight" not in self.tensors:
            self.n = self.n_all
        self.path = [int(i) for i in path]
        self.layers = [*self.path, *range(self.n, self.n_all)]
        most = MAX_LAYERS - (self.arch == "graniteswitch")  # it adds a layer of its own
        if not self.path or not all(0 <= i < self.n for i in self.path) or len(self.layers) > most:
            raise ValueError(f"path {self.path}, but {file.name} has layers 0..{self.n - 1}")
        self.require("split.count" not in self.fields, "the file is one of several")
        self.require("general.tensor_extra.name" not in self.fields, "the metadata speaks of single tensors")

    def require(self, holds: bool, reason: str) -> None:
        if not holds:
            raise CannotExpress(f"{self.arch} along {self.path}: {reason}")

    def name(self, key: str) -> str:
        return key if key.startswith("xielu.") else f"{self.arch}.{key}"

    def get(self, key: str, default: Any = None) -> Any:
        field = self.fields.get(self.name(key))
        return default if field is None else field.contents()

    def integer(self, key: str, default: int = 0) -> int:
        return int(self.get(key, default))

    def listed(self, key: str) -> list[Any] | None:
        """Return the value of `key` if it is an array."""
        value = self.get(key)
        return value if isinstance(value, list) else None

    def set(self, key: str, value: Any, kind: Kind = Kind.UINT32) -> None:
        """Store `value`, a scalar or a list, where the key stood, or at the end."""
        name = self.name(key)
        values = value if isinstance(value, list) else [value]
        head = struct.pack("<IIQ", Kind.ARRAY, kind, len(values)) if values is value else struct.pack("<I", kind)
        body = head + struct.pack(f"<{len(values)}{FORMATS[kind]}", *values)
        self.pairs[name] = struct.pack("<Q", len(name)) + name.encode() + body


def gather_tensors(m: Source) -> Iterator[tuple[str, list[int], Any, Any, list[int]]]:
    """Yield name, dimensions, source tensor, its bytes as uint8 [rows, parts, n], and the parts to write of each row.

    That is the one part, except for a table that has one for each layer.
    """
    blocks: dict[int, list[tuple[str, Any]]] = {}
    for name, tensor in m.tensors.items():
        if match := re.fullmatch(r"blk\.(\d+)\.(.+)", name):
            blocks.setdefault(int(match[1]), []).append((match[2], tensor))
    m.require(m.path == list(range(m.n)) or all(i in blocks for i in m.path), "a layer has no tensors")
    named = [(k, t) for k, t in m.tensors.items() if not re.match(r"blk\.\d+\.", k)]
    named += [(f"blk.{s}.{rest}", t) for s, i in enumerate(m.layers) for rest, t in blocks.get(i, [])]
    for name, tensor in named:
        shape = [int(d) for d in tensor.shape]
        data = m.reader.data[tensor.data_offset : tensor.data_offset + tensor.n_bytes]
        if name not in TABLES or m.arch not in ("gemma3n", "gemma4"):
            yield name, shape, tensor, data.reshape(1, 1, -1), [0]
            continue
        axis = TABLES.index(name)  # the dimension that runs through all layers; dimension 0 is the fastest
        whole_blocks = shape[0] // m.n % gguf.GGML_QUANT_SIZES[tensor.tensor_type][0] == 0
        m.require(axis == 1 or whole_blocks, f"{name} cannot be cut between two layers")
        rows = shape[1] if axis == 0 else 1
        shape[axis] = shape[axis] // m.n * len(m.path)
        yield name, shape, tensor, data.reshape(rows, m.n, -1), m.path


def copy_along_path(src: Path, dst: Path, path: Sequence[int]) -> None:
    """Write to `dst` the GGUF whose blocks are those of `src` in the order of `path`.

    Weights are copied as stored, never converted. Raise CannotExpress if stock llama.cpp reads no file that means
    this path, and ValueError if `src` lacks a layer of the path. Nothing is written then.
    """
    m = Source(src, path)
    rewrite_metadata(m)
    tensors = list(gather_tensors(m))
    alignment, offset = int(m.reader.alignment), 0
    header = struct.pack("<IIQQ", gguf.GGUF_MAGIC, gguf.GGUF_VERSION, len(tensors), len(m.pairs))
    header += b"".join(m.pairs.values())
    for name, shape, tensor, data, parts in tensors:
        header += struct.pack("<Q", len(name)) + name.encode()
        header += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, tensor.tensor_type, offset)
        n_bytes = data.nbytes // data.shape[1] * len(parts)
        offset += n_bytes + -n_bytes % alignment
    with dst.open("wb") as out:
        out.write(header)
        for _, _, _, data, parts in tensors:
            out.write(bytes(-out.tell() % alignment))
            if parts == [0]:
                out.write(data)
            else:
                for row in range(0, len(data), 1024):  # gathering copies, and the table may not fit into memory
                    out.write(data[row : row + 1024, parts].tobytes())
        out.write(bytes(-out.tell() % alignment))
