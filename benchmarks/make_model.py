"""Write the model that the benchmarks run: the shape of Qwen2.5-0.5B, random weights.

How fast a model runs does not depend on what its weights say, so nothing has to be downloaded but
the vocabulary, which upstream's models/ggml-vocab-qwen2.gguf holds, in the source distribution that
the build of rys fetches anyway. The shape is that of Qwen/Qwen2.5-0.5B: 24 layers, width 896, 14
heads on 2 KV heads, feed-forward width 4864, biases on queries, keys and values, the output tied to
the embedding of 151936 tokens: 494 million weights.

The same seed gives the same file, byte for byte. Weights are made and written a few thousand rows
at a time, so that the script needs little memory whatever the type.

    python benchmarks/make_model.py     # into the cache folder, if it is not there; prints the path
    python benchmarks/make_model.py --type f16 --output model.gguf
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import gguf
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vendor" / "llama.cpp"))
from obtain import cache_dir, checkout_root, load_pin, obtain_archive, source_archive


@dataclass(frozen=True)
class Shape:
    """The sizes of a model.

    Attributes:
        is_tied: the output is the embedding. Else it has weights of its own.
        repeats: weights repeat after `N_ROWS_AT_ONCE` rows, and alike tensors are the same. How
            fast a model runs does not depend on that, and billions of random numbers take minutes.
    """

    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_head_kv: int
    is_tied: bool = True
    repeats: bool = False

    @property
    def n_embd_kv(self) -> int:
        """Width of the keys, and of the values, of all heads together."""
        return self.n_embd // self.n_head * self.n_head_kv


SHAPES = {
    "0.5b": Shape(n_layer=24, n_embd=896, n_ff=4864, n_head=14, n_head_kv=2),
    "7b": Shape(28, 3584, 18944, 28, 4, is_tied=False, repeats=True),  # Qwen2.5-7B
    "tiny": Shape(22, 64, 128, 4, 2, repeats=True),  # to rehearse with
}
N_CTX_TRAIN = 32768

VOCABULARY = "models/ggml-vocab-qwen2.gguf"
TYPES = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
}
N_ROWS_AT_ONCE = 4096


class RandomTensor:
    """Stand in for the array that gguf's writer writes: it asks for `nbytes` and calls `tofile`.

    Values are normal with the standard deviation `scale` around `mean`, from a generator that the
    tensor's name seeds.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: gguf.GGMLQuantizationType,
        scale: float,
        mean: float,
        seed: int,
        repeats: bool = False,
    ) -> None:
        self.name, self.shape, self.kind, self.scale, self.mean = name, shape, kind, scale, mean
        self.repeats = repeats
        # tensors of one kind and width are the same where they repeat, so that they are made once
        key = f"{kind.name} {shape[-1]} {scale}" if repeats else name
        digest = hashlib.sha256(f"{seed} {key}".encode()).digest()
        self.rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        block_size, type_size = gguf.GGML_QUANT_SIZES[kind]
        self.nbytes = int(np.prod(shape)) // block_size * type_size

    def rows(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield float32 [n, shape[-1]], all rows in turn."""
        n_rows, width = int(np.prod(self.shape[:-1])), self.shape[-1]
        for first in range(0, n_rows, N_ROWS_AT_ONCE):
            n = min(N_ROWS_AT_ONCE, n_rows - first)
            yield self.rng.standard_normal((n, width), dtype=np.float32) * np.float32(
                self.scale
            ) + np.float32(self.mean)

    def tofile(self, file: BinaryIO) -> None:
        if self.repeats and self.shape[-1] > 0 and len(self.shape) > 1:
            n_left = self.nbytes
            part = _repeated(self)
            while n_left > 0:
                file.write(part[:n_left])
                n_left -= len(part)
            return
        for rows in self.rows():
            file.write(np.ascontiguousarray(gguf.quants.quantize(rows, self.kind)).tobytes())


_parts: dict[tuple[object, ...], bytes] = {}


def _repeated(tensor: RandomTensor) -> bytes:
    """Return the first `N_ROWS_AT_ONCE` rows of a tensor, as they lie in the file."""
    key = (tensor.kind, tensor.shape[-1], tensor.scale, tensor.mean)
    if key not in _parts:
        size = (N_ROWS_AT_ONCE, tensor.shape[-1])
        rows = tensor.rng.standard_normal(size, dtype=np.float32) * np.float32(tensor.scale)
        _parts[key] = np.ascontiguousarray(gguf.quants.quantize(rows, tensor.kind)).tobytes()
    return _parts[key]


def read_vocabulary(scratch: Path) -> Path:
    """Return upstream's vocabulary-only GGUF, from the sources that the build uses."""
    source = os.environ.get("RYS_LLAMA_CPP_SOURCE", "")
    if source and Path(source).expanduser().is_dir():
        return checkout_root(Path(source).expanduser().resolve()) / VOCABULARY
    archive = source_archive(source) if source else obtain_archive(load_pin(), cache_dir())
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.endswith("/" + VOCABULARY):
                path = scratch / "vocabulary.gguf"
                path.write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
                return path
    raise SystemExit(f"{archive}: there is no {VOCABULARY} in it")


def tensors(shape: Shape, kind: gguf.GGMLQuantizationType, seed: int) -> Iterator[RandomTensor]:
    """Yield all tensors of the model."""

    def weight(name: str, n_out: int, n_in: int, scale: float | None = None) -> RandomTensor:
        return RandomTensor(
            name,
            (n_out, n_in),
            kind,
            1 / np.sqrt(n_in) if scale is None else scale,
            0.0,
            seed,
            shape.repeats,
        )

    def vector(name: str, n: int, mean: float) -> RandomTensor:
        return RandomTensor(name, (n,), gguf.GGMLQuantizationType.F32, 0.02, mean, seed)

    yield weight("token_embd.weight", 151936, shape.n_embd, 0.02)
    for layer in range(shape.n_layer):
        block = f"blk.{layer}"
        yield vector(f"{block}.attn_norm.weight", shape.n_embd, 1.0)
        for name, n_out in (("q", shape.n_embd), ("k", shape.n_embd_kv), ("v", shape.n_embd_kv)):
            yield weight(f"{block}.attn_{name}.weight", n_out, shape.n_embd)
            yield vector(f"{block}.attn_{name}.bias", n_out, 0.0)
        yield weight(f"{block}.attn_output.weight", shape.n_embd, shape.n_embd)
        yield vector(f"{block}.ffn_norm.weight", shape.n_embd, 1.0)
        yield weight(f"{block}.ffn_gate.weight", shape.n_ff, shape.n_embd)
        yield weight(f"{block}.ffn_up.weight", shape.n_ff, shape.n_embd)
        yield weight(f"{block}.ffn_down.weight", shape.n_embd, shape.n_ff)
    yield vector("output_norm.weight", shape.n_embd, 1.0)
    if not shape.is_tied:
        yield weight("output.weight", 151936, shape.n_embd)


def copy_vocabulary(writer: gguf.GGUFWriter, vocabulary: Path) -> None:
    """Put the tokenizer and its chat template (ChatML) into the file."""
    for key, field in gguf.GGUFReader(vocabulary).fields.items():
        if key.startswith("tokenizer."):
            writer.add_key_value(
                key, field.contents(), field.types[0], field.types[-1] if field.types[1:] else None
            )
    writer.add_add_bos_token(False)


def write_model(path: Path, type_name: str = "q8_0", seed: int = 0, shape: str = "0.5b") -> Path:
    """Write the model to `path`, which appears when it is whole."""
    kind, file_type = TYPES[type_name]
    sizes = SHAPES[shape]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".model-", dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        writer = gguf.GGUFWriter(unfinished, "qwen2")
        writer.add_name(f"random weights, Qwen2.5-{shape.upper()}'s shape, seed {seed}")
        writer.add_file_type(file_type)
        writer.add_context_length(N_CTX_TRAIN)
        writer.add_embedding_length(sizes.n_embd)
        writer.add_block_count(sizes.n_layer)
        writer.add_feed_forward_length(sizes.n_ff)
        writer.add_head_count(sizes.n_head)
        writer.add_head_count_kv(sizes.n_head_kv)
        writer.add_rope_freq_base(1e6)
        writer.add_layer_norm_rms_eps(1e-6)
        copy_vocabulary(writer, read_vocabulary(Path(folder)))
        for tensor in tensors(sizes, kind, seed):
            writer.add_tensor_info(
                tensor.name, tensor.shape, np.dtype(np.float32), tensor.nbytes, tensor.kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors(sizes, kind, seed):
            array: Any = tensor
            writer.write_tensor_data(array)
        writer.close()
        unfinished.replace(path)
    return path


def benchmark_folder() -> Path:
    """Return the folder for what the benchmarks write, in rys's cache folder."""
    return cache_dir() / "benchmarks"


def cached_model(type_name: str = "q8_0", seed: int = 0) -> Path:
    """Return the model in the cache folder, written if it is not there yet."""
    path = benchmark_folder() / f"qwen2.5-0.5b-shape-{type_name}-seed{seed}.gguf"
    if not path.is_file():
        print(f"writing {path}", file=sys.stderr)
        write_model(path, type_name, seed)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--type", choices=TYPES, default="q8_0", help="of the weights (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output",
        type=Path,
        help="write here, whether or not it exists (default: the cache folder)",
    )
    options = parser.parse_args()
    if options.output and options.output.is_dir():
        parser.error(f"--output is {str(options.output)!r}, a folder; give the name of a file")
    if options.output:
        print(write_model(options.output, options.type, options.seed))
    else:
        print(cached_model(options.type, options.seed))


if __name__ == "__main__":
    main()
