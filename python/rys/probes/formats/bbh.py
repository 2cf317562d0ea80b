"""Tasks of BIG-Bench-Hard: suzgunmirac/BIG-Bench-Hard, bbh/*.json and cot-prompts/*.txt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rys.errors import ProbeError
from rys.probes.base import Item, Scorer
from rys.probes.formats.record import Entry, Record, Settings, preview
from rys.probes.parsers import parse_number
from rys.probes.parsers.choice import choice_parser
from rys.probes.parsers.statements import last_stated_line
from rys.probes.parsers.text import text_parser
from rys.probes.parsers.word import word_parser
from rys.probes.scorers import Choice, Generated
from rys.probes.stable_names import stable_name, stable_name_of

__all__ = ["FIELDS", "matches", "parse_examples", "read"]

FIELDS = "'input' and 'target' (BIG-Bench-Hard)"

_PAIRS = (("yes", "no"), ("true", "false"), ("valid", "invalid"))
_OPTION = re.compile(r"^\(([A-Z])\)", re.MULTILINE)  # "(A) 12/14/1937"
_LABEL = re.compile(r"\([A-Z]\)")  # "(A)"
_LISTED = re.compile(r"^- (.+)$", re.MULTILINE)  # "- plausible"
_NUMBER = re.compile(r"-?\d{1,100}(\.\d{1,100})?")  # "-7", "3.5"
_DASHES = re.compile(r"^-{3,}\s*$", re.MULTILINE)  # "-----"
_TURN = re.compile(r"^(Q|A): ?", re.MULTILINE)  # "Q: ", "A: "


class _Target(NamedTuple):
    """The right answer of an entry.

    Attributes:
        kind: How it is answered.
        labels: The possible answers; empty for numbers and texts.
        answer: The right one, without parentheses.
    """

    kind: Literal["letter", "word", "number", "text"]
    labels: tuple[str, ...]
    answer: str


def matches(records: Sequence[Record]) -> bool:
    """Return whether entries have an input and a target."""
    return "input" in records[0] and "target" in records[0]


def read(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Return the items of a task.

    Options and words such as Yes and No are chosen by their probability as the next token; numbers
    and texts are written. With examples of reasoning everything is written, and read after the last
    "the answer is". An entry whose options do not include its target, or are only one (the files
    have four), is asked as text.

    Args:
        records: The entries.
        settings: `scoring` must be None; `examples` as `parse_examples` returns them.

    Raises:
        ProbeError: An entry is not as published, or a scoring was set.
    """
    settings.choose((), "")
    entries = []
    for record in records:
        question, target = record.text("input"), record.text("target")
        kind_of_target = _target(question, target)
        prompt: str | list[Mapping[str, str]]
        if settings.examples:
            prompt = [*settings.examples, {"role": "user", "content": question}]
        else:
            prompt = f"{question}\n\n{_instruction(kind_of_target)}"
        scorer = _scorer(record, kind_of_target, settings)
        item = Item(prompt=prompt, scorer=scorer, tags={"family": settings.name})
        entries.append(Entry(question, target, item))
    return entries


def _instruction(target: _Target) -> str:
    words = {
        "letter": "the letter of the right option",
        "word": " or ".join(target.labels),
        "number": "the number",
        "text": "the answer, on one line,",
    }
    return f"Reply with {words[target.kind]} alone."


def _target(question: str, target: str) -> _Target:
    """Return how a target is answered."""
    letters = tuple(_OPTION.findall(question))
    in_order = letters == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")[: len(letters)]
    if in_order and len(letters) > 1 and _LABEL.fullmatch(target) and target[1] in letters:
        return _Target("letter", letters, target[1])
    options = tuple(map(str.strip, _LISTED.findall(question)))
    if 1 < len(options) == len(set(options)) and target in options:
        return _Target("word", options, target)
    for pair in _PAIRS:
        if target in pair:
            return _Target("word", pair, target)
        if target.lower() in pair and target.istitle():
            return _Target("word", tuple(map(str.title, pair)), target)
    if _NUMBER.fullmatch(target):
        return _Target("number", (), target)
    return _Target("text", (), target)


def _scorer(record: Record, target: _Target, settings: Settings) -> Scorer:
    labels = target.labels
    if labels and not settings.examples:
        # by accuracy, as published figures are
        return Choice(labels, target.answer, "accuracy")
    parse = _parser(target)
    # a label is its own answer; numbers and texts are compared in the form that is read
    right = target.answer if labels else parse(target.answer)
    if right is None:
        raise record.error(f"'target' is {preview(target.answer)}, which has nothing to compare")
    if not settings.examples:
        max_tokens = settings.max_tokens or len(target.answer) + 16
        return Generated(right, parse, max_tokens=max_tokens)
    return Generated(
        right,
        _only_stated(parse),
        max_tokens=settings.max_tokens or 1024,
        stop=("\nQ:", "\nQuestion:"),  # plain models go on with a question of their own
        constants=labels,
        chance=1 / len(labels) if labels else 0.0,
    )


def _parser(target: _Target) -> Callable[[str], Any]:
    if target.kind == "letter":
        return choice_parser(target.labels)
    if target.kind == "word":
        return word_parser(target.labels)
    return parse_number if target.kind == "number" else text_parser(target.answer)


def _only_stated(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the parser that reads only what stands after the last "the answer is"."""

    @stable_name(f"stated {stable_name_of(parse)}")
    def parse_stated(text: str) -> Any:
        line = last_stated_line(text)
        return parse(line) if line else None

    return parse_stated


def parse_examples(where: str, text: str) -> tuple[Mapping[str, str], ...]:
    """Return the messages of a file with examples of reasoning.

    A description stands before the first question, and goes with it. What stands before a line of
    dashes is not for the model.

    Args:
        where: The file's name, for the error.
        text: Its text: the description, then "Q: ..." and "A: ..." in turn.

    Raises:
        ProbeError: The text is of another form.
    """
    body = _DASHES.split(text.replace("\r\n", "\n"), maxsplit=1)[-1]
    description, *parts = _TURN.split(body)
    kinds, contents = parts[::2], [part.strip() for part in parts[1::2]]
    if not parts or kinds != ["Q", "A"] * (len(parts) // 4) or not all(contents):
        raise ProbeError(
            f'{where}: it must hold questions and answers in turn, with "Q: " and "A: " in front '
            f"of them"
        )
    messages = []
    for kind, content in zip(kinds, contents, strict=True):
        messages.append({"role": "user" if kind == "Q" else "assistant", "content": content})
    messages[0]["content"] = f"{description.strip()}\n\n{messages[0]['content']}".strip()
    return tuple(messages)
