"""GSM8K: openai/grade-school-math, grade_school_math/data/*.jsonl.

Answers are extracted as EleutherAI/lm-evaluation-harness does in its tasks gsm8k and gsm8k_cot
(version 3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rys.probes.base import Item
from rys.probes.formats.record import Entry, Record, Settings, preview
from rys.probes.scorers import Generated
from rys.probes.stable_names import stable_name

__all__ = [
    "FIELDS",
    "last_number",
    "last_number_with_digits",
    "matches",
    "number_after_hash",
    "number_after_phrase",
    "read",
]

FIELDS = "'question' and 'answer' with #### (GSM8K)"

_TARGET = re.compile(r"####\s*([-+]?\$?\d[\d,]*(?:\.\d+)?)\s*\Z")  # "#### 1,024" at the end
_AFTER_PHRASE = re.compile(r"The answer is (-?[0-9.,]+).")  # "The answer is 42."
_AFTER_HASH = re.compile(r"#### (-?[0-9.,]+)")  # "#### 42"
_ANY = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")  # "$1,024.", "7"
# "," of "1,024"; "$"; all before "#### "; "." at the end
_IGNORED = tuple(map(re.compile, (",", r"\$", r"(?s).*#### ", r"\.$")))


def matches(records: Sequence[Record]) -> bool:
    """Return whether entries have a question and an answer with "####"."""
    answer = records[0].value.get("answer")
    return "question" in records[0] and isinstance(answer, str) and "####" in answer


def read(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Return the items of problems whose answers end with "#### N".

    They are asked without examples. Numbers are compared as text: 18.00 is not 18.

    Args:
        records: The entries.
        settings: `scoring` says how an answer is read: "flexible" (the default) = the last number;
            "strict" = that of "The answer is N."; "hash" = that of "#### N", for which the prompt
            asks, too.

    Raises:
        ProbeError: An entry has no question, or an answer that does not end like that.
    """
    parsers: dict[str, Callable[[str], str | None]] = {
        "flexible": last_number_with_digits,
        "strict": number_after_phrase,
        "hash": number_after_hash,
    }
    scoring = settings.choose(list(parsers), "flexible")
    ending = "#### N" if scoring == "hash" else "The answer is N."
    entries = []
    for record in records:
        question, solution = record.text("question"), record.text("answer")
        target = _TARGET.search(solution)
        if not target:
            raise record.error(
                f"'answer' ends with {preview(solution[-40:])}, but must end with #### and a number"
            )
        scorer = Generated(
            _normalised(target[1]),
            parsers[scoring],
            max_tokens=settings.max_tokens or 512,
            reasons=True,
        )
        prompt = (
            f"{question.strip()}\n\nReason step by step, and end with "
            f'"{ending}", where N is the number.'
        )
        item = Item(prompt=prompt, scorer=scorer, tags={"family": settings.name})
        entries.append(Entry(question, target[1], item))
    return entries


@stable_name("gsm8k_strict")
def number_after_phrase(text: str) -> str | None:
    """Return the number of the first "The answer is N.", as gsm8k_cot's strict-match reads it.

    The source's pattern wants one more character after the number, so it loses a number's last
    digit at a text's end.
    """
    match = _AFTER_PHRASE.search(text)
    return _normalised(match[1]) if match else None


@stable_name("gsm8k_hash")
def number_after_hash(text: str) -> str | None:
    """Return the number after the first "#### ", as the strict-match of gsm8k reads it."""
    match = _AFTER_HASH.search(text)
    return _normalised(match[1]) if match else None


@stable_name("gsm8k_flexible")
def last_number(text: str) -> str | None:
    """Return the last number, as the flexible-extract of both tasks reads it."""
    found = _ANY.findall(text)
    return _normalised(found[-1][0] or found[-1][1]) if found else None


@stable_name("_gsm8k_last_number")
def last_number_with_digits(text: str) -> str | None:
    """Return what `last_number` reads, or None where that is dots alone."""
    number = last_number(text)
    return number if number and any(map(str.isdigit, number)) else None


def _normalised(number: str) -> str:
    for ignored in _IGNORED:
        number = ignored.sub("", number)
    return number.strip().lower()
