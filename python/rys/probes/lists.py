"""Question lists in JSON: entries that say how they are scored, and plain questions with answers.

Entries come from outside: every field is checked, and an error names the file, the entry and what
was expected.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from rys.errors import ProbeError
from rys.probes.answers import (
    LARGEST_EXPONENT,
    parse_choice,
    parse_number,
    parse_whole_number,
    parse_word,
    parse_yes_no,
)
from rys.probes.base import Item, Messages, Scorer
from rys.probes.compat import ng_partial_credit
from rys.probes.scorers import Choice, Generated, Likelihood

__all__ = [
    "ENTRY_SCORERS",
    "Entry",
    "Parser",
    "Record",
    "Settings",
    "label_reader",
    "named",
    "read_entries",
    "read_questions",
    "shown",
    "stated",
    "text_reader",
    "word_reader",
]

MAX_ENTRY_BYTES = 1 << 20
MAX_TOKENS = 32_768

_STATED = re.compile(r"\banswer(?:\s+is\b|\s*:)[\s:*]*", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """Hold an item with what it is known by.

    key: the question, without examples and instructions: it decides on the split. answer: the right
        one, as the file
    has it.
    """

    key: str
    answer: str
    item: Item


@dataclass(frozen=True)
class Settings:
    """Hold how a file is to be read: see `rys.probes.files.load`. name: of the file, without its
    suffix.
    """

    name: str
    scoring: str | None = None
    max_tokens: int | None = None
    examples: tuple[Mapping[str, str], ...] = ()

    def choose(self, allowed: Sequence[str], default: str) -> str:
        """Return the scoring, if it is one of those allowed."""
        if self.scoring is not None and self.scoring not in allowed:
            ways = (
                f"can be scored by {', '.join(allowed)}"
                if allowed
                else "has one way of scoring only"
            )
            raise ProbeError(f"scoring is {self.scoring!r}, but {self.name} {ways}")
        return self.scoring or default


class Record:
    """Hold one JSON object of a file, and say where it stands when something is wrong with it."""

    def __init__(self, where: str, value: Any) -> None:
        self.where = where
        if not isinstance(value, dict):
            raise self.error(f"it is {shown(value)}, but must be an object")
        try:
            n_bytes = len(json.dumps(value, ensure_ascii=False).encode("utf-8"))
        except UnicodeEncodeError as error:
            raise self.error(
                "it holds half of a surrogate pair (\\ud800..\\udfff), which is no character"
            ) from error
        except RecursionError as error:
            raise self.error("it is nested too deeply") from error
        if n_bytes > MAX_ENTRY_BYTES:
            raise self.error(f"it has {n_bytes} bytes, but at most {MAX_ENTRY_BYTES} are read")
        self.value: dict[str, Any] = value

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def error(self, message: str) -> ProbeError:
        """Return the error that says what is wrong here."""
        return ProbeError(f"{self.where}: {message}")

    def text(self, *names: str) -> str:
        """Return the text under the first of these names that is there, as it stands; it must not
        be blank.
        """
        name = next((name for name in names if name in self.value), None)
        if name is None:
            raise self.error(
                f"it has no {' or '.join(map(repr, names))}; it has {', '.join(map(repr, self.value))}"
            )
        value = self.value[name]
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{name!r} is {shown(value)}, but must be a text that is not blank")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the list of texts under a name."""
        value = self.value.get(name)
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(v, str) and v.strip() for v in value)
        ):
            raise self.error(
                f"{name!r} is {shown(value)}, but must be a list of texts that are not blank"
            )
        return tuple(value)

    def scalar(self, name: str) -> str:
        """Return the text or number under a name as a text."""
        value = self.value.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self.text(name)
        if not math.isfinite(value):
            raise self.error(f"{name!r} is {value}, but must be finite")
        return str(value)

    def number(self, name: str) -> Decimal:
        """Return the number under a name, which may also be written as a text."""
        text = self.scalar(name)
        try:
            number = Decimal(text.replace(",", "").strip())
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or abs(number.adjusted()) > LARGEST_EXPONENT:
            raise self.error(f"{name!r} is {shown(text)}, but must be a number")
        return number


def shown(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# Reading answers. The functions' names tell items apart, see Written.describe.
Parser: TypeAlias = Callable[[str], Any]


def named(parse: Parser, name: str) -> Parser:
    parse.__qualname__ = name
    return parse


def read_words(text: str) -> str | None:
    """Return the stated answer, else the first paragraph: in small letters, without punctuation
    around words.
    """
    said = re.split(r"\n\s*\n", (stated(text) or text).strip())[0]
    words = (
        word.strip(".,;:!?\"'`*()[]\u201c\u201d\u2018\u2019") for word in said.casefold().split()
    )
    return " ".join(word for word in words if word) or None


def read_symbols(text: str) -> str | None:
    """Return the signs of an answer that has neither letters nor digits, such as brackets."""
    said = re.split(r"\n\s*\n", (stated(text) or text).strip())[0]
    return (
        "".join(c for c in said if not c.isalnum() and not c.isspace() and c not in ".,;:\"'`*")
        or None
    )


def stated(text: str) -> str:
    """Return the rest of the line after the last "the answer is"; empty if there is none."""
    ends = [match.end() for match in _STATED.finditer(text)]
    return text[ends[-1] :].partition("\n")[0].strip() if ends else ""


def label_reader(labels: tuple[str, ...]) -> Parser:
    return named(lambda text: parse_choice(text, labels), f"label {labels}")


def word_reader(words: tuple[str, ...]) -> Parser:
    return named(lambda text: parse_word(text, words), f"word {words}")


# Our own entries, {"prompt" or "messages", "answer", "scorer", "tags", "choices", "max_tokens"}
_FIELDS = ("prompt", "messages", "answer", "scorer", "tags", "choices", "max_tokens")


def _make_number(record: Record, max_tokens: int | None) -> Scorer:
    number = record.number("answer")
    return Generated(number, parse_number, max_tokens=max_tokens or 2 * len(str(number)) + 16)


def _make_number_partial(record: Record, max_tokens: int | None) -> Scorer:
    number = record.number("answer")
    if number != int(number) or number <= 0:  # zero for zero has no credit, see ng_partial_credit
        raise record.error(
            f"'answer' is {number}, but partial credit is defined for whole numbers from 1 on"
        )
    n_digits = len(str(int(number)))
    return Generated(
        int(number),
        parse_whole_number,
        ng_partial_credit,
        max_tokens=max_tokens or 2 * n_digits + 16,
    )


def _choices(record: Record) -> tuple[tuple[str, ...], str]:
    choices, answer = record.texts("choices"), record.scalar("answer")
    if len(choices) < 2 or len(set(choices)) < len(choices) or answer not in choices:
        raise record.error(
            f"'answer' is {shown(answer)} and 'choices' are {shown(list(choices))}, "
            f"but there must be two or more, all different, with the answer among them"
        )
    return choices, answer


def _make_choice(record: Record, max_tokens: int | None) -> Scorer:
    return Choice(*_choices(record))


def _make_written_choice(record: Record, max_tokens: int | None) -> Scorer:
    labels, answer = _choices(record)
    return Generated(
        answer,
        label_reader(labels),
        max_tokens=max_tokens or 16,
        constants=labels,
        chance=1 / len(labels),
    )


def _make_word(record: Record, max_tokens: int | None) -> Scorer:
    words, answer = _choices(record)
    return Generated(
        answer,
        word_reader(words),
        max_tokens=max_tokens or 16,
        constants=words,
        chance=1 / len(words),
    )


def _make_yes_no(record: Record, max_tokens: int | None) -> Scorer:
    value = record.value.get("answer")
    said = (
        {True: "yes", False: "no"}[value]
        if isinstance(value, bool)
        else record.scalar("answer").strip().lower()
    )
    if said not in ("yes", "no"):
        raise record.error(f"'answer' is {shown(value)}, but must be yes or no")
    constants = [parse_yes_no("yes"), parse_yes_no("no")]
    return Generated(
        parse_yes_no(said),
        parse_yes_no,
        max_tokens=max_tokens or 16,
        constants=constants,
        chance=0.5,
    )


def _make_exact(record: Record, max_tokens: int | None) -> Scorer:
    answer = record.scalar("answer")
    read = text_reader(answer)
    if read(answer) is None:
        raise record.error(f"'answer' is {shown(answer)}, which has nothing to compare")
    return Generated(read(answer), read, max_tokens=max_tokens or len(answer) + 16)


def text_reader(answer: str) -> Parser:
    return read_words if any(c.isalnum() for c in answer) else read_symbols


def _make_likelihood(record: Record, max_tokens: int | None) -> Scorer:
    answer = record.scalar("answer")
    return Likelihood(answer, n_unit=len(answer.encode("utf-8")), chance=1 / 256)


ENTRY_SCORERS: dict[str, Callable[[Record, int | None], Scorer]] = {
    "number": _make_number,
    "number_partial": _make_number_partial,
    "choice": _make_choice,
    "written_choice": _make_written_choice,
    "yes_no": _make_yes_no,
    "word": _make_word,
    "exact": _make_exact,
    "likelihood": _make_likelihood,
}


def read_entries(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Read our own format: every entry says how it is scored."""
    if settings.scoring is not None:
        raise ProbeError(
            f"scoring is {settings.scoring!r}, but every entry of {settings.name} has a 'scorer' itself"
        )
    entries = []
    for record in records:
        unknown = [name for name in record.value if name not in _FIELDS]
        if unknown:
            raise record.error(
                f"it has {', '.join(map(repr, unknown))}, but the fields are {', '.join(_FIELDS)}"
            )
        prompt = _prompt(record)
        scorer = record.text("scorer")
        if scorer not in ENTRY_SCORERS:
            raise record.error(
                f"'scorer' is {shown(scorer)}, but must be one of {', '.join(ENTRY_SCORERS)}"
            )
        max_tokens = record.value.get("max_tokens", settings.max_tokens)
        if max_tokens is not None and (
            type(max_tokens) is not int or not 1 <= max_tokens <= MAX_TOKENS
        ):
            raise record.error(
                f"'max_tokens' is {shown(max_tokens)}, but must be a whole number in 1..{MAX_TOKENS}"
            )
        item = Item(
            prompt=prompt,
            scorer=ENTRY_SCORERS[scorer](record, max_tokens),
            tags=_tags(record, settings),
        )
        answer = json.dumps(record.value.get("answer"))
        entries.append(Entry(json.dumps(prompt, ensure_ascii=False), answer, item))
    return entries


def _prompt(record: Record) -> str | Messages:
    if ("prompt" in record) == ("messages" in record):
        raise record.error("it must have either a 'prompt' or 'messages'")
    if "prompt" in record:
        return record.text("prompt")
    messages = record.value["messages"]
    good = isinstance(messages, list) and all(
        isinstance(message, dict)
        and set(message) == {"role", "content"}
        and message["role"] in ("system", "user", "assistant")
        and isinstance(message["content"], str)
        for message in messages
    )
    if not good or not messages or messages[-1]["role"] != "user":
        raise record.error(
            f"'messages' is {shown(messages)}, but must be a list of objects with a 'role' (system, user or assistant) "
            f"and a text as 'content', the user's last"
        )
    return [dict(message) for message in messages]


def _tags(record: Record, settings: Settings) -> dict[str, str | int]:
    tags = record.value.get("tags", {})
    if not isinstance(tags, dict) or not all(type(value) in (str, int) for value in tags.values()):
        raise record.error(
            f"'tags' is {shown(tags)}, but must be an object of texts and whole numbers"
        )
    return {"family": settings.name, **tags}


# Lists of {"question", "answer"}
def read_questions(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Read questions with answers: numbers if all of them are, else texts.

    Ng's own marks for his lists of large roots and products are the scoring "number_partial".
    """
    allowed = ("number", "number_partial", "yes_no", "exact", "likelihood")
    scoring = settings.choose(allowed, "number" if all(map(_is_number, records)) else "exact")
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
