"""Putting probes to models: one run for all, the same results in parts, floors, intervals,
thinking, preflight.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import rys
from rys import statistics
from rys.errors import ProbeError, RequestError
from rys.probes import Evaluation, Item, Probe, ProbeResult, evaluate, load, preflight
from rys.probes.eq import EQ
from rys.probes.floors import best_constant
from rys.probes.math import Math
from rys.probes.parsers import parse_number
from rys.probes.preflight import preflight_of_scores
from rys.probes.prompter import Prompter
from rys.probes.reasoning import Reasoning
from rys.probes.reference import Reference
from rys.probes.scorers import Choice, Generated, Likelihood, Ratings, label_probabilities
from rys.requests import GenerateResult, LogLikelihoodResult, NextTokenResult
from support.tiny_model import CHAT_TEMPLATE, write_tiny_model

ALL = ("math", "eq", "reasoning", "reference")
SWITCH = CHAT_TEMPLATE.removesuffix("{% endif %}") + (
    "{% if enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


class Listed(Probe):
    """Ask a fixed list of items."""

    id = "listed"

    def __init__(self, items: Sequence[Item], name: str = "listed") -> None:
        self.id = name
        self._items = list(items)

    def items(self, n, seed=0, split="search"):
        return self._items[:n]


@pytest.fixture(scope="module")
def reference() -> Iterator[rys.Model]:
    with rys.reference_model(n_ctx=1024) as model:
        yield model


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Iterator[rys.Model]:
    file = write_tiny_model(tmp_path_factory.mktemp("plain") / "plain.gguf", chat_template=None)
    with rys.Model(file, n_ctx=1024) as model:
        yield model


@pytest.fixture(scope="module")
def chat_file(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("chat") / "chat.gguf")


@pytest.fixture(scope="module")
def chat(chat_file) -> Iterator[rys.Model]:
    with rys.Model(chat_file, n_ctx=1024) as model:
        yield model


def prompts(model: rys.Model, evaluation: Evaluation) -> list[str]:
    """Return what a model is given, in text."""
    return [model.detokenize(request.tokens, special=True) for request in evaluation._requests]


# running


@pytest.mark.parametrize("which", ["reference", "plain", "chat"])
def test_all_probes_run_at_once(request, which, monkeypatch):
    model = request.getfixturevalue(which)
    runs = []
    run = rys.Model.run

    def counted(self, requests, *args, **options):
        runs.append(len(requests))
        return run(self, requests, *args, **options)

    monkeypatch.setattr(rys.Model, "run", counted)
    results = evaluate(model, ALL, n=4)
    assert list(results) == list(ALL)
    assert len(runs) == 1
    for name, result in results.items():
        assert result.probe == f"{name}:{load(name).version}"
        assert result.layer_path == str(model.layer_path)
        assert result.n == len(result.scores) == len(result.answers) == len(result.details) == 4
        assert (abs(result.scores) <= 1).all()
        assert result.parse_rate == 1
        assert result.truncation_rate == result.n_failed == 0
        assert 0 < result.n_evaluated_tokens <= result.n_prompt_tokens
        assert result.n_generated_tokens == 0
        assert result.seconds > 0
        assert 0 <= result.chance < 1
    # two versions of a story share its beginning
    assert results["eq"].n_evaluated_tokens < 0.8 * results["eq"].n_prompt_tokens


def assert_same(a: ProbeResult, b: ProbeResult) -> None:
    """Compare results of runs in other batches, where the engine may round otherwise."""
    assert [item.id for item in a.items] == [item.id for item in b.items]
    assert a.parsed.tolist() == b.parsed.tolist()
    for k, details in enumerate(a.details):
        if abs(details.get("margin", 1.0)) > 0.1:
            is_number = "logprob" in details or "difference" in details or "," in a.answers[k]
            assert a.answers[k] == b.answers[k] or is_number
            # scores by probability lie in -1..1 and show the rounding of 8-bit products
            assert a.scores[k] == pytest.approx(b.scores[k], rel=0.1, abs=0.05)


def test_results_do_not_depend_on_the_company(reference):
    together = evaluate(reference, ALL, n=4)
    for name in ALL:
        assert_same(together[name], evaluate(reference, name, n=4)[name])


def test_results_do_not_depend_on_the_parts(reference):
    evaluation = Evaluation(reference, ["reference", "math"], n=12)
    whole = evaluation.run(reference)
    parts = [
        evaluation.run(reference, 0, 5),
        evaluation.run(reference, 5, 11),
        evaluation.run(reference, 11),
    ]
    for name, result in whole.items():
        assert [part[name].n for part in parts] == [5, 6, 1]
        scores = np.concatenate([part[name].scores for part in parts])
        assert scores == pytest.approx(result.scores, rel=0.1, abs=1e-6)
        assert [answer for part in parts for answer in part[name].answers if ":" not in answer][:3]
        for part in parts:
            # the floor is the probe's, not the part's: so that parts can be put together
            assert (part[name].best_constant, part[name].constant) == (
                result.best_constant,
                result.constant,
            )
    assert evaluation.run(reference, 12) == {}
    assert list(Evaluation(reference, [Reference(), EQ("rated")], n=40).run(reference, 32)) == [
        "reference"
    ]  # eq has 32


def test_the_same_run_gives_the_same_result(reference):
    evaluation = Evaluation(reference, ["reference", "math"], n=10)
    first, again = evaluation.run(reference), evaluation.run(reference)
    for name in first:
        assert first[name].scores.tolist() == again[name].scores.tolist()


def test_an_evaluation_runs_along_every_path_of_its_model(reference):
    evaluation = Evaluation(reference, Reference("hard"), n=40)
    with reference.with_path("0..7,4..11") as view:
        planted = evaluation.run(view)["reference"]
    assert planted.layer_path == "0..7,4..11"
    assert planted.mean > evaluation.run(reference)["reference"].mean + 0.3


def test_an_evaluation_refuses_another_model(reference, chat):
    evaluation = Evaluation(reference, "reference", n=2)
    with pytest.raises(
        ProbeError, match="the evaluation was made for another model file; make one for this model"
    ):
        evaluation.run(chat)


def test_n_seed_and_split_choose_the_items(reference):
    def asked(n=6, **options):
        evaluation = Evaluation(reference, "reference", n=n, **options)
        return [item.id for item in evaluation.items("reference")]

    assert asked() == asked(seed=0, split="search")
    assert asked(3) == asked()[:3]
    assert not set(asked(200)) & set(asked(200, split="confirm"))
    assert asked(seed=1) != asked()
    assert [probe.id for probe in Evaluation(reference, ["reference", "math"], n=1).probes] == [
        "reference",
        "math",
    ]


@pytest.mark.parametrize(
    ("probes", "options", "message"),
    [
        ([], {}, r"the probes are \[\]; give at least one, and each once"),
        (
            ["math", "math"],
            {},
            r"the probes are \['math', 'math'\]; give at least one, and each once",
        ),
        ("mth", {}, "there is no probe 'mth'; give one of math, eq, reasoning, reference"),
        ("math:huge", {}, "tier is 'huge', but must be one of"),
        (
            "math",
            {"split": "train"},
            "split is 'train', but must be one of 'search', 'confirm', 'calibrate'",
        ),
        ("math", {"n": 0}, "n is 0, but must be 1"),
        ("math", {"thinking_budget": -1}, "thinking_budget is -1, but must be 0"),
        (Listed([]), {}, "probe 'listed' has no items in the split 'search'"),
    ],
)
def test_bad_arguments_are_refused(reference, probes, options, message):
    with pytest.raises(rys.RysError, match=message):
        evaluate(reference, probes, **options)


def test_an_item_that_fails_scores_0_and_says_why(reference):
    texts = ["Last digit of 1+2+3?", "Last digit of 1+2+3? " * 200]
    choices = tuple("0123456789")
    probes = [
        Listed([Item(prompt=text, scorer=Choice(choices, "6")) for text in texts], "choice"),
        Listed([Item(prompt=text, scorer=Generated(6, parse_number)) for text in texts], "written"),
        Listed([Item(prompt=text, scorer=Likelihood("6", 1)) for text in texts], "likelihood"),
    ]
    for result in evaluate(reference, probes).values():
        assert result.errors[0] is None
        assert "tokens, but the context holds 1024" in result.errors[1]
        assert result.parsed.tolist() == [True, False]
        assert result.scores[1] == 0
        assert result.n_failed == 1
        assert any(
            reason.startswith("1 of 2 items failed (the prompt has") for reason in preflight(result)
        )
        json.dumps(result.summary())


# reading and marking


def test_written_answers_of_the_reference_model_are_read(reference):
    items = [
        Item(prompt=item.prompt, scorer=Generated(int(item.scorer.target), parse_number))
        for item in Reference("easy").items(40)
        if item.tags["family"] == "sums"
    ]
    result = evaluate(reference, Listed(items))["listed"]
    assert result.mean > 0.8
    assert result.parse_rate == 1
    assert 0 < result.n_generated_tokens <= 4 * len(items)


class Vocabulary:
    """Stand for a tokenizer that has these texts as single tokens."""

    def __init__(self, **tokens: int) -> None:
        self.tokens = {name.replace("_", " "): token for name, token in tokens.items()}

    def single_token(self, text: str) -> int:
        if text not in self.tokens:
            raise RequestError(f"{text!r} is no token")
        return self.tokens[text]


@pytest.mark.parametrize(
    ("vocabulary", "expected"),
    [
        (Vocabulary(A=1, B=2), [[1], [2]]),
        (Vocabulary(_A=3, _B=4), [[3], [4]]),
        (Vocabulary(A=1, B=2, _A=3, _B=4), [[1, 3], [2, 4]]),
        (
            Vocabulary(A=1, B=2, _A=3),
            [[1], [2]],
        ),  # a way of writing counts for all labels or for none
        (Vocabulary(A=1, B=2, _A=1, _B=2), [[1], [2]]),  # the tokenizer adds a space itself
        (Vocabulary(A=7, B=7, _A=3, _B=4), [[3], [4]]),  # as <unk>, they cannot be told apart
        (Vocabulary(A=1), []),
    ],
)
def test_label_tokens_with_and_without_a_space(vocabulary, expected):
    prompter = Prompter(SimpleNamespace(tokenizer=vocabulary, chat_template="x"))
    assert prompter.label_tokens("AB") == expected
    request = prompter.choice("Which?", "AB")
    assert (request.allowed if request else []) == [
        token for tokens in expected for token in tokens
    ]


def next_token(logits: Sequence[float]) -> NextTokenResult:
    values = np.array(logits, dtype=np.float32)
    return NextTokenResult(
        tokens=range(len(values)),
        logits=values,
        logprobs=values,
        n_prompt_tokens=1,
        n_shared_tokens=0,
        seconds=0.0,
    )


def loglikelihood(logprob: float) -> LogLikelihoodResult:
    return LogLikelihoodResult(
        logprob=logprob, token_logprobs=np.zeros(1, np.float32), tokens=[0], is_greedy=False,
        n_prompt_tokens=1, n_shared_tokens=0, seconds=0.0,
    )  # fmt: skip


def test_label_probabilities_add_up_the_ways_of_writing():
    a, b = math.exp(1) + math.exp(-2), math.exp(0.5) + math.exp(0.75)
    assert label_probabilities([next_token([1, -2, 0.5, 0.75])], 2) == pytest.approx(
        [a / (a + b), b / (a + b)]
    )
    assert label_probabilities([next_token([1000, 999])], 2) == pytest.approx(
        [1 / (1 + math.exp(-1)), 0.268941], 1e-5
    )
    logprobs = [loglikelihood(x) for x in (-2000.0, -2001.0)]
    assert label_probabilities(logprobs, 2)[1] == pytest.approx(1 / (1 + math.e))


def test_choice_takes_the_most_probable_label_with_its_margin():
    scorer = Choice(("A", "B", "C"), "B")
    reading = scorer.read([next_token([1, 3, 2])])
    assert (reading.text, reading.details["accuracy"]) == ("B", 1)
    assert reading.details["margin"] == pytest.approx(1)
    probability = math.exp(3) / (math.exp(1) + math.exp(2) + math.exp(3))
    assert reading.details["probability"] == pytest.approx(probability)
    assert scorer.score(reading.answer) == pytest.approx((probability - 1 / 3) * 3 / 2)
    reading = scorer.read([loglikelihood(x) for x in (-1, -3, -5)])
    assert (reading.text, reading.details["accuracy"]) == ("A", 0)
    assert reading.details["margin"] == pytest.approx(-2)
    assert scorer.score(reading.answer) < 0


def test_a_choice_by_accuracy_is_right_or_not():
    scorer = Choice(("A", "B", "C"), "B", "accuracy")
    for logits, score in (([1, 3, 2], 1), ([3, 1, 2], 0)):
        assert scorer.score(scorer.read([next_token(logits)]).answer) == score
    assert scorer.chance == 1 / 3
    with pytest.raises(ProbeError, match="score is 'f1', but must be one of"):
        Choice("AB", "A", "f1")
    with pytest.raises(ProbeError, match="a choice needs at least two"):
        Choice("A", "A")


@pytest.mark.parametrize("n_label", [2, 3, 7])
def test_a_choice_by_probability_has_the_mean_0_without_knowledge(n_label):
    labels = tuple("ABCDEFG"[:n_label])
    scorers = [Choice(labels, label) for label in labels]  # right answers at every position
    for answer in (*labels, tuple(np.random.default_rng(0).dirichlet(np.ones(n_label)))):
        assert np.mean([scorer.score(answer) for scorer in scorers]) == pytest.approx(0)
    certain = tuple(float(k == 0) for k in range(n_label))
    assert scorers[0].score(certain) == scorers[0].score("A") == 1
    assert scorers[1].score(certain) == pytest.approx(-1 / (n_label - 1))
    assert {scorer.chance for scorer in scorers} == {0}


def test_choice_agrees_with_the_logits(reference):
    items = Reference("easy").items(6)
    result = evaluate(reference, Reference("easy"), n=6)["reference"]
    for item, answer, details in zip(items, result.answers, result.details, strict=True):
        labels = item.scorer.labels
        logits = reference.logits([{"role": "user", "content": item.prompt}])[-1].astype(np.float64)
        ways = Prompter(reference).label_tokens(labels)
        weights = np.exp(logits[np.array(ways)]).sum(axis=1)
        probabilities = dict(zip(labels, weights / weights.sum(), strict=True))
        assert answer == max(probabilities, key=probabilities.get)
        assert details["probability"] == pytest.approx(probabilities[item.scorer.target], abs=0.02)


def test_choice_falls_back_to_the_whole_labels_where_they_are_several_tokens(chat, plain):
    labels = ("yes", "no", "perhaps")  # the tiny model's tokens are characters
    probe = Listed([Item(prompt="Is it?", scorer=Choice(labels, "no"))])
    for model, context, space in (
        (chat, [{"role": "user", "content": "Is it?"}], ""),
        (plain, None, " "),
    ):
        evaluation = Evaluation(model, probe)
        assert len(evaluation._requests) == 3
        result = evaluation.run(model)["listed"]
        context = context or "Question: Is it?\nAnswer:"
        logprobs = np.array(
            [model.loglikelihood(context, space + label).logprob for label in labels]
        )
        weights = np.exp(logprobs)
        assert result.answers[0] == labels[int(np.argmax(weights))]
        assert result.details[0]["probability"] == pytest.approx(
            weights[1] / weights.sum(), rel=0.02
        )


def test_ratings_are_expected_digits(reference):
    def first_of_ten(references, ratings):
        return ratings[0] / 10

    subjects = ("joy", "anger", "fear", "pride")
    prompt = "How much {subject}? Answer with one digit."
    items = [
        Item(prompt=prompt, scorer=Ratings((subject,), (5,), first_of_ten), id=subject)
        for subject in subjects
    ]
    result = evaluate(reference, Listed(items))["listed"]
    tokens = Prompter(reference).label_tokens("0123456789")
    for subject, score, text in zip(subjects, result.scores, result.answers, strict=True):
        messages = [{"role": "user", "content": f"How much {subject}? Answer with one digit."}]
        logits = reference.logits(messages)[-1].astype(np.float64)
        weights = [sum(math.exp(logits[token]) for token in ways) for ways in tokens]
        expected = sum(digit * weight for digit, weight in enumerate(weights)) / sum(weights)
        assert score == pytest.approx(expected * 10 / 9 / 10, abs=0.01)
        assert text == f"{subject} {score * 10:.1f}"


def test_ratings_of_all_digits_alike_are_in_the_middle_and_a_sure_9_is_10():
    scorer = Ratings(("joy",), (5,), lambda references, ratings: 1.0)
    assert scorer.read([next_token([0.5] * 10)]).answer == pytest.approx([5.0])
    assert scorer.read([next_token([0.0] * 9 + [100])]).answer == pytest.approx([10.0])


def test_conversations_reach_models_with_and_without_template(chat, plain):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "1+2?"},
    ]
    probe = Listed([Item(prompt=messages, scorer=Generated(3, parse_number))])
    (text,) = prompts(chat, Evaluation(chat, probe))
    assert text.endswith("<|im_start|>user\n1+2?<|im_end|>\n<|im_start|>assistant\n")
    (text,) = prompts(plain, Evaluation(plain, probe))
    assert text.endswith("Be brief.\n\nQuestion: 1+1?\nAnswer: 2\n\nQuestion: 1+2?\nAnswer:")
    pictures = Listed(
        [
            Item(
                prompt=[{"role": "user", "content": [{"type": "image"}]}],
                scorer=Generated(3, parse_number),
            )
        ]
    )
    with pytest.raises(ProbeError, match="a message of role 'user' has no text"):
        Evaluation(plain, pictures)


# thinking


@pytest.fixture(scope="module")
def thinker(chat_file) -> Iterator[rys.Model]:
    with rys.Model(chat_file, n_ctx=1024, chat_template=SWITCH) as model:
        yield model


def test_the_switch_reaches_the_template_and_the_budget_is_added(thinker):
    probe = Math("easy", "exact")
    off, on = (
        Evaluation(thinker, probe, n=3, thinking=thinking, thinking_budget=100)
        for thinking in (False, True)
    )
    assert all(text.endswith("<think>\n\n</think>\n\n") for text in prompts(thinker, off))
    assert all(text.endswith("assistant\n<think>\n") for text in prompts(thinker, on))
    budgets = [[request.max_tokens for request in evaluation._requests] for evaluation in (off, on)]
    assert [b - a for a, b in zip(*budgets, strict=True)] == [100] * 3


def test_where_nothing_is_written_nothing_is_thought(thinker):
    evaluation = Evaluation(thinker, ["math", "eq", "reasoning"], n=3, thinking=True)
    assert all("<think>\n\n</think>\n\n" in text for text in prompts(thinker, evaluation))


@pytest.mark.parametrize(
    "template", [SWITCH, CHAT_TEMPLATE.removesuffix("{% endif %}") + "<think>\n{% endif %}"]
)
def test_thinking_that_the_template_began_and_nobody_ended_is_cut_off(chat_file, template):
    # random weights: the text holds no closing tag, and may hold numbers
    with rys.Model(chat_file, n_ctx=1024, chat_template=template) as model:
        has_switch = template == SWITCH
        result = evaluate(
            model, Math("easy", "exact"), n=4, thinking=has_switch, thinking_budget=24
        )["math"]
    assert result.truncation_rate == 1
    assert result.parse_rate == 0
    assert result.mean == 0
    assert all(answer.startswith("<think>") for answer in result.answers)
    assert (
        sum("cut off" in reason and "--thinking-budget" in reason for reason in preflight(result))
        == 1
    )


def test_a_template_without_thinking_changes_nothing(chat):
    result = evaluate(chat, Math("easy", "exact"), n=4, thinking=True, thinking_budget=8)["math"]
    assert not any(answer.startswith("<think>") for answer in result.answers)


@pytest.mark.parametrize(
    ("text", "finish_reason", "answer", "truncated"),
    [
        ("12", "eos", 12, False),
        ("12", "length", 12, False),
        ("<think>1 + 1 is 3, no, 2", "length", None, True),
        ("<think>1 + 1 is 3, no, 2", "eos", None, True),  # it ended in the middle of a thought
        ("<think>3</think> 2", "eos", 2, False),
        ("3, no, it is 4</think>2", "eos", 2, False),
        ("<think>3</think>", "length", None, True),
        ("<think>3</think>", "eos", None, False),
        ("I do not know.", "eos", None, False),
        ("", "eos", None, False),
        ("", "length", None, True),
    ],
)
def test_written_answers_with_thinking(text, finish_reason, answer, truncated):
    result = GenerateResult(
        text=text, tokens=[], logprobs=None, finish_reason=finish_reason,
        n_prompt_tokens=1, n_shared_tokens=0, seconds=0.0,
    )  # fmt: skip
    reading = Generated(2, parse_number).read([result])
    assert (reading.answer, reading.truncated) == (answer, truncated)
    assert reading.text == text


# floors


def choices(labels: Sequence[str], rights: Sequence[str], score: str = "accuracy") -> list[Item]:
    return [
        Item(prompt=f"{i}?", scorer=Choice(labels, right, score)) for i, right in enumerate(rights)
    ]


def test_best_constant_of_choices_is_the_most_frequent_right_one():
    assert best_constant(choices("ABC", "ABBCB")) == (0.6, "B")
    # letters of three and of two options: the best of each
    items = choices("ABC", "ABBCB") + choices(("yes", "no"), ["no", "no", "yes"])
    assert best_constant(items) == (pytest.approx((3 + 2) / 8), "B / no")


def test_best_constant_of_choices_by_probability_is_0_if_all_are_right_equally_often():
    assert best_constant(choices("ABC", "ABCCAB", "probability"))[0] == pytest.approx(0)
    # 3 right and 2 wrong, of which each has -1/2
    assert best_constant(choices("ABC", "ABBCB", "probability")) == (pytest.approx(2 / 5), "B")


def test_choices_of_each_item_its_own_are_tried_by_place():
    items = [
        Item(
            prompt=f"{i}?",
            scorer=Choice((f"a{i}", f"b{i}", f"c{i}"), f"{'aabca'[i]}{i}", "accuracy"),
        )
        for i in range(5)
    ]
    assert best_constant(items) == (0.6, "choice 1")


def test_best_constant_of_written_answers_is_a_frequent_one():
    items = [
        Item(prompt=f"{i}?", scorer=Generated(right, parse_number))
        for i, right in enumerate([3, 7, 7, 1])
    ]
    assert best_constant(items) == (0.5, "7")


def test_best_constant_of_scores_in_between():
    def near(right, answer):
        return max(0.0, 1 - abs(right - answer) / 10)

    rights = (0, 4, 10)
    items = [
        Item(
            prompt=f"{right}?",
            scorer=Generated(right, parse_number, near, constants=tuple(range(11))),
        )
        for right in rights
    ]
    expected = {
        constant: sum(near(right, constant) for right in rights) / 3 for constant in range(11)
    }
    assert best_constant(items) == (pytest.approx(max(expected.values())), "4")


def test_floors_of_the_built_in_probes():
    floors = {}
    for probe in (Math(), EQ(), Reasoning(), Reference()):
        items = probe.items(64)
        floors[probe.id] = np.mean([item.scorer.chance for item in items]), best_constant(items)[0]
    assert floors["math"] == pytest.approx((0.1, 0.1))
    assert floors["eq"] == (0, 0)
    assert floors["reasoning"][0] == 0 <= floors["reasoning"][1] < 0.1
    assert floors["reference"][0] == pytest.approx((1 / 10 + 1 / 7) / 2)
    assert floors["reference"][0] < floors["reference"][1] < 0.3


# results


def result(scores: Sequence[float], **changes) -> ProbeResult:
    n = len(scores)
    values = {
        "probe": "made:1",
        "layer_path": "0..3",
        "items": [
            Item(prompt=f"{i}?", scorer=Choice("AB", "A"), tags={"family": "fg"[i % 2]})
            for i in range(n)
        ],
        "scores": np.array(scores, dtype=np.float64),
        "parsed": np.ones(n, dtype=bool),
        "truncated": np.zeros(n, dtype=bool),
        "answers": ["A"] * n,
        "errors": [None] * n,
        "details": [{"margin": 0.5}] * n,
        "chance": 0.25,
        "best_constant": 0.3,
        "constant": "B",
        "n_prompt_tokens": 10,
        "n_evaluated_tokens": 8,
        "n_generated_tokens": 0,
        "seconds": 1.0,
    }
    return ProbeResult(**{**values, **changes})


def first(n: int, k: int) -> np.ndarray:
    return np.arange(n) < k


def test_figures_of_a_result():
    made = result(
        [1, 0, 1, 1], parsed=first(4, 3), truncated=first(4, 1), errors=[None, "full", None, None]
    )
    assert (made.n, made.mean, made.parse_rate, made.truncation_rate, made.n_failed) == (
        4,
        0.75,
        0.75,
        0.25,
        1,
    )
    assert made.by_family() == {"f": (1.0, 2), "g": (0.5, 2)}
    assert made.interval == statistics.mean_interval(made.scores)


def test_frame_has_a_row_for_every_item(reference):
    frame = evaluate(reference, "reference", n=6)["reference"].to_frame()
    assert list(frame.columns) == [
        "probe", "item", "score", "parsed", "truncated", "answer", "target", "error",
        "family", "difficulty", "margin", "probability", "accuracy",
    ]  # fmt: skip
    assert len(frame) == 6
    assert (frame.probe == "reference:1").all()
    assert ((frame.answer == frame.target) == (frame.score == 1)).all()
    assert frame.item.is_unique


@pytest.mark.parametrize("which", ["reference", "plain"])
def test_summary_is_json(request, which):
    model = request.getfixturevalue(which)
    probes = [*ALL[:3], Listed([Item(prompt="?", scorer=Generated("x", str.strip))])]
    for made in evaluate(model, probes, n=3).values():
        summary = json.loads(json.dumps(made.summary(), allow_nan=False))
        assert summary["mean"] == made.mean
        assert summary["interval"] == list(made.interval)
        assert summary["n"] == made.n
        assert set(summary["by_family"]) == set(made.by_family())


def test_probes_share_the_seconds_of_the_run(reference):
    results = evaluate(reference, ALL, n=6)
    rates = {name: r.seconds / r.n_evaluated_tokens for name, r in results.items()}
    assert max(rates.values()) == pytest.approx(min(rates.values()))


def test_scores_that_were_kept_pass_the_preflight_as_the_result_does(reference):
    for tier in ("easy", "hard"):
        evaluation = Evaluation(reference, f"reference:{tier}", n=10)
        measured = evaluation.run(reference)["reference"]
        kept = (measured.scores, measured.parsed.astype(float), measured.truncated.astype(float))
        found = preflight_of_scores(*kept, evaluation.floors("reference"))
        assert found == preflight(measured)


# preflight

GOOD = [1.0] * 60 + [0.0] * 40


def test_preflight_accepts_a_probe_that_measures():
    assert preflight(result(GOOD)) == []
    assert preflight(result(GOOD, parsed=first(100, 80), truncated=first(100, 10))) == []
    assert preflight(result([1.0] * 96 + [0.0] * 4)) == []


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            result(GOOD, parsed=first(100, 79)),
            ["only 79% of the answers can be read (at least 80%)", "--show"],
        ),
        (
            result(GOOD, truncated=first(100, 11)),
            ["11% of the answers are cut off (at most 10%)", "--thinking-budget"],
        ),
        (
            result([1.0] * 35 + [0.0] * 65),
            [
                (
                    "the score 0.350 [0.264, 0.447] is not above what the constant answer B gets "
                    "(0.300)"
                ),
                "easier tier",
            ],
        ),
        (
            result([1.0] * 35 + [0.0] * 65, best_constant=0.0, chance=0.3),
            [
                "the score 0.350 [0.264, 0.447] is not above what random answers get (0.300)",
                "easier tier",
            ],
        ),
        (
            result([1.0] * 97 + [0.0] * 3),
            ["the score 0.970 leaves no room (below 0.97)", "harder tier"],
        ),
        (result([0.6] * 100), ["the score 0.600 [0.000, 1.000] is not above"]),
        (
            result(GOOD, errors=["full"] * 2 + [None] * 98),
            ["2 of 100 items failed (full)", "n_ctx"],
        ),
    ],
)
def test_preflight_gives_one_reason_for_one_defect_and_what_to_change(made, words):
    (reason,) = preflight(made)
    assert all(word in reason for word in words), reason


def test_preflight_gives_all_reasons_of_a_thinking_model_without_budget():
    made = result([0.0] * 100, parsed=first(100, 0), truncated=first(100, 100))
    reasons = preflight(made)
    assert [reason.split(":")[0][:24] for reason in reasons] == [
        "100% of the answers are ",
        "only 0% of the answers c",
        "the score 0.000 [0.000, ",
    ]


def test_random_weights_measure_nothing(plain, chat):
    for model in (plain, chat):
        for made in evaluate(
            model, [Math("easy"), Reasoning("easy", ["navigate"]), Reference("easy")], n=16
        ).values():
            assert preflight(made), made.probe


class TestScorersThatFail:
    """A scorer may be anybody's: what it does wrong is told, with the item."""

    def item(self, score):
        from rys.probes.scorers import Generated

        return rys.probes.Item(
            prompt="Last digit of 1+2?", scorer=Generated("3", str, score, max_tokens=2)
        )

    def probe(self, score):
        item = self.item(score)

        class Mine(rys.probes.Probe):
            id = "mine"

            def items(self, n, seed=0, split="search"):
                return [item]

        return Mine()

    @pytest.mark.parametrize("score", [float("nan"), -1.5, 7.0])
    def test_a_score_out_of_range_is_refused(self, score):
        with (
            rys.reference_model(n_ctx=512) as model,
            pytest.raises(rys.probes.ProbeError, match=r"must be in \[-1, 1\]"),
        ):
            rys.probes.evaluate(model, self.probe(lambda right, answer: score))

    def test_a_score_that_raises_is_told_with_the_item(self):
        item = self.item(lambda right, answer: 1 / 0).id
        with (
            rys.reference_model(n_ctx=512) as model,
            pytest.raises(rys.probes.ProbeError, match=f"item {item}.*Zero"),
        ):
            rys.probes.evaluate(model, self.probe(lambda right, answer: 1 / 0))


@pytest.mark.parametrize(
    ("text", "finish", "answer"),
    [
        ("There are 12 * 3 = 36. Then she", "length", None),
        ("There are 12 * 3 = 36. The answer is 36, since", "length", 36),
        ("There are 12 * 3 = 36.", "eos", 36),
    ],
)
def test_reasoning_that_is_cut_off_is_no_answer_unless_it_was_stated(text, finish, answer):
    from rys.probes.parsers import parse_number
    from rys.probes.scorers import Generated
    from rys.requests import GenerateResult

    result = GenerateResult(
        text=text,
        tokens=[1],
        logprobs=None,
        finish_reason=finish,
        n_prompt_tokens=1,
        n_shared_tokens=0,
        seconds=0.0,
    )
    reading = Generated(36, parse_number, reasons=True).read([result])
    assert reading.answer == answer
    assert reading.truncated == (answer is None)
