"""EQ-Bench v2: EQ-bench/EQ-Bench, data/eq_bench_v2_questions_171.json.

The sets of emotional questions in David Ng's RYS hold entries of the same form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rys.probes.base import Item
from rys.probes.floors import totals_of_random_ratings
from rys.probes.formats.record import Entry, Record, Settings
from rys.probes.parsers.ratings import ratings_parser
from rys.probes.published_scores import (
    EQ_BENCH_WEIGHT,
    eq_bench_penalties,
    eq_bench_v2,
    ng_eq,
)
from rys.probes.scorers import Generated
from rys.probes.stable_names import stable_name

__all__ = ["FIELDS", "matches", "read"]

FIELDS = "'prompt' and 'reference_answer_fullscale' (EQ-Bench)"

_CONSTANTS = tuple((float(rating),) * 4 for rating in range(11))
# The task's own instructions begin with this; they ask for two passes and a critique.
_INSTRUCTIONS = "\nGive each of these possible emotions"


def matches(records: Sequence[Record]) -> bool:
    """Return whether entries have a reference answer."""
    first = records[0]
    return "reference_answer" in first or "reference_answer_fullscale" in first


def read(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Return the items of dialogues with four emotions to rate.

    The task's own instructions, for two passes and a critique, give way to ours: four lines with
    the ratings. A prompt without them is asked as it stands; of two ratings of an emotion the last
    counts.

    Args:
        records: The entries.
        settings: `scoring` is "v2" (the default) = the official formula over the full-scale
            references, cut to 0..1; or "ng" = Ng's, with confidence 1, over `reference_answer`. The
            latter is the default where an entry has no full-scale references.

    Raises:
        ProbeError: An entry has no prompt, or references that are not four different emotions on
            0..10.
    """
    has_full_scale = all("reference_answer_fullscale" in record for record in records)
    scoring = settings.choose(("v2", "ng"), "v2" if has_full_scale else "ng")
    return [_entry(record, settings, scoring) for record in records]


def _entry(record: Record, settings: Settings, scoring: str) -> Entry:
    score = _score_v2 if scoring == "v2" else _score_ng
    prompt = record.text("prompt")
    is_ng = scoring == "ng" and "reference_answer" in record
    field = "reference_answer" if is_ng else "reference_answer_fullscale"
    names, target = _reference(record, field)
    dialogue, found, _ = prompt.partition(_INSTRUCTIONS)
    # With instructions of its own an answer may be long: two passes and a critique.
    question, max_tokens = prompt.strip(), 768
    if found:
        lines = "\n".join(f"{name}: <score>" for name in names)
        question = (
            f"{dialogue.strip()}\n\nGive each of these possible emotions a score from 0 to 10 for "
            f"its intensity. Reply with four lines and nothing else:\n{lines}"
        )
        max_tokens = 64
    scorer = Generated(
        target,
        ratings_parser(names),
        score,
        max_tokens=settings.max_tokens or max_tokens,
        constants=_CONSTANTS,
        chance=_chance(target, scoring),
    )
    item = Item(prompt=question, scorer=scorer, tags={"family": settings.name})
    return Entry(prompt, f"{names} {target}", item)


def _reference(record: Record, field: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the names of four emotions and the right ratings."""
    reference = Record(f"{record.where}, {field!r}", record.value.get(field))
    places = range(1, 5)
    names = tuple(reference.text(f"emotion{i}").strip() for i in places)
    numbers = tuple(float(reference.number(f"emotion{i}_score")) for i in places)
    if len(set(map(str.casefold, names))) < 4:
        raise reference.error(f"the emotions are {', '.join(names)}, but must be all different")
    if not all(0 <= number <= 10 for number in numbers):
        raise reference.error(f"the scores are {numbers}, but must be in 0..10")
    return names, numbers


@stable_name("_eq_v2")
def _score_v2(target: Sequence[float], ratings: Sequence[float]) -> float:
    return max(0.0, min(1.0, float(eq_bench_v2(target, ratings)) / 10))


@stable_name("_eq_ng")
def _score_ng(target: Sequence[float], ratings: Sequence[float]) -> float:
    return ng_eq(target, ratings)


def _chance(target: Sequence[float], scoring: str) -> float:
    """Return the mean score of whole ratings at random: exactly, over all 11^4 answers.

    Both formulas subtract a loss for each emotion from 1 and cut at 0.
    """
    distances = np.abs(np.arange(11)[:, np.newaxis] - np.array(target))  # [11, 4]
    if scoring == "v2":
        losses = EQ_BENCH_WEIGHT / 10 * eq_bench_penalties(distances)
    else:
        losses = distances / 40
    return float(np.maximum(0, 1 - totals_of_random_ratings(losses)).mean())
