"""The anatomy of a model: how alike the residual streams of texts are, slot by slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from rys.engine.model import Model
from rys.errors import PlotError
from rys.plot.figures import axes_or_new
from rys.plot.residual_stream import finish_slot_plot, to_unit_length
from rys.plot.style import BLUE, ORANGE, draw_baseline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Similarity", "Texts", "anatomy", "compute_anatomy", "compute_similarities"]

SIZE = (8.8, 4.2)

Floats = npt.NDArray[np.float64]
# Texts, or for every content its forms (languages, formats), in the same order
Texts: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Similarity:
    """Cosine similarities of one kind of pairs of texts, for P pairs and S slots.

    Attributes:
        kind: What the texts of a pair have in common, in words.
        raw: float64 [P, S + 1], before every slot and after the last.
        centred: float64 [P, S + 1], the same after the mean over texts was subtracted.
    """

    kind: str
    raw: Floats
    centred: Floats


class _Text(NamedTuple):
    """A text with the numbers of its content and of its form."""

    content: int
    form: int
    text: str


def compute_anatomy(model: Model, texts: Texts) -> list[Similarity]:
    """Return how alike the residual streams of texts are before every slot and after the last.

    A text's vector is the mean over its tokens of the stream scaled to length 1, so that a few
    tokens of huge length do not stand for all. The first token, in which models park attention,
    counts only if it is the only one.

    With several forms per content there are two kinds of pairs: the same content in other forms,
    and other contents in the same form. Where pairs of the first kind are the more alike, the
    model has left the form behind. Otherwise all pairs are of one kind.

    Raises:
        PlotError: For fewer than three texts: their mean says nothing.
    """
    found = _list_texts(texts)
    # One text at a time: a text's stream, [S + 1, T, D], may be large, its vector is not.
    streams = [_vector(model.hidden_states(one.text)) for one in found]
    vectors = np.stack(streams, axis=1)
    return [compute_similarities(vectors, pairs, kind) for kind, pairs in _pairs(found).items()]


def _list_texts(texts: Texts) -> list[_Text]:
    """Return the texts with their content and form."""
    contents: list[Sequence[str]] = []
    if isinstance(texts, Mapping):
        contents = list(texts.values())
    elif not isinstance(texts, str):
        contents = [[text] for text in texts]
    found = []
    for content, forms in enumerate(contents):
        # A string is a sequence of strings too, but no list of forms.
        for form, text in enumerate([] if isinstance(forms, str) else forms):
            found.append(_Text(content, form, text))
    if len(found) < 3 or any(isinstance(forms, str) for forms in contents):
        raise PlotError(
            f"anatomy was given {texts!r}, but compares at least three texts: a list, or a dict "
            "with lists of forms"
        )
    return found


def _pairs(texts: Sequence[_Text]) -> dict[str, list[tuple[int, int]]]:
    """Return the pairs of indices to compare, by kind."""
    kinds: dict[str, list[tuple[int, int]]] = {}
    for a, b in combinations(range(len(texts)), 2):
        if texts[a].content == texts[b].content:
            kinds.setdefault("same content, other form", []).append((a, b))
        elif texts[a].form == texts[b].form:
            kinds.setdefault("other content, same form", []).append((a, b))
    if len(kinds) == 1:  # nothing to tell apart
        kinds = {"all pairs": next(iter(kinds.values()))}
    return kinds


def compute_similarities(
    vectors: Floats, pairs: Sequence[tuple[int, int]], kind: str = "all pairs"
) -> Similarity:
    """Return the cosine similarities of pairs of texts.

    Args:
        vectors: float64 [S + 1, N, D] of N texts.
        pairs: Indices of texts.
        kind: What the texts of a pair have in common.
    """
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    return Similarity(kind, raw=_cosines(vectors, pairs), centred=_cosines(centred, pairs))


def _cosines(vectors: Floats, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Return the cosines of pairs of vectors [S, N, D] as float64 [P, S]."""
    a, b = np.array(pairs).T
    unit = to_unit_length(vectors)
    # The sum over d of two unit vectors is their cosine.
    cosines: Floats = np.einsum("spd,spd->ps", unit[:, a], unit[:, b])
    return cosines


def _vector(hidden: npt.NDArray[np.float32]) -> Floats:
    """Return a text's vector in every slot, float64 [S + 1, D], from its stream [S + 1, T, D]."""
    kept = hidden[:, 1:] if hidden.shape[1] > 1 else hidden
    mean: Floats = to_unit_length(kept.astype(np.float64)).mean(axis=1)
    return mean


def anatomy(model: Model, texts: Texts, *, ax: Axes | None = None) -> Axes:
    """Draw the cosine similarity of the residual streams of texts, slot by slot.

    Similarities are drawn raw and centred, that is, less the mean over texts. Centred, they show
    the phases: form comes first (encode), content in the middle (reason), form again at the end
    (decode). Lines are means over pairs, bands hold 80% of the pairs. Slots that visit a layer
    again are shaded.

    Args:
        model: Model to look at.
        texts: At least three texts, or the forms of every content:
            `{"rain": ["It rains.", "Es regnet."], ...}`. See `compute_anatomy`.
        ax: Axes to draw in. None = those of a new figure.

    Raises:
        PlotError: For fewer than three texts.
    """
    found = compute_anatomy(model, texts)
    ax = axes_or_new(ax, SIZE)
    # Blue is the same content if there are two kinds, or all pairs.
    for one, colour in zip(found, (BLUE, ORANGE), strict=False):
        x = np.arange(one.raw.shape[1])
        ax.plot(x, one.raw.mean(axis=0), "--", color=colour, linewidth=1, label=f"{one.kind}, raw")
        ax.plot(x, one.centred.mean(axis=0), color=colour, label=f"{one.kind}, centred")
        low, high = np.percentile(one.centred, [10, 90], axis=0)
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    draw_baseline(ax)
    ax.set_ylabel("cosine similarity")
    n_texts = len(_list_texts(texts))
    title = f"Anatomy: how alike {n_texts} texts are before each slot"
    finish_slot_plot(ax, model, title, x_label="slot that comes next", offset=0.0)
    return ax
