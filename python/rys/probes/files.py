"""Probes from disk: `load("questions.jsonl")` tells what the file holds by looking into it.

Our own format is JSON lines, one question each; see `rys.probes.formats.entries`. Further formats
are tasks of BIG-Bench-Hard, GSM8K, EQ-Bench v2 and lists of its form, MBPP, and lists of "question"
and "answer". A list is a JSON array, a JSON object of entries by name, or JSON lines.

Files come from outside: sizes are limited, nothing but UTF-8 JSON of a known form is taken, and no
code from a file is ever run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rys.errors import ProbeError
from rys.probes.base import Item, Probe, SearchSplit, halves
from rys.probes.formats import FORMATS, format_of
from rys.probes.formats.bbh import parse_examples
from rys.probes.formats.readers import read_records, read_text
from rys.probes.formats.record import MAX_TOKENS, Entry, Settings, is_token_limit

__all__ = ["FileProbe", "load"]


class FileProbe(Probe):
    """Questions of a file, as `load` reads them.

    Attributes:
        id: The file's name without its suffix, and the settings that are not the default.
        format: A key of `rys.probes.formats.FORMATS`.
        n_dropped: Entries left out: repeats of a question, and all entries of a question that has
            different answers.
    """

    version = 2  # since choices of our own format are scored by probability

    def __init__(self, probe_id: str, file_format: str, entries: Sequence[Entry]) -> None:
        """Make a probe.

        Args:
            probe_id: Its id.
            file_format: A key of `rys.probes.formats.FORMATS`.
            entries: All entries of the file.
        """
        self.id = probe_id
        self.format = file_format
        self._entries = _distinct(entries)
        self.n_dropped = len(entries) - len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return items of a split, which holds half of the file's questions; see `Probe.items`."""
        half = halves(self._entries, split, seed, lambda entry: entry.key)
        return [entry.item for entry in half[:n]]


def load(
    path: str | Path,
    *,
    cot: str | Path | None = None,
    scoring: str | None = None,
    max_tokens: int | None = None,
) -> FileProbe:
    """Return the probe that a file holds.

    Args:
        path: The file.
        cot: Examples of reasoning, for a task of BIG-Bench-Hard: the file, or a folder with
            <task>.txt. Then answers are reasoned step by step, and read after "the answer is".
        scoring: How answers are read or scored, where a format leaves a choice: "flexible",
            "strict" or "hash" for GSM8K; "v2" or "ng" for EQ-Bench; "number", "number_partial",
            "yes_no", "exact" or "likelihood" for questions with answers. None = the first of these
            that suits.
        max_tokens: Of answers that are written; None = what suits the format.

    Raises:
        ProbeError: The file is missing, too large, not UTF-8, not JSON, or of a wrong form. The
            message says which entry is wrong, and what was expected.
    """
    path = Path(path)
    if max_tokens is not None and not is_token_limit(max_tokens):
        raise ProbeError(
            f"max_tokens is {max_tokens!r}, but must be a whole number in 1..{MAX_TOKENS}"
        )
    records = read_records(path)
    file_format = format_of(records)
    examples: tuple[Mapping[str, str], ...] = ()
    if cot is not None:
        if file_format != "bbh":
            raise ProbeError(f"cot is {str(cot)!r}, but {path} is not a task of BIG-Bench-Hard")
        source = Path(cot) / f"{path.stem}.txt" if Path(cot).is_dir() else Path(cot)
        examples = parse_examples(str(source), read_text(source))
    settings = Settings(path.stem, scoring, max_tokens, examples)
    entries = FORMATS[file_format].read(records, settings)
    probe = FileProbe(_probe_id(settings), file_format, entries)
    # every question had several answers
    if not len(probe):
        raise ProbeError(
            f"{path} holds no questions: all {len(entries)} entries contradict each other"
        )
    return probe


def _probe_id(settings: Settings) -> str:
    """Return the id of a probe: files of sweeps hold it, so settings that matter are part of it."""
    parts = [settings.name]
    if settings.examples:
        parts.append("cot")
    if settings.scoring:
        parts.append(settings.scoring)
    if settings.max_tokens:
        parts.append(f"max_tokens={settings.max_tokens}")
    return ":".join(parts)


def _distinct(entries: Sequence[Entry]) -> list[Entry]:
    """Return the first entry of each question.

    A question whose entries have different answers is left out.
    """
    # In a contradiction nobody knows which answer is right, so none is kept.
    answers: dict[str, set[str]] = {}
    first: dict[str, Entry] = {}
    for entry in entries:
        answers.setdefault(entry.key, set()).add(entry.answer)
        first.setdefault(entry.key, entry)
    return [entry for key, entry in first.items() if len(answers[key]) == 1]
