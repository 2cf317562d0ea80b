"""Layer paths under unusual conditions, on a handful of architectures: llama, experts, windows, a
hybrid, MLA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import rys
from rys.errors import LayerPathError
from rys.export import export
from support.architecture_case import (
    OPTIONS,
    TOKENS,
    Case,
    observe,
    require_same,
    require_same_steps,
)

HANDFUL = ["llama-dense", "qwen3moe-moe", "gemma3-dense", "nemotron_h-dense", "deepseek2-moe"]
CACHES: dict[str, dict[str, Any]] = {
    "flash attention": {"flash_attn": True},
    "no flash attention": {"flash_attn": False},
    "quantised KV": {"flash_attn": True, "type_k": "q8_0", "type_v": "q8_0"},
}
RANK = 4
ADAPTED = ("attn_q", "attn_q_b", "attn_output", "ffn_up", "ffn_down", "ssm_in")


@pytest.fixture(params=HANDFUL)
def toy(request, upstream, scratch) -> Path:
    upstream.write_toys(request.param.rpartition("-")[0], scratch)
    return scratch / f"{request.param}.gguf"


@pytest.fixture
def path_and_copy(toy, scratch) -> tuple[list[int], Path]:
    """Return the path that visits the last layer three times, and its physical copy."""
    with rys.Model(toy, **OPTIONS) as base:
        path = [*range(base.n_layer), base.n_layer - 1, base.n_layer - 1]
    export(toy, scratch / "copy.gguf", path)
    return path, scratch / "copy.gguf"


@pytest.mark.parametrize("cache", CACHES)
def test_view_equals_copy_with_every_kind_of_cache(toy, path_and_copy, cache):
    path, copied = path_and_copy
    options = {**OPTIONS, **CACHES[cache]}
    with rys.Model(toy, path, **options) as view, rys.Model(copied, **options) as copy:
        require_same_steps(cache, observe(view), observe(copy))
        with rys.Model(toy, path, **{**OPTIONS, **CACHES["flash attention"]}) as other:
            changed = not np.array_equal(view.logits(TOKENS), other.logits(TOKENS))
    assert changed == (cache != "flash attention")


def write_adapter(toy: Path, file: Path, path: list[int]) -> int:
    """Write a LoRA adapter to the layers of a toy, as the adapter to its copy along a path; return
    its tensors.
    """
    reader = gguf.GGUFReader(toy)
    writer = gguf.GGUFWriter(file, reader.fields["general.architecture"].contents())
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    n_tensors = 0
    for tensor in reader.tensors:
        block, layer, *name = tensor.name.split(".")
        if block != "blk" or ".".join(name) not in [f"{adapted}.weight" for adapted in ADAPTED]:
            continue
        n_in, n_out = map(int, tensor.shape)
        rng = np.random.default_rng([int(layer), *tensor.name.encode()])  # the same for every copy
        a, b = (
            rng.standard_normal((RANK, n_in), np.float32),
            rng.standard_normal((n_out, RANK), np.float32),
        )
        for slot in [slot for slot, visited in enumerate(path) if visited == int(layer)]:
            writer.add_tensor(f"blk.{slot}.{'.'.join(name)}.lora_a", a / 8)
            writer.add_tensor(f"blk.{slot}.{'.'.join(name)}.lora_b", b / 8)
            n_tensors += 2
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return n_tensors


def test_a_lora_adapter_touches_every_visit_of_a_layer(toy, path_and_copy, scratch):
    path, copied = path_and_copy
    n_layer = max(path) + 1
    assert write_adapter(toy, scratch / "adapter.gguf", list(range(n_layer))) > 0
    assert write_adapter(toy, scratch / "copy-adapter.gguf", path) > 0
    with (
        rys.Model(toy, **OPTIONS, lora_path=scratch / "adapter.gguf") as base,
        base.with_path(path) as view,
        rys.Model(copied, **OPTIONS, lora_path=scratch / "copy-adapter.gguf") as copy,
        rys.Model(copied, **OPTIONS) as without,
    ):
        expected = observe(copy)
        require_same_steps("adapter", observe(view), expected)
        assert not np.array_equal(without.logits(TOKENS), expected["prefill"]["logits"])


def test_500_slots(toy, upstream, scratch):
    case = Case(toy, upstream, scratch)
    path = [slot % case.base.n_layer for slot in range(500)]
    size = 50 - 50 % case.base.n_layer  # so that every piece begins with layer 0
    case.check_chain(
        path, [path[start : start + size] for start in range(0, 500, size)], TOKENS[:24]
    )


def test_as_many_slots_as_llama_cpp_has(toy):
    with rys.Model(toy, **{**OPTIONS, "n_ctx": 32, "n_seq_max": 1}) as base:
        order = list(range(base.n_layer))
        path = (order * 512)[:512]
        with base.with_path(path) as view:
            assert view.n_slot == 512
            assert np.isfinite(view.logits(TOKENS[:4])).all()
        with pytest.raises(LayerPathError, match="more than 512 slots"):
            base.with_path([*path, 0])


def test_a_view_with_mtp_layers_has_as_many_slots_less(upstream, scratch):
    (toy,) = upstream.write_toys("qwen35", scratch, n_nextn=1)
    with rys.Model(toy, **{**OPTIONS, "n_ctx": 32, "n_seq_max": 1}) as base:
        path = (list(range(base.n_layer)) * 512)[:511]
        assert np.isfinite(base.with_path(path).logits(TOKENS[:4])).all()
        with pytest.raises(
            LayerPathError,
            match=r"qwen35-dense.gguf \(qwen35\): the path has 512 slots, but at most 511",
        ):
            base.with_path([*path, 0])


def test_views_along_paths_of_all_lengths_share_one_base(toy):
    """What one view computes does not depend on the views that came before it."""
    with rys.Model(toy, **OPTIONS) as base:
        order = list(range(base.n_layer))
        before = {"logits": base.with_path([*order, *order]).logits(TOKENS)}
        for n_visits in range(1, 9):
            base.with_path(order * n_visits).logits(TOKENS[:8])
        require_same("later", {"logits": base.with_path([*order, *order]).logits(TOKENS)}, before)
