"""What llama.cpp makes of a layer's number, described for one architecture.

The loader and the graph builder of an architecture may look at the number of a layer, at the number
of all layers, or at the values of the first layer alone. An `Architecture` says where they do, with
the answers computed from the metadata as llama.cpp computes them.

Keys stand without their "{arch}." throughout. `m` is the model to copy, `n` a number of layers
without those of multi-token prediction (MTP), and `at` a place in the path from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from rys.export.source import Source

__all__ = ["Architecture", "Period", "SharedKV", "Windows"]

# Keys that hold one number for all layers, or a list with one number per layer.
HEADS = "attention.head_count"
KV_HEADS = "attention.head_count_kv"
FFN = "feed_forward_length"
EXPERT_FFN = "expert_feed_forward_length"
EXPERTS_USED = "expert_used_count"
# Which layers are of a kind: a list, or for WINDOWS also the length of a period.
WINDOWS = "attention.sliding_window_pattern"
RECURRENT = "attention.recurrent_layers"
INDEXERS = "attention.indexer.types"
DEEPSTACK = "deepstack_mapping"


def n_layer_by_key(m: Source) -> int:
    """Return the layers of the file without those that its metadata counts as MTP."""
    return m.n_all - m.integer("nextn_predict_layers")


def heads_of(m: Source, layer: int) -> int:
    """Return how many heads a layer has."""
    # A single number holds for every layer.
    listed = m.listed(HEADS) or [m.get(HEADS, 0)] * m.n_all
    return int(listed[layer])


def image_of(m: Source, layer: int) -> int:
    """Return which image features a layer takes in, or -1 for none."""
    listed = m.listed(DEEPSTACK) or [-1] * m.n_all
    return int(listed[layer])


def is_recurrent(m: Source, layer: int, n: int, period: int | None) -> bool:
    """Return whether the loader makes this layer of `n` recurrent.

    Args:
        m: A model that has both recurrent layers and others.
        layer: The layer.
        n: Layers that the loader counts.
        period: The period of full attention that the loader assumes where the file names none.
            None means that it goes by the heads of keys and values instead.
    """
    if period is None:
        # Recurrent layers have no keys and values, and so no heads for them.
        kv_heads = m.listed(KV_HEADS) or [1] * m.n_all
        return bool(kv_heads[layer] == 0)
    listed = m.listed(RECURRENT)
    if listed is not None:
        return bool(listed[layer])
    # The last layer of each interval has full attention. MTP layers, from n on, have it too.
    interval = m.integer("full_attention_interval", period)
    return layer < n and (layer + 1) % interval > 0


def windows_if_sized(m: Source) -> bool:
    """Return whether the file names a window's size."""
    return m.integer("attention.sliding_window") > 0


def windows_always(m: Source) -> bool:
    """Return True: these loaders know no model without windows."""
    return True


@dataclass(frozen=True)
class Windows:
    """Which layers have a sliding window.

    Attributes:
        period: Length of the pattern that the loader assumes where the file names none. None means
            that the file must list the layers.
        full_first: Whether a period begins with its full layer, and does not end with it.
        are_on: Whether the loader turns windows on for a model.
    """

    period: int | None
    full_first: bool = False
    are_on: Callable[[Source], bool] = windows_if_sized

    def has_window(self, m: Source, layer: int, n: int) -> bool:
        """Return whether the loader gives this layer of `n` a window, if windows are on."""
        listed = m.listed(WINDOWS)
        if listed is not None:
            return layer < len(listed) and bool(listed[layer])
        m.require_file(self.period is not None, "it does not say which layers have a window")
        period = m.integer(WINDOWS, self.period or 0)
        # llama.cpp takes a period of 0 for windows everywhere; MTP layers have none.
        if layer >= n or period == 0:
            return layer < n
        return layer % period > 0 if self.full_first else (layer + 1) % period > 0


@dataclass(frozen=True)
class Period:
    """A period of layers that a key sets, so that a copy may have another.

    Attributes:
        key: The key.
        marks: Whether a place is marked, given the period: `marks(at, period)`.
    """

    key: str
    marks: Callable[[int, int], bool]


@dataclass(frozen=True)
class SharedKV:
    """Layers at the end that read the keys and values of layers before them.

    Attributes:
        n_own: How many layers of a model have keys and values of their own.
        n_own_min: How many of those llama.cpp needs.
        key: The key that counts the layers that share, or "" where none does.
    """

    n_own: Callable[[Source], int]
    n_own_min: int = 0
    key: str = ""


@dataclass(frozen=True)
class Architecture:
    """One architecture: all that its layers take from their places. The defaults take nothing.

    Attributes:
        refused: Why only the file's own order can be copied, or "".
        loops_key: The key that says how often the layers run in a loop of their own, or "".
        n_extra: Layers that the loader adds to those of the file.
        mtp_by_tensor: Whether layers of MTP count as such only if their tensors are there.
        layer_tables: Whether two tensors of no layer have a part for each layer.
        windows: Which layers have a sliding window, or None where none has.
        is_hybrid: Whether some layers are recurrent and others not.
        recurrent_period: See `is_recurrent`.
        skips_ffn_layers: Whether layers with a feed-forward part do not mix tokens at all.
        needs_both_windows: Whether llama.cpp aborts unless there are layers with and without.
        needs_each_ratio: Whether llama.cpp aborts unless each compression ratio occurs.
        needs_full_layer: Whether the RoPE factors belong to the layers without a window.
        looked_up: Keys of widths that are looked up layer by layer. All layers take the others
            from the first slot.
        rope_looked_up: Whether the same holds for the dimensions of RoPE.
        head_size_looked_up: Whether the same holds for the size of heads.
        leading_key: The key that counts layers at the front that differ from the rest, or "".
        by_count: What the number of layers decides and no key can set: `by_count(m, n)`.
        by_place: What the place of a layer decides and no key can set:
            `by_place(m, at, layer, n)`.
        period: A period of layers that a key sets.
        scales_by_depth: Whether the loader derives the residual's scale from the number of layers.
        lite_by_depth: Whether the loader takes some numbers of layers for a lite model.
        n_slot_min_with_windows: Slots that llama.cpp needs if windows are on.
        first_norm_optional: Whether the first block may lack the norm that all others have.
        mixes_in_layer_0: Whether all layers mix in a value that layer 0 computes.
        has_indexers: Whether layers select tokens for themselves or for layers behind them.
        long_context_indexers: Whether the loader assumes a pattern of them for models with long
            contexts.
        shared_kv: Layers that read the keys and values of others.
        takes_images: Whether layers take images in.
    """

    refused: str = ""
    loops_key: str = ""
    n_extra: int = 0
    mtp_by_tensor: bool = False
    layer_tables: bool = False
    windows: Windows | None = None
    is_hybrid: bool = False
    recurrent_period: int | None = None
    skips_ffn_layers: bool = False
    needs_both_windows: bool = False
    needs_each_ratio: bool = False
    needs_full_layer: bool = False
    looked_up: frozenset[str] = frozenset()
    rope_looked_up: bool = False
    head_size_looked_up: bool = False
    leading_key: str = ""
    by_count: Callable[[Source, int], Hashable] | None = None
    by_place: Callable[[Source, int, int, int], Hashable] | None = None
    period: Period | None = None
    scales_by_depth: bool = False
    lite_by_depth: bool = False
    n_slot_min_with_windows: int = 0
    first_norm_optional: bool = False
    mixes_in_layer_0: bool = False
    has_indexers: Callable[[Source], bool] | None = None
    long_context_indexers: bool = False
    shared_kv: SharedKV | None = None
    takes_images: bool = False

    def n_layer(self, m: Source) -> int:
        """Return the layers of a model without those of MTP."""
        n = n_layer_by_key(m)
        # A file may count MTP layers in its metadata and still lack their weights.
        if self.mtp_by_tensor and f"blk.{n}.nextn.eh_proj.weight" not in m.tensors:
            return m.n_all
        return n

    def has_windows(self, m: Source) -> bool:
        """Return whether the loader turns sliding windows on."""
        return self.windows is not None and self.windows.are_on(m)

    def has_window(self, m: Source, layer: int, n: int) -> bool:
        """Return whether the loader gives this layer of `n` a sliding window."""
        return (
            self.windows is not None
            and self.windows.are_on(m)
            and self.windows.has_window(m, layer, n)
        )

    def is_recurrent(self, m: Source, layer: int, n: int) -> bool:
        """Return whether the loader makes this layer of `n` recurrent."""
        return self.is_hybrid and is_recurrent(m, layer, n, self.recurrent_period)

    def kind_of(self, m: Source, layer: int) -> Hashable:
        """Return the memory or the input that a layer needs, or None if it needs none.

        llama.cpp aborts when no layer uses one of those that an architecture has.
        """
        n = self.n_layer(m)
        if self.needs_each_ratio:
            return m.get("attention.compress_ratios")[layer] or None
        if self.needs_both_windows:
            return self.has_window(m, layer, n)
        if not self.is_hybrid or (self.skips_ffn_layers and m.get(FFN)[layer] > 0):
            return None
        return self.is_recurrent(m, layer, n)
