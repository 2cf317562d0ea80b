"""Hashes of items stay as they are: files of sweeps hold them, and know an item again by its hash.

Oracle: the digests in data/probe_digests.json, each computed when its probe got its version. They
may change only together with the version of the probe, on purpose.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Iterable
from pathlib import Path

import pytest

from rys.probes import Item, Probe
from rys.probes import load as load_by_name
from rys.probes.eq import EQ
from rys.probes.eq_stories import TIERS as EQ_TIERS
from rys.probes.files import load
from rys.probes.math import TIERS as MATH_TIERS
from rys.probes.math import Math
from rys.probes.reasoning import TIERS as REASONING_TIERS
from rys.probes.reasoning import Reasoning
from rys.probes.reference import Reference
from rys.probes.scorers import Choice, Generated
from rys.probes.stable_names import stable_name, stable_name_of

DATA = Path(__file__).parents[2] / "shared" / "data"
DIGESTS = json.loads(
    (Path(__file__).parent / "data" / "probe_digests.json").read_text(encoding="utf-8")
)


def digest(items: Iterable[Item]) -> str:
    """Return a short hash of the items' ids and hashes, in their order."""
    text = "\n".join(f"{item.id} {item.content_hash}" for item in items)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of(probe: Probe, n: int) -> str:
    """Return the digest of n items of each split."""
    return digest([*probe.items(n), *probe.items(n, 0, "confirm")])


SHOWN = (
    "math:basic:shots=6:style=plain",
    "reasoning:starter:shots=8:style=plain",
    "reasoning:easy:shots=4",
    "eq:basic:format=word:shots=6:style=plain",
    "eq:contrast:shots=6",
)


def built_in() -> dict[str, Probe]:
    """Return the built-in probes in every tier and every way of asking and scoring."""
    probes: dict[str, Probe] = {}
    for tier in MATH_TIERS:
        for score in ("likelihood", "exact", "partial"):
            probes[f"math {tier} {score}"] = Math(tier, score)
    for form in ("digit", "list"):
        probes[f"eq {form}"] = EQ("rated", form)
    for tier in EQ_TIERS:
        for form in ("digit", "word"):
            probes[f"eq {tier} {form}"] = EQ(tier, form)
    for tier in REASONING_TIERS:
        for form in ("choice", "written", "steps"):
            probes[f"reasoning {tier} {form}"] = Reasoning(tier, format=form)
    for tier in ("easy", "hard", "mixed"):
        probes[f"reference {tier}"] = Reference(tier)
    # with examples, one form of each
    for name in SHOWN:
        probes[name] = load_by_name(name)
    return probes


# One question for every scorer of our own format, and entries of every published form.
OWN = [
    {"prompt": "What is 3 + 4?", "answer": 7, "scorer": "number"},
    {"prompt": "What is 30 * 40?", "answer": 1200, "scorer": "number_partial"},
    {"prompt": "A or B?", "answer": "A", "scorer": "choice", "choices": ["A", "B"]},
    {"prompt": "A, B or C?", "answer": "C", "scorer": "written_choice", "choices": ["A", "B", "C"]},
    {"prompt": "Red or blue?", "answer": "red", "scorer": "word", "choices": ["red", "blue"]},
    {"prompt": "Is it?", "answer": True, "scorer": "yes_no"},
    {"prompt": "The capital of Peru?", "answer": "Lima", "scorer": "exact", "max_tokens": 9},
    {"prompt": "Close the brackets: ( [", "answer": "] )", "scorer": "exact"},
    {"prompt": "To be or not to", "answer": "be", "scorer": "likelihood", "tags": {"family": "f"}},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "The capital of Chile?"},
        ],
        "answer": "Santiago",
        "scorer": "exact",
    },
]
BBH = [
    {"input": "Which?\n(A) one\n(B) two", "target": "(B)"},
    {"input": "Which of these?\n- plausible\n- not plausible", "target": "plausible"},
    {"input": "Is it so?", "target": "No"},
    {"input": "not True is", "target": "False"},
    {"input": "2 + 3 =", "target": "5"},
    {"input": "Sort: b a", "target": "a b"},
    {"input": "Complete: < [", "target": "] >"},
]
GSM8K = [
    {"question": "Two and two?", "answer": "2 + 2 = 4\n#### 4"},
    {"question": "A thousand and one?", "answer": "#### 1,001"},
]
NUMBERS = [{"question": "7 * 6?", "answer": 42}, {"question": "5 - 8?", "answer": "-3"}]
TEXTS = [{"question": "Paris is in?", "answer": "France"}, {"question": "1 + 1?", "answer": "2"}]
RATED = {f"emotion{i + 1}": name for i, name in enumerate(("Glad", "Sad", "Shy", "Calm"))}
SCORES = {f"emotion{i + 1}_score": score for i, score in enumerate((7, 0, 2, "1"))}
EQ_BENCH = {
    "1": {
        "prompt": "A story.\n\nGive each of these possible emotions a score.\nGlad\nSad",
        "reference_answer": {**RATED, **SCORES},
        "reference_answer_fullscale": {**RATED, **SCORES, "emotion1_score": 9},
    },
    "2": {
        "prompt": "Another story. Rate Glad, Sad, Shy and Calm.",
        "reference_answer": {**RATED, **SCORES},
        "reference_answer_fullscale": {**RATED, **SCORES},
    },
}
MBPP = [
    {
        "prompt": "Write a function that adds.",
        "code": "def add(a, b):\n    return a + b",
        "test_list": ["assert add(1, 2) == 3"],
    }
]
COT = "A task.\n-----\nAnswer it.\n\nQ: Is 1 odd?\nA: So the answer is yes.\n"
SMALL_FILES = {
    "own.jsonl": (OWN, (None,)),
    "bbh.json": ({"examples": BBH}, (None,)),
    "gsm8k.jsonl": (GSM8K, (None, "flexible", "strict", "hash")),
    "numbers.jsonl": (NUMBERS, (None, "number_partial", "exact", "likelihood")),
    "texts.jsonl": (TEXTS, (None, "likelihood")),
    "eq.json": (EQ_BENCH, (None, "v2", "ng")),
    "mbpp.json": (MBPP, (None,)),
}


def small_digests(folder: Path) -> dict[str, str]:
    """Return the digest of each small file, by its name and scoring."""
    (folder / "cot.txt").write_text(COT, encoding="utf-8")
    found = {}
    for name, (content, scorings) in SMALL_FILES.items():
        path = folder / name
        lines = content if name.endswith(".jsonl") else [content]
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        for scoring in scorings:
            if scoring == "number_partial":  # refuses the negative number
                path.write_text(json.dumps(NUMBERS[0]), encoding="utf-8")
            found[f"{name} {scoring}"] = digest_of(load(path, scoring=scoring), 1000)
            path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found["bbh.json cot"] = digest_of(load(folder / "bbh.json", cot=folder / "cot.txt"), 1000)
    return found


def published_digests() -> dict[str, str]:
    """Return the digest of all items of each published file, by its path and settings."""
    found = {}
    for path in sorted((DATA / "bbh").glob("*.json")):
        found[f"bbh/{path.stem}"] = digest_of(load(path), 10**6)
        probe = load(path, cot=DATA / "bbh" / "cot-prompts")
        found[f"bbh/{path.stem} cot"] = digest_of(probe, 10**6)
    for scoring in ("flexible", "strict", "hash"):
        probe = load(DATA / "gsm8k" / "test.jsonl", scoring=scoring)
        found[f"gsm8k {scoring}"] = digest_of(probe, 10**6)
    for scoring in ("v2", "ng"):
        probe = load(DATA / "eq-bench" / "eq_bench_v2_questions_171.json", scoring=scoring)
        found[f"eq-bench {scoring}"] = digest_of(probe, 10**6)
    found["mbpp"] = digest_of(load(DATA / "mbpp" / "sanitized-mbpp.json"), 10**6)
    return found


@pytest.mark.parametrize(("name", "probe"), built_in().items(), ids=built_in())
def test_hashes_of_built_in_probes_stay(name: str, probe: Probe) -> None:
    assert digest_of(probe, 100) == DIGESTS["built-in"][name]


def test_every_built_in_probe_has_a_digest() -> None:
    assert built_in().keys() == DIGESTS["built-in"].keys()


def test_hashes_of_every_file_format_stay(tmp_path: Path) -> None:
    assert small_digests(tmp_path) == DIGESTS["small files"]


@pytest.mark.skipif(not (DATA / "bbh").is_dir(), reason=f"the published files are not in {DATA}")
def test_hashes_of_published_files_stay() -> None:
    assert published_digests() == DIGESTS["published files"]


def test_a_renamed_function_keeps_the_hash_of_its_items() -> None:
    def parse_letter(text: str) -> str:
        return text.strip()

    @stable_name(parse_letter.__qualname__)
    def first_letter(text: str) -> str:
        return text.strip()

    def another(text: str) -> str:
        return text.strip()

    before, renamed, other = (
        Item(prompt="A or B?", scorer=Generated("A", parse))
        for parse in (parse_letter, first_letter, another)
    )
    assert stable_name_of(first_letter) == parse_letter.__qualname__
    assert renamed.content_hash == before.content_hash
    assert other.content_hash != before.content_hash


def test_the_hash_of_an_item_is_computed_once() -> None:
    described = []

    class Counting(Choice):
        def describe(self) -> str:
            described.append(self.target)
            return super().describe()

    item = Item(prompt="A or B?", scorer=Counting("AB", "A"))
    assert item.id == item.content_hash[:12]
    assert item.content_hash == item.content_hash
    assert described == ["A"]
    # a copy with another prompt computes its own, and items compare by what they hold
    changed = dataclasses.replace(item, prompt="B or A?", id="")
    assert changed.content_hash != item.content_hash
    assert item == dataclasses.replace(item)
    assert (
        pickle.loads(pickle.dumps(EQ().items(1)[0])).content_hash == EQ().items(1)[0].content_hash
    )
