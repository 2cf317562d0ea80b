"""Answers of yes or no."""

from __future__ import annotations

import re
from typing import Literal

from rys.probes.parsers.labels import FILLER
from rys.probes.parsers.normalise import boxed, plain_text, visible_lines
from rys.probes.parsers.statements import ANSWER_PHRASE
from rys.probes.stable_names import stable_name

__all__ = ["parse_yes_no"]

# "yes or no", "No/yes"
_BOTH = re.compile(
    r"\b(?:yes|no)\W{0,4}(?:and|or|/)\W{0,4}(?:yes|no)\b|\b(?:yes/no|no/yes)\b", re.IGNORECASE
)
# "yes", "no.", "no, it is not". Before any other word "no" is a determiner: "No one", "No idea".
_YES_NO = (
    r"(?:(?P<yes>yes)\b|(?P<no>no)\b(?![-'/])(?=\W{0,3}(?:\Z|\n)"
    r"|[*_\"')\]]{0,3}[ ]?[.,!;:\u2014(-]|[*_\"')\]]{0,3}[ ]"
    r"(?:it|he|she|they|that|this|there|we|you|i|because|since|as)\b))"
)
# "The answer is no.", "So, yes", "I would say no"
_CONCLUDED = re.compile(
    rf"(?:{ANSWER_PHRASE}|\b(?:so|thus|hence|therefore|actually|wait|finally|conclusion|verdict"
    rf"|would say|i'd say|i say)\b){FILLER}{_YES_NO}",
    re.IGNORECASE,
)
# "**Yes**", "Well, no."
_LEADS = re.compile(
    rf"[\s*_<>#\"'({{\[?.$-]{{0,8}}(?:(?:well|hmm|a)[,:.]?[ ])?{_YES_NO}", re.IGNORECASE
)
# "Is it? Yes", "I believe no,"
_SAID = re.compile(
    rf"(?:\?[\"'*_)]{{0,3}}\s{{1,3}}|\b(?:think|believe|guess|answer|say|is a)[ ][\"']?){_YES_NO}",
    re.IGNORECASE,
)


@stable_name("parse_yes_no")
def parse_yes_no(text: str) -> Literal["Yes", "No"] | None:
    r"""Return whether an answer is yes or no.

    The first of these rules that finds a word decides:

    1. the last `\boxed{}`;
    2. the last conclusion, such as "answer is no" or "so, yes";
    3. the last line, then the first one, if it begins with the word;
    4. what all weaker statements agree on.

    "Yes or no" is left out, as part of a question.

    Args:
        text: The answer.

    Returns:
        "Yes" or "No". None for words of other languages, and for "not", however negative it sounds.
    """
    text = _BOTH.sub(" ", plain_text(text))
    lines = visible_lines(text)
    concluded = list(_CONCLUDED.finditer(text))
    for match in (
        _LEADS.match(boxed(text)),
        concluded[-1] if concluded else None,
        _LEADS.match(lines[-1]),
        _LEADS.match(lines[0]),
    ):
        if match:
            return "Yes" if match["yes"] else "No"
    said = {bool(match["yes"]) for match in _SAID.finditer(text)}
    if len(said) != 1:
        return None
    return "Yes" if said.pop() else "No"
