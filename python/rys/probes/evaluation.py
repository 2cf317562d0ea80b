"""Items of several probes, put to models on the same weights: all requests in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rys._util import checks
from rys.engine.prepare import PreparedRequests
from rys.errors import ProbeError
from rys.probes.base import Item, Probe, Reading, SearchSplit, choose
from rys.probes.floors import best_constant
from rys.probes.parsers.thinking import remove_thinking
from rys.probes.preflight import Floors
from rys.probes.prompter import Prompter
from rys.probes.registry import load
from rys.probes.result import ProbeResult
from rys.probes.scoring import read_answer, score_answer
from rys.requests import FailedRequest, Generate, GenerateResult, Request, Result

if TYPE_CHECKING:
    from rys.engine.model import Model

__all__ = ["Evaluation", "evaluate"]

_N_ENDING = 24  # tokens at a prompt's end that may open a thinking block


def evaluate(
    model: Model,
    probes: Probe | str | Sequence[Probe | str],
    *,
    n: int = 64,
    split: SearchSplit = "search",
    seed: int = 0,
    thinking: bool = False,
    thinking_budget: int = 1024,
    progress: bool = False,
) -> dict[str, ProbeResult]:
    """Put probes to a model.

    Args:
        model: The model, along any path.
        probes: Probes or their names, see `rys.probes.load`.
        n: Items of each probe, at most.
        split: "search", "confirm" or "calibrate", which never share an item.
        seed: Which items.
        thinking: Let a model that can think do so where it writes. Off: `enable_thinking=False`
            goes to the template.
        thinking_budget: Tokens that thinking may take, apart from the answer's own.
        progress: Show a progress bar.

    Returns:
        The results by the probes' ids. The score of a request that fails alone is 0, and
        `ProbeResult.errors` says why.

    Raises:
        ProbeError: A probe cannot be loaded or used.
        RequestError: A prompt is impossible for the model; also what `Model.run` raises.
    """
    evaluation = Evaluation(
        model,
        probes,
        n=n,
        split=split,
        seed=seed,
        thinking=thinking,
        thinking_budget=thinking_budget,
    )
    return evaluation.run(model, progress=progress)


@dataclass(frozen=True)
class _ProbeItems:
    """The items of one probe.

    Attributes:
        probe: The probe.
        items: Its items.
        spans: Where each item's requests stand among all requests of the evaluation.
        floor: What the best constant answer to all items scores, and that answer.
    """

    probe: Probe
    items: list[Item]
    spans: list[slice]
    floor: tuple[float, str]

    def part(self, which: slice) -> _ProbeItems:
        """Return some of the items. The floor stays that of all."""
        return replace(self, items=self.items[which], spans=self.spans[which])


class Evaluation:
    """Items of probes with their requests in tokens, ready to be run along any path of a model.

    Attributes:
        split: The split that the items are from.
        seed: The seed that chose them.
    """

    def __init__(
        self,
        model: Model,
        probes: Probe | str | Sequence[Probe | str],
        *,
        n: int = 64,
        split: SearchSplit = "search",
        seed: int = 0,
        thinking: bool = False,
        thinking_budget: int = 1024,
    ) -> None:
        """Make the items and put their requests into tokens.

        The arguments are those of `evaluate`.

        Raises:
            ProbeError: A probe cannot be loaded, is given twice, or has no items.
            RequestError: A number is out of range, or a prompt is impossible for the model.
        """
        choose("split", split, ["search", "confirm", "calibrate"])
        n = checks.integer("n", n, 1)
        thinking_budget = checks.integer("thinking_budget", thinking_budget, 0)
        self.split: SearchSplit = split
        self.seed = seed
        self._fingerprint = model.fingerprint
        prompter = Prompter(model, thinking=thinking, thinking_budget=thinking_budget)
        plain_prompter = Prompter(model, plain=True)  # a plain text leaves no room for thinking
        requests: list[Request] = []
        self._probe_items: list[_ProbeItems] = []
        for probe in _loaded(probes):
            items = probe.items(n, seed, split)
            if not items:
                raise ProbeError(f"probe {probe.id!r} has no items in the split {split!r}")
            spans = []
            for item in items:
                start = len(requests)
                asked_by = plain_prompter if item.plain else prompter
                requests += item.scorer.requests(item.prompt, asked_by)
                spans.append(slice(start, len(requests)))
            self._probe_items.append(_ProbeItems(probe, items, spans, best_constant(items)))
        self._requests = model.prepare(requests)
        self._thinks_at_once = _open_thinking(model, requests, self._requests)

    @property
    def probes(self) -> list[Probe]:
        """The probes, in order."""
        return [mine.probe for mine in self._probe_items]

    def items(self, probe: str) -> list[Item]:
        """Return the items of a probe, by its id."""
        return self._of(probe).items

    def _of(self, probe: str) -> _ProbeItems:
        return next(mine for mine in self._probe_items if mine.probe.id == probe)

    def floors(self, probe: str) -> Floors:
        """Return what a probe's items give to answers that know nothing, by the probe's id."""
        mine = self._of(probe)
        best, constant = mine.floor
        return Floors(_mean_chance(mine.items), best_constant=best, constant=constant)

    def n_prompt_tokens(self, stop: int | None = None) -> int:
        """Return the tokens of the prompts, where beginnings that several share count once.

        Args:
            stop: Of the items of each probe that are asked; None = all.
        """
        parts = [mine.part(slice(0, stop)) for mine in self._probe_items]
        prompts: list[list[int]] = []
        for span in (span for part in parts for span in part.spans):
            prompts += [self._requests[i].tokens for i in range(span.start, span.stop)]
        # In sorted order, each prompt shares its longest known beginning with the one before it.
        total = 0
        before: list[int] = []
        for prompt in sorted(prompts):
            total += len(prompt) - _n_common(before, prompt)
            before = prompt
        return total

    def run(
        self, model: Model, start: int = 0, stop: int | None = None, progress: bool = False
    ) -> dict[str, ProbeResult]:
        """Put the items to a model.

        Args:
            model: A model on the weights that the evaluation was made for.
            start: The first item of each probe.
            stop: The end of the items of each probe; None = all.
            progress: Show a progress bar.

        Returns:
            The results by the probes' ids. A probe that has no items in this part is left out.

        Raises:
            ProbeError: The model is on other weights, or a scorer failed. Also what `Model.run`
                raises.
        """
        if model.fingerprint != self._fingerprint:
            raise ProbeError(
                "the evaluation was made for another model file; make one for this model"
            )
        parts = [mine.part(slice(start, stop)) for mine in self._probe_items]
        parts = [part for part in parts if part.items]
        spans = [span for part in parts for span in part.spans]
        began = time.perf_counter()
        results = self._results(model, spans, progress)
        seconds = time.perf_counter() - began

        of_probes: list[list[list[Result]]] = []
        for part in parts:
            of_probes.append(results[: len(part.items)])
            results = results[len(part.items) :]
        # The probes share the time of the run by the tokens that were evaluated for them. At least
        # one each, for a probe whose requests all failed.
        costs = list(map(_n_evaluated, of_probes))
        total = sum(max(1, cost) for cost in costs)
        found: dict[str, ProbeResult] = {}
        for part, mine, cost in zip(parts, of_probes, costs, strict=True):
            share = max(1, cost) / total
            path = str(model.layer_path)
            found[part.probe.id] = _probe_result(part, mine, path, cost, seconds * share)
        return found

    def _results(self, model: Model, spans: Sequence[slice], progress: bool) -> list[list[Result]]:
        """Run the requests of some items and return the results of each item."""
        wanted = [i for span in spans for i in range(span.start, span.stop)]
        requests = PreparedRequests(self._requests[i] for i in wanted)
        # a score must not depend on what was evaluated before, not even in its rounding
        results = model.run(requests, progress, cache_prompt=False)
        for k, (i, result) in enumerate(zip(wanted, results, strict=True)):
            # The prompt opened the block, so the answer has no opening tag: it gets one, for
            # remove_thinking to see also a block that never ends.
            if i in self._thinks_at_once and isinstance(result, GenerateResult):
                results[k] = replace(result, text=f"<think>{result.text}")
        of_items, n_done = [], 0
        for span in spans:
            n_request = span.stop - span.start
            of_items.append(results[n_done : n_done + n_request])
            n_done += n_request
        return of_items


def _loaded(probes: Probe | str | Sequence[Probe | str]) -> list[Probe]:
    """Return probes that may be given by their names. Raises ProbeError for none, or one twice."""
    chosen = [probes] if isinstance(probes, (Probe, str)) else list(probes)
    loaded = [load(probe) if isinstance(probe, str) else probe for probe in chosen]
    ids = [probe.id for probe in loaded]
    if not ids or len(set(ids)) < len(ids):
        raise ProbeError(f"the probes are {ids}; give at least one, and each once")
    return loaded


def _open_thinking(
    model: Model, requests: Sequence[Request], prepared: PreparedRequests
) -> set[int]:
    """Return which requests have a prompt whose end opens a thinking block.

    The model then writes the end of the block, or not even that. Whether the template opens one
    can depend on the messages, so it is looked up in every prompt; its tokens are at hand, and the
    last of them in text are enough.
    """
    found: set[int] = set()
    if not model.has_tokenizer:
        return found
    for i, request in enumerate(requests):
        if isinstance(request, Generate):
            ending = model.detokenize(prepared[i].tokens[-_N_ENDING:], special=True)
            last_line = ending.rstrip().rpartition("\n")[2]
            if remove_thinking(last_line)[1]:
                found.add(i)
    return found


def _n_common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the length of the common beginning of two prompts."""
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return place
    return min(len(first), len(second))


def _n_evaluated(results: Sequence[Sequence[Result]]) -> int:
    """Return the number of tokens that the model evaluated for a probe: its share of the cost."""
    n = 0
    for of_item in results:
        for result in of_item:
            if not isinstance(result, FailedRequest):
                n += result.n_prompt_tokens - result.n_shared_tokens + _n_generated(result)
    return n


def _n_generated(result: Result) -> int:
    return len(result.tokens) if isinstance(result, GenerateResult) else 0


def _mean_chance(items: Sequence[Item]) -> float:
    return float(np.mean([item.scorer.chance for item in items]))


def _probe_result(
    mine: _ProbeItems,
    results: Sequence[Sequence[Result]],
    layer_path: str,
    n_evaluated: int,
    seconds: float,
) -> ProbeResult:
    """Return the result of a probe: read and score the answers to its items."""
    readings: list[Reading] = []
    errors: list[str | None] = []
    scores: list[float] = []
    n_prompt = n_generated = 0
    for item, of_item in zip(mine.items, results, strict=True):
        reading, error = _reading(item, of_item)
        readings.append(reading)
        errors.append(error)
        # What cannot be read scores 0: leaving it out would favour paths that break the format.
        scores.append(0.0 if reading.answer is None else score_answer(item, reading.answer))
        for result in of_item:
            if not isinstance(result, FailedRequest):
                n_prompt += result.n_prompt_tokens
                n_generated += _n_generated(result)
    parsed = [reading.answer is not None for reading in readings]
    truncated = [reading.truncated for reading in readings]
    return ProbeResult(
        probe=f"{mine.probe.id}:{mine.probe.version}",
        layer_path=layer_path,
        items=mine.items,
        scores=np.array(scores, dtype=np.float64),
        parsed=np.array(parsed),
        truncated=np.array(truncated),
        answers=[reading.text for reading in readings],
        errors=errors,
        details=list(map(_details, readings)),
        chance=_mean_chance(mine.items),
        best_constant=mine.floor[0],
        constant=mine.floor[1],
        n_prompt_tokens=n_prompt,
        n_evaluated_tokens=n_evaluated,
        n_generated_tokens=n_generated,
        seconds=seconds,
    )


def _details(reading: Reading) -> dict[str, float]:
    return dict(reading.details)


def _reading(item: Item, results: Sequence[Result]) -> tuple[Reading, str | None]:
    """Return what is read from an item's results, and why one of its requests failed."""
    for result in results:
        if isinstance(result, FailedRequest):
            return Reading(answer=None, text=""), str(result.error)
    return read_answer(item, results), None
