"""Read the items of a task, `samples_*.jsonl` of lm-evaluation-harness, line by line: hashes and
scores are kept.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rys.compare.run import ItemId, Samples, mapping, number, printable
from rys.errors import CompareError

__all__ = ["read_samples"]


def read_samples(path: Path, wanted: Mapping[str, Sequence[str]], n: int | None) -> Samples:
    """Return the items of a samples file.

    wanted: metrics by filter, in the order of the results file. n: items that the results count,
        None if unknown.
    Before 0.4.5 samples do not name their filter: there an item's k-th line belongs to the k-th
    filter.

    Raises CompareError if the file is damaged or has other items than the results.
    """
    filters = list(wanted)
    found = Samples({}, {(metric, read_by): {} for read_by in wanted for metric in wanted[read_by]})
    n_seen: Counter[ItemId] = Counter()
    places: set[tuple[ItemId, str]] = set()
    for place, sample in _objects(path):
        item = sample.get("doc_id")
        if not isinstance(item, (int, str)):
            raise CompareError(
                f"{path}, {place}: no sample of lm-evaluation-harness (it has no doc_id)"
            )
        by_turn = filters[n_seen[item]] if n_seen[item] < len(filters) else "?"
        read_by = str(sample.get("filter", by_turn))
        n_seen[item] += 1
        if read_by not in wanted:
            raise CompareError(
                f"{path}, {place}: item {printable(item)} has filter {printable(read_by)!r}, but the results have "
                f"{', '.join(map(printable, filters))}, each once"
            )
        if (item, read_by) in places:
            raise CompareError(f"{path}, {place}: item {printable(item)} stands there twice")
        places.add((item, read_by))
        identity = _identity(sample)
        if found.identities.setdefault(item, identity) != identity:
            raise CompareError(
                f"{path}, {place}: item {printable(item)} was another question on an earlier line"
            )
        for metric in wanted[read_by]:
            if metric in sample:
                found.scores[metric, read_by][item] = _pair(sample[metric])
    if n is not None and len(found.identities) != n:
        raise CompareError(f"{path} has {len(found.identities)} items, but the results count {n}")
    return found


def _objects(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the samples, each with its place."""
    place = "line 1"
    try:
        with path.open("rb") as file:
            is_list = file.read(1) == b"["  # before 0.4.3: one JSON list, whatever the name says
            file.seek(0)
            for k, part in enumerate(json.load(file) if is_list else file, 1):
                place = f"sample {k}" if is_list else f"line {k}"
                if is_list or part.strip():
                    yield place, mapping(part if is_list else json.loads(part))
    except OSError as error:
        raise CompareError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CompareError(f"{path}, {place}: cut off or damaged: {error}") from None


def _identity(sample: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return hashes of question, prompt and right answer: those of the file, else what the harness
    would write.
    """
    given = [sample.get(name) for name in ("doc_hash", "prompt_hash", "target_hash")]
    if all(isinstance(value, str) for value in given):
        return tuple(given)
    prompt: Any = sample.get("arguments")
    for first in ("gen_args_0", "arg_0"):
        if isinstance(prompt, dict):
            prompt = prompt.get(first)
        elif isinstance(prompt, list) and prompt:
            prompt = prompt[0]
    return (
        _hash(json.dumps(sample["doc"], indent=2, ensure_ascii=False)) if "doc" in sample else None,
        _hash(prompt) if isinstance(prompt, str) else None,
        _hash(str(sample["target"])) if "target" in sample else None,
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _pair(value: Any) -> tuple[float, float]:
    """Return a sample's score as (a, b); see Samples."""
    if isinstance(value, list):
        if all(isinstance(part, bool) for part in value):
            return float(sum(value)), float(len(value))
        if len(value) == 2:
            return number(value[0]), number(value[1])
        return math.nan, 1.0
    return number(value), 1.0
