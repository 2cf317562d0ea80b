"""Read the items of a task, `samples_*.jsonl` of lm-evaluation-harness.

Files may be large, so they are read line by line, and only hashes and scores are kept.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rys._util.json_fields import mapping, number
from rys.compare.run import ItemId, Samples
from rys.compare.text import terminal_text
from rys.errors import CompareError

__all__ = ["read_samples"]


def read_samples(path: Path, wanted: Mapping[str, Sequence[str]], n: int | None) -> Samples:
    """Return the items of a samples file.

    Before 0.4.5 samples do not name their filter: an item's k-th line belongs to the k-th filter.

    Args:
        path: The file.
        wanted: Metrics by filter, in the order of the results file.
        n: Number of items that the results count; None if unknown.

    Raises:
        CompareError: The file is damaged or has other items than the results.
    """
    filters = list(wanted)
    found = Samples({}, {})
    for read_by, metrics in wanted.items():
        found.scores.update({(metric, read_by): {} for metric in metrics})
    n_seen: Counter[ItemId] = Counter()
    places: set[tuple[ItemId, str]] = set()
    for place, sample in _objects(path):
        item = sample.get("doc_id")
        if not isinstance(item, (int, str)):
            raise CompareError(
                f"{path}, {place}: not a sample of lm-evaluation-harness (it has no doc_id)"
            )
        by_turn = filters[n_seen[item]] if n_seen[item] < len(filters) else "?"
        read_by = str(sample.get("filter", by_turn))
        n_seen[item] += 1
        name = f"item {terminal_text(item)}"
        if read_by not in wanted:
            raise CompareError(
                f"{path}, {place}: {name} has filter {terminal_text(read_by)!r}, but the results "
                f"have {', '.join(map(terminal_text, filters))}, each once"
            )
        if (item, read_by) in places:
            raise CompareError(f"{path}, {place}: {name} occurs twice")
        places.add((item, read_by))
        identity = _identity(sample)
        if found.identities.setdefault(item, identity) != identity:
            raise CompareError(f"{path}, {place}: {name} was another question on an earlier line")
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
            # Before 0.4.3 the file is one JSON list, whatever its name says.
            is_list = file.read(1) == b"["
            file.seek(0)
            for k, part in enumerate(json.load(file) if is_list else file, 1):
                place = f"sample {k}" if is_list else f"line {k}"
                if is_list:
                    yield place, mapping(part)
                elif part.strip():
                    yield place, mapping(json.loads(part))
    except OSError as error:
        raise CompareError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CompareError(f"{path}, {place}: cut off or damaged: {error}") from None


def _identity(sample: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return the hashes of question, prompt and right answer.

    They are those of the file, or else what the harness would write; None where it has neither.
    """
    given = [sample.get(name) for name in ("doc_hash", "prompt_hash", "target_hash")]
    if all(isinstance(value, str) for value in given):
        return tuple(given)
    question = target = None
    if "doc" in sample:
        question = _hash(json.dumps(sample["doc"], indent=2, ensure_ascii=False))
    if "target" in sample:
        target = _hash(str(sample["target"]))
    prompt = _prompt(sample.get("arguments"))
    return question, _hash(prompt) if isinstance(prompt, str) else None, target


def _prompt(arguments: Any) -> Any:
    """Return the prompt of a sample's first request.

    Arguments are {"gen_args_0": {"arg_0": prompt, ...}, ...} or [[prompt, ...], ...].
    """
    for name in ("gen_args_0", "arg_0"):
        if isinstance(arguments, dict):
            arguments = arguments.get(name)
        elif isinstance(arguments, list) and arguments:
            arguments = arguments[0]
    return arguments


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _pair(value: Any) -> tuple[float, float]:
    """Return a sample's score as (a, b); see `Samples.scores`."""
    if isinstance(value, list):
        # Answers to the parts of an item, which count one each.
        if all(isinstance(part, bool) for part in value):
            return float(sum(value)), float(len(value))
        # A log-likelihood with the number of words or bytes.
        if len(value) == 2:
            return number(value[0]), number(value[1])
        return math.nan, 1.0
    return number(value), 1.0
