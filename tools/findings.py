"""Sweep real models to a verdict, and see whether what was found carries over to benchmarks.

    python tools/findings.py MODEL.gguf ... --data FOLDER --work FOLDER

For every model this runs the default sweep over all blocks of 1 to 8 layers. Then the model and its
best path write answers to the same items of GSM8K and BIG-Bench-Hard. The page docs/findings.md and
its pictures are made from that. All of it is resumed if it was interrupted: WORK holds a sweep and
a file of benchmark scores for each model.

DATA holds gsm8k/test.jsonl and bbh/*.json with bbh/cot-prompts, as the repositories of the two
benchmarks have them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

import rys
import rys.plot
from rys import statistics
from rys._util.durations import format_duration
from rys._util.json_values import json_value
from rys._util.output_file import whole_file
from rys.errors import ProbeError
from rys.probes import Calibration, Probe, evaluate
from rys.probes.files import load as load_file
from rys.sweep.report import SweepReport
from rys.sweep.rounding import describe_rounding
from rys.sweep.sweep_file import SweepFile

PAGE = Path(__file__).parent.parent / "docs" / "findings.md"
N_GSM8K = 100
N_BBH_TASK = 4  # of each of the 27 tasks
MAX_TOKENS = 256  # of an answer: small models that have not ended by then go in circles

INTRODUCTION = """\
# What sweeps found

`tools/findings.py` makes this page. It runs the default sweep over all blocks of 1 to 8 layers of
small real models to its verdict, and writes down whatever comes out. Then the unchanged model and
the best path of the sweep, confirmed or not, write answers to the same questions of GSM8K and
BIG-Bench-Hard. This shows whether a gain on the probes is one elsewhere. Differences are paired,
with 95% intervals.
"""


@dataclass(frozen=True)
class Scores:
    """Scores of a benchmark along one path.

    Attributes:
        path: The path.
        scores: By task, the items' scores.
        n_cut: Answers that were cut off.
        seconds: Time of the model, in seconds.
    """

    path: str
    scores: dict[str, list[float]]
    n_cut: int
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--data", type=Path, required=True, help="folder of the benchmarks")
    parser.add_argument("--work", type=Path, required=True, help="folder for what was measured")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[*range(1, 9)], metavar="N")
    parser.add_argument("--items", type=int, metavar="N", help="items of each probe in the search")
    parser.add_argument("--budget", help="of each sweep, such as 2h; run again to go on")
    parser.add_argument(
        "--benchmark-items", type=int, default=N_GSM8K, metavar="N", help="of GSM8K; a tenth of BBH"
    )
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    plt.switch_backend("agg")
    sections = []
    for file in options.models:
        print(f"== {file.name}", file=sys.stderr)
        sections.append(measure(file, options))
    text = "\n".join([INTRODUCTION, *sections])
    with whole_file(options.output) as draft:
        draft.write_text(text, encoding="utf-8")
    print(f"wrote {options.output}")


def measure(file: Path, options: argparse.Namespace) -> str:
    """Sweep a model, run the benchmarks, and return its section of the page."""
    with rys.Model(file) as model:
        try:
            report = sweep_model(model, file, options)
        except ProbeError as error:  # no probe measures it, which is a finding too
            return f"## {file.stem}\n\n**{str(error)[:1].upper()}{str(error)[1:]}**\n"
        best = None if report.best is None else report.best.layer_path
        paths = [None] if best is None else [None, best]
        found = [benchmark(model, path, options) for path in paths]
    return section(file, report, found)


def sweep_model(model: rys.Model, file: Path, options: argparse.Namespace) -> SweepReport:
    """Sweep a model to its verdict, or go on with that, and draw what was found."""
    space = rys.space.blocks([size for size in options.sizes if size <= model.n_layer])
    with rys.Sweep(
        model,
        space=space,
        store=options.work / f"{file.stem}.sweep.db",
        items=options.items,
        budget=options.budget,
        progress=True,
        on_finding=tell,
    ) as sweep:
        sweep.run(progress=True)
        sweep.confirm(progress=True)
        draw(sweep, options.output.parent / "images", file.stem)
        return sweep.report()


def tell(what: str, lines: Sequence[str], document: Mapping[str, Any]) -> None:
    for line in lines:
        print(f"{what}: {line}", file=sys.stderr)


def draw(sweep: SweepFile, folder: Path, name: str) -> None:
    """Write the map of blocks, and what the confirmation left of the gains, as far as measured."""
    folder.mkdir(parents=True, exist_ok=True)
    report = sweep.report()
    pictures = {}
    if report.best is not None:
        pictures["map"] = rys.plot.heatmap(sweep)
    if report.top:
        pictures["shrinkage"] = rys.plot.shrinkage(sweep)
    for kind, axes in pictures.items():
        figure: Any = axes.figure
        figure.savefig(folder / f"findings_{name}_{kind}.png", dpi=80)
    plt.close("all")


def benchmark(model: rys.Model, path: str | None, options: argparse.Namespace) -> Scores:
    """Return the scores of the benchmarks along a path, measured once."""
    name = str(rys.LayerPath(path, model.n_layer))
    n = options.benchmark_items
    file = options.work / f"{Path(model.source).stem}.{name.replace(',', '_')}.{n}.json"
    if file.exists():
        return Scores(**json.loads(file.read_text(encoding="utf-8")))
    n_task = max(1, N_BBH_TASK * n // N_GSM8K)
    scores: dict[str, list[float]] = {}
    n_cut, seconds = 0, 0.0
    with model.with_path(path) as view:
        for task, probe in benchmark_probes(options.data).items():
            n_items = n if task == "gsm8k" else n_task
            (result,) = evaluate(view, probe, n=n_items, progress=True).values()
            scores[task] = result.scores.tolist()
            n_cut += int(result.truncated.sum())
            seconds += result.seconds
    found = Scores(name, scores, n_cut, seconds)
    file.write_text(json.dumps(json_value(found.__dict__)), encoding="utf-8")
    return found


def benchmark_probes(data: Path) -> dict[str, Probe]:
    """Return the tasks, whose answers are all written by the model."""
    probes: dict[str, Probe] = {}
    probes["gsm8k"] = load_file(data / "gsm8k" / "test.jsonl", max_tokens=MAX_TOKENS)
    prompts = data / "bbh" / "cot-prompts"
    for file in sorted((data / "bbh").glob("*.json")):
        # With examples of reasoning nothing is chosen by probability.
        probes[f"bbh {file.stem}"] = load_file(file, cot=prompts, max_tokens=MAX_TOKENS)
    return probes


def section(file: Path, report: SweepReport, found: Sequence[Scores]) -> str:
    """Return what the page says of a model."""
    name = file.stem
    parts = [f"## {name}\n", f"**{report.sentence}**\n", *list_findings(report)]
    if report.best is not None:
        parts.append(f"\n![gain of every block](images/findings_{name}_map.png)\n")
    if report.top:
        parts += [confirmation_table(report)]
        parts.append(f"\n![search and confirmation](images/findings_{name}_shrinkage.png)\n")
    parts.append(benchmark_table(found))
    return "\n".join(parts)


def list_findings(report: SweepReport) -> list[str]:
    """Return as a list which probes measured, what rounding does, and what the sweep cost."""
    lines = []
    if report.calibration is not None:
        lines += Calibration.from_json(report.calibration).lines()
    for probe, why in report.left_out.items():
        if not any(line.startswith(f"{probe}:") for line in lines):
            lines.append(f"{probe} was left out: {' and '.join(why)}")
    if report.rounding is not None:
        sentence = describe_rounding(report.rounding)
        lines.append(sentence[0].upper() + sentence[1:])
    scores = [f"{probe} {score:.3f}" for probe, score in report.baseline.items()]
    lines.append(f"baseline: {', '.join(scores)}")
    lines.append(
        f"cost: {report.n_candidates} candidates, {report.n_eliminated} of them eliminated early; "
        f"{format_duration(report.seconds or 0)} and {report.tokens or 0:,} evaluated tokens, "
        f"confirmation included"
    )
    return [f"- {line}" for line in lines]


def confirmation_table(report: SweepReport) -> str:
    """Return the best paths and the random ones on fresh items, as a table."""
    rows = ["| path | | gain in search | gain on fresh items | interval |", "|---|---|---|---|---|"]
    for top in report.top:
        what = "**confirmed**" if top.confirmed else "not confirmed"
        gain = f"{top.search_effect:+.3f} | {top.effect:+.3f}"
        rows.append(f"| `{top.path}` | {what} | {gain} | [{top.low:+.3f}, {top.high:+.3f}] |")
    for control in report.controls:
        interval = f"[{control.low:+.3f}, {control.high:+.3f}]"
        rows.append(f"| `{control.path}` | random | | {control.effect:+.3f} | {interval} |")
    return "\n".join(rows)


def benchmark_table(found: Sequence[Scores]) -> str:
    """Return the scores of the benchmarks, paired, as a table."""
    base = found[0]
    rows = [
        "| benchmark | items | unchanged | best path | difference |",
        "|---|---|---|---|---|",
    ]
    for title, prefix in (("GSM8K", "gsm8k"), ("BIG-Bench-Hard", "bbh")):
        before, tasks = scores_of(base, prefix)
        row = f"| {title} | {len(before)} | {before.mean():.3f}"
        if len(found) < 2:
            rows.append(f"{row} | | |")
            continue
        after, _ = scores_of(found[1], prefix)
        low, high = statistics.paired_interval(after - before, strata=tasks)
        gain = float((after - before).mean())
        rows.append(f"{row} | {after.mean():.3f} | {gain:+.3f} [{low:+.3f}, {high:+.3f}] |")
    cut = ", ".join([f"{scores.n_cut} along `{scores.path}`" for scores in found])
    rows.append(f"\nAnswers had at most {MAX_TOKENS} tokens. Cut off before an answer: {cut}.\n")
    return "\n".join(rows)


def scores_of(found: Scores, prefix: str) -> tuple[Any, Any]:
    """Return the scores of a benchmark, float64 [N], and the task of each, int [N]."""
    scores: list[float] = []
    tasks: list[int] = []
    for number, (task, values) in enumerate(found.scores.items()):
        if task.startswith(prefix):
            scores += values
            tasks += [number] * len(values)
    return np.array(scores), np.array(tasks)


if __name__ == "__main__":
    main()
