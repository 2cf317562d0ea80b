"""What a model says of itself, views along other paths, and closing."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import rys
from rys import _core
from rys.errors import (
    LayerPathError,
    ModelClosedError,
)
from support import models

TEXT = "A small text."


def pages_of(path: Path) -> int:
    """Return the bytes of a file that are mapped into this process now."""
    if not Path("/proc/self/smaps").exists():
        pytest.skip("needs /proc/self/smaps")
    mapped, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line[0] in "0123456789abcdef":
            mapped = line.endswith(str(path))
        elif mapped and line.startswith("Size:"):
            total += 1024 * int(line.split()[1])
    return total


# what a model says of itself


def test_properties() -> None:
    path = models.tiny()
    reader: Any = gguf.GGUFReader(path)
    with models.open_tiny("0..3,2..", n_ctx=200) as model:
        assert (model.n_layer, model.n_slot, model.n_ctx) == (6, 8, 200)
        assert model.layer_path == rys.LayerPath("0..3,2..", 6)
        assert model.n_vocab == len(reader.fields["tokenizer.ggml.tokens"].contents())
        assert model.n_embd == 64
        assert model.size == sum(tensor.n_bytes for tensor in reader.tensors)
        assert model.description.startswith("llama")
        assert model.description.endswith("F32")
        assert model.has_tokenizer


def test_metadata_is_what_the_file_says(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "meta.gguf", "llama")
    values: dict[str, tuple[Any, gguf.GGUFValueType]] = {
        "u8": (200, gguf.GGUFValueType.UINT8),
        "i8": (-100, gguf.GGUFValueType.INT8),
        "u16": (60000, gguf.GGUFValueType.UINT16),
        "i16": (-30000, gguf.GGUFValueType.INT16),
        "u32": (2**32 - 1, gguf.GGUFValueType.UINT32),
        "i32": (-(2**31), gguf.GGUFValueType.INT32),
        "u64": (2**64 - 1, gguf.GGUFValueType.UINT64),
        "i64": (-(2**63), gguf.GGUFValueType.INT64),
        "f32": (0.5, gguf.GGUFValueType.FLOAT32),
        "f64": (0.1, gguf.GGUFValueType.FLOAT64),
        "yes": (True, gguf.GGUFValueType.BOOL),
        "text": ("ein Wörtchen\n", gguf.GGUFValueType.STRING),
    }
    for name, (value, kind) in values.items():
        writer.add_key_value(f"test.{name}", value, kind)
    writer.add_array("test.words", ["a", "", "ü"])
    writer.add_array("test.numbers", [1, -2, 3])
    writer.add_array("test.flags", [True, False])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata = _core.read_metadata(str(tmp_path / "meta.gguf"))
    assert {name: metadata[f"test.{name}"] for name in values} == {
        name: value for name, (value, _) in values.items()
    }
    assert metadata["test.words"] == ["a", "", "ü"]
    assert metadata["test.numbers"] == [1, -2, 3]
    assert metadata["test.flags"] == [True, False]
    assert metadata["general.architecture"] == "llama"

    reader: Any = gguf.GGUFReader(models.tiny())
    expected = {
        name: field.contents()
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.")
    }
    with models.open_tiny() as model:
        assert model.metadata == expected


def test_bytes_in_metadata_that_are_not_utf_8_are_replaced(tmp_path: Path) -> None:
    data = models.tiny(n_layer=1, n_embd=32).read_bytes()
    path = models.patched(
        models.tiny(n_layer=1, n_embd=32), tmp_path / "odd.gguf", data.index(b"tiny"), b"t\xff\xfey"
    )
    with rys.Model(path) as model:
        assert model.metadata["general.name"] == "t\ufffd\ufffdy"


def test_the_repr_says_what_matters() -> None:
    model = models.open_tiny("0..3,2..", n_ctx=200)
    name = models.tiny().name
    assert repr(model) == (
        f"<rys.Model {name!r}: {model.description}, layer_path='0..3,2..5', n_layer=6, n_slot=8, "
        "n_ctx=200>"
    )
    model.close()
    assert repr(model) == f"<rys.Model {name!r}, closed>"


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    path = models.tiny()
    with rys.Model(path) as model:
        fingerprint = model.fingerprint
        assert len(bytes.fromhex(fingerprint)) == 16
        assert model.with_path("0,0").fingerprint == fingerprint
    with rys.Model(shutil.copy(path, tmp_path / "copy.gguf")) as model:
        assert model.fingerprint == fingerprint

    data = path.read_bytes()
    reader: Any = gguf.GGUFReader(path)
    spots = [data.index(b"tiny")]  # in the metadata
    for tensor in reader.tensors:
        begin, size = int(tensor.data_offset), int(tensor.n_bytes)
        spots += [begin, begin + min(4095, size - 1), begin + size // 2, begin + size - 1]
    for spot in spots[:: len(spots) // 40]:
        other = models.patched(path, tmp_path / "other.gguf", spot, bytes([data[spot] ^ 1]))
        with rys.Model(other) as model:
            assert model.fingerprint != fingerprint, spot


def test_the_fingerprint_covers_all_parts_of_a_split_model(tmp_path: Path) -> None:
    first, second = (Path(shutil.copy(part, tmp_path)) for part in models.split())
    with rys.Model(first) as model:
        before = model.fingerprint
    models.patched(second, second, second.stat().st_size - 1, b"\x01")
    with rys.Model(first) as model:
        assert model.fingerprint != before


# views


def test_a_layer_path_that_does_not_fit_is_refused_with_the_spot() -> None:
    with pytest.raises(
        LayerPathError, match=r"layer_path\[2\] is 6, but .*\.gguf has layers 0\.\.5"
    ):
        models.open_tiny([0, 1, 6])
    with (
        models.open_tiny() as model,
        pytest.raises(LayerPathError, match=r"layer_path\[0\] is 9, but .*\.gguf has"),
    ):
        model.with_path([9])


@pytest.mark.parametrize(
    "layer_path", [None, "0..3,2..", "0..5x2", [5, 4, 3, 2, 1, 0], [2], [0, 0, 1, 1, 5]]
)
def test_logits_along_a_path_are_those_that_numpy_computes(layer_path: Any) -> None:
    # oracle: models.forward, in float64
    with models.open_tiny(layer_path) as model:
        tokens = model.tokenize("Any path, please.")
        hidden, logits = models.forward(models.tiny(), model.layer_path.layers, tokens)
        np.testing.assert_allclose(model.logits(tokens), logits, atol=3e-5)
        np.testing.assert_allclose(model.hidden_states(tokens), hidden, rtol=1e-4, atol=1e-4)
        assert model.hidden_states(tokens).dtype == model.logits(tokens).dtype == np.float32


def test_hidden_states_and_logits_of_real_weights_fit_together() -> None:
    with rys.Model(models.stories(), "0..3,2..", n_ctx=256, **models.EXACT) as model:
        tokens = model.tokenize("Once upon a time, there was a little girl.")
        hidden = model.hidden_states(tokens)
        tensors: Any = {
            tensor.name: tensor.data for tensor in gguf.GGUFReader(models.stories()).tensors
        }
        np.testing.assert_allclose(hidden[0], tensors["token_embd.weight"][tokens], atol=1e-6)
        head = tensors["output.weight" if "output.weight" in tensors else "token_embd.weight"]
        normed = (
            hidden[-1]
            / np.sqrt((hidden[-1] ** 2).mean(-1, keepdims=True) + 1e-5)
            * tensors["output_norm.weight"]
        )
        np.testing.assert_allclose(model.logits(tokens), normed @ head.T, atol=1e-3)


def test_a_view_has_its_own_path_and_the_same_weights() -> None:
    with models.open_tiny() as base:
        mapped = pages_of(models.tiny())
        views = [base.with_path([i % 6, 5 - i % 6]) for i in range(50)]
        assert mapped > 0
        assert pages_of(models.tiny()) == mapped
        assert [view.n_slot for view in views] == [2] * 50
        assert base.n_slot == 6
        assert views[3].n_layer == 6
        assert views[3].with_path(None).n_slot == 6
        assert views[3].with_path(None).layer_path.is_identity


def test_a_view_takes_the_options_of_its_base() -> None:
    with models.open_tiny(n_ctx=77, chat_template="{{ messages[0].content }}!") as base:
        view = base.with_path("0..2")
        assert view.n_ctx == 77
        assert view.apply_chat_template([{"role": "user", "content": "hey"}]) == "hey!"


def test_a_view_lives_on_when_its_base_is_closed() -> None:
    base = models.open_tiny()
    expected = base.with_path("0..3,2..").logits(TEXT)
    view = base.with_path("0..3,2..")
    other = view.with_path(None)
    base_logits = base.logits(TEXT)
    base.close()
    del base
    gc.collect()
    np.testing.assert_array_equal(view.logits(TEXT), expected)
    view.close()
    np.testing.assert_array_equal(other.logits(TEXT), base_logits)


def test_three_views_take_turns_without_disturbing_each_other() -> None:
    with models.open_tiny() as base:
        views = [base, base.with_path("0..3,2.."), base.with_path([1, 1, 4])]
        expected = [view.logits(TEXT) for view in views]
        assert np.abs(expected[0] - expected[1]).max() > 1e-2
        for _ in range(3):
            for view, logits in zip(views, expected, strict=True):
                np.testing.assert_array_equal(view.logits(TEXT), logits)


# closing


@pytest.mark.parametrize(
    "use",
    [
        lambda m: m.n_layer,
        lambda m: m.n_ctx,
        lambda m: m.n_vocab,
        lambda m: m.n_embd,
        lambda m: m.metadata,
        lambda m: m.size,
        lambda m: m.description,
        lambda m: m.fingerprint,
        lambda m: m.has_tokenizer,
        lambda m: m.with_path(None),
        lambda m: m.run([]),
        lambda m: m.run([rys.Generate("a")]),
        lambda m: m.generate("a"),
        lambda m: m.chat([{"role": "user", "content": "a"}]),
        lambda m: list(m.stream("a")),
        lambda m: m.logits("a"),
        lambda m: m.logits([5]),
        lambda m: m.hidden_states([5]),
        lambda m: m.loglikelihood("a", "b"),
        lambda m: m.perplexity("abc"),
        lambda m: m.apply_chat_template([{"role": "user", "content": "a"}]),
        lambda m: m.tokenize("a"),
        lambda m: m.detokenize([5]),
        lambda m: m.token_strings([5]),
    ],
)
def test_a_closed_model_refuses_every_use(use: Any) -> None:
    model = models.open_tiny()
    use(model)
    model.close()
    with pytest.raises(
        ModelClosedError, match=r"the model tiny.*\.gguf is closed; open it again with rys\.Model"
    ):
        use(model)


def test_close_frees_the_file_and_may_be_called_twice() -> None:
    model = models.open_tiny()
    model.generate("a", max_tokens=2)
    assert pages_of(models.tiny()) > 0
    model.close()
    assert pages_of(models.tiny()) == 0
    model.close()


def test_a_model_that_is_dropped_frees_the_file() -> None:
    model = models.open_tiny()
    model.with_path("0,0").generate("a", max_tokens=2)
    del model
    gc.collect()
    assert pages_of(models.tiny()) == 0


def test_a_model_is_a_context_manager() -> None:
    with models.open_tiny() as model:
        model.generate("a", max_tokens=1)
    with pytest.raises(ModelClosedError):
        model.generate("a")
    with pytest.raises(ZeroDivisionError), models.open_tiny() as model:
        raise ZeroDivisionError
    with pytest.raises(ModelClosedError):
        model.generate("a")


PROGRAM = """
import sys
import rys

model = rys.Model(sys.argv[1], n_ctx=64)
view = model.with_path("0,0")
view.generate("a", max_tokens=2)
pieces = model.stream("a")
next(pieces)
{end}
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "keep = [model, view, pieces]; keep.append(keep)",
        "sys.modules['m'] = view; raise SystemExit(0)",
    ],
)
def test_a_program_may_end_with_models_open(end: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(end=end), models.tiny()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_loading_that_failed_leaves_nothing_behind() -> None:
    with pytest.raises(LayerPathError):
        models.open_tiny("0..99")
    gc.collect()
    assert pages_of(models.tiny()) == 0
