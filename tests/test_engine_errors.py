"""Failures inside of llama.cpp: exceptions, and a process that lives on."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rys
from rys import _core
from rys.errors import EngineError, ModelFileError
from support import models


def params(**changes: Any) -> _core.ContextParams:
    result = _core.ContextParams()
    result.n_ctx, result.n_threads, result.n_threads_batch = 64, 1, 1
    for name, value in changes.items():
        setattr(result, name, value)
    return result


def test_an_assertion_that_fails_while_loading_is_an_error_with_its_text() -> None:
    with pytest.raises(
        ModelFileError, match=r"jamba\.cpp:\d+: GGML_ASSERT\(2 \* n_embd == d_inner\) failed"
    ):
        rys.Model(models.recurrent("jamba", inner_factor=3))
    with rys.Model(models.recurrent("jamba"), n_threads=1) as model:
        assert len(model.generate([1], max_tokens=3).tokens) == 3


def test_an_assertion_that_fails_while_a_context_is_made_is_an_error_with_its_text() -> None:
    with models.open_tiny() as model:
        expected = model.logits("Hello")
        with pytest.raises(EngineError, match=r"llama\.cpp:\d+: fatal error"):
            _core.Context(model._open_model, params(flash_attn=77))
        np.testing.assert_array_equal(model.logits("Hello"), expected)


def test_an_assertion_that_fails_while_computing_is_an_error_and_the_context_is_new() -> None:
    # rows that the table of positions does not have; Model itself refuses so many tokens
    with rys.Model(models.positions(12), n_ctx=64, n_threads=1) as model:
        expected = model.logits([1, 2, 3])
        context = model._session.context()
        scheduler = _core.Scheduler(context, 64)
        (request,) = scheduler.insert([_core.Request(_core.RequestKind.next_token, [1] * 20)])
        with pytest.raises(EngineError, match=r"ops\.cpp:\d+: GGML_ASSERT\(.*\) failed"):
            scheduler.advance(1.0)
        assert context.is_broken
        done = scheduler.next()
        assert done is not None
        assert done[0] == request
        assert "GGML_ASSERT" in done[1].error
        assert model._session.context() is not context
        np.testing.assert_array_equal(model.logits([1, 2, 3]), expected)
        with pytest.raises(EngineError, match="GGML_ASSERT"):
            model._open_model.evaluate(params(), [1] * 20, None, True, False)
        np.testing.assert_array_equal(model.logits([1, 2, 3]), expected)


def test_a_model_is_usable_after_a_run_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with rys.Model(models.positions(12), n_ctx=64, n_threads=1) as model:
        expected = model.generate([1, 2], max_tokens=4).tokens
        # without the check that stands before it
        model._session._scheduler = None
        monkeypatch.setattr(model._session, "n_ctx", 64)
        with pytest.raises(EngineError, match="GGML_ASSERT"):
            model.run([rys.Generate([1, 2], max_tokens=3), rys.NextToken([3] * 20)])
        with pytest.raises(EngineError, match="GGML_ASSERT"):
            list(model.stream([1] * 10, max_tokens=20))
        monkeypatch.undo()
        assert model.generate([1, 2], max_tokens=4).tokens == expected


def test_views_and_bases_do_not_share_a_failure() -> None:
    with rys.Model(models.positions(12), n_ctx=64, n_threads=1) as base:
        view = base.with_path([0, 1, 1])
        expected = base.logits([1, 2]), view.logits([1, 2])
        scheduler = _core.Scheduler(view._session.context(), 64)
        scheduler.insert([_core.Request(_core.RequestKind.next_token, [1] * 20)])
        with pytest.raises(EngineError):
            scheduler.advance(1.0)
        np.testing.assert_array_equal(base.logits([1, 2]), expected[0])
        np.testing.assert_array_equal(view.logits([1, 2]), expected[1])


def test_more_sequences_than_the_context_has_are_never_asked_for() -> None:
    with models.open_tiny(n_seq_max=2, n_ctx=64) as model:
        results = model.run([rys.Generate([1, 5 + i], max_tokens=40) for i in range(10)])
        assert all(isinstance(result, rys.requests.GenerateResult) for result in results)


@pytest.mark.parametrize(
    "use",
    [
        lambda core, context: _core.Scheduler(context, 64).insert(
            [_core.Request(_core.RequestKind.generate, [])]
        ),
        lambda core, context: _core.Scheduler(context, 64).insert(
            [_core.Request(_core.RequestKind.generate, [10**6])]
        ),
        lambda core, context: _core.Scheduler(context, 64).insert(
            [_core.Request(_core.RequestKind.loglikelihood, [1, 2])]
        ),
        lambda core, context: core.evaluate(params(), [10**6], None, True, False),
        lambda core, context: core.evaluate(params(), [-5], None, True, False),
        lambda core, context: core.evaluate(params(), [], np.zeros((3, 5)), True, False),
        lambda core, context: core.evaluate(params(), [], np.zeros(64), True, False),
        lambda core, context: core.evaluate(params(), [], None, True, False),
        lambda core, context: core.evaluate(params(), [], np.zeros((0, 64)), True, False),
        lambda core, context: _core.Context(core, params(n_seq_max=257)),
        lambda core, context: _core.Model(core_weights(core), [99]),
        lambda core, context: (
            core.tokenize("é".encode()[:1], True, True) and core.token_piece(10**6)
        ),
    ],
)
def test_the_binding_checks_what_would_end_the_process(use: Any) -> None:
    with models.open_tiny() as model:
        expected = model.logits("Hello")
        with pytest.raises((EngineError, ValueError, IndexError)):
            use(model._open_model, model._session.context())
        np.testing.assert_array_equal(model.logits("Hello"), expected)


def core_weights(_: _core.Model) -> _core.Weights:
    return _core.Weights(str(models.tiny()), _core.WeightsParams())


FUZZ = """
import random, sys
from pathlib import Path
import rys
from rys.errors import RysError

source, scratch = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
first, last = int(sys.argv[3]), int(sys.argv[4])
tokens, tensors = source.index(b"tokenizer.ggml.tokens"), source.index(b"token_embd.weight")
loaded = 0
for seed in range(first, last):
    rng = random.Random(seed)
    data = bytearray(source)
    for _ in range(rng.choice([1, 1, 2, 8])):
        # the key-values and the shapes, and less often the words in between
        places = [(4, tokens), (tensors, tensors + 900), (4, tensors)]
        at = rng.choice([rng.randrange(*place) for place in places])
        match rng.randrange(5):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice([0, 1, 127, 128, 255])
            case 2:
                size = rng.choice([4, 8])
                value = rng.choice([0, 1, 3, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1])
                data[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")
            case 3:
                del data[at : at + rng.choice([1, 4, 8])]
            case 4:
                del data[rng.randrange(4, len(data)) :]
                break
    scratch.write_bytes(data)
    print(seed, flush=True)
    try:
        with rys.Model(scratch, n_ctx=32, n_threads=1) as model:
            model.fingerprint, model.metadata
            model.run([rys.Generate([1, 2, 3], max_tokens=2)])
            model.with_path("0..,0..").logits([1])
            model.detokenize(model.tokenize("Hi <s>"))
            loaded += 1
    except RysError:
        pass
print("loaded", loaded)
"""


def test_hostile_files_are_refused_or_run_but_never_end_the_process(tmp_path: Path) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            FUZZ,
            models.tiny(n_layer=1, n_embd=32),
            tmp_path / "hostile.gguf",
            "0",
            "400",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    last = ran.stdout.splitlines()[-1] if ran.stdout else "none"
    assert ran.returncode == 0, f"exit code {ran.returncode} at seed {last}: {ran.stderr[-2000:]}"
    assert last.startswith("loaded ")
    assert 20 < int(last.split()[1]) < 380, "the damage is too small or too great to tell much"


@pytest.mark.parametrize("epsilon", [float("nan"), -1.0])
def test_an_epsilon_that_fails_an_assertion_of_a_kernel_is_seen_before(
    tmp_path: Path, epsilon: float
) -> None:
    source, key = models.tiny(n_layer=1, n_embd=32), b"llama.attention.layer_norm_rms_epsilon"
    offset = source.read_bytes().index(key) + len(key) + 4  # behind the type of the value
    path = models.patched(source, tmp_path / "hostile.gguf", offset, struct.pack("<f", epsilon))
    code = (
        "import sys, rys; rys.Model(sys.argv[1], n_ctx=32, n_threads=2).generate([1], max_tokens=1)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert "ModelFileError" in ran.stderr


def test_errors_that_quote_bytes_of_the_file_are_readable(tmp_path: Path) -> None:
    data = models.tiny(n_layer=1, n_embd=32).read_bytes()
    path = tmp_path / "odd.gguf"
    path.write_bytes(data.replace(b"llama", b"ll\xffma", 1))
    with pytest.raises(ModelFileError, match="unknown model architecture: 'll\ufffdma'"):
        rys.Model(path)


def test_a_log_that_quotes_bytes_of_the_file_is_readable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = models.tiny(n_layer=1, n_embd=32).read_bytes()
    path = tmp_path / "odd.gguf"
    path.write_bytes(data.replace(b"tiny", b"t\xffny", 1))
    with caplog.at_level("DEBUG", "rys.llama"):
        rys.Model(path).close()
    assert any("t\ufffdny" in record.message for record in caplog.records)


@pytest.mark.parametrize("value", ["two", [1, 2], 1.5, True, -1])
def test_keys_of_a_wrong_type_are_no_reason_to_stumble(tmp_path: Path, value: Any) -> None:
    for key in ("split.no", "split.count", "tokenizer.chat_template", "general.name"):
        if isinstance(value, int) and value < 0:
            value = 2**32 - 1
        keys = {key: value, ".context_length": 8}
        path = models.write_gguf(
            tmp_path / "odd.gguf", "llama", keys, {"token_embd.weight": np.ones((4, 32))}
        )
        with pytest.raises(ModelFileError):
            rys.Model(path)
