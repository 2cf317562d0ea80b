"""What holds in every sweep's file beyond the constraints of its tables: types, ranges, paths that
are paths.

It is looked at once, when a file is opened, so that nothing that reads the file later meets what no
sweep wrote.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

from rys.errors import LayerPathError
from rys.layer_path import MAX_SLOTS, LayerPath

if TYPE_CHECKING:
    from rys.sweep.store import Trial

__all__ = ["CONTRADICTIONS", "problem_of_meta", "problem_of_trials"]

_SCALAR = (str, bool, int, float, NoneType)
_OPTIONS = {str: (_SCALAR, [_SCALAR])}
_SHAPES = {  # see `fits`; only n_layer must be there
    "n_layer": range(1, MAX_SLOTS + 1),
    "fingerprint": str,
    "variant": _OPTIONS,
    "probes": [str],
    "space": str,
    "strategy": str,
    "items": range(1, 2**31),
    "seed": int,
    "asking": _OPTIONS,
    "rys": str,
    "llama_cpp": str,
    "top": range(1, 101),
    "min_effect": float,
    "force": bool,
    "budget": (str, NoneType),
    "model": str,
    "arguments": _OPTIONS
    | dict.fromkeys(["model", "probes", "beam"], (str, NoneType))
    | dict.fromkeys(["chat_template", "devices", "tensor_split", "lora_path"], (str, NoneType))
    | dict.fromkeys(["blocks", "repeats", "skips", "multi"], ([int], NoneType))
    | {"paths": ([str], NoneType), "start": int, "stop": (int, NoneType), "stride": int, "min_effect": float},
    "preflight": {str: [str]},
    "is_complete": bool,
    "stopped": str,
    "decided": [str],
    "notes": [str],
    "confirm": {
        "top": [[int]], "controls": [[int]], "n_items": range(1, 2**15), "n_searched": int, "min_effect": float,
        "is_complete": bool,
    },
}  # fmt: skip

# what a file has if a query finds anything
CONTRADICTIONS = {
    "an item that no sweep writes": """
        SELECT 1 FROM item WHERE stage NOT IN ('search', 'confirm') OR typeof(position) <> 'integer'
        OR 'blob' IN (typeof(probe), typeof(id), typeof(hash), typeof(family), typeof(prompt), typeof("right"))""",
    "a path that no sweep writes": """
        SELECT 1 FROM trial WHERE NOT (
            CASE stage WHEN 'search' THEN role IN ('baseline', 'candidate')
                       WHEN 'confirm' THEN role IN ('baseline', 'top', 'control') ELSE 0 END
            AND status IN ('done', 'left', 'failed', 'partial')
            AND 'blob' NOT IN (typeof(path), typeof(layers), typeof(reason))
            AND typeof(n_items) = 'integer' AND n_items BETWEEN 0 AND 1e9
            AND typeof(tokens) = 'integer' AND tokens BETWEEN 0 AND 1e15 AND seconds BETWEEN 0 AND 1e12)""",
    "a score that no sweep writes": """
        SELECT 1 FROM score WHERE NOT (
            score BETWEEN 0 AND 1 AND parsed IN (0, 1) AND truncated IN (0, 1) AND typeof(answer) = 'text')""",
    "not all items": """
        SELECT 1 FROM item GROUP BY stage, probe HAVING min(position) <> 0 OR max(position) <> count(*) - 1""",
    "a path that was measured and has no scores": """
        SELECT 1 FROM trial t WHERE status <> 'failed' AND NOT EXISTS (SELECT 1 FROM score WHERE trial = t.id)""",
    "a baseline without scores of all items": """
        SELECT 1 FROM trial t JOIN item i ON i.stage = t.stage
        LEFT JOIN score s ON s.trial = t.id AND s.probe = i.probe AND s.position = i.position
        WHERE t.role = 'baseline' AND s.trial IS NULL""",
    "a baseline with scores of other items": """
        SELECT 1 FROM trial t WHERE role = 'baseline' AND (SELECT count(*) FROM score WHERE trial = t.id)
        <> (SELECT count(*) FROM item WHERE stage = t.stage)""",
}


def fits(value: Any, shape: Any) -> bool:
    """Return whether a value, as JSON has it, is of a shape.

    shape: a type (`float` takes whole numbers as well, `object` everything), a range of whole
        numbers, a tuple for any
    of several, [shape] for a list, {name: shape} for an object that has these names. With `str`
    among them they may be missing, and `str` is for all others.
    """
    if isinstance(shape, tuple):
        return any(fits(value, one) for one in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(inner, shape[0]) for inner in value)
    if isinstance(shape, dict):
        return (
            isinstance(value, dict)
            and (str in shape or shape.keys() <= value.keys())
            and all(
                fits(inner, shape.get(name, shape.get(str, object)))
                for name, inner in value.items()
            )
        )
    if isinstance(shape, range):
        return type(value) is int and value in shape
    if shape is float:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    return shape is object or (type(value) is shape and (shape is not int or abs(value) < 2**63))


def problem_of_meta(meta: Mapping[str, Any]) -> str | None:
    """Return what cannot be right about the settings of a sweep, None if all can."""
    for name, shape in _SHAPES.items():
        if (name in meta or name == "n_layer") and not fits(meta.get(name), shape):
            return f"its {name} is {reprlib.repr(meta.get(name))}"
    return None


def problem_of_trials(trials: Iterable[Trial], n_layer: int) -> str | None:
    """Return what cannot be right about the trials of a stage, None if all can."""
    seen: set[tuple[int, ...]] = set()
    for trial in trials:
        try:
            layers = LayerPath(trial.path, n_layer).layers
        except LayerPathError as error:
            return str(error)
        if trial.layers != layers:
            return f"the layers of {trial.path!r} are {reprlib.repr(list(trial.layers))}"
        if (trial.role == "baseline") != (layers == tuple(range(n_layer))):
            return f"{trial.path!r} has the role {trial.role!r}"
        if layers in seen:
            return f"{trial.path!r} stands there twice"
        seen.add(layers)
    return None
