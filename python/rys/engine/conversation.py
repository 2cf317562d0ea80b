"""Which messages of a conversation stay when the context is full."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["drop_oldest", "room_for_prompt"]

_INSTRUCTIONS = ("system", "developer")


def room_for_prompt(n_ctx: int, max_tokens: int | None) -> int:
    """Return how many tokens a prompt may have so that an answer still fits.

    Args:
        n_ctx: Tokens that a request may have.
        max_tokens: Those of the answer; None = until the context is full.
    """
    # a long limit is seldom used up, and must not push the conversation out
    answer = n_ctx // 4 if max_tokens is None else min(max_tokens, n_ctx // 2)
    return n_ctx - answer


def drop_oldest(
    messages: Sequence[Mapping[str, Any]], fits: Callable[[Sequence[Mapping[str, Any]]], bool]
) -> Sequence[Mapping[str, Any]]:
    """Return a conversation without as many of its oldest turns as must go.

    A turn begins with a message of the user and is dropped as a whole, so that roles still
    alternate and no result of a tool is left without its call. System messages at the beginning
    stay, and so does the last turn, whether it fits or not.

    Args:
        messages: The conversation.
        fits: Whether messages fit.
    """
    if fits(messages):
        return messages
    n_instructions = 0
    while n_instructions < len(messages) and messages[n_instructions]["role"] in _INSTRUCTIONS:
        n_instructions += 1
    instructions = list(messages[:n_instructions])
    starts = []
    for place in range(n_instructions + 1, len(messages)):
        if messages[place]["role"] == "user":
            starts.append(place)
    if not starts:
        return messages
    # The first start from which on all fits. Shorter conversations have fewer tokens.
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if fits([*instructions, *messages[starts[middle] :]]):
            high = middle
        else:
            low = middle + 1
    return [*instructions, *messages[starts[low] :]]
