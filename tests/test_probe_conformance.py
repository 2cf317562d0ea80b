"""Every probe keeps the rules that `rys.testing.check_probe` checks, and it notices each that is
broken.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest

import rys
from rys.cli import main
from rys.errors import ProbeError
from rys.probes import (
    BUILT_IN,
    DEFAULT_PROBES,
    REFERENCE_PROBES,
    Item,
    Probe,
    evaluate,
    load,
)
from rys.probes.eq import EQ
from rys.probes.eq_stories import TIERS as EQ_TIERS
from rys.probes.files import load as load_file
from rys.probes.formats.entries import ENTRY_SCORERS
from rys.probes.math import TIERS as MATH_TIERS
from rys.probes.math import Math
from rys.probes.reasoning import TIERS as REASONING_TIERS
from rys.probes.reasoning import Reasoning
from rys.probes.reference import Reference
from rys.probes.scorers import Choice, Generated
from rys.testing import check_probe
from support.tiny_model import write_tiny_model

DOCS = (Path(__file__).parent.parent / "docs" / "probes.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
(JSON_LINES,) = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)

PROBES = {
    **{
        f"math {tier} {score}": Math(tier, score)
        for tier in MATH_TIERS
        for score in ("likelihood", "exact", "partial")
    },
    **{f"eq {form}": EQ("rated", form) for form in ("digit", "list")},
    **{f"eq {tier} {form}": EQ(tier, form) for tier in EQ_TIERS for form in ("digit", "word")},
    **{
        f"reasoning {tier} {form}": Reasoning(tier, format=form)
        for tier in REASONING_TIERS
        for form in ("choice", "written", "steps")
    },
    **{f"reference {tier}": Reference(tier) for tier in ("easy", "hard", "mixed")},
    **{rung.name: rung for name in DEFAULT_PROBES for rung in load(name).rungs()},
}


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_built_in_probes_keep_the_rules(probe):
    check_probe(probe)


def test_names_load_all_built_in_probes():
    for name in BUILT_IN:
        assert load(name).id == name
    assert (
        load("math:hard").tier
        == load("reasoning:hard").tier
        == load("reference:hard").tier
        == "hard"
    )


def test_an_unknown_name_lists_the_built_in_probes():
    names = ", ".join(BUILT_IN)
    with pytest.raises(ProbeError, match=f"there is no probe 'chess'; give one of {names}, with"):
        load("chess")


def test_default_probes_are_built_in_and_the_help_names_them(capsys):
    assert set(DEFAULT_PROBES) | set(REFERENCE_PROBES) == set(BUILT_IN)
    for command in ("probe", "sweep"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert ",".join(DEFAULT_PROBES) in capsys.readouterr().out


# the documentation


def test_the_documentation_has_a_row_for_every_built_in_probe():
    rows = re.findall(r"^\| `(\w+)` \| ", DOCS, re.MULTILINE)
    assert rows == list(BUILT_IN)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    with rys.Model(
        write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf"), n_ctx=1024
    ) as model:
        yield model


def test_the_class_in_the_documentation_is_a_good_probe(tiny):
    names: dict[str, object] = {}
    (source,) = (example for example in EXAMPLES if "class Parity" in example)
    exec(source, names)  # our own page
    probe = names["Parity"]()
    (check,) = (example for example in EXAMPLES if "check_probe" in example)
    exec(check, names)
    for item in probe.items(50):
        number = int(re.findall(r"\d+", item.prompt)[0])
        assert item.scorer.target == ["even", "odd"][number % 2]
    result = evaluate(tiny, probe, n=8)["parity"]
    assert (result.n, result.chance, result.parse_rate) == (8, 0, 1)


def test_the_first_example_in_the_documentation_runs(capsys):
    with rys.reference_model(n_ctx=1024) as model:
        exec(EXAMPLES[0].replace("n=64", "n=4"), {"model": model})
    printed = capsys.readouterr().out
    assert printed.startswith("math ")
    assert "\nreasoning 0." in printed


def test_the_json_lines_in_the_documentation_are_a_good_probe(tmp_path, tiny):
    file = tmp_path / "mine.jsonl"
    file.write_text(JSON_LINES, encoding="utf-8")
    probe = load(str(file))
    assert (probe.id, len(probe)) == ("mine", len(JSON_LINES.splitlines()))
    check_probe(probe)
    for split in ("search", "confirm"):
        result = evaluate(tiny, probe, split=split)["mine"]
        assert result.n == len(probe) / 2
        assert result.n_failed == 0


def test_the_documentation_names_all_scorers_of_files():
    (listed,) = re.findall(r"^Scorers: (.*?)\. A hash", DOCS, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", listed)) == set(ENTRY_SCORERS)


# files


def test_files_of_every_scorer_keep_the_rules(tmp_path):
    answers = {
        "number": lambda i: {"answer": i},
        "number_partial": lambda i: {"answer": i + 1},
        "choice": lambda i: {"answer": "AB"[i % 2], "choices": ["A", "B"]},
        "written_choice": lambda i: {"answer": "ABC"[i % 3], "choices": ["A", "B", "C"]},
        "word": lambda i: {"answer": ("red", "blue")[i % 2], "choices": ["red", "blue"]},
        "yes_no": lambda i: {"answer": ("yes", "no")[i % 2]},
        "exact": lambda i: {"answer": f"word {i}"},
        "likelihood": lambda i: {"answer": f"word {i}"},
    }
    assert set(answers) == set(ENTRY_SCORERS)
    for scorer, answer in answers.items():
        file = tmp_path / f"{scorer}.jsonl"
        lines = [
            json.dumps({"prompt": f"Question {i}?", "scorer": scorer, **answer(i)})
            for i in range(40)
        ]
        file.write_text("\n".join(lines))
        check_probe(load_file(file))


def test_choices_of_each_question_its_own_have_a_floor_below_1(tmp_path):
    file = tmp_path / "own.jsonl"
    entries = [
        {
            "prompt": f"Question {i}?",
            "scorer": "word",
            "answer": "ab"[i // 2 % 2] + f"{i}",
            "choices": [f"a{i}", f"b{i}"],
        }
        for i in range(40)
    ]
    file.write_text("\n".join(map(json.dumps, entries)))
    check_probe(load_file(file))


# what check_probe notices


class Good(Probe):
    """Ask for a letter."""

    id = "good"

    def items(self, n, seed=0, split="search"):
        return [self.item(f"{split} {seed} {i}?", "AB"[i % 2]) for i in range(n)]

    def item(self, prompt, right, **fields):
        return Item(prompt=prompt, scorer=self.scorer(right), **fields)

    def scorer(self, right):
        return Choice("AB", right)


class NoId(Good):
    id = None


class NoVersion(Good):
    version = "1.0"


class Empty(Good):
    def items(self, n, seed=0, split="search"):
        return []


class EmptyConfirmation(Good):
    def items(self, n, seed=0, split="search"):
        return super().items(n, seed, split) if split == "search" else []


class TooMany(Good):
    def items(self, n, seed=0, split="search"):
        return super().items(n + 1, seed, split)


class Changing(Good):
    counter = itertools.count()

    def items(self, n, seed=0, split="search"):
        return [self.item(f"{next(self.counter)}?", "A") for _ in range(n)]


class Shuffled(Good):
    def items(self, n, seed=0, split="search"):
        items = super().items(n, seed, split)
        return random.SystemRandom().sample(items, n)


class Repeating(Good):
    def items(self, n, seed=0, split="search"):
        return [self.item(f"{split} {i // 2}?", "A") for i in range(n)]


class SameIds(Good):
    def items(self, n, seed=0, split="search"):
        return [self.item(f"{split} {seed} {i}?", "AB"[i % 2], id="one") for i in range(n)]


class SharedItems(Good):
    def items(self, n, seed=0, split="search"):
        return super().items(n, seed, "search")


class SharedWithAnotherSeed(Good):
    def items(self, n, seed=0, split="search"):
        return super().items(n, seed + (split == "confirm"), "search")


class ImperfectPerfect(Good):
    def scorer(self, right):
        return Generated(right, str.strip, lambda right, answer: 0.99)


class ScoreAbove1(Good):
    def scorer(self, right):
        return Generated(
            right,
            str.strip,
            lambda right, answer: 1.0 if answer == right else 2.0,
            constants=("C",),
        )


class ScoreBelow0(Good):
    def scorer(self, right):
        return Generated(
            right,
            str.strip,
            lambda right, answer: 1.0 if answer == right else -1.5,
            constants=("C",),
        )


class ScoreNan(Good):
    def scorer(self, right):
        return Generated(
            right,
            str.strip,
            lambda right, answer: 1.0 if answer == right else float("nan"),
            constants="C",
        )


class CertainChance(Good):
    def scorer(self, right):
        return Generated(right, str.strip, chance=1.0)


class AlwaysTheSame(Good):
    def scorer(self, right):
        return Choice("AB", "A")


class AlwaysTheSameText(Good):
    def scorer(self, right):
        return Generated("A", str.strip)


BROKEN = {
    NoId: "NoId.id is None, but must be a short name",
    NoVersion: "good: version is '1.0', but must be an int",
    Empty: r"good: items\(32, 0, 'search'\) gave 0 items",
    EmptyConfirmation: r"good: items\(32, 0, 'confirm'\) gave 0 items",
    TooMany: r"good: items\(32, 0, 'search'\) gave 33 items",
    Changing: r"good: the same arguments gave other items \(search\)",
    Shuffled: r"good: the same arguments gave other items \(search\)",
    Repeating: "good: two items of split 'search' have the same id",
    SameIds: "good: two items of split 'search' have the same id",
    SharedItems: "good: 96 items are in both splits",
    SharedWithAnotherSeed: "good: 64 items are in both splits",
    ImperfectPerfect: "good, item [0-9a-f]{12}: the target 'A' scores 0.99, but must score 1",
    ScoreAbove1: "good, item [0-9a-f]{12}: the answer 'C' scores 2",
    ScoreBelow0: "good, item [0-9a-f]{12}: the answer 'C' scores -1.5",
    ScoreNan: "good, item [0-9a-f]{12}: the answer 'C' scores nan",
    CertainChance: r"good, item [0-9a-f]{12}: chance is 1.0, but must be in \[0, 1\)",
    AlwaysTheSame: "good: the same answer to every item, A, is always right",
    AlwaysTheSameText: "good: the same answer to every item, A, is always right",
}


def test_a_good_probe_passes():
    check_probe(Good())
    check_probe(Good(), n=3)


@pytest.mark.parametrize(
    ("kind", "message"), BROKEN.items(), ids=[kind.__name__ for kind in BROKEN]
)
def test_a_broken_probe_is_noticed(kind, message):
    with pytest.raises(AssertionError, match=message):
        check_probe(kind())
