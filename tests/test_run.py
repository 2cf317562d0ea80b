"""Model.run: what every kind of request gives, alone and beside others."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import models
import rys
from models import log_softmax
from rys import Generate, LogLikelihood, NextToken, _core, runner
from rys.errors import (
    ContextFullError,
    EngineError,
    NonFiniteLogitsError,
    RequestError,
    RysError,
    TokenizerError,
    UnsupportedArchitectureError,
)
from rys.requests import FailedRequest, GenerateResult, LogLikelihoodResult, NextTokenResult

LETTERS = "root ::= [a-z]{400}"
EOG = {2, 4}  # of `tiny`: </s> and <|im_end|>


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny() as model:
        yield model


def greedy(model: rys.Model, prompt: Sequence[int], n: int) -> list[int]:
    """Continue a prompt one evaluation at a time: the oracle of a greedy generation."""
    tokens = list(prompt)
    for _ in range(n):
        tokens.append(int(model.logits(tokens)[-1].argmax()))
    return tokens[len(prompt) :]


def content(result: Any) -> tuple[Any, ...]:
    """Return what must not depend on the requests beside: everything but times and shared tokens."""
    match result:
        case GenerateResult():
            logprobs = None if result.logprobs is None else result.logprobs.round(4).tolist()
            return result.text, result.tokens, logprobs, result.finish_reason, result.n_prompt_tokens
        case LogLikelihoodResult():
            return result.tokens, result.token_logprobs.round(3).tolist(), result.is_greedy, result.n_prompt_tokens
        case NextTokenResult():
            return list(result.tokens), result.logits.round(3).tolist(), result.n_prompt_tokens
        case FailedRequest():
            return type(result.error), str(result.error)
    raise AssertionError(result)


def check_same(result: Any, expected: Any) -> None:
    """Check that two results are the same, to 1e-4 where they are numbers."""
    assert type(result) is type(expected)
    match result, expected:
        case GenerateResult(), GenerateResult():
            assert (result.tokens, result.text, result.finish_reason) == (
                expected.tokens,
                expected.text,
                expected.finish_reason,
            )
            if expected.logprobs is not None:
                np.testing.assert_allclose(result.logprobs, expected.logprobs, atol=1e-4)
        case LogLikelihoodResult(), LogLikelihoodResult():
            assert result.tokens == expected.tokens
            np.testing.assert_allclose(result.token_logprobs, expected.token_logprobs, atol=1e-4)
        case NextTokenResult(), NextTokenResult():
            assert list(result.tokens) == list(expected.tokens)
            np.testing.assert_allclose(result.logits, expected.logits, atol=1e-4)
        case FailedRequest(), FailedRequest():
            assert (type(result.error), str(result.error)) == (type(expected.error), str(expected.error))
    assert getattr(result, "n_prompt_tokens", 0) == getattr(expected, "n_prompt_tokens", 0)


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
    prompts: list[Any] = [text, messages, tuple(model.tokenize(text)), np.array(model.tokenize(text))]
    for prompt in prompts:
        assert content(model.generate(prompt, max_tokens=8)) == content(expected)
    assert content(model.chat(messages, max_tokens=8)) == content(expected)


def test_log_probabilities_of_generated_tokens(model: rys.Model) -> None:
    # oracle: log-softmax of logits() in numpy, in float64
    prompt = model.tokenize("Hello")
    for options in ({}, {"temperature": 1.5, "seed": 3}, {"repeat_penalty": 1.5}, {"grammar": LETTERS}):
        result = model.generate(prompt, max_tokens=12, logprobs=True, **options)
        expected = log_softmax(model.logits(prompt + result.tokens))
        steps = np.arange(len(result.tokens))
        assert result.logprobs is not None
        assert result.logprobs.dtype == np.float32
        np.testing.assert_allclose(result.logprobs, expected[len(prompt) - 1 + steps, result.tokens], atol=1e-5)
    assert model.generate(prompt, max_tokens=2).logprobs is None


def test_generation_ends_at_an_end_of_generation_token_which_is_not_part_of_it(model: rys.Model) -> None:
    prompts = [[token] for token in range(5, 155)]
    results = model.run([Generate(prompt, max_tokens=60) for prompt in prompts])
    ended = [(p, r) for p, r in zip(prompts, results, strict=True) if getattr(r, "finish_reason", "") == "eos"]
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
    assert model.generate("Hello", **options, stop=[middle[2:], middle, middle[1:]]).text == text[:9]
    assert model.generate("Hello", **options, stop=[text[20:], middle[2:]]).text == text[:11]


def test_a_stop_string_that_does_not_come_changes_nothing(model: rys.Model) -> None:
    whole = model.generate("Hello", max_tokens=30, grammar=LETTERS)
    last = whole.text[-1] + "!"  # begins, but does not end
    result = model.generate("Hello", max_tokens=30, grammar=LETTERS, stop=["ÄÖ", last])
    assert content(result) == content(whole)


def test_a_stop_string_in_the_prompt_does_not_count(model: rys.Model) -> None:
    assert model.generate("Hello", max_tokens=5, grammar=LETTERS, stop=["Hello", "lo"]).finish_reason == "length"


def test_stop_strings_that_are_not_ascii() -> None:
    with models.open_tiny() as model:
        grammar = 'root ::= "aé漢" [a-z]+'
        result = model.generate("Hello", max_tokens=30, grammar=grammar, stop=["é漢"])
        assert (result.text, result.finish_reason) == ("a", "stop")
        assert model.generate("Hello", max_tokens=30, grammar=grammar, stop=["漢"]).text == "aé"


def test_real_weights_tell_a_story() -> None:
    with rys.Model(models.stories(), n_ctx=256, n_threads=1) as model:
        result = model.generate("Once upon a time", max_tokens=60, stop=["."])
        assert result.finish_reason == "stop"
        assert result.text.startswith(", there was a little")
        assert "." not in result.text
        assert model.generate("Once upon a time", max_tokens=200).text.startswith(result.text + ".")


def test_real_weights_add() -> None:
    # oracle: the sums; the model is trained on "three digits, three digits, the four digits of their sum"
    with rys.Model(models.adder(), n_threads=1) as model:
        rng = random.Random(1)
        pairs = [(rng.randrange(1000), rng.randrange(1000)) for _ in range(20)]
        digits = [[int(digit) for digit in f"{a:03}{b:03}"] for a, b in pairs]
        results = model.run([Generate(prompt, max_tokens=4) for prompt in digits])
        answers = [result.tokens for result in results if isinstance(result, GenerateResult)]
        sums = [[int(digit) for digit in f"{a + b:04}"] for a, b in pairs]
        n_right = sum(answer in (total, total[::-1]) for answer, total in zip(answers, sums, strict=True))
        assert n_right >= 18


# sampling


def test_the_same_seed_gives_the_same_text(model: rys.Model) -> None:
    def texts(seed: int) -> tuple[Any, ...]:
        return content(model.generate("Hello", max_tokens=16, temperature=1.0, seed=seed))

    seeds = [0, 1, 2, 12345, 2**32 - 2, 2**32 - 1, 2**32, -1, -7, 2**62]
    assert [texts(seed) for seed in seeds] == [texts(seed) for seed in seeds]
    assert len({texts(seed)[0] for seed in seeds[:5]}) == 5


def test_a_seed_gives_the_same_text_beside_other_requests(model: rys.Model) -> None:
    requests = [Generate(f"Hello{i % 3}", max_tokens=12, temperature=0.8, seed=i) for i in range(12)]
    single = [content(model.run([request])[0]) for request in requests]
    assert [content(result) for result in model.run(requests)] == single


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_tokens_are_drawn_from_the_softmax_at_the_temperature(model: rys.Model, temperature: float) -> None:
    # oracle: numpy. The mean log-probability of the drawn tokens is minus the entropy, within 5 standard errors.
    n = 1500
    options = {"max_tokens": 1, "temperature": temperature, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    results = model.run([Generate("Hello", **options, seed=seed) for seed in range(n)])
    logprobs = log_softmax(model.logits("Hello")[-1] / temperature)
    drawn = np.array([logprobs[result.tokens[0]] for result in results if getattr(result, "tokens", [])])
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


@pytest.mark.parametrize("options", [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 0.0}, {"temperature": 1e-6}])
def test_options_that_leave_one_token_are_greedy(model: rys.Model, options: dict[str, Any]) -> None:
    options = {"temperature": 1.0, "seed": 5, **options}
    assert model.generate("Hello", max_tokens=12, **options).tokens == greedy(model, model.tokenize("Hello"), 12)


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
    for options in ({}, {"temperature": 1.0, "seed": 1}, {"temperature": 1.0, "seed": 2}, {"repeat_penalty": 1.2}):
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
    with pytest.raises(RequestError, match="the grammar cannot be read: .*expecting ::= at"):
        model.generate("a", grammar="root nonsense")
    assert capfd.readouterr() == ("", "")


def test_a_grammar_at_a_dead_end_fails_alone(model: rys.Model) -> None:
    nothing = r'root ::= "ab" [\U7FFFFFFF]'
    requests = [Generate("a", max_tokens=8), Generate("a", max_tokens=8, grammar=nothing), Generate("b", max_tokens=8)]
    before, failed, after = model.run(requests)
    assert isinstance(failed, FailedRequest)
    assert isinstance(failed.error, EngineError)
    assert content(before) == content(model.run(requests[:1])[0])
    assert content(after) == content(model.run(requests[2:])[0])
    with pytest.raises(EngineError):
        model.generate("a", max_tokens=8, grammar=nothing)


# LogLikelihood


def test_a_log_likelihood_is_the_sum_over_the_tokens_of_the_continuation(model: rys.Model) -> None:
    # oracle: log-softmax of logits() in numpy, in float64
    context, continuation = model.tokenize("The cat sat"), model.tokenize(" on the mat", add_special=False)
    result = model.loglikelihood(context, continuation)
    rows = log_softmax(model.logits(context + continuation))
    expected = rows[len(context) - 1 + np.arange(len(continuation)), continuation]
    np.testing.assert_allclose(result.token_logprobs, expected, atol=1e-5)
    assert result.token_logprobs.dtype == np.float32
    assert result.logprob == pytest.approx(expected.sum(), abs=1e-4)
    assert result.tokens == continuation
    assert result.n_prompt_tokens == len(context) + len(continuation) - 1
    assert not result.is_greedy


def test_is_greedy_says_whether_greedy_decoding_gives_the_continuation(model: rys.Model) -> None:
    best = model.generate("Hello", max_tokens=8).tokens
    context = model.tokenize("Hello")
    assert model.loglikelihood(context, best).is_greedy
    assert model.loglikelihood(context, best[:1]).is_greedy
    for i in (0, 4, 7):
        other = [*best[:i], best[i] - 1, *best[i + 1 :]]
        assert not model.loglikelihood(context, other).is_greedy


def test_texts_of_a_log_likelihood_are_tokenized_together(model: rys.Model) -> None:
    whole = model.tokenize("Tom ate an apple")
    n_context = len(model.tokenize("Tom ate"))
    assert model.loglikelihood("Tom ate", " an apple").tokens == whole[n_context:]
    # white space at the end of the context counts to the continuation
    shifted = model.loglikelihood("Tom ate ", "an apple")
    assert shifted.tokens == whole[n_context:]
    assert shifted.logprob == model.loglikelihood("Tom ate", " an apple").logprob


def test_a_continuation_may_be_given_in_tokens_after_a_text_and_the_other_way(model: rys.Model) -> None:
    expected = content(model.loglikelihood("Tom ate", " an apple"))
    tail = model.tokenize(" an apple", add_special=False)
    assert content(model.loglikelihood("Tom ate", tail)) == expected
    assert content(model.loglikelihood(model.tokenize("Tom ate"), " an apple")) == expected


def test_messages_are_a_context(model: rys.Model) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    prompt = model.tokenize(model.apply_chat_template(messages))
    tail = model.tokenize("yes", add_special=False)
    assert model.loglikelihood(messages, tail).logprob == model.loglikelihood(prompt, tail).logprob


@pytest.mark.parametrize("empty", ["", []])
def test_an_empty_context_is_the_bos_token(model: rys.Model, empty: Any) -> None:
    tail = model.tokenize("Hi", add_special=False)
    expected = log_softmax(model.logits([1, *tail]))[[0, 1], tail]
    for continuation in ("Hi", tail):
        result = model.loglikelihood(empty, continuation)
        np.testing.assert_allclose(result.token_logprobs, expected, atol=1e-5)
        assert result.tokens == tail


def test_an_empty_context_needs_a_bos_token() -> None:
    with (
        rys.Model(models.positions(), n_threads=1) as model,
        pytest.raises(RequestError, match="the context is empty, and the model has no BOS token"),
    ):
        model.loglikelihood([], [1, 2])


def test_a_continuation_that_merges_with_the_context_is_scored() -> None:
    # "Onc" is more tokens than "Once"
    with rys.Model(models.stories(), n_ctx=64, n_threads=1) as model:
        assert len(model.tokenize("Onc")) > len(model.tokenize("Once"))
        result = model.loglikelihood("Onc", "e")
        assert result.tokens == model.tokenize("Once")[-len(result.tokens) :]


@pytest.mark.parametrize("continuation", ["", []])
def test_an_empty_continuation_is_refused(model: rys.Model, continuation: Any) -> None:
    with pytest.raises(RequestError, match="the continuation is empty"):
        model.loglikelihood("Tom", continuation)


def test_an_eos_that_the_model_wants_after_a_text_is_no_part_of_a_log_likelihood_or_prompt() -> None:
    with models.open_tiny(model={"add_eos": True}) as model:
        assert model.tokenize("ab")[-1] == model.eos_token
        result = model.loglikelihood("Tom ate", " an apple")
        assert model.detokenize(result.tokens, special=True) == " an apple"
        assert result.n_prompt_tokens == len("Tom ate an apple")  # BOS, and without the last one


# NextToken


def test_next_token_reports_logits_and_probabilities(model: rys.Model) -> None:
    # oracle: logits() and log-softmax in numpy, in float64
    logits = model.logits("Hello")[-1]
    (result,) = model.run([NextToken("Hello")])
    assert isinstance(result, NextTokenResult)
    assert list(result.tokens) == list(range(model.n_vocab))
    np.testing.assert_allclose(result.logits, logits, atol=1e-5)
    np.testing.assert_allclose(result.logprobs, log_softmax(logits), atol=1e-5)
    np.testing.assert_allclose(result.probabilities, np.exp(log_softmax(logits)), atol=1e-6)
    assert result.logits.dtype == result.logprobs.dtype == result.probabilities.dtype == np.float32
    assert result.best == int(logits.argmax())


def test_next_token_reports_the_allowed_tokens_in_their_order(model: rys.Model) -> None:
    logits = model.logits("Hello")[-1]
    yes, no = model.tokenizer.single_token("y"), model.tokenizer.single_token("n")
    (result,) = model.run([NextToken("Hello", allowed=["y", "n", 7, no])])
    assert isinstance(result, NextTokenResult)
    assert list(result.tokens) == [yes, no, 7, no]
    np.testing.assert_allclose(result.logits, logits[[yes, no, 7, no]], atol=1e-5)
    np.testing.assert_allclose(result.logprobs, log_softmax(logits)[[yes, no, 7, no]], atol=1e-5)
    np.testing.assert_allclose(result.probabilities, np.exp(log_softmax(logits[[yes, no, 7, no]])), atol=1e-6)
    assert result.best == max([yes, no, 7], key=lambda token: logits[token])


def test_an_allowed_text_of_several_tokens_is_refused_with_its_pieces(model: rys.Model) -> None:
    with pytest.raises(RequestError, match=r"'yes' is 3 tokens \('y' 'e' 's'\), but must be one; give a token id"):
        model.run([NextToken("Hello", allowed=["yes"])])
    with pytest.raises(RequestError, match="allowed is empty; give the tokens to report, or None"):
        model.run([NextToken("Hello", allowed=[])])


# lists of requests


def mixed(n: int) -> list[Any]:
    """Return requests of all kinds, most of them with a long prefix in common."""
    prefix = "In the beginning there was a rather long sentence that many prompts begin with. "
    requests: list[Any] = []
    for i in range(n):
        text = (prefix if i % 4 else "") + f"Number {i} "
        match i % 5:
            case 0:
                requests.append(Generate(text, max_tokens=3 + i % 7, logprobs=bool(i % 2)))
            case 1:
                requests.append(LogLikelihood(text, f"has {i} legs"))
            case 2:
                requests.append(NextToken(text, allowed=["a", "b"]))
            case 3:
                requests.append(Generate(text, max_tokens=5, grammar=LETTERS))
            case 4:
                requests.append(Generate(text, max_tokens=6, temperature=0.7, seed=i))
    return requests


def test_results_are_those_of_single_runs_in_the_order_of_the_requests(model: rys.Model) -> None:
    requests = mixed(30)
    single = [model.run([request])[0] for request in requests]
    for _ in range(2):
        results = model.run(requests)
        assert len(results) == 30
        for result, expected in zip(results, single, strict=True):
            check_same(result, expected)
    backwards = model.run(requests[::-1])
    for result, expected in zip(backwards, single[::-1], strict=True):
        check_same(result, expected)


def test_greedy_results_are_the_same_each_time_for_the_same_list() -> None:
    # with the defaults, whose attention and cache round
    requests = [request for request in mixed(8) if getattr(request, "temperature", 0) == 0]
    with rys.Model(models.tiny(), n_ctx=512, n_threads=2) as model:
        first = model.run(requests)
        for again, expected in zip(model.run(requests), first, strict=True):
            assert content(again) == content(expected)
    with rys.Model(models.tiny(), n_ctx=512, n_threads=2) as other:
        assert [content(result) for result in other.run(requests)] == [content(result) for result in first]


def test_no_requests_give_no_results(model: rys.Model) -> None:
    assert model.run([]) == []


def test_requests_may_come_from_an_iterator(model: rys.Model) -> None:
    requests: Any = (NextToken("a", allowed=[i]) for i in range(3))
    assert [list(result.tokens) for result in model.run(requests) if isinstance(result, NextTokenResult)] == [
        [0],
        [1],
        [2],
    ]


@pytest.mark.parametrize("wrong", [None, 5, "text", [], {"prompt": "a"}, Generate])
def test_a_request_of_another_type_is_refused_with_its_place(model: rys.Model, wrong: Any) -> None:
    with pytest.raises(RequestError, match=r"requests\[1\]: a request is a Generate, LogLikelihood or NextToken, not"):
        model.run([Generate("a"), wrong])


def test_one_request_instead_of_a_list_is_refused(model: rys.Model) -> None:
    single: Any = Generate("a")
    with pytest.raises((RequestError, TypeError), match="list|iterable"):
        model.run(single)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0, but must be"),
        ({"max_tokens": -5}, "max_tokens is -5, but must be"),
        ({"max_tokens": 1.5}, "max_tokens is 1.5, but must be"),
        ({"max_tokens": "9"}, "max_tokens is '9', but must be"),
        ({"max_tokens": 2**40}, "max_tokens is 1099511627776, but must be"),
        ({"temperature": -0.1}, r"temperature is -0\.1, but must be 0\.\.inf"),
        ({"temperature": float("nan")}, "temperature is nan, but must be"),
        ({"temperature": None}, "temperature is None, but must be"),
        ({"top_p": 1.1}, r"top_p is 1\.1, but must be 0\.\.1"),
        ({"top_k": 1.5}, r"top_k is 1\.5, but must be"),
        ({"min_p": -0.1}, r"min_p is -0\.1, but must be 0\.\.1"),
        ({"repeat_penalty": 0}, "repeat_penalty is 0, but must be"),
        ({"seed": None}, "seed is None, but must be"),
        ({"seed": 0.5}, r"seed is 0\.5, but must be"),
        ({"stop": "."}, r"stop is '\.', but must be a list of strings that are not empty"),
        ({"stop": [""]}, r"stop is \[''\], but must be a list"),
        ({"stop": [b"."]}, r"stop is \[b'\.'\], but must be a list"),
        ({"stop": None}, "stop is None, but must be a list"),
        ({"grammar": 5}, "grammar is 5, but must be"),
    ],
)
def test_an_option_out_of_range_is_refused_with_its_name(
    model: rys.Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        model.generate("a", **options)
    with pytest.raises(RequestError, match=r"requests\[2\]: " + message):
        model.run([Generate("a"), NextToken("a"), Generate("a", **options)])


@pytest.mark.parametrize(
    "prompt", [None, 5, b"bytes", {"role": "user", "content": "a"}, object(), {1, 2}, [1, "a"], [1.5]]
)
def test_a_prompt_of_another_type_is_refused(model: rys.Model, prompt: Any) -> None:
    with pytest.raises(RequestError):
        model.generate(prompt)
    with pytest.raises(RequestError):
        model.run([NextToken(prompt)])
    with pytest.raises(RequestError):
        model.loglikelihood(prompt, "a")
    with pytest.raises(RequestError):
        model.logits(prompt)


def test_an_empty_prompt_is_refused(model: rys.Model) -> None:
    for use in (model.generate, model.logits, model.hidden_states):
        with pytest.raises(RequestError, match="the prompt is empty; give at least one token"):
            use([])


@pytest.mark.parametrize("token", [-1, 356, 10**6, 2**31, 2**63, -(2**40)])
def test_tokens_outside_of_the_vocabulary_are_refused(model: rys.Model, token: int) -> None:
    assert model.n_vocab == 356
    message = rf"token {token} is outside of the vocabulary, which has tokens 0\.\.355"
    uses: list[Any] = [
        lambda: model.generate([1, token]),
        lambda: model.run([NextToken([1], allowed=[token])]),
        lambda: model.loglikelihood([1], [token]),
        lambda: model.loglikelihood([token], [1]),
        lambda: model.logits([token]),
        lambda: model.hidden_states([token]),
        lambda: model.detokenize([token]),
        lambda: model.perplexity([1, token]),
    ]
    for use in uses:
        with pytest.raises(RequestError, match=message):
            use()


def test_a_request_that_is_too_long_fails_alone() -> None:
    with models.open_tiny(n_ctx=32) as model:
        long = [5] * 33
        requests = [
            Generate(long, max_tokens=1),
            Generate(long[:32], max_tokens=1),
            LogLikelihood(long, [6]),
            LogLikelihood(long[:20], long[:13]),  # the last token of a continuation needs no place
            NextToken(long),
            NextToken(long[:32]),
            LogLikelihood(long[:20], long[:14]),
        ]
        results = model.run(requests)
        assert [isinstance(result, FailedRequest) for result in results] == [
            True,
            False,
            True,
            False,
            True,
            False,
            True,
        ]
        for result in results:
            if isinstance(result, FailedRequest):
                assert isinstance(result.error, ContextFullError)
                assert re.fullmatch(r"the prompt has 33 tokens, but the context holds 32", str(result.error))
        for result, request in zip(results, requests, strict=True):
            check_same(result, model.run([request])[0])
        with pytest.raises(ContextFullError, match="the prompt has 33 tokens, but the context holds 32"):
            model.generate(long)
        for use in (model.logits, model.hidden_states):
            assert len(use(long[:32])) > 0
            with pytest.raises(ContextFullError, match="the prompt has 33 tokens, but the context holds 32"):
                use(long)


def test_times_are_those_of_the_run(model: rys.Model) -> None:
    begin = time.perf_counter()
    results = model.run(mixed(20))
    elapsed = time.perf_counter() - begin
    assert all(0 < result.seconds <= elapsed for result in results if not isinstance(result, FailedRequest))


def test_a_progress_bar_counts_requests(model: rys.Model, capfd: pytest.CaptureFixture[str]) -> None:
    model.run(mixed(10), progress=True)
    assert "10/10" in capfd.readouterr().err
    model.run(mixed(10))
    assert capfd.readouterr() == ("", "")


# shared prefixes


def evaluated(model: rys.Model, requests: Sequence[Any]) -> int:
    """Return how many tokens a run evaluates."""
    prepared = runner.prepare_all(model, requests)
    scheduler = _core.Scheduler(model._context(), prepared, model.n_ctx)
    while not scheduler.advance(1.0):
        pass
    return scheduler.n_tokens


def test_a_shared_prefix_is_evaluated_once(model: rys.Model) -> None:
    prefix = [1] + [7] * 99
    requests = [NextToken([*prefix, 10 + i, 20 + i]) for i in range(8)]
    assert evaluated(model, requests) == 100 + 8 * 2
    results = [result for result in model.run(requests) if isinstance(result, NextTokenResult)]
    assert [result.n_shared_tokens for result in results] == [0] + [100] * 7
    assert [result.n_prompt_tokens for result in results] == [102] * 8
    for request, result in zip(requests, results, strict=True):
        np.testing.assert_allclose(result.logits, model.logits(request.prompt)[-1], atol=1e-4)


def test_equal_prompts_are_evaluated_once(model: rys.Model) -> None:
    prompt = [1, 9, 9]
    requests = [Generate(prompt, max_tokens=1, temperature=1.0, seed=seed) for seed in range(50)]
    assert evaluated(model, requests) == 3
    assert [getattr(result, "n_shared_tokens", None) for result in model.run(requests)] == [0] + [3] * 49


def test_a_prompt_that_begins_another_is_shared(model: rys.Model) -> None:
    long = [1] + [7] * 80
    requests = [
        NextToken(long),
        NextToken(long[:60]),
        Generate(long[:60], max_tokens=5),
        LogLikelihood(long[:70], [3, 4]),
    ]
    assert evaluated(model, requests) < 100
    single = [model.run([request])[0] for request in requests]
    for result, expected in zip(model.run(requests), single, strict=True):
        check_same(result, expected)


def test_prefixes_within_prefixes_are_shared(model: rys.Model) -> None:
    # 3 groups with 50 more tokens in common, in each 3 prompts with 5 tokens of their own
    root = [1] + [7] * 49
    requests = [NextToken([*root, *[20 + g] * 50, *[100 + i] * 5]) for g in range(3) for i in range(3)]
    assert evaluated(model, requests) == 50 + 3 * 50 + 9 * 5
    for request, result in zip(requests, model.run(requests), strict=True):
        assert isinstance(result, NextTokenResult)
        np.testing.assert_allclose(result.logits, model.logits(request.prompt)[-1], atol=1e-4)


def test_log_likelihoods_that_share_a_context_read_every_token(model: rys.Model) -> None:
    # the first tokens of the continuations are themselves shared
    context = [1] + [7] * 60
    requests = [LogLikelihood(context, [*[30] * 40, 40 + i, 50]) for i in range(4)]
    assert evaluated(model, requests) == 61 + 40 + 4 * 1
    rows = [log_softmax(model.logits(context + list(request.continuation))) for request in requests]
    for request, row, result in zip(requests, rows, model.run(requests), strict=True):
        tail = list(request.continuation)
        assert isinstance(result, LogLikelihoodResult)
        np.testing.assert_allclose(result.token_logprobs, row[60 + np.arange(42), tail], atol=1e-4)


# little room


def test_more_requests_than_sequences_wait_for_their_turn() -> None:
    requests = mixed(40)
    with models.open_tiny() as model:
        expected = [model.run([request])[0] for request in requests]
    for n_seq_max in (1, 2, 3, 7, 256):
        with models.open_tiny(n_seq_max=n_seq_max) as model:
            for result, single in zip(model.run(requests), expected, strict=True):
                check_same(result, single)


def test_one_sequence_serves_equal_prompts() -> None:
    with models.open_tiny(n_seq_max=1) as model:
        requests = [Generate("Hello", max_tokens=5), Generate("Hello", max_tokens=5), NextToken("Hello")]
        results = model.run(requests)
        assert content(results[0]) == content(results[1]) == content(model.run(requests[:1])[0])


def test_a_batch_may_be_smaller_than_the_parallel_sequences() -> None:
    requests = mixed(20)
    with models.open_tiny() as model:
        expected = [model.run([request])[0] for request in requests]
    for n_batch, n_ubatch in ((1, 1), (2, 512), (50, 7)):
        with models.open_tiny(n_batch=n_batch, n_ubatch=n_ubatch) as model:
            for result, single in zip(model.run(requests), expected, strict=True):
                check_same(result, single)


def test_a_context_smaller_than_a_batch() -> None:
    # the context is rounded up inside of llama.cpp, its batch is not
    with models.open_tiny(n_ctx=64, n_batch=2048) as model:
        requests = [NextToken([1] + [10 + i] * 50) for i in range(6)]
        for request, result in zip(requests, model.run(requests), strict=True):
            assert isinstance(result, NextTokenResult)
            np.testing.assert_allclose(result.logits, model.logits(request.prompt)[-1], atol=1e-4)


def test_a_prefix_that_was_given_up_twice_is_evaluated_again() -> None:
    a = [10] * 20
    b = a + [11] * 9
    c = b + [12] * 61
    requests = [
        NextToken(c),
        NextToken([*c, 13, 13, 13]),
        Generate([*b, 14], max_tokens=2),
        NextToken(a + [20] * 6),
        Generate([*b, 14], max_tokens=30),
        LogLikelihood(c[:7], [*c[7:], 15]),
        NextToken(a + [30] * 120),
    ]
    with models.open_tiny(n_ctx=300, n_seq_max=2) as model:
        for result, request in zip(model.run(requests), requests, strict=True):
            check_same(result, model.run([request])[0])


def test_a_prefix_that_is_evaluated_again_has_room_beside_its_first_evaluation() -> None:
    # what is still held of the first evaluation takes cells, too
    a, b, c = [10] * 52, [20] * 40, [21] * 40
    requests = [
        Generate(a + [11] * 35, max_tokens=5),
        Generate(a + [11] * 35 + [12] * 93, max_tokens=None),
        LogLikelihood(a[:20], [*a[20:], *[13] * 40, 9]),
        Generate([*a, *[13] * 40, 14], max_tokens=None),
        Generate(b, max_tokens=None),
        LogLikelihood(b[:23], [*b[23:], *c, 9]),
    ]
    with models.open_tiny(n_ctx=200, n_seq_max=4, n_batch=4) as model:
        for result, request in zip(model.run(requests), requests, strict=True):
            check_same(result, model.run([request])[0])


def random_requests(rng: random.Random, n_ctx: int) -> list[Any]:
    """Return requests whose prompts are a random tree, some of them too long."""
    prompts: list[list[int]] = [[]]
    requests: list[Any] = []
    for _ in range(rng.choice([2, 5, 12, 30])):
        base = rng.choice(prompts)
        if rng.random() < 0.5:
            base = base[: rng.randint(0, len(base))]
        tokens = [*base, *(rng.randrange(5, 356) for _ in range(rng.choice([0, 1, 3, 10, 40, 90])))] or [1]
        tokens = tokens[: n_ctx + 2]
        prompts.append(tokens)
        match rng.randrange(4):
            case 0:
                requests.append(NextToken(tokens, allowed=[0, 3, 2]))
            case 1:
                cut = rng.randint(1, len(tokens))
                requests.append(LogLikelihood(tokens[:cut], [*tokens[cut:], 9]))
            case _:
                most: list[int | None] = [1, 2, 5, 30]
                requests.append(Generate(tokens, max_tokens=rng.choice([*most, None] if n_ctx < 100 else most)))
    return requests


@pytest.mark.parametrize("seed", range(40))
def test_random_prompt_trees_in_little_room_give_the_results_of_single_runs(seed: int) -> None:
    # oracle: the same requests one by one
    rng = random.Random(seed)
    n_ctx = rng.choice([16, 64, 200, 256])
    options = {"n_seq_max": rng.choice([1, 2, 3, 4, 8]), "n_batch": rng.choice([1, 4, 33, 2048])}
    with models.open_tiny(n_ctx=n_ctx, n_ubatch=rng.choice([1, 16, 512]), **options) as model:
        requests = random_requests(rng, n_ctx)
        for result, request in zip(model.run(requests), requests, strict=True):
            check_same(result, model.run([request])[0])


# failures


def test_a_request_whose_logits_are_not_finite_fails_alone() -> None:
    with models.open_tiny("0..3,2..", model={"poison": "Z"}) as model:
        requests = [
            Generate("Hello", max_tokens=8),
            Generate("Z Hello", max_tokens=8),
            LogLikelihood("a", " Zeta"),
            LogLikelihood("a", " zeta"),
            NextToken("Zeta"),
            NextToken("zeta"),
        ]
        with models.open_tiny("0..3,2..") as clean:
            expected = clean.run(requests)
        for _ in range(2):  # no trace is left
            results = model.run(requests)
            assert [isinstance(result, FailedRequest) for result in results] == [False, True, True, False, True, False]
            for result, single in zip(results, expected, strict=True):
                if isinstance(result, FailedRequest):
                    assert isinstance(result.error, NonFiniteLogitsError)
                    assert "layer_path='0..3,2..5'" in str(result.error)
                else:
                    check_same(result, single)
        with pytest.raises(NonFiniteLogitsError):
            model.generate("Z")
        with pytest.raises(NonFiniteLogitsError):
            list(model.stream("Z"))
        check_same(model.generate("Hello", max_tokens=8), expected[0])


def test_values_that_overflow_are_reported() -> None:
    with models.open_tiny(model={"scale": 1e15}) as model, pytest.raises(NonFiniteLogitsError, match="overflowed"):
        model.generate("Hello")


# recurrent state


@pytest.mark.parametrize("architecture", ["mamba", "jamba"])
@pytest.mark.parametrize("layer_path", [None, [0, 1, 1, 2, 0]])
def test_the_answer_of_a_recurrent_model_does_not_depend_on_what_ran_before(
    architecture: str, layer_path: list[int] | None
) -> None:
    def answer(model: rys.Model) -> tuple[Any, ...]:
        generated = model.generate([9, 8, 7], max_tokens=20)
        scored = model.loglikelihood([4, 4], [5, 6, 7])
        return generated.tokens, scored.token_logprobs.tolist(), model.logits([2, 3]).tolist()

    def opened() -> rys.Model:
        return rys.Model(models.recurrent(architecture), layer_path, n_ctx=256, **models.EXACT)

    with opened() as model:
        expected = answer(model)
    with opened() as model:
        for _ in range(3):
            model.generate([1, 2, 3] * 10, max_tokens=30)
            assert answer(model) == expected
            pieces = model.run([Generate([11, i], max_tokens=9) for i in range(20)])
            assert len(pieces) == 20
            assert answer(model) == expected
            with pytest.raises(RysError):
                model.run([Generate([1], max_tokens=5), Generate([48], max_tokens=5)])
            assert answer(model) == expected


@pytest.mark.parametrize("architecture", ["mamba", "jamba"])
def test_recurrent_models_share_prefixes_and_run_in_parallel(architecture: str) -> None:
    prefix = [3, 1, 4, 1, 5, 9, 2, 6] * 8
    requests: list[Any] = [NextToken([*prefix, i]) for i in range(6)]
    requests += [Generate([*prefix[: 40 + i]], max_tokens=12) for i in range(6)]
    requests += [LogLikelihood(prefix[:50], [*prefix[50:60], i]) for i in range(4)]
    for options in ({}, {"n_seq_max": 2, "n_ctx": 100}, {"n_batch": 7}, {"n_seq_max": 1}):
        with rys.Model(models.recurrent(architecture), **{"n_ctx": 512, **models.EXACT, **options}) as model:
            for result, request in zip(model.run(requests), requests, strict=True):
                check_same(result, model.run([request])[0])
            if not options:
                assert evaluated(model, requests[:6]) == 64 + 6


def test_logits_of_a_recurrent_model_are_the_same_token_by_token() -> None:
    for architecture in ("mamba", "jamba"):
        with rys.Model(models.recurrent(architecture), n_ctx=256, **models.EXACT) as model:
            tokens = [5, 9, 2, 6, 5, 3, 5]
            result = model.generate(tokens, max_tokens=15)
            assert result.tokens == greedy(model, tokens, 15)


# models that some requests cannot be asked of


def test_text_options_need_a_tokenizer() -> None:
    with rys.Model(models.positions(), n_threads=1) as model:
        for options in ({"stop": ["a"]}, {"grammar": LETTERS}):
            with pytest.raises(RequestError, match="stop and grammar are about text, but .* has no tokenizer"):
                model.generate([1], **options)
        with pytest.raises(TokenizerError, match="has no tokenizer"):
            model.run([NextToken([1], allowed=["a"])])


def test_the_learned_position_table_limits_the_context() -> None:
    with rys.Model(models.positions(12), n_ctx=64, n_threads=1) as model:
        assert model.n_ctx == 12
        assert len(model.generate([1, 2], max_tokens=None).tokens) == 11
        fine, failed = model.run([NextToken([1] * 12), NextToken([1] * 13)])
        assert isinstance(fine, NextTokenResult)
        assert isinstance(failed, FailedRequest)
        assert isinstance(failed.error, ContextFullError)
        for use in (model.logits, model.hidden_states, model.generate):
            use([1] * 12)
            with pytest.raises(ContextFullError, match="the prompt has 13 tokens, but the context holds 12"):
                use([1] * 13)
        assert model.perplexity([3] * 40, n_window=30).n_tokens == 36  # 4 windows of 12, 12, 12 and 4


def test_a_model_that_does_not_generate_token_by_token_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with models.open_tiny() as model:
        monkeypatch.setattr(model, "_model", type("Core", (), {"has_memory": False})())
        with pytest.raises(UnsupportedArchitectureError, match="llama does not generate token by token"):
            model._context()
