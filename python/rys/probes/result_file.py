"""The JSON that `rys probe --json` prints: what it holds, how it is written, how it is read.

One object with

- "results": the summaries of all probes along all paths; see `ProbeResult.summary`;
- "preflight": by probe, the reasons why it cannot measure;
- "calibration": how the form of each probe was chosen, null if they were given; see
  `rys.probes.Calibration.to_json`;
- "comparison": the differences between two paths, null for a single path; see `PairedDifference`;
- "item_scores": for every result its "probe" and "layer_path", and lists with an entry for every
  item: "hashes" of the contents, by which items are paired, "families" and "scores";
- "items": with `--show N`, the first items of every result with prompt, answer and target.

Files of earlier versions lack "families"; they are read as if all items were of one family.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rys._util.json_fields import count, mapping, number
from rys.errors import ProbeError
from rys.probes.base import Item
from rys.probes.calibration import Calibration
from rys.probes.paired import PairedDifference
from rys.probes.result import ProbeResult

__all__ = [
    "ItemScores",
    "SavedResult",
    "is_probe_output",
    "preview",
    "read_results",
    "to_json",
]


@dataclass(frozen=True)
class ItemScores:
    """Scores of the items of one result. All lists have an entry for every item.

    Attributes:
        hashes: Content hashes of the items.
        families: Families of the items; None if the file does not tell.
        scores: In [-1, 1].
    """

    hashes: list[str]
    families: list[str] | None
    scores: list[float]


@dataclass(frozen=True)
class SavedResult:
    """One probe along one path, as a file has it.

    Attributes:
        probe: The probe's id.
        version: The probe's version.
        layer_path: The path, written out.
        n: Number of items; None if the file does not tell.
        mean: Mean score; NaN if the file does not tell.
        stderr: Standard error of the mean, from its interval; NaN if the file does not tell.
        saved_items: The entry of "item_scores"; None if the file has none.
    """

    probe: str
    version: str
    layer_path: str
    n: int | None
    mean: float
    stderr: float
    saved_items: Mapping[str, Any] | None

    def item_scores(self) -> ItemScores:
        """Return the scores of the items.

        Raises:
            ProbeError: The file has no scores of its n items.
        """
        saved = self.saved_items or {}
        hashes = self._list_of_items(saved.get("hashes"))
        scores = self._list_of_items(saved.get("scores"))
        families = None
        if "families" in saved:
            families = list(map(str, self._list_of_items(saved["families"])))
        return ItemScores(
            hashes=list(map(str, hashes)),
            families=families,
            scores=list(map(number, scores)),
        )

    def _list_of_items(self, values: Any) -> list[Any]:
        """Return a list with an entry for every item, or raise ProbeError."""
        if not isinstance(values, list) or len(values) != self.n:
            raise ProbeError(f"the scores of its items are not those of {self.n} items")
        return values


def to_json(
    along: Sequence[Mapping[str, ProbeResult]],
    refused: Mapping[str, Sequence[str]],
    comparison: Sequence[PairedDifference] | None,
    n_shown: int = 0,
    calibration: Calibration | None = None,
) -> dict[str, Any]:
    """Return what `rys probe --json` prints.

    Args:
        along: For every path the results by probe.
        refused: By probe, the reasons why it cannot measure.
        comparison: The differences between two paths; None for a single path.
        n_shown: Number of items of each result that are shown with their answers.
        calibration: How the forms of the probes were chosen; None if they were given.
    """
    results = [result for by_probe in along for result in by_probe.values()]
    document: dict[str, Any] = {
        "results": [result.summary() for result in results],
        "preflight": dict(refused),
        "calibration": None if calibration is None else calibration.to_json(),
        "comparison": None,
        "item_scores": list(map(_item_scores, results)),
    }
    if comparison is not None:
        document["comparison"] = [difference.to_json() for difference in comparison]
    if n_shown:
        document["items"] = [preview(result, n_shown) for result in results]
    return document


def _item_scores(result: ProbeResult) -> dict[str, Any]:
    return {
        "probe": result.probe,
        "layer_path": result.layer_path,
        "hashes": [item.content_hash for item in result.items],
        "families": result.families,
        "scores": result.scores.tolist(),
    }


def preview(result: ProbeResult, n: int) -> dict[str, Any]:
    """Return the first n items of a result with their answers, as JSON can hold them."""
    items = []
    for i, item in enumerate(result.items[:n]):
        # An item that failed has no answer; say why in its place.
        error = result.errors[i]
        shown = {
            "id": item.id,
            "prompt": item.prompt,
            "asked": _asked(item),
            "answer": result.answers[i] if error is None else f"failed: {error}",
            "target": str(item.scorer.target),
            "score": float(result.scores[i]),
        }
        items.append(shown)
    return {"probe": result.probe, "layer_path": result.layer_path, "items": items}


def _asked(item: Item) -> str:
    """Return what an item asks, for people: the last message, and how many examples precede it."""
    if isinstance(item.prompt, str):
        return item.scorer.preview(item.prompt)
    asked = item.scorer.preview(str(item.prompt[-1].get("content")))
    roles = [message.get("role") for message in item.prompt]
    n_shown = roles.count("assistant")
    if not n_shown:
        return asked
    return f"{asked} (after {n_shown} example{'s' * (n_shown > 1)})"


def is_probe_output(content: Any) -> bool:
    """Return whether a JSON document is the output of `rys probe --json`."""
    results = mapping(content).get("results")
    if not isinstance(results, list):
        return False
    needed = {"probe", "layer_path", "mean", "n"}
    return all(needed <= set(mapping(result)) for result in results)


def read_results(content: Mapping[str, Any]) -> list[SavedResult]:
    """Return the results that a document holds, in its order.

    Args:
        content: A document of which `is_probe_output` is true.
    """
    found = []
    for result in content["results"]:
        # "math:1": the version is behind the last colon.
        probe, _, version = str(result["probe"]).rpartition(":")
        saved = SavedResult(
            probe=probe,
            version=version,
            layer_path=str(result["layer_path"]),
            n=count(result["n"]),
            mean=number(result["mean"]),
            stderr=_standard_error(result.get("interval")),
            saved_items=_saved_items(content, result),
        )
        found.append(saved)
    return found


def _saved_items(content: Mapping[str, Any], result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the entry of "item_scores" that belongs to a result."""
    parts = content.get("item_scores")
    if not isinstance(parts, list):
        return None
    for part in map(mapping, parts):
        is_same_probe = part.get("probe") == result["probe"]
        if is_same_probe and part.get("layer_path") == result["layer_path"]:
            return part
    return None


def _standard_error(interval: Any) -> float:
    """Return the standard error of a mean with this 95% interval."""
    if not isinstance(interval, list) or len(interval) != 2:
        return math.nan
    low, high = map(number, interval)
    # Half the interval is 1.96 standard errors.
    return (high - low) / (2 * 1.96)
