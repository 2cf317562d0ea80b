"""The way of a measurement: from the sweep to the evaluator, and from there to the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rys.sweep.budget import Budget
from rys.sweep.evaluator import Evaluator, ItemScores, Measurement, Task
from rys.sweep.store import Store
from rys.sweep.trial import Role, Status

__all__ = ["Measurer"]


class Measurer:
    """The evaluation of tasks, each saved to the sweep's file as soon as it is done.

    Args:
        store: The sweep's file.
        evaluator: What evaluates the tasks.
        budget: What the sweep may spend; evaluated tokens are added to it.
        on_measured: Called after each task with a dict: stage, role, layer_path, status, reason,
            n_items, score and seconds.
    """

    def __init__(
        self,
        store: Store,
        evaluator: Evaluator,
        budget: Budget,
        on_measured: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._store = store
        self._evaluator = evaluator
        self.budget = budget
        self._on_measured = on_measured

    def measure(self, task: Task, role: Role, *, is_last: bool = True) -> Measurement:
        """Evaluate a task, and save what came of it.

        Args:
            task: What to evaluate.
            role: What the path is tried for.
            is_last: Whether the path is done with these items.

        Returns:
            What was measured. A path that failed is saved as failed.

        Raises:
            RysError: The baseline cannot be evaluated; nothing was saved.
        """
        found = self._evaluator.evaluate(task)
        # Without a baseline there is nothing to compare with.
        if role == Role.BASELINE and found.error is not None:
            raise found.error
        status = Status.DONE if is_last else Status.PARTIAL
        # Whether items that the baseline failed on can measure, the preflight decides.
        if found.failure and role != Role.BASELINE:
            status = Status.FAILED
        self._store.save(
            task.stage, role, task.layer_path, found.scores, task.start, status, found.failure
        )
        self._tell(task, role, status, found)
        for part in found.scores.values():
            self.budget.tokens_spent += part.n_evaluated_tokens
        return found

    def repeat(self, task: Task) -> Mapping[str, ItemScores]:
        """Evaluate a task of the baseline once more, and save nothing.

        Returns:
            Its scores by probe.

        Raises:
            RysError: It cannot be evaluated.
        """
        found = self._evaluator.evaluate(task)
        if found.error is not None:
            raise found.error
        for part in found.scores.values():
            self.budget.tokens_spent += part.n_evaluated_tokens
        return found.scores

    def measure_once(self, task: Task, role: Role) -> None:
        """Evaluate a task unless its path is done or has failed already."""
        path = str(task.layer_path)
        for trial in self._store.trials(task.stage):
            if trial.path == path and trial.status in (Status.DONE, Status.FAILED):
                return
        self.measure(task, role)

    def _tell(self, task: Task, role: Role, status: Status, found: Measurement) -> None:
        if self._on_measured is None:
            return
        n_items, seconds, means = 0, 0.0, {}
        for probe, part in found.scores.items():
            n_items = max(n_items, len(part.scores))
            seconds += part.seconds
            means[probe] = float(part.scores.mean())
        told = {
            "stage": task.stage.value,
            "role": role.value,
            "layer_path": str(task.layer_path),
            "status": status.value,
            "reason": found.failure,
            "n_items": task.start + n_items,
            "score": means,
            "seconds": seconds,
        }
        self._on_measured(told)
