"""Probes from disk: `load("questions.jsonl")` tells what the file holds by looking into it.

Our own format is JSON lines, one question each:

    {"prompt": "What is 3 + 4?", "answer": 7, "scorer": "number",
     "tags": {"family": "sums", "difficulty": 1}}

with "messages" in place of "prompt" for a conversation, and "choices" and "max_tokens" where the
scorer takes them:

    number          the number that the answer means is the right one
    number_partial  Ng's partial credit (rys.probes.compat.ng_partial_credit)
    choice          the most probable of "choices", without generating; the prompt must name them
    written_choice  the one of "choices", letters or the like, that the answer chooses
    word            the one of "choices", words, that the answer gives
    yes_no          yes or no
    exact           the text, but for case, spaces and punctuation around words
    likelihood      how probable the right answer is, per byte

Further formats: a task of BIG-Bench-Hard, GSM8K, EQ-Bench v2 and lists in its form, MBPP, and lists
of "question" and
"answer". Lists are JSON arrays, JSON objects of entries by name, or JSON lines.

Files come from outside: sizes are limited, and nothing but UTF-8 JSON of a known form is taken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rys.errors import ProbeError
from rys.probes.base import Item, Probe, SearchSplit, halves
from rys.probes.lists import (
    MAX_TOKENS,
    Entry,
    Record,
    Settings,
    read_entries,
    read_questions,
    shown,
)
from rys.probes.published import parse_examples, read_bbh, read_eq, read_gsm8k, read_mbpp

__all__ = ["FileProbe", "load"]

MAX_FILE_BYTES = 256 << 20
MAX_LINE_BYTES = 1 << 20

_Reader = Callable[[Sequence[Record], Settings], list[Entry]]
_FORMATS: dict[str, _Reader] = {
    "entries": read_entries,
    "bbh": read_bbh,
    "gsm8k": read_gsm8k,
    "eq": read_eq,
    "mbpp": read_mbpp,
    "questions": read_questions,
}


class FileProbe(Probe):
    """Ask the questions of a file. Made by `load`.

    id: the file's name without its suffix, and the settings that are not the default.
    format: "entries" (our own), "bbh", "gsm8k", "eq", "mbpp" or "questions".
    n_dropped: entries left out: repeats of a question, and all entries of a question that has
        different answers.
    """

    def __init__(self, probe_id: str, file_format: str, entries: Sequence[Entry]) -> None:
        self.id = probe_id
        self.format = file_format
        self._entries = _distinct(entries)
        self.n_dropped = len(entries) - len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return up to n items of a split; a split holds half of the file's questions."""
        return [
            entry.item for entry in halves(self._entries, split, seed, lambda entry: entry.key)[:n]
        ]


def load(
    path: str | Path,
    *,
    cot: str | Path | None = None,
    scoring: str | None = None,
    max_tokens: int | None = None,
) -> FileProbe:
    """Return the probe that a file holds.

    cot: examples of reasoning, for a task of BIG-Bench-Hard: the file, or a folder with <task>.txt.
        Then answers are reasoned step by step, and read after "the answer is".
    scoring: how to read or to mark, where a format leaves a choice: "flexible", "strict" or "hash"
        for GSM8K; "v2" or "ng" for EQ-Bench; "number", "number_partial", "yes_no", "exact" or
        "likelihood" for questions with answers.
    max_tokens: of answers that are written; None = what suits the format.

    Raises ProbeError for a file that is missing, too large, not UTF-8, not JSON, or of a wrong
    form; it says which entry is wrong, and what was expected.
    """
    path = Path(path)
    if max_tokens is not None and (
        type(max_tokens) is not int or not 1 <= max_tokens <= MAX_TOKENS
    ):
        raise ProbeError(
            f"max_tokens is {max_tokens!r}, but must be a whole number in 1..{MAX_TOKENS}"
        )
    records = [Record(where, value) for where, value in _values(path, _read(path))]
    if not records:
        raise ProbeError(f"{path} holds no questions")
    file_format = _format(records[0])
    examples: tuple[Mapping[str, str], ...] = ()
    if cot is not None:
        if file_format != "bbh":
            raise ProbeError(f"cot is {str(cot)!r}, but {path} is not a task of BIG-Bench-Hard")
        source = Path(cot) / f"{path.stem}.txt" if Path(cot).is_dir() else Path(cot)
        examples = parse_examples(str(source), _read(source))
    settings = Settings(path.stem, scoring, max_tokens, examples)
    entries = _FORMATS[file_format](records, settings)
    parts = [
        path.stem,
        "cot" if examples else None,
        scoring,
        max_tokens and f"max_tokens={max_tokens}",
    ]
    probe = FileProbe(":".join(part for part in parts if part), file_format, entries)
    if not len(probe):
        raise ProbeError(
            f"{path} holds no questions: all {len(entries)} entries contradict each other"
        )
    return probe


def _distinct(entries: Sequence[Entry]) -> list[Entry]:
    """Return the first entry of each question, and none of a question whose entries have different
    answers.
    """
    answers: dict[str, set[str]] = {}
    first: dict[str, Entry] = {}
    for entry in entries:
        answers.setdefault(entry.key, set()).add(entry.answer)
        first.setdefault(entry.key, entry)
    return [entry for key, entry in first.items() if len(answers[key]) == 1]


def _read(path: Path) -> str:
    """Return the text of a file, without a byte order mark."""
    try:
        if not path.exists():
            raise ProbeError(f"{path} does not exist")
        if not path.is_file():  # a pipe would block, and a device never ends
            raise ProbeError(f"{path} is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ProbeError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ProbeError(
            f"{path} has more than {MAX_FILE_BYTES} bytes, which is the most that is read"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProbeError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    if not text.strip():
        raise ProbeError(f"{path} is empty")
    return text


def _values(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a JSON document or of JSON lines, each with the words that say where it
    stands.
    """
    try:
        document = _parse(text)
    except ValueError as error:
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(lines) == 1 or not _is_json(lines[0][1]):
            raise ProbeError(f"{path} is not JSON: {error}") from error
        yield from _line_values(path, lines)
        return
    if isinstance(document, dict) and isinstance(document.get("examples"), list):  # BIG-Bench-Hard
        document = document["examples"]
    if isinstance(document, list):
        yield from ((f"{path}, entry {i}", value) for i, value in enumerate(document, 1))
    elif isinstance(document, dict) and all(isinstance(value, dict) for value in document.values()):
        yield from ((f"{path}, entry {name!r}", value) for name, value in document.items())
    else:
        yield (
            f"{path}, line 1",
            document,
        )  # JSON lines with a single one; anything else is refused as an entry


def _line_values(path: Path, lines: Sequence[tuple[int, str]]) -> Iterator[tuple[str, Any]]:
    for i, line in lines:
        where = f"{path}, line {i}"
        if len(line) > MAX_LINE_BYTES or len(line.encode("utf-8")) > MAX_LINE_BYTES:
            raise ProbeError(
                f"{where}: it has more than {MAX_LINE_BYTES} bytes, which is the most that is read"
            )
        try:
            yield where, _parse(line)
        except ValueError as error:
            raise ProbeError(f"{where}: it is not JSON: {error}") from error


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _is_json(text: str) -> bool:
    try:
        _parse(text)
    except ValueError:
        return False
    return True


def _format(record: Record) -> str:
    """Return the format of a file, by its first entry."""
    answer = record.value.get("answer")
    if "scorer" in record:
        return "entries"
    if "input" in record and "target" in record:
        return "bbh"
    if "question" in record and "answer" in record:
        return "gsm8k" if isinstance(answer, str) and "####" in answer else "questions"
    if "reference_answer" in record or "reference_answer_fullscale" in record:
        return "eq"
    if "code" in record and "test_list" in record:
        return "mbpp"
    raise record.error(
        f"its fields are {shown(list(record.value))}, but it must have one of: 'prompt', 'answer' and 'scorer' (own "
        f"questions); 'input' and 'target' (BIG-Bench-Hard); 'question' and 'answer' (GSM8K and other lists); 'prompt' "
        f"and 'reference_answer_fullscale' (EQ-Bench); 'prompt', 'code' and 'test_list' (MBPP)"
    )
