"""Generate: greedy, sampled and by a grammar, and what ends it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import rys
from rys import Generate
from rys.errors import (
    EngineError,
    RequestError,
)
from rys.requests import FailedRequest, GenerateResult
from support import models
from support.checks import EOG, LETTERS, content, greedy
from support.models import log_softmax


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny() as model:
        yield model


# Generate


def test_a_greedy_generation_takes_the_most_probable_token_each_time(model: rys.Model) -> None:
    # oracle: argmax of logits(), which evaluates everything anew for every token
    prompt = model.tokenize("Hello")
    result = model.generate(prompt, max_tokens=24)
    assert result.tokens == greedy(model, prompt, len(result.tokens))
    assert result.finish_reason == "length"
    assert len(result.tokens) == 24
    assert result.text == model.detokenize(result.tokens)


def test_a_prompt_may_be_text_tokens_or_messages(model: rys.Model) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    text = model.apply_chat_template(messages)
    expected = model.generate(model.tokenize(text), max_tokens=8)
    prompts: list[Any] = [
        text,
        messages,
        tuple(model.tokenize(text)),
        np.array(model.tokenize(text)),
    ]
    for prompt in prompts:
        assert content(model.generate(prompt, max_tokens=8)) == content(expected)
    assert content(model.chat(messages, max_tokens=8)) == content(expected)


def test_log_probabilities_of_generated_tokens(model: rys.Model) -> None:
    # oracle: log-softmax of logits() in numpy, in float64
    prompt = model.tokenize("Hello")
    for options in (
        {},
        {"temperature": 1.5, "seed": 3},
        {"repeat_penalty": 1.5},
        {"grammar": LETTERS},
    ):
        result = model.generate(prompt, max_tokens=12, logprobs=True, **options)
        expected = log_softmax(model.logits(prompt + result.tokens))
        steps = np.arange(len(result.tokens))
        assert result.logprobs is not None
        assert result.logprobs.dtype == np.float32
        np.testing.assert_allclose(
            result.logprobs, expected[len(prompt) - 1 + steps, result.tokens], atol=1e-5
        )
    assert model.generate(prompt, max_tokens=2).logprobs is None


def test_generation_ends_at_an_end_of_generation_token_which_is_not_part_of_it(
    model: rys.Model,
) -> None:
    prompts = [[token] for token in range(5, 155)]
    results = model.run([Generate(prompt, max_tokens=60) for prompt in prompts])
    ended = [
        (p, r)
        for p, r in zip(prompts, results, strict=True)
        if getattr(r, "finish_reason", "") == "eos"
    ]
    assert ended, "the model never ends; choose another seed"
    for prompt, result in ended[:5]:
        assert isinstance(result, GenerateResult)
        assert not EOG & set(result.tokens)
        assert int(model.logits(prompt + result.tokens)[-1].argmax()) in EOG


def test_max_tokens_none_fills_the_context() -> None:
    with models.open_tiny(n_ctx=40) as model:
        for n_prompt in (1, 20, 39, 40):
            result = model.generate([1] + [70] * (n_prompt - 1), max_tokens=None, grammar=LETTERS)
            # the last token is not evaluated, so it needs no place in the context
            assert (result.finish_reason, len(result.tokens)) == ("length", 40 - n_prompt + 1)
            same = model.generate([1] + [70] * (n_prompt - 1), max_tokens=1000, grammar=LETTERS)
            assert content(same) == content(result)


def test_max_tokens_is_an_upper_limit(model: rys.Model) -> None:
    whole = model.generate("Hello", max_tokens=20)
    for n in (1, 2, 19):
        result = model.generate("Hello", max_tokens=n)
        assert (result.tokens, result.finish_reason) == (whole.tokens[:n], "length")


def test_the_text_ends_before_a_stop_string_that_is_split_over_tokens(model: rys.Model) -> None:
    options: dict[str, Any] = {"max_tokens": 30, "grammar": LETTERS, "temperature": 3.0, "seed": 1}
    whole = model.generate("Hello", **options)
    assert len(whole.text) == len(whole.tokens) == 30  # every token is a letter
    for begin, size in ((0, 1), (0, 3), (7, 4), (27, 3)):
        stop = whole.text[begin : begin + size]
        at = whole.text.index(stop)
        result = model.generate("Hello", **options, stop=["never", stop])
        assert (result.text, result.finish_reason) == (whole.text[:at], "stop")
        assert result.tokens == whole.tokens[: at + size]


def test_the_first_of_several_stop_strings_counts(model: rys.Model) -> None:
    options: dict[str, Any] = {"max_tokens": 30, "grammar": LETTERS, "temperature": 3.0, "seed": 1}
    text = model.generate("Hello", **options).text
    middle = text[9:13]
    assert text.index(middle[2:]) == 11, "the letters repeat; choose another seed"
    # all of them are complete with the same letter
    assert (
        model.generate("Hello", **options, stop=[middle[2:], middle, middle[1:]]).text == text[:9]
    )
    assert model.generate("Hello", **options, stop=[text[20:], middle[2:]]).text == text[:11]


def test_a_stop_string_that_does_not_come_changes_nothing(model: rys.Model) -> None:
    whole = model.generate("Hello", max_tokens=30, grammar=LETTERS)
    last = whole.text[-1] + "!"  # begins, but does not end
    result = model.generate("Hello", max_tokens=30, grammar=LETTERS, stop=["ÄÖ", last])
    assert content(result) == content(whole)


def test_a_stop_string_in_the_prompt_does_not_count(model: rys.Model) -> None:
    assert (
        model.generate("Hello", max_tokens=5, grammar=LETTERS, stop=["Hello", "lo"]).finish_reason
        == "length"
    )


def test_stop_strings_that_are_not_ascii() -> None:
    with models.open_tiny() as model:
        grammar = 'root ::= "aé漢" [a-z]+'
        result = model.generate("Hello", max_tokens=30, grammar=grammar, stop=["é漢"])
        assert (result.text, result.finish_reason) == ("a", "stop")
        assert model.generate("Hello", max_tokens=30, grammar=grammar, stop=["漢"]).text == "aé"


def test_a_stop_string_may_name_control_tokens(model: rys.Model) -> None:
    # they have no text of their own; this one does not end a generation by itself
    grammar = "root ::= [a-z]{3} <|im_start|> [a-z]{3}"
    options: dict[str, Any] = {"max_tokens": 30, "grammar": grammar}
    whole = model.generate("Hello", **options)
    assert (len(whole.text), len(whole.tokens), whole.tokens[3]) == (6, 7, 3)
    for stop, n_text, n_tokens in (
        ("<|im_start|>", 3, 4),
        (whole.text[2] + "<|im_start|>", 2, 4),
        ("im_start|>" + whole.text[3], 3, 5),
        (whole.text[1:3] + "<|im_start|>" + whole.text[3:5], 1, 6),
    ):
        result = model.generate("Hello", **options, stop=["<|im_end|>", stop])
        assert (result.text, result.finish_reason) == (whole.text[:n_text], "stop")
        assert result.tokens == whole.tokens[:n_tokens]
        streamed = model.stream("Hello", **options, stop=[stop])
        assert "".join(streamed) == result.text
    # begins with the name, and does not end
    result = model.generate("Hello", **options, stop=["<|im_start|>0"])
    assert (result.text, result.finish_reason) == (whole.text, whole.finish_reason)
    assert "".join(model.stream("Hello", **options, stop=["<|im_start|>0"])) == whole.text


def test_real_weights_tell_a_story() -> None:
    with rys.Model(models.stories(), n_ctx=256, n_threads=1) as model:
        result = model.generate("Once upon a time", max_tokens=60, stop=["."])
        assert result.finish_reason == "stop"
        assert result.text.startswith(", there was a little")
        assert "." not in result.text
        assert model.generate("Once upon a time", max_tokens=200).text.startswith(result.text + ".")


def test_real_weights_add() -> None:
    # oracle: the sums; the model is trained on "three digits, three digits, the four digits of
    # their sum"
    with rys.Model(models.adder(), n_threads=1) as model:
        rng = random.Random(1)
        pairs = [(rng.randrange(1000), rng.randrange(1000)) for _ in range(20)]
        digits = [[int(digit) for digit in f"{a:03}{b:03}"] for a, b in pairs]
        results = model.run([Generate(prompt, max_tokens=4) for prompt in digits])
        answers = [result.tokens for result in results if isinstance(result, GenerateResult)]
        sums = [[int(digit) for digit in f"{a + b:04}"] for a, b in pairs]
        n_right = sum(
            answer in (total, total[::-1]) for answer, total in zip(answers, sums, strict=True)
        )
        assert n_right >= 18


# sampling


def test_the_same_seed_gives_the_same_text(model: rys.Model) -> None:
    def texts(seed: int) -> tuple[Any, ...]:
        return content(model.generate("Hello", max_tokens=16, temperature=1.0, seed=seed))

    seeds = [0, 1, 2, 12345, 2**32 - 2, 2**32 - 1, 2**32, -1, -7, 2**62]
    assert [texts(seed) for seed in seeds] == [texts(seed) for seed in seeds]
    assert len({texts(seed)[0] for seed in seeds[:5]}) == 5


def test_a_seed_gives_the_same_text_beside_other_requests(model: rys.Model) -> None:
    requests = [
        Generate(f"Hello{i % 3}", max_tokens=12, temperature=0.8, seed=i) for i in range(12)
    ]
    single = [content(model.run([request])[0]) for request in requests]
    assert [content(result) for result in model.run(requests)] == single


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_tokens_are_drawn_from_the_softmax_at_the_temperature(
    model: rys.Model, temperature: float
) -> None:
    # oracle: numpy. The mean log-probability of the drawn tokens is minus the entropy, within 5
    # standard errors.
    n = 1500
    options = {"max_tokens": 1, "temperature": temperature, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    results = model.run([Generate("Hello", **options, seed=seed) for seed in range(n)])
    logprobs = log_softmax(model.logits("Hello")[-1] / temperature)
    drawn = np.array(
        [logprobs[result.tokens[0]] for result in results if getattr(result, "tokens", [])]
    )
    assert len(drawn) > 0.95 * n  # the others drew the end of the text
    p = np.exp(logprobs)
    p[list(EOG)] = 0
    p /= p.sum()
    mean = (p * logprobs).sum()
    error = np.sqrt((p * (logprobs - mean) ** 2).sum() / len(drawn))
    assert abs(drawn.mean() - mean) < 5 * error


def test_top_k_top_p_and_min_p_leave_out_improbable_tokens(model: rys.Model) -> None:
    # oracle: the sets of tokens that numpy leaves
    logprobs = log_softmax(model.logits("Hello")[-1])
    order = np.argsort(-logprobs)
    p = np.exp(logprobs[order])
    nucleus = int((np.cumsum(p) < 0.6).sum()) + 1
    kept = {"top_k": order[:7], "top_p": order[:nucleus], "min_p": order[p >= 0.3 * p[0]]}
    values = {"top_k": 7, "top_p": 0.6, "min_p": 0.3}
    off = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
    for name, value in values.items():
        options: dict[str, Any] = {**off, name: value, "temperature": 1.0, "max_tokens": 1}
        results = model.run([Generate("Hello", **options, seed=seed) for seed in range(400)])
        drawn = {result.tokens[0] for result in results if getattr(result, "tokens", [])}
        assert drawn <= set(kept[name].tolist()), name
        assert len(drawn) > 0.6 * len(set(kept[name].tolist()) - EOG), name


@pytest.mark.parametrize(
    "options", [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 0.0}, {"temperature": 1e-6}]
)
def test_options_that_leave_one_token_are_greedy(model: rys.Model, options: dict[str, Any]) -> None:
    options = {"temperature": 1.0, "seed": 5, **options}
    assert model.generate("Hello", max_tokens=12, **options).tokens == greedy(
        model, model.tokenize("Hello"), 12
    )


@pytest.mark.parametrize("temperature", [1e-30, 1e-40, 1e-300])
def test_a_temperature_near_zero_is_greedy(model: rys.Model, temperature: float) -> None:
    result = model.generate("Hello", max_tokens=12, temperature=temperature, seed=5)
    assert result.tokens == model.generate("Hello", max_tokens=12).tokens


def test_the_repeat_penalty_lowers_tokens_that_were_there(model: rys.Model) -> None:
    # oracle: logits of earlier tokens divided by the penalty if positive, multiplied if negative
    penalty, tokens = 1.3, [1]
    result = model.generate(tokens, max_tokens=40, repeat_penalty=penalty)
    for token in result.tokens:
        logits = model.logits(tokens)[-1].copy()
        seen = list(set(tokens))
        logits[seen] = np.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        assert token == int(logits.argmax())
        tokens.append(token)
    assert result.tokens != model.generate([1], max_tokens=40).tokens


# grammars


def test_a_grammar_is_followed(model: rys.Model) -> None:
    grammar = 'root ::= ("yes" | "no, " [0-9]{2}) "!"'
    for options in (
        {},
        {"temperature": 1.0, "seed": 1},
        {"temperature": 1.0, "seed": 2},
        {"repeat_penalty": 1.2},
    ):
        result = model.generate("Hello", max_tokens=40, grammar=grammar, **options)
        assert re.fullmatch(r"(yes|no, [0-9]{2})!", result.text), result.text
        assert result.finish_reason == "eos"  # nothing may follow


def test_a_grammar_chooses_the_most_probable_allowed_token(model: rys.Model) -> None:
    # oracle: argmax of logits() over the tokens that are a letter
    prompt = model.tokenize("Hello")
    result = model.generate(prompt, max_tokens=12, grammar=LETTERS)
    texts = model.token_strings(range(model.n_vocab))
    allowed = [token for token, text in enumerate(texts) if re.fullmatch("[a-z]", text)]
    assert len(allowed) == 2 * 26  # as a letter and as a byte
    for i, token in enumerate(result.tokens):
        logits = model.logits(prompt + result.tokens[:i])[-1]
        assert token == max(allowed, key=lambda candidate: logits[candidate])


@pytest.mark.parametrize(
    "grammar", ["root = nonsense", 'main ::= "a"', 'root ::= root "a"', 'root ::= "a', "root ::= x"]
)
def test_a_grammar_that_cannot_be_read_is_a_request_error(model: rys.Model, grammar: str) -> None:
    with pytest.raises(RequestError, match=r"requests\[1\]: the grammar cannot be read"):
        model.run([Generate("a"), Generate("a", grammar=grammar)])


def test_a_grammar_that_cannot_be_read_writes_nothing_to_the_terminal(
    model: rys.Model, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RequestError, match=r"the grammar cannot be read: .*expecting ::= at"):
        model.generate("a", grammar="root nonsense")
    assert capfd.readouterr() == ("", "")


def test_a_grammar_at_a_dead_end_fails_alone(model: rys.Model) -> None:
    nothing = r'root ::= "ab" [\U7FFFFFFF]'
    requests = [
        Generate("a", max_tokens=8),
        Generate("a", max_tokens=8, grammar=nothing),
        Generate("b", max_tokens=8),
    ]
    before, failed, after = model.run(requests)
    assert isinstance(failed, FailedRequest)
    assert isinstance(failed.error, EngineError)
    assert content(before) == content(model.run(requests[:1])[0])
    assert content(after) == content(model.run(requests[2:])[0])
    with pytest.raises(EngineError):
        model.generate("a", max_tokens=8, grammar=nothing)
