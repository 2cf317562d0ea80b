"""Conversations: one text as a turn, random seeds, and a context that is full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rys
from rys.engine.conversation import drop_oldest, room_for_prompt
from rys.errors import ContextFullError, RequestError
from support import models

SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny() as opened:
        yield opened


def turns(n: int, text: str = "word ") -> list[dict[str, Any]]:
    messages = []
    for number in range(n):
        messages.append({"role": "user", "content": f"{text}{number}"})
        messages.append({"role": "assistant", "content": f"answer {number}"})
    return messages[:-1]


def test_a_text_is_one_turn_of_a_user(model: rys.Model) -> None:
    expected = model.chat([{"role": "user", "content": "Hello"}], max_tokens=4)
    result = model.chat("Hello", max_tokens=4)
    assert (result.tokens, result.n_prompt_tokens) == (expected.tokens, expected.n_prompt_tokens)
    assert result.n_prompt_tokens > model.generate("Hello", max_tokens=4).n_prompt_tokens


# seeds


def test_a_random_seed_is_another_one_each_time_and_repeats_the_text(model: rys.Model) -> None:
    options: dict[str, Any] = {"max_tokens": 12, "temperature": 2.0}
    results = [model.generate("Hello", seed=None, **options) for _ in range(4)]
    assert len({result.seed for result in results}) == 4
    assert len({tuple(result.tokens) for result in results}) > 1
    for result in results:
        assert model.generate("Hello", seed=result.seed, **options).tokens == result.tokens
    requests: list[rys.requests.Request] = [rys.Generate("Hello", seed=None, **options)] * 2
    first, second = model.run(requests)
    assert isinstance(first, rys.requests.GenerateResult)
    assert isinstance(second, rys.requests.GenerateResult)
    assert first.seed != second.seed


@pytest.mark.parametrize(("seed", "reported"), [(0, 0), (7, 7), (-1, 2**32 - 2), (2**32, 1)])
def test_a_seed_is_reported(model: rys.Model, seed: int, reported: int) -> None:
    assert model.generate("Hello", max_tokens=1, seed=seed).seed == reported


# a full context


@pytest.mark.parametrize(
    ("messages", "limit", "kept"),
    [
        ("suauau", 6, "suauau"),
        ("suauau", 5, "suau"),
        ("suauau", 3, "su"),
        ("suauau", 1, "su"),
        ("uauau", 4, "uau"),
        ("ssuau", 3, "ssu"),
        ("dsuau", 3, "dsu"),
        # a greeting, and calls with the results of tools
        ("auau", 3, "uau"),
        ("suattauau", 6, "suau"),
        ("uauasu", 3, "u"),
        ("sa", 1, "sa"),
        ("s", 0, "s"),
        ("ua", 1, "ua"),
    ],
)
def test_whole_turns_are_dropped_and_instructions_stay(
    messages: str, limit: int, kept: str
) -> None:
    roles = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}
    conversation = [{"role": roles[letter], "content": letter} for letter in messages]
    result = drop_oldest(conversation, lambda some: len(some) <= limit)
    assert "".join(message["content"] for message in result) == kept


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 120))
def test_no_more_than_needed_is_dropped(sizes: list[int], room: int) -> None:
    messages = [{"role": "user", "size": size} for size in sizes]
    kept = drop_oldest(messages, lambda some: sum(message["size"] for message in some) <= room)
    # oracle: the longest end of the conversation that fits, but at least the last message
    expected = 1
    while expected < len(sizes) and sum(sizes[-expected - 1 :]) <= room:
        expected += 1
    assert kept == messages[-expected:]


def test_room_is_kept_for_the_answer() -> None:
    assert room_for_prompt(4096, 256) == 3840
    assert room_for_prompt(4096, 100_000) == 2048
    assert room_for_prompt(4096, None) == 3072


def test_a_full_context_says_how_to_go_on(model: rys.Model) -> None:
    long = [SYSTEM, *turns(12)]
    with pytest.raises(ContextFullError, match=r"holds 256; with on_full='drop_oldest', a conv"):
        model.chat(long)
    # where nothing could be dropped, nothing is proposed
    for prompt in ("word " * 100, [{"role": "user", "content": "word " * 100}]):
        with pytest.raises(ContextFullError, match=r"the context holds 256$"):
            model.generate(prompt)


def test_the_oldest_turns_are_dropped_and_the_result_says_how_many(model: rys.Model) -> None:
    messages = [SYSTEM, *turns(12)]
    result = model.chat(messages, max_tokens=16, on_full="drop_oldest")
    assert result.n_dropped_messages > 0
    kept = [SYSTEM, *messages[1 + result.n_dropped_messages :]]
    assert kept[1]["role"] == "user"
    text = model.apply_chat_template(kept)
    assert result.n_prompt_tokens == len(model.tokenize(text)) <= 256 - 16
    assert result.tokens == model.generate(text, max_tokens=16).tokens
    one_more = [SYSTEM, *messages[result.n_dropped_messages - 1 :]]
    assert len(model.tokenize(model.apply_chat_template(one_more))) > 256 - 16
    assert "".join(model.stream(messages, max_tokens=16, on_full="drop_oldest")) == result.text
    short = model.chat(messages[-3:], max_tokens=16, on_full="drop_oldest")
    assert short.n_dropped_messages == 0


def test_a_last_turn_that_does_not_fit_is_an_error_all_the_same(model: rys.Model) -> None:
    messages = [*turns(2), {"role": "user", "content": "word " * 100}]
    with pytest.raises(ContextFullError, match=r"the context holds 256$"):
        model.chat(messages, on_full="drop_oldest")


def test_a_text_that_the_context_cuts_off_says_so(model: rys.Model) -> None:
    grammar = "root ::= [a-z]{400}"
    prompt = "word " * 45
    cut = model.generate(prompt, max_tokens=None, grammar=grammar)
    assert (cut.finish_reason, cut.is_context_full) == ("length", True)
    assert model.generate(prompt, max_tokens=256, grammar=grammar).is_context_full
    n_tokens = len(cut.tokens)
    assert not model.generate(prompt, max_tokens=n_tokens - 1, grammar=grammar).is_context_full
    assert not model.generate(prompt, max_tokens=1).is_context_full


def test_wrong_options_are_refused(model: rys.Model) -> None:
    with pytest.raises(RequestError, match="on_full is 'drop', but must be error or drop_oldest"):
        model.chat("Hello", on_full="drop")
    with pytest.raises(RequestError, match="on_full is drop_oldest, but the prompt has no messag"):
        model.generate("Hello", on_full="drop_oldest")
    with pytest.raises(RequestError, match="seed is 'x'"):
        model.generate("Hello", seed="x")


def test_real_weights_remember_the_instructions_of_a_long_conversation() -> None:
    with rys.Model(models.instruct("qwen2.5-coder-0.5b"), n_ctx=256, n_threads=1) as model:
        messages = [{"role": "system", "content": "Your name is Ada."}, *turns(20)]
        messages.append({"role": "assistant", "content": "ok"})
        messages.append({"role": "user", "content": "What is your name? One word."})
        result = model.chat(messages, max_tokens=8, on_full="drop_oldest")
        assert result.n_dropped_messages > 0
        assert "Ada" in result.text
