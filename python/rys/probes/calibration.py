"""What a calibration found: for each probe the form that measures a model, or why none does.

`rys.probes.calibrate` makes a `Calibration`; a sweep keeps it in its file as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rys.errors import ProbeError
from rys.probes.base import Probe
from rys.probes.registry import load

__all__ = ["Calibration", "ProbeCalibration", "Rung"]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A form of a probe that was tried.

    Attributes:
        name: Its name, which `rys.probes.load` takes.
        n: Number of items that were asked.
        score: Mean score.
        deviation: Standard deviation of the items' scores.
        floor: What answers score that know nothing; the higher one of chance and best constant.
        accuracy: Share of items whose most probable answer is the right one; None if the probe does
            not tell.
        tokens_per_item: Tokens that one item costs in a search. What items share is divided among
            the items of the search.
        n_evaluated_tokens: Tokens that the model evaluated for the try.
        power: How much an evaluated token tells; see `rys.probes.ladder.power_per_token`.
        reasons: Why it cannot measure; empty if it can.
    """

    name: str
    n: int
    score: float
    deviation: float
    floor: float
    accuracy: float | None
    tokens_per_item: float
    n_evaluated_tokens: int
    power: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProbeCalibration:
    """What was found for one probe.

    Attributes:
        id: The probe's id.
        chosen: The form to measure with; None if no form can measure.
        rungs: The forms that were tried, in their order. Empty for a probe that was given in a form
            of its own, which is taken as it is.
    """

    id: str
    chosen: Probe | None
    rungs: tuple[Rung, ...] = ()

    @property
    def is_calibrated(self) -> bool:
        """Whether forms were tried."""
        return bool(self.rungs)

    @property
    def chosen_rung(self) -> Rung | None:
        """The figures of the chosen form; None if there are none."""
        if self.chosen is None:
            return None
        # The last try of a form is the one with the most items.
        for rung in reversed(self.rungs):
            if rung.name == self.chosen.name:
                return rung
        return None

    def line(self) -> str:
        """Return the finding for people."""
        if self.chosen is None:
            return f"{self.id}: no form measures this model ({_reasons(self.rungs)})"
        rung = self.chosen_rung
        if rung is None:
            return f"{self.id}: {self.chosen.name}, as given"
        parts = [f"score {rung.score:.2f}"]
        if rung.accuracy is not None:
            parts.append(f"accuracy {rung.accuracy:.2f}")
        parts.append(f"room {1 - rung.score:.2f}")
        return f"{self.id}: {_form(self.chosen)}; {', '.join(parts)}"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The forms of several probes that measure a model.

    Attributes:
        found: What was found for each probe, in the order in which the probes were given.
        items: Number of items that a search asks, for which the forms were chosen.
        seed: The seed that chose the items of the calibration.
        n_evaluated_tokens: Tokens that the model evaluated.
    """

    found: tuple[ProbeCalibration, ...]
    items: int
    seed: int
    n_evaluated_tokens: int = 0

    @property
    def probes(self) -> list[Probe]:
        """The probes that measure, in their chosen forms."""
        return [one.chosen for one in self.found if one.chosen is not None]

    @property
    def refused(self) -> dict[str, tuple[str, ...]]:
        """By id of each probe that cannot measure, the reasons: one for each form."""
        refused: dict[str, tuple[str, ...]] = {}
        for one in self.found:
            if one.chosen is None:
                reasons = [f"{rung.name}: {' and '.join(rung.reasons)}" for rung in one.rungs]
                refused[one.id] = tuple(reasons)
        return refused

    def lines(self) -> list[str]:
        """Return the findings for people, a line for each probe."""
        return [one.line() for one in self.found]

    def to_json(self) -> dict[str, Any]:
        """Return a dict that JSON can hold and `from_json` reads."""
        found = []
        for one in self.found:
            chosen = None if one.chosen is None else one.chosen.name
            rungs = [{**asdict(rung), "reasons": list(rung.reasons)} for rung in one.rungs]
            found.append({"id": one.id, "chosen": chosen, "rungs": rungs})
        return {
            "found": found,
            "items": self.items,
            "seed": self.seed,
            "n_evaluated_tokens": self.n_evaluated_tokens,
        }

    @classmethod
    def from_json(
        cls, document: Mapping[str, Any], given: Sequence[Probe | str] = ()
    ) -> Calibration:
        """Return the calibration that `to_json` wrote, with the chosen probes made anew.

        Args:
            document: The dict.
            given: Probes that were given as objects or files, which no name makes.

        Raises:
            ProbeError: The document is of another form, or a probe cannot be made.
        """
        objects: dict[str, Probe] = {}
        for probe in given:
            loaded = load(probe) if isinstance(probe, str) else probe
            objects[loaded.id] = loaded
        try:
            found = []
            for entry in document["found"]:
                rungs = [_rung(fields) for fields in entry["rungs"]]
                chosen = None if entry["chosen"] is None else str(entry["chosen"])
                probe_id = str(entry["id"])
                # Only what was tried has a name that always makes it again.
                made = objects.get(probe_id) if not rungs else None
                made = made or _made(chosen)
                found.append(ProbeCalibration(id=probe_id, chosen=made, rungs=tuple(rungs)))
            return cls(
                found=tuple(found),
                items=int(document["items"]),
                seed=int(document["seed"]),
                n_evaluated_tokens=int(document["n_evaluated_tokens"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ProbeError):
                raise
            raise ProbeError(f"this is not a calibration: {error!r}") from None


def _made(name: str | None) -> Probe | None:
    return None if name is None else load(name)


def _rung(fields: Mapping[str, Any]) -> Rung:
    return Rung(**{**fields, "reasons": tuple(map(str, fields["reasons"]))})


def _form(probe: Probe) -> str:
    """Return the form of a probe for people, such as "tier easy, 6 examples"."""
    _, tier, *settings = probe.name.split(":")
    parts = [f"tier {tier}"]
    for setting in settings:
        key, _, value = setting.partition("=")
        parts.append(f"{value} examples" if key == "shots" else f"{key} {value}")
    return ", ".join(parts)


def _reasons(rungs: Sequence[Rung]) -> str:
    """Return why the easiest form cannot measure, which is the best that is known of them all."""
    if not rungs:
        return "none was tried"
    return " and ".join(rungs[0].reasons)
