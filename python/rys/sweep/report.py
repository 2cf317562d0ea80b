"""What a sweep says: one verdict, the best path, the confirmation, and where it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rys.sweep.analysis import Confirmation, ControlTrial, Search, TopTrial
from rys.sweep.candidates import Block
from rys.sweep.settings import Rounding, SweepOptions, SweepSettings
from rys.sweep.stage_scores import intervals_by_probe, load_scores
from rys.sweep.store import Store
from rys.sweep.trial import Stage, Status

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PathGain", "SweepReport", "make_report"]


@dataclass(frozen=True, kw_only=True)
class PathGain:
    """What a path gains over the baseline. Gains are differences of mean scores.

    Attributes:
        layer_path: The path.
        block: The block (i, j) that it runs twice, or None.
        effect: The mean gain over probes.
        interval: The interval of the effect: of 95% in the search, and in the confirmation
            corrected for the number of its paths. None if the file has no scores of items.
        by_probe: The gain in each probe.
        interval_by_probe: The 95% interval of each of these; None as for `interval`.
        extra_slots: Slots more than the model has layers.
        stage: Which items the gain was measured on, "search" or "confirm".
        q: The adjusted p-value; None outside of the search or without scores of items.
        search_effect: The gain in the search, of a path of the confirmation, else None.
    """

    layer_path: str
    block: Block | None
    effect: float
    interval: tuple[float, float] | None
    by_probe: dict[str, float]
    interval_by_probe: dict[str, tuple[float, float]] | None
    extra_slots: int
    stage: str
    q: float | None = None
    search_effect: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that this stage has. NaN stays NaN."""
        document = asdict(self)
        del document["block"]  # the path says it
        del document["search_effect" if self.stage == Stage.SEARCH else "q"]
        return document


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """The state of a sweep, whoever measured it.

    Attributes:
        verdict: "confirmed" or "none".
        sentence: The verdict for people.
        best: The best confirmed path, else the best of the search; None if nothing was measured.
        confirmed: The confirmed paths, largest gain first.
        top: The best paths of the search on fresh items; empty before the confirmation.
        controls: The random paths on fresh items.
        confirm_items: Fresh items of all probes; 0 before the confirmation.
        bar: What a gain must exceed to be more than that of the controls. None before the
            confirmation, NaN with fewer than two controls.
        power: The probability to confirm a gain of `min_effect`. None before the confirmation.
        min_effect: The smallest gain to find; None if the file does not say.
        baseline: The baseline's mean score in the search, by probe.
        n_candidates: Paths that were tried.
        n_eliminated: Of these, those that the strategy dropped.
        n_failed: Of these, those that failed.
        is_complete: Whether the search is.
        stopped: Why the latest run ended early, else "".
        forced: Whether probes were used that cannot measure this baseline.
        preflight: By probe, why it cannot.
        left_out: By probe, why the sweep goes on without it.
        calibration: What calibration chose, as `rys.probes.Calibration.to_json` returns it; None
            if nothing was calibrated.
        rounding: What rounding alone does to scores; None if it was not measured.
        seconds: Time of the model, in seconds; None if the file does not say.
        tokens: Tokens that the model evaluated; None if the file does not say.
        store: The sweep's file.
        model: The model's file; None if unknown.
        n_layer: Layers of the model.
        probes: Ids and versions of the probes.
        notes: What a reader of the figures should know.
        settings: What all results depend on; None for a sweep of another program.
        options: What the latest run was told; None for a sweep of another program.
    """

    verdict: str
    sentence: str
    best: PathGain | None
    confirmed: tuple[PathGain, ...] = ()
    top: tuple[TopTrial, ...] = ()
    controls: tuple[ControlTrial, ...] = ()
    confirm_items: int = 0
    bar: float | None = None
    power: float | None = None
    min_effect: float | None = None
    baseline: dict[str, float]
    n_candidates: int
    n_eliminated: int = 0
    n_failed: int = 0
    is_complete: bool
    stopped: str = ""
    forced: bool = False
    preflight: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    rounding: Rounding | None = None
    seconds: float | None = None
    tokens: int | None = None
    store: str
    model: str | None = None
    n_layer: int
    probes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    settings: SweepSettings | None = None
    options: SweepOptions | None = None

    @property
    def is_imported(self) -> bool:
        """Whether another program measured the sweep."""
        return self.settings is None

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How the sweep was asked for; empty if it was made in Python or by another program."""
        return (self.options and self.options.provenance) or {}

    def to_json(self) -> dict[str, Any]:
        """Return the report as `rys sweep --json` prints it, but for NaN, which stays NaN."""
        document = asdict(self)
        del document["settings"], document["options"]
        for name in ("fingerprint", "seed", "space", "strategy"):
            document[name] = getattr(self.settings, name, None)
        document["provenance"] = self.provenance or None
        document["best"] = None if self.best is None else self.best.to_json()
        document["confirmed"] = [gain.to_json() for gain in self.confirmed]
        for trial in [*document["top"], *document["controls"]]:
            del trial["block"]
        for control in document["controls"]:
            if control["is_apart"]:
                del control["why"]
        return document


def make_report(store: Store, search: Search, confirmation: Confirmation | None) -> SweepReport:
    """Return the report of a sweep.

    Args:
        store: The sweep's file.
        search: Its candidates.
        confirmation: Its confirmation; None if it was not run to its end.
    """
    settings, options, progress = store.settings, store.options, store.progress
    preflight = progress.preflight or {}
    statuses = search.frame["status"]
    # A probe that was left out has no baseline. One that was not, and cannot measure, was forced as
    # soon as a candidate met it.
    is_doubtful = any(preflight.get(probe) for probe in search.baseline)
    forced = is_doubtful and (options.force or len(statuses) > 0)
    trials = [*store.trials(Stage.SEARCH), *store.trials(Stage.CONFIRM)]
    seconds = sum(trial.seconds for trial in trials)
    tokens = sum(trial.tokens for trial in trials)
    best = _best_of_search(store, search)
    confirmed: list[PathGain] = []
    if confirmation is not None:
        confirmed = [_confirmed(trial) for trial in confirmation.confirmed]
        # What held on fresh items counts more than what the search says of another path.
        best = confirmed[0] if confirmed else best
    return SweepReport(
        verdict="confirmed" if confirmed else "none",
        sentence=_sentence(forced, best, confirmed, confirmation, len(statuses)),
        best=best,
        confirmed=tuple(confirmed),
        top=confirmation.top if confirmation else (),
        controls=confirmation.controls if confirmation else (),
        confirm_items=confirmation.n_items if confirmation else 0,
        bar=confirmation.bar if confirmation else None,
        power=confirmation.power if confirmation else None,
        min_effect=confirmation.min_effect if confirmation else options.min_effect,
        baseline=search.baseline,
        n_candidates=len(statuses),
        n_eliminated=int((statuses == Status.ELIMINATED.value).sum()),
        n_failed=int((statuses == Status.FAILED.value).sum()),
        is_complete=progress.is_complete,
        stopped=progress.stopped,
        forced=forced,
        preflight=preflight,
        left_out=progress.left_out,
        calibration=progress.calibration,
        rounding=progress.rounding,
        seconds=seconds,
        tokens=tokens,
        store=str(store.path),
        model=options.model,
        n_layer=settings.n_layer,
        probes=settings.probes,
        notes=options.notes,
        settings=settings,
        options=options,
    )


def _best_of_search(store: Store, search: Search) -> PathGain | None:
    """Return the best path that answered all items; in an early search, the best of any."""
    # The frame is sorted, so its first row of a kind is the best of that kind.
    ranked = _fully_measured(search.frame)
    if not len(ranked):
        return None
    row = ranked.iloc[0]
    scores = load_scores(store, Stage.SEARCH)
    assert scores is not None  # the frame has rows
    position = [trial.path for trial in scores.trials].index(row["path"])
    by_probe = {probe: float(row[f"{probe}_difference"]) for probe in search.baseline}
    return PathGain(
        layer_path=row["path"],
        block=row["block"],
        effect=float(row["effect"]),
        interval=(float(row["low"]), float(row["high"])),
        by_probe=by_probe,
        interval_by_probe=intervals_by_probe(scores, position),
        extra_slots=int(row["extra_slots"]),
        q=float(row["q"]),
        stage=Stage.SEARCH.value,
    )


def _fully_measured(frame: pd.DataFrame) -> pd.DataFrame:
    done = frame[frame["status"] == Status.DONE.value]
    if len(done):
        return done
    return frame[frame["status"].isin([Status.PARTIAL.value, Status.ELIMINATED.value])]


def _confirmed(trial: TopTrial) -> PathGain:
    return PathGain(
        layer_path=trial.path,
        block=trial.block,
        effect=trial.effect,
        interval=(trial.low, trial.high),
        search_effect=trial.search_effect,
        by_probe=trial.by_probe,
        interval_by_probe=trial.interval_by_probe,
        extra_slots=trial.extra_slots,
        stage=Stage.CONFIRM.value,
    )


def _sentence(
    is_forced: bool,
    best: PathGain | None,
    confirmed: list[PathGain],
    confirmation: Confirmation | None,
    n_candidates: int,
) -> str:
    """Return the verdict for people."""
    forced = " (probes that cannot measure were forced)" if is_forced else ""
    if confirmation is not None and confirmed:
        return f"{_confirmed_sentence(confirmed, confirmation.n_items)}{forced}."
    if confirmation is not None:
        return (
            f"No path confirmed: none of the best {len(confirmation.top)} of {n_candidates} "
            f"candidates held on {confirmation.n_items} fresh items{_why_none(confirmation)}"
            f"{forced}."
        )
    if best is None or math.isnan(best.effect):
        return f"No path confirmed: nothing was measured yet{forced}."
    return (
        f"No path confirmed: the best of the search so far is {best.layer_path} with "
        f"{best.effect:+.3f}, but it was not confirmed on fresh items{forced}."
    )


def _confirmed_sentence(confirmed: list[PathGain], n_items: int) -> str:
    best = confirmed[0]
    assert best.interval is not None  # own sweeps have the scores of items
    low, high = best.interval
    more = f"; {len(confirmed) - 1} more confirmed" if len(confirmed) > 1 else ""
    return (
        f"Confirmed: {best.layer_path} makes the model better by {best.effect:+.3f} "
        f"[{low:+.3f}, {high:+.3f}] on {n_items} fresh items{more}"
    )


def _why_none(found: Confirmation) -> str:
    """Return what the best lacks, or how small a gain would have been found."""
    # A path above zero that is not confirmed was held back by the random paths.
    better = [trial for trial in found.top if trial.low > 0]
    if math.isnan(found.bar):
        return ", with too few random paths to compare with"
    if better:
        best = better[0]
        what = f"random paths ({found.bar:+.3f})"
        if best.effect <= found.rounding:
            what = f"what rounding alone does ({found.rounding:.4f})"
        return (
            f"; {best.path} gains {best.effect:+.3f} [{best.low:+.3f}, {best.high:+.3f}] but is "
            f"not above {what}"
        )
    if found.bar >= found.min_effect:
        return f", where a path has to gain more than {found.bar:+.3f} to be above random ones"
    return (
        f", which would show a gain of {found.min_effect:g} with a probability of {found.power:.0%}"
    )
