"""Check the toys of all architectures, several at a time."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from support.architecture_case import Outcome, check_in_process
from support.toys import Upstream

# Architectures whose deeper toy upstream's generator cannot write, for the reasons that its
# `arch_supported` gives.
NO_DEEPER = {
    "bert",
    "deepseek2-ocr",
    "jina-bert-v2",
    "jina-bert-v3",
    "nomic-bert",
    "nomic-bert-moe",
    "plm",
    "rwkv6qwen2",
}
MTP = [
    "bailingmoe3",
    "cohere2moe",
    "deepseek2",
    "deepseek32",
    "glm-dsa",
    "glm4moe",
    "glm5-next",
    "hy_v3",
    "mimo2",
    "mistral4",
    "qwen35",
    "qwen35moe",
    "qwen3next",
    "step35",
]  # their loaders know MTP layers
ORDER, TURNS = "the file's order", "three views in turns"


@dataclass(frozen=True)
class Sweep:
    """The outcomes of many toys: those of each, by the stem of its file and then by the path."""

    toys: dict[str, dict[str, Outcome]]

    def failures(self) -> list[str]:
        """Return a line for every path that went wrong."""
        return [
            f"{toy}, {path}: {outcome.kind}: {outcome.reason}"
            for toy, outcomes in self.toys.items()
            for path, outcome in outcomes.items()
            if outcome.kind in ("different", "crash")
        ]

    def refused(self) -> dict[tuple[str, str], Outcome]:
        """Return the refused paths, by toy and path."""
        return {
            (toy, path): outcome
            for toy, outcomes in self.toys.items()
            for path, outcome in outcomes.items()
            if outcome.kind == "refused"
        }

    def supported(self) -> list[str]:
        """Return the toys that run along every path that a copy can express, and that have such
        paths.
        """
        return [toy for toy, outcomes in self.toys.items() if is_supported(outcomes)]


def is_supported(outcomes: dict[str, Outcome]) -> bool:
    along = {path: outcome for path, outcome in outcomes.items() if path != TURNS}
    right = [path for path, outcome in along.items() if outcome.kind == "copy"]
    return len(right) > 1 and all(
        path in right for path, outcome in along.items() if outcome.expressible
    )


def sweep(
    upstream: Upstream,
    architectures: Iterable[str],
    *,
    deeper: bool = False,
    n_nextn: int = 0,
    n_processes: int = 0,
    progress: Callable[[str], None] = lambda architecture: None,
) -> Sweep:
    """Check all toys of some architectures. n_processes: at a time, 0 = one for each processor, at
    most 8.
    """

    def check(architecture: str) -> dict[str, dict[str, Outcome]]:
        scratch = Path(tempfile.mkdtemp(prefix="rys-toys-"))
        try:
            written = upstream.write_toys(architecture, scratch, deeper=deeper, n_nextn=n_nextn)
            return {toy.stem: check_in_process(toy, upstream, scratch) for toy in written}
        finally:
            shutil.rmtree(scratch)
            progress(architecture)

    with ThreadPoolExecutor(n_processes or min(os.cpu_count() or 1, 8)) as pool:
        results = list(pool.map(check, architectures))
    return Sweep({toy: outcomes for result in results for toy, outcomes in result.items()})
