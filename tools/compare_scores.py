"""Compare ways to score a probe by how many evaluated tokens they need to see a change.

    python tools/compare_scores.py measure OUT.json [MODEL.gguf] --probes A,B --items 48
    python tools/compare_scores.py table OUT.json...

`measure` asks the items of some probes along the baseline and 20 paths, which repeat a block of 1
to 4 layers at five depths. Every item is asked once; all scores are computed from the same answer.
Without a model it asks the reference model.

`table` prints, for each model and probe, the tokens with which each score sees a path's change with
a power of 80%: (1.96 + 0.84)^2 (s / m)^2 items, with the mean m and the standard deviation s of the
paired differences, times the tokens of an item. Over the paths (m / s)^2 is averaged, corrected for
its noise: (m^2 - s^2 / n) / s^2, and 0 where no item changes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import rys
from rys.probes import Evaluation, ProbeResult

Floats = npt.NDArray[np.float64]

N_DEPTHS = 5
SIZES = (1, 2, 3, 4)
Z_SQUARED = (1.96 + 0.84) ** 2  # two-sided 5%, power 80%
LEAST = 1e-9  # keeps logarithms finite


def block_paths(n_layer: int) -> list[rys.LayerPath]:
    """Return the paths: blocks of each size at depths that are spread evenly."""
    paths = []
    for size in SIZES:
        for k in range(N_DEPTHS):
            start = round((k + 0.5) / N_DEPTHS * (n_layer - size))
            paths.append(rys.LayerPath.block(start, start + size, n_layer=n_layer))
    return paths


def raw_figures(result: ProbeResult) -> dict[str, list[float]]:
    """Return what the scores are computed from, one number for each item."""
    figures: dict[str, list[float]] = {"score": result.scores.tolist()}
    for name in ("accuracy", "probability", "margin", "logprob", "difference"):
        if all(name in details for details in result.details):
            figures[name] = [details[name] for details in result.details]
    labels = [len(getattr(item.scorer, "labels", ())) for item in result.items]
    if all(labels):
        figures["n_label"] = list(map(float, labels))
    units = [getattr(item.scorer, "n_unit", 0) for item in result.items]
    if all(units):
        figures["n_unit"] = list(map(float, units))
    return figures


def measure(options: argparse.Namespace) -> None:
    """Ask all items along all paths, and write what was found after every path."""
    opened = rys.Model(options.model, n_threads=1) if options.model else rys.reference_model()
    with opened as model:
        names = options.probes.split(",")
        evaluation = Evaluation(model, names, n=options.items)
        found: dict[str, Any] = {
            "model": Path(options.model).name if options.model else "reference",
            "probes": dict(zip([probe.id for probe in evaluation.probes], names, strict=True)),
            "paths": [],
        }
        n_layer = len(model.layer_path)
        for path in [None, *block_paths(n_layer)]:
            with model.with_path(path) as view:
                results = evaluation.run(view)
            row: dict[str, Any] = {"path": str(path), "figures": {}, "tokens": {}}
            for probe, result in results.items():
                row["figures"][probe] = raw_figures(result)
                row["tokens"][probe] = result.n_evaluated_tokens / result.n
            found["paths"].append(row)
            Path(options.output).write_text(json.dumps(found), encoding="utf-8")


# Scores of a choice with k labels, of which the right one has the probability p.


def corrected(figures: Mapping[str, Floats]) -> Floats:
    """Return the probability, corrected for chance."""
    chance = 1 / figures["n_label"]
    return (figures["probability"] - chance) / (1 - chance)


def log_choice(figures: Mapping[str, Floats]) -> Floats:
    """Return 1 + log p / log k, at least -1: 0 for chance, 1 for certainty."""
    logs = np.log(np.maximum(figures["probability"], LEAST))
    return np.maximum(-1.0, 1 + logs / np.log(figures["n_label"]))


def squashed(figures: Mapping[str, Floats]) -> Floats:
    """Return tanh(margin / 2): the probability among the target and its best rival, on -1..1."""
    return np.tanh(figures["margin"] / 2)


CHOICE: dict[str, Callable[[Mapping[str, Floats]], Floats]] = {
    "accuracy": lambda figures: figures["accuracy"],
    "probability, corrected": corrected,
    "log-probability": log_choice,
    "margin, squashed": squashed,
}

# Scores of a right answer of n digits with the log-probability l.


def per_digit(figures: Mapping[str, Floats]) -> Floats:
    """Return the probability per digit."""
    return np.minimum(1.0, np.exp(figures["logprob"] / figures["n_unit"]))


def log_digit(figures: Mapping[str, Floats]) -> Floats:
    """Return 1 + (l / n) / log 10, at least -1: 0 for guessed digits, 1 for certainty."""
    return np.maximum(-1.0, 1 + figures["logprob"] / figures["n_unit"] / math.log(10))


LIKELIHOOD: dict[str, Callable[[Mapping[str, Floats]], Floats]] = {
    "accuracy": lambda figures: figures["accuracy"],
    "probability per digit": per_digit,
    "probability of the answer": lambda figures: np.exp(figures["logprob"]),
    "log-probability": log_digit,
}

CONTRAST: dict[str, Callable[[Mapping[str, Floats]], Floats]] = {
    "accuracy": lambda figures: figures["accuracy"],
    "probability, corrected": lambda figures: 2 * figures["probability"] - 1,
    "difference of ratings": lambda figures: figures["difference"],
}


def scores_of(figures: Mapping[str, Sequence[float]]) -> dict[str, Floats]:
    """Return the items' scores by each way to score."""
    arrays = {name: np.array(values) for name, values in figures.items()}
    ways = CHOICE
    if "logprob" in arrays:
        ways = LIKELIHOOD
    elif "difference" in arrays:
        ways = CONTRAST
    return {name: score(arrays) for name, score in ways.items()}


def rows_of(document: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the rows of the table that belong to one model."""
    base, *others = document["paths"]
    for probe, name in document["probes"].items():
        tokens = float(base["tokens"][probe])
        before = scores_of(base["figures"][probe])
        information: dict[str, list[float]] = {way: [] for way in before}
        for row in others:
            for way, after in scores_of(row["figures"][probe]).items():
                difference = after - before[way]
                variance = float(difference.var(ddof=1))
                square = float(difference.mean()) ** 2 - variance / len(difference)
                information[way].append(square / variance if variance else 0.0)
        for way, values in information.items():
            mean = float(np.mean(values))
            needed = Z_SQUARED / mean if mean > 0 else math.inf
            yield [
                document["model"],
                name,
                way,
                f"{before[way].mean():.2f}",
                f"{needed:.1f}",
                f"{needed * tokens:.0f}",
            ]


def table(options: argparse.Namespace) -> None:
    """Print the table in Markdown."""
    print("| model | probe | score | mean of the baseline | items needed | tokens needed |")
    print("|---|---|---|---|---|---|")
    for output in options.output:
        document = json.loads(Path(output).read_text(encoding="utf-8"))
        for row in rows_of(document):
            print(f"| {' | '.join(row)} |")


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("measure", help="ask the items along the paths")
    command.add_argument("output")
    command.add_argument("model", nargs="?")
    command.add_argument("--probes", required=True, metavar="A,B")
    command.add_argument("--items", type=int, default=48)
    command.set_defaults(run=measure)
    command = commands.add_parser("table", help="print the table")
    command.add_argument("output", nargs="+")
    command.set_defaults(run=table)
    options = parser.parse_args()
    with contextlib.suppress(BrokenPipeError):
        options.run(options)


if __name__ == "__main__":
    main()
