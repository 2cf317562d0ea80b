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
from rys.probes.eq_stories import FACT, N_FORMS, TIERS, Pair
from rys.probes.questions import Family, Question, in_turns, questions
from rys.probes.shots import EXAMPLE_SEED, STYLES, check_shots, turns, with_examples

__all__ = ["EQ"]

RATED = "rated"

# The ratings that are shown in examples, which nobody would call too high or too low; and words
# as ratings, in rising order.
_DIGITS = ("1", "8")
_WORDS = ("sad", "happy")

_DIGIT = "On a scale from 0 (not at all) to 9 (extremely), how {emotion} does {person} feel now?"

# What a calibration tries: format, style and number of examples.
_FORMS = (("word", "plain", 6), ("word", "chat", 6), ("digit", "plain", 6), ("digit", "chat", 0))

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
            format: "digit" = a rating as the next token, without generating. "word" = happy or sad
                as the next token. "list" = four ratings that the model writes. "rated" has no
                "word", and only "rated" has "list".
            shots: How many examples of the same family are shown with each question.
            style: "chat" = with the model's chat template, where it has one; "plain" = as a plain
                text.

        Raises:
            ProbeError: There is no such tier, format or style, or the tier has no such setting.
            RequestError: The number of examples is out of range.
        """
        self.tier = choose("tier", tier, [*TIERS, RATED])
        formats = ["digit", "list"] if tier == RATED else ["digit", "word"]
        self.format = choose("format", format, formats)
        self.shots = check_shots(shots)
        self.style = choose("style", style, STYLES)
        if tier == RATED and (shots or style != "chat"):
            raise ProbeError("eq:rated has neither examples nor another style; leave them out")

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

    def rungs(self, thinking: bool = False) -> Sequence[Probe]:
        """Return the tiers of stories in pairs, each with examples and without.

        Nothing is written in them, so thinking makes no difference; see `Probe.rungs`.
        """
        found = []
        for tier in TIERS:
            for form, style, shots in _FORMS:
                found.append(EQ(tier, form, shots, style))
        return found

    def items(self, n: int, seed: int = 0, split: SearchSplit = "search") -> list[Item]:
        """Return the items of a split; "rated" has at most 32. See `Probe.items`."""
        if self.tier == RATED:
            return rated_items(self.format, n, seed, split)
        columns = []
        # Forms change slower than families: the first items have all families.
        for form in range(N_FORMS):
            for family in TIERS[self.tier]:
                examples = self._examples(family)
                drawn = questions(family, form, n, seed, split)
                columns.append([self._item(family, pair, examples) for pair in drawn])
        # Two forms may draw the same story.
        different = {item.content_hash: item for item in in_turns(columns)}
        return list(different.values())[:n]

    def _examples(self, family: Family) -> list[dict[str, str]]:
        """Return the examples of a family, with as many high ratings as low ones."""
        forms = [questions(family, k, self.shots, EXAMPLE_SEED, "examples") for k in range(N_FORMS)]
        pairs = []
        for place, pair in enumerate(in_turns(forms)[: self.shots]):
            more, less = self._facts(pair)
            is_high = _IS_HIGH[place % len(_IS_HIGH)]
            text = self._prompt(pair).replace(FACT, more if is_high else less)
            low, high = _WORDS if self.format == "word" else _DIGITS
            pairs.append((text, high if is_high else low))
        return turns(pairs)

    def _facts(self, pair: Question) -> tuple[str, str]:
        """Return the fact with the higher rating, and the other."""
        assert isinstance(pair, Pair)  # all families of this probe make pairs
        if self.format == "word" or pair.is_pleasant:
            return pair.good, pair.bad
        return pair.bad, pair.good

    def _prompt(self, pair: Question) -> str:
        assert isinstance(pair, Pair)
        if self.format == "word":
            # The order of the words depends on the form, so that it tells nothing.
            first, second = _WORDS if pair.is_pleasant else _WORDS[::-1]
            question, ask = f"Is {pair.person} {first} or {second} now?", "Answer with one word."
        else:
            question = _DIGIT.format(emotion=pair.emotion, person=pair.person)
            ask = "Answer with one digit."
        # Examples tell a plain text how it goes on.
        if self.shots and self.style == "plain":
            return f"{pair.story} {question}"
        return f"{pair.story} {question} {ask}"

    def _item(self, family: Family, pair: Question, examples: list[dict[str, str]]) -> Item:
        more, less = self._facts(pair)
        labels = _WORDS if self.format == "word" else tuple("0123456789")
        return Item(
            prompt=with_examples(examples, self._prompt(pair)),
            scorer=Contrast(FACT, more, less, labels),
            tags={"family": family.__name__},
            plain=self.style == "plain",
        )
