"""`rys.model_info` and `rys info`: what a file is made of, without its tensors' data."""

from __future__ import annotations

import json
import logging
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import rys
from rys.cli import info as command
from rys.cli import main
from rys.errors import ModelFileError, ModelFileNotFoundError, RequestError, RysError
from rys.model_info import LayerInfo, ModelInfo, read_model_info
from rys.reference import reference_model_path
from support import models
from support.toys import Upstream
from test_memory import measure

# layers that the generators of the toys make, by kind
KINDS = {
    "llama-dense": {"attention, dense": [0, 1]},
    "gemma3-dense": {"sliding window, dense": [0], "attention, dense": [1]},
    "gpt-oss-moe": {"sliding window, MoE": [0], "attention, MoE": [1]},
    "deepseek2-moe": {"attention, dense": [0], "attention, MoE": [1]},
    "qwen35-dense": {"recurrent, dense": [0], "attention, dense": [1]},
    "qwen3next-moe": {"recurrent, MoE": [0], "attention, MoE": [1]},
    "nemotron_h-dense": {"attention": [0], "recurrent": [1], "dense": [2]},
    "falcon-h1-dense": {"attention + recurrent, dense": [0, 1]},
    "mamba-dense": {"recurrent": [0, 1]},
    "deepseek4-moe": {"sliding window, MoE": [0, 1, 2, 3]},
}


@pytest.fixture(scope="module", params=KINDS)
def toy(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Path]:
    """Return a toy, which does not outlive its tests."""
    with tempfile.TemporaryDirectory(prefix="rys-toys-") as folder:
        upstream.write_toys(request.param.rpartition("-")[0], Path(folder))
        yield Path(folder) / f"{request.param}.gguf"


def kinds(info: ModelInfo) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for layer in info.layers:
        found.setdefault(layer.kind, []).append(layer.index)
    return found


def with_keys(path: Path, to: Path, keys: dict[str, Any]) -> Path:
    """Write a copy of a file without its tokenizer, and with other keys."""
    reader: Any = gguf.GGUFReader(path)
    kept = {
        name: field.contents()
        for name, field in reader.fields.items()
        if name.startswith(("llama.", "general.name"))
    }
    tensors = {tensor.name: np.asarray(tensor.data) for tensor in reader.tensors}
    return models.write_gguf(to, "llama", {"tokenizer.ggml.model": "none", **kept, **keys}, tensors)


def text(capsys: pytest.CaptureFixture[str], *arguments: Any, status: int = 0) -> str:
    assert main(["info", *map(str, arguments)]) == status
    output = capsys.readouterr()
    return output.err if status else output.out


# what the file holds


def test_facts_are_those_that_the_file_was_written_with():
    info = read_model_info(models.tiny())
    assert (info.name, info.architecture, info.n_layer, info.n_layer_mtp) == ("tiny", "llama", 6, 0)
    assert (info.n_embd, info.n_head, info.n_head_kv, info.n_ctx_train) == (64, (4,), (2,), 512)
    assert (info.tokenizer, info.chat_template, info.chat_template_thinks) == ("llama", True, False)
    assert (info.paths, info.paths_reason, info.layer_path) == ("all", "", None)
    assert kinds(info) == {"attention, dense": [0, 1, 2, 3, 4, 5]}
    assert read_model_info(
        models.tiny(chat_template="{% if enable_thinking %}{% endif %}")
    ).chat_template_thinks
    assert not read_model_info(models.positions()).chat_template


@pytest.mark.parametrize("path", [models.tiny, reference_model_path])
def test_sizes_are_those_of_the_tensors(path):
    info, reader = read_model_info(path()), gguf.GGUFReader(path())
    per_layer: Counter[int] = Counter()
    per_type: Counter[str] = Counter()
    for tensor in reader.tensors:
        per_type[tensor.tensor_type.name.lower()] += tensor.n_bytes
        if tensor.name.startswith("blk."):
            per_layer[int(tensor.name.split(".")[1])] += tensor.n_bytes
    assert {layer.index: layer.n_bytes for layer in info.layers} == per_layer
    assert info.tensor_bytes == per_type
    assert info.n_bytes == sum(per_type.values())
    assert info.n_params == sum(int(tensor.n_elements) for tensor in reader.tensors)
    assert info.files == ((path().name, path().stat().st_size),)


def test_facts_and_defaults_are_those_of_the_loaded_model():
    for path in (reference_model_path(), models.recurrent("jamba")):
        info = read_model_info(path)
        with rys.Model(path) as model:
            model._session.context()
            assert (info.n_layer, info.n_embd, info.n_vocab) == (
                model.n_layer,
                model.n_embd,
                model.n_vocab,
            )
            assert (info.n_ctx, info.n_seq_max, info.n_ubatch) == (
                model.n_ctx,
                model._session.params.n_seq_max,
                model._session.params.n_ubatch,
            )
    assert read_model_info(reference_model_path()).file_type == "Q8_0"


def test_all_parts_of_a_split_model_are_counted(tmp_path):
    first, second = models.split()
    info, whole = read_model_info(first), read_model_info(models.tiny())
    assert info.files == tuple((part.name, part.stat().st_size) for part in (first, second))
    assert (info.layers, info.n_bytes, info.n_params) == (
        whole.layers,
        whole.n_bytes,
        whole.n_params,
    )
    with pytest.raises(ModelFileError, match="part 2 of 2 of a split model; give the first part"):
        read_model_info(second)
    alone = tmp_path / first.name
    alone.write_bytes(first.read_bytes())
    with pytest.raises(ModelFileError):
        read_model_info(alone)


def test_layers_are_of_the_kinds_that_the_generator_made(toy):
    assert kinds(read_model_info(toy)) == KINDS[toy.stem]


def test_mtp_layers_are_told_apart(upstream, scratch):
    (toy,) = upstream.write_toys("qwen35", scratch, n_nextn=1)
    info = read_model_info(toy)
    assert (info.n_layer, info.n_layer_mtp) == (len(info.layers) - 1, 1)
    assert info.layers[-1].kind.startswith("MTP, attention")
    assert info.layers[-1].slot_bytes is None


def test_an_exported_file_tells_its_path(tmp_path, capsys):
    keys = {"rys.layer_path": "0..2,1..5", "rys.source_fingerprint": "c0ffee"}
    path = with_keys(models.tiny(), tmp_path / "exported.gguf", keys)
    info = read_model_info(path)
    assert (info.layer_path, info.source_fingerprint) == ("0..2,1..5", "c0ffee")
    assert re.search(r"^exported +along 0\.\.2,1\.\.5 of c0ffee$", text(capsys, path), re.MULTILINE)


# paths


def test_it_says_which_paths_are_possible(upstream, scratch):
    (looped,) = upstream.write_toys("hrm_text", scratch)
    found = {
        path: read_model_info(path)
        for path in (models.recurrent("jamba"), models.encoder(), looped)
    }
    assert [info.paths for info in found.values()] == ["some", "none", "none"]
    for (path, info), reason in zip(
        found.items(),
        ["must begin with a layer like layer 0", "an encoder", "cycles of its own"],
        strict=True,
    ):
        assert reason in info.paths_reason
        with pytest.raises(RysError, match=reason):
            rys.Model(path, "1" if info.paths == "some" else "0,0")
        assert (info.layers[0].slot_bytes is None) == (info.paths == "none")


# what a slot costs


class BufferSizes(logging.Handler):
    """Add up the caches and states that llama.cpp's log tells of, in MiB."""

    n_mib = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        match = re.search(r"buffer size = +([\d.]+) MiB", record.getMessage())
        if match and not re.search("compute|output|model", record.getMessage()):
            self.n_mib += float(match[1])


def test_a_slot_costs_what_llama_cpp_allocates_for_it(toy):
    options: dict[str, Any] = {
        "n_ctx": 8192,
        "n_seq_max": 4,
        "n_ubatch": 128,
        "type_k": "f32",
        "type_v": "f32",
    }
    info = read_model_info(toy, **options)
    sizes, logger = BufferSizes(), logging.getLogger("rys.llama")
    logger.addHandler(sizes)
    logger.setLevel("INFO")
    try:
        with rys.Model(toy, n_threads=1, **options) as model:

            def allocated(layers: list[int]) -> float:
                sizes.n_mib = 0.0
                with model.with_path(layers) as view:
                    view._session.context()
                return sizes.n_mib

            order = list(range(info.n_layer))
            for layer in info.layers:
                difference = allocated([*order, layer.index, layer.index]) - allocated(order)
                assert layer.slot_bytes is not None
                assert difference == pytest.approx(2 * layer.slot_bytes / 2**20, abs=0.02)
    finally:
        logger.setLevel("NOTSET")
        logger.removeHandler(sizes)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs /proc of Linux")
def test_a_slot_costs_what_the_process_grows_by():
    code = """
base = rys.Model(sys.argv[1], n_ctx=60000, n_seq_max=1, n_threads=1)
for name, path in (("warm", "0"), ("short", "0..5"), ("long", "0..5,2,2,2,2,2,2,2,2")):
    with base.with_path(path) as view:
        view.generate([1], max_tokens=1)
        out[name] = resident()
"""
    mib = measure(code, models.tiny())
    (cost,) = {
        layer.slot_bytes
        for layer in read_model_info(models.tiny(), n_ctx=60000, n_seq_max=1).layers
    }
    assert (
        cost == 60160 * 64 * 2
    )  # cells come in 256s; 2 heads of 16 for keys and for values, in 2 bytes
    assert mib["long"] - mib["short"] == pytest.approx(8 * cost / 2**20, rel=0.05)


def test_a_slot_costs_by_the_options_of_the_context():
    wide = models.tiny(n_embd=128)  # heads of 32
    f16, q8_0 = read_model_info(wide), read_model_info(wide, type_k="q8_0", type_v="q8_0")
    cost = 4096 * 2 * 64 * 2
    assert {(layer.slot_bytes, layer.slot_bytes_f16) for layer in f16.layers} == {(cost, cost)}
    assert {(layer.slot_bytes, layer.slot_bytes_f16) for layer in q8_0.layers} == {
        (cost * 34 // 64, cost)
    }
    assert (q8_0.type_k, q8_0.type_v) == ("q8_0", "q8_0")
    trained = read_model_info(wide, n_ctx=0)
    assert (trained.n_ctx, trained.layers[0].slot_bytes) == (512, cost // 8)
    state = [
        read_model_info(models.recurrent("mamba"), n_seq_max=n).layers[0].slot_bytes
        for n in (1, 16)
    ]
    assert state == [4 * (3 * 64 + 16 * 64), 16 * 4 * (3 * 64 + 16 * 64)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_ctx": -1}, r"n_ctx is -1, but must be 0\.\."),
        ({"n_ctx": 2**25}, r"n_ctx is 33554432, but must be 0\.\."),
        ({"n_seq_max": 0}, r"n_seq_max is 0, but must be 1\.\.256"),
        ({"n_ubatch": 0}, r"n_ubatch is 0, but must be 1\.\."),
        ({"type_k": "q9"}, "type_k is 'q9', but must be one of f32, f16"),
        (
            {"type_v": "q8_0"},
            r"KV cache of f16 and q8_0 is not possible: the values of a block \(1, 32\) do not",
        ),
    ],
)
def test_an_option_out_of_range_is_an_error(options, message):
    with pytest.raises(RequestError, match=message):
        read_model_info(models.tiny(), **options)


# any file


def test_a_missing_file_and_one_in_another_format_are_told_apart(tmp_path):
    with pytest.raises(ModelFileNotFoundError, match="no such file"):
        read_model_info(tmp_path / "absent.gguf")
    with pytest.raises(ModelFileError, match="is a directory"):
        read_model_info(tmp_path)
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(ModelFileError, match="is not a GGUF file"):
        read_model_info(other)


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    data, path = models.tiny().read_bytes(), tmp_path / "cut.gguf"
    for length in [*range(0, 400, 7), *range(400, len(data), len(data) // 50), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            read_model_info(path)


@pytest.mark.parametrize("source", [models.tiny, models.recurrent, models.encoder])
def test_a_damaged_header_is_an_error_or_another_model(source, tmp_path):
    rng, path, refused = random.Random(7), tmp_path / "damaged.gguf", 0
    header = 8192 if source is models.tiny else 2048
    for _ in range(150):
        replace = rng.choice(
            [rng.randbytes(1), b"\xff" * 4, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0\0\0\x40"]
        )
        models.patched(source(), path, rng.randrange(4, header), replace)
        try:
            read_model_info(path)
        except RysError:
            refused += 1
    assert refused > 20


def write_huge(path: Path, n_layer: int = 80, n_embd: int = 4096, n_ff: int = 20480) -> None:
    """Write a llama model of some 40 GB of which only the header is on the disk."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(n_layer)
    writer.add_context_length(4096)
    writer.add_embedding_length(n_embd)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(32)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(1000)
    writer.add_tokenizer_model("none")
    shapes = {"token_embd": (1000, n_embd), "output_norm": (n_embd,)}
    for layer in range(n_layer):
        part = {f"attn_{name}": (n_embd, n_embd) for name in ("q", "k", "v", "output")}
        part |= {"ffn_gate": (n_ff, n_embd), "ffn_up": (n_ff, n_embd), "ffn_down": (n_embd, n_ff)}
        part |= {"attn_norm": (n_embd,), "ffn_norm": (n_embd,)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in part.items()}
    n_bytes = 0
    for name, shape in shapes.items():
        kind = np.dtype(np.float16 if len(shape) == 2 else np.float32)
        writer.add_tensor_info(f"{name}.weight", shape, kind, int(np.prod(shape)) * kind.itemsize)
        n_bytes += int(np.prod(shape)) * kind.itemsize
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("r+b") as file:
        file.truncate(file.seek(0, 2) + n_bytes + 64)


@pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="needs /proc of Linux, and files with holes"
)
def test_no_tensor_data_is_read(scratch):
    path = scratch / "huge.gguf"
    write_huge(path)
    assert path.stat().st_size > 40e9

    def figure(file: str, pattern: str) -> int:
        found = re.search(pattern, Path(file).read_text())
        assert found
        return int(found[1])

    def n_read() -> int:
        return figure("/proc/self/io", r"rchar: (\d+)")

    def n_mapped() -> int:
        return figure("/proc/self/status", r"RssFile:\s+(\d+)")

    read_model_info(models.tiny())  # what is loaded with the first model is loaded
    before, mapped = n_read(), n_mapped()
    start, cpu = time.perf_counter(), time.process_time()
    info = read_model_info(path)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    assert info.n_layer == 80
    assert info.n_bytes > 40e9
    assert n_read() - before < 2e6
    assert n_mapped() - mapped < 4096  # KiB
    assert cpu_seconds < 0.5
    assert seconds < 1 or cpu_seconds < 0.1  # other processes may be in the way


# the command


def test_the_command_shows_facts_and_layers(capsys):
    shown = text(capsys, models.tiny())
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in shown.split("\n\n")[0].splitlines())
    assert facts["name"] == "tiny"
    assert facts["layers"] == "6"
    assert facts["embedding"] == "64, 4 heads, 2 of keys and values"
    assert facts["vocabulary"].endswith(" tokens, llama")
    assert facts["quantisation"] == "(guessed) all F32: f32 100.0%"
    assert facts["layer paths"] == "supported"
    assert re.search(r"^ *0\.\.5  attention, dense +6 +144\.5 KiB +512 KiB$", shown, re.MULTILINE)
    assert len(text(capsys, models.tiny(), "--layers").splitlines()) == len(shown.splitlines()) + 5
    assert "f32/q4_0" in text(
        capsys, models.tiny(n_embd=128), "--type-k", "f32", "--type-v", "q4_0"
    )


def test_json_has_the_documented_fields(capsys):
    document = json.loads(text(capsys, models.tiny(), "--json", "--n-ctx", "512"))
    assert list(document) == [
        "files", "name", "architecture", "file_type", "tensor_bytes", "n_bytes", "n_params",
        "n_layer", "n_layer_mtp", "n_embd", "n_head", "n_head_kv", "n_vocab", "n_ctx_train",
        "tokenizer", "chat_template", "chat_template_thinks", "layer_path", "source_fingerprint",
        "paths", "paths_reason", "n_ctx", "n_seq_max", "n_ubatch",
        "cache_bytes", "n_seq_few", "cache_bytes_few", "type_k", "type_v", "layers",
    ]  # fmt: skip
    assert document["files"] == [
        {"name": models.tiny().name, "n_bytes": models.tiny().stat().st_size}
    ]
    assert document["layers"][5] == {
        "index": 5,
        "kind": "attention, dense",
        "n_bytes": 147968,
        "slot_bytes": 512 * 128,
        "slot_bytes_f16": 512 * 128,
    }


def test_text_from_the_file_cannot_steer_the_terminal(tmp_path, capsys):
    name = "\x1b[2J\x1b]0;title\x07evil\x9b31m\r\n" + "long" * 1000
    path = with_keys(
        models.tiny(),
        tmp_path / "\x1b[31mred.gguf",
        {"general.name": name, "rys.layer_path": "\x1b[1m"},
    )
    shown = text(capsys, path)
    assert all(line.isprintable() and len(line) < 250 for line in shown.splitlines())
    assert "evil" in shown
    assert json.loads(text(capsys, path, "--json"))["name"] == name
    broken = models.patched(
        path, tmp_path / "broken.gguf", path.read_bytes().index(b"llama", 20), b"\x1b[2Jx"
    )
    message = text(capsys, broken, status=1)
    assert "broken.gguf" in message
    assert all(line.isprintable() for line in message.splitlines())


def test_many_layers_stay_readable():
    layers = tuple(
        LayerInfo(i, "recurrent" if i % 4 < 3 else "attention", 10, 5, 5) for i in range(80)
    )
    info = read_model_info(models.tiny())
    groups = ModelInfo(**{**vars(info), "layers": layers}).groups()
    assert [(group.kind, len(group.layers), group.ranges[:2]) for group in groups] == [
        ("recurrent", 60, ((0, 2), (4, 6))),
        ("attention", 20, ((3, 3), (7, 7))),
    ]
    table = command._layer_table(info, groups)
    assert "0..2, 4..6, 8..10, ... 76..78  recurrent " in table
    assert max(map(len, table.splitlines())) < 100


def test_an_error_has_no_traceback(tmp_path):
    arguments = [sys.executable, "-m", "rys", "info"]
    failed = subprocess.run(
        [*arguments, str(tmp_path / "absent.gguf")], capture_output=True, text=True, check=False
    )
    assert (failed.returncode, failed.stdout) == (1, "")
    assert re.fullmatch(r"rys info: .*absent\.gguf: no such file\n", failed.stderr)
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == 2
