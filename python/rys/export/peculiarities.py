"""The rules that concern one architecture or a few; see rules.py for those of all."""

from __future__ import annotations

import numpy as np

from rys.export.architecture import INDEXERS, Architecture, SharedKV, image_of
from rys.export.cures import OTHER_COUNT, START_AT_0, USE_RYS
from rys.export.gguf_file import Kind
from rys.export.source import PlannedCopy

__all__ = ["keep_peculiarities"]


def keep_peculiarities(copy: PlannedCopy, entry: Architecture) -> None:
    """Apply the rules that the entry of an architecture asks for.

    Raises:
        CannotExpressError: No metadata say what the path says.
    """
    if entry.scales_by_depth:
        keep_residual_scale(copy)
    if entry.lite_by_depth:
        keep_lite(copy)
        keep_gating(copy)
    if entry.has_windows(copy.source):
        copy.require(
            copy.n_slot >= entry.n_slot_min_with_windows,
            "llama.cpp aborts unless a layer has no RoPE",
            f"visit {entry.n_slot_min_with_windows} layers or more",
        )
    if entry.first_norm_optional:
        keep_first_norm(copy)
    if entry.mixes_in_layer_0:
        copy.require(
            copy.path[0] == 0 and 0 not in copy.path[1:],
            "all layers mix in the value of layer 0",
            "visit layer 0 first, and once",
        )
    if entry.has_indexers is not None and entry.has_indexers(copy.source):
        keep_indexers(copy, entry)
    if entry.shared_kv is not None:
        keep_shared_kv(copy, entry, entry.shared_kv)
    if entry.takes_images:
        keep_images(copy)
    keep_ngram_embeddings(copy)


def keep_residual_scale(copy: PlannedCopy) -> None:
    """Write out the scale that MiniCPM derives from the number of layers."""
    if copy.source.get("residual_scale") is None:
        # in float32, as the loader computes it: the copy is to have the same bits
        scale = np.float32(1.4) / np.sqrt(np.float32(copy.n_layer))
        copy.set("residual_scale", float(scale), Kind.FLOAT32)


def vocabulary_size(copy: PlannedCopy) -> int:
    """Return how many tokens the vocabulary has."""
    tokens = copy.source.fields.get("tokenizer.ggml.tokens")
    return copy.source.integer("vocab_size", tokens.count if tokens else 0)


def keep_lite(copy: PlannedCopy) -> None:
    """Keep a lite model of DeepSeek lite, and any other from becoming one.

    The loader takes 26 or 27 layers for a lite model such as DeepSeek-V2-Lite, and 48 layers too if
    the vocabulary is that of Kanana 2.
    """
    lite = (26, 27, 48) if vocabulary_size(copy) == 128256 else (26, 27)
    was_lite = copy.n_layer in lite
    becomes_lite = copy.n_slot in lite
    copy.require(
        was_lite or not becomes_lite,
        f"{copy.n_slot} layers are taken for a lite model",
        OTHER_COUNT,
        USE_RYS,
    )
    if was_lite and not becomes_lite:
        copy.set("attention.q_lora_rank", 0)


def keep_gating(copy: PlannedCopy) -> None:
    """Write out how experts are gated, which the loader guesses where the file does not say it."""
    if copy.source.integer("expert_gating_func") == 0:
        # GLM 4.7 Lite, by its depth and its vocabulary
        is_sigmoid = copy.n_layer in (47, 48) and vocabulary_size(copy) == 154880
        softmax, sigmoid = 1, 2
        copy.set("expert_gating_func", sigmoid if is_sigmoid else softmax)


def keep_first_norm(copy: PlannedCopy) -> None:
    """Refuse a path on which a block that lacks a norm is not the first one."""
    if "blk.0.attn_norm.weight" not in copy.source.tensors:
        copy.require(
            0 not in copy.path[1:],
            "only the first block may lack a norm",
            "visit layer 0 only in the first slot",
            USE_RYS,
        )


def keep_indexers(copy: PlannedCopy, entry: Architecture) -> None:
    """See to it that the first layer which attends to selected tokens selects them itself."""
    m, n = copy.source, copy.n_layer
    # the loader tells GLM 5.2 from those before it by the length of its context
    is_sparse = entry.long_context_indexers and m.integer("context_length") >= 2**20
    own = m.listed(INDEXERS)
    if own is None:
        default = [int(not is_sparse or selects_by_place(layer)) for layer in range(n)]
        own = [m.get(INDEXERS, selects) for selects in default]
    attending = [layer for layer in copy.path if not entry.is_recurrent(m, layer, n)]
    copy.require(
        bool(own[attending[0]]),
        f"layer {attending[0]} takes the selection of a layer before it",
        START_AT_0,
    )
    if is_sparse and m.get(INDEXERS) is None:
        copy.set(INDEXERS, [own[layer] for layer in copy.path])


def selects_by_place(layer: int) -> bool:
    """Return whether a layer of GLM 5.2 selects tokens if the file does not say it."""
    return layer < 2 or (layer % 4 == 2 and layer < 78)


def keep_shared_kv(copy: PlannedCopy, entry: Architecture, shared: SharedKV) -> None:
    """Keep the layers that share KV at the end, right behind those whose KV they read."""
    path, n_own_before = copy.path, shared.n_own(copy.source)
    n_own = copy.count_below(n_own_before)
    copy.require(
        copy.count_below(n_own_before, n_slot=n_own) == n_own,
        "layers that share KV must come last",
        f"let all visits of layers {n_own_before}.. come last",
        USE_RYS,
    )
    copy.require(
        n_own >= shared.n_own_min,
        "at least two layers must have KV of their own",
        f"visit two of layers 0..{n_own_before - 1}",
        USE_RYS,
    )
    # a layer without a window reads the KV of the last layer that has its own, one with a window
    # that of the last but one
    distances = {
        2 if entry.has_window(copy.source, layer, copy.n_layer) else 1 for layer in path[n_own:]
    }
    for back in sorted(distances):
        copy.require(
            path[n_own - back] == n_own_before - back,
            f"later layers read the KV of layer {n_own_before - back}",
            f"visit layers {n_own_before - 2}..{n_own_before - 1} "
            f"right before layers {n_own_before}..",
            USE_RYS,
        )
    if shared.key:
        copy.set(shared.key, copy.n_slot - n_own)


def keep_images(copy: PlannedCopy) -> None:
    """Refuse a path without a layer that takes images in."""
    m = copy.source
    images = {image_of(m, layer) for layer in range(copy.n_layer)}
    visited = {image_of(m, layer) for layer in copy.path}
    copy.require(
        images <= visited | {-1},
        "a layer that takes images in is left out",
        "visit it",
        USE_RYS,
    )


def keep_ngram_embeddings(copy: PlannedCopy) -> None:
    """Say which slot holds the n-gram embeddings, if there are any."""
    listed = copy.source.listed("ple.layers")
    if not listed:
        return
    slots = [slot for slot, layer in enumerate(copy.path) if layer in listed]
    copy.require(
        len(slots) == 1,
        "exactly one layer may hold the n-gram embeddings",
        f"visit one of {listed} once",
        USE_RYS,
    )
    copy.set("ple.layers", slots)
