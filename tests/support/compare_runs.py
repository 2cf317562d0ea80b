"""Write runs as lm-evaluation-harness does."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DATE = "2026-03-01T12-30-00.123456"


def write_run(
    folder: Path,
    tasks: Mapping[str, Mapping[str, Any]],
    *,
    values: Mapping[str, float] | None = None,
    stderr: float | None = None,
    version: str = "named",
    order: Sequence[int] | None = None,
    prompt: str = "Q: ",
    question: str = "What",
    higher: bool = True,
    groups: Mapping[str, Any] | None = None,
    content: Mapping[str, Any] | None = None,
    date: str = DATE,
    name: str = "model",
) -> Path:
    """Write a results file and samples.

    Args:
        folder: Where; made if it is not there.
        tasks: By task, by "metric,filter" or "metric", the scores of the items.
        values: By metric, reported values that the items do not make.
        stderr: The reported standard error of all metrics; None for that of the scores.
        version: How samples are written. "named" names the filter (0.4.5), "by turn" does not
            (0.4.3), "list" is one JSON list without hashes (0.4.2).
        order: The order of the items in the files.
        prompt: What stands before every question.
        question: The first word of every question.
        higher: Whether higher values are better.
        groups: Aggregates over tasks, as the results file has them.
        content: Replaces parts of the results file.
        date: In the names of the files, and in the results file if it differs from DATE.
        name: The model's name.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for task, columns in tasks.items():
        entry: dict[str, Any] = {"alias": task}
        samples = []
        by_filter: dict[str, dict[str, Any]] = {}
        for column, scores in columns.items():
            metric, _, read_by = column.partition(",")
            by_filter.setdefault(read_by or "none", {})[metric] = scores
            value = (values or {}).get(metric)
            entry[f"{metric},{read_by or 'none'}"] = (
                reported(metric, scores) if value is None else value
            )
            given = stderr if stderr is not None else standard_error(scores)
            entry[f"{metric}_stderr,{read_by or 'none'}"] = "N/A" if math.isnan(given) else given
        results[task] = entry
        n = max(len(scores) for scores in columns.values())
        for read_by, metrics in by_filter.items():
            for item in order or range(n):
                scored = {metric: plain(scores[item]) for metric, scores in metrics.items()}
                line = sample(item, scored, read_by=read_by, prompt=prompt, question=question)
                if version != "named":
                    del line["filter"], line["metrics"]
                if version == "list":
                    line["arguments"] = [
                        [line["arguments"]["gen_args_0"]["arg_0"], {"until": ["Q"]}]
                    ]
                    for part in ("doc", "prompt", "target"):
                        del line[f"{part}_hash"]
                samples.append(line)
        if "/" not in task:
            file = folder / (
                f"pretrained__x_{task}.jsonl"
                if version == "list"
                else f"samples_{task}_{date}.jsonl"
            )
            text = (
                json.dumps(samples, indent=2)
                if version == "list"
                else "\n".join(map(json.dumps, samples)) + "\n"
            )
            file.write_text(text)
    document = {
        "results": {**(groups or {}), **results},
        **({"groups": groups} if groups else {}),
        "group_subtasks": {group: list(tasks) for group in groups or {}},
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "n-samples": {
            task: dict.fromkeys(("original", "effective"), max(map(len, columns.values())))
            for task, columns in tasks.items()
        },
        "higher_is_better": {
            task: {column.partition(",")[0]: higher for column in columns}
            for task, columns in tasks.items()
        },
        "configs": {task: {"task": task, "generation_kwargs": {"until": []}} for task in tasks},
        "config": {"model": "hf", "model_args": "pretrained=x", "limit": None, "gen_kwargs": None},
        "date": 1.7e9 + (date > DATE) - (date < DATE),
        "task_hashes": dict.fromkeys(tasks, "e"),
        "model_name": name,
        "chat_template_sha": None,
        "system_instruction_sha": None,
        **(content or {}),
    }
    (folder / ("results.json" if version == "list" else f"results_{date}.json")).write_text(
        json.dumps(document)
    )
    return folder


def sample(
    item: Any,
    scores: Mapping[str, Any],
    read_by: Any = "none",
    prompt: str = "Q: ",
    question: str = "What",
) -> dict[str, Any]:
    """Return one line of a samples file."""
    doc, target = {"question": f"{question} is {item}?", "é": 1}, f"{item}"
    asked = f"{prompt}{doc['question']}"
    return {
        "doc_id": item,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": asked, "arg_1": {"until": ["Q"]}}},
        "resps": [["an answer"]],
        "filtered_resps": ["an answer"],
        "filter": read_by,
        "metrics": list(scores),
        "doc_hash": hashed(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": hashed(asked),
        "target_hash": hashed(target),
        **scores,
    }


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def plain(score: Any) -> Any:
    return score.tolist() if isinstance(score, (np.ndarray, np.generic)) else score


def reported(metric: str, scores: Any) -> float:
    """Return the value that the harness would report."""
    if isinstance(scores, list):
        return sum(map(sum, scores)) / sum(map(len, scores))
    if metric == "word_perplexity":
        return math.exp(-scores[:, 0].sum() / scores[:, 1].sum())
    return float(np.mean(scores))


def standard_error(scores: Any) -> float:
    if not isinstance(scores, np.ndarray) or scores.ndim > 1:
        return math.nan
    return float(scores.std(ddof=1) / math.sqrt(len(scores)))
