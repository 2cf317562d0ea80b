"""Exporting streams: how much memory it takes does not depend on the size of the model."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 200e6  # bytes
N_LAYER, N_EMBD = 4, 64

# Prints the most memory that the process had at a time, and the most that was not pages of files.
EXPORT = """
import json, sys, threading
from pathlib import Path
import rys

def status(name):
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith(name + ":"))
    return 1024 * int(line.split()[1])

seen, over = [status("RssAnon")], threading.Event()

def watch():
    while not over.wait(0.002):
        seen.append(status("RssAnon"))

watcher = threading.Thread(target=watch)
watcher.start()
rys.export.export(*sys.argv[1:])
over.set()
watcher.join()
print(json.dumps({"peak": status("VmHWM"), "anonymous": max(seen)}))
"""


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def strings(key: str, values: list[str]) -> bytes:
    return string(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(string, values))


def write_sparse_model(path: Path, n_vocab: int, n_ff: int) -> int:
    """Write a llama whose weights are a hole in the file; return its size in bytes."""
    fields = [string("general.architecture") + struct.pack("<I", 8) + string("llama")]
    for key, value in {
        "block_count": N_LAYER,
        "embedding_length": N_EMBD,
        "attention.head_count": 4,
    }.items():
        fields.append(string(f"llama.{key}") + struct.pack("<II", 4, value))
    fields.append(strings("tokenizer.ggml.tokens", [f"token {i:07}" for i in range(n_vocab)]))
    fields.append(strings("tokenizer.ggml.merges", [f"tok {i:07}" for i in range(2 * n_vocab)]))
    fields.append(
        string("tokenizer.ggml.scores")
        + struct.pack(f"<IIQ{n_vocab}f", 9, 6, n_vocab, *range(n_vocab))
    )
    shapes = {"token_embd.weight": n_vocab}
    shapes |= {
        f"blk.{i}.ffn_{part}.weight": n_ff
        for i in range(N_LAYER)
        for part in ("up", "gate", "down")
    }
    infos, size = b"", 0
    for name, rows in shapes.items():
        infos += string(name) + struct.pack("<IQQIQ", 2, N_EMBD, rows, 1, size)  # F16
        size += 2 * N_EMBD * rows
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(shapes), len(fields)) + b"".join(fields) + infos
    size += len(header) + -len(header) % 32
    with path.open("wb") as file:
        file.write(header)
        file.truncate(size)
    return size


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize(
    ("n_vocab", "n_ff", "least_bytes"),
    [(256_000, 1024, 5e7), pytest.param(256_000, 1_000_000, 1.5e9, marks=pytest.mark.slow)],
)
def test_an_export_takes_less_than_200_mb_of_memory(
    tmp_path: Path, n_vocab: int, n_ff: int, least_bytes: float
):
    source, copy = tmp_path / "source.gguf", tmp_path / "copy.gguf"
    try:
        assert write_sparse_model(source, n_vocab, n_ff) > least_bytes
        done = subprocess.run(
            [sys.executable, "-c", EXPORT, source, copy, "0,1,1,2,3"],
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        used = json.loads(done.stdout)
        assert copy.stat().st_size > source.stat().st_size
    finally:
        source.unlink()
        copy.unlink(missing_ok=True)  # pytest keeps its folders
    assert 10e6 < used["anonymous"] <= used["peak"] < LIMIT, used
