"""The residual stream, slot by slot: where texts look alike, and how much each layer changes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from rys.engine.model import Model
from rys.errors import PlotError
from rys.plot.drawing import (
    BLUE,
    GREY,
    ORANGE,
    axes_or_new,
    joined,
    legend_beside,
    set_title,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Similarity",
    "Texts",
    "anatomy",
    "anatomy_of",
    "influence",
    "influence_of",
    "similarities",
]

Floats = npt.NDArray[np.float64]
# texts, or for every content its forms (languages, formats), in the same order
Texts: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Similarity:
    """Hold the cosine similarities of one kind of pairs of texts. P pairs, S slots.

    raw, centred: float64 [P, S + 1], before every slot and after the last; centred: less the mean
        over texts.
    """

    kind: str
    raw: Floats
    centred: Floats


def anatomy_of(model: Model, texts: Texts) -> list[Similarity]:
    """Return how alike the residual stream of texts is before every slot and after the last.

    A text's vector is the mean over its tokens of the stream scaled to length 1, so that a few
    tokens of huge length do not stand for all; the first token, in which models park attention,
    counts only if it is the only one.

    With forms of contents, pairs of the same content and other forms stand against pairs of other
    content and the same
    form: where the first are the more alike, the model has left the form behind. Else all pairs are
        of one kind.

    Raises PlotError for fewer than three texts, which have no centre to speak of.
    """
    grid = list(texts.values()) if isinstance(texts, Mapping) else [[text] for text in texts]
    flat = [
        (content, form, text)
        for content, forms in enumerate(grid)
        for form, text in enumerate(forms)
    ]
    if len(flat) < 3 or isinstance(texts, str) or any(isinstance(forms, str) for forms in grid):
        raise PlotError(
            f"anatomy was given {texts!r}, but compares at least three texts: a list, or a dict with lists of forms"
        )
    vectors = np.stack([_vector(model.hidden_states(text)) for _, _, text in flat], axis=1)
    kinds: dict[str, list[tuple[int, int]]] = {}
    for a, b in combinations(range(len(flat)), 2):
        is_same_content, is_same_form = flat[a][0] == flat[b][0], flat[a][1] == flat[b][1]
        if is_same_content:
            kinds.setdefault("same content, other form", []).append((a, b))
        elif is_same_form:
            kinds.setdefault("other content, same form", []).append((a, b))
    if len(kinds) == 1:
        kinds = {"all pairs": next(iter(kinds.values()))}
    return [similarities(vectors, pairs, kind) for kind, pairs in kinds.items()]


def similarities(
    vectors: Floats, pairs: Sequence[tuple[int, int]], kind: str = "all pairs"
) -> Similarity:
    """Return the cosine similarities of pairs of texts. vectors: float64 [S + 1, N, D] of N texts."""
    a, b = np.array(pairs).T
    raw, centred = (
        np.einsum("spd,spd->ps", unit[:, a], unit[:, b])
        for unit in (_unit(vectors), _unit(vectors - vectors.mean(axis=1, keepdims=True)))
    )
    return Similarity(kind, raw, centred)


def _vector(hidden: npt.NDArray[np.float32]) -> Floats:
    """Return a text's vector in every slot: float64 [S + 1, D]."""
    kept = hidden[:, 1:] if hidden.shape[1] > 1 else hidden
    mean: Floats = _unit(kept.astype(np.float64)).mean(axis=1)
    return mean


def _unit(vectors: Floats) -> Floats:
    """Scale vectors [..., D] to length 1; those of length 0 stay."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Floats = vectors / np.where(length == 0, 1.0, length)
    return unit


def anatomy(model: Model, texts: Texts, *, ax: Axes | None = None) -> Axes:
    """Draw the cosine similarity of the residual stream between texts, slot by slot, raw and
    centred.

    Centred, less the mean over texts, it shows the phases: form comes first (encode), content in
    the middle (reason),
    form again at the end (decode). Lines are means over pairs, bands hold 80% of the pairs. Slots
    that visit a layer again are shaded.

    texts: at least three, or the forms of every content: {"rain": ["It rains.", "Es regnet."],
        ...}; see anatomy_of.
    """
    found = anatomy_of(model, texts)
    ax = axes_or_new(ax, "anatomy")
    for one, colour in zip(found, (BLUE, ORANGE), strict=False):
        x = np.arange(one.raw.shape[1])
        ax.plot(x, one.raw.mean(axis=0), "--", color=colour, linewidth=1, label=f"{one.kind}, raw")
        ax.plot(x, one.centred.mean(axis=0), color=colour, label=f"{one.kind}, centred")
        low, high = np.percentile(one.centred, [10, 90], axis=0)
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.axhline(0, color="0.4", linewidth=0.8)
    ax.set_ylabel("cosine similarity")
    _finish(
        ax, model, f"Anatomy: how alike {_n_texts(texts)} texts are before each slot", offset=0.0
    )
    return ax


def influence_of(model: Model, texts: Sequence[str]) -> list[Floats]:
    """Return 1 - cosine between the stream before and after each slot: float64 [S, T] for every
    text of T tokens.

    Its mean is the Block Influence of Men et al., ShortGPT (2024). Raises PlotError without texts.
    """
    if isinstance(texts, str) or not texts:
        raise PlotError(f"influence was given {texts!r}, but needs a list of texts")
    units = (_unit(model.hidden_states(text).astype(np.float64)) for text in texts)
    return [1 - np.einsum("std,std->st", unit[:-1], unit[1:]) for unit in units]


def influence(model: Model, texts: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw how much each slot's layer turns the residual stream: 1 - cosine between its input and
    output.

    The line is the mean over tokens and texts, the band holds 80% of the tokens. Slots that visit a
    layer again are shaded.
    """
    values = np.concatenate(influence_of(model, texts), axis=1)
    ax = axes_or_new(ax, "influence")
    x = np.arange(len(values))
    ax.fill_between(
        x,
        *np.percentile(values, [10, 90], axis=1),
        color=BLUE,
        alpha=0.2,
        linewidth=0,
        label="80% of tokens",
    )
    ax.plot(x, values.mean(axis=1), "o-", color=BLUE, markersize=3, label="mean over tokens")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("1 - cosine(input, output)")
    _finish(ax, model, f"Influence of each slot's layer, over {len(texts)} texts", offset=0.5)
    return ax


def _n_texts(texts: Texts) -> int:
    return sum(map(len, texts.values())) if isinstance(texts, Mapping) else len(texts)


def again_slots(layers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of slots (first, behind the last) whose layers were visited before."""
    seen: set[int] = set()
    start: int | None = None
    for slot, layer in enumerate(layers):
        if layer in seen and start is None:
            start = slot
        elif layer not in seen and start is not None:
            yield start, slot
            start = None
        seen.add(layer)
    if start is not None:
        yield start, len(layers)


def _finish(ax: Axes, model: Model, what: str, offset: float) -> None:
    """Shade repeated slots, and write what all plots over slots have. offset: of a slot's middle
    from its number.
    """
    for k, (first, end) in enumerate(again_slots(model.layer_path.layers)):
        label = "layers visited again" if k == 0 else None
        ax.axvspan(
            first - offset, end - offset, color=GREY, alpha=0.2, linewidth=0, zorder=0, label=label
        )
    whole_ticks(ax.xaxis)
    ax.margins(x=0.01)
    ax.set_xlabel("slot" if offset else "slot that comes next")
    legend_beside(ax)
    set_title(ax, joined(Path(model.source).name, str(model.layer_path)), what)
