"""Our own format: JSON lines, each of which says how it is scored.

For example::

    {"prompt": "What is 3 + 4?", "answer": 7, "scorer": "number",
     "tags": {"family": "sums", "difficulty": 1}}

"messages" may stand in place of "prompt", for a conversation. "choices" and "max_tokens" belong to
the scorers that take them::

    number          the number that the answer means is the right one
    number_partial  Ng's partial credit (rys.probes.published_scores.ng_partial_credit)
    choice          the most probable of "choices", without generating; the prompt must name them
    written_choice  the one of "choices", letters or the like, that the answer chooses
    word            the one of "choices", words, that the answer gives
    yes_no          yes or no
    exact           the text, but for case, spaces and punctuation around words
    likelihood      how probable the right answer is, per byte
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from rys.errors import ProbeError
from rys.probes.base import Item, Scorer
from rys.probes.formats.record import MAX_TOKENS, Entry, Record, Settings, is_token_limit, preview
from rys.probes.parsers import parse_number, parse_whole_number, parse_yes_no
from rys.probes.parsers.choice import choice_parser
from rys.probes.parsers.text import text_parser
from rys.probes.parsers.word import word_parser
from rys.probes.prompter import Messages
from rys.probes.published_scores import ng_partial_credit
from rys.probes.scorers import Choice, Generated, Likelihood

__all__ = ["ENTRY_SCORERS", "FIELDS", "matches", "read"]

FIELDS = "'prompt', 'answer' and 'scorer' (own questions)"

_FIELDS = ("prompt", "messages", "answer", "scorer", "tags", "choices", "max_tokens")
_LABEL_TOKENS = 16  # for an answer that is a label or a word


def matches(records: Sequence[Record]) -> bool:
    """Return whether entries say how they are scored."""
    return "scorer" in records[0]


def read(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Return the items of entries that say how they are scored.

    Args:
        records: The entries.
        settings: `scoring` must be None.

    Raises:
        ProbeError: An entry has an unknown or a wrong field, or a scoring was set.
    """
    if settings.scoring is not None:
        raise ProbeError(
            f"scoring is {settings.scoring!r}, but every entry of {settings.name} has a 'scorer' "
            f"itself"
        )
    return [_entry(record, settings) for record in records]


def _entry(record: Record, settings: Settings) -> Entry:
    unknown = [name for name in record.value if name not in _FIELDS]
    if unknown:
        raise record.error(
            f"it has {', '.join(map(repr, unknown))}, but the fields are {', '.join(_FIELDS)}"
        )
    prompt = _prompt(record)
    scorer = record.text("scorer")
    if scorer not in ENTRY_SCORERS:
        raise record.error(
            f"'scorer' is {preview(scorer)}, but must be one of {', '.join(ENTRY_SCORERS)}"
        )
    max_tokens = record.value.get("max_tokens", settings.max_tokens)
    if max_tokens is not None and not is_token_limit(max_tokens):
        raise record.error(
            f"'max_tokens' is {preview(max_tokens)}, but must be a whole number in 1..{MAX_TOKENS}"
        )
    item = Item(
        prompt=prompt,
        scorer=ENTRY_SCORERS[scorer](record, max_tokens),
        tags=_tags(record, settings),
    )
    answer = json.dumps(record.value.get("answer"))
    return Entry(json.dumps(prompt, ensure_ascii=False), answer, item)


def _prompt(record: Record) -> str | Messages:
    """Return the prompt of an entry, a text or messages."""
    if ("prompt" in record) == ("messages" in record):
        raise record.error("it must have either a 'prompt' or 'messages'")
    if "prompt" in record:
        return record.text("prompt")
    messages = record.value["messages"]
    is_good = isinstance(messages, list) and all(map(_is_message, messages))
    if not is_good or not messages or messages[-1]["role"] != "user":
        raise record.error(
            f"'messages' is {preview(messages)}, but must be a list of objects with a 'role' "
            f"(system, user or assistant) and a text as 'content', the user's last"
        )
    return [dict(message) for message in messages]


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"role", "content"}
        and value["role"] in ("system", "user", "assistant")
        and isinstance(value["content"], str)
    )


def _tags(record: Record, settings: Settings) -> dict[str, str | int]:
    tags = record.value.get("tags", {})
    # bool is an int, and would make a tag that looks like a number
    if not isinstance(tags, dict) or not all(type(value) in (str, int) for value in tags.values()):
        raise record.error(
            f"'tags' is {preview(tags)}, but must be an object of texts and whole numbers"
        )
    return {"family": settings.name, **tags}


# The scorers. Each takes the entry and the tokens of the answer, None = what suits it.


def _number(record: Record, max_tokens: int | None) -> Scorer:
    number = record.number("answer")
    return Generated(number, parse_number, max_tokens=max_tokens or _digit_tokens(str(number)))


def _number_partial(record: Record, max_tokens: int | None) -> Scorer:
    number = record.number("answer")
    if number != int(number) or number <= 0:  # zero for zero has no credit, see ng_partial_credit
        raise record.error(
            f"'answer' is {number}, but partial credit is defined for whole numbers from 1 on"
        )
    whole = int(number)
    max_tokens = max_tokens or _digit_tokens(str(whole))
    return Generated(whole, parse_whole_number, ng_partial_credit, max_tokens=max_tokens)


def _digit_tokens(number: str) -> int:
    """Return the tokens of a number with a sign, separators and a few words around it."""
    return 2 * len(number) + 16


def _choices(record: Record) -> tuple[tuple[str, ...], str]:
    """Return the choices of an entry and the right one."""
    choices, answer = record.texts("choices"), record.scalar("answer")
    if len(choices) < 2 or len(set(choices)) < len(choices) or answer not in choices:
        raise record.error(
            f"'answer' is {preview(answer)} and 'choices' are {preview(list(choices))}, "
            f"but there must be two or more, all different, with the answer among them"
        )
    return choices, answer


def _choice(record: Record, max_tokens: int | None) -> Scorer:
    return Choice(*_choices(record))


def _written_choice(record: Record, max_tokens: int | None) -> Scorer:
    labels, answer = _choices(record)
    return Generated(
        answer,
        choice_parser(labels),
        max_tokens=max_tokens or _LABEL_TOKENS,
        constants=labels,
        chance=1 / len(labels),
    )


def _word(record: Record, max_tokens: int | None) -> Scorer:
    words, answer = _choices(record)
    return Generated(
        answer,
        word_parser(words),
        max_tokens=max_tokens or _LABEL_TOKENS,
        constants=words,
        chance=1 / len(words),
    )


def _yes_no(record: Record, max_tokens: int | None) -> Scorer:
    value = record.value.get("answer")
    if isinstance(value, bool):
        said = "yes" if value else "no"
    else:
        said = record.scalar("answer").strip().lower()
    if said not in ("yes", "no"):
        raise record.error(f"'answer' is {preview(value)}, but must be yes or no")
    return Generated(
        parse_yes_no(said),
        parse_yes_no,
        max_tokens=max_tokens or _LABEL_TOKENS,
        constants=["Yes", "No"],
        chance=0.5,
    )


def _exact(record: Record, max_tokens: int | None) -> Scorer:
    answer = record.scalar("answer")
    parse = text_parser(answer)
    target = parse(answer)
    if target is None:
        raise record.error(f"'answer' is {preview(answer)}, which has nothing to compare")
    return Generated(target, parse, max_tokens=max_tokens or len(answer) + 16)


def _likelihood(record: Record, max_tokens: int | None) -> Scorer:
    answer = record.scalar("answer")
    return Likelihood(answer, n_unit=len(answer.encode("utf-8")), chance=1 / 256)


ENTRY_SCORERS: dict[str, Callable[[Record, int | None], Scorer]] = {
    "number": _number,
    "number_partial": _number_partial,
    "choice": _choice,
    "written_choice": _written_choice,
    "yes_no": _yes_no,
    "word": _word,
    "exact": _exact,
    "likelihood": _likelihood,
}
