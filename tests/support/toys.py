"""Toy models of every architecture, and what upstream's unpatched llama.cpp computes with them.

Upstream's generator (tests/test-llama-archs.cpp) writes a small GGUF with random weights for each
architecture that it knows. `Upstream` is that generator, the same one patched to write deeper
models (upstream/deeper_toys.patch), and a program that evaluates a model and prints what it saw
(upstream/evaluate.cpp). They are built once for each pinned version, from the unpatched sources,
and kept in the cache folder that the build of rys uses. The toys themselves are written when they
are needed: all of them are 4 GB, and one takes a tenth of a second.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apply_patches import apply_patch
from upstream_programs import NotHereError, build, built, run

__all__ = ["Evaluation", "NotHereError", "Upstream", "upstream"]

FOLDER = Path(__file__).parent.parent / "upstream"
GENERATOR = "tests/test-llama-archs.cpp"
SOURCES = ("src/llama-arch.cpp", "src/llama-hparams.h")  # read by tests
PROGRAMS = ("toys", "deeper_toys", "evaluate")
SEED = 1


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

    def write_toys(
        self, architecture: str, folder: Path, *, deeper: bool = False, n_nextn: int = 0
    ) -> list[Path]:
        """Write the toys of an architecture into a folder: one, or a dense one and one with
        experts, or none.

        deeper: write a deeper one, if deeper_toys.patch makes that possible; n_nextn: with so many
            MTP layers.
        """
        folder.mkdir(parents=True, exist_ok=True)
        program = self.folder / ("deeper_toys" if deeper or n_nextn else "toys")
        command = [str(program), "-a", architecture, "-s", str(SEED), "-o", str(folder)]
        run(command, environment={"RYS_N_NEXTN": str(n_nextn)})
        return sorted(
            path for path in folder.glob("*.gguf") if path.stem.rpartition("-")[0] == architecture
        )

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
    """What upstream's llama.cpp computed: the logits [T, V], and the tensors that builders name as
    layers' outputs.
    """

    logits: npt.NDArray[np.float32]
    named: dict[str, npt.NDArray[np.float32]]

    def layer_output(self, layer: int) -> npt.NDArray[np.float32] | None:
        """Return a layer's output as it lies in memory, or None if the builder gives it no name."""
        # nemotron_h says "l_out" to what its layers add to the stream; step35 renames what its next
        # layer reads
        names = [
            f"{name}-{layer}"
            for name in ("nemotron_h_block_out", "l_out", "l_last", "ffn_residual")
        ]
        found = (self.named.get(name) for name in [*names, f"attn_norm_in-{layer + 1}"])
        return next((values for values in found if values is not None), None)


def upstream() -> Upstream:
    """Return the programs, built if the cache folder does not hold them (minutes, once).

    Raises NotHereError: no sources and no network, or no cmake.
    """
    return Upstream(
        built("upstream", [path.read_bytes() for path in sorted(FOLDER.iterdir())], make)
    )


def make(source: Path, scratch: Path) -> list[Path]:
    """Build the programs below `scratch`; return them and SOURCES."""
    files = {GENERATOR: (source / GENERATOR).read_bytes()}
    failures = apply_patch(files, (FOLDER / "deeper_toys.patch").read_bytes(), "deeper_toys.patch")
    if failures:
        raise RuntimeError("\n".join(map(str, failures)))
    deeper = scratch / "deeper_toys.cpp"
    deeper.write_bytes(files[GENERATOR])
    programs = build(
        FOLDER, scratch, PROGRAMS, {"LLAMA_CPP_DIR": source, "DEEPER_TOYS_SOURCE": deeper}
    )
    return [*programs, *(source / name for name in SOURCES)]
