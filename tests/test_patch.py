"""What the patch of llama.cpp is made of."""

from __future__ import annotations

import re
from pathlib import Path

import obtain

LAYER_PATH = Path(__file__).parent.parent / "csrc" / "llama" / "layer_path.cpp"


def test_a_view_gathers_every_per_layer_array_of_upstream(upstream):
    header = upstream.source("src/llama-hparams.h")
    declared = re.findall(
        r"^\s*std::(?:array<\w+, LLAMA_MAX_LAYERS>|bitset<LLAMA_MAX_LAYERS>) +(\w+);", header, re.M
    )
    assert len(declared) == len(re.findall(r"LLAMA_MAX_LAYERS\W", header)) - header.count(
        "#define LLAMA_MAX_LAYERS"
    )
    gathered = re.findall(
        r"^    gather\(hparams\.(\w+), src\);$", LAYER_PATH.read_text(encoding="utf-8"), re.M
    )
    assert sorted(gathered) == sorted([*declared, "layer_src"])


def test_upstream_s_own_files_change_in_at_most_150_lines():
    changed = [
        line
        for patch in obtain.patch_files()
        for line in patch.read_text(encoding="utf-8").splitlines()
        if line.startswith(("+", "-")) and not line.startswith(("+++ ", "--- "))
    ]
    assert 0 < len(changed) <= 150


def test_layer_path_has_at_most_250_lines():
    assert 0 < len(LAYER_PATH.read_text(encoding="utf-8").splitlines()) <= 250
