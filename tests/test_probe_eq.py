"""The probe `eq`: its situations, and that no answer without reading scores."""

from __future__ import annotations

import json
import math
import time
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import rys
from rys.errors import ProbeError
from rys.probes import eq_rated as eq
from rys.probes.base import SearchSplit
from rys.probes.eq import EQ
from rys.probes.eq_rated import Situation
from rys.probes.floors import best_constant
from rys.probes.published_scores import eq_bench_penalties
from rys.probes.scorers import Generated, Ratings
from rys.requests import GenerateResult

SPLITS: tuple[SearchSplit, ...] = ("search", "confirm")
POOL = eq.situations()

each_situation = pytest.mark.parametrize("situation", POOL, ids=lambda situation: situation.id)


# the situations


@each_situation
def test_a_situation_is_well_formed(situation: Situation) -> None:
    assert 40 <= len(situation.situation.split()) <= 90
    assert situation.person in situation.situation
    assert "{" not in situation.situation
    assert len(set(situation.emotions)) == len(situation.ratings) == 4
    assert all(
        emotion.isascii() and emotion.isalpha() and emotion.islower()
        for emotion in situation.emotions
    )
    assert all(0 <= rating <= 10 and (2 * rating).is_integer() for rating in situation.ratings)
    assert max(situation.ratings) >= 8
    assert min(situation.ratings) <= 2
    assert situation.why.endswith(".")
    for text in (situation.situation, situation.why):
        assert text.isprintable()
        assert text == " ".join(text.split())


def test_no_situation_is_there_twice() -> None:
    assert len(POOL) == 64
    assert len({situation.id for situation in POOL}) == len(POOL)
    assert len({situation.person for situation in POOL}) == len(POOL)
    words = [situation.situation.lower().split() for situation in POOL]
    assert (
        max(SequenceMatcher(None, a, b, autojunk=False).ratio() for a, b in combinations(words, 2))
        < 0.4
    )


def test_positions_tell_nothing() -> None:
    ratings = np.array([situation.ratings for situation in POOL])
    assert np.ptp(ratings.mean(axis=0)) < 0.1
    for extreme in (ratings.argmax(axis=1), ratings.argmin(axis=1)):
        assert np.bincount(extreme, minlength=4).tolist() == [16] * 4


def test_emotions_tell_little() -> None:
    # who knows the usual rating of each emotion, in the other situations, but does not read this
    # one
    seen: dict[str, list[tuple[str, float]]] = {}
    for situation in POOL:
        for emotion, rating in zip(situation.emotions, situation.ratings, strict=True):
            seen.setdefault(emotion, []).append((situation.id, rating))
    scores = []
    for situation in POOL:
        others = [
            [r for name, r in seen[emotion] if name != situation.id]
            for emotion in situation.emotions
        ]
        usual = [float(np.median(ratings)) if ratings else 4.0 for ratings in others]
        scores.append(eq.score_ratings(situation.ratings, usual))
    assert np.mean(scores) < 0.15


def test_the_file_says_how_the_ratings_were_set() -> None:
    content = json.loads(
        (Path(rys.__file__).parent / "data" / "eq_situations.json").read_text(encoding="utf-8")
    )
    assert content["version"] == 1
    assert "No panel of people" in content["how"]


# the splits


def test_splits_share_no_situation() -> None:
    search, confirm = (
        {item.id for item in EQ("rated").items(100, split=split)} for split in SPLITS
    )
    assert len(search) == len(confirm) == 32
    assert not search & confirm
    # another seed shuffles, but moves nothing from one split to the other
    assert {item.id for item in EQ("rated").items(100, seed=5)} == search


@pytest.mark.parametrize("form", ["digit", "list"])
def test_items_are_the_same_every_time(form: str) -> None:
    first, again = (EQ("rated", form).items(20, seed=3) for _ in range(2))
    assert [item.content_hash for item in first] == [item.content_hash for item in again]
    assert [item.id for item in EQ("rated", form).items(5, seed=3)] == [
        item.id for item in first[:5]
    ]
    assert [item.id for item in EQ("rated", form).items(20, seed=4)] != [item.id for item in first]


def test_hashes_of_all_items_differ() -> None:
    items = [
        item
        for form in ("digit", "list")
        for split in SPLITS
        for item in EQ("rated", form).items(100, split=split)
    ]
    assert len({item.content_hash for item in items}) == len(items) == 128


def test_items_build_quickly() -> None:
    EQ("rated").items(1)  # reads the file
    EQ("rated").items(100)
    start = time.process_time()
    n_item = sum(len(EQ("rated").items(100)) for _ in range(30))
    assert time.process_time() - start < 0.2 * n_item / 1000


def test_other_formats_are_refused() -> None:
    with pytest.raises(ProbeError, match="format is 'lines', but must be one of 'digit', 'list'"):
        EQ("rated", "lines")


# marking


@each_situation
def test_the_references_score_1(situation: Situation) -> None:
    assert eq.score_ratings(situation.ratings, situation.ratings) == 1


@each_situation
def test_one_number_for_all_scores_0(situation: Situation) -> None:
    assert all(eq.score_ratings(situation.ratings, [number / 10] * 4) == 0 for number in range(101))
    # between the numbers that the zero was taken from
    anything = np.random.default_rng(0).uniform(0, 10, 200)
    assert max(eq.score_ratings(situation.ratings, [number] * 4) for number in anything) < 1e-4


@each_situation
def test_better_ratings_score_more(situation: Situation) -> None:
    near, far = ([abs(rating - distance) for rating in situation.ratings] for distance in (1, 3))
    assert 1 > eq.score_ratings(situation.ratings, near) > eq.score_ratings(situation.ratings, far)
    opposite = [10 - rating for rating in situation.ratings]
    assert eq.score_ratings(situation.ratings, opposite) == 0


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_ratings_of_a_broken_model_score_0(broken: float) -> None:
    assert eq.score_ratings((9, 0, 4, 2), (9, 0, 4, broken)) == 0


@pytest.mark.parametrize("split", SPLITS)
def test_the_best_constant_scores_about_0(split: SearchSplit) -> None:
    items = EQ("rated").items(100, split=split)
    assert len(items[0].scorer.constants) == 11 + 2
    floor, _ = best_constant(items)
    assert floor < 0.01


def test_no_list_that_ignores_the_situation_beats_the_constants() -> None:
    answers = np.stack(np.meshgrid(*[np.arange(11.0)] * 4), axis=-1).reshape(-1, 4)
    scores = np.zeros(len(answers))
    for situation in POOL:
        references = np.array(situation.ratings)
        one_number = np.repeat(np.arange(1001)[:, np.newaxis] / 100, 4, axis=1)
        raw, zero = (
            10 - 0.7477 * eq_bench_penalties(abs(a - references)).sum(axis=1)
            for a in (answers, one_number)
        )
        scores += np.clip((raw - zero.max()) / (10 - zero.max()), 0, 1)
    floor, _ = best_constant(
        [item for split in SPLITS for item in EQ("rated", "list").items(100, split=split)]
    )
    assert floor == pytest.approx(scores.max() / len(POOL), abs=0.005)
    assert floor < 0.25


def test_chance_is_the_mean_of_random_ratings() -> None:
    items = [item for split in SPLITS for item in EQ("rated").items(100, split=split)]
    answers = np.random.default_rng(1).integers(0, 11, size=(200, 4))
    simulated = np.mean(
        [item.scorer.score(answer) for item in items for answer in answers.tolist()]
    )
    chance = np.mean([item.scorer.chance for item in items])
    assert chance == pytest.approx(simulated, abs=0.01)  # standard error 0.002
    assert 0.05 < chance < 0.15


# asking


class Recorder:
    """Stand in for rys.probes.prompter.Prompter; keep the prompts."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def choice(self, prompt: str, labels: str) -> str:
        assert labels == "0123456789"
        self.prompts.append(prompt)
        return prompt


def test_the_four_questions_share_their_beginning() -> None:
    for item in EQ("rated").items(100) + EQ("rated").items(100, split="confirm"):
        recorder = Recorder()
        assert isinstance(item.scorer, Ratings)
        item.scorer.requests(item.prompt, recorder)  # type: ignore[arg-type]
        assert len(set(recorder.prompts)) == 4
        first, last = min(recorder.prompts), max(recorder.prompts)  # what these share, all share
        shared = next(i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
        assert all(shared >= 0.8 * len(prompt) for prompt in recorder.prompts)
        for prompt, emotion in zip(recorder.prompts, item.scorer.subjects, strict=True):
            assert f"how {emotion} does " in prompt
            assert "{" not in prompt


def test_the_list_format_reads_four_lines() -> None:
    item = next(
        item
        for split in SPLITS
        for item in EQ("rated", "list").items(100, split=split)
        if item.id == "scroll"
    )
    assert isinstance(item.scorer, Generated)
    situation = next(situation for situation in POOL if situation.id == item.id)
    assert str(item.prompt).startswith(situation.situation)
    assert str(item.prompt).endswith("\n".join(f"{emotion}: ?" for emotion in situation.emotions))

    lines = "\n".join(
        f"{e}: {r:g}" for e, r in zip(situation.emotions, situation.ratings, strict=True)
    )
    for text in (lines, f"Here are the ratings:\n\n{lines}\n"):
        reading = item.scorer.read([written(text)])
        assert reading.answer == list(situation.ratings)
        assert item.scorer.score(reading.answer) == 1
    assert item.scorer.read([written("I would rather not say.")]).answer is None


def written(text: str) -> GenerateResult:
    return GenerateResult(
        text=text,
        tokens=[],
        logprobs=None,
        finish_reason="eos",
        n_prompt_tokens=9,
        n_shared_tokens=0,
        seconds=0.0,
    )
