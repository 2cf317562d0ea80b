"""What the copy of each architecture says of its layers, and which paths are refused."""

from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType as Kind

from rys.errors import CannotExpressError, LayerPathError, ModelFileError
from rys.export import export

ALIGNMENT = 64


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a small GGUF of an architecture with given keys and per-layer
    tensors.
    """

    def write_gguf(arch: str, n_layer: int, *, n_nextn: int = 0, extra=None, **keys: Any):
        path = tmp_path / "source.gguf"
        writer = gguf.GGUFWriter(path, arch)
        writer.add_custom_alignment(ALIGNMENT)
        writer.add_string("general.name", "toy")
        writer.add_uint32(f"{arch}.embedding_length", 64)
        writer.add_uint32(f"{arch}.block_count", n_layer + n_nextn)
        if n_nextn:
            writer.add_uint32(f"{arch}.nextn_predict_layers", n_nextn)
        for key, value in keys.items():
            name = f"{arch}.{key.replace('__', '.')}"
            if isinstance(value, list):
                writer.add_array(name, value)
            elif isinstance(value, float):
                writer.add_float32(name, value)
            else:
                writer.add_uint32(name, value)
        writer.add_array("tokenizer.ggml.tokens", ["a", "", "ü"])
        rng = np.random.default_rng(0)
        writer.add_tensor("token_embd.weight", rng.standard_normal((3, 64)).astype(np.float16))
        for i in range(n_layer + n_nextn):
            writer.add_tensor(
                f"blk.{i}.attn_norm.weight", rng.standard_normal(64).astype(np.float32)
            )
            stored = rng.integers(
                0, 256, (5 + i, 2 * 34), dtype=np.uint8
            )  # rows of two blocks of Q8_0
            writer.add_tensor(f"blk.{i}.ffn_up.weight", stored, raw_dtype=Type.Q8_0)
        for name, data in (extra or {}).items():
            writer.add_tensor(name, data)
        writer.add_tensor("output_norm.weight", rng.standard_normal(64).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write_gguf


@pytest.fixture
def copied(tmp_path):
    def copy(source, path) -> Any:
        export(source, tmp_path / "copy.gguf", path, force=True)
        return gguf.GGUFReader(tmp_path / "copy.gguf")

    return copy


def value(reader, key):
    field = reader.fields.get(f"{reader.fields['general.architecture'].contents()}.{key}")
    return None if field is None else field.contents()


def raw(reader, name):
    return b"".join(part.tobytes() for part in reader.fields[name].parts)


def stored(reader, name):
    (tensor,) = [t for t in reader.tensors if t.name == name]
    return tensor.tensor_type, tensor.shape.tolist(), tensor.data.tobytes()


def test_block_s_holds_the_bytes_of_block_path_s(write, copied):
    source = write("llama", 4)
    path = [3, 0, 0, 2]
    copy, before = copied(source, path), gguf.GGUFReader(source)
    for slot, layer in enumerate(path):
        for tensor in ("attn_norm.weight", "ffn_up.weight"):
            assert stored(copy, f"blk.{slot}.{tensor}") == stored(before, f"blk.{layer}.{tensor}")
    assert len(copy.tensors) == 2 + 2 * len(path)
    assert value(copy, "block_count") == 4


def test_the_order_of_all_layers_copies_the_file(write, tmp_path):
    source = write("llama", 3, feed_forward_length=[1, 2, 3])
    export(source, tmp_path / "copy.gguf", [0, 1, 2])
    before, after = gguf.GGUFReader(source), gguf.GGUFReader(tmp_path / "copy.gguf")
    added = {"GGUF.kv_count", "general.name", "rys.layer_path", "rys.source_fingerprint"}
    assert set(after.fields) == set(before.fields) | added
    assert all(raw(before, name) == raw(after, name) for name in set(before.fields) - added)
    assert {t.name: stored(before, t.name) for t in before.tensors} == {
        t.name: stored(after, t.name) for t in after.tensors
    }


def test_metadata_keeps_order_types_and_bytes(write, copied):
    source = write("llama", 2, rope__freq_base=10000.0, swiglu_clamp_exp=[0.1, 7.0])
    copy, before = copied(source, [1, 1, 0]), gguf.GGUFReader(source)
    assert list(copy.fields) == [*before.fields, "rys.layer_path", "rys.source_fingerprint"]
    changed = {
        "GGUF.tensor_count",
        "GGUF.kv_count",
        "general.name",
        "llama.block_count",
        "llama.swiglu_clamp_exp",
    }
    for name, field in before.fields.items():
        assert copy.fields[name].types == field.types
        assert (raw(before, name) == raw(copy, name)) == (name not in changed), name
    assert value(copy, "swiglu_clamp_exp") == [np.float32(7), np.float32(7), np.float32(0.1)]
    assert copy.alignment == ALIGNMENT
    assert all(t.data_offset % ALIGNMENT == 0 for t in copy.tensors)
    assert stored(copy, "token_embd.weight") == stored(before, "token_embd.weight")


def test_blocks_of_multi_token_prediction_stay_behind_the_path(write, copied):
    source = write(
        "qwen3next", 3, n_nextn=1, attention__head_count_kv=[0, 0, 2, 4], full_attention_interval=3
    )
    copy, before = copied(source, [0, 1, 2, 1, 2]), gguf.GGUFReader(source)
    assert value(copy, "block_count") == 6
    assert value(copy, "attention.head_count_kv") == [0, 0, 2, 0, 2, 4]
    assert value(copy, "attention.recurrent_layers") == [True, True, False, True, False, False]
    assert stored(copy, "blk.5.ffn_up.weight") == stored(before, "blk.3.ffn_up.weight")
    with pytest.raises(
        LayerPathError, match=r"layer_path\[0\] is 3, but source\.gguf has layers 0\.\.2"
    ):
        copied(source, [3])


def test_a_window_pattern_is_written_out_only_when_the_period_says_something_else(write, copied):
    source = write("gemma2", 4, attention__sliding_window=8, attention__head_count=4)
    assert value(copied(source, [0, 1, 0, 1, 2, 3]), "attention.sliding_window_pattern") is None
    copy = copied(source, [0, 1, 1, 2, 3])
    assert value(copy, "attention.sliding_window_pattern") == [True, False, False, True, False]
    assert copy.fields["gemma2.attention.sliding_window_pattern"].types == [Kind.ARRAY, Kind.BOOL]
    with pytest.raises(CannotExpressError, match="unless a layer with a sliding window is visited"):
        copied(source, [1, 3])


def test_a_file_that_does_not_say_which_layers_have_a_window_is_refused(write, copied):
    source = write("mimo2", 2, attention__sliding_window=8)
    with pytest.raises(ModelFileError, match=r"^source\.gguf: cannot be copied: it does not say "):
        copied(source, [0, 1, 1])


def test_leading_dense_layers_are_counted_anew_or_refused(write, copied):
    source = write("deepseek", 4, leading_dense_block_count=2)
    assert value(copied(source, [0, 1, 1, 2, 3]), "leading_dense_block_count") == 3
    assert value(copied(source, [2, 3]), "leading_dense_block_count") == 0
    with pytest.raises(
        CannotExpressError, match="leading_dense_block_count counts layers at the front"
    ):
        copied(source, [0, 2, 1])
    assert (
        value(
            copied(write("llama", 3, leading_dense_block_count=1), [1, 0]),
            "leading_dense_block_count",
        )
        == 1
    )


@pytest.mark.parametrize(
    ("arch", "n", "keys", "fine", "refused"),
    [
        ("smollm3", 8, {}, [0, 1, 2, 3, 0, 1, 2, 7], [0, 1, 2, 2, 3]),
        ("minicpm3", 3, {}, [2, 2, 0], [0, 1]),
        ("command-r", 63, {}, [0], [0] * 64),
        ("rwkv7", 3, {}, [0, 2, 2], [0, 1, 0]),
        ("baichuan", 3, {}, [0] * 33, [0] * 32),
        ("gemma3", 2, {"attention__head_count": 4, "attention__key_length": 8}, [0] * 61, [0] * 62),
        ("minimax-01", 5, {"full_attention_interval": 3}, [0, 1, 2, 2, 4], [0, 2, 1]),
        ("glm-dsa", 3, {"attention__indexer__types": [1, 0, 0]}, [0, 2, 1, 1], [1, 0]),
        ("hrm_text", 2, {}, [0, 1], [0, 1, 1]),
        ("t5", 2, {}, [0, 1], [1, 0]),
        ("jamba", 2, {"attention__head_count_kv": [0, 2]}, [1, 0, 0], [0, 0]),
        ("qwen3vl", 4, {"n_deepstack_layers": 2}, [0, 1, 3, 2], [0, 0, 1]),
        ("llama", 2, {"attention__head_count": [2, 4]}, [0, 1, 1], [1, 0]),
    ],
)
def test_a_path_is_refused_where_a_layer_would_change_its_meaning(
    write, copied, arch, n, keys, fine, refused
):
    source = write(arch, n, **keys)
    assert value(copied(source, fine), "block_count") == len(fine)
    with pytest.raises(
        CannotExpressError, match=rf"^source\.gguf \({arch}\) cannot be copied along "
    ) as caught:
        copied(source, refused)
    assert f": {caught.value.reason}; " in str(caught.value)


def test_a_period_may_be_replaced_by_another_that_marks_the_same_layers(write, copied):
    source = write("rwkv6", 6, rescale_every_n_layers=3)
    assert value(copied(source, [0, 2, 1, 5]), "rescale_every_n_layers") == 2
    with pytest.raises(CannotExpressError, match="no rescale_every_n_layers marks these layers"):
        copied(source, [2, 0, 2])


def test_a_default_that_depends_on_the_number_of_layers_is_written_out(write, copied):
    source = write("minicpm", 4)
    assert value(copied(source, [0, 1]), "residual_scale") == pytest.approx(0.7)
    source = write("deci", 2, attention__head_count=[2, 4])
    copy = copied(source, [1, 0])
    assert [
        value(copy, f"attention.{key}") for key in ("head_count", "key_length", "value_length")
    ] == [[4, 2], 32, 32]
    assert value(copy, "rope.dimension_count") == 32


def test_tables_with_a_part_for_each_layer_are_gathered(write, copied):
    n, k, path = 6, 4, [1, 0, 1, 2, 3, 4, 5]
    embd = np.arange(3 * n * k, dtype=np.float32).reshape(3, n, k)
    proj = np.arange(n * k * 64, dtype=np.float32).reshape(n, k, 64)
    extra = {
        "per_layer_token_embd.weight": embd.reshape(3, -1),
        "per_layer_model_proj.weight": proj.reshape(-1, 64),
    }
    pattern = [1, 1, 1, 0, 1, 0]  # layers 4 and 5 read the KV of layers 2 and 3
    keys = {"attention__sliding_window_pattern": pattern, "attention__shared_kv_layers": 2}
    source = write("gemma4", n, extra=extra, **keys)
    copy = copied(source, path)
    tensors = {t.name: t.data for t in copy.tensors}
    np.testing.assert_array_equal(
        tensors["per_layer_token_embd.weight"], embd[:, path].reshape(3, -1)
    )
    np.testing.assert_array_equal(
        tensors["per_layer_model_proj.weight"], proj[path].reshape(-1, 64)
    )
    assert value(copy, "attention.sliding_window_pattern") == [pattern[i] for i in path]
    assert value(copy, "attention.shared_kv_layers") == 2
    with pytest.raises(CannotExpressError, match="later layers read the KV of layer 2"):
        copied(source, [0, 1, 2, 3, 3, 4, 5])
    with pytest.raises(CannotExpressError, match="layers that share KV must come last"):
        copied(source, [0, 1, 2, 3, 4, 5, 0])


def test_what_nobody_has_examined_is_refused_and_nothing_is_written(write, tmp_path):
    target = tmp_path / "copy.gguf"
    with pytest.raises(CannotExpressError, match="nobody has examined this architecture"):
        export(write("llama5", 2), target, [0, 1])
    with pytest.raises(
        CannotExpressError, match=r"llama.novelty does not list a value for each layer"
    ):
        export(write("llama", 2, novelty=[1, 2]), target, [0, 1])
    with pytest.raises(LayerPathError, match="layer_path is empty"):
        export(write("llama", 2), target, [])
    assert not target.exists()


@pytest.mark.parametrize(
    ("arch", "n", "keys", "path", "cure"),
    [
        (
            "deepseek",
            4,
            {"leading_dense_block_count": 2},
            [0, 2, 1],
            "let all visits of layers 0..1 come first, or",
        ),
        (
            "jamba",
            2,
            {"attention__head_count_kv": [0, 2]},
            [0, 0],
            "visit at least one layer of each kind",
        ),
        ("llama", 2, {"attention__head_count": [2, 4]}, [1, 0], "begin the path with layer 0"),
        (
            "smollm3",
            8,
            {},
            [0, 1, 2, 2, 3],
            "repeat or skip blocks as long as the pattern of its layers, or run the",
        ),
        (
            "command-r",
            63,
            {},
            [0] * 64,
            "take another number of slots, or run the path in rys itself",
        ),
        ("t5", 2, {}, [1, 0], "only the file's own order can be copied"),
        (
            "llama5",
            2,
            {},
            [0, 0],
            "run the path in rys itself, which needs no copy: rys.Model(file, layer_path=...)",
        ),
    ],
)
def test_a_refusal_says_what_can_be_done(write, copied, arch, n, keys, path, cure):
    with pytest.raises(CannotExpressError) as caught:
        copied(write(arch, n, **keys), path)
    assert str(caught.value).partition(f"{caught.value.reason}; ")[2].startswith(cure)
