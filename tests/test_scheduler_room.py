"""Batches that find no room, and what requests leave behind in the memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import rys
from rys import Generate, NextToken
from rys.requests import FailedRequest
from support import models
from support.driver import Driver, check_single

PREFIX = [1] + [7] * 60


@pytest.fixture(scope="module")
def model() -> Iterator[rys.Model]:
    with models.open_tiny(n_ctx=256, n_seq_max=4, n_batch=16) as model:
        yield model


# no room


def occupy(driver: Driver, n_tokens: int) -> None:
    """Hold cells of sequence 1 that another scheduler does not know of; sequence 0 is free."""
    driver.insert([Generate([1, 5], max_tokens=1), NextToken([1] + [9] * 250)])
    while driver.scheduler.n_tokens < n_tokens:
        driver.step()


def test_requests_that_find_no_room_are_evaluated_one_by_one(model: rys.Model) -> None:
    other, driver = Driver(model), Driver(model)
    occupy(other, 200)
    requests = [NextToken([*PREFIX, *[9] * 20, i]) for i in range(3)]
    ids = driver.insert(requests)
    driver.finish()
    driver.check_empty()
    check_single(driver, ids, requests)


def test_a_request_that_finds_no_room_fails_alone(model: rys.Model) -> None:
    other, driver = Driver(model), Driver(model)
    occupy(other, 200)
    (large,) = driver.insert([NextToken([1] + [9] * 99)])
    driver.finish()
    later = driver.insert([NextToken([3, 4])])
    driver.finish()
    driver.check_empty()
    failed = driver.results[large]
    assert isinstance(failed, FailedRequest)
    assert "no room in the KV cache" in str(failed.error)
    check_single(driver, later, [NextToken([3, 4])])


# what is left behind


@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_behind_is_given_back(model: rys.Model, seed: int) -> None:
    driver = Driver(model)
    rng = random.Random(seed)
    prompts = [PREFIX]
    for _ in range(30):
        base = rng.choice(prompts[-5:])
        tokens = [*base[: rng.randint(1, len(base))], *[rng.randrange(5, 300)] * rng.randint(1, 60)]
        prompts.append(tokens[:200])
        requests: list[Any] = [NextToken(prompts[-1]), Generate(prompts[-1], max_tokens=20)]
        ids = driver.insert(rng.sample(requests, rng.randint(1, 2)), cache_prompt=True)
        driver.step(rng.randint(0, 25))
        if rng.random() < 0.2:
            driver.scheduler.cancel(ids)
        if rng.random() < 0.5:
            driver.finish()
    driver.finish()
    driver.insert([NextToken(prompts[-1])], cache_prompt=True)
    driver.finish()
    assert driver.free != driver.n_free
    driver.insert([NextToken([1])])
    assert driver.free == driver.n_free
    driver.finish()
    driver.check_empty()
