"""The architectures that have been examined: one entry for each, which says all about it.

The entries follow src/models/*.cpp and src/llama-model.cpp of llama.cpp. To add an architecture,
read its loader and its graph builder there for what depends on a layer's number, and say it in an
entry; if nothing does, add the name to the plain ones. tests/test_architectures.py then compares
copies with views along paths of every kind.
"""

from __future__ import annotations

from rys.export.architecture import (
    EXPERT_FFN,
    EXPERTS_USED,
    FFN,
    HEADS,
    KV_HEADS,
    Architecture,
    Period,
    SharedKV,
    Windows,
    heads_of,
    image_of,
    is_recurrent,
    n_layer_by_key,
    windows_always,
)
from rys.export.source import Source

__all__ = ["ARCHITECTURES"]


# What the number of layers decides.


def rope_by_count(m: Source, n: int) -> str:
    """Return how Baichuan encodes positions: the 7B model has 32 layers, the 13B model 40."""
    return {32: "rope", 40: "alibi"}.get(n, "neither")


def norms_by_count(m: Source, n: int) -> bool:
    """Return whether Command R+ is assumed, which has norms of queries and keys."""
    return n >= 64


def windows_by_count(m: Source, n: int) -> bool:
    """Return whether the 32B model of EXAONE 4 is assumed, which alone has windows."""
    return n == 64


def gemma_scale(m: Source, *, is_largest: bool) -> int:
    """Return the width whose root is Gemma's scale of attention; its largest model has another."""
    width = m.integer("embedding_length") // heads_of(m, 0)
    return width if is_largest else m.integer("attention.key_length", width)


def gemma2_scale(m: Source, n: int) -> int:
    """Return `gemma_scale`; the 27B model of Gemma 2 has 46 layers."""
    return gemma_scale(m, is_largest=n == 46)


def gemma3_scale(m: Source, n: int) -> int:
    """Return `gemma_scale`; the 27B model of Gemma 3 has 62 layers."""
    return gemma_scale(m, is_largest=n == 62)


def depth(m: Source, n: int) -> int:
    """Return the number of layers itself: MiniCPM 3 divides its residual by the root of it."""
    return n


# What the place of a layer decides.


def is_fourth(m: Source, at: int, layer: int, n: int) -> bool:
    """Return whether the layer goes without RoPE, as each fourth does."""
    return (at + 1) % 4 == 0


def ernie_moe(m: Source, at: int, layer: int, n: int) -> bool:
    """Return whether the layer has experts."""
    return (at + 1) % m.integer("interleave_moe_layer_step") == 0


def gemma3n_place(m: Source, at: int, layer: int, n: int) -> tuple[bool, bool]:
    """Return whether the layer has sparse activations, and whether it has KV of its own."""
    return at < 10, at < 20


def granite_image(m: Source, at: int, layer: int, n: int) -> bool:
    """Return whether the layer takes images in, which the one in the first place never does."""
    return at > 0 and image_of(m, layer) >= 0


def llama4_rope(m: Source, at: int, layer: int, n: int) -> bool:
    """Return whether the layer goes without RoPE."""
    step = 4 if LLAMA4_WINDOWS.are_on(m) else n
    return (at + 1) % step == 0


def minimax_decay(m: Source, at: int, layer: int, n: int) -> tuple[str, float | None] | None:
    """Return the decay of a layer with linear attention, which falls with its depth."""
    if not is_recurrent(m, layer, n, MINIMAX_PERIOD):
        return None
    return "decay", (at / (n - 1) if n > 1 else None)


def deepstack_place(m: Source, at: int, layer: int, n: int) -> int | None:
    """Return which image features the layer takes in, as the first layers do."""
    return at if at < m.integer("n_deepstack_layers") else None


def smallthinker_rope(m: Source, at: int, layer: int, n: int) -> bool:
    """Return whether the layer goes without RoPE."""
    return SMALLTHINKER_WINDOWS.are_on(m) and at % 4 == 0


# When windows and indexers are on.


def llama4_windows(m: Source) -> bool:
    """Return whether windows are on: they are unless the file says 0."""
    return m.integer("attention.sliding_window", 1) > 0


def exaone4_windows(m: Source) -> bool:
    """Return whether windows are on."""
    return windows_by_count(m, n_layer_by_key(m))


def indexers_always(m: Source) -> bool:
    """Return True: all models of these architectures select tokens."""
    return True


def indexers_if_sized(m: Source) -> bool:
    """Return whether the file says how many tokens to select."""
    return m.integer("attention.indexer.top_k") != 0


def gemma3n_own_kv(m: Source) -> int:
    """Return 20, which llama.cpp's graph builder holds for all of them."""
    return 20


def gemma4_own_kv(m: Source) -> int:
    """Return how many layers have keys and values of their own."""
    return m.n_all - m.integer("attention.shared_kv_layers")


# Values that several entries share.
DENSE_LEAD = "leading_dense_block_count"
LLAMA4_WINDOWS = Windows(4, are_on=llama4_windows)
SMALLTHINKER_WINDOWS = Windows(4, full_first=True)
LISTED_WINDOWS = Windows(None, are_on=windows_always)
MINIMAX_PERIOD = 8

# Loaders of hybrids tell recurrent layers by their lack of KV heads, so they look those up.
HYBRID_KEYS = frozenset({KV_HEADS})
NEMOTRON_H_KEYS = frozenset({KV_HEADS, FFN, EXPERT_FFN, EXPERTS_USED})
ALL_WIDTHS = frozenset({HEADS, KV_HEADS, FFN})

# Entries of several architectures, each with a model that is known by it.
DRAFTER = Architecture(refused="it drafts for another model")
DENSE_FIRST = Architecture(leading_key=DENSE_LEAD)
HYBRID = Architecture(is_hybrid=True, looked_up=HYBRID_KEYS)
HYBRID_DENSE_FIRST = Architecture(is_hybrid=True, looked_up=HYBRID_KEYS, leading_key=DENSE_LEAD)
QWEN_HYBRID = Architecture(is_hybrid=True, looked_up=HYBRID_KEYS, recurrent_period=4)
NEMOTRON_H = Architecture(is_hybrid=True, looked_up=NEMOTRON_H_KEYS, skips_ffn_layers=True)
WINDOW_EACH_4 = Architecture(windows=Windows(4))
WINDOW_EACH_4_ALWAYS = Architecture(windows=Windows(4, are_on=windows_always))
WINDOWS_LISTED = Architecture(windows=LISTED_WINDOWS, rope_looked_up=True)
LITE_BY_DEPTH = Architecture(leading_key=DENSE_LEAD, lite_by_depth=True)
DEEPSTACK_FIRST = Architecture(by_place=deepstack_place)
RWKV7 = Architecture(mixes_in_layer_0=True)

# Nothing in these depends on the place of a layer.
PLAIN = """
    apertus arcee arctic bailingmoe bert bitnet bloom chameleon chatglm codeshell cogvlm dbrx dream
    ernie4_5 eurobert exaone falcon falcon-h1 gemma glm4 gpt2 gptneox granitemoe grok grovemoe
    hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 internlm2 jais jais2 jina-bert-v2 jina-bert-v3 llada
    llada-moe llama llama-embed maincoder mamba mamba2 minimax-m2 mistral3 mpt nemotron neo-bert
    nomic-bert olmo olmoe orion paddleocr pangu-embedded phi2 phi3 phimoe plamo plm pockettts qwen
    qwen2 qwen2moe qwen2vl qwen3 qwen3moe refact rnd1 rwkv6qwen2 seed_oss stablelm starcoder
    starcoder2 talkie xverse
"""

ARCHITECTURES: dict[str, Architecture] = {
    **dict.fromkeys(PLAIN.split(), Architecture()),
    "afmoe": Architecture(windows=Windows(4), leading_key=DENSE_LEAD, by_place=is_fourth),
    "arwkv7": RWKV7,
    "baichuan": Architecture(by_count=rope_by_count),
    "bailingmoe2": DENSE_FIRST,
    "bailingmoe3": HYBRID_DENSE_FIRST,
    "cohere2": WINDOW_EACH_4_ALWAYS,
    "cohere2moe": Architecture(
        windows=Windows(4, full_first=True, are_on=windows_always),
        leading_key=DENSE_LEAD,
    ),
    "command-r": Architecture(by_count=norms_by_count),
    "deci": Architecture(looked_up=ALL_WIDTHS),
    "deepseek": DENSE_FIRST,
    "deepseek2": LITE_BY_DEPTH,
    "deepseek2-ocr": DENSE_FIRST,
    "deepseek32": DENSE_FIRST,
    # the first layers choose experts by a hash of the token
    "deepseek4": Architecture(
        leading_key="hash_layer_count",
        needs_each_ratio=True,
        mtp_by_tensor=True,
    ),
    "dflash": DRAFTER,
    "dots1": DENSE_FIRST,
    "dots3note": Architecture(
        windows=LISTED_WINDOWS,
        needs_both_windows=True,
        leading_key=DENSE_LEAD,
    ),
    "eagle3": DRAFTER,
    "ernie4_5-moe": Architecture(leading_key=DENSE_LEAD, by_place=ernie_moe),
    "exaone-moe": Architecture(windows=Windows(4, are_on=windows_always), leading_key=DENSE_LEAD),
    "exaone4": Architecture(windows=Windows(4, are_on=exaone4_windows), by_count=windows_by_count),
    "gemma-embedding": Architecture(
        windows=Windows(6, are_on=windows_always), needs_both_windows=True
    ),
    "gemma2": Architecture(windows=Windows(2, are_on=windows_always), by_count=gemma2_scale),
    "gemma3": Architecture(windows=Windows(6), by_count=gemma3_scale),
    "gemma3n": Architecture(
        windows=Windows(5, are_on=windows_always),
        by_place=gemma3n_place,
        shared_kv=SharedKV(gemma3n_own_kv),
        layer_tables=True,
    ),
    # layers with and without a window differ in the size of their heads
    "gemma4": Architecture(
        windows=LISTED_WINDOWS,
        needs_full_layer=True,
        looked_up=frozenset({KV_HEADS, FFN}),
        rope_looked_up=True,
        head_size_looked_up=True,
        shared_kv=SharedKV(gemma4_own_kv, n_own_min=2, key="attention.shared_kv_layers"),
        layer_tables=True,
    ),
    "gemma4-assistant": DRAFTER,
    "glm-dsa": Architecture(
        leading_key=DENSE_LEAD,
        has_indexers=indexers_always,
        long_context_indexers=True,
    ),
    "glm4moe": DENSE_FIRST,
    "glm5-next": Architecture(
        is_hybrid=True,
        looked_up=HYBRID_KEYS,
        leading_key=DENSE_LEAD,
        has_indexers=indexers_always,
    ),
    "gpt-oss": Architecture(windows=Windows(2, are_on=windows_always)),
    "granite": Architecture(by_place=granite_image, takes_images=True),
    "granite_swa": Architecture(windows=LISTED_WINDOWS, by_place=granite_image, takes_images=True),
    "granitehybrid": HYBRID,
    # its loader adds a layer of its own, which counts against llama.cpp's limit
    "graniteswitch": Architecture(n_extra=1),
    "hrm_text": Architecture(refused="its layers run in cycles of its own"),
    "hy_v4": Architecture(leading_key=DENSE_LEAD, has_indexers=indexers_if_sized),
    "jamba": HYBRID,
    # the first layer of a block leaves a checkpoint, which all later layers read
    "kimi-k3": Architecture(
        is_hybrid=True,
        looked_up=HYBRID_KEYS,
        leading_key=DENSE_LEAD,
        period=Period("attn_res.block_size", lambda at, period: at % period == 0),
    ),
    "kimi-linear": HYBRID_DENSE_FIRST,
    "laguna": Architecture(windows=Windows(4, full_first=True), leading_key=DENSE_LEAD),
    "lfm2": HYBRID,
    "lfm2moe": HYBRID_DENSE_FIRST,
    # each fourth layer has neither window nor RoPE; a key says which have experts
    "llama4": Architecture(
        windows=LLAMA4_WINDOWS,
        by_place=llama4_rope,
        period=Period("interleave_moe_layer_step", lambda at, period: (at + 1) % period == 0),
        n_slot_min_with_windows=4,
    ),
    "maple": WINDOWS_LISTED,
    "mellum": WINDOW_EACH_4,
    "mimo2": Architecture(windows=LISTED_WINDOWS),
    "minicpm": Architecture(scales_by_depth=True),
    "minicpm3": Architecture(by_count=depth),
    "minimax-01": Architecture(
        is_hybrid=True,
        looked_up=HYBRID_KEYS,
        recurrent_period=MINIMAX_PERIOD,
        by_place=minimax_decay,
    ),
    "minimax-m3": DENSE_FIRST,
    "mistral4": LITE_BY_DEPTH,
    "modern-bert": Architecture(
        windows=Windows(3, full_first=True),
        needs_both_windows=True,
        first_norm_optional=True,
    ),
    "muse-glimmer": WINDOW_EACH_4_ALWAYS,
    # a file may ask for several loops over all layers
    "nanbeige": Architecture(loops_key="num_loops"),
    "nemotron_h": NEMOTRON_H,
    "nemotron_h_moe": NEMOTRON_H,
    "nomic-bert-moe": Architecture(
        period=Period("moe_every_n_layers", lambda at, period: at % period == 1)
    ),
    "olmo2": WINDOW_EACH_4,
    "openelm": Architecture(looked_up=ALL_WIDTHS),
    "plamo2": HYBRID,
    "plamo3": Architecture(windows=Windows(8)),
    "qwen35": QWEN_HYBRID,
    "qwen35moe": QWEN_HYBRID,
    "qwen3next": QWEN_HYBRID,
    "qwen3tts": DEEPSTACK_FIRST,
    "qwen3vl": DEEPSTACK_FIRST,
    "qwen3vlmoe": DEEPSTACK_FIRST,
    "qwen4exp": QWEN_HYBRID,
    # the residual stream is halved after each period, against overflow in float16
    "rwkv6": Architecture(
        period=Period("rescale_every_n_layers", lambda at, period: (at + 1) % period == 0)
    ),
    "rwkv7": RWKV7,
    "smallthinker": Architecture(windows=SMALLTHINKER_WINDOWS, by_place=smallthinker_rope),
    "smollm3": Architecture(by_place=is_fourth),
    "spark2_5": WINDOWS_LISTED,
    "step35": WINDOWS_LISTED,
    "t5": Architecture(refused="layers of its encoder and its decoder share their numbers"),
    "t5encoder": Architecture(refused="all layers read the position bias of layer 0"),
    "wavtokenizer-dec": Architecture(refused="its layers are stages of a vocoder"),
}
