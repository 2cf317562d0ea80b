"""Requests that come and go while others are evaluated."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rys
from rys import Generate, LogLikelihood, NextToken, _core
from rys.errors import NonFiniteLogitsError
from rys.requests import FailedRequest
from support import models
from support.checks import check_same, mixed
from support.driver import Driver, check_single

PREFIX = [1] + [7] * 60
N_CTX = 256


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny(n_ctx=N_CTX, n_seq_max=4, n_batch=16) as model:
        yield model


@pytest.fixture
def driver(model: rys.Model) -> Iterator[Driver]:
    driver = Driver(model)
    yield driver
    driver.finish()
    driver.check_empty()


# inserting


def test_requests_are_inserted_while_others_run(driver: Driver) -> None:
    first, second, third = mixed(6), mixed(11)[5:], [NextToken([*PREFIX, i]) for i in range(9)]
    ids = driver.insert(first)
    driver.step(3)
    ids += driver.insert(second)
    driver.step(2)
    ids += driver.insert(third)
    driver.finish()
    check_single(driver, ids, [*first, *second, *third])


def test_a_request_starts_beside_a_long_list(driver: Driver) -> None:
    ids = driver.insert([Generate([1, 5 + i], max_tokens=20) for i in range(60)])
    driver.step(5)
    (late,) = driver.insert([NextToken([3, 4])])
    driver.step(40)
    assert late in driver.results
    assert len(driver.results) < len(ids)


def test_a_request_that_needs_all_cells_is_not_overtaken_for_ever(driver: Driver) -> None:
    driver.insert([Generate([1, 5], max_tokens=20)])
    driver.step()
    (large,) = driver.insert([Generate([1, 9], max_tokens=None)])
    for i in range(100):
        driver.insert([Generate([1, 10 + i % 9], max_tokens=3)])
        driver.step()
    driver.step(N_CTX)
    assert large in driver.results
    check_single(driver, [large], [Generate([1, 9], max_tokens=None)])


@pytest.mark.parametrize("n_lists", [2, 5, 9])
def test_lists_with_prefixes_of_their_own_do_not_keep_each_other_from_ending(
    driver: Driver, n_lists: int
) -> None:
    # 4 sequences and 256 cells, of which each list would hold some for its prefixes
    requests = [
        [NextToken([*[10 + n] * 50, *[40 + i // 3] * 40, 60 + i]) for i in range(9)]
        for n in range(n_lists)
    ]
    large: list[Any] = [Generate([1, 9], max_tokens=200) for _ in range(3)]
    ids = [driver.insert(chosen) for chosen in requests]
    ids.append(driver.insert(large))
    driver.step(400 * n_lists)
    assert len(driver.results) == 9 * n_lists + 3
    for request, given in zip(ids[0] + ids[-1], [*requests[0], *large], strict=True):
        check_same(driver.results[request], driver.model.run([given])[0])


def test_ids_are_never_used_twice(model: rys.Model) -> None:
    seen: set[int] = set()
    for _ in range(3):
        driver = Driver(model)
        for _ in range(3):
            ids = driver.insert([NextToken([1, 2]), NextToken([1, 3])])
            assert not seen.intersection(ids)
            seen.update(ids)
            driver.finish()


def test_results_are_given_away_in_the_order_in_which_they_are_done(driver: Driver) -> None:
    long, short = driver.insert([Generate([1, 5], max_tokens=30), Generate([1, 6], max_tokens=2)])
    driver.finish()
    assert list(driver.results) == [short, long]


def test_a_list_with_a_wrong_request_inserts_nothing(driver: Driver) -> None:
    kind = _core.RequestKind.next_token
    with pytest.raises(ValueError, match=r"requests\[1\]: token 1000000 is outside"):
        driver.scheduler.insert([_core.Request(kind, [1]), _core.Request(kind, [10**6])])
    driver.check_empty()
    assert driver.scheduler.advance(1.0)


def test_the_text_of_an_unknown_request_is_an_error(driver: Driver) -> None:
    with pytest.raises(rys.errors.EngineError, match="there is no request 99999999"):
        driver.scheduler.settled_text(99999999)


# cancelling


def queued(driver: Driver) -> tuple[int, list[int]]:
    ids = driver.insert([Generate([1, 5 + i], max_tokens=9) for i in range(8)])
    return ids[7], ids


def not_begun(driver: Driver) -> tuple[int, list[int]]:
    ids = driver.insert([Generate([1, 5 + i], max_tokens=9) for i in range(3)])
    return ids[1], ids


def in_a_prefix_of_others(driver: Driver) -> tuple[int, list[int]]:
    ids = driver.insert([NextToken([*PREFIX, 5 + i]) for i in range(5)])
    driver.step(2)
    return ids[0], ids  # whose tokens are those of the prefix


def after_a_prefix_of_others(driver: Driver) -> tuple[int, list[int]]:
    ids = driver.insert([Generate([*PREFIX, 5 + i], max_tokens=9) for i in range(6)])
    driver.step(6)
    return ids[5], ids


def in_its_own_prompt(driver: Driver) -> tuple[int, list[int]]:
    ids = driver.insert([Generate([5] * 60, max_tokens=9), NextToken([6] * 60)])
    driver.step(2)
    return ids[0], ids


def generating(driver: Driver) -> tuple[int, list[int]]:
    ids = driver.insert([Generate([1, 5 + i], max_tokens=9) for i in range(3)])
    driver.step(4)
    return ids[1], ids


def with_an_equal_prompt(driver: Driver) -> tuple[int, list[int]]:
    ids = driver.insert([Generate(PREFIX, max_tokens=9) for _ in range(6)])
    driver.step(6)
    return ids[0], ids


def done(driver: Driver) -> tuple[int, list[int]]:
    ids = driver.insert([Generate([1, 5], max_tokens=9), NextToken([1, 6])])
    while driver.scheduler.n_seqs_free < 3:
        driver.scheduler.advance(0.0)
    return ids[1], ids


PHASES: list[Callable[[Driver], tuple[int, list[int]]]] = [
    queued, not_begun, in_a_prefix_of_others, after_a_prefix_of_others, in_its_own_prompt,
    generating, with_an_equal_prompt, done,
]  # fmt: skip


@pytest.mark.parametrize("phase", PHASES)
def test_a_cancelled_request_leaves_the_others_alone(
    driver: Driver, phase: Callable[[Driver], tuple[int, list[int]]]
) -> None:
    cancelled, ids = phase(driver)
    driver.scheduler.cancel([cancelled])
    driver.finish()
    assert sorted(driver.results) == [request for request in ids if request != cancelled]
    for request, result in driver.results.items():
        core = driver.requests[request]
        (single,) = driver.model._session.run([core])
        check_same(result, driver.model._convert(core, single))


@pytest.mark.parametrize("phase", PHASES)
def test_cancelling_frees_cells_and_sequences_at_once(
    driver: Driver, phase: Callable[[Driver], tuple[int, list[int]]]
) -> None:
    _, ids = phase(driver)
    driver.scheduler.cancel(ids)
    assert driver.free == driver.n_free
    assert driver.scheduler.advance(1.0)
    assert driver.scheduler.next() is None
    driver.check_empty()


def test_cells_of_one_are_free_while_others_generate(driver: Driver) -> None:
    ids = driver.insert([Generate([1, 5 + i], max_tokens=9) for i in range(3)])
    driver.step(3)
    cells, sequences = driver.free
    driver.scheduler.cancel(ids[:1])
    assert driver.free == (cells + 2 + 8, sequences + 1)


def test_unknown_requests_are_passed_over(driver: Driver) -> None:
    (done,) = driver.insert([NextToken([1])])
    driver.finish()
    (running,) = driver.insert([Generate([1, 5], max_tokens=9)])
    driver.step(2)
    driver.scheduler.cancel([done, done, 10**9])
    driver.finish()
    assert len(driver.results[running].tokens) == 9
    driver.check_empty()


# a long life


def test_a_thousand_requests_leave_nothing_behind(driver: Driver) -> None:
    rng = random.Random(0)
    most = 0
    waiting: list[int] = []
    for i in range(250):
        requests = [Generate([*PREFIX[: rng.randrange(2, 61)], i % 90 + 5], max_tokens=4)] * 4
        waiting += driver.insert(requests)
        if i % 5 == 0:
            driver.scheduler.cancel([waiting.pop()])
        driver.finish()
        most = max(most, driver.scheduler.n_kept)
        driver.check_empty()
    assert len(driver.results) == 1000 - 50


def test_a_scheduler_that_is_never_idle_does_not_grow(driver: Driver) -> None:
    sizes = []
    for i in range(1000):
        driver.insert([NextToken([1, 5 + i % 300])])
        if i >= 20:
            driver.step()
        sizes.append(driver.scheduler.n_kept)
    assert max(sizes[900:]) <= max(sizes[20:120])


@pytest.mark.parametrize("seed", range(30))
def test_random_comings_and_goings_give_the_results_of_single_runs(seed: int) -> None:
    # oracle: the same requests one by one
    rng = random.Random(seed)
    n_ctx = rng.choice([32, 100, 256])
    options: dict[str, Any] = {
        "n_seq_max": rng.choice([1, 2, 3, 8]),
        "n_batch": rng.choice([1, 7, 64]),
    }
    with models.open_tiny(n_ctx=n_ctx, **options) as model:
        driver = Driver(model)
        asked: dict[int, Any] = {}
        alive: list[int] = []
        gone: set[int] = set()
        for _ in range(25):
            requests = [random_request(rng, n_ctx) for _ in range(rng.choice([1, 1, 2, 6]))]
            ids = driver.insert(requests)
            asked.update(zip(ids, requests, strict=True))
            alive += ids
            driver.step(rng.choice([0, 1, 2, 8]))
            if rng.random() < 0.4:
                chosen = rng.sample(alive, rng.randint(1, len(alive)))
                driver.scheduler.cancel(chosen)
                gone.update(request for request in chosen if request not in driver.results)
                alive = [request for request in alive if request not in chosen]
        driver.finish()
        driver.check_empty()
        assert set(driver.results) == set(asked) - gone
        for request, result in driver.results.items():
            check_same(result, model.run([asked[request]])[0])


def random_request(rng: random.Random, n_ctx: int) -> Any:
    """Return a request that often begins like others, and that sometimes is too long."""
    shared = [1] + [7] * 40 + [8] * 40
    tokens = shared[: rng.choice([1, 3, 41, 60, 81])]
    tokens = [*tokens, *(rng.randrange(5, 356) for _ in range(rng.choice([0, 1, 30])))]
    match rng.randrange(4):
        case 0:
            return NextToken(tokens, allowed=[0, 3, 2])
        case 1:
            cut = rng.randint(1, len(tokens))
            return LogLikelihood(tokens[:cut], [*tokens[cut:], 9])
        case _:
            most: list[int | None] = [1, 2, 9, None] if n_ctx < 100 else [1, 2, 9, 30]
            return Generate(tokens, max_tokens=rng.choice(most), logprobs=rng.random() < 0.5)


# what goes wrong


def test_logits_that_are_not_finite_harm_nobody_beside_or_after() -> None:
    with (
        models.open_tiny(model={"poison": "Z"}, n_seq_max=4) as model,
        models.open_tiny(n_seq_max=4) as clean,
    ):
        driver = Driver(model)
        good: list[Any] = [
            Generate("Hello", max_tokens=12, logprobs=True),
            Generate("Bye", max_tokens=12, temperature=0.8, seed=3),
            LogLikelihood("Some text", " that is scored"),
            NextToken("a"),
        ]
        ids = driver.insert(good[:1])
        driver.step(4)
        ids += driver.insert(good[1:3])
        (bad,) = driver.insert([Generate("a Z", max_tokens=5)])
        driver.step(2)
        ids += driver.insert(good[3:])
        driver.finish()
        driver.check_empty()
        assert isinstance(driver.results[bad], FailedRequest)
        assert isinstance(driver.results[bad].error, NonFiniteLogitsError)
        for request, given in zip(ids, good, strict=True):
            check_same(driver.results[request], clean.run([given])[0])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
def test_an_interrupted_batch_is_evaluated_again() -> None:
    large = {"n_layer": 12, "n_embd": 256}
    requests: list[Any] = [
        Generate([1, 5], max_tokens=40, logprobs=True),
        NextToken([9] * 900),
        LogLikelihood([1] + [8] * 400, [11] * 400),
        NextToken([1] + [8] * 400 + [12] * 10),
    ]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with models.open_tiny(model=large, n_ctx=4096) as model:
        driver = Driver(model)
        ids = driver.insert(requests)
        driver.step()
        before = signal.signal(signal.SIGALRM, interrupt)
        n_interrupted = 0
        try:
            for _ in range(3):
                signal.setitimer(signal.ITIMER_REAL, 0.15)
                try:
                    driver.step(3)
                    signal.setitimer(signal.ITIMER_REAL, 0.0)
                except KeyboardInterrupt:
                    n_interrupted += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
        driver.finish()
        driver.check_empty()
        assert n_interrupted > 0
        check_single(driver, ids, requests)


def test_a_failure_of_llama_cpp_fails_everything_that_was_not_done() -> None:
    # rows that the table of positions does not have; Model itself refuses so many tokens
    with rys.Model(models.positions(12), n_ctx=64, n_threads=1) as model:
        scheduler = _core.Scheduler(model._session.context(), 64)
        kind = _core.RequestKind.next_token
        (first,) = scheduler.insert([_core.Request(kind, [1, 2])])
        assert scheduler.advance(1.0)
        ids = scheduler.insert([_core.Request(kind, [1]), _core.Request(kind, [1] * 20)])
        with pytest.raises(rys.errors.EngineError, match="GGML_ASSERT"):
            scheduler.advance(1.0)
        done = dict(iter(scheduler.next, None))
        assert done.pop(first).state == _core.Finish.length
        assert list(done) == ids
        assert all("GGML_ASSERT" in result.error for result in done.values())
        assert scheduler.advance(1.0)
        assert scheduler.n_kept == 0
