"""Shown examples, names of forms, and plain text: what a model is given."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import rys
from rys.errors import ProbeError, RequestError
from rys.probes import Evaluation, Item, load
from rys.probes.questions import portion, question_stream, split_of
from rys.probes.reasoning import TIERS, Reasoning
from support.tiny_model import write_tiny_model

FORMS = (
    "math:basic:shots=6",
    "math:easy:shots=4:style=plain",
    "math:hard:score=exact:shots=1",
    "reasoning:starter:shots=8:style=plain",
    "reasoning:basic:shots=8",
    "reasoning:easy:format=written:shots=4",
    "eq:basic:format=word:shots=6:style=plain",
    "eq:contrast:shots=6",
    "eq:belief:format=word:shots=2",
)

each_form = pytest.mark.parametrize("name", FORMS)


def shown(item: Item) -> list[tuple[str, str]]:
    """Return the examples of an item: questions and answers."""
    texts = [message["content"] for message in item.prompt[:-1]]
    return list(zip(texts[::2], texts[1::2], strict=True))


# names


@each_form
def test_a_name_makes_the_form_that_has_the_name(name):
    assert load(name).name == name


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("math", "math:medium"),
        ("eq", "eq:contrast"),
        ("eq:rated", "eq:rated"),
        ("reasoning:shots=2", "reasoning:medium:shots=2"),
        ("reference", "reference:mixed"),
        ("reference:hard:score=probability", "reference:hard:score=probability"),
    ],
)
def test_the_full_name_has_the_tier_and_no_default(name, full):
    assert load(name).name == full


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("math:shots=2:easy", ProbeError, "must have one tier, before its settings"),
        ("math:easy:hard", ProbeError, "must have one tier, before its settings"),
        ("math:easy:shots", ProbeError, "must have one tier"),
        ("math:easy:shot=2", ProbeError, "a setting of math is 'shot', but must be one of 'score'"),
        ("math:easy:shots=two", ProbeError, "shots is 'two', but must be a whole number"),
        ("math:easy:shots=999", RequestError, "shots is 999, but must be 0..64"),
        ("math:easy:style=loud", ProbeError, "style is 'loud', but must be one of 'chat', 'plain'"),
        ("eq:rated:shots=2", ProbeError, "eq:rated has neither examples nor another style"),
        ("eq:contrast:format=list", ProbeError, "format is 'list', but must be one of 'digit'"),
        ("reasoning:easy:format=steps:shots=2", ProbeError, "must be 0 for the format 'steps'"),
        ("reference:shots=2", ProbeError, "a setting of reference is 'shots'"),
    ],
)
def test_other_names_are_refused(name, error, message):
    with pytest.raises(error, match=message):
        load(name)


# examples


@each_form
def test_all_items_of_a_family_show_the_same_examples(name):
    probe = load(name)
    by_family: dict[object, set[str]] = {}
    for seed, split in ((0, "search"), (5, "confirm"), (1, "calibrate")):
        for item in probe.items(24, seed, split):
            by_family.setdefault(item.tags["family"], set()).add(str(shown(item)))
            assert len(shown(item)) == probe.shots
    assert {len(examples) for examples in by_family.values()} == {1}


@each_form
def test_an_example_has_the_form_of_the_question_and_its_answer(name):
    for item in load(name).items(16):
        asked = item.prompt[-1]["content"]
        for question, answer in shown(item):
            # the same instruction, or none, at the end
            assert question.split()[-1].isdecimal() or "Answer with" not in asked or (
                question.rpartition("Answer with")[2] == asked.rpartition("Answer with")[2]
            )  # fmt: skip
            assert answer
            assert answer == answer.strip()


@pytest.mark.parametrize("tier", TIERS)
def test_the_answers_of_shown_choices_are_balanced(tier):
    for item in Reasoning(tier, shots=8).items(9):
        answers = Counter(answer for _, answer in shown(item))
        labels = item.scorer.labels
        if set(answers) <= set(labels):  # labels of each question's own occur once or twice
            assert max(answers.values()) - min(answers[label] for label in labels) <= 1


@pytest.mark.parametrize("shots", [2, 4, 6, 8])
def test_the_shown_ratings_are_balanced(shots):
    for name in (f"eq:contrast:shots={shots}", f"eq:basic:format=word:shots={shots}"):
        for item in load(name).items(4):
            assert set(Counter(answer for _, answer in shown(item)).values()) == {shots / 2}


# plain text


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    file = write_tiny_model(tmp_path_factory.mktemp("chat") / "chat.gguf")
    with rys.Model(file, n_ctx=2048) as model:
        yield model


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    file = write_tiny_model(tmp_path_factory.mktemp("base") / "base.gguf", chat_template=None)
    with rys.Model(file, n_ctx=2048) as model:
        yield model


def given(model: rys.Model, name: str) -> str:
    """Return the text of the first prompt that a model is given, without its BOS token."""
    evaluation = Evaluation(model, load(name), n=1)
    return model.detokenize(evaluation._requests[0].tokens)


def test_a_plain_text_with_examples_is_natural(chat, base):
    for model in (chat, base):
        text = given(model, "math:easy:shots=2:style=plain")
        first, second, asked = text.split("\n\n")
        for turn in (first, second, asked):
            question, answer = turn.split("\n")
            assert question.startswith("Question: What is ")
            assert answer.startswith("Answer: ")
            assert answer.split()[1].isdecimal()


def test_a_chat_model_gets_examples_as_turns(chat, base):
    text = given(chat, "math:easy:shots=2")
    assert "Question:" not in text
    assert text.count("Answer with the number only.") == 3
    # and a model without a template the same questions as a text
    assert given(base, "math:easy:shots=2").count("Question: What is ") == 3


def test_plain_items_have_hashes_of_their_own():
    plain, chat = (load(f"reasoning:easy:style={style}").items(8) for style in ("plain", "chat"))
    assert {i.content_hash for i in plain}.isdisjoint(i.content_hash for i in chat)
    assert [i.prompt for i in plain] == [i.prompt for i in chat]


# splits


def test_every_text_belongs_to_one_split():
    counts = Counter(split_of(str(i)) for i in range(8000))
    assert counts.keys() == {"search", "confirm", "calibrate", "examples"}
    for split, eighths in (("search", 3), ("confirm", 3), ("calibrate", 1), ("examples", 1)):
        assert counts[split] == pytest.approx(1000 * eighths, rel=0.1)
    trained = Counter(split_of(str(i), trained=True) for i in range(8000))
    assert trained.keys() == {"search", "confirm", "train"}


def test_the_portions_of_a_list_are_all_of_it():
    pool = list(map(str, range(74)))
    portions = [portion(pool, s, 0, str) for s in ("search", "confirm", "calibrate", "examples")]
    assert sorted(element for part in portions for element in part) == sorted(pool)
    assert [len(part) for part in portions] == [28, 28, 9, 9]


def test_a_split_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ProbeError, match="split is 'calibrate', but these questions have 'search'"):
        load("reference").items(4, 0, "calibrate")
    with pytest.raises(ProbeError, match="split is 'train', but these questions have"):
        next(question_stream(lambda rng, n: None, 1, 0, "train"))
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "1 + 1?", "answer": 2, "scorer": "number"}\n')
    with pytest.raises(ProbeError, match="split is 'calibrate', but must be one of 'search'"):
        load(str(file)).items(4, 0, "calibrate")
