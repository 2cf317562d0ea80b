"""Plan a copy, and rewrite its metadata so that each layer means the same in its new place.

The rules write out what the loader would otherwise derive anew from the number of layers or from
their order. They refuse what no metadata can say. What the loader of an architecture derives is
said by its entry in architectures.py. Keys stand without their "{arch}." throughout.
"""

from __future__ import annotations

from rys.export.architecture import (
    DEEPSTACK,
    EXPERT_FFN,
    EXPERTS_USED,
    FFN,
    HEADS,
    INDEXERS,
    KV_HEADS,
    RECURRENT,
    WINDOWS,
    Architecture,
    heads_of,
)
from rys.export.architectures import ARCHITECTURES
from rys.export.cures import (
    EVERY_KIND,
    OTHER_COUNT,
    OWN_ORDER,
    START_AT_0,
    USE_RYS,
    WHOLE_PERIODS,
)
from rys.export.gguf_file import Field, Kind
from rys.export.peculiarities import keep_peculiarities
from rys.export.source import PlannedCopy, Source
from rys.layer_path import MAX_SLOTS, LayerPathLike

__all__ = ["plan_copy"]

# Widths that many loaders take from the first slot for all layers.
WIDTHS = (HEADS, KV_HEADS, FFN, EXPERT_FFN, EXPERTS_USED)
# Arrays with a value for each layer, which are gathered along the path ...
PER_LAYER = {
    *WIDTHS,
    WINDOWS,
    RECURRENT,
    INDEXERS,
    DEEPSTACK,
    "attention.compress_ratios",
    "attention.rope_pattern",
    "swiglu_clamp_exp",
    "swiglu_clamp_shexp",
    "xielu.alpha_n",
    "xielu.alpha_p",
    "xielu.beta",
    "xielu.eps",
}
# ... and arrays that speak of something else. An array that is in neither set is refused: it could
# be either.
NOT_PER_LAYER = {
    "adapters.token_ids_activate",
    "adapters.token_ids_substitute",
    "classifier.output_labels",
    "ple.head_offsets",
    "ple.head_vocab_sizes",
    "ple.layer_multipliers",
    "ple.layers",
    "rope.dimension_sections",
}


def plan_copy(m: Source, layer_path: LayerPathLike) -> PlannedCopy:
    """Plan the copy of a model, with metadata that say of the copy what they say of the model.

    Args:
        m: The model.
        layer_path: Any form that LayerPath reads; None is the file's own order.

    Returns:
        The plan.

    Raises:
        ModelFileError: The file has no layers, or more than llama.cpp allows.
        LayerPathError: The path does not fit the model.
        CannotExpressError: No metadata say what the path says.
    """
    examined = ARCHITECTURES.get(m.arch)
    entry = examined or Architecture()
    copy = PlannedCopy(
        m, layer_path, n_layer=entry.n_layer(m), max_layers=MAX_SLOTS - entry.n_extra
    )
    copy.require(examined is not None, "nobody has examined this architecture")
    is_own_order = copy.path == list(range(copy.n_layer))
    copy.require(not entry.refused or is_own_order, entry.refused, OWN_ORDER)
    loops = bool(entry.loops_key) and m.integer(entry.loops_key, 1) != 1
    copy.require(not loops, "its layers run in a loop of its own", "use the file as it is")

    # From here on metadata are set; a rule may read only those of the source, so their order does
    # not matter but for which of several reasons is given.
    copy.set("block_count", len(copy.layers))
    gather_arrays(copy, entry)
    keep_every_kind(copy, entry)
    keep_head_sizes(copy)
    if entry.recurrent_period is not None:
        keep_recurrent(copy, entry)
    if entry.has_windows(m):
        keep_windows(copy, entry)
    keep_leading(copy, entry)
    keep_places(copy, entry)
    keep_period(copy, entry)
    keep_peculiarities(copy, entry)
    return copy


def gather_arrays(copy: PlannedCopy, entry: Architecture) -> None:
    """Gather along the path what the metadata list for each layer."""
    m = copy.source
    for name, field in m.fields.items():
        key = name.removeprefix(f"{m.arch}.")
        is_of_model = name.startswith((f"{m.arch}.", "xielu."))
        if field.is_array and is_of_model and key not in NOT_PER_LAYER:
            gather_array(copy, entry, key, field)


def gather_array(copy: PlannedCopy, entry: Architecture, key: str, field: Field) -> None:
    """Gather one array. What it says of MTP layers stays behind the path."""
    m, n = copy.source, copy.n_layer
    is_per_layer = key in PER_LAYER and field.count >= n and field.kind is not Kind.STRING
    copy.require(is_per_layer, f"{m.name(key)} does not list a value for each layer")
    values = m.get(key)
    gathered = [values[layer] for layer in copy.path] + values[n:]
    copy.set(key, gathered[:MAX_SLOTS], field.kind)
    if key in WIDTHS and key not in entry.looked_up:
        is_same = gathered[0] == values[0]
        copy.require(is_same, f"all layers take {key} from the first slot", START_AT_0)


def keep_every_kind(copy: PlannedCopy, entry: Architecture) -> None:
    """Refuse a path that leaves out all layers of a kind."""
    m = copy.source
    # llama.cpp makes a memory or an input for each kind, and asserts that a layer uses it
    kinds = {entry.kind_of(m, layer) for layer in range(copy.n_layer)}
    visited = {entry.kind_of(m, layer) for layer in copy.path}
    copy.require(
        kinds <= visited | {None},
        "llama.cpp aborts unless every kind of layer is visited",
        EVERY_KIND,
    )


def keep_head_sizes(copy: PlannedCopy) -> None:
    """Write out the sizes that loaders divide by the heads of slot 0 if the file names none."""
    m = copy.source
    old, new = heads_of(m, 0), heads_of(m, copy.path[0])
    width = m.integer("embedding_length")
    copy.require(
        (old == 0) == (new == 0),
        "whether there is attention at all is read off the first slot",
        START_AT_0,
    )
    if old in (0, new):
        return
    # the sizes that the loader derives for the source, so that the copy does not derive others
    size = m.integer("attention.key_length", width // old)
    copy.set("attention.key_length", size)
    copy.set("attention.value_length", m.integer("attention.value_length", width // old))
    copy.set("rope.dimension_count", m.integer("rope.dimension_count", size))


def keep_recurrent(copy: PlannedCopy, entry: Architecture) -> None:
    """Write out which layers are recurrent, unless the loader finds the same by its period."""
    m = copy.source
    if m.listed(RECURRENT) is not None:
        return
    # the loader counts slots where the source counted layers
    recurrent = [entry.is_recurrent(m, layer, copy.n_layer) for layer in copy.layers]
    derived = [entry.is_recurrent(m, slot, copy.n_slot) for slot in range(len(copy.layers))]
    if recurrent != derived:
        copy.set(RECURRENT, recurrent, Kind.BOOL)


def keep_windows(copy: PlannedCopy, entry: Architecture) -> None:
    """Write out which layers have a sliding window, unless the loader finds the same."""
    m, n = copy.source, copy.n_layer
    windows = [entry.has_window(m, layer, n) for layer in copy.layers]
    if m.listed(WINDOWS) is None:
        derived = [entry.has_window(m, slot, copy.n_slot) for slot in range(len(copy.layers))]
        if windows != derived:
            copy.set(WINDOWS, windows, Kind.BOOL)
    copy.require(
        any(windows[: copy.n_slot]),
        "llama.cpp aborts unless a layer with a sliding window is visited",
        EVERY_KIND,
    )
    copy.require(
        not entry.needs_full_layer or not all(windows),
        "its RoPE factors belong to the full layers",
        EVERY_KIND,
    )
    if entry.has_window(m, copy.path[0], n) != entry.has_window(m, 0, n):
        keep_window_sizes(copy, entry)


def keep_window_sizes(copy: PlannedCopy, entry: Architecture) -> None:
    """Refuse a first slot of the other kind if heads with a window have a size of their own."""
    m = copy.source
    sizes = set()
    if not entry.head_size_looked_up:
        sizes |= {"attention.key_length", "attention.value_length"}
    if not entry.rope_looked_up:
        sizes.add("rope.dimension_count")
    # the loader names the size of windowed heads apart, by keys that end in _swa
    for size in sizes:
        is_same = m.get(f"{size}_swa") in (None, m.get(size))
        copy.require(
            is_same, "all layers take the size of their heads from the first slot", START_AT_0
        )


def keep_leading(copy: PlannedCopy, entry: Architecture) -> None:
    """Count the layers anew that stand at the front because they differ from the rest."""
    first = copy.source.integer(entry.leading_key) if entry.leading_key else 0
    if not first:
        return
    # all visits of these layers must stand at the front, since the key is nothing but a count
    n_leading = copy.count_below(first)
    copy.require(
        copy.count_below(first, n_slot=n_leading) == n_leading,
        f"{entry.leading_key} counts layers at the front, and some come later",
        f"let all visits of layers 0..{first - 1} come first",
        USE_RYS,
    )
    copy.set(entry.leading_key, n_leading)


def keep_places(copy: PlannedCopy, entry: Architecture) -> None:
    """Refuse a path that changes what the number of layers or the place of one decides."""
    m, n, n_slot = copy.source, copy.n_layer, copy.n_slot
    if entry.by_count is not None:
        copy.require(
            entry.by_count(m, n) == entry.by_count(m, n_slot),
            "the number of layers decides what they do",
            OTHER_COUNT,
            USE_RYS,
        )
    if entry.by_place is not None:
        for slot, layer in enumerate(copy.path):
            before = entry.by_place(m, layer, layer, n)
            after = entry.by_place(m, slot, layer, n_slot)
            copy.require(
                before == after,
                "the place of a layer decides what it does",
                WHOLE_PERIODS,
                USE_RYS,
            )


def keep_period(copy: PlannedCopy, entry: Architecture) -> None:
    """Find a period that marks the slots of the marked layers, best the period of the file."""
    if entry.period is None:
        return
    old = copy.source.integer(entry.period.key)
    if not old:
        return
    # Another period may mark the same slots of the copy. Where 3 marks layers 2 and 5, 2 marks the
    # same visits of the path 0,2,1,5. The longest one that is tried marks no slot but the first.
    marks = entry.period.marks
    marked = [marks(layer, old) for layer in copy.path]
    for new in (old, *range(1, copy.n_slot + 2)):
        if marked == [marks(slot, new) for slot in range(copy.n_slot)]:
            copy.set(entry.period.key, new)
            return
    copy.require(False, f"no {entry.period.key} marks these layers", WHOLE_PERIODS, USE_RYS)
