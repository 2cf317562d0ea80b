"""Small models that tests run, and what numpy computes with one of them.

Every function writes its file once in a test session. All weights are random; `stories` and `adder`
are real, and not everywhere.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import string
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest

import rys
from support.tiny_model import write_tiny_model

# One result, whatever runs beside or before: a KV cache that rounds nothing, attention that adds in
# one order, and a cache that keeps nothing.
EXACT: dict[str, Any] = {
    "n_threads": 1,
    "type_k": "f32",
    "type_v": "f32",
    "flash_attn": False,
    "cache_prompt": False,
}
REAL = Path(__file__).parents[3] / "shared" / "data" / "models"

Floats = npt.NDArray[np.floating[Any]]


@functools.cache
def folder() -> Path:
    path = Path(tempfile.mkdtemp(prefix="rys-tests-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def tiny(**options: Any) -> Path:
    """Return a llama model of 6 layers with a tokenizer; see write_tiny_model for the options."""
    long = ("chat_template", "metadata", "types")
    parts = [f"{key}={value}" for key, value in options.items() if key not in long]
    name = "-".join(parts) or "tiny"
    return write_tiny_model(
        folder() / f"{name}-{abs(hash(tuple(options.items()))):x}.gguf", **options
    )


def open_tiny(
    layer_path: Any = None, *, model: dict[str, Any] | None = None, **options: Any
) -> rys.Model:
    """Return an open `tiny(**model)` with results that do not depend on what runs beside."""
    return rys.Model(tiny(**model or {}), layer_path, **{"n_ctx": 256, **EXACT, **options})


def stories() -> Path:
    """Return a model of 5 layers that writes children's stories."""
    return _real("stories260K-f32.gguf")


def adder() -> Path:
    """Return a model of 4 layers and 9 positions, without a tokenizer, that adds numbers of three
    digits.
    """
    return _real("st_add_4_4_128.gguf")


def instruct(name: str) -> Path:
    """Return a small model of a real family, such as "qwen2.5-coder-0.5b"."""
    default = Path.home() / ".cache" / "rys-real-models"
    folder = Path(os.environ.get("RYS_REAL_MODELS", default))
    found = sorted(folder.glob(f"{name}*.gguf"))
    if not found:
        pytest.skip(f"needs {name}, which is not in {folder}")
    return found[0]


def _real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"needs {name}, which is not in {REAL}")
    return REAL / name


def write_gguf(
    path: Path, architecture: str, keys: dict[str, Any], tensors: dict[str, Floats]
) -> Path:
    """Write a GGUF.

    Args:
        path: The file to write.
        architecture: Its `general.architecture`.
        keys: Metadata; ints become uint32, names that begin with a dot are the architecture's.
        tensors: The weights, by name.
    """
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in keys.items():
        key = f"{architecture}{name}" if name.startswith(".") else name
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    for name, data in tensors.items():
        writer.add_tensor(name, data.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class _Random:
    """Random matrices that keep the size of what is multiplied with them."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, *shape: int) -> Floats:
        return self._rng.standard_normal(shape) / np.sqrt(shape[-1])


def _word_piece_vocabulary(tokens: Sequence[str]) -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": list(tokens),
        "tokenizer.ggml.token_type": [3 if token.startswith("[") else 1 for token in tokens],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.seperator_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
    }


@functools.cache
def encoder() -> Path:
    """Return a BERT: it has a vocabulary and embeds texts, but predicts no token."""
    random, n_embd, n_ff, n_pos = _Random(1), 32, 64, 64
    tokens = ["[UNK]", "[CLS]", "[SEP]", *string.ascii_lowercase]
    tensors = {
        "token_embd.weight": random(len(tokens), n_embd),
        "position_embd.weight": random(n_pos, n_embd),
        "token_types.weight": random(2, n_embd),
        "token_embd_norm.weight": np.ones(n_embd),
        "token_embd_norm.bias": np.zeros(n_embd),
    }
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensors[f"blk.0.{part}.weight"], tensors[f"blk.0.{part}.bias"] = (
            random(n_embd, n_embd),
            np.zeros(n_embd),
        )
    for part, n_in, n_out in (("ffn_up", n_embd, n_ff), ("ffn_down", n_ff, n_embd)):
        tensors[f"blk.0.{part}.weight"], tensors[f"blk.0.{part}.bias"] = (
            random(n_out, n_in),
            np.zeros(n_out),
        )
    for part in ("attn_output_norm", "layer_output_norm"):
        tensors[f"blk.0.{part}.weight"], tensors[f"blk.0.{part}.bias"] = (
            np.ones(n_embd),
            np.zeros(n_embd),
        )
    keys = {
        ".context_length": n_pos,
        ".embedding_length": n_embd,
        ".block_count": 1,
        ".feed_forward_length": n_ff,
        ".attention.head_count": 2,
        ".attention.layer_norm_epsilon": 1e-5,
        ".attention.causal": False,
        ".pooling_type": 1,
        "tokenizer.ggml.token_type_count": 2,
        **_word_piece_vocabulary(tokens),
    }
    return write_gguf(folder() / "encoder.gguf", "bert", keys, tensors)


@functools.cache
def positions(n_pos: int = 12, n_vocab: int = 16) -> Path:
    """Return a GPT-2 of 2 layers without a tokenizer, with a learned table of `n_pos` positions."""
    random, n_embd, n_ff = _Random(2), 32, 64
    tensors = {
        "token_embd.weight": random(n_vocab, n_embd) * 6,
        "position_embd.weight": random(n_pos, n_embd) * 6,
        "output_norm.weight": np.ones(n_embd),
        "output_norm.bias": np.zeros(n_embd),
    }
    for layer in range(2):
        for part, n_in, n_out in (
            ("attn_qkv", n_embd, 3 * n_embd),
            ("attn_output", n_embd, n_embd),
            ("ffn_up", n_embd, n_ff),
            ("ffn_down", n_ff, n_embd),
        ):
            tensors[f"blk.{layer}.{part}.weight"] = random(n_out, n_in)
            tensors[f"blk.{layer}.{part}.bias"] = np.zeros(n_out)
        for part in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{part}.weight"] = np.ones(n_embd)
            tensors[f"blk.{layer}.{part}.bias"] = np.zeros(n_embd)
    keys = {
        ".context_length": n_pos,
        ".embedding_length": n_embd,
        ".block_count": 2,
        ".feed_forward_length": n_ff,
        ".attention.head_count": 2,
        ".attention.layer_norm_epsilon": 1e-5,
        ".vocab_size": n_vocab,
        "tokenizer.ggml.model": "none",
    }
    return write_gguf(folder() / f"positions-{n_pos}-{n_vocab}.gguf", "gpt2", keys, tensors)


@functools.cache
def recurrent(architecture: str = "mamba", *, inner_factor: int = 2) -> Path:
    """Return a model of 3 layers without a tokenizer: "mamba", or "jamba" with attention in the
    middle layer.

    inner_factor: llama.cpp takes no other than 2; a Jamba with another fails one of its assertions.
    """
    random, n_vocab, n_embd, n_ff, n_state, n_rank, n_conv = _Random(3), 48, 32, 64, 16, 4, 4
    n_inner, hybrid = inner_factor * n_embd, architecture == "jamba"
    tensors = {
        "token_embd.weight": random(n_vocab, n_embd) * 6,
        "output_norm.weight": np.ones(n_embd),
        "output.weight": random(n_vocab, n_embd) * 2,
    }
    for layer in range(3):
        block = f"blk.{layer}"
        tensors[f"{block}.attn_norm.weight"] = np.ones(n_embd)
        if hybrid and layer == 1:
            for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
                tensors[f"{block}.{part}.weight"] = random(n_embd, n_embd)
        else:
            tensors[f"{block}.ssm_in.weight"] = random(2 * n_inner, n_embd)
            tensors[f"{block}.ssm_conv1d.weight"] = random(n_inner, n_conv)
            tensors[f"{block}.ssm_conv1d.bias"] = np.zeros(n_inner)
            tensors[f"{block}.ssm_x.weight"] = random(n_rank + 2 * n_state, n_inner)
            tensors[f"{block}.ssm_dt.weight"] = random(n_inner, n_rank)
            tensors[f"{block}.ssm_dt.bias"] = np.zeros(n_inner)
            tensors[f"{block}.ssm_a"] = -np.exp(random(n_inner, n_state))
            tensors[f"{block}.ssm_d"] = np.ones(n_inner)
            tensors[f"{block}.ssm_out.weight"] = random(n_embd, n_inner)
            for part, size in (("dt", n_rank), ("b", n_state), ("c", n_state)) if hybrid else ():
                tensors[f"{block}.ssm_{part}_norm.weight"] = np.ones(size)
        if hybrid:
            tensors[f"{block}.ffn_norm.weight"] = np.ones(n_embd)
            tensors[f"{block}.ffn_gate.weight"] = random(n_ff, n_embd)
            tensors[f"{block}.ffn_up.weight"] = random(n_ff, n_embd)
            tensors[f"{block}.ffn_down.weight"] = random(n_embd, n_ff)
    keys = {
        ".context_length": 512,
        ".embedding_length": n_embd,
        ".block_count": 3,
        ".feed_forward_length": n_ff if hybrid else 0,
        ".attention.head_count": 2 if hybrid else 0,
        ".attention.head_count_kv": [0, 2, 0] if hybrid else 0,
        ".attention.layer_norm_rms_epsilon": 1e-5,
        ".ssm.conv_kernel": n_conv,
        ".ssm.inner_size": n_inner,
        ".ssm.state_size": n_state,
        ".ssm.time_step_rank": n_rank,
        ".vocab_size": n_vocab,
        "tokenizer.ggml.model": "none",
    }
    return write_gguf(folder() / f"{architecture}-{inner_factor}.gguf", architecture, keys, tensors)


@functools.cache
def split() -> tuple[Path, Path]:
    """Return the two parts of `tiny()`."""
    source: Any = gguf.GGUFReader(tiny())
    parts = folder() / "split-00001-of-00002.gguf", folder() / "split-00002-of-00002.gguf"
    tensors = list(source.tensors)
    for number, part in enumerate(parts):
        writer = gguf.GGUFWriter(part, "llama")
        for name, field in source.fields.items() if number == 0 else ():
            if not name.startswith("GGUF.") and name != "general.architecture":
                kinds = field.types
                writer.add_key_value(
                    name, field.contents(), kinds[0], sub_type=kinds[-1] if len(kinds) > 1 else None
                )
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(tensors))
        half = len(tensors) // 2
        for tensor in tensors[half:] if number else tensors[:half]:
            writer.add_tensor(tensor.name, tensor.data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return parts


def patched(path: Path, to: Path, offset: int, replace: bytes) -> Path:
    """Write a copy of a file with some bytes replaced."""
    data = bytearray(path.read_bytes())
    data[offset : offset + len(replace)] = replace
    to.write_bytes(data)
    return to


def _rms_norm(x: Floats, weight: Floats) -> Floats:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight


def forward(path: Path, layer_path: Sequence[int], tokens: Sequence[int]) -> tuple[Floats, Floats]:
    """Compute a `tiny` model along a layer path in numpy, in float64.

    Returns the residual stream before every slot and after the last [n_slot + 1, T, D], and the
    logits [T, V].
    """
    reader: Any = gguf.GGUFReader(path)
    weights = {tensor.name: np.asarray(tensor.data, np.float64) for tensor in reader.tensors}
    n_head, n_head_kv = (
        int(reader.fields[f"llama.attention.{key}"].contents())
        for key in ("head_count", "head_count_kv")
    )
    x = weights["token_embd.weight"][list(tokens)]  # [T, D]
    n_tokens, n_embd = x.shape
    width = n_embd // n_head
    angles = np.arange(n_tokens)[:, None] * 10000.0 ** (
        -np.arange(0, width, 2) / width
    )  # [T, width/2]

    def rotate(v: Floats) -> Floats:  # [T, heads, width], neighbours are pairs
        even, odd, cos, sin = (
            v[..., ::2],
            v[..., 1::2],
            np.cos(angles)[:, None],
            np.sin(angles)[:, None],
        )
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(v.shape)

    hidden = [x]
    for layer in layer_path:
        part = {
            name: weights[f"blk.{layer}.{name}.weight"]
            for name in ("attn_norm", "attn_q", "attn_k", "attn_v")
        }
        normed = _rms_norm(x, part["attn_norm"])
        q = rotate((normed @ part["attn_q"].T).reshape(n_tokens, n_head, width))
        k = rotate((normed @ part["attn_k"].T).reshape(n_tokens, n_head_kv, width))
        v = (normed @ part["attn_v"].T).reshape(n_tokens, n_head_kv, width)
        k, v = (np.repeat(values, n_head // n_head_kv, axis=1) for values in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(width)
        scores[:, np.triu(np.ones((n_tokens, n_tokens), bool), 1)] = -np.inf
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", attention, v).reshape(n_tokens, n_embd)
        x = x + mixed @ weights[f"blk.{layer}.attn_output.weight"].T
        normed = _rms_norm(x, weights[f"blk.{layer}.ffn_norm.weight"])
        gate = normed @ weights[f"blk.{layer}.ffn_gate.weight"].T
        gate /= 1 + np.exp(-gate)
        x = (
            x
            + (gate * (normed @ weights[f"blk.{layer}.ffn_up.weight"].T))
            @ weights[f"blk.{layer}.ffn_down.weight"].T
        )
        hidden.append(x)
    return np.stack(hidden), _rms_norm(x, weights["output_norm.weight"]) @ weights[
        "output.weight"
    ].T


def log_softmax(logits: Floats) -> Floats:
    """Return the natural logarithms of the probabilities, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
