"""Shown examples ("shots"): worked questions and answers that stand before an item's question.

They are earlier turns of the conversation. All items of a family show the same examples, so a run
evaluates them once. They come from the split "examples", of which nothing is ever asked.
"""

from __future__ import annotations

from collections.abc import Iterable

from rys._util import checks
from rys.probes.prompter import Messages

__all__ = ["EXAMPLE_SEED", "FORMS", "MAX_SHOTS", "STYLES", "check_shots", "turns", "with_examples"]

# How a question is asked: with the model's chat template, or as a plain text for all models. Small
# chat models continue a plain text with examples far better than a conversation.
STYLES = ("chat", "plain")

# What a calibration tries, the form to try first in front: style and number of examples.
FORMS = (("plain", 6), ("chat", 6), ("plain", 2), ("chat", 0))

MAX_SHOTS = 64

# The same examples for every seed of the items: a search and its confirmation differ in their
# questions alone.
EXAMPLE_SEED = 0


def check_shots(shots: int) -> int:
    """Return a number of examples, or raise RequestError if it is out of range."""
    return checks.integer("shots", shots, 0, MAX_SHOTS)


def turns(examples: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Return questions and answers as messages, in turn."""
    messages = []
    for question, answer in examples:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages


def with_examples(messages: list[dict[str, str]], prompt: str) -> str | Messages:
    """Return a prompt after examples; without any, the prompt itself.

    Args:
        messages: The examples, as `turns` makes them.
        prompt: The question.
    """
    if not messages:
        return prompt
    return [*messages, {"role": "user", "content": prompt}]
