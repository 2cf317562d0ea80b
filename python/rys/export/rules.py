"""Say of each architecture what a layer takes from its place, and rewrite a copy's metadata so that
it stays the same.

The rules follow src/models/*.cpp and src/llama-model.cpp of llama.cpp. They write out what the
loader would otherwise derive anew from the number of layers or from their order, and refuse what no
metadata can say. Keys stand without their "{arch}." throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import numpy as np

from rys.export.gguf_file import Kind
from rys.layer_path import MAX_SLOTS

if TYPE_CHECKING:
    from rys.export.source import Source

__all__ = ["rewrite_metadata"]

USE_RYS = "run the path in rys itself, which needs no copy: rys.Model(file, layer_path=...)"
OWN_ORDER = "only the file's own order can be copied"
EVERY_KIND = "visit at least one layer of each kind"
START_AT_0 = "begin the path with layer 0"
WHOLE_PERIODS = "repeat or skip blocks as long as the pattern of its layers"


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


EXAMINED = names("""
    afmoe apertus arcee arctic arwkv7 baichuan bailingmoe bailingmoe2 bailingmoe3 bert bitnet bloom chameleon chatglm
    codeshell cogvlm cohere2 cohere2moe command-r dbrx deci deepseek deepseek2 deepseek2-ocr deepseek32 deepseek4 dots1
    dots3note dream ernie4_5 ernie4_5-moe eurobert exaone exaone-moe exaone4 falcon falcon-h1 gemma gemma-embedding
    gemma2 gemma3 gemma3n gemma4 glm-dsa glm4 glm4moe glm5-next gpt-oss gpt2 gptneox granite granite_swa granitehybrid
    granitemoe graniteswitch grok grovemoe hrm_text hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 hy_v4 internlm2 jais
    jais2 jamba jina-bert-v2 jina-bert-v3 kimi-k3 kimi-linear laguna lfm2 lfm2moe llada llada-moe llama llama-embed
    llama4 maincoder mamba mamba2 maple mellum mimo2 minicpm minicpm3 minimax-01 minimax-m2 minimax-m3 mistral3
    mistral4 modern-bert mpt muse-glimmer nanbeige nemotron nemotron_h nemotron_h_moe neo-bert nomic-bert
    nomic-bert-moe olmo olmo2 olmoe openelm orion paddleocr pangu-embedded phi2 phi3 phimoe plamo plamo2 plamo3 plm
    pockettts qwen qwen2 qwen2moe qwen2vl qwen3 qwen35 qwen35moe qwen3moe qwen3next qwen3tts qwen3vl qwen3vlmoe
    qwen4exp refact rnd1 rwkv6 rwkv6qwen2 rwkv7 seed_oss smallthinker smollm3 spark2_5 stablelm starcoder starcoder2
    step35 talkie xverse
""")
REFUSED = {
    **dict.fromkeys(("dflash", "eagle3", "gemma4-assistant"), "it drafts for another model"),
    "hrm_text": "its layers run in cycles of its own",
    "t5": "layers of its encoder and its decoder share their numbers",
    "t5encoder": "all layers read the position bias of layer 0",
    "wavtokenizer-dec": "its layers are stages of a vocoder",
}

HEADS, KV_HEADS = "attention.head_count", "attention.head_count_kv"
FFN, EXPERT_FFN, EXPERTS_USED = (
    "feed_forward_length",
    "expert_feed_forward_length",
    "expert_used_count",
)
WINDOWS, RECURRENT = "attention.sliding_window_pattern", "attention.recurrent_layers"
INDEXERS, DEEPSTACK = "attention.indexer.types", "deepstack_mapping"
TAKEN_FROM_SLOT_0 = (HEADS, KV_HEADS, FFN, EXPERT_FFN, EXPERTS_USED)
PER_LAYER = {*TAKEN_FROM_SLOT_0, WINDOWS, RECURRENT, INDEXERS, DEEPSTACK} | names("""
    attention.compress_ratios attention.rope_pattern swiglu_clamp_exp swiglu_clamp_shexp
    xielu.alpha_n xielu.alpha_p xielu.beta xielu.eps
""")
NOT_PER_LAYER = names("""
    adapters.token_ids_activate adapters.token_ids_substitute classifier.output_labels ple.head_offsets
    ple.head_vocab_sizes ple.layer_multipliers ple.layers rope.dimension_sections
""")

# The period of the sliding-window pattern that a loader assumes, and whether the period begins with
# a full layer.
WINDOW_PERIOD = {
    **dict.fromkeys(names("gemma2 gpt-oss"), (2, False)),
    **dict.fromkeys(
        names("afmoe cohere2 exaone-moe exaone4 llama4 mellum muse-glimmer olmo2"), (4, False)
    ),
    **dict.fromkeys(names("cohere2moe laguna smallthinker"), (4, True)),
    **dict.fromkeys(names("gemma3 gemma-embedding"), (6, False)),
    "gemma3n": (5, False),
    "modern-bert": (3, True),
    "plamo3": (8, False),
}
WINDOW_ALWAYS = names("""
    dots3note gemma4 granite_swa maple mimo2 spark2_5 step35
    cohere2 cohere2moe exaone-moe gemma-embedding gemma2 gemma3n gpt-oss muse-glimmer
""")  # the first line has no period to fall back on
RECURRENT_PERIOD = {"minimax-01": 8, "qwen35": 4, "qwen35moe": 4, "qwen3next": 4, "qwen4exp": 4}
HYBRID = names("""
    bailingmoe3 glm5-next granitehybrid jamba kimi-k3 kimi-linear lfm2 lfm2moe nemotron_h nemotron_h_moe plamo2
""").union(RECURRENT_PERIOD)

# What these look up layer by layer; the others take it from slot 0 for all.
LOOKED_UP: dict[str, set[str]] = {
    **{arch: {KV_HEADS} for arch in HYBRID},
    **{arch: {HEADS, KV_HEADS, FFN} for arch in ("deci", "openelm")},
    **{
        arch: {KV_HEADS, FFN, EXPERT_FFN, EXPERTS_USED} for arch in ("nemotron_h", "nemotron_h_moe")
    },
    "gemma4": {KV_HEADS, FFN},
}
ROPE_LOOKED_UP = names("gemma4 maple spark2_5 step35")

# The number of layers at the front that differ from the rest, and who heeds it.
LEADING = {
    "hash_layer_count": names("deepseek4"),
    "leading_dense_block_count": names("""
        afmoe bailingmoe2 bailingmoe3 cohere2moe deepseek deepseek2 deepseek2-ocr deepseek32 dots1 dots3note
        ernie4_5-moe exaone-moe glm-dsa glm4moe glm5-next hy_v4 kimi-k3 kimi-linear laguna lfm2moe minimax-m3 mistral4
    """),
}
# What the number n of layers decides: (source, n) -> the decision.
BY_COUNT: dict[str, Callable[[Source, int], Hashable]] = {
    "baichuan": lambda m, n: {32: "rope", 40: "alibi"}.get(n, "neither"),
    "command-r": lambda m, n: n >= 64,  # norms of q and k
    "exaone4": lambda m, n: n == 64,  # sliding window
    "gemma2": lambda m, n: attention_width(m, largest=n == 46),
    "gemma3": lambda m, n: attention_width(m, largest=n == 62),
    "minicpm3": lambda m, n: n,  # scale of the residual
}
# What the place of a layer among n decides and no key can set: (source, place, layer, n) -> the
# decision.
BY_PLACE: dict[str, Callable[[Source, int, int, int], Hashable]] = {
    **dict.fromkeys(names("afmoe smollm3"), lambda m, at, i, n: (at + 1) % 4 == 0),  # no RoPE
    "ernie4_5-moe": lambda m, at, i, n: (at + 1) % m.integer("interleave_moe_layer_step") == 0,
    "gemma3n": lambda m, at, i, n: (at < 10, at < 20),  # sparse activations, KV of its own
    **dict.fromkeys(
        names("granite granite_swa"), lambda m, at, i, n: at > 0 and image_of(m, i) >= 0
    ),
    "llama4": lambda m, at, i, n: (at + 1) % (4 if has_windows(m) else n) == 0,  # no RoPE
    "minimax-01": lambda m, at, i, n: (
        ("decay", at / (n - 1) if n > 1 else None) if is_recurrent(m, i, n) else None
    ),
    **dict.fromkeys(
        names("qwen3tts qwen3vl qwen3vlmoe"),
        lambda m, at, i, n: at if at < m.integer("n_deepstack_layers") else None,
    ),
    "smallthinker": lambda m, at, i, n: has_windows(m) and at % 4 == 0,  # no RoPE
}
# A period that a key sets: (key, (place, period) -> the decision). Another period may say the same
# of the copy.
BY_PERIOD: dict[str, tuple[str, Callable[[int, int], bool]]] = {
    "kimi-k3": ("attn_res.block_size", lambda at, period: at % period == 0),
    "llama4": ("interleave_moe_layer_step", lambda at, period: (at + 1) % period == 0),
    "nomic-bert-moe": ("moe_every_n_layers", lambda at, period: at % period == 1),
    "rwkv6": ("rescale_every_n_layers", lambda at, period: (at + 1) % period == 0),
}


def has_windows(m: Source) -> bool:
    """Return whether the loader turns sliding windows on."""
    if m.arch == "exaone4":
        return m.n == 64
    absent = 1 if m.arch == "llama4" else 0
    return m.arch in WINDOW_ALWAYS or (
        m.arch in WINDOW_PERIOD and m.integer("attention.sliding_window", absent) > 0
    )


def has_window(m: Source, layer: int, n: int) -> bool:
    """Return whether the loader gives this layer of `n` a sliding window."""
    if (listed := m.listed(WINDOWS)) is not None:
        return layer < len(listed) and bool(listed[layer])
    period, full_first = WINDOW_PERIOD[m.arch]
    period = m.integer(WINDOWS, period)
    return layer < n and (
        period == 0 or (layer % period > 0 if full_first else (layer + 1) % period > 0)
    )


def is_recurrent(m: Source, layer: int, n: int) -> bool:
    """Return whether the loader makes this layer of `n` recurrent, in an architecture that has both
    kinds.
    """
    if m.arch not in RECURRENT_PERIOD:
        return bool((m.listed(KV_HEADS) or [1] * m.n_all)[layer] == 0)
    if (listed := m.listed(RECURRENT)) is not None:
        return bool(listed[layer])
    return (
        layer < n
        and (layer + 1) % m.integer("full_attention_interval", RECURRENT_PERIOD[m.arch]) > 0
    )


def kind_of(m: Source, layer: int) -> Hashable:
    """Return the memory or the input that the layer needs: llama.cpp aborts when no layer uses one
    of them.
    """
    if m.arch == "deepseek4":
        return m.get("attention.compress_ratios")[layer] or None
    if m.arch in ("dots3note", "gemma-embedding", "modern-bert"):
        return has_windows(m) and has_window(m, layer, m.n)
    if m.arch not in HYBRID or (m.arch.startswith("nemotron_h") and m.get(FFN)[layer] > 0):
        return None
    return is_recurrent(m, layer, m.n)


def heads_of(m: Source, layer: int) -> int:
    return int((m.listed(HEADS) or [m.get(HEADS, 0)] * m.n_all)[layer])


def image_of(m: Source, layer: int) -> int:
    return int((m.listed(DEEPSTACK) or [-1] * m.n_all)[layer])


def attention_width(m: Source, *, largest: bool) -> int:
    """Return the width that gemma's scale of attention is the root of; its largest model has
    another.
    """
    width = m.integer("embedding_length") // heads_of(m, 0)
    return width if largest else m.integer("attention.key_length", width)


def rewrite_metadata(m: Source) -> None:
    """Make the metadata say of the copy what it says of the source, or raise CannotExpressError."""
    n, path = m.n, m.path
    m.require(m.arch in EXAMINED or m.arch in REFUSED, "nobody has examined this architecture")
    m.require(m.arch not in REFUSED or path == list(range(n)), REFUSED.get(m.arch, ""), OWN_ORDER)
    loops = m.arch == "nanbeige" and m.integer("num_loops", 1) != 1
    m.require(not loops, "its layers run in a loop of its own", "use the file as it is")
    m.set("block_count", len(m.layers))
    for name, field in m.fields.items():
        key = name.removeprefix(f"{m.arch}.")
        if (
            field.is_array
            and name.startswith((f"{m.arch}.", "xielu."))
            and key not in NOT_PER_LAYER
        ):
            per_layer = key in PER_LAYER and field.count >= n and field.kind is not Kind.STRING
            m.require(per_layer, f"{name} does not list a value for each layer")
            values = m.get(key)
            m.set(key, ([values[i] for i in path] + values[n:])[:MAX_SLOTS], field.kind)
            alike = values[path[0]] == values[0] or key in LOOKED_UP.get(m.arch, set())
            m.require(
                alike or key not in TAKEN_FROM_SLOT_0,
                f"all layers take {key} from the first slot",
                START_AT_0,
            )
    missing = {kind_of(m, i) for i in range(n)} - {kind_of(m, i) for i in path} - {None}
    m.require(not missing, "llama.cpp aborts unless every kind of layer is visited", EVERY_KIND)
    keep_head_sizes(m)
    keep_kinds(m)
    keep_places(m)
    keep_peculiarities(m)


def keep_head_sizes(m: Source) -> None:
    """Write out the sizes that loaders divide by the heads of slot 0 when the file does not name
    them.
    """
    old, new, width = heads_of(m, 0), heads_of(m, m.path[0]), m.integer("embedding_length")
    m.require(
        (old == 0) == (new == 0),
        "whether there is attention at all is read off the first slot",
        START_AT_0,
    )
    if old not in (0, new):
        size = m.integer("attention.key_length", width // old)
        m.set("attention.key_length", size)
        m.set("attention.value_length", m.integer("attention.value_length", width // old))
        m.set("rope.dimension_count", m.integer("rope.dimension_count", size))


def keep_kinds(m: Source) -> None:
    """Write out which layers have a sliding window and which are recurrent, unless the loader finds
    the same.
    """
    n, path, n_slot = m.n, m.path, len(m.path)
    if m.arch in RECURRENT_PERIOD and m.listed(RECURRENT) is None:
        recurrent = [is_recurrent(m, i, n) for i in m.layers]
        if recurrent != [is_recurrent(m, s, n_slot) for s in range(len(recurrent))]:
            m.set(RECURRENT, recurrent, Kind.BOOL)
    if not has_windows(m):
        return
    windows = [has_window(m, i, n) for i in m.layers]
    if m.listed(WINDOWS) is None and windows != [
        has_window(m, s, n_slot) for s in range(len(windows))
    ]:
        m.set(WINDOWS, windows, Kind.BOOL)
    m.require(
        any(windows[:n_slot]),
        "llama.cpp aborts unless a layer with a sliding window is visited",
        EVERY_KIND,
    )
    m.require(
        m.arch != "gemma4" or not all(windows),
        "its RoPE factors belong to the full layers",
        EVERY_KIND,
    )
    if has_window(m, path[0], n) != has_window(m, 0, n):
        sizes = {"attention.key_length", "attention.value_length"} if m.arch != "gemma4" else set()
        sizes |= {"rope.dimension_count"} if m.arch not in ROPE_LOOKED_UP else set()
        alike = all(m.get(f"{size}_swa") in (None, m.get(size)) for size in sizes)
        m.require(alike, "all layers take the size of their heads from the first slot", START_AT_0)


def keep_places(m: Source) -> None:
    """Adapt the keys that speak of places, and refuse a path that would give a layer's place
    another meaning.
    """
    n, path, n_slot = m.n, m.path, len(m.path)
    for key, heeded_by in LEADING.items():
        if m.arch in heeded_by and (first := m.integer(key)):
            kept = sum(i < first for i in path)
            ahead = all(i < first for i in path[:kept])
            cure = f"let all visits of layers 0..{first - 1} come first"
            m.require(
                ahead, f"{key} counts layers at the front, and some come later", cure, USE_RYS
            )
            m.set(key, kept)
    if by_count := BY_COUNT.get(m.arch):
        m.require(
            by_count(m, n) == by_count(m, n_slot),
            "the number of layers decides what they do",
            "take another number of slots",
            USE_RYS,
        )
    if by_place := BY_PLACE.get(m.arch):
        same = all(by_place(m, i, i, n) == by_place(m, s, i, n_slot) for s, i in enumerate(path))
        m.require(same, "the place of a layer decides what it does", WHOLE_PERIODS, USE_RYS)
    if m.arch in BY_PERIOD and (old := m.integer(BY_PERIOD[m.arch][0])):
        key, marks = BY_PERIOD[m.arch]
        marked = [marks(i, old) for i in path]
        fitting = [
            new
            for new in (old, *range(1, n_slot + 2))
            if marked == [marks(s, new) for s in range(n_slot)]
        ]
        m.require(bool(fitting), f"no {key} marks these layers", WHOLE_PERIODS, USE_RYS)
        m.set(key, fitting[0])


def keep_peculiarities(m: Source) -> None:
    """Apply what concerns one architecture or a few."""
    n, path, n_slot = m.n, m.path, len(m.path)
    if m.arch == "minicpm" and m.get("residual_scale") is None:
        m.set("residual_scale", float(np.float32(1.4) / np.sqrt(np.float32(n))), Kind.FLOAT32)
    if m.arch in ("deepseek2", "mistral4"):
        tokens = m.fields.get("tokenizer.ggml.tokens")
        n_vocab = m.integer("vocab_size", tokens.count if tokens else 0)
        lite = (26, 27, 48) if n_vocab == 128256 else (26, 27)
        m.require(
            n in lite or n_slot not in lite,
            f"{n_slot} layers are taken for a lite model",
            "take another number of slots",
            USE_RYS,
        )
        if n in lite and n_slot not in lite:
            m.set("attention.q_lora_rank", 0)
        if m.integer("expert_gating_func") == 0:
            m.set(
                "expert_gating_func", 2 if n in (47, 48) and n_vocab == 154880 else 1
            )  # sigmoid, softmax
    m.require(
        m.arch != "llama4" or not has_windows(m) or n_slot >= 4,
        "llama.cpp aborts unless a layer has no RoPE",
        "visit 4 layers or more",
    )
    if m.arch == "modern-bert" and "blk.0.attn_norm.weight" not in m.tensors:
        m.require(
            0 not in path[1:],
            "only the first block may lack a norm",
            "visit layer 0 only in the first slot",
            USE_RYS,
        )
    if m.arch in ("rwkv7", "arwkv7"):
        m.require(
            path[0] == 0 and 0 not in path[1:],
            "all layers mix in the value of layer 0",
            "visit layer 0 first, and once",
        )
    if m.arch in ("glm-dsa", "glm5-next") or (
        m.arch == "hy_v4" and m.integer("attention.indexer.top_k")
    ):
        sparse = m.arch == "glm-dsa" and m.integer("context_length") >= 1048576
        default = [int(not sparse or i < 2 or (i % 4 == 2 and i < 78)) for i in range(n)]
        own = m.listed(INDEXERS) or [m.get(INDEXERS, d) for d in default]
        attending = [i for i in path if m.arch != "glm5-next" or not is_recurrent(m, i, n)]
        m.require(
            bool(own[attending[0]]),
            f"layer {attending[0]} takes the selection of a layer before it",
            START_AT_0,
        )
        if sparse and m.get(INDEXERS) is None:
            m.set(INDEXERS, [own[i] for i in path])
    if m.arch in ("gemma3n", "gemma4"):
        own_kv = 20 if m.arch == "gemma3n" else m.n_all - m.integer("attention.shared_kv_layers")
        kept = sum(i < own_kv for i in path)
        m.require(
            all(i < own_kv for i in path[:kept]),
            "layers that share KV must come last",
            f"let all visits of layers {own_kv}.. come last",
            USE_RYS,
        )
        m.require(
            kept > 1 or m.arch == "gemma3n",
            "at least two layers must have KV of their own",
            f"visit two of layers 0..{own_kv - 1}",
            USE_RYS,
        )
        for back in {2 if has_window(m, i, n) else 1 for i in path[kept:]}:
            m.require(
                path[kept - back] == own_kv - back,
                f"later layers read the KV of layer {own_kv - back}",
                f"visit layers {own_kv - 2}..{own_kv - 1} right before layers {own_kv}..",
                USE_RYS,
            )
        if m.arch == "gemma4":
            m.set("attention.shared_kv_layers", n_slot - kept)
    images = {image_of(m, i) for i in range(n)} if m.arch in ("granite", "granite_swa") else set()
    m.require(
        images <= {image_of(m, i) for i in path} | {-1},
        "a layer that takes images in is left out",
        "visit it",
        USE_RYS,
    )
    if listed := m.listed("ple.layers"):
        slots = [s for s, i in enumerate(path) if i in listed]
        m.require(
            len(slots) == 1,
            "exactly one layer may hold the n-gram embeddings",
            f"visit one of {listed} once",
            USE_RYS,
        )
        m.set("ple.layers", slots)
