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
        description="Show what a GGUF is made of, read from its metadata alone.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a GGUF file; of a split model, the first part"
    )
    parser.add_argument(
        "--n-ctx",
        type=int,
        default=4096,
        metavar="N",
        help="tokens that the KV cache holds; 0 for as many as the model was trained with "
        "(default: 4096)",
    )
    parser.add_argument(
        "--n-seq-max", type=int, metavar="N", help="sequences that run in parallel, as in rys.Model"
    )
    parser.add_argument(
        "--n-ubatch",
        type=int,
        default=512,
        metavar="N",
        help="tokens that are computed at once (default: 512)",
    )
    parser.add_argument(
        "--type-k", metavar="X", help="type of the cached keys, such as q8_0 (default: f16)"
    )
    parser.add_argument("--type-v", metavar="X", help="type of the cached values (default: f16)")
    parser.add_argument(
        "--layers", action="store_true", help="print a line for each layer, not for each kind"
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
    for name, text in facts.items():
        if text:
            print(f"{name.ljust(width)}  {printable(text)}")
    groups = _single_layers(info) if options.layers else info.groups()
    print(f"\n{_layer_table(info, groups)}")
    return 0


def _single_layers(info: ModelInfo) -> list[LayerGroup]:
    """Return a group for each layer."""
    groups = []
    for layer in info.layers:
        groups.append(LayerGroup(layer.kind, ((layer.index, layer.index),), (layer,)))
    return groups


def _facts(info: ModelInfo) -> dict[str, str]:
    """Return what is said of the whole model, by its title; "" if there is nothing to say."""
    return {
        "file": _file(info),
        "name": info.name,
        "architecture": info.architecture,
        "layers": _layer_count(info),
        "parameters": _count(info.n_params),
        "size": _size(sum(n_bytes for _, n_bytes in info.files)),
        "quantisation": _quantisation(info),
        "embedding": _embedding(info),
        "vocabulary": f"{info.n_vocab} tokens, {info.tokenizer or 'no tokenizer'}",
        "context": f"trained with {info.n_ctx_train} tokens" if info.n_ctx_train else "",
        "cache": _cache(info),
        "chat template": _chat_template(info),
        "layer paths": _paths(info),
        "exported": _origin(info),
    }


def _file(info: ModelInfo) -> str:
    name, _ = info.files[0]
    n_more = len(info.files) - 1
    return f"{name} and {n_more} more parts" if n_more else name


def _layer_count(info: ModelInfo) -> str:
    if info.n_layer_mtp:
        return f"{info.n_layer}, and {info.n_layer_mtp} for MTP"
    return str(info.n_layer)


def _quantisation(info: ModelInfo) -> str:
    shares = []
    for name, n_bytes in info.tensor_bytes.items():
        shares.append(f"{name} {n_bytes / max(info.n_bytes, 1):.1%}")
    return f"{info.file_type}: {', '.join(shares)}"


def _embedding(info: ModelInfo) -> str:
    if not info.n_head:  # no layer has attention
        return str(info.n_embd)
    heads = f"{_span(info.n_head)} heads, {_span(info.n_head_kv)} of keys and values"
    return f"{info.n_embd}, {heads}"


def _cache(info: ModelInfo) -> str:
    """Say what a context takes; "" if it takes nothing, or nobody knows."""
    if not info.cache_bytes:
        return ""
    at = f"at n_ctx={info.n_ctx}"
    if info.cache_bytes_few in (None, info.cache_bytes):
        return f"{_size(info.cache_bytes)} {at}, n_seq_max={info.n_seq_max}"
    return (
        f"{_size(info.cache_bytes_few)} {at} for {info.n_seq_few} requests at once, "
        f"{_size(info.cache_bytes)} for more (n_seq_max={info.n_seq_max})"
    )


def _chat_template(info: ModelInfo) -> str:
    if not info.chat_template:
        return "none"
    return "yes, one that mentions thinking" if info.chat_template_thinks else "yes"


def _paths(info: ModelInfo) -> str:
    if info.paths == "all":
        return "supported"
    if info.paths == "some":
        return f"supported, but not all: {info.paths_reason}"
    return f"not supported: {info.paths_reason}"


def _origin(info: ModelInfo) -> str:
    """Say which path of which file `rys export` wrote; "" for any other file."""
    if not info.layer_path:
        return ""
    source = f" of {info.source_fingerprint}" if info.source_fingerprint else ""
    return f"along {info.layer_path}{source}"


def _layer_table(info: ModelInfo, groups: Sequence[LayerGroup]) -> str:
    types = info.type_k if info.type_k == info.type_v else f"{info.type_k}/{info.type_v}"
    header = ["layers", "kind", "number", "bytes each", f"extra slot, {types}"]
    # an f16 cache is shown beside any other, for comparison
    with_f16 = types != "f16"
    if with_f16:
        header.append("f16")
    rows: list[list[object]] = [_layer_row(group, with_f16) for group in groups]
    rest = info.n_bytes - sum(layer.n_bytes for layer in info.layers)
    last: list[object] = ["", "embeddings, output", "", _size(rest)]
    rows.append(last + ["-"] * (len(header) - len(last)))
    note = (
        f"extra slot: KV cache or state that one more visit takes "
        f"at n_ctx={info.n_ctx}, n_seq_max={info.n_seq_max}"
    )
    return f"{table(header, rows)}\n\n{note}"


def _layer_row(group: LayerGroup, with_f16: bool) -> list[object]:
    sizes = _sizes([layer.n_bytes for layer in group.layers])
    row = [_layers(group.ranges), group.kind, len(group.layers), sizes]
    first = group.layers[0]  # slots of a group cost the same
    row.append(_cost(first.slot_bytes))
    if with_f16:
        row.append(_cost(first.slot_bytes_f16))
    return row


def _cost(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else _size(n_bytes)


def _layers(ranges: Sequence[tuple[int, int]]) -> str:
    """Name layers, such as `0..2, 4..6, ... 36..38`."""
    names = []
    for first, last in ranges:
        names.append(str(first) if first == last else f"{first}..{last}")
    if len(names) > 4:
        names = [*names[:3], f"... {names[-1]}"]
    return ", ".join(names)


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
