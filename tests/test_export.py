"""Exporting a model along a path: what is written, where, and what happens after an error."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest

import rys
from rys.errors import (
    CannotExpressError,
    LayerPathError,
    ModelFileError,
    ModelFileNotFoundError,
    OutputFileError,
)
from rys.export import export
from rys.export.gguf_file import Tensor
from rys.export.layout import Piece
from rys.reference import reference_model_path
from support import models
from support.child_processes import heeding
from test_export_memory import write_sparse_model

PATH = "0..3,2..5"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return where to write, in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "copy.gguf"


def text_of(file: Path, key: str) -> Any:
    field = gguf.GGUFReader(file).fields.get(key)
    return None if field is None else field.contents()


def left_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# what is written


@pytest.mark.parametrize(
    ("source", "path"), [(models.tiny, PATH), (reference_model_path, "0..7,4..11")]
)
def test_the_copy_is_a_plain_model_that_computes_what_the_path_computes(
    source: Any, path: str, target: Path
) -> None:
    done = rys.export.export(source(), target, path)
    with (
        rys.Model(source(), path, n_ctx=256, **models.EXACT) as view,
        rys.Model(target, **{"n_ctx": 256, **models.EXACT}) as copy,
    ):
        tokens = [int(token) for token in np.random.default_rng(0).integers(5, view.n_vocab, 60)]
        np.testing.assert_array_equal(copy.logits(tokens), view.logits(tokens))
        assert (
            copy.generate("A small", max_tokens=9).tokens
            == view.generate("A small", max_tokens=9).tokens
        )
        assert copy.n_layer == len(copy.layer_path) == len(view.layer_path) == done.n_slot
        assert (done.n_layer, done.fingerprint, done.layer_path) == (
            view.n_layer,
            view.fingerprint,
            path,
        )
        assert copy.fingerprint != view.fingerprint
    assert (done.source, done.destination, done.bytes) == (
        str(source()),
        str(target),
        target.stat().st_size,
    )


def test_the_copy_says_what_it_is(target: Path) -> None:
    done = export(models.tiny(), target, PATH)
    assert (
        text_of(target, "general.name")
        == f"{text_of(models.tiny(), 'general.name')} (layers {PATH})"
    )
    assert text_of(target, "rys.layer_path") == PATH
    assert text_of(target, "rys.source_fingerprint") == done.fingerprint


def test_a_model_without_a_name_is_called_as_its_file(tmp_path: Path, target: Path) -> None:
    models.write_gguf(
        tmp_path / "nameless.gguf", "llama", {".block_count": 1}, {"blk.0.x.weight": np.ones(32)}
    )
    export(tmp_path / "nameless.gguf", target, "0x2")
    assert text_of(target, "general.name") == "nameless (layers 0x2)"


def test_a_copy_can_be_exported_again(target: Path) -> None:
    first = target.with_name("first.gguf")
    export(models.tiny(), first, [5, 4, 3, 2, 1, 0])
    export(first, target, "0x2,5")
    assert text_of(target, "rys.layer_path") == "0x2,5"
    assert text_of(target, "general.name").endswith(" (layers 5,4,3,2,1,0) (layers 0x2,5)")
    with rys.Model(target, n_ctx=64, **models.EXACT) as copy, models.open_tiny([5, 5, 0]) as view:
        np.testing.assert_array_equal(copy.logits([7, 8, 9]), view.logits([7, 8, 9]))


def test_the_files_own_order_is_a_copy_with_the_same_weights(target: Path) -> None:
    export(models.tiny(), target, None)
    before, after = gguf.GGUFReader(models.tiny()), gguf.GGUFReader(target)
    assert {t.name: t.data.tobytes() for t in before.tensors} == {
        t.name: t.data.tobytes() for t in after.tensors
    }
    assert text_of(target, "rys.layer_path") == "0..5"


def test_others_may_read_the_copy_as_any_new_file(target: Path) -> None:
    export(models.tiny(), target, None)
    (target.parent / "new").touch()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(
        (target.parent / "new").stat().st_mode
    )


def test_a_large_alignment_is_kept_and_leaves_holes(tmp_path: Path, target: Path) -> None:
    keys = {".block_count": 2, "general.alignment": 32}
    file = models.write_gguf(
        tmp_path / "a.gguf", "llama", keys, {f"blk.{i}.x.weight": np.full(8, i) for i in range(2)}
    )
    data = file.read_bytes()
    at = data.index(b"general.alignment") + len(b"general.alignment") + 4
    # with 64 MiB instead of 32 the first tensor begins there, and the second as far behind it
    info = data.index(b"blk.1.x.weight") + len(b"blk.1.x.weight") + 4 + 8 + 4
    patched = bytearray(data)
    patched[at : at + 4] = (2**26).to_bytes(4, "little")
    patched[info : info + 8] = (2**26).to_bytes(8, "little")
    with file.open("wb") as out:
        out.write(patched[: info + 8])
        for number in range(2):
            out.seek((1 + number) * 2**26)
            out.write(np.full(8, number, np.float32).tobytes())
    try:
        export(file, target, [1, 0, 1])
        assert target.stat().st_size == 4 * 2**26
        assert target.stat().st_blocks * 512 < 2**20
        with target.open("rb") as written:
            for slot, layer in enumerate([1, 0, 1]):
                written.seek((1 + slot) * 2**26)
                assert written.read(32) == np.full(8, layer, np.float32).tobytes()
    finally:
        file.unlink()
        target.unlink(missing_ok=True)


@pytest.mark.parametrize("part_bytes", [1, 1000, 2**16, 2**20 + 1])
def test_parts_of_any_size_are_gathered(tmp_path: Path, part_bytes: int) -> None:
    rows, path = np.random.default_rng(0).integers(0, 256, (5, 3, part_bytes), np.uint8), (2, 0, 0)
    (tmp_path / "data").write_bytes(b"before" + rows.tobytes())
    tensor = Tensor((15 * part_bytes,), 24, tmp_path / "data", 6, rows.nbytes)
    piece = Piece(b"", [], tensor, n_rows=5, n_parts=3, parts=path)
    assert b"".join(piece.read()) == rows[:, path].tobytes()
    assert piece.n_bytes == rows.nbytes


# split models


def test_a_split_model_becomes_one_file(target: Path) -> None:
    export(models.split()[0], target, PATH)
    assert not [key for key in gguf.GGUFReader(target).fields if key.startswith("split.")]
    with rys.Model(target, n_ctx=256, **models.EXACT) as copy, models.open_tiny(PATH) as view:
        np.testing.assert_array_equal(copy.logits([7, 8, 9]), view.logits([7, 8, 9]))
        assert copy.metadata["tokenizer.ggml.tokens"] == view.metadata["tokenizer.ggml.tokens"]


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path, target: Path) -> None:
    first, second = (Path(shutil.copy(part, tmp_path)) for part in models.split())

    def refused(source: Path, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            export(source, target, PATH)

    refused(second, ModelFileError, "is part 2 of 2 of a split model; give the first part")
    data = second.read_bytes()
    shutil.copy(first, second)
    refused(first, ModelFileError, r"00002-of-00002\.gguf: is not part 2 of 2, as its name says")
    second.write_bytes(data[:-1000])
    refused(
        first,
        ModelFileError,
        r"00002-of-00002\.gguf: is cut off: it has \d+ bytes, but its data end at byte",
    )
    second.write_bytes(data[:100])
    refused(first, ModelFileError, r"00002-of-00002\.gguf: is not a readable GGUF file")
    name = b"blk.0.attn_norm.weight"  # a tensor of the first part
    assert name in first.read_bytes()
    other = next(
        t.name for t in gguf.GGUFReader(models.split()[1]).tensors if len(t.name) == len(name)
    ).encode()
    second.write_bytes(data.replace(other, name))
    refused(first, ModelFileError, "cannot be copied: a tensor is in several of its parts")
    count = data.index(b"split.tensors.count") + len(b"split.tensors.count") + 4
    second.write_bytes(data)
    models.patched(
        first,
        first,
        first.read_bytes().index(b"split.tensors.count")
        + count
        - data.index(b"split.tensors.count"),
        b"\x01",
    )
    refused(first, ModelFileError, "cannot be copied: its parts lack tensors, or have too many")
    second.unlink()
    refused(
        first,
        ModelFileNotFoundError,
        r"00002-of-00002\.gguf: no such file, but .* is the first of 2 parts",
    )
    renamed = first.rename(tmp_path / "model.gguf")
    refused(
        renamed,
        ModelFileError,
        "the first of 2 parts, which are found by their names.*-00001-of-00002",
    )
    assert left_in(target.parent) == []


def test_the_first_part_may_hold_no_tensors(tmp_path: Path, target: Path) -> None:
    first, second = tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"
    for number, part in enumerate((first, second)):
        writer = gguf.GGUFWriter(part, "llama")
        writer.add_uint32("llama.block_count", 1)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        if number:
            writer.add_tensor("blk.0.x.weight", np.arange(32, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    export(first, target, "0x2")
    assert text_of(target, "general.name") == "m (layers 0x2)"
    assert [t.name for t in gguf.GGUFReader(target).tensors] == ["blk.0.x.weight", "blk.1.x.weight"]


# refusals


def test_a_layer_that_is_not_there_and_a_path_that_no_file_expresses_are_refused(
    tmp_path: Path, target: Path
) -> None:
    with pytest.raises(
        LayerPathError, match=r"layer_path names layer 9, but .*\.gguf has layers 0\.\.5"
    ):
        export(models.tiny(), target, "0..9")
    with pytest.raises(LayerPathError, match="has more than 512 slots"):
        export(models.tiny(), target, "0x513")
    keys = {".block_count": 3, ".leading_dense_block_count": 1}
    tensors = {f"blk.{i}.x.weight": np.ones(32) for i in range(3)}
    source = models.write_gguf(tmp_path / "dense first.gguf", "deepseek2", keys, tensors)
    with pytest.raises(
        CannotExpressError,
        match=r"^dense first\.gguf \(deepseek2\) cannot be copied along '0..1,0,2': "
        r"leading_dense_block_count counts layers at the front, and some come later; "
        r"let all visits of layers 0\.\.0 come first, or run the path in",
    ):
        export(source, target, [0, 1, 0, 2])
    assert left_in(target.parent) == []


def test_an_existing_file_is_overwritten_only_with_force(target: Path) -> None:
    target.write_text("precious")
    with pytest.raises(
        OutputFileError, match=r"copy\.gguf: exists; --force \(in Python force=True\) overwrites it"
    ) as caught:
        export(models.tiny(), target, PATH)
    assert isinstance(caught.value, OSError)
    assert target.read_text() == "precious"
    export(models.tiny(), target, PATH, force=True)
    assert text_of(target, "rys.layer_path") == PATH
    assert left_in(target.parent) == ["copy.gguf"]


@pytest.mark.parametrize("link", [shutil.copy, os.link, os.symlink])
def test_the_source_is_never_overwritten(tmp_path: Path, link: Any) -> None:
    source = Path(shutil.copy(models.tiny(), tmp_path / "source.gguf"))
    content = source.read_bytes()
    link(source, tmp_path / "other.gguf")
    for destination in (source, tmp_path / "." / "source.gguf", tmp_path / "other.gguf"):
        if destination.samefile(source):
            with pytest.raises(OutputFileError, match=r"is the source itself; give another name"):
                export(source, destination, PATH, force=True)
        else:
            export(source, destination, PATH, force=True)
        assert source.read_bytes() == content


def test_no_part_of_a_split_source_is_overwritten() -> None:
    for part in models.split():
        with pytest.raises(OutputFileError, match="is the source itself"):
            export(models.split()[0], part, PATH, force=True)


def test_where_nothing_can_be_written_is_told(tmp_path: Path, target: Path) -> None:
    os.mkfifo(target)
    for destination, message in (
        (tmp_path, "is a directory; give the name of a file in it"),
        (tmp_path / "absent" / "copy.gguf", r"there is no directory .*absent; make it first"),
        (target, "is not a regular file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (models.tiny() / "copy.gguf", "there is no directory"),
    ):
        with pytest.raises(OutputFileError, match=message):
            export(models.tiny(), destination, PATH, force=True)
    assert left_in(tmp_path) == ["out"]


def test_a_full_disk_is_told_before_a_byte_is_written(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(models.tiny(), target, PATH)
    size = target.stat().st_size
    target.unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=size - 1))
    with pytest.raises(
        OutputFileError,
        match=f"the copy needs {size:,} bytes, but .*out has {size - 1:,} bytes free",
    ):
        export(models.tiny(), target, PATH)
    assert left_in(target.parent) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=size))
    export(models.tiny(), target, PATH)


# interruptions


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(28, "No space left on device"), OutputFileError),
        (ModelFileError("got shorter"), ModelFileError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_error_while_writing_leaves_what_was_there(
    target: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, seen: type[BaseException]
) -> None:
    target.write_text("precious")
    during: list[str] = []

    def fail(piece: Piece) -> Any:
        yield bytes(piece.n_bytes)
        during.extend(left_in(target.parent))
        raise error

    monkeypatch.setattr(Piece, "read", fail)
    with pytest.raises(seen):
        export(models.tiny(), target, PATH, force=True)
    assert len(during) == 2  # it was being written
    assert left_in(target.parent) == ["copy.gguf"]
    assert target.read_text() == "precious"


def test_a_source_that_shrinks_while_it_is_copied_is_told(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(shutil.copy(models.tiny(), tmp_path / "source.gguf"))
    read = Piece.read

    def shrink(piece: Piece) -> Any:
        os.truncate(source, 200_000)
        return read(piece)

    monkeypatch.setattr(Piece, "read", shrink)
    with pytest.raises(ModelFileError, match="became shorter while it was copied"):
        export(source, target, PATH)
    assert left_in(target.parent) == []


def test_a_limit_of_the_system_is_an_error_and_leaves_nothing(target: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5)); "
    code = f"{limit}import sys; import rys.cli; sys.exit(rys.cli.main())"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "export",
            models.tiny(),
            target,
            "--layer-path",
            PATH,
        ],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"rys export: {target}: cannot be written: File too large\n"
    assert left_in(target.parent) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "source.gguf"
    write_sparse_model(source, 1000, 1_500_000)  # 2.3 GB of nothing, which take a while to write
    try:
        command = [sys.executable, "-m", "rys", "export", source, target, "--layer-path", ".."]
        with subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            preexec_fn=heeding(signal.SIGINT),
        ) as process:
            deadline = time.monotonic() + 60
            while not left_in(target.parent) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (130, "rys export: interrupted\n")
        assert left_in(target.parent) == []
    finally:
        source.unlink()


# hostile files


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, target: Path) -> None:
    whole = models.tiny(n_layer=1, n_embd=32).read_bytes()
    cut = tmp_path / "cut.gguf"
    lengths = {0, 4, 8, 23, 24, 25, *np.linspace(24, len(whole) - 33, 40).astype(int).tolist()}
    for length in sorted(lengths):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=r"cut\.gguf: is (empty|not a|cut off: it has)"):
            export(cut, target, "0,0")
    assert left_in(target.parent) == []


@pytest.mark.parametrize("architecture", ["gemma2", "deepseek4", "nemotron_h", "gemma4", "llama"])
def test_hostile_files_are_refused_or_copied(
    tmp_path: Path, target: Path, architecture: str
) -> None:
    keys = {
        ".block_count": 3,
        ".embedding_length": 64,
        ".attention.head_count": [4, 4, 2],
        ".leading_dense_block_count": 1,
    }
    keys |= {
        ".attention.sliding_window": 8,
        ".attention.head_count_kv": [2, 0, 2],
        ".nextn_predict_layers": 1,
    }
    keys |= {
        ".feed_forward_length": [0, 8, 8],
        ".attention.sliding_window_pattern": [True, False, True],
    }
    keys |= {".attention.compress_ratios": [0, 4, 4]} if architecture == "deepseek4" else {}
    tensors = {f"blk.{i}.x.weight": np.ones(32) for i in range(3)} | {
        "per_layer_token_embd.weight": np.ones((4, 6))
    }
    source = models.write_gguf(tmp_path / "source.gguf", architecture, keys, tensors)
    end = source.read_bytes().index(b"per_layer_token_embd.weight") + 60
    rng, hostile, refused = np.random.default_rng(0), tmp_path / "hostile.gguf", 0
    for _ in range(150):
        offset, value = int(rng.integers(8, end)), rng.choice([0, 1, 2, 4, 8, 9, 127, 255])
        models.patched(source, hostile, offset, bytes([value]) * int(rng.integers(1, 5)))
        try:
            export(hostile, target, [0, 1, 1], force=True)
        except (ModelFileError, LayerPathError):
            refused += 1
    assert 50 < refused < 150
    assert set(left_in(target.parent)) <= {"copy.gguf"}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {".block_count": 0},
        {".block_count": 2**32 - 1},
        {".block_count": float("inf")},
        {".block_count": "one"},
        {".block_count": [1, 2]},
        {".block_count": 1, ".nextn_predict_layers": 2},
        {".block_count": 1, ".attention.head_count": ["a"]},
        {".block_count": 1, ".attention.head_count": 0, ".embedding_length": "x"},
        {".block_count": 1, ".attention.head_count": [1] * 513},
        {".block_count": 1, "\x1b[31m": 1, ".\x1b[31m": [1]},
    ],
)
def test_metadata_that_make_no_sense_are_refused(
    tmp_path: Path, target: Path, keys: dict[str, Any]
) -> None:
    source = models.write_gguf(
        tmp_path / "odd.gguf", "llama", keys, {"blk.0.x.weight": np.ones(32)}
    )
    with pytest.raises((ModelFileError, LayerPathError), match=r"odd\.gguf") as caught:
        export(source, target, "0,0")
    assert str(caught.value).isprintable()
    assert left_in(target.parent) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names that are not UTF-8")
def test_any_file_name_works(tmp_path: Path, target: Path) -> None:
    for name in ("mödel 模型.gguf", os.fsdecode(b"latin-\xe4.gguf"), "quo'te \" %s {}.gguf"):
        source = shutil.copy(models.tiny(n_layer=1, n_embd=32), tmp_path / name)
        done = export(source, target.with_name(name), "0x2")
        assert done.destination == str(target.with_name(name))
        rys.Model(target.with_name(name), n_ctx=64).close()
