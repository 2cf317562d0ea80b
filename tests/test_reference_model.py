"""The reference model: the shipped file is the one that was measured, and computes what its weights
say.
"""

import hashlib
import json

import gguf
import numpy as np
import pytest

import rys
from rys.probes.evaluation import Evaluation
from rys.probes.reference import DAYS, FAMILIES, TIERS, Reference, draw
from rys.reference import reference_model_path

SHA256 = "fff08e97a05a3310f07a4814ef941b2f6338ff7f9715efc6ff12815243bcba96"
BLOCK = (4, 8)


@pytest.fixture(scope="module")
def model():
    with rys.reference_model(n_ctx=1024) as model:
        yield model


def test_the_file_is_the_one_in_the_model_card_and_small():
    file = reference_model_path()
    assert file.stat().st_size <= 6_000_000
    assert hashlib.sha256(file.read_bytes()).hexdigest() == SHA256


def test_the_metadata_says_what_it_is_and_holds_the_block_as_a_hash_only(model):
    metadata = model.metadata
    assert metadata["general.architecture"] == "llama"
    assert metadata["general.license"] == "mit"
    assert "tools/train_reference.py" in metadata["general.description"]
    expected = hashlib.sha256("rys reference block {},{}".format(*BLOCK).encode()).hexdigest()
    assert metadata["rys.reference.block_sha256"] == expected
    said = json.dumps(
        {key: value for key, value in metadata.items() if not key.startswith("tokenizer.")}
    )
    assert "0..7" not in said
    assert "layers 4" not in said


def test_digits_and_answers_are_single_tokens(model):
    for text in [*"0123456789", *DAYS]:
        assert model.detokenize([model.tokenizer.single_token(text)]) == text
    assert len(model.tokenize("271828")) == 6


def test_a_conversation_is_rendered_as_it_was_trained(model):
    assert model.apply_chat_template([{"role": "user", "content": "Q"}]) == "<|user|>Q<|assistant|>"
    answer = model.chat([{"role": "user", "content": "Last digit of 2+3?"}])
    assert (answer.text, answer.finish_reason) == ("5", "eos")


def forward(file, tokens, path):
    """Return the logits float64 [T, V] of a llama file, in numpy: the oracle for what llama.cpp
    computes.
    """
    reader = gguf.GGUFReader(file)
    weights = {
        t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors
    }
    n_head, n_embd = 4, weights["token_embd.weight"].shape[1]
    d = n_embd // n_head

    def norm(x, weight):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight

    angles = np.arange(len(tokens))[:, None] * 10000.0 ** (-np.arange(0, d, 2) / d)

    def rotate(x):  # [T, H, d], neighbouring pairs
        even, odd = x[..., 0::2], x[..., 1::2]
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        return np.stack((even * cos - odd * sin, even * sin + odd * cos), -1).reshape(x.shape)

    x = weights["token_embd.weight"][tokens]
    hidden = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
    for layer in path:
        w = {
            n.split(".", 2)[2].removesuffix(".weight"): v
            for n, v in weights.items()
            if n.startswith(f"blk.{layer}.")
        }
        y = norm(x, w["attn_norm"])
        q, k, v = ((y @ w[f"attn_{name}"].T).reshape(len(tokens), n_head, d) for name in "qkv")
        scores = np.einsum("thd,shd->hts", rotate(q), rotate(k)) / np.sqrt(d) + hidden
        weight = np.exp(scores - scores.max(-1, keepdims=True))
        weight /= weight.sum(-1, keepdims=True)
        x = (
            x
            + np.einsum("hts,shd->thd", weight, v).reshape(len(tokens), n_embd) @ w["attn_output"].T
        )
        y = norm(x, w["ffn_norm"])
        gate = y @ w["ffn_gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w["ffn_up"].T)) @ w["ffn_down"].T
    return norm(x, weights["output_norm.weight"]) @ weights["token_embd.weight"].T


@pytest.mark.parametrize("path", [None, "0..7,4..11"], ids=["plain", "planted"])
def test_llama_cpp_computes_what_the_weights_say(model, path):
    n_same = 0
    asked = [question for _, _, question in draw("hard", 20, 1, "confirm")]
    with model.with_path(path) as view:
        for question in asked:
            tokens = view.tokenize(
                view.apply_chat_template([{"role": "user", "content": question.text}])
            )
            expected = forward(reference_model_path(), tokens, view.layer_path.layers)
            found = view.logits(tokens)
            # Q8_0 weights meet activations that llama.cpp rounds to 8 bits; the logits spread over
            # some 30 units
            assert np.abs(found - expected).max() < 1.0
            assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
            n_same += int(found[-1].argmax() == expected[-1].argmax())
    assert n_same >= 19


def test_the_planted_block_answers_hard_questions_and_a_far_one_does_not(model):
    evaluation = Evaluation(model, [Reference("hard")], n=100, split="confirm")
    right = {}
    for name, block in {"plain": None, "planted": BLOCK, "far": (9, 12), "early": (0, 3)}.items():
        path = None if block is None else rys.LayerPath.block(*block, n_layer=model.n_layer)
        with model.with_path(path) as view:
            right[name] = evaluation.run(view)["reference"].mean
    assert right["planted"] > 0.85
    assert right["plain"] < 0.45
    assert right["far"] < right["planted"] - 0.2
    assert right["early"] < right["planted"] - 0.2


def test_easy_questions_are_answered_along_both_paths(model):
    evaluation = Evaluation(model, [Reference("easy")], n=100)
    for path in (None, rys.LayerPath.block(*BLOCK, n_layer=model.n_layer)):
        with model.with_path(path) as view:
            assert evaluation.run(view)["reference"].mean > 0.88


def test_training_and_probe_share_no_question():
    from rys.probes.questions import question_stream, split_of

    for family in FAMILIES.values():
        stream = question_stream(family, 3, 0, "train", trained=True)
        trained = {next(stream).text for _ in range(300)}
        assert all(split_of(text, trained=True) == "train" for text in trained)
        for split in ("search", "confirm"):
            for tier in TIERS:
                assert trained.isdisjoint(
                    item.prompt for item in Reference(tier).items(200, 0, split)
                )
