"""What rys adds to llama.cpp keeps up with upstream."""

from __future__ import annotations

import re
from pathlib import Path

LAYER_PATH = Path(__file__).parent.parent / "csrc" / "llama" / "layer_path.cpp"


def test_a_view_gathers_every_per_layer_array_of_upstream(upstream):
    header = upstream.source("src/llama-hparams.h")
    # std::array<uint32_t, LLAMA_MAX_LAYERS> n_head_arr;
    declared = re.findall(
        r"^\s*std::(?:array<\w+, LLAMA_MAX_LAYERS>|bitset<LLAMA_MAX_LAYERS>) +(\w+);", header, re.M
    )
    assert len(declared) == len(re.findall(r"LLAMA_MAX_LAYERS\W", header)) - header.count(
        "#define LLAMA_MAX_LAYERS"
    )
    # gather(hparams.n_head_arr, src);
    gathered = re.findall(
        r"^    gather\(hparams\.(\w+), src\);$", LAYER_PATH.read_text(encoding="utf-8"), re.M
    )
    assert len(declared) > 10
    assert sorted(gathered) == sorted([*declared, "layer_src"])
