"""The family of moves: a walk that leads back to its start, or not."""

from __future__ import annotations

import random
from collections.abc import Sequence

from rys.probes.families.words import YES_NO
from rys.probes.questions import Question

__all__ = ["navigate"]

_DIRECTIONS = ("forward", "right", "backward", "left")
_TURNS = ("", "Turn right. ", "Turn around. ", "Turn left. ")
_MOST_STEPS = 9  # in one move

_Move = tuple[int, int]  # a direction, 0..3 as in _DIRECTIONS, and 1..9 steps


def navigate(rng: random.Random, n: int) -> Question:
    """Ask whether n moves, at least 2, lead back to their start."""
    moves = _loop(rng, n)
    answer = rng.choice(YES_NO)
    if answer == "No":  # one move is off, so that both answers look alike
        k = rng.randrange(n)
        moves[k] = _spoiled(rng, moves[k])
    if rng.random() < 0.5:
        intro = "You follow these instructions and face the same way all the time."
        parts = _facing_forward(moves)
    else:
        intro = "You follow these instructions, always walking the way that you face."
        parts = _turning(moves)
    text = f"{intro} {' '.join(parts)} Are you back at the point where you started?"
    return Question(text=text, answer=answer, choices=YES_NO)


def _loop(rng: random.Random, n: int) -> list[_Move]:
    """Return n moves that lead back to their start."""
    # No single move along an axis: nothing could lead back. Both axes occur where there are enough.
    possible = [k for k in range(n + 1) if k not in (1, n - 1) and (n < 5 or 0 < k < n)]
    n_along = rng.choice(possible)
    moves: list[_Move] = []
    for axis, count in ((0, n_along), (1, n - n_along)):
        for step in _steps_back(rng, count):
            moves.append((axis if step > 0 else axis + 2, abs(step)))
    rng.shuffle(moves)
    return moves


def _steps_back(rng: random.Random, count: int) -> list[int]:
    """Return steps along an axis, each -9..9 without 0, that add up to 0."""
    steps: list[int] = []
    while count:
        steps = []
        for _ in range(count - 1):
            steps.append(rng.choice((-1, 1)) * rng.randrange(1, _MOST_STEPS + 1))
        steps.append(-sum(steps))
        if 1 <= abs(steps[-1]) <= _MOST_STEPS:
            break
    return steps


def _spoiled(rng: random.Random, move: _Move) -> _Move:
    """Return a move in the opposite direction, or of other steps."""
    direction, steps = move
    if rng.random() < 0.3:
        return (direction + 2) % 4, steps
    # An odd difference would show in the sum of all steps, which is even for every way back.
    others = [other for other in range(1, _MOST_STEPS + 1) if abs(other - steps) in (2, 4)]
    return direction, rng.choice(others)


def _format_steps(steps: int) -> str:
    return f"{steps} step{'s' * (steps > 1)}"


def _facing_forward(moves: Sequence[_Move]) -> list[str]:
    """Return instructions for somebody who faces the same way all the time."""
    return [f"Go {_format_steps(steps)} {_DIRECTIONS[direction]}." for direction, steps in moves]


def _turning(moves: Sequence[_Move]) -> list[str]:
    """Return instructions for somebody who turns before walking."""
    parts = []
    heading = 0
    for direction, steps in moves:
        turn = _TURNS[(direction - heading) % 4]
        parts.append(f"{turn}Walk {_format_steps(steps)}.")
        heading = direction
    return parts
