"""Rows of llm-circuit-finder and its forks: the layers that each of them runs.

The scripts of these projects write one JSON object per line. They name the change of the model in
different fields, and the same fields with different meanings:

- sweep.py: `dup_start`, `dup_end`. The block runs twice; the end is exclusive.
- sweep.py --mode: the same fields and a `mode`. "add" runs the block twice, "remove" leaves it
  out, and "replace-next" and "replace-same" put layer `dup_end` in the place of layer `dup_start`.
- prune_sweep.py: `prune_start`, `prune_end`. The block is left out; the end is exclusive.
- combined_sweep.py: both pairs. One block is left out, another runs twice.
- repeat_sweep.py: `dup_start`, `dup_end`, `n_repeats`. The block runs `n_repeats` times more; the
  end is *inclusive*.
- swe_sweep.py, surrogate_sweep.py: `mode`, `start`, `end`. "prune" leaves the block out, its end
  is exclusive; "dup" runs it twice, its end is *inclusive*.
- circuit_map.py: the same and `block_size`. Both ends are exclusive.
- qwen35_combo.py: `swaps`, pairs of a layer and the one that is put in its place.
- rys_ng_benchmark.py: `layers_dup`, start and exclusive end of a block that runs twice.

The baseline has `is_baseline`, or a start of -1.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from rys._util.printable import printable
from rys.errors import LayerPathError, StoreError
from rys.layer_path import MAX_SLOTS, LayerPath
from rys.sweep.runs import Run, Runs

__all__ = ["RowReading", "read_row", "unknown_fields"]

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class RowReading:
    """What a row says of its layers.

    Attributes:
        path: Layers that were run. None for the baseline.
        n_layer: Layers of the model. None if the row does not tell.
        note: How the row was understood, where the scripts differ. Empty if they do not.
    """

    path: Runs | None
    n_layer: int | None = None
    note: str = ""


@dataclass(frozen=True)
class _Form:
    """One way to name layers.

    Attributes:
        fields: Fields that hold the layers.
        read: Returns the path of a row. Raises ValueError if a field is out of range.
        note: How rows of this form are understood, where the scripts differ.
    """

    fields: tuple[str, ...]
    read: Callable[[Row], Runs]
    note: str = ""


def read_row(row: Row, where: str) -> RowReading:
    """Return what a row says of its layers.

    Args:
        row: Object of one line.
        where: File and line, for errors.

    Raises:
        StoreError: The row does not name its layers in a way that is known. The message names
            the field and what is allowed.
    """
    try:
        form = None if row.get("is_baseline") else _choose_form(row)
        if form is None:
            return RowReading(None, _count(row.get("n_layers")))
        path = form.read(row)
        if not path.layers(MAX_SLOTS):
            raise ValueError(f"{' and '.join(form.fields)} leave no layer")
        _check_size(row, form)
        n_layer = _n_layer(row, path)
        _check_layer_path(row, path, n_layer)
    except ValueError as error:
        raise StoreError(f"{where}: {error}") from None
    return RowReading(path, n_layer, form.note)


def unknown_fields(row: Row) -> list[str]:
    """Return the fields of a row that are not read and that no known script writes."""
    unknown = []
    for name in row:
        is_score = name.endswith(("_score", "_scores", "_cats", "_tasks"))
        if not is_score and name not in _POSITIONS and name not in _OTHER_FIELDS:
            unknown.append(name)
    return unknown


def _choose_form(row: Row) -> _Form | None:
    """Return the form of a row, None for a baseline, which has -1 for a start.

    Raises:
        ValueError: No form fits, or more than one.
    """
    if "repeat_layers" in row:
        raise ValueError(
            "repeat_layers repeats the attention of layers without their feed-forward part, which "
            "a layer path cannot say; leave such lines out"
        )
    # Scripts write -1 for a start that they do not use: {"dup_start": -1, "prune_start": 2, ...}
    starts = [name for name in _STARTS if name in row]
    used = tuple(name for name in starts if row[name] != -1)
    if not starts:
        raise ValueError(
            f"no field names the layers; it must have one of {', '.join(_STARTS)} with those that "
            "belong to it"
        )
    if not used:
        return None
    forms = _FORMS.get(used)
    if forms is None:
        raise ValueError(
            f"{' and '.join(used)} are both given, which no known script does; only dup_start and "
            "prune_start may be"
        )
    if "n_repeats" in row:
        if used != ("dup_start",) or "mode" in row:
            raise ValueError("n_repeats belongs to dup_start and dup_end without a mode")
        return _REPEATED
    return _choose_mode(row, used, forms)


def _choose_mode(row: Row, used: tuple[str, ...], forms: Mapping[str | None, _Form]) -> _Form:
    """Return the form for the row's mode.

    Raises:
        ValueError: This mode is not known with these fields.
    """
    mode = row.get("mode")
    if mode == "dup" and used == ("start",) and "block_size" in row:
        return _CIRCUIT_MAP
    # A list or an object cannot be looked up.
    if isinstance(mode, str | None) and mode in forms:
        return forms[mode]
    allowed = [f'"{name}"' for name in forms if name] + ["absent"] * (None in forms)
    shown = "absent" if mode is None else _show(mode)
    raise ValueError(
        f"mode is {shown}, but with {' and '.join(used)} it must be {' or '.join(allowed)}"
    )


def _block(row: Row, prefix: str, *, is_inclusive: bool = False) -> tuple[int, int]:
    """Return start and exclusive end of the block in `<prefix>start` and `<prefix>end`."""
    names = f"{prefix}start", f"{prefix}end"
    return _check_block((row.get(names[0]), row.get(names[1])), names, is_inclusive)


def _check_block(
    block: tuple[Any, Any], names: tuple[str, str], is_inclusive: bool = False
) -> tuple[int, int]:
    """Return start and exclusive end of a block.

    Raises:
        ValueError: The two numbers are not those of a block. The message calls them `names`.
    """
    start, end = block
    if type(start) is int and type(end) is int:
        stop = end + 1 if is_inclusive else end
        if 0 <= start < stop <= MAX_SLOTS:
            return start, stop
    order = f"<= {names[1]} <" if is_inclusive else f"< {names[1]} <="
    raise ValueError(
        f"{names[0]} is {_show(start)} and {names[1]} is {_show(end)}, but they must be whole "
        f"numbers with 0 <= {names[0]} {order} {MAX_SLOTS}"
    )


def _duplicate(row: Row) -> Runs:
    start, end = _block(row, "dup_")
    return Runs.of((0, end), (start, None))


def _remove(row: Row) -> Runs:
    start, end = _block(row, "dup_")
    return Runs.of((0, start), (end, None))


def _replace_one(row: Row) -> Runs:
    return _replace([(row.get("dup_start"), row.get("dup_end"))], "dup_start and dup_end are")


def _replace_several(row: Row) -> Runs:
    swaps = row["swaps"]
    pairs = []
    for pair in swaps if isinstance(swaps, list) else []:
        if isinstance(pair, list) and len(pair) == 2:
            pairs.append((pair[0], pair[1]))
    if not pairs or len(pairs) != len(swaps):
        raise ValueError(f"swaps is {_show(swaps)}, but must be a list of pairs of layers")
    return _replace(pairs, "a pair of swaps is")


def _replace(pairs: list[tuple[Any, Any]], said: str) -> Runs:
    """Return the path with a layer in the place of another, for each pair (target, replacement)."""
    replacements = {}
    for target, replacement in pairs:
        for layer in (target, replacement):
            if type(layer) is not int or not 0 <= layer < MAX_SLOTS:
                raise ValueError(
                    f"{said} {_show(target)} and {_show(replacement)}, but must be two layers, "
                    f"whole numbers of 0..{MAX_SLOTS - 1}: the one that is replaced, and the one "
                    "in its place"
                )
        # Of two replacements for one layer the last counts, as in the script.
        replacements[target] = replacement
    runs: list[Run] = []
    position = 0
    # Layers between two targets stay as they are.
    for target, replacement in sorted(replacements.items()):
        runs += [(position, target), (replacement, replacement + 1)]
        position = target + 1
    return Runs.of(*runs, (position, None))


def _repeat(row: Row) -> Runs:
    start, end = _block(row, "dup_", is_inclusive=True)
    times = row["n_repeats"]
    if type(times) is not int or not 1 <= times <= MAX_SLOTS // (end - start):
        raise ValueError(
            f"n_repeats is {_show(times)}, but must be a whole number from 1 on with which the "
            f"path has at most {MAX_SLOTS} slots"
        )
    return Runs.of((0, end), *[(start, end)] * (times - 1), (start, None))


def _prune(row: Row) -> Runs:
    start, end = _block(row, "prune_")
    return Runs.of((0, start), (end, None))


def _prune_and_duplicate(row: Row) -> Runs:
    cut, cut_end = _block(row, "prune_")
    start, end = _block(row, "dup_")
    # The script refuses blocks that overlap, so one lies before the other.
    if cut_end <= start:
        return Runs.of((0, cut), (cut_end, end), (start, None))
    if end <= cut:
        return Runs.of((0, end), (start, cut), (cut_end, None))
    raise ValueError(
        f"the block that runs twice ({start}, {end}) and the one that is left out "
        f"({cut}, {cut_end}) overlap, which no known script does"
    )


def _prune_range(row: Row) -> Runs:
    start, end = _block(row, "")
    return Runs.of((0, start), (end, None))


def _duplicate_range(row: Row) -> Runs:
    start, end = _block(row, "")
    return Runs.of((0, end), (start, None))


def _duplicate_inclusive_range(row: Row) -> Runs:
    start, end = _block(row, "", is_inclusive=True)
    if start == 0:
        # Their build_layer_path leaves out "0..end" then, and so writes the model's own order.
        raise ValueError(
            'mode "dup" with start 0: the scripts that write such lines leave the model as it is; '
            "leave the line out"
        )
    return Runs.of((0, end), (start, None))


def _duplicate_list(row: Row) -> Runs:
    block = row["layers_dup"]
    if not isinstance(block, list) or len(block) != 2:
        raise ValueError(f"layers_dup is {_show(block)}, but must be a list of a start and an end")
    start, end = _check_block((block[0], block[1]), ("layers_dup[0]", "layers_dup[1]"))
    return Runs.of((0, end), (start, None))


_DUP, _PRUNE, _RANGE = ("dup_start", "dup_end"), ("prune_start", "prune_end"), ("start", "end")
_STARTS = ("dup_start", "prune_start", "start", "swaps", "layers_dup")
_REPEATED = _Form(_DUP, _repeat)
_CIRCUIT_MAP = _Form(_RANGE, _duplicate_range)
_INCLUSIVE_NOTE = (
    'lines with mode "dup", start and end were read as their scripts run them: the end is included'
)

# By the fields of a start that a row uses, and by its mode; None = a row without one
_FORMS: dict[tuple[str, ...], dict[str | None, _Form]] = {
    ("dup_start",): {
        "add": _Form(_DUP, _duplicate),
        "remove": _Form(_DUP, _remove),
        "replace-next": _Form(_DUP, _replace_one),
        "replace-same": _Form(_DUP, _replace_one),
        None: _Form(_DUP, _duplicate),
    },
    ("prune_start",): {None: _Form(_PRUNE, _prune)},
    ("dup_start", "prune_start"): {None: _Form((*_PRUNE, *_DUP), _prune_and_duplicate)},
    ("start",): {
        "dup": _Form(_RANGE, _duplicate_inclusive_range, _INCLUSIVE_NOTE),
        "prune": _Form(_RANGE, _prune_range),
    },
    ("swaps",): {None: _Form(("swaps",), _replace_several)},
    ("layers_dup",): {None: _Form(("layers_dup",), _duplicate_list)},
}

_POSITIONS = {*_DUP, *_PRUNE, *_RANGE, "swaps", "layers_dup", "mode", "n_repeats"}
_SIZES = ("n_dup_layers", "block_size", "removed_layers")  # of a block, end exclusive
# What scripts write besides; none of it changes the layers
_OTHER_FIELDS = {
    *_SIZES,
    "actual_code_delta",
    "combo",
    "eval_time",
    "is_baseline",
    "iteration",
    "label",
    "layer_path",
    "n_layers",
    "overhead",
    "predicted",
    "remaining_layers",
    "timestamp",
    "total_layers",
    "variant",
}


def _check_size(row: Row, form: _Form) -> None:
    """Check a size that is given beside a block: it tells if an end is meant in another way.

    Raises:
        ValueError: The size is not that of the block.
    """
    # Two blocks do not have one size, and a replaced layer and its replacement are not a block.
    if len(form.fields) != 2 or form.read is _replace_one:
        return
    start, end = (row[name] for name in form.fields)
    for name in _SIZES:
        if name in row and row[name] != end - start:
            raise ValueError(
                f"{name} is {_show(row[name])}, but {form.fields[0]} is {start} and "
                f"{form.fields[1]} is {end}, which are {end - start} layers"
            )


def _n_layer(row: Row, path: Runs) -> int | None:
    """Return the layers of the model, None if the row does not tell.

    Raises:
        ValueError: The path does not fit into so many layers.
    """
    n_slot = _count(row.get("total_layers")) or _count(row.get("remaining_layers"))
    n_layer = _count(row.get("n_layers"))
    if n_layer is not None and "prune_start" in row and "dup_start" in row:
        # combined_sweep.py counts the layers of the changed model.
        n_slot, n_layer = n_slot or n_layer, None
    if n_slot is not None:
        # How many slots a path adds does not depend on the number of layers.
        n_layer = n_slot - path.extra_slots(MAX_SLOTS)
    if n_layer is not None and n_layer < path.least_n_layer:
        raise ValueError(
            f"the layers that the row names need a model of {path.least_n_layer} layers, but it "
            f"says that there are {n_layer}"
        )
    return n_layer


def _show(value: Any) -> str:
    """Return a value of a file for a message. What is long is shortened."""
    return printable(reprlib.repr(value))


def _count(value: Any) -> int | None:
    """Return a number of layers, None if a field has none."""
    return value if type(value) is int and 0 < value <= MAX_SLOTS else None


def _check_layer_path(row: Row, path: Runs, n_layer: int | None) -> None:
    """Check the path that a row gives in full beside the fields that were read.

    Raises:
        ValueError: The row gives another path than its fields say.
    """
    text = row.get("layer_path")
    if text is None:
        return
    said: tuple[int, ...] = ()
    with suppress(LayerPathError):
        said = LayerPath(text).layers
    if n_layer is None and said:
        # The path ends with the model's last layer, or before it if that one is left out.
        n_layer = max(said) + 1
    if not said or path.layers(n_layer or 0) != said:
        raise ValueError(
            f"layer_path is {_show(text)}, but the other fields say "
            f"{path.notation(n_layer or MAX_SLOTS)}"
        )
