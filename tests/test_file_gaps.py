"""What files leave out or call otherwise changes no prompt, no score and no end without a word."""

from __future__ import annotations

from typing import Any

import gguf
import pytest

import rys
from rys.errors import ChatTemplateError, ModelFileError, UnsupportedArchitectureError
from rys.probes.prompter import Prompter
from support import models

NORMAL, CONTROL, USER_DEFINED = (
    int(gguf.TokenType.NORMAL),
    int(gguf.TokenType.CONTROL),
    int(gguf.TokenType.USER_DEFINED),
)
GGML = "tokenizer.ggml"
# a vocabulary of byte pairs, whose tokens are the characters of the usual one
BPE = ((f"{GGML}.model", "gpt2"), (f"{GGML}.merges", ("a b", "c d")), (f"{GGML}.pre", "gpt-2"))
WORDS = tuple((f"a{letter}", NORMAL) for letter in "bcdefghijklmno")
USER = [{"role": "user", "content": "Hello"}]


def without(*keys: str) -> tuple[tuple[str, Any], ...]:
    return tuple((f"{GGML}.{key}", None) for key in keys)


def open_with(
    *metadata: tuple[str, Any], types: Any = (), template: str | None = None, **options: Any
) -> rys.Model:
    model = {"metadata": metadata, "types": types, "chat_template": template}
    return models.open_tiny(model=model, **options)


def ends(model: rys.Model) -> set[str]:
    """Return the texts of the tokens that end an answer."""
    tokens = [token for token in range(model.n_vocab) if _ends(model, token)]
    return set(model.token_strings(tokens))


def _ends(model: rys.Model, token: int) -> bool:
    return any(found[0] == token and found[3] for found in model._open_model.added_tokens())


# special tokens


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe"])
def test_byte_pairs_without_ids_have_no_bos_and_end_at_no_word(pre: str) -> None:
    # llama.cpp takes token 11, which is one of Falcon's, for both
    bpe = (*BPE[:2], (f"{GGML}.pre", pre))
    with open_with(*bpe, *without("bos_token_id", "eos_token_id", "eot_token_id")) as model:
        assert model.bos_token is None
        assert model.eos_token is None
        assert ends(model) == {"</s>", "<|im_end|>"}  # control tokens of the file
        assert 11 not in model.tokenize("Hello")
        assert not model.tokenizer.add_bos


def test_ids_of_the_usual_places_count_where_control_tokens_are() -> None:
    with open_with(*without("bos_token_id", "eos_token_id", "eot_token_id")) as model:
        assert (model.bos_token, model.eos_token) == (1, 2)
        assert model.tokenize("a")[0] == 1
    # token 1 is a word of this file
    with open_with(*without("bos_token_id"), types=(("<s>", NORMAL),)) as model:
        assert model.bos_token is None
        assert len(model.tokenize("a")) == 1


@pytest.mark.parametrize(("name", "key"), [("bos", "bos_token"), ("eos", "eos_token")])
def test_an_id_out_of_range_is_none(name: str, key: str) -> None:
    with open_with((f"{GGML}.{name}_token_id", 99_999)) as model:
        assert getattr(model, key) is None
        assert not model.tokenizer.add_eos
        model.generate("a", max_tokens=1)


def test_the_files_own_ids_count_whatever_the_tokens_are() -> None:
    word = 265  # a letter
    with open_with((f"{GGML}.eos_token_id", word)) as model:
        assert model.eos_token == word
        result = model.generate("a", max_tokens=4, grammar="root ::= [a-z]+")
        assert result.finish_reason in ("eos", "length")


@pytest.mark.parametrize(
    ("text", "kind", "template", "is_end"),
    [
        ("</s>", CONTROL, None, True),
        # Gemma has the tags of HTML
        ("</s>", USER_DEFINED, None, False),
        ("</s>", NORMAL, None, False),
        ("</s>", USER_DEFINED, "{{ messages[0].content }}</s>", True),
        ("<EOT>", NORMAL, None, False),
        ("<EOT>", CONTROL, None, True),
        ("<eos>", USER_DEFINED, None, False),
        ("[PAD]", NORMAL, None, False),
        # no text has these words; some files call them user defined
        ("<|im_end|>", USER_DEFINED, None, True),
        ("<|endoftext|>", USER_DEFINED, None, True),
        ("<end_of_turn>", USER_DEFINED, None, True),
    ],
)
def test_a_token_ends_an_answer_if_the_file_says_that_it_is_one_of_control(
    text: str, kind: int, template: str | None, is_end: bool
) -> None:
    keys = without("eos_token_id", "eot_token_id")
    with open_with(*keys, types=((text, kind),), template=template) as model:
        assert (text in ends(model)) == is_end


def test_html_of_real_weights_ends_no_answer() -> None:
    with rys.Model(models.instruct("gemma-3-270m"), n_ctx=32, n_threads=1) as model:
        tags = model.tokenize("<s>a</s>", add_special=False)
        assert not any(_ends(model, token) for token in tags)
        assert _ends(model, model.special_tokens["eot"])


@pytest.mark.parametrize(("add_bos", "expected"), [(None, True), (True, True), (False, False)])
def test_a_bos_is_added_as_the_file_says(add_bos: bool | None, expected: bool) -> None:
    with models.open_tiny(model={"add_bos": add_bos}) as model:
        assert model.tokenizer.add_bos == expected
        assert (model.tokenize("a")[0] == model.bos_token) == expected


# vocabularies


@pytest.mark.parametrize(
    ("metadata", "types", "key"),
    [
        (without("scores"), WORDS, "scores"),
        (without("token_type"), (), "token_type"),
        ((*BPE[:2], *without("pre")), (), "pre"),
    ],
)
def test_a_file_that_leaves_out_how_texts_are_cut_is_warned_of(
    metadata: Any, types: Any, key: str
) -> None:
    with pytest.warns(UserWarning, match=f"leaves out {GGML}.{key}, so texts may become other"):
        open_with(*metadata, types=types).close()


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (((f"{GGML}.model", "sentencepiece"),), "unknown tokenizer: 'sentencepiece'"),
        (((f"{GGML}.model", None),), "tokenizer.ggml.model"),
        (((f"{GGML}.model", "gpt2"),), "cannot find tokenizer merges"),
        ((*BPE[:2], (f"{GGML}.pre", "unheard-of")), "unknown pre-tokenizer type: 'unheard-of'"),
        ((("llama.rope.scaling.type", "dynamic"),), "rope_scaling_type"),
        ((("llama.attention.layer_norm_rms_epsilon", None),), "layer_norm_rms_epsilon"),
        ((("llama.attention.head_count_kv", None),), "attn_k.weight"),
    ],
)
def test_what_cannot_be_known_is_refused_by_name(metadata: Any, words: str) -> None:
    with pytest.raises((ModelFileError, UnsupportedArchitectureError), match=words):
        open_with(*metadata)


# templates


ONE = "one{{ messages | length }}"
TOOLS = "tools{{ messages | length }}"


def named(**templates: str) -> tuple[tuple[str, Any], ...]:
    return tuple((f"tokenizer.chat_template.{name}", text) for name, text in templates.items())


def test_named_templates_are_chosen_as_in_transformers() -> None:
    with open_with(*named(tool_use=TOOLS, rag="rag{{ messages }}"), template=ONE) as model:
        assert set(model.chat_templates) == {"default", "tool_use", "rag"}
        assert model.chat_template == ONE
        assert model.apply_chat_template(USER) == "one1"
        assert model.apply_chat_template(USER, tools=[{"name": "add"}]) == "tools1"
        assert model.apply_chat_template(USER, tools=[]) == "tools1"
        tokens = model.chat(USER, max_tokens=1, template_variables={"tools": []}).n_prompt_tokens
        assert tokens == len(model.tokenize("tools1"))
    with open_with(*named(tool_use=TOOLS), template=ONE, chat_template="tool_use") as model:
        assert model.apply_chat_template(USER) == "tools1"
    with pytest.raises(ChatTemplateError, match=r"one of the file's \(default, tool_use\)"):
        open_with(*named(tool_use=TOOLS), template=ONE, chat_template="rag")


def test_a_template_that_is_the_only_one_needs_no_name_and_of_several_one_is_the_default() -> None:
    with open_with(*named(tool_use=TOOLS)) as model:
        assert model.chat_template == TOOLS
        assert model.apply_chat_template(USER) == "tools1"
    with open_with(*named(rag=ONE, tool_use=TOOLS)) as model:
        assert model.chat_template is None
        with pytest.raises(ChatTemplateError, match=r"no default; give the name .*: rag, tool_use"):
            model.chat(USER)
        # a probe does not fall back to a prompt without a template
        with pytest.raises(ChatTemplateError, match="no default"):
            model.run([Prompter(model).generate("Hello", 4)])


@pytest.mark.parametrize("template", ["", None])
def test_an_empty_template_is_none(template: str | None) -> None:
    with open_with(("tokenizer.chat_template", template)) as model:
        assert model.chat_template is None
        with pytest.raises(ChatTemplateError, match="has no chat template; give one"):
            model.chat(USER)


def test_a_template_that_is_no_text_is_refused_when_it_is_used() -> None:
    with open_with(("tokenizer.chat_template", 3)) as model:
        model.generate("a", max_tokens=1)
        with pytest.raises(ChatTemplateError, match="the chat template is int, but must be a str"):
            model.chat(USER)


def test_a_template_may_write_every_special_token_of_the_file() -> None:
    template = "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ pad_token }}{{ messages | length }}"
    keys = ((f"{GGML}.unknown_token_id", 0), (f"{GGML}.padding_token_id", 4))
    with open_with(*keys, template=template) as model:
        assert model.apply_chat_template(USER) == "<s></s><unk><|im_end|>1"
        assert model.apply_chat_template(USER, pad_token="<p>") == "<s></s><unk><p>1"
    with open_with(*without("bos_token_id"), types=(("<s>", NORMAL),), template=template) as model:
        assert model.apply_chat_template(USER).startswith("</s>")


@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
@pytest.mark.parametrize("thinking", [False, True])
def test_probes_turn_thinking_off_by_each_of_its_names(name: str, thinking: bool) -> None:
    template = f"{{% if messages and {name} %}}thinks{{% else %}}not{{% endif %}}"
    with open_with(template=template) as model:
        request = Prompter(model, thinking=thinking).generate("Hello", 4)
        text = model.apply_chat_template(USER, **request.template_variables)
        assert text == ("thinks" if thinking else "not")
