"""Text to tokens and back, chat templates, streams and perplexity; and models that know no text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import gguf
import jinja2
import jinja2.sandbox
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import rys
from rys.errors import (
    ChatTemplateError,
    ContextFullError,
    EngineError,
    RequestError,
    TokenizerError,
)
from support import models
from support.models import log_softmax
from support.tiny_model import CHAT_TEMPLATE

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi <b>there</b> & you"},
    {"role": "assistant", "content": "  Hello!\n"},
    {"role": "user", "content": "漢字 🙂"},
]


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny() as model:
        yield model


# tokens


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@example("")
@example(" leading and trailing ")
@example("\x00\x7f\r\n\t")
@example("naïve 漢字 🙂 e\u0301")
@example("\u2581")
@settings(deadline=None, max_examples=200)
def test_texts_survive_tokenization(text: str) -> None:
    with models.open_tiny() as model:
        tokens = model.tokenize(text, parse_special=False)
        assert tokens[0] == model.bos_token
        # SentencePiece writes a space as U+2581, and reads that as a space
        assert model.detokenize(tokens) == text.replace("\u2581", " ")
        assert model.tokenize(text, add_special=False, parse_special=False) == tokens[1:]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_texts_survive_the_tokenizer_of_real_weights(text: str) -> None:
    with rys.Model(models.stories()) as model:
        assert model.detokenize(model.tokenize(text, parse_special=False)) == text.replace(
            "\u2581", " "
        )


def test_token_strings_of_real_weights() -> None:
    with rys.Model(models.stories()) as model:
        tokens = model.tokenize("Once upon a time")
        vocabulary: Any = gguf.GGUFReader(models.stories()).fields["tokenizer.ggml.tokens"]
        expected = [vocabulary.contents(token) for token in tokens]
        assert [text.replace(" ", "\u2581") for text in model.token_strings(tokens)] == expected
        assert len(tokens) < len("Once upon a time")


def test_detokenize_is_the_join_of_the_token_strings(model: rys.Model) -> None:
    tokens = model.tokenize("Any text, with <|im_end|> in it.")
    assert "".join(model.token_strings(tokens)) == model.detokenize(tokens, special=True)


def test_special_tokens_are_recognised_unless_refused(model: rys.Model) -> None:
    tokens = model.tokenize("a<|im_end|>b", add_special=False)
    assert len(tokens) == 3
    assert model.token_strings(tokens) == ["a", "<|im_end|>", "b"]
    plain = model.tokenize("a<|im_end|>b", add_special=False, parse_special=False)
    assert model.token_strings(plain) == list("a<|im_end|>b")
    assert model.detokenize(tokens) == "ab"
    assert model.detokenize(tokens, special=True) == "a<|im_end|>b"
    assert model.detokenize(plain) == "a<|im_end|>b"


def test_special_token_properties(model: rys.Model) -> None:
    assert (model.bos_token, model.eos_token) == (1, 2)
    special = model.special_tokens
    assert (special["bos"], special["eos"], special["eot"]) == (1, 2, 4)
    assert set(special) <= {"bos", "eos", "eot", "sep", "nl", "pad", "mask"}
    special["bos"] = 99  # a copy
    assert model.bos_token == 1


@pytest.mark.parametrize(("add_bos", "expected"), [(None, [1]), (True, [1]), (False, [])])
def test_the_file_says_whether_a_text_begins_with_bos(
    add_bos: bool | None, expected: list[int]
) -> None:
    with models.open_tiny(model={"add_bos": add_bos}) as model:
        assert model.tokenize("") == expected
        assert model.tokenize("a") == [*expected, *model.tokenize("a", add_special=False)]
        assert model.generate("a", max_tokens=1).n_prompt_tokens == len(expected) + 1


def test_bos_is_not_doubled(model: rys.Model) -> None:
    letter = model.tokenize("a", add_special=False)
    assert model.tokenize("<s>a") == [1, *letter]
    assert model.tokenize("<s>") == [1]
    assert model.tokenize("<s><s>a") == [1, 1, *letter]  # only the one that was added is left out
    assert model.tokenize("<s>a", add_special=False) == [1, *letter]
    assert len(model.tokenize("<s>a", parse_special=False)) == 1 + len("<s>a")
    assert model.generate("<s>a", max_tokens=1).n_prompt_tokens == 2
    assert model.tokenize(model.apply_chat_template(MESSAGES)).count(1) == 1


def test_invalid_bytes_become_replacement_characters(model: rys.Model) -> None:
    first_byte = 5 + "é".encode()[0]
    assert model.detokenize([first_byte]) == "\ufffd"
    assert model.token_strings([first_byte]) == ["\ufffd"]
    assert model.detokenize([first_byte, 5 + "é".encode()[1]]) == "é"


def test_lone_surrogates_are_replaced(model: rys.Model) -> None:
    assert model.tokenize("a\ud800") == model.tokenize("a?")
    assert model.generate("a\ud800", max_tokens=1, stop=["\ud800"]).n_prompt_tokens == 3


@pytest.mark.parametrize("text", [None, 5, b"bytes", ["a"]])
def test_only_a_str_is_a_text(model: rys.Model, text: Any) -> None:
    with pytest.raises((RequestError, TypeError)):
        model.tokenize(text)


def test_tokens_may_be_of_any_integer_type(model: rys.Model) -> None:
    tokens = model.tokenize("abc")
    for same in (
        tuple(tokens),
        np.array(tokens),
        np.array(tokens, np.uint16),
        range(tokens[1], tokens[3] + 1),
    ):
        assert model.detokenize(same) == "abc"
    with pytest.raises(RequestError, match=r"token ids must be integers, but these are \[1\.0\]"):
        model.detokenize([1.0])  # type: ignore[list-item]


# chat templates


def reference(template: str, **variables: Any) -> str:
    """Render as Hugging Face's transformers does: the oracle."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    return environment.from_string(template).render(**variables)


BRANCHES = """
{%- for message in messages %}
    {%- if message.role == 'system' and loop.first %}
        {{- 'SYSTEM: ' + message.content }}
        {%- continue %}
    {%- endif %}
{{ message.role | upper }}: {{ message.content | trim }}
{% endfor %}
{% if add_generation_prompt %}
ASSISTANT{{ ' thinks' if enable_thinking else '' }}:
{% endif %}
{{ eos_token }}{{ bos_token }}"""


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, BRANCHES])
@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize("variables", [{}, {"enable_thinking": True}])
def test_messages_are_rendered_as_transformers_does(
    template: str, add_generation_prompt: bool, variables: dict[str, Any]
) -> None:
    with models.open_tiny(model={"chat_template": template}) as model:
        expected = reference(
            template,
            messages=MESSAGES,
            add_generation_prompt=add_generation_prompt,
            bos_token="<s>",
            eos_token="</s>",
            **variables,
        )
        rendered = model.apply_chat_template(
            MESSAGES, add_generation_prompt=add_generation_prompt, **variables
        )
        assert rendered == expected
        if add_generation_prompt:
            assert model.apply_chat_template(MESSAGES, **variables) == expected


def test_template_variables_reach_the_template_through_requests() -> None:
    template = (
        "{% if not messages %}{% elif enable_thinking is defined and not enable_thinking %}short"
        "{% else %}a long prompt{% endif %}"
    )
    with models.open_tiny(model={"chat_template": template}) as model:
        off = {"enable_thinking": False}
        assert model.chat(MESSAGES, max_tokens=1).n_prompt_tokens == 1 + len("a long prompt")
        assert model.chat(
            MESSAGES, max_tokens=1, template_variables=off
        ).n_prompt_tokens == 1 + len("short")
        requests = [
            rys.Generate(MESSAGES, max_tokens=1, template_variables=off),
            rys.NextToken(MESSAGES, template_variables=off),
            rys.LogLikelihood(MESSAGES, [5], template_variables=off),
        ]
        assert [getattr(result, "n_prompt_tokens", 0) for result in model.run(requests)] == [
            1 + len("short")
        ] * 3


def test_a_request_may_leave_out_the_generation_prompt(model: rys.Model) -> None:
    text = model.apply_chat_template(MESSAGES, add_generation_prompt=False)
    result = model.chat(MESSAGES, max_tokens=1, template_variables={"add_generation_prompt": False})
    assert result.n_prompt_tokens == len(model.tokenize(text))


def test_a_begun_answer_is_continued_by_every_request(model: rys.Model) -> None:
    messages = [MESSAGES[1], {"role": "assistant", "content": "Once upon"}]
    text = model.apply_chat_template(messages, continue_final_message=True)
    assert text.endswith("<|im_start|>assistant\nOnce upon")
    go_on = {"continue_final_message": True}
    expected = model.generate(text, max_tokens=4)
    result = model.chat(messages, max_tokens=4, template_variables=go_on)
    assert result.tokens == expected.tokens
    assert result.n_prompt_tokens == expected.n_prompt_tokens
    pieces = model.stream(messages, max_tokens=4, template_variables=go_on)
    assert "".join(pieces) == expected.text
    following, scored = model.run(
        [
            rys.NextToken(messages, template_variables=go_on),
            rys.LogLikelihood(messages, " a time", template_variables=go_on),
        ]
    )
    assert isinstance(following, rys.requests.NextTokenResult)
    assert following.best == expected.tokens[0]
    assert isinstance(scored, rys.requests.LogLikelihoodResult)
    assert scored.logprob == model.loglikelihood(text, " a time").logprob
    both = {**go_on, "add_generation_prompt": True}
    with pytest.raises(RequestError, match="are both true"):
        model.chat(messages, template_variables=both)


def test_the_template_may_raise_and_tell_the_date_and_write_json() -> None:
    template = (
        "{% if messages[0].role != 'user' %}{{ raise_exception('begin with the user') }}{% endif %}"
        "{{ messages | tojson }} {{ strftime_now('%Y') }}"
    )
    with models.open_tiny(chat_template=template) as model:
        with pytest.raises(
            ChatTemplateError, match="the chat template refuses the messages: begin with the user"
        ):
            model.apply_chat_template(MESSAGES)
        assert model.apply_chat_template([{"role": "user", "content": "<é>"}]) in {
            f'[{{"role": "user", "content": "<é>"}}] {year}'
            for year in (datetime.now().year, datetime.now().year - 1)
        }


def test_a_model_without_a_template_says_so_and_takes_one() -> None:
    with models.open_tiny(model={"chat_template": None}) as model:
        for use in (model.apply_chat_template, model.chat):
            with pytest.raises(
                ChatTemplateError,
                match=r"has no chat template; give one as rys\.Model\(chat_template=",
            ):
                use(MESSAGES)
    with models.open_tiny(
        model={"chat_template": None}, chat_template="{{ messages | length }} messages"
    ) as model:
        assert model.apply_chat_template(MESSAGES) == "4 messages"
        assert model.chat(MESSAGES, max_tokens=1).n_prompt_tokens == 1 + len("4 messages")
    mine = "{{ messages[0].role }}"
    with models.open_tiny(chat_template=mine) as model:  # instead of the file's
        assert model.apply_chat_template(MESSAGES) == MESSAGES[0]["role"]


@pytest.mark.parametrize("template", ["chatml", "", "{{ bos_token }}", "Hello {# messages #}"])
def test_a_given_template_that_renders_no_message_is_refused(template: str) -> None:
    with pytest.raises(ChatTemplateError) as error:
        models.open_tiny(chat_template=template)
    assert str(error.value) == (
        f"chat_template is {template!r}, but must be the Jinja source of a template that renders "
        f"`messages`, or the name of one of the file's (default); leave chat_template out to use "
        f"the file's own"
    )


def test_a_file_name_is_refused_as_a_template(tmp_path: Path) -> None:
    existing = tmp_path / "template"
    existing.write_text(CHAT_TEMPLATE)
    values: list[Any] = [str(existing), existing, "chatml.jinja", "templates/a.J2"]
    for value in values:
        with pytest.raises(ChatTemplateError) as error:
            models.open_tiny(chat_template=value)
        assert str(error.value) == (
            f"chat_template is {str(value)!r}, the name of a file, but must be the Jinja source of "
            f"a template that renders `messages`; give what is in the file: "
            f"chat_template=pathlib.Path({str(value)!r}).read_text()"
        )
    with models.open_tiny(chat_template=existing.read_text()) as model:
        assert model.apply_chat_template(MESSAGES)
    with pytest.raises(ChatTemplateError, match="chat_template is int, but must be the Jinja"):
        models.open_tiny(chat_template=3)


def test_a_template_of_a_file_that_renders_no_message_is_refused_when_it_is_used() -> None:
    # early GGUFs hold a name in the place of the template
    with models.open_tiny(model={"chat_template": "chatml"}) as model:
        assert model.generate("a", max_tokens=1).n_prompt_tokens == 2
        for use in (model.apply_chat_template, model.chat):
            with pytest.raises(ChatTemplateError) as error:
                use(MESSAGES)
            assert str(error.value) == (
                f"the chat template of {model.source} is 'chatml', which renders no message; give "
                f"the Jinja source of one that does as rys.Model(chat_template=...)"
            )


def test_a_broken_template_is_an_error_when_it_is_used_and_not_before() -> None:
    with models.open_tiny(model={"chat_template": "{% for %}"}) as model:
        assert model.generate("a", max_tokens=1).n_prompt_tokens == 2
        with pytest.raises(ChatTemplateError, match="the chat template is broken in line 1"):
            model.chat(MESSAGES)


# streams


def test_a_stream_yields_the_text_piece_by_piece(model: rys.Model) -> None:
    for options in (
        {},
        {"grammar": "root ::= [a-z]{400}"},
        {"temperature": 2.0, "seed": 3},
        {"grammar": 'root ::= "aé漢🙂"'},
    ):
        expected = model.generate("Hello", max_tokens=40, **options)
        pieces = list(model.stream("Hello", max_tokens=40, **options))
        assert "".join(pieces) == expected.text
        assert all(pieces)
        assert len(pieces) > 1


def test_a_stream_never_yields_what_a_stop_string_takes_back(model: rys.Model) -> None:
    options: dict[str, Any] = {
        "max_tokens": 30,
        "grammar": "root ::= [a-z]{400}",
        "temperature": 3.0,
        "seed": 1,
    }
    text = model.generate("Hello", **options).text
    for stop in (
        [text[8:11]],
        [text[5:7], text[8:12]],
        [text[9] + "!", text[12:15]],
        [text[28:] + "a"],
    ):
        expected = model.generate("Hello", stop=stop, **options).text
        pieces = list(model.stream("Hello", stop=stop, **options))
        assert "".join(pieces) == expected
        assert all(expected.startswith("".join(pieces[:i])) for i in range(len(pieces)))


def test_a_character_of_several_tokens_is_one_piece(model: rys.Model) -> None:
    assert list(model.stream("Hello", max_tokens=20, grammar='root ::= "é🙂"')) == ["é", "🙂"]


def test_a_stream_takes_messages_and_reports_errors(model: rys.Model) -> None:
    expected = model.chat(MESSAGES, max_tokens=8).text
    assert "".join(model.stream(MESSAGES, max_tokens=8)) == expected
    with pytest.raises(ContextFullError):
        list(model.stream([5] * 500))
    with pytest.raises(RequestError, match="temperature is -1"):
        list(model.stream("a", temperature=-1))
    with pytest.raises(EngineError):
        list(model.stream("a", grammar=r"root ::= [\U7FFFFFFF]"))
    assert model.chat(MESSAGES, max_tokens=8).text == expected


# perplexity


def windows_of(model: rys.Model, tokens: list[int], n_window: int) -> list[float]:
    """Return the negative log-probability of every scored token, from logits() and numpy: the
    oracle.
    """
    head = [] if model.bos_token is None else [model.bos_token]
    losses: list[float] = []
    for i in range(0, len(tokens), n_window - len(head)):
        window = head + tokens[i : i + n_window - len(head)]
        rows = log_softmax(model.logits(window))
        losses += [-rows[position, token] for position, token in enumerate(window[1:])]
    return losses


@pytest.mark.parametrize(
    ("n_window", "n_text"), [(64, 300), (64, 126), (64, 127), (256, 300), (2, 20), (512, 100)]
)
def test_perplexity_and_its_standard_error(model: rys.Model, n_window: int, n_text: int) -> None:
    # oracle: exp of the mean loss; error of the mean times the derivative of exp
    text = ("The quick brown fox jumps over the lazy dog. " * 10)[:n_text]
    losses = windows_of(model, model.tokenize(text, add_special=False), min(n_window, model.n_ctx))
    result = model.perplexity(text, n_window=n_window)
    assert (
        result.n_tokens == len(losses) == n_text
    )  # every token of the text, as each window begins with BOS
    assert result.value == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)
    error = result.value * np.std(losses, ddof=1) / math.sqrt(len(losses))
    assert result.standard_error == pytest.approx(error, rel=1e-4)
    tokens = model.tokenize(text, add_special=False)
    assert model.perplexity(tokens, n_window=n_window) == result


def test_the_perplexity_of_real_weights_tells_stories_from_noise() -> None:
    with rys.Model(models.stories(), n_ctx=256, n_threads=1) as model:
        story = (
            "Once upon a time, there was a little girl named Lily. "
            "She loved to play outside in the park."
        )
        letters = list(story)
        np.random.default_rng(0).shuffle(letters)
        assert 1 < model.perplexity(story).value < 6
        assert model.perplexity("".join(letters)).value > 50


def test_a_text_too_short_for_a_perplexity_is_refused(model: rys.Model) -> None:
    with pytest.raises(
        RequestError, match="a perplexity needs at least two tokens, but the text has 0"
    ):
        model.perplexity("")
    assert model.perplexity("a").n_tokens == 1
    assert math.isnan(model.perplexity("a").standard_error)
    with pytest.raises(RequestError, match=r"n_window is 1, but must be 2\.\."):
        model.perplexity("abc", n_window=1)
    with (
        models.open_tiny(model={"add_bos": False}) as other,
        pytest.raises(RequestError, match="but the text has 1"),
    ):
        other.perplexity("a")


# models without a tokenizer


@pytest.mark.parametrize("real", [False, True])
def test_a_model_without_a_tokenizer_works_with_token_ids(real: bool) -> None:
    path = models.adder() if real else models.positions(9, 10)
    with rys.Model(path, n_threads=1) as model:
        assert not model.has_tokenizer
        assert (model.bos_token, model.eos_token, model.special_tokens) == (None, None, {})
        assert (model.n_vocab, model.n_ctx) == (10, 9)
        logits = model.logits([1, 2, 3])
        assert logits.shape == (3, 10)
        assert model.hidden_states([1, 2, 3]).shape == (model.n_slot + 1, 3, model.n_embd)
        generated, scored, following = model.run(
            [
                rys.Generate([1, 2, 3], max_tokens=2),
                rys.LogLikelihood([1, 2], [3]),
                rys.NextToken([1, 2, 3]),
            ]
        )
        assert isinstance(generated, rys.requests.GenerateResult)
        assert generated.tokens[0] == logits[-1].argmax()
        assert generated.text == ""
        assert isinstance(scored, rys.requests.LogLikelihoodResult)
        assert scored.logprob == pytest.approx(log_softmax(logits)[1, 3], abs=1e-4)
        assert isinstance(following, rys.requests.NextTokenResult)
        np.testing.assert_allclose(following.logits, logits[-1], atol=1e-4)
        assert model.perplexity([1, 2, 3]).n_tokens == 2
        assert list(model.stream([1, 2, 3], max_tokens=3)) == []


@pytest.mark.parametrize(
    "use",
    [
        lambda m: m.tokenize("a"),
        lambda m: m.detokenize([1]),
        lambda m: m.token_strings([1]),
        lambda m: m.generate("a"),
        lambda m: list(m.stream("a")),
        lambda m: m.logits("a"),
        lambda m: m.hidden_states("a"),
        lambda m: m.loglikelihood([1], "a"),
        lambda m: m.loglikelihood("a", [1]),
        lambda m: m.perplexity("some text"),
        lambda m: m.run([rys.NextToken("a")]),
        lambda m: m.run([rys.NextToken([1], allowed=["a"])]),
        lambda m: m.chat([{"role": "user", "content": "a"}]),
    ],
)
def test_a_model_without_a_tokenizer_refuses_text(use: Any) -> None:
    with (
        rys.Model(models.positions(), chat_template="{{ messages[0].content }}") as model,
        pytest.raises(
            TokenizerError,
            match=r"positions.*\.gguf has no tokenizer, so it knows no text; use token ids",
        ),
    ):
        use(model)
