"""The probe `eq`: what somebody in a short story feels.

By default two versions of a story are asked, which differ in one fact (see
`rys.probes.eq_stories`). The score is how probable it is that the ratings move in the right
direction. The tier "rated" asks for ratings that are compared with those of the stories' authors
(see `rys.probes.eq_rated`).
"""

from __future__ import annotations

from collections.abc import Sequence

from rys.errors import ProbeError
from rys.probes.base import Item, Probe, SearchSplit, choose, name_of
from rys.probes.contrast import Contrast
from rys.probes.eq_rated import rated_items
from rys.probes.eq_stories import FACT, N_FORMS, TIERS
from rys.probes.questions import Family, Question, in_turns, questions
from rys.probes.shots import EXAMPLE_SEED, FORMS, STYLES, check_shots, turns, with_examples

__all__ = ["EQ"]

RATED = "rated"

# What the examples answer: ratings that nobody would call too high or too low.
_HIGH, _LOW = "8", "1"

# Which examples have a high rating. Both kinds of emotions get as many of each.
_IS_HIGH = (True, False, False, True, False, True, True, False)


class EQ(Probe):
    """Ratings of what somebody feels in a short story.

    Attributes:
        tier: Which stories are asked; see `rys.probes.eq_stories.TIERS`, and "rated".
        format: How the ratings of "rated" are asked for.
        shots: How many examples are shown with each question.
        style: Whether the questions are a conversation or a plain text.
    """

    id = "eq"
    version = 2
    settings = ("format", "shots", "style")

    def __init__(
        self,
        tier: str = "contrast",
        format: str = "digit",  # noqa: A002 (the user's word)
        shots: int = 0,
        style: str = "chat",
    ) -> None:
        """Make the probe.

        Args:
            tier: "basic" = one person, who has good or bad luck; "contrast" = two people, of whom
                one gets what the other does not want; "belief" = somebody believes the opposite of
                what happened; "rated" = 64 stories with ratings by their authors, half of them in
                each split.
            format: Of "rated": "digit" = each emotion by itself, as the expected digit of the next
                token, without generating; "list" = four lines that the model writes.
            shots: How many examples of the same family are shown with each question.
            style: "chat" = with the model's chat template, where it has one; "plain" = as a plain
                text.

        Raises:
            ProbeError: There is no such tier, format or style, or the tier has no such setting.
            RequestError: The number of examples is out of range.
        """
        self.tier = choose("tier", tier, [*TIERS, RATED])
        self.format = choose("format", format, ["digit", "list"])
        self.shots = check_shots(shots)
        self.style = choose("style", style, STYLES)
        if tier == RATED and (shots or style != "chat"):
            raise ProbeError("eq:rated has neither examples nor another style; leave them out")
        if tier != RATED and format != "digit":
            raise ProbeError(f"format is {format!r}, but must be 'digit' for the tier {tier!r}")

    @property
    def name(self) -> str:
        """Tier and settings, such as "eq:contrast:shots=6"; see `Probe.name`."""
        return name_of(
            self,
            self.tier,
            format=(self.format, "digit"),
            shots=(self.shots, 0),
            style=(self.style, "chat"),
        )

    def rungs(self) -> Sequence[Probe]:
        """Return the tiers of stories in pairs, each with examples and without."""
        found = []
        for tier in TIERS:
            found += [EQ(tier, shots=shots, style=style) for style, shots in FORMS]
        return found

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return the items of a split; "rated" has at most 32. See `Probe.items`."""
        if self.tier == RATED:
            return rated_items(self.format, n, seed, split)
        columns = []
        # Forms change slower than families: the first items have all families.
        for form in range(N_FORMS):
            for family in TIERS[self.tier]:
                drawn = questions(family, form, n, seed, split)
                examples = self._examples(family)
                columns.append([self._item(family, q, examples) for q in drawn])
        return in_turns(columns)[:n]

    def _examples(self, family: Family) -> list[dict[str, str]]:
        """Return the examples of a family, with as many high ratings as low ones."""
        forms = [questions(family, k, self.shots, EXAMPLE_SEED, "examples") for k in range(N_FORMS)]
        pairs = []
        for place, question in enumerate(in_turns(forms)[: self.shots]):
            is_high = _IS_HIGH[place % len(_IS_HIGH)]
            fact = question.choices[0 if is_high else 1]
            text = self._prompt(question).replace(FACT, fact)
            pairs.append((text, _HIGH if is_high else _LOW))
        return turns(pairs)

    def _prompt(self, question: Question) -> str:
        # Examples tell a plain text how it goes on.
        if self.shots and self.style == "plain":
            return question.text
        return f"{question.text} Answer with one digit."

    def _item(self, family: Family, question: Question, examples: list[dict[str, str]]) -> Item:
        more, less = question.choices
        return Item(
            prompt=with_examples(examples, self._prompt(question)),
            scorer=Contrast(FACT, more, less),
            tags={"family": family.__name__},
            plain=self.style == "plain",
        )
