"""Published question lists, in the files in which they are published: from JSON entries to items.

No code from a file is ever run.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rys.errors import ProbeError
from rys.probes.answers import parse_number, parse_ratings
from rys.probes.base import Item, Scorer
from rys.probes.compat import eq_bench_v2, ng_eq
from rys.probes.lists import (
    Entry,
    Parser,
    Record,
    Settings,
    label_reader,
    named,
    shown,
    stated,
    text_reader,
    word_reader,
)
from rys.probes.scorers import Choice, Generated, Likelihood

__all__ = ["parse_examples", "read_bbh", "read_eq", "read_gsm8k", "read_mbpp"]

_PAIRS = (("yes", "no"), ("true", "false"), ("valid", "invalid"))


# BIG-Bench-Hard: suzgunmirac/BIG-Bench-Hard, bbh/*.json and cot-prompts/*.txt
def read_bbh(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Read a task of BIG-Bench-Hard.

    Options and words such as Yes and No are chosen by their probability as the next token, numbers
    and texts written. With examples of reasoning everything is written, and read after the last
    "the answer is". An entry whose options do not include its target, or are only one (the files
    have four), is asked as text.
    """
    settings.choose((), "")
    entries = []
    for record in records:
        question, target = record.text("input"), record.text("target")
        kind, labels, right = _bbh_kind(question, target)
        scorer = _bbh_scorer(record, kind, labels, right, settings)
        tags = {"family": settings.name}
        if settings.examples:
            turns = [*settings.examples, {"role": "user", "content": question}]
            item = Item(prompt=turns, scorer=scorer, tags=tags)
        else:
            words = {
                "letter": "the letter of the right option",
                "word": " or ".join(labels),
                "number": "the number",
                "text": "the answer, on one line,",
            }
            item = Item(
                prompt=f"{question}\n\nReply with {words[kind]} alone.", scorer=scorer, tags=tags
            )
        entries.append(Entry(question, target, item))
    return entries


def _bbh_kind(question: str, target: str) -> tuple[str, tuple[str, ...], str]:
    """Return how a target is answered ("letter", "word", "number" or "text"), among which labels,
    and the right one.
    """
    letters = tuple(re.findall(r"^\(([A-Z])\)", question, re.MULTILINE))
    in_order = letters == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")[: len(letters)] and len(letters) > 1
    if in_order and re.fullmatch(r"\([A-Z]\)", target) and target[1] in letters:
        return "letter", letters, target[1]
    options = tuple(option.strip() for option in re.findall(r"^- (.+)$", question, re.MULTILINE))
    if 1 < len(options) == len(set(options)) and target in options:
        return "word", options, target
    for pair in _PAIRS:
        if target in pair:
            return "word", pair, target
        if target.lower() in pair and target.istitle():
            return "word", tuple(word.title() for word in pair), target
    if re.fullmatch(r"-?\d{1,100}(\.\d{1,100})?", target):
        return "number", (), target
    return "text", (), target


def _bbh_scorer(
    record: Record, kind: str, labels: tuple[str, ...], right: str, settings: Settings
) -> Scorer:
    if labels and not settings.examples:
        return Choice(labels, right)
    parse = {
        "letter": label_reader(labels),
        "word": word_reader(labels),
        "number": parse_number,
        "text": text_reader(right),
    }[kind]
    perfect = right if labels else parse(right)
    if perfect is None:
        raise record.error(f"'target' is {shown(right)}, which has nothing to compare")
    if not settings.examples:
        return Generated(perfect, parse, max_tokens=settings.max_tokens or len(right) + 16)
    return Generated(
        perfect,
        _only_stated(parse),
        max_tokens=settings.max_tokens or 1024,
        stop=("\nQ:", "\nQuestion:"),  # plain models go on with a question of their own
        constants=labels,
        chance=1 / len(labels) if labels else 0.0,
    )


def _only_stated(parse: Parser) -> Parser:
    def read(text: str) -> Any:
        said = stated(text)
        return parse(said) if said else None

    return named(read, f"stated {parse.__qualname__}")


def parse_examples(where: str, text: str) -> tuple[Mapping[str, str], ...]:
    """Return the messages of a file with examples of reasoning: a description, then "Q: ..." and
    "A: ..." in turn.

    The description stands before the first question. What stands before a line of dashes is not for
    the model.
    """
    body = re.split(r"^-{3,}\s*$", text.replace("\r\n", "\n"), maxsplit=1, flags=re.MULTILINE)[-1]
    description, *parts = re.split(r"^(Q|A): ?", body, flags=re.MULTILINE)
    if (
        not parts
        or parts[::2] != ["Q", "A"] * (len(parts) // 4)
        or not all(part.strip() for part in parts[1::2])
    ):
        raise ProbeError(
            f'{where}: it must hold questions and answers in turn, with "Q: " and "A: " in front of them'
        )
    messages = [
        {"role": "user" if kind == "Q" else "assistant", "content": part.strip()}
        for kind, part in zip(parts[::2], parts[1::2], strict=True)
    ]
    messages[0]["content"] = f"{description.strip()}\n\n{messages[0]['content']}".strip()
    return tuple(messages)


# GSM8K: openai/grade-school-math; its marks: EleutherAI/lm-evaluation-harness, gsm8k and gsm8k_cot
# (version 3)
def gsm8k_strict(text: str) -> str | None:
    """Return the number of the first "The answer is N.", as gsm8k_cot's strict-match reads it.

    The source's pattern wants one more character after the number, so it loses a number's last
    digit at a text's end.
    """
    match = re.search(r"The answer is (-?[0-9.,]+).", text)
    return _gsm8k_folded(match[1]) if match else None


def gsm8k_hash(text: str) -> str | None:
    """Return the number after the first "#### ", as the strict-match of gsm8k reads it."""
    match = re.search(r"#### (-?[0-9.,]+)", text)
    return _gsm8k_folded(match[1]) if match else None


def gsm8k_flexible(text: str) -> str | None:
    """Return the last number, as the flexible-extract of both tasks reads it."""
    found = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text)
    return _gsm8k_folded(found[-1][0] or found[-1][1]) if found else None


def _gsm8k_last_number(text: str) -> str | None:
    """Return what `gsm8k_flexible` reads, or None where that is dots alone."""
    number = gsm8k_flexible(text)
    return number if number and any(map(str.isdigit, number)) else None


def _gsm8k_folded(text: str) -> str:
    for ignored in (",", r"\$", r"(?s).*#### ", r"\.$"):
        text = re.sub(ignored, "", text)
    return text.strip().lower()


def read_gsm8k(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Read problems whose answers end with "#### N". They are asked without examples.

    scoring: "flexible" (the default) = the last number; "strict" = of "The answer is N."; "hash" =
        of "#### N", for
    which the prompt asks, too. Numbers are compared as text: 18.00 is not 18.
    """
    readers: dict[str, Parser] = {
        "flexible": _gsm8k_last_number,
        "strict": gsm8k_strict,
        "hash": gsm8k_hash,
    }
    scoring = settings.choose(list(readers), "flexible")
    ending = "#### N" if scoring == "hash" else "The answer is N."
    entries = []
    for record in records:
        question, solution = record.text("question"), record.text("answer")
        target = re.search(r"####\s*([-+]?\$?\d[\d,]*(?:\.\d+)?)\s*\Z", solution)
        if not target:
            raise record.error(
                f"'answer' ends with {shown(solution[-40:])}, but must end with #### and a number"
            )
        scorer = Generated(
            _gsm8k_folded(target[1]),
            readers[scoring],
            max_tokens=settings.max_tokens or 512,
            reasons=True,
        )
        prompt = f'{question.strip()}\n\nReason step by step, and end with "{ending}", where N is the number.'
        entries.append(
            Entry(
                question,
                target[1],
                Item(prompt=prompt, scorer=scorer, tags={"family": settings.name}),
            )
        )
    return entries


# EQ-Bench v2: EQ-bench/EQ-Bench, data/eq_bench_v2_questions_171.json; Ng's sets hold entries of the
# same form
_RATINGS = tuple(map(float, range(11)))
_EQ_INSTRUCTIONS = "\nGive each of these possible emotions"


def _eq_v2(reference: Sequence[float], ratings: Sequence[float]) -> float:
    return max(0.0, min(1.0, eq_bench_v2(reference, ratings) / 100))


def _eq_ng(reference: Sequence[float], ratings: Sequence[float]) -> float:
    return ng_eq(reference, ratings)


def read_eq(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Read dialogues with four emotions to rate.

    The task's own instructions, for two passes and a critique, give way to ours: four lines with
    the ratings. A prompt without them is asked as it stands; of two ratings of an emotion the last
    counts.

    scoring: "v2" (the default) = the official formula over the full-scale references, cut to 0..1;
        "ng" = Ng's, with
    confidence 1, over `reference_answer`; also the default where an entry has no full-scale
    references.
    """
    has_full_scale = all("reference_answer_fullscale" in record for record in records)
    scoring = settings.choose(("v2", "ng"), "v2" if has_full_scale else "ng")
    mark = _eq_v2 if scoring == "v2" else _eq_ng
    entries = []
    for record in records:
        prompt = record.text("prompt")
        is_ng = scoring == "ng" and "reference_answer" in record
        names, references = _eq_reference(
            record, "reference_answer" if is_ng else "reference_answer_fullscale"
        )
        dialogue, found, _ = prompt.partition(_EQ_INSTRUCTIONS)
        if found:
            lines = "\n".join(f"{name}: <score>" for name in names)
            question = (
                f"{dialogue.strip()}\n\nGive each of these possible emotions a score from 0 to 10 for its intensity. "
                f"Reply with four lines and nothing else:\n{lines}"
            )
        else:
            question = prompt.strip()
        scorer = Generated(
            references,
            _eq_reader(names),
            mark,
            max_tokens=settings.max_tokens or (64 if found else 768),
            constants=[(rating,) * 4 for rating in _RATINGS],
            chance=_eq_chance(references, mark),
        )
        answer = f"{names} {references}"
        entries.append(
            Entry(
                prompt, answer, Item(prompt=question, scorer=scorer, tags={"family": settings.name})
            )
        )
    return entries


def _eq_reference(record: Record, field: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return the names of four emotions and their references."""
    reference = Record(f"{record.where}, {field!r}", record.value.get(field))
    names = tuple(reference.text(f"emotion{i}").strip() for i in range(1, 5))
    numbers = tuple(float(reference.number(f"emotion{i}_score")) for i in range(1, 5))
    if len({name.casefold() for name in names}) < 4:
        raise reference.error(f"the emotions are {', '.join(names)}, but must be all different")
    if not all(0 <= number <= 10 for number in numbers):
        raise reference.error(f"the scores are {numbers}, but must be in 0..10")
    return names, numbers


def _eq_reader(names: tuple[str, ...]) -> Parser:
    def read(text: str) -> tuple[float, ...] | None:
        ratings = parse_ratings(text, names)  # a name's last rating, so the revised one
        return None if ratings is None else tuple(ratings)

    return named(read, f"ratings {names}")


def _eq_chance(
    references: Sequence[float], mark: Callable[[Sequence[float], Sequence[float]], float]
) -> float:
    """Return the mean score of whole ratings at random: exactly, over all 11^4 answers.

    Both formulae subtract a loss per emotion from 1 and cut at 0, which one loss alone never
    reaches.
    """
    perfect = list(references)
    losses = np.array(
        [
            [1 - mark(perfect, [*perfect[:k], r, *perfect[k + 1 :]]) for r in _RATINGS]
            for k in range(4)
        ]
    )
    total = sum(np.ix_(*losses))  # [11, 11, 11, 11]
    return float(np.maximum(0, 1 - total).mean())


# MBPP: google-research, mbpp/sanitized-mbpp.json (and mbpp.jsonl, whose prompts are called text)
def read_mbpp(records: Sequence[Record], settings: Settings) -> list[Entry]:
    """Read programming tasks, scored by the probability of the reference code per byte. Nothing is
    run.

    Another program that is as good has no credit.
    """
    settings.choose((), "")
    entries = []
    for record in records:
        task, tests = record.text("prompt", "text"), record.texts("test_list")
        code = textwrap.dedent(record.text("code").replace("\r\n", "\n")).strip()
        prompt = f"{task.strip()}\n\nThese tests should pass:\n{chr(10).join(tests)}\n\nReply with the Python code alone."
        scorer = Likelihood(code, n_unit=len(code.encode("utf-8")), chance=1 / 256)
        entries.append(
            Entry(prompt, code, Item(prompt=prompt, scorer=scorer, tags={"family": settings.name}))
        )
    return entries
