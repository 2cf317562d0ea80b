"""How many sequences a context has by default: few, until more are asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import rys
from rys import Generate, NextToken
from rys.cli import main
from rys.model_info import read_model_info
from support import models
from support.toys import Upstream
from support.windowed_toys import toy_writer


@pytest.fixture(scope="module", params=["gemma3-dense", "qwen35-dense"])
def path(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return toy_writer(upstream, tmp_path_factory.mktemp("toys"))(request.param)


@pytest.fixture
def model(path: Path) -> Iterator[rys.Model]:
    with rys.Model(path, n_ctx=8192, n_threads=1) as model:
        yield model


def n_seq(model: rys.Model) -> int:
    return model._session._n_seq


def rest(stream: Generator[str, None, Any]) -> Any:
    """Read a stream to its end and return its result."""
    results: list[Any] = []

    def read() -> Generator[str, None, None]:
        results.append((yield from stream))

    for _ in read():
        pass
    return results[0]


def test_a_conversation_gets_few_and_a_list_many(model: rys.Model) -> None:
    model.generate([5] * 40, max_tokens=2)
    assert n_seq(model) == 4
    # the context is the same
    assert model.generate([5] * 40 + [6] * 9, max_tokens=2).n_shared_tokens >= 40
    model.run([NextToken([5, 6 + i]) for i in range(5)])
    assert n_seq(model) == model._session.params.n_seq_max > 4
    model.generate([5] * 40, max_tokens=2)
    assert n_seq(model) > 4


def test_measurements_get_many_from_the_start(model: rys.Model) -> None:
    model.run([NextToken([5, 6])], cache_prompt=False)
    assert n_seq(model) == model._session.params.n_seq_max


def test_a_suspended_stream_keeps_its_context(path: Path) -> None:
    with rys.Model(path, **models.EXACT, n_ctx=1024) as model:
        expected = model.generate([5, 6, 7], max_tokens=20).tokens
        whole = [result.tokens for result in model.run([Generate([9, i]) for i in range(20, 26)])]  # type: ignore[union-attr]
    with rys.Model(path, **models.EXACT | {"cache_prompt": True}, n_ctx=1024) as model:
        stream = model._session.stream(model.prepare([Generate([5, 6, 7], max_tokens=20)])[0])
        next(stream)
        results = model.run([Generate([9, i]) for i in range(20, 26)])
        assert [result.tokens for result in results] == whole  # type: ignore[union-attr]
        assert n_seq(model) == 4
        assert rest(stream).tokens == expected
        # now nobody needs it
        model.run([NextToken([5, 6 + i]) for i in range(5)])
        assert n_seq(model) > 4


def test_a_number_that_was_given_counts(path: Path) -> None:
    with rys.Model(path, n_ctx=1024, n_threads=1, n_seq_max=2) as model:
        model.run([NextToken([5, 6 + i]) for i in range(5)])
        assert n_seq(model) == 2


def test_models_whose_sequences_are_free_get_many() -> None:
    with rys.Model(models.tiny(), n_ctx=256, n_threads=1) as model:
        model.generate("a", max_tokens=1)
        assert n_seq(model) == 64


def test_info_says_what_it_costs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = read_model_info(path, n_ctx=8192, n_seq_max=4)
    info = read_model_info(path, n_ctx=8192)
    assert info.n_seq_few == 4
    assert info.cache_bytes_few == few.cache_bytes
    assert info.cache_bytes is not None
    assert few.cache_bytes is not None
    assert few.cache_bytes < info.cache_bytes
    assert main(["info", str(path), "--n-ctx", "8192"]) == 0
    assert "for 4 requests at once, " in capsys.readouterr().out
    assert main(["info", str(models.tiny())]) == 0
    assert "3 MiB at n_ctx=4096, n_seq_max=64" in capsys.readouterr().out
