"""Opening a model: files, options, progress."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import rys
from rys import _core
from rys.errors import (
    EngineError,
    ModelFileError,
    ModelFileNotFoundError,
    RequestError,
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


# files


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.gguf: no such file") as caught:
        rys.Model(tmp_path / "absent.gguf")
    assert isinstance(caught.value, ModelFileNotFoundError)
    assert isinstance(caught.value, ModelFileError)


def test_a_directory_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"is a directory; give the \.gguf file in it"):
        rys.Model(tmp_path)


@pytest.mark.parametrize("content", [b"GG", b"PK\x03\x04 a zip", b"FUGG" + bytes(100)])
def test_a_file_in_another_format_is_refused_and_told_apart(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(
        ModelFileError, match=r"model\.gguf: is not a GGUF file, it begins with b'"
    ) as caught:
        rys.Model(path)
    assert repr(content[:4]) in str(caught.value)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    with pytest.raises(ModelFileError, match=r"model\.gguf: is empty"):
        rys.Model(tmp_path / "model.gguf")


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = models.tiny(n_layer=1, n_embd=32).read_bytes()
    header = whole.index(b"output_norm.weight")
    lengths = {4, 8, 15, 16, 23, 24, 25, 40, len(whole) // 2, len(whole) - 33, len(whole) - 1}
    lengths |= set(np.linspace(24, header, 20).astype(int)) | set(
        np.linspace(header, len(whole) - 1, 20).astype(int)
    )
    path = tmp_path / "cut.gguf"
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        with pytest.raises(
            ModelFileError, match=r"cut\.gguf: (is not a readable GGUF file|llama\.cpp cannot load)"
        ):
            rys.Model(path)
    path.write_bytes(whole)
    rys.Model(path).close()  # the whole file is fine, so the lengths were what was wrong


def test_the_error_of_a_truncated_file_has_the_line_that_llama_cpp_logged(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(models.tiny().read_bytes()[:-100_000])
    with pytest.raises(
        ModelFileError, match="data is not within the file bounds, model is corrupted or incomplete"
    ):
        rys.Model(path)


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    path = models.write_gguf(
        tmp_path / "new.gguf", "tomorrow", {}, {"token_embd.weight": np.ones((4, 32))}
    )
    with pytest.raises(ModelFileError, match="unknown model architecture: 'tomorrow'"):
        rys.Model(path)


def test_a_vocabulary_without_weights_is_refused() -> None:
    with pytest.raises(
        ModelFileError, match="has no tensors, only a vocabulary; give the file with the weights"
    ):
        rys.Model(models.tiny(vocabulary_only=True))


def test_an_encoder_is_refused_because_it_predicts_no_tokens() -> None:
    with pytest.raises(
        ModelFileError, match="bert is an encoder, which gives embeddings and no text"
    ):
        rys.Model(models.encoder())


def test_a_split_model_loads_from_its_first_part() -> None:
    first, _ = models.split()
    with rys.Model(first, n_ctx=256, **models.EXACT) as model, models.open_tiny() as whole:
        np.testing.assert_array_equal(model.logits(TEXT), whole.logits(TEXT))
        assert model.size == whole.size


def test_a_later_part_of_a_split_model_is_refused_with_its_number() -> None:
    with pytest.raises(
        ModelFileError, match="is part 2 of 2 of a split model; give the first part"
    ):
        rys.Model(models.split()[1])


def test_a_split_model_with_a_missing_part_is_refused(tmp_path: Path) -> None:
    first = shutil.copy(models.split()[0], tmp_path)
    with pytest.raises(ModelFileError, match=r"split-00002-of-00002\.gguf"):
        rys.Model(first)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names that are not UTF-8")
@pytest.mark.parametrize(
    "name", ["mödel 模型.gguf", os.fsdecode(b"latin-\xe4.gguf"), "quo'te \" %s {}.gguf"]
)
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    path = shutil.copy(models.tiny(n_layer=1, n_embd=32), tmp_path / name)
    with rys.Model(path, n_ctx=64) as model:
        assert len(model.fingerprint) == 32
        assert "tokenizer.ggml.tokens" in model.metadata
        assert len(model.generate("a", max_tokens=2).tokens) <= 2


def test_the_path_may_be_relative_and_the_process_may_move_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(models.tiny(), tmp_path / "here.gguf")
    monkeypatch.chdir(tmp_path)
    with rys.Model("here.gguf") as model, models.open_tiny() as same:
        monkeypatch.chdir("/")
        assert model.fingerprint == same.fingerprint
        assert model.metadata == same.metadata


# options


def test_options_have_llama_cpps_names_and_defaults() -> None:
    parameters = inspect.signature(rys.Model).parameters
    assert [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD] == [
        "path",
        "layer_path",
    ]
    # what llama_context_default_params and llama_model_default_params say, read through the binding
    context, weights = _core.ContextParams(), _core.WeightsParams()
    names = [
        "n_batch",
        "n_ubatch",
        "offload_kqv",
        "op_offload",
        "swa_full",
        "rope_freq_base",
        "rope_freq_scale",
    ]
    names += ["yarn_ext_factor", "yarn_orig_ctx"]
    for name in names:
        assert parameters[name].default == getattr(context, name), name
    for name in ("n_gpu_layers", "main_gpu", "use_mmap", "use_mlock", "check_tensors"):
        assert parameters[name].default == getattr(weights, name), name
    assert parameters["n_ctx"].default == 4096
    assert parameters["n_gpu_layers"].default == -1
    assert context.type_k == context.type_v == 1  # GGML_TYPE_F16
    assert parameters["type_k"].default is parameters["type_v"].default is None


def test_options_may_be_llama_cpps_numbers() -> None:
    options = {
        "n_gpu_layers": 0,
        "split_mode": 1,
        "main_gpu": 0,
        "tensor_split": [1.0],
        "use_mmap": False,
        "use_mlock": False,
        "n_ctx": 128,
        "n_batch": 64,
        "n_ubatch": 32,
        "n_threads": 1,
        "n_threads_batch": 1,
        "rope_scaling_type": 0,
        "rope_freq_base": 10000.0,
        "rope_freq_scale": 1.0,
        "yarn_ext_factor": -1.0,
        "yarn_orig_ctx": 0,
        "offload_kqv": True,
        "op_offload": True,
        "swa_full": True,
        "flash_attn": False,
        "type_k": 0,
        "type_v": 0,
    }
    with rys.Model(models.tiny(), **options) as model, models.open_tiny() as plain:
        np.testing.assert_allclose(model.logits(TEXT), plain.logits(TEXT), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_ctx": -1}, r"n_ctx is -1, but must be 0\.\."),
        ({"n_ctx": 2.0}, r"n_ctx is 2\.0, but must be an integer"),
        ({"n_ctx": True}, r"n_ctx is True, but must be an integer"),
        ({"n_ctx": "4096"}, r"n_ctx is '4096', but must be an integer"),
        ({"n_ctx": 2**31}, r"n_ctx is 2147483648, but must be 0\.\."),
        ({"n_batch": 0}, r"n_batch is 0, but must be 1\.\."),
        ({"n_ubatch": 0}, r"n_ubatch is 0, but must be 1\.\."),
        ({"n_seq_max": 0}, r"n_seq_max is 0, but must be 1\.\.256"),
        ({"n_seq_max": 257}, r"n_seq_max is 257, but must be 1\.\.256"),
        ({"n_threads": -1}, r"n_threads is -1, but must be 1\.\.512"),
        ({"n_threads_batch": 513}, r"n_threads_batch is 513, but must be 1\.\.512"),
        ({"n_gpu_layers": -2}, r"n_gpu_layers is -2, but must be -1\.\."),
        ({"flash_attn": "on"}, r"flash_attn is 'on', but must be True, False or None"),
        ({"type_k": "q9"}, r"type_k is 'q9', but must be one of f32, f16, .*q8_0"),
        ({"type_v": 1.0}, r"type_v is 1\.0, but must be one of"),
        (
            {"split_mode": "rows"},
            r"split_mode is 'rows', but must be one of none, layer, row, tensor",
        ),
        (
            {"rope_scaling_type": "ntk"},
            r"rope_scaling_type is 'ntk', but must be one of none, linear, yarn, longrope",
        ),
        ({"main_gpu": -1}, r"main_gpu is -1, but must be 0\.\."),
        (
            {"devices": ["GPU of dreams"]},
            r"there is no device 'GPU of dreams'; rys\.build_info\(\)\['devices'\] lists",
        ),
        (
            {"tensor_split": [1.0] * 1000},
            r"tensor_split has 1000 values, but at most \d+ devices are possible",
        ),
        ({"yarn_orig_ctx": -1}, r"yarn_orig_ctx is -1, but must be 0\.\."),
    ],
)
def test_an_option_out_of_range_is_a_value_error_that_names_it(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        rys.Model(models.tiny(), **options)
    assert isinstance(caught.value, ValueError)


def test_an_unknown_option_is_a_type_error() -> None:
    options: dict[str, Any] = {"n_layers": 3}
    with pytest.raises(TypeError, match="n_layers"):
        rys.Model(models.tiny(), **options)


def test_a_cache_type_that_does_not_fit_the_heads_is_an_error_in_llama_cpps_words() -> None:
    with models.open_tiny(type_k="q8_0", flash_attn=True) as model:
        with pytest.raises(
            EngineError,
            match="K cache type q8_0 with block size 32 does not divide n_embd_head_k=16",
        ):
            model.generate("a")
        assert model.n_vocab > 0  # the model itself is sound


@pytest.mark.parametrize("type_name", ["f32", "f16", "bf16", "q8_0", "q4_0"])
def test_the_kv_cache_may_be_stored_in_fewer_bits(type_name: str) -> None:
    wide = {"n_embd": 128}
    with (
        models.open_tiny(model=wide) as exact,
        models.open_tiny(model=wide, type_k=type_name) as model,
    ):
        difference = np.abs(model.logits(TEXT) - exact.logits(TEXT)).max()
    bits = {
        "f32": (0, 0),
        "f16": (1e-6, 0.01),
        "bf16": (1e-5, 0.1),
        "q8_0": (1e-5, 0.1),
        "q4_0": (1e-4, 1.0),
    }
    low, high = bits[type_name]
    assert low <= difference <= high


def test_n_ctx_0_means_the_length_that_the_model_was_trained_with() -> None:
    with models.open_tiny(n_ctx=0) as model:
        assert model.n_ctx == 512
        assert model.logits([5] * 512).shape == (512, model.n_vocab)


@pytest.mark.parametrize("length", [0, None])
def test_n_ctx_0_on_a_file_without_a_context_length_is_an_error(length: int | None) -> None:
    with pytest.raises(
        (RequestError, ModelFileError), match=r"names none; give a number|llama\.context_length"
    ):
        models.open_tiny(n_ctx=0, model={"n_ctx_train": length})


def test_check_tensors_finds_values_that_are_not_finite() -> None:
    path = models.tiny(poison="Z")
    rys.Model(path).close()
    with pytest.raises(ModelFileError, match=r"invalid data"):
        rys.Model(path, check_tensors=True)


def test_a_lora_adapter_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelFileNotFoundError, match=r"absent\.gguf: no such file \(lora_path\)"):
        rys.Model(models.tiny(), lora_path=tmp_path / "absent.gguf")
    with pytest.raises(
        ModelFileError, match=r"LoRA adapter .*\.gguf: .*expect general\.type to be 'adapter'"
    ):
        rys.Model(models.tiny(), lora_path=models.tiny())


def write_lora(path: Path, factor: float) -> Path:
    """Write an adapter of rank 1 for one matrix of `tiny`; factor: of what it adds."""
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((1, 64)), rng.standard_normal((64, 1)) * factor
    keys = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 1.0}
    tensors = {"blk.2.attn_q.weight.lora_a": a, "blk.2.attn_q.weight.lora_b": b}
    return models.write_gguf(path, "llama", keys, tensors)


def test_a_lora_adapter_touches_every_visit_of_its_layer(tmp_path: Path) -> None:
    # oracle: a model file with the adapter's product added to the matrix
    lora = write_lora(tmp_path / "lora.gguf", 0.5)
    merged = shutil.copy(models.tiny(), tmp_path / "merged.gguf")
    reader: Any = gguf.GGUFReader(merged, "r+")
    (query,) = (tensor for tensor in reader.tensors if tensor.name == "blk.2.attn_q.weight")
    a, b = (tensor.data for tensor in gguf.GGUFReader(lora).tensors)
    query.data[:] += 0.25 * (b @ a)
    reader.data.flush()
    for path in (None, "0..2,2..5", "2,2,2"):
        with (
            models.open_tiny(path, lora_path=lora, lora_scale=0.25) as adapted,
            rys.Model(merged, path, n_ctx=256, **models.EXACT) as oracle,
            models.open_tiny(path) as plain,
        ):
            np.testing.assert_allclose(adapted.logits(TEXT), oracle.logits(TEXT), atol=1e-5)
            assert np.abs(plain.logits(TEXT) - oracle.logits(TEXT)).max() > 1e-2


# progress


def test_progress_is_reported_from_0_to_1() -> None:
    seen: list[float] = []
    rys.Model(models.tiny(), progress=seen.append).close()
    assert seen == sorted(seen)
    assert 0 <= seen[0] < 1
    assert seen[-1] == 1


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("in the callback"), KeyboardInterrupt(), SystemExit(3)]
)
def test_an_exception_in_the_progress_callback_ends_loading_and_arrives(
    error: BaseException,
) -> None:
    def fail(_: float) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        rys.Model(models.tiny(), progress=fail)
    assert caught.value is error
    rys.Model(models.tiny()).close()


def test_a_progress_bar_is_shown_only_if_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    rys.Model(models.tiny(), progress=True).close()
    assert "100%" in capfd.readouterr().err
    rys.Model(models.tiny()).close()
    assert capfd.readouterr() == ("", "")


def test_loading_and_running_write_nothing_to_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with models.open_tiny(
        n_ctx=1024
    ) as model:  # more than it was trained with, of which llama.cpp warns
        model.generate("a", max_tokens=2)
    assert capfd.readouterr() == ("", "")


def test_llama_cpps_log_goes_to_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "rys.llama"), models.open_tiny() as model:
        model.generate("a", max_tokens=1)
    assert {record.name for record in caplog.records} == {"rys.llama"}
    assert any("tiny" in record.message for record in caplog.records)
    caplog.clear()
    with caplog.at_level("ERROR", "rys.llama"):
        models.open_tiny().close()
    assert not caplog.records
