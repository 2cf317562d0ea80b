"""What a GGUF is made of: layers and their kinds, sizes, and what an extra slot costs.

No tensor data is read. llama.cpp itself loads the file without the tensors' data and answers which
layers are recurrent or have a window, which paths are possible, and how large the caches of a path
are. Only the sizes and types of tensors are taken from the file.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from rys import _core
from rys._util.checks import choice, integer
from rys.engine.options import GGML_TYPES, default_n_seq_few, default_n_seq_max
from rys.engine.slot_costs import SlotCosts
from rys.engine.weights import Weights, parts
from rys.errors import EngineError

__all__ = ["LayerGroup", "LayerInfo", "ModelInfo", "read_model_info"]

Paths: TypeAlias = Literal["all", "some", "none"]

_TYPE_NAMES = {number: name for name, number in GGML_TYPES.items()}
# blk.12.attn_norm.weight, or of an encoder-decoder enc.blk.3.ffn_up.weight
_LAYER = re.compile(r"(?:enc\.|dec\.)?blk\.(\d{1,4})\.(.+)")


@dataclass(frozen=True)
class LayerInfo:
    """One layer of the file.

    Attributes:
        index: Number of the layer, from 0; MTP layers follow the others.
        kind: How it mixes tokens ("attention", "sliding window", "recurrent",
            "attention + recurrent"), then its feed-forward part ("dense", "MoE"), such as
            "attention, MoE". What a layer lacks is left out. That of an MTP layer begins with
            "MTP".
        n_bytes: Size of its tensors in the file.
        slot_bytes: Bytes of KV cache and recurrent state that one more slot with this layer takes;
            None if no path can visit the layer twice.
        slot_bytes_f16: The same with a cache of f16.
    """

    index: int
    kind: str
    n_bytes: int
    slot_bytes: int | None
    slot_bytes_f16: int | None


@dataclass(frozen=True)
class LayerGroup:
    """Layers of one kind, whose slots cost the same.

    Attributes:
        kind: See LayerInfo.
        ranges: First and last layer of each run of neighbours.
        layers: The layers, in order.
    """

    kind: str
    ranges: tuple[tuple[int, int], ...]
    layers: tuple[LayerInfo, ...]


@dataclass(frozen=True)
class ModelInfo:
    """What a GGUF is made of.

    Attributes:
        files: Name and size in bytes of the file, or of all parts of a split one.
        name: The model's name; "" if the file does not say it.
        architecture: llama.cpp's name of the architecture.
        file_type: llama.cpp's name of the quantisation, with "(guessed)" if the file does not say
            it.
        tensor_bytes: Size in bytes of the tensors of each type, the largest first.
        n_bytes: Size of all tensors. What no layer holds are embeddings and output.
        n_params: Values of all tensors.
        n_layer: Layers that a path may visit.
        n_layer_mtp: Layers of multi-token prediction (MTP), which rys does not run.
        n_embd: Width of the residual stream.
        n_head: The different numbers of heads that attention layers have, ascending.
        n_head_kv: The same for keys and values.
        n_vocab: Tokens of the vocabulary, 0 if the file does not say.
        n_ctx_train: Tokens of the context that the model was trained with, 0 if the file does not
            say.
        tokenizer: Its kind in the file, such as "gpt2" or "llama", with the name of its splitting
            rules if it has one.
        chat_template: Whether there is one.
        chat_template_thinks: Whether it mentions thinking.
        layer_path: The path that a file written by `rys export` holds, else None.
        source_fingerprint: Content id of the file that it was written from, else None.
        paths: "all"; "some", of which rys.Model refuses the others; or "none".
        paths_reason: Why not all, else "".
        n_ctx: Tokens of the context that the layers' slot_bytes are for.
        n_seq_max: Sequences of that context.
        n_ubatch: Tokens that it computes at once.
        cache_bytes: Its KV cache and recurrent states, for all layers in the order of the file;
            None if that cannot be told.
        n_seq_few: Sequences with which rys.Model begins by default, until it gets more requests at
            once.
        cache_bytes_few: The same of a context with n_seq_few sequences.
        type_k: Type of its keys.
        type_v: Type of its values.
        layers: All layers, those of MTP at the end.
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
    paths: Paths
    paths_reason: str
    n_ctx: int
    n_seq_max: int
    n_ubatch: int
    cache_bytes: int | None
    n_seq_few: int
    cache_bytes_few: int | None
    type_k: str
    type_v: str
    layers: tuple[LayerInfo, ...]

    def groups(self) -> list[LayerGroup]:
        """Return the layers by kind, in the order of their first layers."""
        alike: dict[tuple[Any, ...], list[LayerInfo]] = {}
        for layer in self.layers:
            key = (layer.kind, layer.slot_bytes, layer.slot_bytes_f16)
            alike.setdefault(key, []).append(layer)
        groups = []
        for (kind, *_), layers in alike.items():
            ranges = _ranges([layer.index for layer in layers])
            groups.append(LayerGroup(kind, tuple(ranges), tuple(layers)))
        return groups

    def to_json(self) -> dict[str, Any]:
        """Return the fields, by their names, as JSON can hold them."""
        files = [{"name": name, "n_bytes": n_bytes} for name, n_bytes in self.files]
        return asdict(self) | {"files": files}


class _Tensor(NamedTuple):
    """A tensor as the file describes it."""

    name: str
    type_name: str
    n_values: int
    n_bytes: int


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

    The options are those of rys.Model, for the context that a slot would be in.

    Args:
        path: The file; of a split model, the first part.
        n_ctx: Tokens that the KV cache holds; 0 for as many as the model was trained with.
        n_seq_max: Sequences that run in parallel; None for the default of rys.Model.
        n_ubatch: Tokens that are computed at once.
        type_k: Type of the cached keys, by name or by ggml's number; None for f16.
        type_v: Type of the cached values, as `type_k`.

    Returns:
        The description.

    Raises:
        ModelFileNotFoundError: There is no such file.
        ModelFileError: The file cannot be used.
        RequestError: An option is out of range, or the cache types do not fit the model.
    """
    params = _context_params(n_ctx, n_ubatch, type_k, type_v)
    core = _load_metadata(path)
    model = _core.Model(core, [])
    _complete(params, model, n_seq_max)
    few = _core.ContextParams(params)
    if n_seq_max is None:
        few.n_seq_max = default_n_seq_few(core, params) or params.n_seq_max
    return _describe(Path(path).absolute(), core, model, params, few)


def _describe(
    file: Path,
    core: _core.Weights,
    model: _core.Model,
    params: _core.ContextParams,
    few: _core.ContextParams,
) -> ModelInfo:
    files = parts(file)
    tensors = _read_tensors(files)
    tensor_bytes = _bytes_by_type(tensors)
    paths, reason = _paths(core, model)
    # llama.cpp gives recurrent layers a number of heads as well
    attending = [layer for layer in core.layers if layer.has_attention and layer.n_head > 0]
    n_head = _distinct(layer.n_head for layer in attending)
    n_head_kv = _distinct(layer.n_head_kv for layer in attending)
    # without arrays: a vocabulary takes longer than all the rest
    values = _core.read_metadata(file, arrays=False)
    template = _text(values, "tokenizer.chat_template")
    return ModelInfo(
        files=_names_and_sizes(files),
        name=_text(values, "general.name"),
        architecture=core.architecture,
        file_type=core.file_type,
        tensor_bytes=tensor_bytes,
        n_bytes=sum(tensor_bytes.values()),
        n_params=sum(tensor.n_values for tensor in tensors),
        n_layer=core.n_layer,
        n_layer_mtp=core.n_layer_nextn,
        n_embd=model.n_embd,
        n_head=n_head,
        n_head_kv=n_head_kv,
        n_vocab=model.n_vocab,
        n_ctx_train=max(model.n_ctx_train, 0),
        tokenizer=_tokenizer_name(values),
        chat_template=bool(template),
        chat_template_thinks="think" in template.lower(),
        layer_path=_text(values, "rys.layer_path") or None,
        source_fingerprint=_text(values, "rys.source_fingerprint") or None,
        paths=paths,
        paths_reason=reason,
        n_ctx=params.n_ctx,
        n_seq_max=params.n_seq_max,
        n_ubatch=params.n_ubatch,
        cache_bytes=_cache_bytes(model, params),
        n_seq_few=few.n_seq_max,
        cache_bytes_few=_cache_bytes(model, few),
        type_k=_TYPE_NAMES[params.type_k],
        type_v=_TYPE_NAMES[params.type_v],
        layers=_layers(core, tensors, params, can_repeat=paths != "none"),
    )


def _cache_bytes(model: _core.Model, params: _core.ContextParams) -> int | None:
    try:
        return model.memory_bytes(params)
    except EngineError:  # the states of one layer are larger than this machine's memory
        return None


def _context_params(
    n_ctx: int, n_ubatch: int, type_k: str | int | None, type_v: str | int | None
) -> _core.ContextParams:
    """Check the options that need no model."""
    params = _core.ContextParams()
    params.n_ctx = integer("n_ctx", n_ctx, 0, 2**24)
    params.n_ubatch = integer("n_ubatch", n_ubatch, 1)
    # f16 is llama.cpp's default
    params.type_k = choice("type_k", "f16" if type_k is None else type_k, GGML_TYPES)
    params.type_v = choice("type_v", "f16" if type_v is None else type_v, GGML_TYPES)
    return params


def _load_metadata(path: str | os.PathLike[str]) -> _core.Weights:
    """Load a file without its tensors' data."""
    load = _core.WeightsParams()
    load.metadata_only = True
    load.n_gpu_layers = 0
    return Weights(path, load, None).core


def _complete(params: _core.ContextParams, model: _core.Model, n_seq_max: int | None) -> None:
    """Set the options whose defaults depend on the model."""
    if params.n_ctx == 0:
        params.n_ctx = integer(
            "the context length that the file names", model.n_ctx_train, 1, 2**24
        )
    if n_seq_max is None:
        n_seq_max = default_n_seq_max(model.is_recurrent)
    params.n_seq_max = integer("n_seq_max", n_seq_max, 1, 256)


def _names_and_sizes(files: Sequence[Path]) -> tuple[tuple[str, int], ...]:
    found = []
    for file in files:
        # a name on Linux is bytes, perhaps not of UTF-8
        name = os.fsencode(file.name).decode("utf-8", "replace")
        found.append((name, file.stat().st_size))
    return tuple(found)


def _read_tensors(files: Sequence[Path]) -> list[_Tensor]:
    tensors = []
    for file in files:
        tensors += [_Tensor(*tensor) for tensor in _core.read_tensors(file)]
    return tensors


def _bytes_by_type(tensors: Sequence[_Tensor]) -> dict[str, int]:
    """Return the bytes of each type, the largest first."""
    n_bytes: Counter[str] = Counter()
    for tensor in tensors:
        n_bytes[tensor.type_name] += tensor.n_bytes
    return dict(n_bytes.most_common())


def _distinct(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


def _tokenizer_name(values: Mapping[str, Any]) -> str:
    kind = _text(values, "tokenizer.ggml.model")
    rules = _text(values, "tokenizer.ggml.pre")
    return f"{kind} {rules}".strip()


def _text(values: Mapping[str, Any], key: str) -> str:
    """Return a text of the metadata, or "" where a file has none or another type."""
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _paths(core: _core.Weights, model: _core.Model) -> tuple[Paths, str]:
    """Return which paths rys.Model runs, and why not all."""
    if not model.has_decoder or not (core.is_causal or model.is_diffusion):
        return "none", "it is an encoder, which gives embeddings and no text"
    reason = core.path_unsupported()
    if reason:
        return "none", reason
    # What refuses a longer path refuses one of its layers alone, too: it asks for other layers
    # before it. So paths of one slot are enough.
    for layer in range(core.n_layer):
        reason = core.check_path([layer])
        if reason:
            return "some", reason
    return "all", ""


def _layers(
    core: _core.Weights,
    tensors: Sequence[_Tensor],
    params: _core.ContextParams,
    *,
    can_repeat: bool,
) -> tuple[LayerInfo, ...]:
    """Describe the layers."""
    n_bytes = [0] * len(core.layers)
    names: list[list[str]] = [[] for _ in core.layers]
    for tensor in tensors:
        found = _LAYER.fullmatch(tensor.name)
        if found is not None and int(found[1]) < len(names):
            names[int(found[1])].append(found[2])
            n_bytes[int(found[1])] += tensor.n_bytes

    costs = SlotCosts(core, params, names, can_repeat=can_repeat)
    types, f16 = (params.type_k, params.type_v), GGML_TYPES["f16"]
    layers = []
    for index, layer in enumerate(core.layers):
        kind = _kind(layer, names[index], is_mtp=index >= core.n_layer)
        slot_bytes = costs.of(index, *types)
        slot_bytes_f16 = costs.of(index, f16, f16)
        layers.append(LayerInfo(index, kind, n_bytes[index], slot_bytes, slot_bytes_f16))
    return tuple(layers)


def _kind(layer: _core.LayerDescription, names: Sequence[str], *, is_mtp: bool) -> str:
    """Name what a layer does; see LayerInfo.

    Args:
        layer: llama.cpp's description of the layer.
        names: Names of its tensors, without the layer's number.
        is_mtp: Whether it is an MTP layer.
    """
    # recurrent layers have an attn_norm, too
    acting = [name for name in names if "norm" not in name]
    mixers = []
    if layer.has_attention and any(name.startswith("attn_") for name in acting):
        mixers.append("sliding window" if layer.has_window else "attention")
    if layer.is_recurrent:
        mixers.append("recurrent")
    kinds = ["MTP"] if is_mtp else []
    if mixers:
        kinds.append(" + ".join(mixers))
    feed_forward = [name for name in acting if name.startswith(("ffn_", "channel_mix_"))]
    if any("exps" in name for name in feed_forward):
        kinds.append("MoE")
    elif feed_forward:
        kinds.append("dense")
    return ", ".join(kinds)


def _ranges(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of neighbours in ascending indices."""
    first = last = indices[0]
    for index in indices[1:]:
        if index != last + 1:
            yield first, last
            first = index
        last = index
    yield first, last
