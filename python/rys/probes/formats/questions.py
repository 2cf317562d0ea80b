"""Plain lists of questions and answers, such as Ng's lists of large roots and products."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rys.errors import ProbeError
from rys.probes.base import Item
from rys.probes.formats.entries import ENTRY_SCORERS
from rys.probes.formats.record import Entry, Record, Settings

__all__ = ["FIELDS", "matches", "read"]

# GSM8K has the same fields and is looked for first.
FIELDS = "'question' and 'answer' (other lists)"

_SCORINGS = ("number", "number_partial", "yes_no", "exact", "likelihood")


def matches(records: Sequence[Record]) -> bool:
    """Return whether entries have a question and an answer."""
    return "question" in records[0] and "answer" in records[0]


def read(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Return the items of questions with answers.

    Args:
        records: The entries.
        settings: `scoring` is one of the scorers of our own entries that need nothing but the
            answer; by default "number" if all answers are numbers, else "exact". Ng's own score of
            his lists is "number_partial".

    Raises:
        ProbeError: An entry has no question, or an answer that the scoring cannot take.
    """
    scoring = settings.choose(_SCORINGS, "number" if all(map(_is_number, records)) else "exact")
    instruction = " Answer with the number only." if scoring.startswith("number") else ""
    entries = []
    for record in records:
        question, answer = record.text("question"), json.dumps(record.value.get("answer"))
        scorer = ENTRY_SCORERS[scoring](record, settings.max_tokens)
        item = Item(
            prompt=question.strip() + instruction, scorer=scorer, tags={"family": settings.name}
        )
        entries.append(Entry(question, answer, item))
    return entries


def _is_number(record: Record) -> bool:
    try:
        record.number("answer")
    except ProbeError:
        return False
    return True
