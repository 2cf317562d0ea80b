"""What a GGUF is made of: layers and their kinds, sizes, and what an extra slot costs. Reads no
tensor data.

llama.cpp itself loads the file without the tensors' data and answers: which layers are recurrent or
see a window, which paths are possible, and how large the caches of a path are. Only the sizes and
types of tensors are those of the file.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rys import _core
from rys.engine import options
from rys.engine.weights import Weights, parts

__all__ = ["LayerGroup", "LayerInfo", "ModelInfo", "read_model_info"]

_TYPE_NAMES = {number: name for name, number in options.GGML_TYPES.items()}
_LAYER = re.compile(r"(?:enc\.|dec\.)?blk\.(\d{1,4})\.(.+)")


@dataclass(frozen=True)
class LayerInfo:
    """One layer of the file.

    index: from 0; MTP layers follow the others.
    kind: how it mixes tokens ("attention", "sliding window", "recurrent", "attention + recurrent"),
        then its feed-forward part ("dense", "MoE"), such as "attention, MoE"; what a layer lacks is
        left out. An MTP layer's begins with "MTP".
    n_bytes: of its tensors in the file.
    slot_bytes: KV cache and recurrent state that one more slot with this layer takes; None if no
        path can visit the layer twice.
    slot_bytes_f16: the same with a cache of f16.
    """

    index: int
    kind: str
    n_bytes: int
    slot_bytes: int | None
    slot_bytes_f16: int | None


@dataclass(frozen=True)
class LayerGroup:
    """Layers of one kind, whose slots cost the same.

    ranges: first and last layer of each run of neighbours.
    """

    kind: str
    ranges: tuple[tuple[int, int], ...]
    layers: tuple[LayerInfo, ...]


@dataclass(frozen=True)
class ModelInfo:
    """What a GGUF is made of.

    files: name and size in bytes of the file, or of all parts of a split one.
    file_type: llama.cpp's name of the quantisation; "(guessed)" if the file does not say it.
    tensor_bytes: size of the tensors of each type, the largest first.
    n_bytes, n_params: of all tensors; what no layer holds are embeddings and output.
    n_layer, n_layer_mtp: layers that a path may visit, and MTP layers, which rys does not run.
    n_head, n_head_kv: the different numbers of heads that attention layers have.
    n_vocab, n_ctx_train: 0 if the file does not say.
    tokenizer: its kind in the file, such as "gpt2" or "llama", with the name of its splitting rules
        if it has one.
    chat_template, chat_template_thinks: whether there is one, and whether it mentions thinking.
    layer_path, source_fingerprint: of a file that `rys export` wrote, which path of which file it
        holds; else None.
    paths: "all"; "some", of which rys.Model refuses the others; or "none".
    paths_reason: why not all.
    n_ctx, n_seq_max, n_ubatch, type_k, type_v: of the context that the layers' slot_bytes hold for.
    """

    files: tuple[tuple[str, int], ...]
    name: str
    architecture: str
    file_type: str
    tensor_bytes: Mapping[str, int]
    n_bytes: int
    n_params: int
    n_layer: int
    n_layer_mtp: int
    n_embd: int
    n_head: tuple[int, ...]
    n_head_kv: tuple[int, ...]
    n_vocab: int
    n_ctx_train: int
    tokenizer: str
    chat_template: bool
    chat_template_thinks: bool
    layer_path: str | None
    source_fingerprint: str | None
    paths: Literal["all", "some", "none"]
    paths_reason: str
    n_ctx: int
    n_seq_max: int
    n_ubatch: int
    type_k: str
    type_v: str
    layers: tuple[LayerInfo, ...]

    def groups(self) -> list[LayerGroup]:
        """Return the layers by kind, in the order of their first layers."""
        groups: dict[tuple[Any, ...], list[LayerInfo]] = {}
        for layer in self.layers:
            groups.setdefault((layer.kind, layer.slot_bytes, layer.slot_bytes_f16), []).append(
                layer
            )
        return [
            LayerGroup(kind, tuple(_ranges([layer.index for layer in layers])), tuple(layers))
            for (kind, *_), layers in groups.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the fields, by their names, as JSON can hold them."""
        return asdict(self) | {
            "files": [{"name": name, "n_bytes": n_bytes} for name, n_bytes in self.files]
        }


def read_model_info(
    path: str | os.PathLike[str],
    *,
    n_ctx: int = 4096,
    n_seq_max: int | None = None,
    n_ubatch: int = 512,
    type_k: str | int | None = None,
    type_v: str | int | None = None,
) -> ModelInfo:
    """Describe a GGUF from its metadata, in under a second whatever its size.

    path: the file; of a split model, the first part.
    n_ctx, n_seq_max, n_ubatch, type_k, type_v: as in rys.Model, of the context that a slot is to be
        in.

    Raises ModelFileNotFoundError, ModelFileError, or RequestError (an option is out of range, or
    the cache types do not fit the model).
    """
    params = _core.ContextParams()
    params.n_ctx = options.integer("n_ctx", n_ctx, 0, 2**24)
    params.n_ubatch = options.integer("n_ubatch", n_ubatch, 1)
    params.type_k = options.choice(
        "type_k", "f16" if type_k is None else type_k, options.GGML_TYPES
    )
    params.type_v = options.choice(
        "type_v", "f16" if type_v is None else type_v, options.GGML_TYPES
    )

    load = _core.WeightsParams()
    load.metadata_only = True
    load.n_gpu_layers = 0
    core, file = Weights(path, load, None).core, Path(path).absolute()
    model = _core.Model(core, [])
    if params.n_ctx == 0:
        params.n_ctx = options.integer(
            "the context length that the file names", model.n_ctx_train, 1, 2**24
        )
    default = options.default_n_seq_max(model.is_recurrent)
    params.n_seq_max = options.integer(
        "n_seq_max", default if n_seq_max is None else n_seq_max, 1, 256
    )

    files = parts(file)
    tensors = [tensor for part in files for tensor in _core.read_tensors(part)]
    tensor_bytes: Counter[str] = Counter()
    for _, type_name, _, n_bytes in tensors:
        tensor_bytes[type_name] += n_bytes
    paths, reason = _paths(core, model)
    values = _core.read_metadata(file, arrays=False)
    template = _text(values, "tokenizer.chat_template")
    type_names = _TYPE_NAMES[params.type_k], _TYPE_NAMES[params.type_v]
    layers = _layers(core, tensors, params, can_repeat=paths != "none")
    with_heads = [layer for layer in core.layers if layer.has_attention and layer.n_head > 0]
    return ModelInfo(
        files=tuple(
            (os.fsencode(part.name).decode("utf-8", "replace"), part.stat().st_size)
            for part in files
        ),
        name=_text(values, "general.name"),
        architecture=core.architecture,
        file_type=core.file_type,
        tensor_bytes=dict(tensor_bytes.most_common()),
        n_bytes=sum(tensor_bytes.values()),
        n_params=sum(n_values for _, _, n_values, _ in tensors),
        n_layer=core.n_layer,
        n_layer_mtp=core.n_layer_nextn,
        n_embd=model.n_embd,
        n_head=tuple(sorted({layer.n_head for layer in with_heads})),
        n_head_kv=tuple(sorted({layer.n_head_kv for layer in with_heads})),
        n_vocab=model.n_vocab,
        n_ctx_train=max(model.n_ctx_train, 0),
        tokenizer=" ".join(
            filter(None, (_text(values, f"tokenizer.ggml.{key}") for key in ("model", "pre")))
        ),
        chat_template=bool(template),
        chat_template_thinks="think" in template.lower(),
        layer_path=_text(values, "rys.layer_path") or None,
        source_fingerprint=_text(values, "rys.source_fingerprint") or None,
        paths=paths,
        paths_reason=reason,
        n_ctx=params.n_ctx,
        n_seq_max=params.n_seq_max,
        n_ubatch=params.n_ubatch,
        type_k=type_names[0],
        type_v=type_names[1],
        layers=layers,
    )


def _text(values: Mapping[str, Any], key: str) -> str:
    """Return a text of the metadata, or "" where a file has none or another type."""
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _paths(core: _core.Weights, model: _core.Model) -> tuple[Literal["all", "some", "none"], str]:
    """Return which paths rys.Model runs, and why not all."""
    if not model.has_decoder or not (core.is_causal or model.is_diffusion):
        return "none", "it is an encoder, which gives embeddings and no text"
    if reason := core.path_unsupported():
        return "none", reason
    # what refuses a longer path refuses one of its layers alone, too: it asks for other layers
    # before it
    reason = next(filter(None, (core.check_path([layer]) for layer in range(core.n_layer))), "")
    return ("some", reason) if reason else ("all", "")


def _layers(
    core: _core.Weights,
    tensors: list[tuple[str, str, int, int]],
    params: _core.ContextParams,
    *,
    can_repeat: bool,
) -> tuple[LayerInfo, ...]:
    """Describe the layers. Changes the cache types of `params`."""
    layers = core.layers
    names: list[list[str]] = [[] for _ in layers]
    n_bytes = [0] * len(layers)
    for name, _, _, size in tensors:
        found = _LAYER.fullmatch(name)
        if found is not None and int(found[1]) < len(layers):
            names[int(found[1])].append(found[2])
            n_bytes[int(found[1])] += size

    slot_bytes: dict[tuple[Any, ...], int] = {}  # of layers that are alike

    def cost(layer: int, type_k: int, type_v: int) -> int | None:
        before = _path_to_repeat_on(core, layer) if can_repeat and layer < core.n_layer else None
        if before is None:
            return None
        it = layers[layer]
        key = (type_k, type_v, it.has_attention, it.has_window, it.has_kv, it.is_recurrent, it.n_head, it.n_head_kv,
               *names[layer])  # fmt: skip
        if key not in slot_bytes:
            params.type_k, params.type_v = type_k, type_v
            with_slot, without = (
                _core.Model(core, path).memory_bytes(params) for path in ([*before, layer], before)
            )
            slot_bytes[key] = with_slot - without
        return slot_bytes[key]

    types, f16 = (params.type_k, params.type_v), (options.GGML_TYPES["f16"],) * 2
    return tuple(
        LayerInfo(
            index,
            _kind(layer, names[index], is_mtp=index >= core.n_layer),
            n_bytes[index],
            cost(index, *types),
            cost(index, *f16),
        )
        for index, layer in enumerate(layers)
    )


def _path_to_repeat_on(core: _core.Weights, layer: int) -> list[int] | None:
    """Return a short path that another slot with the layer may follow, or None if there is none."""
    n_slot = 1
    while True:
        path = list(range(min(n_slot, core.n_layer)))
        if not core.check_path(path) and not core.check_path([*path, layer]):
            return path
        if n_slot >= core.n_layer:
            return None
        n_slot *= 2


def _kind(layer: _core.LayerDescription, names: Sequence[str], *, is_mtp: bool) -> str:
    """Name what a layer does; see LayerInfo. names: of its tensors, without the layer's number."""
    mixers = []
    if layer.has_attention and any(
        name.startswith("attn_") and "norm" not in name for name in names
    ):
        mixers.append("sliding window" if layer.has_window else "attention")
    if layer.is_recurrent:
        mixers.append("recurrent")
    feed_forward = [
        name for name in names if name.startswith(("ffn_", "channel_mix_")) and "norm" not in name
    ]
    experts = any("exps" in name for name in feed_forward)
    kinds = [
        "MTP" if is_mtp else "",
        " + ".join(mixers),
        "MoE" if experts else "dense" if feed_forward else "",
    ]
    return ", ".join(filter(None, kinds))


def _ranges(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of neighbours in ascending indices."""
    starts = [i for i, index in enumerate(indices) if i == 0 or index != indices[i - 1] + 1]
    for start, end in zip(starts, [*starts[1:], len(indices)], strict=True):
        yield indices[start], indices[end - 1]
