"""Read what lm-evaluation-harness writes: `results_*.json`, and `samples_*.jsonl` beside it.

A result's keys are "metric,filter" and "metric_stderr,filter" (before 0.4 "metric" and
"metric_stderr"). Samples are
found by their names: samples_TASK_DATE.jsonl beside results_DATE.json, before 0.4.3
ARGUMENTS_TASK.jsonl beside
results.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rys.compare.run import Key, Run, Score, count, mapping, number, printable, read_json, some
from rys.compare.samples import read_samples
from rys.errors import CompareError

__all__ = ["is_harness_result", "load_directory", "load_file"]

_DATE = re.compile(r"_(\d{4}-\d\d-\d\dT[\d.-]+)\.json$")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of a function that was written out
# of a task's configuration, what says nothing about how it was asked and marked, or is looked at
# elsewhere
_NOT_ASKED = {
    "alias", "group", "metadata", "num_fewshot", "tag", "task", "task_alias", "unsafe_code", "should_decontaminate",
    "doc_to_decontamination_query",
}  # fmt: skip


@dataclass(frozen=True)
class _Result:
    """Hold one results file."""

    path: Path
    content: Mapping[str, Any]

    @property
    def model(self) -> str:
        """The model with its arguments: two layer paths of one file are two models."""
        config = mapping(self.content.get("config"))
        return printable(
            json.dumps(
                [self.content.get("model_name"), config.get("model"), config.get("model_args")]
            )
        )

    @property
    def date(self) -> tuple[float, str]:
        date = number(self.content.get("date"))
        return (date if date == date else 0.0), self.path.name

    @cached_property
    def beside(self) -> set[str]:
        """The names of the files in the same folder."""
        try:
            return {file.name for file in self.path.absolute().parent.iterdir()}
        except OSError:  # it may be entered, but not listed
            return set()


def is_harness_result(content: Any) -> bool:
    """Return whether a JSON document is a results file of the harness."""
    results = mapping(mapping(content).get("results"))
    return bool(results) and all(isinstance(entry, dict) for entry in results.values())


def load_file(path: Path, content: Mapping[str, Any], name: str) -> Run:
    """Return the run of one results file."""
    return _merge([_Result(path, content)], name)


def load_directory(path: Path, name: str) -> Run:
    """Return the run of a folder: of every task the newest result.

    Raises CompareError for several models or none.
    """
    found: list[_Result] = []
    notes: list[str] = []
    for file in sorted(file for file in path.rglob("results*.json") if file.is_file()):
        content = read_json(file)
        if is_harness_result(content):
            found.append(_Result(file, content))
        else:
            notes.append(f"{file} is no result of lm-evaluation-harness and was passed over")
    if not found:
        raise CompareError(
            f"{path} has no results of lm-evaluation-harness (results*.json, in it or in the folders below)"
            + "".join(f"; {note}" for note in notes)
        )
    if len({result.model for result in found}) > 1:
        files = "".join(f"\n  {result.path}: {result.model}" for result in found)
        raise CompareError(
            f"{path} has results of several models; give one file or folder of these:{files}"
        )
    run = _merge(sorted(found, key=lambda result: result.date, reverse=True), name)
    run.notes.extend(notes)
    return run


def _merge(results: list[_Result], name: str) -> Run:
    """Return a run with every task of the first result that has it."""
    run = Run(name, {})
    taken: dict[str, Path] = {}
    for result in results:
        tasks = mapping(result.content["results"])
        newer = [task for task in tasks if task in taken]
        if newer:
            instead = f"{taken[newer[0]].name}, which was taken for {some(map(printable, newer))}"
            run.notes.append(f"{result.path} is older than {instead}")
        for task in tasks:
            if task not in taken:
                taken[task] = result.path
                _add_task(run, result, task)
    if not run.scores:
        raise CompareError(f"{results[0].path} has no scores")
    return run


def _add_task(run: Run, result: _Result, task: str) -> None:
    content, entry = result.content, mapping(mapping(result.content["results"])[task])
    is_group = task in mapping(content.get("groups")) or bool(
        mapping(content.get("group_subtasks")).get(task)
    )
    n = _n_items(content, task, entry)
    wanted: dict[str, list[str]] = {}
    for name, value in entry.items():
        metric, _, read_by = name.partition(",")
        is_score = isinstance(value, (int, float)) and not isinstance(value, bool)
        if (
            not is_score
            or metric.endswith("_stderr")
            or metric in ("sample_len", "samples", "sample_count")
        ):
            continue
        stderr = entry.get(f"{metric}_stderr,{read_by}" if read_by else f"{metric}_stderr")
        read_by = read_by or "none"
        run.scores[Key(printable(task), printable(metric), printable(read_by))] = Score(
            value=number(value),
            stderr=number(stderr),
            n=n,
            lower_is_better=_lower_is_better(content, task, metric),
            is_group=is_group,
        )
        wanted.setdefault(read_by, []).append(metric)
    run.settings[printable(task)] = _settings(content, task, n)
    samples = _samples_file(result, task)
    if samples and not is_group:
        run.samples[printable(task)] = partial(read_samples, samples, wanted, n)


def _n_items(content: Mapping[str, Any], task: str, entry: Mapping[str, Any]) -> int | None:
    counts = mapping(mapping(content.get("n-samples")).get(task))
    return (
        count(counts.get("effective"))
        or count(entry.get("sample_len"))
        or count(entry.get("samples"))
    )


def _lower_is_better(content: Mapping[str, Any], task: str, metric: str) -> bool | None:
    higher = mapping(mapping(content.get("higher_is_better")).get(task)).get(metric)
    configured = mapping(mapping(content.get("configs")).get(task)).get("metric_list")
    for line in configured if isinstance(configured, list) else []:
        if higher is None and mapping(line).get("metric") == metric:
            higher = line.get("higher_is_better")
    if isinstance(higher, bool):
        return not higher
    return True if "perplexity" in metric or metric == "bits_per_byte" else None


def _settings(content: Mapping[str, Any], task: str, n: int | None) -> dict[str, str]:
    """Return what must be the same in two runs of a task, as far as the file tells."""
    config = mapping(content.get("config"))
    found = {
        name: mapping(content[key])[task]
        for name, key in (
            ("task version", "versions"),
            ("n-shot", "n-shot"),
            ("task hash", "task_hashes"),
        )
        if task in mapping(content.get(key))
    }
    found |= {"items": n} if n else {"limit": config["limit"]} if "limit" in config else {}
    found |= {
        name: part[key]
        for name, part, key in (
            ("generation settings", config, "gen_kwargs"),
            ("chat template", content, "chat_template_sha"),
            ("system instruction", content, "system_instruction_sha"),
            ("few-shot examples as turns", content, "fewshot_as_multiturn"),
        )
        if key in part
    }
    if found.get("n-shot") and "fewshot_seed" in config:
        found["few-shot seed"] = config["fewshot_seed"]
    asked = mapping(mapping(content.get("configs")).get(task))
    found |= {
        f"configuration {key}": value for key, value in asked.items() if key not in _NOT_ASKED
    }
    return {printable(name): _written(value) for name, value in found.items()}


def _written(value: Any) -> str:
    # versions of the harness differ in how they write nothing
    if value is None or value is False or value in ("", {}, []):
        return "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return printable(_ADDRESS.sub("", json.dumps(value, sort_keys=True, ensure_ascii=False)))


def _samples_file(result: _Result, task: str) -> Path | None:
    dated = _DATE.search(result.path.name)
    if dated:
        name = f"samples_{task}_{dated[1]}.jsonl"
    else:
        arguments = str(mapping(result.content.get("config")).get("model_args"))
        name = re.sub("[/=]", "__", arguments) + f"_{task}.jsonl"
    return result.path.with_name(name) if name in result.beside else None
