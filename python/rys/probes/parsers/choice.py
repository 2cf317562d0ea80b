"""Answers that choose one of the options of a question by its label."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from rys.probes.parsers.labels import FILLER, LINE_ENDS, any_of, index_of
from rys.probes.parsers.normalise import boxed, plain_text, visible_lines
from rys.probes.parsers.statements import ANSWER_PHRASE
from rys.probes.stable_names import stable_name

__all__ = ["choice_parser", "parse_choice"]

# "the answer is", "the correct option is", "I choose"; and weaker: "I think", "so", "that's"
_CHOSEN = (
    rf"(?:{ANSWER_PHRASE}"
    r"|\b(?:correct|right|best|closest)(?:[ ](?:one|option|choice|letter))?(?:[ ]is\b|:)"
    r"|\b(?:option|choice)(?:[ ]is\b|:)"
    r"|\b(?:choose|chose|pick|select|go with|going with|opt for)\b"
    r"|(?P<weak>\b(?:it's|it is|it must be|that's|that is|which is|would say|i'd say|i think"
    r"|i believe|means|corresponds to|matches|points to|leads to|leaves|leaving|so|thus|hence"
    r"|therefore)\b))"
)
# after a label: ") is correct", " (Tuesday) must be the right answer"
_RIGHT = (
    r"[)\]\"'*.]{0,3}(?:[ ]?\([^()\n]{0,40}\)|[ ][\d/.,:-]{1,12})?[ ](?:is|must be|seems)[ ]"
    r"(?:the[ ])?(?:most[ ]|only[ ])?"
    r"(?:correct|right|best|true|answer|likely|plausible|logical|one)\b"
)
# after a label: ") is not", " can be eliminated", " isn't"
_DENIED = re.compile(
    r"[)\]\"'*]{0,3}[ ](?:is|was|can|could|cannot|must)(?:[ ](?:also|clearly|therefore|be))?"
    r"(?:n't\b|[ ](?:not|wrong|incorrect|false|eliminated|excluded|impossible|out|too)\b)",
    re.IGNORECASE,
)
# after a label: ").", ", ", " because"; not the "." of "B.C."
_LABEL_ENDS = re.compile(
    r"[)\]}>\"'*_$\\]{0,4}[ ]{0,2}"
    r"(?:\Z|[\n,;:!?(\u2014]|\.(?!\w\.)|-[ ]|(?:because|since|as|which|not|due|based)\b)",
    re.IGNORECASE,
)
_BEFORE = r"[\s*_<>#\"'({\[$\\-]{0,8}"  # " (", "**", "$", at the beginning of a line
_NUMBER_FOLLOWS = re.compile(r"[ ]{1,3}[\d$]")  # " 12", " $5": the option's own text

_Place = Literal["weak", "line", "strong"]


class _Patterns(NamedTuple):
    """Patterns for one list of labels."""

    stated: re.Pattern[str]
    right: re.Pattern[str]
    another: re.Pattern[str]
    leading: re.Pattern[str]
    marked: re.Pattern[str]


@functools.lru_cache(maxsize=64)
def _patterns(labels: tuple[str, ...]) -> _Patterns:
    bare = [label.strip("()[]. ") for label in labels]
    label = any_of(bare) + r"(?!'\w|[+#]|-\w)"  # not "A's", "C++", "C#" and "B-side"
    more = r"[)\]\"'*]{0,3}[ ]?(?:and|or|/|&|,)[ ]?(?:and |or )?[\"'(\[]?"
    patterns = (
        # "the answer is (B", "I think it's B"
        f"{_CHOSEN}{FILLER}{label}",
        # "B is correct"
        f"{label}{_RIGHT}",
        # " or C.", after a label
        rf"{more}{label}[)\]]?(?=[ ]?[,.!\n]|\Z|[ ](?:and|or)\b)",
        # "(B", "**Option B", "Final answer: B", at the beginning of a line
        rf"{_BEFORE}(?:(?:final[ ])?(?:option|choice|answer)[\s:(]{{1,4}})?{label}",
        # "(B)", "option B"; not that of "not option B"
        rf"(?<!not )(?<!n't )(?:(?P<open>[(\[])|\b(?:option|choice)[ ]){label}(?(open)(?=[)\]]))",
    )
    return _Patterns(*(re.compile(pattern, re.IGNORECASE) for pattern in patterns))


def parse_choice(text: str, labels: Sequence[str]) -> str | None:
    r"""Return the label of the option that an answer chooses, such as "D" for "(D) Tuesday".

    The first of these rules that finds a label decides:

    1. the last `\boxed{}`;
    2. the last statement such as "answer: D", "option C is correct" or "I think it's B"; one of
       several labels gives None;
    3. the last line, if it is a label alone;
    4. the label that the first line begins with, unless it begins a list of the options;
    5. the only "(D)" or "option D" of the text, else of its last line.

    A letter within prose is not a choice. A small letter is one only where it stands alone or is
    marked off.

    Args:
        text: The answer.
        labels: The labels of all options.

    Returns:
        The label as it is spelled in `labels`, or None.
    """
    text = plain_text(text)
    patterns = _patterns(tuple(labels))
    lines = visible_lines(text)
    found = _leading(patterns, boxed(text)) or _stated(patterns, text)
    if not found:
        begun = [match for line in lines if (match := _leading(patterns, line))]
        order = list(map(index_of, begun))
        if len(order) > 1 and order == list(range(len(order))):
            return None  # the answer only lists the options
        found = _leading_line(begun, lines)
    if found:
        is_one_of_several = patterns.another.match(found.string, found.end("label"))
        return None if is_one_of_several else labels[index_of(found)]
    for part in (text, lines[-1]):
        marked = _marked(patterns, part)
        if len(marked) == 1:
            return labels[marked.pop()]
    return None


def _leading(patterns: _Patterns, line: str) -> re.Match[str] | None:
    """Return the label that a line begins with."""
    match = patterns.leading.match(line)
    return match if match and _is_label(match, "line") else None


def _stated(patterns: _Patterns, text: str) -> re.Match[str] | None:
    """Return the label of the last statement."""
    stated = []
    for match in patterns.stated.finditer(text):
        if _is_label(match, "weak" if match["weak"] else "strong"):
            stated.append(match)
    for match in patterns.right.finditer(text):
        if not match["label"].islower():
            stated.append(match)
    return max(stated, key=lambda match: match.start("label"), default=None)


def _leading_line(begun: Sequence[re.Match[str]], lines: Sequence[str]) -> re.Match[str] | None:
    """Return the label that is the last line, else the one that the first line begins with.

    Args:
        begun: The labels that lines begin with.
        lines: All lines.
    """
    if not begun:
        return None
    first, last = begun[0], begun[-1]
    if last.string == lines[-1] and LINE_ENDS.match(lines[-1], last.end("label")):
        return last
    # The first option in front of others may begin a list of all of them.
    is_list = index_of(first) == 0 and len(set(map(index_of, begun))) > 1
    return first if first.string == lines[0] and not is_list else None


def _marked(patterns: _Patterns, text: str) -> set[int]:
    """Return which labels are marked off as labels, and not denied."""
    found = set()
    for match in patterns.marked.finditer(text):
        is_label = match["open"] or not match["label"].islower()
        if is_label and not _DENIED.match(text, match.end("label")):
            found.add(index_of(match))
    return found


def _is_label(match: re.Match[str], place: _Place) -> bool:
    """Return whether a letter is a label and not a word of a sentence.

    The more a place calls for a label, the less is asked of the letter.
    """
    text, label, end = match.string, match["label"], match.end("label")
    is_closed = place != "weak" and text[end : end + 1] in (")", "]")
    if label in ("a", "i"):
        return is_closed or bool(LINE_ENDS.match(text, end))
    if is_closed or _LABEL_ENDS.match(text, end):
        return True
    if place != "weak" and _NUMBER_FOLLOWS.match(text[end : end + 5]):
        return True
    return place == "strong" and label.isupper() and label not in ("A", "I")


def choice_parser(labels: tuple[str, ...]) -> Callable[[str], str | None]:
    """Return the parser of answers that choose one of these labels; see `parse_choice`."""

    @stable_name(f"label {labels}")
    def parse(text: str) -> str | None:
        return parse_choice(text, labels)

    return parse
