"""`rys info`: what a GGUF is made of, read from its metadata alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rys._util.printable import printable
from rys._util.tables import table
from rys.model_info import LayerGroup, ModelInfo, read_model_info

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the subcommand to those of `rys`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "info",
        help="show what a model file is made of, and what an extra slot costs",
        description=__doc__,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a GGUF file; of a split model, the first part"
    )
    parser.add_argument(
        "--n-ctx",
        type=int,
        default=4096,
        metavar="N",
        help="tokens that the KV cache holds, 0 = as many as the model was trained with (default: 4096)",
    )
    parser.add_argument(
        "--n-seq-max", type=int, metavar="N", help="sequences that run in parallel, as in rys.Model"
    )
    parser.add_argument(
        "--n-ubatch",
        type=int,
        default=512,
        metavar="N",
        help="tokens computed at once (default: 512)",
    )
    parser.add_argument(
        "--type-k", metavar="X", help="type of the cached keys, such as q8_0 (default: f16)"
    )
    parser.add_argument("--type-v", metavar="X", help="type of the cached values (default: f16)")
    parser.add_argument(
        "--layers", action="store_true", help="a line for each layer instead of each kind"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: the fields of ModelInfo"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Describe the file."""
    info = read_model_info(
        options.model,
        n_ctx=options.n_ctx,
        n_seq_max=options.n_seq_max,
        n_ubatch=options.n_ubatch,
        type_k=options.type_k,
        type_v=options.type_v,
    )
    if options.json:
        print(json.dumps(info.to_json()))
        return 0
    facts = _facts(info)
    width = max(map(len, facts))
    print(
        "\n".join(f"{name.ljust(width)}  {printable(text)}" for name, text in facts.items() if text)
    )
    if options.layers:
        groups = [
            LayerGroup(layer.kind, ((layer.index, layer.index),), (layer,)) for layer in info.layers
        ]
    else:
        groups = info.groups()
    print(f"\n{_layer_table(info, groups)}")
    return 0


def _facts(info: ModelInfo) -> dict[str, str]:
    file_bytes = sum(n_bytes for _, n_bytes in info.files)
    shares = [
        f"{name} {n_bytes / max(info.n_bytes, 1):.1%}"
        for name, n_bytes in info.tensor_bytes.items()
    ]
    heads = (
        [f"{_span(info.n_head)} heads", f"{_span(info.n_head_kv)} of keys and values"]
        if info.n_head
        else []
    )
    source = f" of {info.source_fingerprint}" if info.source_fingerprint else ""
    paths = {"all": "supported", "some": "supported, but not all: ", "none": "not supported: "}
    template = "yes, one that mentions thinking" if info.chat_template_thinks else "yes"
    return {
        "file": info.files[0][0]
        + (f" and {len(info.files) - 1} more parts" if len(info.files) > 1 else ""),
        "name": info.name,
        "architecture": info.architecture,
        "layers": f"{info.n_layer}"
        + (f", and {info.n_layer_mtp} for MTP" if info.n_layer_mtp else ""),
        "parameters": _count(info.n_params),
        "size": _size(file_bytes),
        "quantisation": f"{info.file_type}: {', '.join(shares)}",
        "embedding": ", ".join([str(info.n_embd), *heads]),
        "vocabulary": f"{info.n_vocab} tokens"
        + (f", {info.tokenizer}" if info.tokenizer else ", no tokenizer"),
        "context": f"trained with {info.n_ctx_train} tokens" if info.n_ctx_train else "",
        "chat template": template if info.chat_template else "none",
        "layer paths": paths[info.paths] + info.paths_reason,
        "exported": f"along {info.layer_path}{source}" if info.layer_path else "",
    }


def _layer_table(info: ModelInfo, groups: Sequence[LayerGroup]) -> str:
    types = info.type_k if info.type_k == info.type_v else f"{info.type_k}/{info.type_v}"
    header = ["layers", "kind", "number", "bytes each", f"extra slot, {types}"]
    with_f16 = types != "f16"
    rows = []
    for group in groups:
        first = group.layers[0]
        row = [
            _layers(group.ranges),
            group.kind,
            len(group.layers),
            _sizes([layer.n_bytes for layer in group.layers]),
        ]
        costs = [first.slot_bytes, first.slot_bytes_f16] if with_f16 else [first.slot_bytes]
        rows.append([*row, *("-" if cost is None else _size(cost) for cost in costs)])
    rest = info.n_bytes - sum(layer.n_bytes for layer in info.layers)
    rows.append(["", "embeddings, output", "", _size(rest), *["-"] * (1 + with_f16)])
    note = f"extra slot: KV cache or state that one more visit takes at n_ctx={info.n_ctx}, n_seq_max={info.n_seq_max}"
    return f"{table(header + ['f16'] * with_f16, rows)}\n\n{note}"


def _layers(ranges: Sequence[tuple[int, int]]) -> str:
    """Name layers, such as `0..2, 4..6, ... 36..38`."""
    names = [str(first) if first == last else f"{first}..{last}" for first, last in ranges]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])}, ... {names[-1]}"


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _sizes(values: Sequence[int]) -> str:
    low, high = _size(min(values)), _size(max(values))
    return low if low == high else f"{low} to {high}"


def _size(n_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.4g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.2f} GiB"


def _count(number: float) -> str:
    for unit, scale in ((" T", 1e12), (" B", 1e9), (" M", 1e6)):
        if number >= scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.0f}"
