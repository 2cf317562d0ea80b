"""Hidden states: the residual stream before every slot and after the last.

Every architecture's are compared with upstream's evaluation callback in test_architectures.py.
Here: what a user does with them.
"""

from __future__ import annotations

import itertools

import gguf
import numpy as np
import pytest

import rys
from support.architecture_case import OPTIONS, TOKENS

UNCHANGED_AT_ENTRY = [
    "llama-dense",
    "qwen3moe-moe",
    "gpt-oss-moe",
    "nemotron_h-dense",
    "deepseek2-moe",
    "phi3-dense",
    "mamba-dense",
]


@pytest.fixture
def write(upstream, scratch):
    def write_toy(toy: str):
        upstream.write_toys(toy.rpartition("-")[0], scratch)
        return scratch / f"{toy}.gguf"

    return write_toy


def path_of(model: rys.Model) -> list[int]:
    order = list(range(model.n_layer))
    return [*order, *order]


@pytest.mark.parametrize("toy", UNCHANGED_AT_ENTRY)
def test_the_first_state_given_as_embeddings_gives_the_same_logits(toy, write):
    with rys.Model(write(toy), **OPTIONS) as base, base.with_path(path_of(base)) as view:
        logits, hidden = view._session.evaluate(tokens=TOKENS, logits=True, hidden=True)
        assert np.array_equal(view._session.evaluate(embd=hidden[0], logits=True)[0], logits)
        assert np.array_equal(view.hidden_states(TOKENS), hidden)


@pytest.mark.parametrize("toy", [*UNCHANGED_AT_ENTRY, "gemma2-dense", "falcon-h1-dense"])
def test_state_s_is_the_last_state_of_the_first_s_slots(toy, write):
    with rys.Model(write(toy), **OPTIONS) as base:
        path = path_of(base)
        hidden = base.with_path(path).hidden_states(TOKENS)
        assert hidden.shape == (len(path) + 1, len(TOKENS), base.n_embd)
        assert hidden.dtype == np.float32
        for n_slot in range(1, len(path) + 1):
            with base.with_path(path[:n_slot]) as beginning:
                assert np.array_equal(beginning.hidden_states(TOKENS)[-1], hidden[n_slot])
        for before, after in itertools.pairwise(hidden):
            assert not np.array_equal(before, after)


def test_output_norm_and_head_turn_the_last_state_into_the_logits(write):
    file = write("llama-dense")
    weights = {tensor.name: tensor.data for tensor in gguf.GGUFReader(file).tensors}
    with rys.Model(file, **OPTIONS) as base, base.with_path(path_of(base)) as view:
        stream = view.hidden_states(TOKENS)[-1].astype(np.float64)  # [T, D]
        epsilon = base.metadata["llama.attention.layer_norm_rms_epsilon"]
        logits = view.logits(TOKENS)
    normed = (
        stream
        / np.sqrt((stream**2).mean(axis=1, keepdims=True) + epsilon)
        * weights["output_norm.weight"]
    )
    expected = normed @ weights["output.weight"].astype(np.float64).T
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


def test_the_first_state_is_the_embedding(write):
    file = write("llama-dense")
    (embeddings,) = (
        tensor.data
        for tensor in gguf.GGUFReader(file).tensors
        if tensor.name == "token_embd.weight"
    )
    with rys.Model(file, **OPTIONS) as model:
        assert np.array_equal(model.hidden_states(TOKENS)[0], embeddings[TOKENS].astype(np.float32))
