"""Probes from disk.

Oracles: answers that the tests themselves wrote, and the published files where they are here.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from rys.errors import ProbeError
from rys.probes.files import load
from rys.probes.floors import best_constant
from rys.probes.formats import FORMATS, format_of, gsm8k, readers
from rys.probes.formats import entries as own_format
from rys.probes.formats.record import Record
from rys.probes.scorers import Choice, Generated, Likelihood
from rys.requests import GenerateResult, LogLikelihoodResult

DATA = Path(__file__).parents[2] / "shared" / "data"
BBH_TASKS = [
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
]


def real(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


def lines(tmp_path, *entries, name="mine.jsonl"):
    """Write JSON lines: texts as they stand, all else as JSON."""
    path = tmp_path / name
    path.write_text(
        "\n".join(e if isinstance(e, str) else json.dumps(e) for e in entries), encoding="utf-8"
    )
    return path


def document(tmp_path, value, name="task.json"):
    path = tmp_path / name
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def all_items(probe):
    return [*probe.items(10**6), *probe.items(10**6, split="confirm")]


def only(probe):
    (item,) = all_items(probe)
    return item


def written(text, finish_reason="stop"):
    """Return the result of a generation that the scorer reads; only its text and its end count."""
    result = GenerateResult.__new__(GenerateResult)
    object.__setattr__(result, "text", text)
    object.__setattr__(result, "finish_reason", finish_reason)
    return result


def score_of(scorer, text):
    """Return the score of an answer in text; None = unreadable."""
    reading = scorer.read([written(text)])
    return None if reading.answer is None else scorer.score(reading.answer)


class Recorder:
    """Stand in for a Prompter: note what a scorer asks for."""

    def generate(self, prompt, max_tokens, stop=()):
        return ("generate", prompt, max_tokens, tuple(stop))

    def loglikelihood(self, prompt, answer):
        return ("loglikelihood", prompt, answer)

    def choice(self, prompt, labels):
        return ("choice", prompt, tuple(labels))


def own(scorer, answer, **more):
    return {"prompt": "Q?", "answer": answer, "scorer": scorer, **more}


# Our own format
@pytest.mark.parametrize(
    ("entry", "right", "wrong"),
    [
        (own("number", 7), ["7", "It is 7.", "The answer is 7.0."], ["8", "-7"]),
        (own("number", "1,234.5"), ["1234.5", "1,234.50"], ["1234"]),
        (own("number", -3), ["-3"], ["3"]),
        (
            own("exact", "New York"),
            ["new york.", "**New  York**", "The answer is New York!"],
            ["York", "New York City"],
        ),
        (own("exact", "] ) >"), ["])>", "] ) >", "The answer is ] ) >."], ["] >", ")]>"]),
        (own("exact", -5), ["-5"], ["5"]),
        (own("yes_no", "Yes"), ["yes", "Yes, it is."], ["No.", "no"]),
        (own("yes_no", False), ["No."], ["Yes."]),
        (
            own("word", "Friday", choices=["Monday", "Friday"]),
            ["It is Friday.", "friday"],
            ["Monday"],
        ),
        (
            own("written_choice", "B", choices=["A", "B", "C"]),
            ["B", "(B)", "The answer is B."],
            ["C", "(A)"],
        ),
    ],
)
def test_written_answers_are_read_and_score_of(tmp_path, entry, right, wrong):
    scorer = only(load(lines(tmp_path, entry))).scorer
    assert isinstance(scorer, Generated)
    assert scorer.score(scorer.target) == 1
    assert [score_of(scorer, text) for text in right] == [1] * len(right)
    assert [score_of(scorer, text) for text in wrong] == [0] * len(wrong)


@pytest.mark.parametrize(
    "entry", [own("number", 7), own("word", "b", choices=["a", "b"]), own("yes_no", "no")]
)
def test_what_holds_no_answer_is_unreadable(tmp_path, entry):
    scorer = only(load(lines(tmp_path, entry))).scorer
    assert score_of(scorer, "") is None
    assert score_of(scorer, "Hm...") is None
    assert scorer.read([written("Hm", "length")]).truncated


def test_partial_credit(tmp_path):
    scorer = only(load(lines(tmp_path, own("number_partial", 4302459)))).scorer
    assert score_of(scorer, "4302459") == 1
    assert score_of(scorer, "It is 430,245.") == pytest.approx(0.8571, abs=5e-5)
    assert score_of(scorer, "4302459.4") == 1  # to the nearest whole number
    assert score_of(scorer, "1e999") is None  # rather than a number of a thousand digits
    assert scorer.requests("Q?", Recorder()) == [("generate", "Q?", 30, ())]


def test_choice_and_likelihood_generate_nothing(tmp_path):
    path = lines(
        tmp_path,
        own("choice", "b", choices=["a", "b", "c"]),
        own("likelihood", "héé", prompt="other"),
    )
    by_type = {type(item.scorer): item.scorer for item in all_items(load(path))}
    choice, likelihood = by_type[Choice], by_type[Likelihood]
    assert choice.requests("Q?", Recorder()) == [("choice", "Q?", ("a", "b", "c"))]
    assert choice.score("b") == choice.score(choice.target) == 1
    assert choice.score("a") == pytest.approx(-1 / 2)  # certain of one of two wrong ones
    assert likelihood.requests("Q?", Recorder()) == [("loglikelihood", "Q?", "héé")]
    result = LogLikelihoodResult.__new__(LogLikelihoodResult)
    object.__setattr__(result, "logprob", 5 * np.log(0.5))
    object.__setattr__(result, "is_greedy", False)
    assert likelihood.score(likelihood.read([result]).answer) == pytest.approx(0.5)  # five bytes


def test_prompts_messages_tags_and_budgets(tmp_path):
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": "Hi?"}]
    talk = {
        "messages": messages,
        "answer": "Hello",
        "scorer": "exact",
        "tags": {"difficulty": 3},
        "max_tokens": 9,
    }
    items = {
        str(item.prompt): item for item in all_items(load(lines(tmp_path, own("number", 1), talk)))
    }
    assert items["Q?"].tags == {"family": "mine"}
    item = items[str(messages)]
    assert item.tags == {"family": "mine", "difficulty": 3}
    assert item.scorer.requests(item.prompt, Recorder()) == [("generate", messages, 9, ())]


def test_max_tokens_of_load_holds_where_an_entry_has_none(tmp_path):
    probe = load(
        lines(tmp_path, own("number", 1), own("number", 2, prompt="R?", max_tokens=5)),
        max_tokens=77,
    )
    assert probe.id == "mine:max_tokens=77"
    assert {item.scorer.requests("", Recorder())[0][2] for item in all_items(probe)} == {77, 5}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"prompt": "Q?", "scorer": "number"}, "it has no 'answer'; it has 'prompt', 'scorer'"),
        (own("number", "many"), "'answer' is 'many', but must be a number"),
        (own("number", True), "'answer' is True, but must be a text that is not blank"),
        (own("number", [1]), r"'answer' is \[1\], but must be a text"),
        (own("number", "1e999999"), "'answer' is '1e999999', but must be a number"),
        (own("number", "NaN"), "'answer' is 'NaN', but must be a number"),
        (
            '{"prompt": "Q?", "answer": 1e999, "scorer": "number"}',
            "'answer' is inf, but must be finite",
        ),
        (
            own("number_partial", 0),
            "'answer' is 0, but partial credit is defined for whole numbers from 1 on",
        ),
        (
            own("number_partial", 2.5),
            "'answer' is 2.5, but partial credit is defined for whole numbers",
        ),
        (
            own("numbers", 1),
            "'scorer' is 'numbers', but must be one of number, number_partial, choice, ",
        ),
        (own(3, 1), "'scorer' is 3, but must be a text"),
        (own("choice", "a"), "'choices' is missing, but must be a list of texts"),
        (
            own("choice", "a", choices=["a", 1]),
            r"'choices' is \['a', 1\], but must be a list of texts",
        ),
        (
            own("choice", "c", choices=["a", "b"]),
            r"'answer' is 'c' and 'choices' are \['a', 'b'\], but there must be",
        ),
        (own("word", "a", choices=["a", "a"]), ".*all different, with the answer among them"),
        (own("word", "a", choices=["a"]), ".*there must be two or more"),
        (own("yes_no", "maybe"), "'answer' is 'maybe', but must be yes or no"),
        (own("yes_no", None), "'answer' is missing, but must be a text"),
        (own("exact", "..."), "'answer' is '...', which has nothing to compare"),
        (own("likelihood", " "), "'answer' is ' ', but must be a text that is not blank"),
        (
            own("number", 1, max_token=5),
            "it has 'max_token', but the fields are prompt, messages, answer",
        ),
        (
            own("number", 1, max_tokens=0),
            "'max_tokens' is 0, but must be a whole number in 1..32768",
        ),
        (own("number", 1, max_tokens=True), "'max_tokens' is True, but must be"),
        (own("number", 1, max_tokens="9"), "'max_tokens' is '9', but must be"),
        (
            own("number", 1, tags=["a"]),
            r"'tags' is \['a'\], but must be an object of texts and whole numbers",
        ),
        (own("number", 1, tags={"a": 1.5}), "'tags' is {'a': 1.5}, but must be"),
        (own("number", 1, prompt="  "), "'prompt' is '  ', but must be a text that is not blank"),
        (own("number", 1, prompt=5), "'prompt' is 5, but must be a text"),
        (own("number", 1, messages=[]), "it must have either a 'prompt' or 'messages'"),
        ({"answer": 1, "scorer": "number"}, "it must have either a 'prompt' or 'messages'"),
        (
            '{"prompt": "\\ud800", "answer": 1, "scorer": "number"}',
            "it holds half of a surrogate pair",
        ),
        ("[1]", r"it is \[1\], but must be an object"),
        ("{", "it is not JSON: "),
        (
            '{"prompt": "Q?", "answer": NaN, "scorer": "number"}',
            "it is not JSON: NaN is not a number in JSON",
        ),
        (
            '{"prompt": "Q?", "answer": ' + "9" * 5000 + ', "scorer": "number"}',
            "it is not JSON: Exceeds the limit",
        ),
        ("[" * 100_000, "it is not JSON: it is nested too deeply"),
    ],
)
def test_a_wrong_entry_is_named_with_what_was_expected(tmp_path, entry, message):
    path = lines(tmp_path, own("number", 1, prompt="good"), "", entry)
    with pytest.raises(ProbeError, match=rf"mine\.jsonl, line 3: {message}"):
        load(path)


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        ["Hi"],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "Hi", "name": "x"}],
        [{"role": "tool", "content": "Hi"}],
        [{"role": ["user"], "content": "Hi"}],
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
    ],
)
def test_messages_must_end_with_the_users(tmp_path, messages):
    path = lines(tmp_path, {"messages": messages, "answer": 1, "scorer": "number"})
    with pytest.raises(ProbeError, match=r"line 1|entry"):
        load(path)


# Files
def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ProbeError, match=r"none\.jsonl does not exist$"):
        load(tmp_path / "none.jsonl")
    with pytest.raises(ProbeError, match=r" is not a file$"):
        load(tmp_path)
    with pytest.raises(ProbeError, match=r"cannot be read: File name too long$"):
        load(tmp_path / ("x" * 5000))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ProbeError, match=r"pipe is not a file$"):
            load(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", " is empty$"),
        (b"\xef\xbb\xbf \n", " is empty$"),
        (b"\xff\xfe{\x00}\x00", " is not UTF-8: invalid start byte at byte 0$"),
        (b'{"prompt": "\xc3"}', " is not UTF-8: invalid continuation byte at byte 12$"),
        (b"hello", " is not JSON: Expecting value: line 1 column 1"),
        (b"\x00", " is not JSON: "),
        (b'[{"question": "a", "answer": 1},\n{"question"', " is not JSON: .*line 2"),
        (b"[" * 100_000, " is not JSON: it is nested too deeply$"),
        (b"[]", " holds no questions$"),
        (b"{}", " holds no questions$"),
        (b'{"examples": []}', " holds no questions$"),
        (b"7", ", line 1: it is 7, but must be an object$"),
        (b'"text"', ", line 1: it is 'text', but must be an object$"),
        (b"[null]", ", entry 1: it is missing, but must be an object$"),
        (
            b'{"prompt": "Q?", "answer": 1}',
            r", line 1: its fields are \['prompt', 'answer'\], but it must have those of one",
        ),
        (b'[{"prompt": "\\ud83d", "code": ""}]', ", entry 1: it holds half of a surrogate pair"),
    ],
)
def test_a_file_of_no_known_form_is_refused(tmp_path, data, message):
    path = tmp_path / "odd.json"
    path.write_bytes(data)
    with pytest.raises(ProbeError, match=rf"odd\.json{message}"):
        load(path)


def test_sizes_are_limited(tmp_path, monkeypatch):
    small = own("number", 1)
    with pytest.raises(ProbeError, match=r"mine\.jsonl, line 2: it has more than 1048576 bytes"):
        load(lines(tmp_path, small, own("number", 1, prompt="é" * (1 << 19))))
    with pytest.raises(
        ProbeError, match=r"task\.json, entry 2: it has \d+ bytes, but at most 1048576 are read"
    ):
        load(document(tmp_path, [small, own("number", 1, prompt="x" * (1 << 20))]))
    path = lines(tmp_path, small)
    monkeypatch.setattr(readers, "MAX_FILE_BYTES", path.stat().st_size)
    assert len(load(path)) == 1
    monkeypatch.setattr(readers, "MAX_FILE_BYTES", path.stat().st_size - 1)
    with pytest.raises(
        ProbeError, match=r"mine\.jsonl has more than \d+ bytes, which is the most that is read"
    ):
        load(path)


def test_byte_order_marks_line_ends_and_odd_separators_are_read(tmp_path):
    path = tmp_path / "mine.jsonl"
    first, second = (
        json.dumps(own("number", 1)),
        json.dumps(own("number", 2, prompt="a\u2028b\x85"), ensure_ascii=False),
    )
    path.write_bytes(b"\xef\xbb\xbf" + f"{first}\r\n\r\n{second}\r\n".encode())
    assert {item.prompt for item in all_items(load(path))} == {"Q?", "a\u2028b\x85"}


def test_repeats_are_dropped_and_contradictions_altogether(tmp_path):
    entries = [
        own("number", answer, prompt=prompt)
        for prompt, answer in [("a", 1), ("b", 2), ("a", 1), ("c", 3), ("c", 4)]
    ]
    probe = load(lines(tmp_path, *entries))
    assert (len(probe), probe.n_dropped) == (2, 3)
    assert {item.prompt for item in all_items(probe)} == {"a", "b"}
    with pytest.raises(
        ProbeError, match=r"holds no questions: all 2 entries contradict each other$"
    ):
        load(lines(tmp_path, *entries[3:]))


def test_items_are_the_same_in_any_order_of_the_file_and_splits_share_none(tmp_path):
    entries = [own("number", i, prompt=f"What is {i}?") for i in range(41)]
    probe, other = (
        load(lines(tmp_path, *entries)),
        load(lines(tmp_path, *reversed(entries), name="other.jsonl")),
    )
    search, confirm = probe.items(100, seed=3), probe.items(100, seed=3, split="confirm")
    assert (len(search), len(confirm)) == (21, 20)
    assert {item.id for item in search}.isdisjoint(item.id for item in confirm)
    assert [item.id for item in other.items(100, seed=3)] == [item.id for item in search]
    assert [item.id for item in probe.items(5, seed=3)] == [item.id for item in search[:5]]
    assert [item.id for item in probe.items(100, seed=4)] != [item.id for item in search]
    assert {item.id for item in probe.items(100, seed=4)} == {item.id for item in search}


def test_settings_that_do_not_fit_the_file_are_refused(tmp_path):
    path = lines(tmp_path, own("number", 1))
    with pytest.raises(
        ProbeError, match=r"^scoring is 'strict', but every entry of mine has a 'scorer' itself$"
    ):
        load(path, scoring="strict")
    with pytest.raises(ProbeError, match=r"^cot is 'x', but .* is not a task of BIG-Bench-Hard$"):
        load(path, cot="x")
    for max_tokens in (0, 10**6, True, 2.5):
        with pytest.raises(
            ProbeError, match=r"^max_tokens is .*, but must be a whole number in 1..32768$"
        ):
            load(path, max_tokens=max_tokens)


# Lists of questions and answers
def test_questions_with_numbers(tmp_path):
    questions = [
        {"question": "What is the cube root of 4330747?", "answer": 163},
        {"question": "2 * 2?", "answer": "4"},
    ]
    exact = {item.tags["family"]: item for item in all_items(load(document(tmp_path, questions)))}[
        "task"
    ]
    assert exact.prompt.endswith("? Answer with the number only.")
    partial = load(document(tmp_path, {"a": questions[0]}), scoring="number_partial")
    assert (partial.id, partial.format) == ("task:number_partial", "questions")
    assert score_of(only(partial).scorer, "162") == pytest.approx(1 - 1 / 163)
    assert score_of(only(load(document(tmp_path, questions[:1]))).scorer, "162") == 0


def test_questions_with_texts(tmp_path):
    path = lines(tmp_path, {"question": "Capital of France?", "answer": "Paris", "note": 1})
    assert score_of(only(load(path)).scorer, "paris.") == 1
    with pytest.raises(
        ProbeError,
        match="scoring is 'v2', but mine can be scored by number, number_partial, yes_no",
    ):
        load(path, scoring="v2")
    with pytest.raises(ProbeError, match="line 1: 'answer' is 'Paris', but must be a number"):
        load(path, scoring="number")


# BIG-Bench-Hard
def bbh(tmp_path, *examples, **options):
    examples = [{"input": question, "target": target} for question, target in examples]
    return load(document(tmp_path, {"canary": "x", "examples": examples}), **options)


EXAMPLES = """canary
-----
Say which.

Q: One or two?
Options:
(A) one
(B) two
A: Let's think step by step.
Hm. So the answer is (A).

Q: Two?
A: So the answer is (B).
"""


@pytest.mark.parametrize(
    ("question", "target", "labels", "answer"),
    [
        ("Which?\nOptions:\n(A) one\n(B) two\n(C) three", "(B)", ("A", "B", "C"), "B"),
        ("Well?\nOptions:\n- Yes\n- No", "No", ("Yes", "No"), "No"),
        ("Is it?\nOptions:\n- valid \n- invalid", "invalid", ("valid", "invalid"), "invalid"),
        ("not True is", "False", ("True", "False"), "False"),
        ("Is it plausible?", "yes", ("yes", "no"), "yes"),
    ],
)
def test_bbh_targets_among_few_are_chosen(tmp_path, question, target, labels, answer):
    item = only(bbh(tmp_path, (question, target)))
    assert isinstance(item.scorer, Choice)
    assert (item.scorer.labels, item.scorer.target) == (labels, answer)
    assert item.prompt.startswith(question)
    assert item.tags == {"family": "task"}


@pytest.mark.parametrize(
    ("question", "target", "right", "wrong"),
    [
        ("(1 - 4) =", "-3", "The answer is -3.", "3"),
        ("Close: [ {", "} ]", "}]", "] }"),
        ("Sort: List: pear apple it&t", "apple it&t pear", "apple, it&t, pear", "pear apple it&t"),
        ("Which?\nOptions:\n(A) Monsters\n(B) Inc", "Monsters, Inc", "monsters inc.", "(A)"),
        ("Which?\nOptions:\n(A) The NB", "(A)", "A", "B"),
        ("Which?\nOptions:\n(A) one\n(C) three", "(C)", "(C)", "(A)"),
    ],
)
def test_other_bbh_targets_are_written(tmp_path, question, target, right, wrong):
    scorer = only(bbh(tmp_path, (question, target))).scorer
    assert isinstance(scorer, Generated)
    assert (score_of(scorer, right), score_of(scorer, target), score_of(scorer, wrong)) == (1, 1, 0)


def test_bbh_with_examples_is_reasoned(tmp_path):
    (tmp_path / "task.txt").write_text(EXAMPLES, encoding="utf-8")
    question = "Which?\nOptions:\n(A) one\n(B) two"
    for cot in (tmp_path, tmp_path / "task.txt"):
        probe = bbh(tmp_path, (question, "(B)"), cot=cot)
        item = only(probe)
        assert probe.id == "task:cot"
        assert item.prompt == [
            {"role": "user", "content": "Say which.\n\nOne or two?\nOptions:\n(A) one\n(B) two"},
            {
                "role": "assistant",
                "content": "Let's think step by step.\nHm. So the answer is (A).",
            },
            {"role": "user", "content": "Two?"},
            {"role": "assistant", "content": "So the answer is (B)."},
            {"role": "user", "content": question},
        ]
    assert item.scorer.requests("", Recorder()) == [("generate", "", 1024, ("\nQ:", "\nQuestion:"))]
    # the harness's pattern fails on the second and the third, which eats one character after the
    # answer
    right = [
        "So the answer is (B).",
        "the answer is (B). ",
        "The answer is: **B**",
        "The answer is (A). No, the answer is (B).",
    ]
    assert [score_of(item.scorer, text) for text in right] == [1] * 4
    assert score_of(item.scorer, "So the answer is (A).") == 0
    assert score_of(item.scorer, "(B) is what I think") is None  # nothing is stated
    assert item.scorer.read([written("(B) is", "length")]).truncated


def test_reasoning_and_choosing_ask_the_same_questions_in_a_split(tmp_path):
    (tmp_path / "task.txt").write_text(EXAMPLES, encoding="utf-8")
    tasks = [(f"Is {i} even?", "yes" if i % 2 == 0 else "no") for i in range(20)]
    plain = [item.prompt.split("\n")[0] for item in bbh(tmp_path, *tasks).items(20)]
    reasoned = [
        item.prompt[-1]["content"] for item in bbh(tmp_path, *tasks, cot=tmp_path).items(20)
    ]
    assert plain == reasoned


@pytest.mark.parametrize(
    "text", ["", "Q: one?", "A: one\nQ: two", "Q: one\nA:\nQ: two\nA: three", "Q: a\nQ: b\nA: c"]
)
def test_examples_of_another_form_are_refused(tmp_path, text):
    (tmp_path / "task.txt").write_text(text, encoding="utf-8")
    with pytest.raises(
        ProbeError, match=r"task\.txt(: it must hold questions and answers in turn| is empty)"
    ):
        bbh(tmp_path, ("Well?", "yes"), cot=tmp_path)


def test_wrong_bbh_files_are_refused(tmp_path):
    with pytest.raises(ProbeError, match=r"empty\.txt does not exist$"):
        bbh(tmp_path, ("Well?", "yes"), cot=tmp_path / "empty.txt")
    with pytest.raises(ProbeError, match=r"entry 2: 'target' is 5, but must be a text"):
        bbh(tmp_path, ("Well?", "yes"), ("Number?", 5))
    with pytest.raises(
        ProbeError, match=r"entry 1: 'target' is '...', which has nothing to compare"
    ):
        bbh(tmp_path, ("Well?", "..."))
    with pytest.raises(
        ProbeError, match=r"scoring is 'strict', but task has one way of scoring only$"
    ):
        bbh(tmp_path, ("Well?", "yes"), scoring="strict")


@pytest.mark.parametrize("task", BBH_TASKS)
def test_the_real_bbh_files(task):
    path = real(f"bbh/{task}.json")
    examples = json.loads(path.read_text(encoding="utf-8"))["examples"]
    targets = {example["input"]: example["target"] for example in examples}
    for cot in (None, path.parent / "cot-prompts"):
        probe = load(path, cot=cot)
        items = all_items(probe)
        assert len(items) == len(probe) == len(examples) - probe.n_dropped
        assert probe.n_dropped == {"causal_judgement": 4, "sports_understanding": 2}.get(task, 0)
        for item in items:
            assert item.scorer.score(item.scorer.target) == 1
            if cot:
                assert len(item.prompt) == 7  # three examples
                target = targets[item.prompt[-1]["content"]]
            else:
                target = targets[item.prompt.rpartition("\n\nReply with")[0]]
            if isinstance(item.scorer, Choice):
                assert item.scorer.target == target.strip("()")
                continue
            said = [f"Well.\nSo the answer is {target}.", f"**The answer is: {target}**"] + [
                target
            ] * (cot is None)
            assert [score_of(item.scorer, text) for text in said] == [1] * len(said)
        assert best_constant(items)[0] < 0.6


def test_every_bbh_task_that_is_here_is_in_the_list():
    real("bbh/navigate.json")
    assert sorted(path.stem for path in (DATA / "bbh").glob("*.json")) == sorted(BBH_TASKS)


# GSM8K
@pytest.mark.parametrize(
    ("text", "strict", "by_hash", "flexible"),
    [
        ("The answer is 18.", "18", None, "18"),
        ("The answer is $18.", None, None, "18"),
        ("The answer is 1,234.\nThe answer is 5.", "1234", None, "5"),
        ("The answer is -3. So.", "-3", None, "-3"),
        ("the answer is 18.", None, None, "18"),
        ("9 * 2 = 18\n#### 18", None, "18", "18"),
        ("#### 1,000 or so, 7", None, "1000", "7"),
        ("It costs $2.50.", None, None, "2.50"),
        ("no number", None, None, None),
        # as the harness has it: the pattern wants one more character, and takes dots for numbers
        ("The answer is 18", "1", None, "18"),
        ("The answer is 5", None, None, "5"),
        ("It is 18. Well...", None, None, ".."),
        ("It is 18.00.", None, None, "18.00"),
    ],
)
def test_gsm8k_extraction_is_the_harness_one(text, strict, by_hash, flexible):
    assert gsm8k.number_after_phrase(text) == strict
    assert gsm8k.number_after_hash(text) == by_hash
    assert gsm8k.last_number(text) == flexible


def test_gsm8k_is_scored_as_chosen(tmp_path):
    path = lines(
        tmp_path,
        {"question": "How many?", "answer": "1 + 1,233 = 1,234\n#### 1,234"},
        name="test.jsonl",
    )
    text = "The answer is 1234.\nThat is 1 more than 1233."
    assert {
        way: score_of(only(load(path, scoring=way)).scorer, text)
        for way in ("strict", "flexible", "hash")
    } == {
        "strict": 1,
        "flexible": 0,
        "hash": None,
    }
    assert score_of(only(load(path)).scorer, "It is $1,234.") == 1
    assert only(load(path)).prompt.endswith('end with "The answer is N.", where N is the number.')
    assert '"#### N"' in only(load(path, scoring="hash")).prompt
    assert [load(path, scoring=way).id for way in (None, "strict")] == ["test", "test:strict"]
    with pytest.raises(
        ProbeError, match="scoring is 'exact', but test can be scored by flexible, strict, hash"
    ):
        load(path, scoring="exact")
    with pytest.raises(
        ProbeError, match="line 2: 'answer' ends with '12', but must end with #### and a number"
    ):
        load(
            lines(
                tmp_path, {"question": "a", "answer": "#### 1"}, {"question": "b", "answer": "12"}
            )
        )


def test_the_real_gsm8k():
    path = real("gsm8k/test.jsonl")
    solutions = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    solutions = {solution["question"]: solution["answer"] for solution in solutions}
    for scoring, ending in (("flexible", ""), ("hash", ""), ("strict", "\nThe answer is {}.")):
        items = all_items(load(path, scoring=scoring))
        assert len(items) == 1319
        for item in items:
            solution = solutions[item.prompt.rpartition("\n\nReason step by step")[0]]
            assert (
                score_of(item.scorer, solution + ending.format(solution.rpartition("#### ")[2]))
                == 1
            )


# EQ-Bench
def eq_entry(
    full_scale=(0, "6", 0, 7.0),
    normalised=(2, 3, 0, 5),
    prompt="Dialogue.\n\nGive each of these possible emotions a",
):
    names = ("Sad", "Glad", "Sad and mad", "Mad")
    entry = {"prompt": prompt}
    for field, scores in (
        ("reference_answer_fullscale", full_scale),
        ("reference_answer", normalised),
    ):
        if scores:
            entry[field] = {f"emotion{i}": name for i, name in enumerate(names, 1)}
            entry[field] |= {f"emotion{i}_score": score for i, score in enumerate(scores, 1)}
    return entry


def test_eq_bench_is_scored_by_the_official_formula(tmp_path):
    item = only(load(document(tmp_path, {"1": eq_entry()})))
    assert item.prompt.startswith(
        "Dialogue.\n\nGive each of these possible emotions a score from 0 to 10"
    )
    assert item.prompt.endswith("\nSad: <score>\nGlad: <score>\nSad and mad: <score>\nMad: <score>")
    assert score_of(item.scorer, "Sad: 0\nGlad: 6\nSad and mad: 0\nMad: 7") == 1
    assert score_of(item.scorer, "Sad: 4\nGlad: 6\nSad and mad: 0\nMad: 7") == pytest.approx(
        1 - 0.07477 * 3.25
    )
    assert score_of(item.scorer, "Sad: 10\nGlad: 0\nSad and mad: 10\nMad: 0") == 0  # below 0 is cut
    assert score_of(item.scorer, "Sad: 4\nGlad: 6") is None
    assert item.scorer.constants[3] == (3, 3, 3, 3)


def test_ngs_eq_is_scored_by_his_formula(tmp_path):
    for entry, scoring in ((eq_entry(full_scale=None), None), (eq_entry(), "ng")):
        scorer = only(load(document(tmp_path, [entry]), scoring=scoring)).scorer
        assert scorer.target == (2, 3, 0, 5)
        assert score_of(scorer, "Sad: 0\nGlad: 6\nSad and mad: 0\nMad: 7") == pytest.approx(
            1 - 7 / 40
        )
    assert only(
        load(document(tmp_path, [eq_entry(normalised=None)]), scoring="ng")
    ).scorer.target == (0, 6, 0, 7)


def test_other_eq_prompts_are_asked_as_they_stand(tmp_path):
    item = only(load(document(tmp_path, [eq_entry(prompt="Rate Sad, Glad, Sad and mad, Mad.")])))
    assert item.prompt == "Rate Sad, Glad, Sad and mad, Mad."
    passes = (
        "First pass scores:\nSad: 9\nGlad: 9\nSad and mad: 9\nMad: 9\n"
        "Revised scores:\nSad: 0\nGlad: 6\nSad and mad: 0\nMad: 7"
    )
    assert score_of(item.scorer, passes) == 1


@pytest.mark.parametrize("scoring", ["v2", "ng"])
def test_the_chance_of_eq_is_the_mean_over_all_answers(tmp_path, scoring):
    scorer = only(load(document(tmp_path, [eq_entry()]), scoring=scoring)).scorer
    scale = range(11)
    scores = [
        scorer.score((a, b, c, d)) for a in scale for b in scale for c in scale for d in scale
    ]
    assert scorer.chance == pytest.approx(sum(scores) / len(scores))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            eq_entry(full_scale=(0, 0, 0, 11)),
            r"the scores are \(0.0, 0.0, 0.0, 11.0\), but must be in 0..10",
        ),
        (eq_entry(full_scale=(0, 0, 0, "x")), r"'emotion4_score' is 'x', but must be a number"),
        (eq_entry(full_scale=(0, 0, 0)), r"it has no 'emotion4_score'"),
        (eq_entry() | {"reference_answer_fullscale": 3}, r"it is 3, but must be an object"),
        (eq_entry() | {"prompt": None}, r"'prompt' is missing, but must be a text"),
    ],
)
def test_wrong_eq_entries_are_refused(tmp_path, entry, message):
    with pytest.raises(ProbeError, match=rf"task\.json, entry 'q'.*: {message}"):
        load(document(tmp_path, {"q": entry}))


def test_eq_emotions_must_differ(tmp_path):
    entry = eq_entry()
    entry["reference_answer_fullscale"]["emotion2"] = "sad"
    with pytest.raises(
        ProbeError, match="the emotions are Sad, sad, Sad and mad, Mad, but must be all different"
    ):
        load(document(tmp_path, [entry]))


def test_the_real_eq_bench():
    path = real("eq-bench/eq_bench_v2_questions_171.json")
    for scoring in ("v2", "ng"):
        items = all_items(load(path, scoring=scoring))
        assert len(items) == 171
        for item in items:
            *_, a, b, c, d = item.prompt.replace("<score>", "{}").split("\n")
            ratings = "\n".join((a, b, c, d)).format(
                *(f"{rating:g}" for rating in item.scorer.target)
            )
            assert score_of(item.scorer, ratings) == 1
    floor, answer = best_constant(all_items(load(path)))
    assert (round(floor, 3), answer) == (0.390, "(3.0, 3.0, 3.0, 3.0)")


# MBPP
def test_mbpp_scores_the_reference_code_without_running_it(tmp_path):
    code = f"import pathlib\r\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\r\n"
    path = lines(tmp_path, {"text": "Touch it.", "code": code, "test_list": ["assert f()"]})
    item = only(load(path))
    assert isinstance(item.scorer, Likelihood)
    assert item.scorer.text == code.replace("\r\n", "\n").strip()
    assert "Touch it.\n\nThese tests should pass:\nassert f()" in item.prompt
    assert not (tmp_path / "ran").exists()
    for field, message in (("code", "it has no 'code'"), ("test_list", "'test_list' is missing")):
        entries = [
            json.loads(path.read_text(encoding="utf-8")),
            {"text": "a", "code": "b", "test_list": ["c"]},
        ]
        del entries[1][field]
        with pytest.raises(ProbeError, match=f"line 2: {message}"):
            load(lines(tmp_path, *entries, name="wrong.jsonl"))


def test_the_real_mbpp():
    path = real("mbpp/sanitized-mbpp.json")
    codes = sorted(
        task["code"].strip().replace("\r\n", "\n")
        for task in json.loads(path.read_text(encoding="utf-8"))
    )
    items = all_items(load(path))
    assert sorted(item.scorer.text for item in items) == codes
    assert len({item.id for item in items}) == 427


@pytest.mark.parametrize(
    "name", ["ifeval/input_data.jsonl", "llm-circuit-finder/eval_base_results.json"]
)
def test_real_files_of_other_kinds_are_refused(name):
    with pytest.raises(
        ProbeError, match=r", line 1: its fields are \[.*, but it must have those of one format"
    ):
        load(real(name))


EXAMPLES_OF_FORMATS = {
    "entries": own("number", 7),
    "bbh": {"input": "2 + 3 =", "target": "5"},
    "gsm8k": {"question": "Two and two?", "answer": "4\n#### 4"},
    "questions": {"question": "Two and two?", "answer": 4},
    "eq": {"prompt": "Rate.", "reference_answer": {}},
    "mbpp": {"prompt": "Add.", "code": "a + b", "test_list": ["assert True"]},
}


def test_every_format_has_an_example():
    assert EXAMPLES_OF_FORMATS.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", EXAMPLES_OF_FORMATS)
def test_formats_are_told_by_the_fields(name):
    records = [Record("here", EXAMPLES_OF_FORMATS[name])]
    assert format_of(records) == name
    # the plain list is the only one whose fields another format has as well
    also = [other for other in FORMATS if FORMATS[other].matches(records)]
    assert also == (["gsm8k", "questions"] if name == "gsm8k" else [name])


def test_the_error_lists_the_fields_of_every_format():
    with pytest.raises(ProbeError, match="here: its fields are \\['a'\\], but") as error:
        format_of([Record("here", {"a": 1})])
    for file_format in FORMATS.values():
        assert file_format.FIELDS in str(error.value)


def test_every_scorer_is_in_the_documentation():
    indented = [
        line.split()
        for line in own_format.__doc__.split("\n")
        if line.startswith("    ") and not line.lstrip().startswith(("{", '"'))
    ]
    assert sorted(words[0] for words in indented) == sorted(own_format.ENTRY_SCORERS)
