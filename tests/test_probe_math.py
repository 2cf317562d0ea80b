"""The probe `math`: every answer against Python's own arithmetic, read from the question; and its
three scores.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import time
from collections import Counter
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

import rys
from rys.errors import ProbeError
from rys.probes import evaluate
from rys.probes.base import Item
from rys.probes.floors import best_constant
from rys.probes.math import TIERS, Math, cube_root, square_root
from rys.probes.published_scores import ng_partial_credit
from rys.probes.scorers import Generated, Likelihood
from rys.requests import GenerateResult
from support.tiny_model import write_tiny_model

SPLITS = ("search", "confirm")
DIGITS = {
    "basic": {"addition": 1, "successor": 3, "take_away": 1, "larger": 2},
    "easy": {"addition": 2, "subtraction": 2, "product": 1},
    "medium": {"addition": 4, "subtraction": 4, "product": 2, "product_and_sum": 2},
    "hard": {"addition": 9, "product": 3, "square_root": 8, "cube_root": 9},
    "expert": {"product": 5, "product_and_sum": 4, "square_root": 12, "remainder": 6},
    "original": {"square_root": 14, "product": 7, "cube_root": 17},
}

each_tier = pytest.mark.parametrize("tier", list(TIERS))


def solve(prompt: str) -> int:
    """Return the answer of a question: the oracle, which shares nothing with the generators."""
    if asked := re.fullmatch(r"What is ([\d +*-]+)\? Answer with the number only\.", prompt):
        result = eval(asked[1])  # digits and operators only
        assert isinstance(result, int)
        return result
    if asked := re.fullmatch(r"Which number comes after (\d+)\? Answer .*", prompt):
        return int(asked[1]) + 1
    if asked := re.fullmatch(r"Which number is larger, (\d+) or (\d+)\? Answer .*", prompt):
        return max(map(int, asked.groups()))
    if asked := re.fullmatch(r"What is the remainder of (\d+) divided by (\d+)\? .*", prompt):
        return int(asked[1]) - int(asked[1]) // int(asked[2]) * int(asked[2])
    asked = re.fullmatch(
        r"What is the (square|cube) root of (\d+), rounded to the nearest whole number\? "
        r"Answer with the number only\.",
        prompt,
    )
    assert asked, prompt
    degree, a = {"square": 2, "cube": 3}[asked[1]], Decimal(asked[2])
    with localcontext() as context:
        context.prec = 60
        return int((a ** (Decimal(1) / degree)).to_integral_value())


def right(item: Item) -> str:
    return item.scorer.text if isinstance(item.scorer, Likelihood) else str(item.scorer.target)


@each_tier
@pytest.mark.parametrize("split", SPLITS)
def test_answers_are_right(tier, split):
    for seed in range(3):
        for item in Math(tier).items(200, seed, split):
            assert right(item) == str(solve(item.prompt)), item.prompt


@pytest.mark.parametrize(("family", "degree"), [(square_root, 2), (cube_root, 3)])
def test_roots_are_the_nearest_beside_powers_and_between_whole_numbers(family, degree):
    class Drawn(random.Random):
        number = 0

        def randrange(self, *_):
            return self.number

    rng = Drawn()
    for root in [2, 3, 10, 99, 1000, 10**5, 316227766, 10**9 + 7]:
        half = (2 * root + 1) ** degree // 2**degree  # the last whole number whose root rounds down
        for number in (root**degree - 1, root**degree, root**degree + 1, half - 1, half, half + 1):
            rng.number = number
            answer = int(family(rng, 0).answer)
            # exact: answer - 1/2 <= root of the number < answer + 1/2
            assert (2 * answer - 1) ** degree <= 2**degree * number < (2 * answer + 1) ** degree


@each_tier
def test_tiers_ask_their_families_in_turn_with_their_numbers_of_digits(tier):
    families = DIGITS[tier]
    items = Math(tier).items(10 * len(families))
    assert [item.tags["family"] for item in items] == list(families) * 10
    for item in items:
        digits = families[item.tags["family"]]
        assert item.tags["difficulty"] == digits
        numbers = re.findall(r"\d+", item.prompt)
        if item.tags["family"] == "remainder":
            numbers[1] += "00"  # the divisor has two digits fewer
        if item.tags["family"] == "take_away":
            del numbers[0]  # a sum, which may have a digit more
        assert {len(number) for number in numbers} == {digits}
        assert right(item).isdecimal()


def test_other_tiers_and_scores_are_refused():
    with pytest.raises(
        ProbeError,
        match="tier is 'huge', but must be one of 'basic', 'easy', 'medium', 'hard', 'expert', ",
    ):
        Math("huge")
    with pytest.raises(
        ProbeError, match="score is 'f1', but must be one of 'likelihood', 'exact', 'partial'"
    ):
        Math(score="f1")


@each_tier
def test_splits_and_seeds(tier):
    asked = {
        split: {item.prompt for seed in range(4) for item in Math(tier).items(300, seed, split)}
        for split in SPLITS
    }
    assert not asked["search"] & asked["confirm"]
    first, again, other = ([i.prompt for i in Math(tier).items(60, seed)] for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert len(set(first)) == len(first) == 60
    assert [item.prompt for item in Math(tier).items(7, 5)] == first[:7]


def test_a_small_family_ends_and_the_others_go_on():
    items = Math("easy").items(1000)
    counts = Counter(item.tags["family"] for item in items)
    # three eighths of the 9 * 9 products of one digit are in the split
    assert 5 <= counts["product"] <= 45
    assert len({item.prompt for item in items}) == len(items) == 1000


# Of 16 items; must be the same on every machine and for ever, or else `version` goes up.
FIRST_ITEMS = {
    "basic": "c3639888c963c065bd4215c4ced7480bce072fd7df678750f5847ce75ddf58b1",
    "easy": "5da6b62c9f64e3c067488822efbc2e37498e3577d49473cc5bf638db16713e5a",
    "medium": "fe5bbf22cdc4cbbbd7c0040a87452bd7628fcffebd12f4c703371fd789b04d26",
    "hard": "9d6b4f613a23b2841f3655b85d25843283a41a54a6a3e3ba0f5ae82236d43b83",
    "expert": "4175f1fe86c7b6d7b43d5d318991696baa79ba62e6169d3cb8bf461cc42f4593",
    "original": "c7b84d0f86f4809678673094a634e1ac2abcdd05e27cf80f8bd34593bb7e3856",
}


@each_tier
def test_first_items_are_pinned(tier):
    items = [[item.prompt, right(item)] for item in Math(tier).items(16)]
    assert hashlib.sha256(json.dumps(items).encode()).hexdigest() == FIRST_ITEMS[tier]
    assert Math.version == 2


@each_tier
def test_items_build_quickly(tier):
    Math(tier).items(10)
    start = time.process_time()
    items = [item for seed in range(4) for item in Math(tier).items(600, seed)]
    assert time.process_time() - start < 0.2 * len(items) / 1000


# scores


def written(text: str, finish_reason="eos") -> GenerateResult:
    return GenerateResult(
        text=text, tokens=[1], logprobs=None, finish_reason=finish_reason,
        n_prompt_tokens=1, n_shared_tokens=0, seconds=0.0,
    )  # fmt: skip


def score_of(item: Item, text: str) -> float | None:
    reading = item.scorer.read([written(text)])
    return None if reading.answer is None else item.scorer.score(reading.answer)


def test_exact_scores_the_right_number_in_any_writing():
    for item in Math("original", "exact").items(30):
        answer = item.scorer.target
        assert isinstance(item.scorer, Generated)
        for text in (
            f"{answer}",
            f"{answer:,}",
            f"The answer is **{answer}**.",
            f"\\boxed{{{answer}}}",
            f"= {answer}.0",
        ):
            assert score_of(item, text) == 1, text
        for text in (f"{answer + 1}", f"-{answer}", f"{answer}0"):
            assert score_of(item, text) == 0, text
        assert score_of(item, "I cannot say.") is None


def test_partial_scores_by_the_published_formula():
    for item in Math("original", "partial").items(30):
        answer = item.scorer.target
        assert score_of(item, f"{answer:,}") == 1
        for estimate in (
            answer + 1,
            answer // 10,
            10 * answer,
            answer + 10 ** (len(str(answer)) - 1),
        ):
            assert score_of(item, str(estimate)) == ng_partial_credit(answer, estimate) < 1
        assert score_of(item, "0.2") == ng_partial_credit(answer, 0) == 0
        assert score_of(item, f"{answer}.25") == 1  # the nearest whole number counts
        assert score_of(item, f"-{answer}") == 0
        assert score_of(item, "1e300") is None  # no number that could be meant
        assert score_of(item, "Sorry.") is None


def test_an_answer_that_is_cut_off_is_counted_so():
    (item,) = Math("hard", "exact").items(1)
    assert item.scorer.read([written("Let me see", "length")]).truncated
    assert not item.scorer.read([written("Let me see")]).truncated
    assert not item.scorer.read([written("12", "length")]).truncated


def test_floors():
    for tier in TIERS:
        assert best_constant(Math(tier).items(64))[0] == pytest.approx(0.1)
        assert best_constant(Math(tier, "exact").items(64))[0] < (
            0.5 if tier in ("basic", "easy") else 0.05
        )
    # the floor that the published probe does not tell: some number has most of the credit
    assert 0.2 < best_constant(Math("original", "partial").items(64))[0] < 0.8


def hand_computed(model: rys.Model, prompt: str, answer: str, digits: int) -> float:
    """Return exp(sum of log-probabilities / digits) of an answer, from the logits after every
    token.
    """
    head, tail = model.tokenize(prompt), model.tokenize(answer, add_special=False)
    assert model.tokenize(prompt + answer) == head + tail
    logits = model.logits(head + tail).astype(np.float64)
    total = 0.0
    for place, token in enumerate(tail, len(head)):
        row = logits[place - 1]
        total += row[token] - row.max() - math.log(np.exp(row - row.max()).sum())
    return math.exp(total / digits)


@pytest.mark.parametrize("path", [None, "0..7,4..11"])
def test_likelihood_is_the_probability_of_the_answer_per_digit(path):
    with rys.reference_model(path, n_ctx=512) as model:
        result = evaluate(model, Math("medium"), n=8)["math"]
        for item, score, details in zip(result.items, result.scores, result.details, strict=True):
            prompt = model.apply_chat_template([{"role": "user", "content": item.prompt}])
            answer = str(solve(item.prompt))
            expected = hand_computed(model, prompt, answer, len(answer))
            # in a batch with others, the engine rounds otherwise; the score spans some orders of
            # magnitude
            assert score == pytest.approx(expected, rel=0.1)
            assert score == pytest.approx(math.exp(details["logprob"] / len(answer)))
    assert result.parse_rate == 1
    assert result.chance == pytest.approx(0.1)
    assert result.n_generated_tokens == 0


def test_likelihood_of_a_model_without_template_is_that_of_the_answer_after_a_space(tmp_path: Path):
    file = write_tiny_model(tmp_path / "plain.gguf", chat_template=None)
    with rys.Model(file, n_ctx=512) as model:
        result = evaluate(model, Math("easy"), n=6)["math"]
        for item, score in zip(result.items, result.scores, strict=True):
            answer = str(solve(item.prompt))
            prompt = f"Question: {item.prompt}\nAnswer:"
            assert score == pytest.approx(
                hand_computed(model, prompt, f" {answer}", len(answer)), rel=0.02
            )
