"""Toy models of every architecture, and what upstream's unpatched llama.cpp computes with them.

Upstream's generator (tests/test-llama-archs.cpp) writes a small GGUF with random weights for each architecture that it
knows. `Upstream` is that generator, the same one patched to write deeper models (upstream/deeper_toys.patch), and a
program that evaluates a model and prints what it saw (upstream/evaluate.cpp). They are built once for each pinned
version, from the unpatched sources, and kept in the cache folder that the build of rys uses. The toys themselves are
written when they are needed: all of them are 4 GB, and one takes a tenth of a second.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import obtain_llama_cpp as obtain
from apply_patches import apply_patch

FOLDER = Path(__file__).parent / "upstream"
GENERATOR = "tests/test-llama-archs.cpp"
SOURCES = ("src/llama-arch.cpp", "src/llama-hparams.h")  # read by tests
PROGRAMS = ("toys", "deeper_toys", "evaluate")
SEED = 1


class NotHereError(Exception):
    """The toys cannot be had on this machine. The message says what to do."""


@dataclass(frozen=True)
class Upstream:
    """Programs built from upstream's unpatched sources, in one folder."""

    folder: Path

    def source(self, path: str) -> str:
        """Return the text of one of SOURCES."""
        return (self.folder / Path(path).name).read_text(encoding="utf-8")

    def architectures(self) -> list[str]:
        """Return the names of all architectures that upstream knows."""
        return re.findall(r'\{ LLM_ARCH_\w+, +"([^"()]+)" +\}', self.source("src/llama-arch.cpp"))

    def write_toys(self, architecture: str, folder: Path, *, deeper: bool = False, n_nextn: int = 0) -> list[Path]:
        """Write the toys of an architecture into a folder: one, or a dense one and one with experts, or none.

        deeper: write a deeper one, if deeper_toys.patch makes that possible; n_nextn: with so many MTP layers.
        """
        folder.mkdir(parents=True, exist_ok=True)
        program = self.folder / ("deeper_toys" if deeper or n_nextn else "toys")
        command = [str(program), "-a", architecture, "-s", str(SEED), "-o", str(folder)]
        run(command, environment={"RYS_N_NEXTN": str(n_nextn)})
        return sorted(path for path in folder.glob("*.gguf") if path.stem.rpartition("-")[0] == architecture)

    def evaluate(self, model: Path, tokens: Sequence[int]) -> Evaluation:
        """Run upstream's llama.cpp on a model file."""
        output = run([str(self.folder / "evaluate"), str(model), *map(str, tokens)])
        arrays, at = {}, 0
        while at < len(output):
            end = output.index(b"\n", at)
            name, n_values = output[at:end].decode().split()
            arrays[name] = np.frombuffer(output, np.float32, int(n_values), end + 1)
            at = end + 1 + arrays[name].nbytes
        return Evaluation(arrays.pop("logits").reshape(len(tokens), -1), arrays)


@dataclass(frozen=True)
class Evaluation:
    """What upstream's llama.cpp computed: the logits [T, V], and the tensors that builders name as layers' outputs."""

    logits: npt.NDArray[np.float32]
    named: dict[str, npt.NDArray[np.float32]]

    def layer_output(self, layer: int) -> npt.NDArray[np.float32] | None:
        """Return a layer's output as it lies in memory, or None if the builder gives it no name."""
        # nemotron_h says "l_out" to what its layers add to the stream; step35 renames what its next layer reads
        names = [f"{name}-{layer}" for name in ("nemotron_h_block_out", "l_out", "l_last", "ffn_residual")]
        found = (self.named.get(name) for name in [*names, f"attn_norm_in-{layer + 1}"])
        return next((values for values in found if values is not None), None)


def run(command: Sequence[str], *, environment: dict[str, str] | None = None) -> bytes:
    result = subprocess.run(command, capture_output=True, env={**os.environ, **(environment or {})}, check=False)
    if result.returncode != 0:
        said = (result.stdout[-3000:] + result.stderr[-3000:]).decode(errors="replace")
        raise RuntimeError(f"{' '.join(command[:4])} ... exited with code {result.returncode}:\n{said}")
    return result.stdout


def upstream() -> Upstream:
    """Return the programs, built if the cache folder does not hold them (minutes, once).

    Raises NotHereError: no sources and no network, or no cmake.
    """
    cache = obtain.cache_dir()
    folder = cache / f"upstream-{key()}"
    if not folder.is_dir():
        cmake = tool("cmake")
        if cmake is None:
            raise NotHereError("building upstream's generator takes cmake: pip install 'rys[test]'")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".upstream-", dir=cache) as scratch:
            built = build(cmake, Path(scratch))
            try:
                os.replace(built, folder)
            except OSError:  # another process was first
                if not folder.is_dir():
                    raise
    return Upstream(folder)


def key() -> str:
    """Return a hash of all that the programs are made from: the pin, or the given sources, and our own files."""
    digest = hashlib.sha256(repr(obtain.load_pin()).encode())
    given = os.environ.get("RYS_LLAMA_CPP_SOURCE", "")
    digest.update(given.encode())
    if given:
        root = Path(given).expanduser()
        files = [root] if root.is_file() else [path for path in root.rglob("*.[ch]*") if path.is_file()]
        digest.update(str(max((path.stat().st_mtime_ns for path in files), default=0)).encode())
    for path in sorted(FOLDER.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build(cmake: str, scratch: Path) -> Path:
    """Build the programs below `scratch`; return the folder that holds them and SOURCES."""
    source, binary, result = scratch / "llama.cpp", scratch / "build", scratch / "programs"
    try:
        obtain.unpack_all(source)
    except obtain.ObtainError as error:
        raise NotHereError(str(error)) from error
    files = {GENERATOR: (source / GENERATOR).read_bytes()}
    failures = apply_patch(files, (FOLDER / "deeper_toys.patch").read_bytes(), "deeper_toys.patch")
    if failures:
        raise RuntimeError("\n".join(map(str, failures)))
    deeper = scratch / "deeper_toys.cpp"
    deeper.write_bytes(files[GENERATOR])

    configure = [cmake, "-S", str(FOLDER), "-B", str(binary), f"-DLLAMA_CPP_DIR={source}"]
    configure += [f"-DDEEPER_TOYS_SOURCE={deeper}"]
    if ninja := tool("ninja"):
        configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    # ccache then knows the files again although each build has a folder of its own
    ccache = {"CCACHE_BASEDIR": str(scratch), "CCACHE_NOHASHDIR": "1"}
    run(configure, environment=ccache)
    run([cmake, "--build", str(binary), "--parallel", str(os.cpu_count() or 1)], environment=ccache)

    result.mkdir()
    for name in PROGRAMS:
        shutil.copy2(next(path for path in binary.glob(f"{name}*") if path.stem == name and path.is_file()), result)
    for name in SOURCES:
        shutil.copy2(source / name, result)
    return result


def tool(name: str) -> str | None:
    """Return the path of cmake or ninja: on PATH, or the script of the Python package of that name."""
    return shutil.which(name) or shutil.which(name, path=sysconfig.get_path("scripts"))
