"""Read what lm-evaluation-harness writes: `results_*.json`, and `samples_*.jsonl` beside it.

A result's keys are "metric,filter" and "metric_stderr,filter"; before 0.4 they are "metric" and
"metric_stderr".

Samples are found by their names: samples_TASK_DATE.jsonl beside results_DATE.json, before 0.4.3
ARGUMENTS_TASK.jsonl beside results.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rys._util.json_fields import count, mapping, number
from rys.compare.json_file import read_json
from rys.compare.run import Key, Run, Score
from rys.compare.samples import read_samples
from rys.compare.text import summarise, terminal_text
from rys.errors import CompareError

__all__ = ["is_harness_result", "load_directory", "load_file"]

# The date of "results_2026-03-01T12-30-00.123456.json".
_DATE = re.compile(r"_(\d{4}-\d\d-\d\dT[\d.-]+)\.json$")
# The address in "<function process_docs at 0x7f3a5c>", which differs from run to run.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# Parts of a task's configuration that say nothing about how it was asked and scored, or that are
# looked at elsewhere.
_NOT_ASKED = {
    "alias",
    "doc_to_decontamination_query",
    "group",
    "metadata",
    "num_fewshot",
    "should_decontaminate",
    "tag",
    "task",
    "task_alias",
    "unsafe_code",
}
_NOT_METRICS = ("sample_len", "samples", "sample_count")  # numbers of items, beside the metrics
# What must be the same in two runs: its name in messages, and its key in the file. First what the
# file has for each task, then what it has for all.
_BY_TASK = {"task version": "versions", "n-shot": "n-shot", "task hash": "task_hashes"}
_FOR_ALL = {
    "chat template": "chat_template_sha",
    "system instruction": "system_instruction_sha",
    "few-shot examples as turns": "fewshot_as_multiturn",
}


@dataclass(frozen=True)
class _Result:
    """One results file."""

    path: Path
    content: Mapping[str, Any]

    @property
    def model(self) -> str:
        """The model with its arguments: two layer paths of one file are two models."""
        config = mapping(self.content.get("config"))
        return terminal_text(
            json.dumps(
                [self.content.get("model_name"), config.get("model"), config.get("model_args")]
            )
        )

    @property
    def date(self) -> tuple[float, str]:
        """What files are sorted by: seconds since 1970, 0 if unknown, and the name."""
        date = number(self.content.get("date"))
        is_number = date == date
        return (date if is_number else 0.0), self.path.name

    @cached_property
    def beside(self) -> set[str]:
        """The names of the files in the same folder."""
        try:
            return {file.name for file in self.path.absolute().parent.iterdir()}
        except OSError:  # the folder may be entered, but not listed
            return set()


def is_harness_result(content: Any) -> bool:
    """Return whether a JSON document is a results file of the harness."""
    results = mapping(mapping(content).get("results"))
    return bool(results) and all(isinstance(entry, dict) for entry in results.values())


def load_file(path: Path, content: Mapping[str, Any], name: str) -> Run:
    """Return the run of one results file.

    Args:
        path: The file.
        content: What it holds.
        name: Name of the run.

    Raises:
        CompareError: The file has no scores.
    """
    return _merge([_Result(path, content)], name)


def load_directory(path: Path, name: str) -> Run:
    """Return the run of a folder: the newest result of every task.

    Args:
        path: The folder. Folders below it are searched too.
        name: Name of the run.

    Raises:
        CompareError: The folder has results of several models, or none.
    """
    found: list[_Result] = []
    notes: list[str] = []
    for file in sorted(path.rglob("results*.json")):
        if not file.is_file():
            continue
        content = read_json(file)
        # Other programs call their files results.json too.
        if is_harness_result(content):
            found.append(_Result(file, content))
        else:
            notes.append(f"{file} is not a result of lm-evaluation-harness and was skipped")
    if not found:
        what = "has no results of lm-evaluation-harness (results*.json, in it or in folders below)"
        raise CompareError("; ".join([f"{path} {what}", *notes]))
    if len({result.model for result in found}) > 1:
        lines = [f"{path} has results of several models; give one file or folder of these:"]
        lines += [f"  {result.path}: {result.model}" for result in found]
        raise CompareError("\n".join(lines))
    found.sort(key=lambda result: result.date, reverse=True)
    run = _merge(found, name)
    run.notes.extend(notes)
    return run


def _merge(results: list[_Result], name: str) -> Run:
    """Return a run with every task, from the first result that has it."""
    run = Run(name, {})
    taken: dict[str, Path] = {}
    for result in results:
        tasks = mapping(result.content["results"])
        newer = [task for task in tasks if task in taken]
        if newer:
            instead = f"{taken[newer[0]].name}, which was taken for {summarise(newer)}"
            run.notes.append(f"{result.path} is older than {instead}")
        for task in tasks:
            if task not in taken:
                taken[task] = result.path
                _add_task(run, result, task)
    if not run.scores:
        raise CompareError(f"{results[0].path} has no scores")
    return run


def _add_task(run: Run, result: _Result, task: str) -> None:
    """Add the scores, settings and samples of a task to a run."""
    content, entry = result.content, mapping(mapping(result.content["results"])[task])
    is_group = task in mapping(content.get("groups")) or bool(
        mapping(content.get("group_subtasks")).get(task)
    )
    n = _n_items(content, task, entry)
    name = terminal_text(task)
    wanted: dict[str, list[str]] = {}  # metrics by filter
    for metric, read_by, value in _scores(entry):
        stderr = entry.get(f"{metric}_stderr,{read_by}" if read_by else f"{metric}_stderr")
        read_by = read_by or "none"  # as the harness calls it since 0.4
        run.scores[Key(name, terminal_text(metric), terminal_text(read_by))] = Score(
            value=number(value),
            stderr=number(stderr),
            n=n,
            lower_is_better=_lower_is_better(content, task, metric),
            is_group=is_group,
        )
        wanted.setdefault(read_by, []).append(metric)
    run.settings[name] = _settings(content, task, n)
    # A group has no items of its own. Samples are large, so they are read when they are needed.
    samples = _samples_file(result, task)
    if samples and not is_group:
        run.samples[name] = partial(read_samples, samples, wanted, n)


def _scores(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield metric, filter and value of every score in a task's results."""
    for name, value in entry.items():
        metric, _, read_by = name.partition(",")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_metric = not metric.endswith("_stderr") and metric not in _NOT_METRICS
        if is_number and is_metric:
            yield metric, read_by, value


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
    if "perplexity" in metric or metric == "bits_per_byte":
        return True
    return None


def _settings(content: Mapping[str, Any], task: str, n: int | None) -> dict[str, str]:
    """Return what must be the same in two runs of a task, as far as the file tells."""
    config = mapping(content.get("config"))
    found: dict[str, Any] = {}
    for name, key in _BY_TASK.items():
        by_task = mapping(content.get(key))
        if task in by_task:
            found[name] = by_task[task]
    # Without the number of items, the limit that was asked for is the best there is.
    if n:
        found["items"] = n
    elif "limit" in config:
        found["limit"] = config["limit"]
    if "gen_kwargs" in config:
        found["generation settings"] = config["gen_kwargs"]
    for name, key in _FOR_ALL.items():
        if key in content:
            found[name] = content[key]
    # The seed chooses the examples in the prompt, if there are any.
    if found.get("n-shot") and "fewshot_seed" in config:
        found["few-shot seed"] = config["fewshot_seed"]
    for key, value in mapping(mapping(content.get("configs")).get(task)).items():
        if key not in _NOT_ASKED:
            found[f"configuration {key}"] = value
    return {terminal_text(name): _format_setting(value) for name, value in found.items()}


def _format_setting(value: Any) -> str:
    """Return a setting as text, the same for all versions of the harness."""
    # Versions differ in how they write that there is none.
    if value is None or value is False or value in ("", {}, []):
        return "none"
    # 1.0 and 1 are the same version.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return terminal_text(_ADDRESS.sub("", json.dumps(value, sort_keys=True, ensure_ascii=False)))


def _samples_file(result: _Result, task: str) -> Path | None:
    """Return the samples of a task; None if they are not beside the results."""
    dated = _DATE.search(result.path.name)
    if dated:
        name = f"samples_{task}_{dated[1]}.jsonl"
    else:
        arguments = str(mapping(result.content.get("config")).get("model_args"))
        # "pretrained=a/b" becomes "pretrained__a__b".
        name = re.sub("[/=]", "__", arguments) + f"_{task}.jsonl"
    return result.path.with_name(name) if name in result.beside else None
