"""Items of several probes, put to models on the same weights: all requests in one run."""

from __future__ import annotations

import reprlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rys.engine import options
from rys.engine.prepare import PreparedRequests
from rys.errors import ProbeError
from rys.probes.answers import remove_thinking
from rys.probes.base import Item, Probe, Reading, SearchSplit
from rys.probes.prompter import Prompter
from rys.probes.result import ProbeResult
from rys.requests import FailedRequest, Generate, GenerateResult, Request, Result

if TYPE_CHECKING:
    from rys.engine.model import Model

__all__ = ["Evaluation", "best_constant", "evaluate"]

Floats = npt.NDArray[np.float64]
_N_CONSTANTS = 64  # constant answers that are tried, at most
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
    """Put probes to a model and return their results by the probes' ids.

    probes: probes or their names, see rys.probes.load.
    n: items of each probe, at most.
    split: "search" or "confirm", which never share an item. seed: which items.
    thinking: let a model think that can, for thinking_budget tokens more. Off:
        `enable_thinking=False` goes to the template.
    progress: show a progress bar.

    Raises ProbeError, RequestError (a prompt is impossible for the model) and what Model.run
    raises. A request that fails alone scores 0; ProbeResult.errors holds why.
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
class _Paper:
    """Hold one probe's items, and where their requests stand among all; and what the best constant
    answer scores.
    """

    probe: Probe
    items: list[Item]
    spans: list[slice]
    floor: tuple[float, str]


class Evaluation:
    """Hold the items of probes with their requests in tokens, ready to be run along any path of a
    model.
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
        from rys.probes import load

        if split not in ("search", "confirm"):
            raise ProbeError(f'split is {split!r}, but must be "search" or "confirm"')
        n = options.integer("n", n, 1)
        thinking_budget = options.integer("thinking_budget", thinking_budget, 0)
        chosen = [probes] if isinstance(probes, (Probe, str)) else list(probes)
        loaded = [load(probe) if isinstance(probe, str) else probe for probe in chosen]
        ids = [probe.id for probe in loaded]
        if not ids or len(set(ids)) < len(ids):
            raise ProbeError(f"the probes are {ids}; give at least one, and each once")

        self.split: SearchSplit = split
        self.seed = seed
        self._fingerprint = model.fingerprint
        requests: list[Request] = []
        self._papers: list[_Paper] = []
        prompter = Prompter(model, thinking=thinking, thinking_budget=thinking_budget)
        for probe in loaded:
            items = probe.items(n, seed, split)
            if not items:
                raise ProbeError(f"probe {probe.id!r} has no items in the split {split!r}")
            spans = []
            for item in items:
                start = len(requests)
                requests += item.scorer.requests(item.prompt, prompter)
                spans.append(slice(start, len(requests)))
            self._papers.append(_Paper(probe, items, spans, best_constant(items)))
        self._requests = model.prepare(requests)
        self._thinks_at_once = {  # requests whose prompt ends with an open thinking block
            i
            for i, request in enumerate(requests)
            if isinstance(request, Generate) and _opens_thinking(model, self._requests[i].tokens)
        }

    @property
    def probes(self) -> list[Probe]:
        """The probes, in order."""
        return [paper.probe for paper in self._papers]

    def items(self, probe: str) -> list[Item]:
        """Return the items of a probe, by its id."""
        return next(paper.items for paper in self._papers if paper.probe.id == probe)

    def stored_result(
        self, probe: str, layer_path: str, scores: Floats, parsed: Floats, truncated: Floats
    ) -> ProbeResult:
        """Return a result of all items of a probe from scores that were kept; texts and costs are
        not among them.
        """
        paper = next(paper for paper in self._papers if paper.probe.id == probe)
        n = len(scores)
        return ProbeResult(
            probe=f"{paper.probe.id}:{paper.probe.version}", layer_path=layer_path, items=paper.items[:n],
            scores=scores, parsed=parsed.astype(bool), truncated=truncated.astype(bool), answers=[""] * n,
            errors=[None] * n, details=[{} for _ in range(n)],
            chance=float(np.mean([item.scorer.chance for item in paper.items])),
            best_constant=paper.floor[0], constant=paper.floor[1],
            n_prompt_tokens=0, n_evaluated_tokens=0, n_generated_tokens=0, seconds=0.0,
        )  # fmt: skip

    def run(
        self, model: Model, start: int = 0, stop: int | None = None, progress: bool = False
    ) -> dict[str, ProbeResult]:
        """Put the items to a model and return the results by the probes' ids.

        model: on the weights that the evaluation was made for; another is refused with ProbeError.
        start, stop: only these items of each probe.
        """
        if model.fingerprint != self._fingerprint:
            raise ProbeError(
                "the evaluation was made for another model file; make one for this model"
            )
        part = slice(start, stop)
        papers = [
            _Paper(p.probe, p.items[part], p.spans[part], p.floor)
            for p in self._papers
            if p.items[part]
        ]
        wanted = [
            i for paper in papers for span in paper.spans for i in range(span.start, span.stop)
        ]
        began = time.perf_counter()
        results = model.run(PreparedRequests(self._requests[i] for i in wanted), progress)
        seconds = time.perf_counter() - began
        for k, (i, result) in enumerate(zip(wanted, results, strict=True)):
            if i in self._thinks_at_once and isinstance(result, GenerateResult):
                results[k] = replace(result, text=f"<think>{result.text}")

        found: dict[str, ProbeResult] = {}
        n_done, costs = 0, []
        split_results: list[list[list[Result]]] = []
        for paper in papers:
            mine: list[list[Result]] = []
            for span in paper.spans:
                mine.append(results[n_done : n_done + span.stop - span.start])
                n_done += span.stop - span.start
            split_results.append(mine)
            costs.append(_evaluated(mine))
        for paper, mine, cost in zip(papers, split_results, costs, strict=True):
            share = max(1, cost) / sum(max(1, cost) for cost in costs)
            found[paper.probe.id] = _mark(paper, mine, str(model.layer_path), cost, seconds * share)
        return found


def _opens_thinking(model: Model, prompt: Sequence[int]) -> bool:
    """Return whether the template opened a thinking block, of which the model writes the end, or
    not even that.
    """
    ending = model.detokenize(prompt[-_N_ENDING:], special=True) if model.has_tokenizer else ""
    return remove_thinking(ending.rstrip().rpartition("\n")[2])[1]


def _evaluated(results: list[list[Result]]) -> int:
    n = 0
    for result in (r for item in results for r in item):
        if not isinstance(result, FailedRequest):
            n += result.n_prompt_tokens - result.n_shared_tokens + _generated(result)
    return n


def _generated(result: Result) -> int:
    return len(result.tokens) if isinstance(result, GenerateResult) else 0


def _mark(
    paper: _Paper, results: list[list[Result]], layer_path: str, n_evaluated: int, seconds: float
) -> ProbeResult:
    readings: list[Reading] = []
    errors: list[str | None] = []
    for item, mine in zip(paper.items, results, strict=True):
        failed = next((result for result in mine if isinstance(result, FailedRequest)), None)
        if failed is None:
            readings.append(read(item, mine))
            errors.append(None)
        else:
            readings.append(Reading(answer=None, text=""))
            errors.append(str(failed.error))
    scores = [
        0.0 if reading.answer is None else marked(item, reading.answer)
        for item, reading in zip(paper.items, readings, strict=True)
    ]
    flat = [result for mine in results for result in mine if not isinstance(result, FailedRequest)]
    return ProbeResult(
        probe=f"{paper.probe.id}:{paper.probe.version}",
        layer_path=layer_path,
        items=paper.items,
        scores=np.array(scores, dtype=np.float64),
        parsed=np.array([reading.answer is not None for reading in readings]),
        truncated=np.array([reading.truncated for reading in readings]),
        answers=[reading.text for reading in readings],
        errors=errors,
        details=[dict(reading.details) for reading in readings],
        chance=float(np.mean([item.scorer.chance for item in paper.items])),
        best_constant=paper.floor[0],
        constant=paper.floor[1],
        n_prompt_tokens=sum(result.n_prompt_tokens for result in flat),
        n_evaluated_tokens=n_evaluated,
        n_generated_tokens=sum(map(_generated, flat)),
        seconds=seconds,
    )


def read(item: Item, results: Sequence[Result]) -> Reading:
    """Return what the item's scorer reads. Raises ProbeError if it fails."""
    try:
        return item.scorer.read(results)
    except Exception as error:  # a scorer may be anybody's
        raise ProbeError(
            f"item {item.id}: its scorer cannot read the results: {error!r}"
        ) from error


def marked(item: Item, answer: Any) -> float:
    """Return the score of an answer.

    Raises ProbeError if its scorer fails, or if the score is not in [0, 1].
    """
    try:
        score = float(item.scorer.score(answer))
    except Exception as error:  # a scorer may be anybody's
        raise ProbeError(
            f"item {item.id}: its scorer cannot mark {reprlib.repr(answer)}: {error!r}"
        ) from error
    if not 0 <= score <= 1:
        raise ProbeError(
            f"item {item.id}: {reprlib.repr(answer)} is marked {score}, but a mark must be in [0, 1]"
        )
    return score


def best_constant(items: Sequence[Item]) -> tuple[float, str]:
    """Return the best mean score that one answer to every item would reach, and that answer.

    Tried are the scorers' constants; where there are none, the most frequent right answers. Items
    that have their constants nearly for themselves, such as choices of their own, are tried by the
    place among these: else every item would have a constant that is right.
    """
    kinds: dict[str, list[Item]] = {}
    for item in items:
        # an answer is constant among items that can be given it: letters of four and of five
        # options differ
        kinds.setdefault(repr((type(item.scorer).__name__, item.scorer.constants)), []).append(item)
    total, words = 0.0, []
    groups = list(kinds.values())
    few = [group for group in groups if len(group) <= len(group[0].scorer.constants)]
    if len(few) > 1:
        groups = [group for group in groups if len(group) > len(group[0].scorer.constants)]
        total, place = _best_place([item for group in few for item in group])
        words.append(f"choice {place + 1}")
    for group in groups:
        tried = list(group[0].scorer.constants) or [item.scorer.target for item in group]
        answers = {repr(answer): answer for answer in tried}
        distinct = [
            answers[text] for text, _ in Counter(map(repr, tried)).most_common(_N_CONSTANTS)
        ]
        scores = [sum(marked(item, answer) for item in group) for answer in distinct]
        best = int(np.argmax(scores))
        total += scores[best]
        words.append(str(distinct[best]))
    return total / len(items), " / ".join(dict.fromkeys(words))


def _best_place(items: Sequence[Item]) -> tuple[float, int]:
    """Return what the constants at the best place score in total, and that place."""
    scores = [
        sum(
            marked(item, item.scorer.constants[k])
            for item in items
            if k < len(item.scorer.constants)
        )
        for k in range(max(len(item.scorer.constants) for item in items))
    ]
    best = int(np.argmax(scores))
    return scores[best], best
