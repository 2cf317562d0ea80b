"""Grammars: large ones, hostile ones, and texts that are UTF-8."""

from __future__ import annotations

import string
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

import rys
from rys import Generate
from rys.errors import RequestError
from rys.requests import GenerateResult
from support import models

WORDS = sorted({f"{i * 7919 % 100_003:05d}-{i}" for i in range(5000)})


def choice(words: list[str]) -> str:
    return "root ::= " + " | ".join(f'"{word}"' for word in words)


def chain(n: int, rule: str) -> str:
    """Return rules r0 to rn, each made of the next one, and the last of an optional x."""
    rules = "\n".join(f"r{i} ::= {rule.format(f'r{i + 1}')}" for i in range(n))
    return f'root ::= r0\n{rules}\nr{n} ::= "x"?'


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny() as model:
        yield model


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of one small layer with a vocabulary of 50,000 tokens."""
    path = tmp_path_factory.mktemp("wide") / "wide.gguf"
    letters = string.digits + string.ascii_letters + "-"
    tokens = [*letters, *(a + b + c for a in letters for b in letters for c in letters)][:50_000]
    width = 32
    shapes = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (width, width),
        "attn_v": (width, width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_gate": (width, width),
        "ffn_up": (width, width),
        "ffn_down": (width, width),
    }
    rng = np.random.default_rng(0)
    tensors = {f"blk.0.{name}.weight": rng.standard_normal(shape) for name, shape in shapes.items()}
    tensors["token_embd.weight"] = rng.standard_normal((len(tokens) + 3, width))
    tensors["output_norm.weight"] = np.ones(width)
    keys = {
        ".context_length": 256,
        ".embedding_length": width,
        ".block_count": 1,
        ".feed_forward_length": width,
        ".attention.head_count": 1,
        ".attention.layer_norm_rms_epsilon": 1e-5,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *tokens],
        "tokenizer.ggml.scores": [-float(i) for i in range(len(tokens) + 3)],
        "tokenizer.ggml.token_type": [
            gguf.TokenType.UNKNOWN,
            *[gguf.TokenType.CONTROL] * 2,
            *[gguf.TokenType.NORMAL] * len(tokens),
        ],
    }
    return models.write_gguf(path, "llama", keys, tensors)


# what llama.cpp would not survive


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ('root ::= "a"{5,0}', r"\{5,0\} asks for at least 5, but at most 0; put the smaller"),
        ('root ::= ("a" | "b"){ 3 , 2 }', "asks for at least 3, but at most 2"),
        ('root ::= "a"{99999999999999999999}', "repeats more than 2000 times"),
        ('root ::= "a"{2001,}', "repeats more than 2000 times"),
        ('root ::= "' + "a" * 60_000 + '"{2000}', "more than 250000 elements"),
        ('root ::= "' + "a" * 60_000 + '"{0,2000}', "more than 250000 elements"),
        ("root ::= " + '"a"{2000} ' * 6000, "more than 250000 elements"),
        ("root ::= " + '"a"{0,2000} ' * 6000, "more than 250000 elements"),
        ("root ::= " + "(" * 300 + '"a"' + ")" * 300, "more than 256 parentheses"),
        (f'root ::= "{"a" * 300_000}"', "has 300011 bytes, but at most 262144"),
        (f'root ::= "a"\n{"b" * 300} ::= "c"', "more than 255 characters"),
        (chain(40, "{0} {0}"), "read in too many ways"),
        # a left recursion that llama.cpp does not find
        ('root ::= e root "a" | "b"\ne ::= f\nf ::= ""', "read in too many ways"),
        ("root ::= nonsense " + "x" * 1000 + " =", r"^.{1,300}$"),
    ],
)
def test_a_hostile_grammar_is_refused(model: rys.Model, grammar: str, reason: str) -> None:
    begin = time.process_time()
    with pytest.raises(RequestError, match=reason) as caught:
        model.generate("a", max_tokens=5, grammar=grammar)
    assert "the grammar cannot be read: " in str(caught.value)
    assert time.process_time() - begin < 10


def test_what_only_looks_hostile_is_read(model: rys.Model) -> None:
    # in a text, a set or a comment
    grammar = 'root ::= "a{5,0}" [{5,0}] "((((" # {5,0} (((\n'
    text = model.generate("a", max_tokens=50, grammar=grammar).text
    assert text[:6] + text[7:] == "a{5,0}(((("


@pytest.mark.parametrize("rule", ["{0} | {0}", "{0}", '"" {0}'])
def test_long_chains_of_rules_are_read(model: rys.Model, rule: str) -> None:
    texts = []
    grammar = chain(5000, rule)

    def generate() -> None:
        texts.append(model.generate("a", max_tokens=5, grammar=grammar).text)

    thread = threading.Thread(target=generate)  # whose stack is smaller
    thread.start()
    thread.join()
    assert texts in (["x"], [""])


def test_a_grammar_that_becomes_ambiguous_fails_alone(model: rys.Model) -> None:
    # the number of ways doubles with each character
    ambiguous = 'root ::= s\ns ::= [a-z] s "b" | [a-z] s "c" | "d"'
    fine = Generate("a", max_tokens=5, grammar="root ::= [a-z]{9}")
    results = model.run([Generate("a", max_tokens=60, grammar=ambiguous), fine])
    assert str(results[0].error) == "the grammar can be read in too many ways at once"  # type: ignore[union-attr]
    assert isinstance(results[1], GenerateResult)


def test_other_threads_run_while_a_grammar_is_read(model: rys.Model) -> None:
    ticks: list[float] = []
    is_done = threading.Event()

    def tick() -> None:
        while not is_done.wait(0.001):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        begin = time.perf_counter()
        with pytest.raises(RequestError):
            model.generate("a", grammar=chain(40, "{0} {0}"))
        end = time.perf_counter()
    finally:
        is_done.set()
        thread.join()
    assert end - begin > 0.02
    assert [time for time in ticks if begin + 0.01 < time < end]


# choices of words


def test_a_choice_of_5000_words_is_fast(wide: Path) -> None:
    with rys.Model(wide, **models.EXACT, n_ctx=64) as model:
        begin = time.process_time()
        result = model.generate([1, 5], max_tokens=20, grammar=choice(WORDS))
        assert time.process_time() - begin < 3
        assert result.text in WORDS
        assert result.finish_reason in ("eos", "length")


@pytest.mark.parametrize("seed", range(5))
def test_a_choice_is_sampled_like_a_set(model: rys.Model, seed: int) -> None:
    # many alternatives and one, whose texts are matched in different ways
    letters = "abcdefghijklmnop"
    options = {"max_tokens": 20, "temperature": 3.0, "seed": seed}
    many = " | ".join(f'"{letter}"' for letter in letters)
    assert (
        model.generate("a", grammar=f"root ::= ({many})+", **options).text
        == model.generate("a", grammar="root ::= [a-p]+", **options).text
    )


@pytest.mark.parametrize("seed", range(10))
def test_the_text_is_utf_8(model: rys.Model, seed: int) -> None:
    # the vocabulary has single bytes; llama.cpp also takes more of them than a character needs
    grammar = 'root ::= ("é" | "漢é" | "🙂" | [à-ü] | "ab" | [^a-z]){8}'
    result = model.generate("a", max_tokens=60, grammar=grammar, temperature=3.0, seed=seed)
    assert result.finish_reason == "eos"
    assert "\ufffd" not in result.text
