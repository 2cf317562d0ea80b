"""Stories in pairs of the probe `eq`: their directions, and that no surface cue tells them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import rys
from rys.probes import Item
from rys.probes.contrast import Contrast
from rys.probes.eq import EQ
from rys.probes.eq_stories import EMOTIONS, FACT, TIERS
from rys.probes.floors import best_constant
from rys.requests import NextTokenResult

STORIES = json.loads(
    (Path(rys.__file__).parent / "data" / "eq_pairs.json").read_text(encoding="utf-8")
)
Floats = npt.NDArray[np.float64]


# the stories


@pytest.mark.parametrize("kind", ["luck", "wishes", "contests"])
def test_stories_are_well_formed(kind: str) -> None:
    stories = STORIES[kind]
    assert len(stories) == len({story["story"] for story in stories}) >= 12
    for story in stories:
        text, first, second = story.values()
        assert first != second
        names = set(re.findall(r"{(\w)}", f"{text} {first} {second}"))
        assert names == {"luck": {"a"}, "wishes": {"a", "b"}, "contests": {"a", "b", "x"}}[kind]
        for sentence in (text, first, second):
            assert sentence.endswith(".")
            assert sentence == " ".join(sentence.split())


@pytest.mark.parametrize("split", ["search", "confirm"])
def test_there_are_more_pairs_than_a_search_asks(split) -> None:
    items = EQ("contrast").items(1000, 0, split)
    assert len({item.content_hash for item in items}) == 1000


def test_a_story_belongs_to_one_split_whatever_is_asked_about_it() -> None:
    def stories(tier: str, form: str, split) -> set[str]:
        items = EQ(tier, form).items(300, 0, split)
        return {str(item.prompt).partition(FACT)[0] + person(item) for item in items}

    def person(item: Item) -> str:
        return re.findall(r"(?:does|Is) ([A-Z]\w+)", str(item.prompt).partition(FACT)[2])[0]

    for tier in TIERS:
        for form in ("digit", "word"):
            assert not stories(tier, form, "search") & stories(tier, "word", "confirm")


# the direction


def features(items: Sequence[Item], vocabulary: dict[str, int], with_pairs: bool) -> Floats:
    """Return the bag of words of each item: what its facts and its question say."""
    rows = np.zeros((len(items), len(vocabulary)))
    for row, item in zip(rows, items, strict=True):
        for word in words_of(item, with_pairs):
            if word in vocabulary:
                row[vocabulary[word]] += 1
    return rows


def words_of(item: Item, with_pairs: bool) -> list[str]:
    """Return words of the fact that is asked, of the story and of the question.

    Args:
        item: The item, asked with one fact.
        with_pairs: Pairs of a word of the fact and one of the question as well.
    """
    story, _, question = str(item.prompt).partition(FACT)
    fact = item.tags["fact"]
    told = re.findall(r"\w+", str(fact).lower())
    asked = re.findall(r"\w+", question.lower())
    words = [f"fact {word}" for word in told]
    words += [f"asked {word}" for word in asked]
    words += [f"story {word}" for word in re.findall(r"\w+", story.lower())]
    if with_pairs:
        words += [f"{a} {b}" for a in set(told) for b in set(asked)]
    return words


def singles(items: Sequence[Item]) -> tuple[list[Item], Floats]:
    """Return each item with each of its facts, and whether that is the one that is rated higher."""
    found, labels = [], []
    for item in items:
        assert isinstance(item.scorer, Contrast)
        for is_more, fact in zip((1.0, 0.0), item.scorer.facts, strict=True):
            found.append(Item(prompt=item.prompt, scorer=item.scorer, tags={"fact": fact}))
            labels.append(is_more)
    return found, np.array(labels)


def accuracy_of_bag_of_words(tier: str, form: str, with_pairs: bool) -> float:
    """Return how often a logistic regression on the words is right about the other half.

    Ridge penalty, by Newton's method in its dual form; no library of machine learning is needed.
    """
    train, train_labels = singles(EQ(tier, form).items(400, 0, "search"))
    test, test_labels = singles(EQ(tier, form).items(400, 0, "confirm"))
    counts = Counter(word for item in train for word in set(words_of(item, with_pairs)))
    known = [word for word, count in counts.items() if count >= 4]
    vocabulary = {word: k for k, word in enumerate(known)}
    x, y = features(train, vocabulary, with_pairs), 2 * train_labels - 1
    # Linear regression on -1 and 1: on words that say nothing it is as good a classifier.
    kernel = x @ x.T
    weights = x.T @ np.linalg.solve(kernel + 10 * np.eye(len(x)), y)
    predicted = features(test, vocabulary, with_pairs) @ weights
    return float(np.mean((predicted > 0) == (test_labels > 0)))


@pytest.mark.parametrize(
    ("form", "with_pairs"),
    # Not pairs for "word": the name that is asked and the name in the fact tell who won.
    [("digit", False), ("digit", True), ("word", False)],
)
@pytest.mark.parametrize("tier", ["contrast", "belief"])
def test_words_do_not_tell_the_direction(tier: str, form: str, with_pairs: bool) -> None:
    # 800 guesses: a standard error of 0.018
    assert abs(accuracy_of_bag_of_words(tier, form, with_pairs) - 0.5) < 0.06


def test_the_check_finds_words_that_tell() -> None:
    assert accuracy_of_bag_of_words("basic", "word", with_pairs=False) > 0.9


def test_both_facts_are_the_higher_one_equally_often() -> None:
    pleasant = set(EMOTIONS[0])
    directions: Counter[tuple[str, bool]] = Counter()
    for item in EQ("contrast").items(800):
        assert isinstance(item.scorer, Contrast)
        word = re.findall(r"how (\w+) does", str(item.prompt))[0]
        directions[min(item.scorer.facts), item.scorer.facts[0] == min(item.scorer.facts)] += 1
        directions["pleasant", word in pleasant] += 1
    assert directions["pleasant", True] == directions["pleasant", False] == 400
    wishes = [story["wish_of_a"] for story in STORIES["wishes"]]
    wishes += [story["wish_of_b"] for story in STORIES["wishes"]]
    up = sum(n for (fact, first), n in directions.items() if fact in wishes and first)
    down = sum(n for (fact, first), n in directions.items() if fact in wishes and not first)
    assert abs(up - down) < 3 * (up + down) ** 0.5


# the score


def digits(*weights: float) -> NextTokenResult:
    """Return a distribution of the digits, in one way of writing."""
    logits = np.log(np.array(weights, dtype=np.float32) + 1e-30)
    return NextTokenResult(
        tokens=list(range(10)), logits=logits, logprobs=logits,
        n_prompt_tokens=1, n_shared_tokens=0, seconds=0.0,
    )  # fmt: skip


def at(digit: int) -> NextTokenResult:
    return digits(*(float(k == digit) for k in range(10)))


@pytest.mark.parametrize(
    ("more", "less", "score"),
    [
        (at(7), at(2), 1),
        (at(2), at(7), -1),
        (at(5), at(5), 0),
        (digits(*[0.1] * 10), digits(*[0.1] * 10), 0),
        # drawn evenly from 0..9 beside a 2: 7 are higher, 2 lower, and one is equal
        (digits(*[0.1] * 10), at(2), 0.5),
    ],
)
def test_the_score_is_how_probable_it_is_that_the_rating_rises(more, less, score) -> None:
    scorer = Contrast(FACT, "more", "less")
    reading = scorer.read([more, less])
    assert scorer.score(reading.answer) == pytest.approx(score, abs=1e-6)
    assert reading.details["accuracy"] == (score > 0)
    assert reading.details["difference"] == pytest.approx(
        (rating(more) - rating(less)) / 9, abs=1e-6
    )


def rating(result: NextTokenResult) -> float:
    return float(result.probabilities @ np.arange(10))


def test_an_answer_that_does_not_depend_on_the_fact_scores_0() -> None:
    for tier in TIERS:
        for form in ("digit", "word"):
            items = EQ(tier, form).items(64)
            assert best_constant(items) == (0, "0.5")
            assert {item.scorer.chance for item in items} == {0}


def test_the_fact_stands_in_the_last_message_only() -> None:
    class Recorder:
        prompts: list[object] = []  # noqa: RUF012 - one instance

        def choice(self, prompt: object, labels: Sequence[str]) -> object:
            self.prompts.append(prompt)
            return prompt

    item = EQ("contrast", shots=2).items(1)[0]
    recorder = Recorder()
    item.scorer.requests(item.prompt, recorder)  # type: ignore[arg-type]
    assert isinstance(item.scorer, Contrast)
    for prompt, fact in zip(recorder.prompts, item.scorer.facts, strict=True):
        *before, last = prompt
        assert before == item.prompt[:-1]
        assert fact in last["content"]
        assert "{" not in str(prompt).replace("{'role'", "")
