"""Several calls on one model at once, and what one call's end does to others."""

from __future__ import annotations

import gc
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import rys
from rys.errors import EngineError, ModelClosedError, NonFiniteLogitsError
from rys.requests import FailedRequest
from support import models
from support.checks import check_same, mixed

LETTERS = "root ::= [a-z]{400}"


def is_empty(model: rys.Model) -> bool:
    """Whether the engine keeps nothing of any request."""
    scheduler = model._session._scheduler
    assert scheduler is not None
    return scheduler.n_kept == 0 and not model._session._tickets and not model._session._calls


def test_two_streams_in_turns_give_the_texts_of_two_single_ones() -> None:
    prompts = ["Hello", "Once upon a time"]
    options: dict[str, Any] = {"max_tokens": 40, "grammar": LETTERS}
    with models.open_tiny() as model:
        expected = ["".join(model.stream(prompt, **options)) for prompt in prompts]
        streams = [model.stream(prompt, **options) for prompt in prompts]
        texts = ["", ""]
        for _ in range(40):
            for i, stream in enumerate(streams):
                texts[i] += next(stream, "")
        assert texts == expected
        assert [list(stream) for stream in streams] == [[], []]
        assert is_empty(model)


def test_a_stream_beside_others_loses_no_character() -> None:
    grammar = 'root ::= "aé漢🙂"'
    with models.open_tiny() as model:
        stream = model.stream("Hello", max_tokens=30, grammar=grammar)
        text = next(stream)
        model.generate("Bye", max_tokens=20)
        assert text + "".join(stream) == "aé漢🙂"


def test_many_threads_stream_at_once() -> None:
    options: dict[str, Any] = {"max_tokens": 30, "temperature": 0.9}
    with models.open_tiny(n_seq_max=4) as model:
        expected = [model.generate(f"Prompt {i}", seed=i, **options).text for i in range(12)]

        def text(i: int) -> str:
            return "".join(model.stream(f"Prompt {i}", seed=i, **options))

        with ThreadPoolExecutor(12) as pool:
            for _ in range(3):
                assert list(pool.map(text, range(12))) == expected
        assert is_empty(model)


def test_lists_and_streams_of_several_threads_end() -> None:
    requests = mixed(20)
    with models.open_tiny(n_seq_max=4) as model:
        expected = model.run(requests)
        text = model.generate("Hello", max_tokens=30).text

        def use(i: int) -> None:
            match i % 3:
                case 0:
                    for result, single in zip(model.run(requests), expected, strict=True):
                        check_same(result, single)
                case 1:
                    assert "".join(model.stream("Hello", max_tokens=30)) == text
                case 2:
                    stream = model.stream("Hello", max_tokens=30)
                    next(stream)
                    stream.close()
                    model.hidden_states("a")

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(use, range(18)))
        assert is_empty(model)


@pytest.mark.parametrize("end", ["close", "drop", "cycle"])
def test_a_stream_that_is_given_up_frees_what_it_holds(end: str) -> None:
    with models.open_tiny() as model:
        stream = model.stream("Hello", max_tokens=None, grammar=LETTERS)
        next(stream)
        scheduler = model._session._scheduler
        assert scheduler is not None
        assert scheduler.n_cells_free == 0
        match end:
            case "close":
                stream.close()
            case "drop":
                del stream
            case "cycle":
                keep: list[Any] = [stream]
                keep.append(keep)
                del stream, keep
                gc.collect()
        assert scheduler.n_cells_free == 256
        assert is_empty(model)


def test_a_stream_that_holds_the_only_sequence_lets_others_go_on_when_it_is_done() -> None:
    with models.open_tiny(n_seq_max=1) as model:
        expected = model.generate("Once", max_tokens=None, grammar=LETTERS).text
        stream = model.stream("Once", max_tokens=None, grammar=LETTERS)
        pieces = [next(stream)]
        assert len(model.generate("Hello", max_tokens=10).tokens) == 10
        pieces += stream
        assert "".join(pieces) == expected
        # the others' tokens were computed, and came in one piece
        assert len(pieces) == 2


def test_a_run_returns_when_its_own_requests_are_done() -> None:
    with models.open_tiny(n_ctx=2048) as model:
        stream = model.stream("Hello", max_tokens=1500, grammar="root ::= [a-z]{2000}")
        next(stream)
        model.run([rys.NextToken("a")])
        assert len(next(stream)) < 20


def test_closing_ends_all_streams_and_other_threads_finish() -> None:
    model = models.open_tiny()
    streams = [model.stream("Once", max_tokens=None, grammar=LETTERS) for _ in range(3)]
    next(streams[0])
    next(streams[1])
    model.close()
    assert list(streams[0]) == []
    assert list(streams[1]) == []
    with pytest.raises(ModelClosedError):
        next(streams[2])  # it never began


# failures


def test_a_failure_reaches_the_call_that_computed_and_fails_the_others() -> None:
    # rows that the table of positions does not have; Model itself refuses so many tokens
    with rys.Model(models.positions(12), n_ctx=64, n_threads=1) as model:
        expected = model.generate([1, 2], max_tokens=4).tokens
        model._session._scheduler = None
        model._session.n_ctx = 64
        stream = model.stream([3], max_tokens=60)
        with pytest.raises(EngineError, match="GGML_ASSERT"):
            model.run([rys.NextToken([3] * 20)])
        # which never began, so that it is not harmed
        with pytest.raises(EngineError, match="GGML_ASSERT"):
            list(stream)
        model._session.n_ctx = 12
        model._session._scheduler = None
        assert model.generate([1, 2], max_tokens=4).tokens == expected


def test_requests_beside_a_failure_fail_with_its_reason() -> None:
    with rys.Model(models.positions(12), n_ctx=64, n_threads=1) as model:
        session = model._session
        session.n_ctx = 64
        beside = session._insert(model.prepare([rys.NextToken([1]), rys.Generate([2])]))
        with pytest.raises(EngineError, match="GGML_ASSERT"):
            model.run([rys.NextToken([3] * 20)])
        assert beside.is_done
        for request, core in zip(
            model.prepare([rys.NextToken([1]), rys.Generate([2])]),
            beside.results.values(),
            strict=True,
        ):
            result = model._convert(request, core)
            assert isinstance(result, FailedRequest)
            assert isinstance(result.error, EngineError)
            assert "GGML_ASSERT" in str(result.error)
        assert len(model.logits([1, 2])) == 2


def test_a_stream_goes_on_beside_logits_that_are_not_finite() -> None:
    with models.open_tiny(model={"poison": "Z"}) as model:
        expected = model.generate("Hello", max_tokens=30).text
        stream = model.stream("Hello", max_tokens=30)
        text = next(stream)
        with pytest.raises(NonFiniteLogitsError):
            model.generate("a Z")
        text += next(stream)
        assert text + "".join(stream) == expected


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
def test_ctrl_c_in_one_call_lets_the_streams_of_others_go_on() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    large = {"n_layer": 12, "n_embd": 256}
    with models.open_tiny(model=large, n_ctx=4096) as model:
        expected = model.generate([1, 5], max_tokens=40, grammar=LETTERS).text
        stream = model.stream([1, 5], max_tokens=40, grammar=LETTERS)
        text = next(stream)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                model.run([rys.NextToken([5 + i] * 1500) for i in range(40)])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
        assert text + "".join(stream) == expected
        assert is_empty(model)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
def test_a_call_from_within_a_call_is_refused() -> None:
    refused: list[str] = []
    large = {"n_layer": 12, "n_embd": 256}

    with models.open_tiny(model=large, n_ctx=4096) as model:

        def handler(*_: object) -> None:
            for use in (lambda: model.generate([1]), model.close):
                with pytest.raises(EngineError) as caught:
                    use()
                refused.append(str(caught.value))

        before = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            model.run([rys.NextToken([5 + i] * 1500) for i in range(4)])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
    assert refused == [
        "run() cannot begin while run() of the same model is not finished",
        "close() cannot begin while run() of the same model is not finished",
    ]


def test_views_do_not_share_their_parameters() -> None:
    with models.open_tiny(n_ctx=64) as base:
        view = base.with_path("0,0")
        view._session.params.n_ctx = 128
        assert base._session.params.n_ctx == 64
        assert base.with_path("0,1")._session.params.n_ctx == 64


def test_threads_that_wait_take_over_from_a_call_that_ends() -> None:
    with models.open_tiny(n_seq_max=1, n_ctx=1024) as model:
        results: list[Any] = []

        def generate(n: int) -> None:
            results.append(model.generate("a", max_tokens=n, grammar="root ::= [a-z]{2000}"))

        threads = [threading.Thread(target=generate, args=(n,)) for n in (5, 300, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert sorted(len(result.tokens) for result in results) == [5, 50, 300]
        np.testing.assert_equal(model._session._driver, None)
