"""MBPP: google-research, mbpp/sanitized-mbpp.json. In its mbpp.jsonl prompts are called text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rys.probes.base import Item
from rys.probes.formats.record import Entry, Record, Settings
from rys.probes.scorers import Likelihood

__all__ = ["FIELDS", "matches", "read"]

FIELDS = "'prompt', 'code' and 'test_list' (MBPP)"


def matches(records: Sequence[Record]) -> bool:
    """Return whether entries have code and tests."""
    return "code" in records[0] and "test_list" in records[0]


def read(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Return the items of programming tasks, scored by the probability of the code per byte.

    No code is ever run. Another program that is as good as the reference code has no credit.

    Args:
        records: The entries.
        settings: `scoring` must be None.

    Raises:
        ProbeError: An entry is not as published, or a scoring was set.
    """
    settings.choose((), "")
    entries = []
    for record in records:
        task, tests = record.text("prompt", "text"), "\n".join(record.texts("test_list"))
        # the file mixes line ends, and a model should not be asked for a form it never writes
        code = textwrap.dedent(record.text("code").replace("\r\n", "\n")).strip()
        prompt = (
            f"{task.strip()}\n\nThese tests should pass:\n{tests}\n\n"
            f"Reply with the Python code alone."
        )
        scorer = Likelihood(code, n_unit=len(code.encode("utf-8")), chance=1 / 256)
        item = Item(prompt=prompt, scorer=scorer, tags={"family": settings.name})
        entries.append(Entry(prompt, code, item))
    return entries
