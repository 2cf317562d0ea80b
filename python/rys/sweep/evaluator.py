"""The evaluation of candidates behind one small interface.

A sweep decides what to evaluate, an evaluator evaluates it, and the sweep writes the result to its
file. An evaluator knows neither the file nor the strategy, so it may run elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rys.engine.model import Model
from rys.errors import RysError
from rys.layer_path import LayerPath
from rys.probes import Evaluation, ProbeResult
from rys.sweep.trial import Stage

__all__ = ["Evaluator", "ItemScores", "LocalEvaluator", "Measurement", "Task"]


@dataclass(frozen=True)
class Task:
    """Some items of a stage along one path.

    Attributes:
        stage: The stage, which has items of its own.
        layer_path: The path.
        start: Position of the first item of each probe.
        stop: Position after the last; None for all.
    """

    stage: Stage
    layer_path: LayerPath
    start: int = 0
    stop: int | None = None


@dataclass(frozen=True)
class ItemScores:
    """Scores of the n items of one probe.

    Attributes:
        scores: float64 [n], in [-1, 1].
        parsed: bool [n], whether an answer could be read.
        truncated: bool [n], whether the model was cut off before an answer.
        answers: The n answers as the model gave them.
        n_evaluated_tokens: Tokens that the model evaluated.
        seconds: Time of the model, in seconds.
    """

    scores: npt.NDArray[np.float64]
    parsed: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    answers: Sequence[str]
    n_evaluated_tokens: int
    seconds: float

    @classmethod
    def of(cls, result: ProbeResult) -> ItemScores:
        """Return the part of a probe's result that a sweep keeps."""
        return cls(
            scores=result.scores,
            parsed=result.parsed,
            truncated=result.truncated,
            answers=result.answers,
            n_evaluated_tokens=result.n_evaluated_tokens,
            seconds=result.seconds,
        )


@dataclass(frozen=True)
class Measurement:
    """What came of a task.

    Attributes:
        scores: Scores by probe; empty if the path could not be evaluated at all. Probes without
            items in the task's range are left out.
        failure: Why the path or some of its items failed, "" if none did.
        error: The exception behind a path that could not be evaluated at all, where it was raised
            in this process.
    """

    # By probe id. Whoever evaluates elsewhere must be able to send this as plain data.
    scores: Mapping[str, ItemScores] = field(default_factory=dict)
    failure: str = ""
    error: RysError | None = None


class Evaluator(Protocol):
    """What evaluates candidates: a model in this process, or workers elsewhere."""

    def evaluate(self, task: Task) -> Measurement:
        """Evaluate a task. A failure is part of the result, not an exception."""


class LocalEvaluator:
    """The evaluation of candidates by a model in this process.

    Args:
        model: The model, with any path.
        evaluations: The items of each stage, ready to be run along any path of the model.
    """

    def __init__(self, model: Model, evaluations: Mapping[Stage, Evaluation]) -> None:
        self._model = model
        self._evaluations = evaluations

    def evaluate(self, task: Task) -> Measurement:
        """Evaluate a task on a view of the model."""
        evaluation = self._evaluations[task.stage]
        # What fails along one path, such as NaN logits or a full context, must not end the sweep.
        try:
            with self._model.with_path(task.layer_path) as view:
                results = evaluation.run(view, task.start, task.stop)
        except RysError as error:
            return Measurement(failure=f"{type(error).__name__}: {error}", error=error)
        scores, failures = {}, []
        for probe, result in results.items():
            scores[probe] = ItemScores.of(result)
            failures += [error for error in result.errors if error]
        failure = f"{len(failures)} items failed: {failures[0]}" if failures else ""
        return Measurement(scores, failure)
