r"""Read the answers that chat models really give: in prose, in Markdown, in LaTeX, with or without
reasons.

Every parser gives None where no answer can be read with confidence, and never raises. All take time
that grows linearly
with the text: repeats in the patterns are bounded, or are never followed by something that could
fail.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal

__all__ = [
    "LARGEST_EXPONENT",
    "parse_choice",
    "parse_number",
    "parse_ratings",
    "parse_whole_number",
    "parse_word",
    "parse_yes_no",
    "remove_thinking",
]

LARGEST_EXPONENT = 100  # of a number that may become an int: 1e999999999 is short to write

_THINKING = re.compile(
    r"(?P<open><(?:seed:)?(?:think|thinking|thought|reasoning)>|\[THINK\]|<\|channel\|>(?:analysis|commentary)\b)"
    r"|(?P<close></(?:seed:)?(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|channel\|>final(?:<\|message\|>)?)",
    re.IGNORECASE,
)

_CHARACTERS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-")
    | dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")
    | dict.fromkeys("\u2018\u2019", "'")
    | dict.fromkeys("\u201c\u201d", '"')
    | dict.fromkeys("\r\u200b\u2060\ufeff", "")
    | {
        "\uff08": "(",
        "\uff09": ")",
        "\uff1a": ":",
        "\uff1d": "=",
        "\uff0c": ", ",
        "\u3002": ". ",
        "\uff1f": "? ",
    }
)
# "**" between digits is a power, elsewhere bold type. "\(" and "\[" open LaTeX.
_MARKUP = re.compile(
    r"\\[()\[\]!]|(?<!\d)\*\*|\*\*(?!\d)|`|(?<!\w)__|__(?!\w)|\\(?:left|right)(?![a-z])"
)
_STYLED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox)[ ]?\{([^{}]{0,200})\}")

_ANSWER = (
    "(?:\\b(?:answer|result|solution|antwort|r\u00e9ponse|respuesta|risposta|resposta)\\b|\u7b54\u6848)"
    r"(?:[ ](?:to|for|of|in|choice|option|here)\b[^.!?:=\n]{0,80}?|,[^.,!?:=\n]{0,20},)?[ *_\"')]{0,3}"
    "(?:\\b(?:(?:would|should|must|will|has[ ]to)[ ]be|is|are|was|ist|est|es|\u00e8|\u00e9)\\b"
    "|[:=\u662f\u4e3a]|->|-(?!\\d)|\\n)(?![ ]{0,2}not\\b)"
)
_STATED = re.compile(rf"{_ANSWER}|(?m:^)####(?=[ ]?[-$\d])", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")

_NUMBER = re.compile(
    r"""(?P<glued>[A-Za-z](?:_\{?)?(?=\d))?                             # H2O and x_1 hold no amount
    (?P<sign>(?<![\w)\]}])[-+]|(?<==[ ])-[ ])?(?:\\?[$€£¥₹][ ]?(?P<inner>-)?)?
    (?:\\[dt]?frac\{(?P<top>\d{1,12})\}\{(?P<bottom>\d{1,12})\}
    |(?<![\d/.,])(?:(?P<whole>\d{1,6})[ ])?(?P<over>\d{1,12})/(?P<under>\d{1,12})(?![\d/]|\.\d)   # no date
    |(?P<digits>(?<![\w.])\.\d+|\d+(?:[.,'_ ]\d+)*)
        (?:[eE](?P<exponent>[-+]?\d{1,3})(?!\w)
        |[ ]?(?:[x×*·]|\\times|\\cdot)[ ]?10(?:\^|\*\*)\{?(?P<power>-?\d{1,3})\}?)?
        (?:[ ]?(?P<scale>thousand|million|billion|trillion)\b|(?P<kilo>k)\b)?
        (?P<ordinal>(?:st|nd|rd|th)\b)?)""",  # noqa: RUF001
    re.VERBOSE,
)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_GROUPED = re.compile(
    r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|[1-9]\d{0,2}(?P<gap>['_ ])\d{3}(?:(?P=gap)\d{3})*(?:\.\d+)?"
    r"|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?"
)
_EUROPEAN = re.compile(
    r"[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?|[1-9]\d{0,2}(?:\.\d{3})+,\d+|\d+,\d+|[1-9]\d{0,2}(?:[' ]\d{3})+,\d+"
)
_ASIDE = re.compile(r"\([^()\n]{0,200}\)|\b(?:because|since)\b[^.,;\n]{0,200}", re.IGNORECASE)
_MARKER = re.compile(r"(?m)^[ \t>*-]{0,8}(\d{1,2})[.)][ \t]+(?=\S)")
_NUMBERED = re.compile(
    r"\b(?:step|part|case|question|problem|equation|option)[ ]\d{1,2}\b", re.IGNORECASE
)
_NEARLY = re.compile(
    r"[\s*_:=~≈$\"']{0,6}(?:(?:approximately|about|around|roughly|exactly|equal to|just)[ ])?", re.I
)
_UNIT = r"(?:[ ]{0,2}[^\s\d.,;:!?()=+*/<>-][^\s.,;:!?()=+*]{0,14})?"
_ALONE = re.compile(rf"{_UNIT}[ .!;$*_\"'\]]{{0,6}}\Z")
_LEADS = re.compile(
    rf"[.!;][ ]+\D|{_UNIT}[ ]?,?[ ](?:as|for|if|not|when|where|which|with)\b|{_ALONE.pattern}"
)
_REFUSAL = re.compile(
    r"\b(?:cannot|can't|can not|unable to|not able to|(?:not|im)\s?possible to|not enough|insufficient)\b[^.\n]{0,40}?"
    r"\b(?:answer|assist|calculate|compute|determine|help|information|know|provide|say|solve|tell)",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"[=≈]|\b(?:so|thus|hence|therefore|but|however|assum\w{1,5}|approximately|total)\b", re.I
)

_LETTER = "[^\\W\u3040-\u9fff]"  # Chinese and Japanese set no spaces around a word
_FILLER = (
    r"(?:[\s*_:,\"']{0,4}\b(?:the|that|it|is|it's|option|choice|letter|answer|correct|most|likely|probably|definitely"
    r"|clearly|therefore|thus|still|simply|indeed|on|would|be)\b){0,5}[\s*_:,\"'>({\[-]{0,8}"
)
_CHOSEN = (
    rf"(?:{_ANSWER}|\b(?:correct|right|best|closest)(?:[ ](?:one|option|choice|letter))?(?:[ ]is\b|:)"
    r"|\b(?:option|choice)(?:[ ]is\b|:)|\b(?:choose|chose|pick|select|go with|going with|opt for)\b"
    r"|(?P<weak>\b(?:it's|it is|it must be|that's|that is|which is|would say|i'd say|i think|i believe|means"
    r"|corresponds to|matches|points to|leads to|leaves|leaving|so|thus|hence|therefore)\b))"
)
_RIGHT = (
    r"[)\]\"'*.]{0,3}(?:[ ]?\([^()\n]{0,40}\)|[ ][\d/.,:-]{1,12})?[ ](?:is|must be|seems)[ ]"
    r"(?:the[ ])?(?:most[ ]|only[ ])?(?:correct|right|best|true|answer|likely|plausible|logical|one)\b"
)
_DENIED = re.compile(
    r"[)\]\"'*]{0,3}[ ](?:is|was|can|could|cannot|must)(?:[ ](?:also|clearly|therefore|be))?"
    r"(?:n't\b|[ ](?:not|wrong|incorrect|false|eliminated|excluded|impossible|out|too)\b)",
    re.IGNORECASE,
)
_LABEL_ENDS = re.compile(
    r"[)\]}\"'*_]{0,4}[ ]{0,2}(?:\Z|[\n,;:!?(\u2014]|\.(?!\w\.)|-[ ]|(?:because|since|as|which|not|due|based)\b)",
    re.I,
)
_LINE_ENDS = re.compile(r"[)\]}\"'*_.!]{0,4}[ ]{0,8}(?:\Z|\n)")

_YES_OR_NO = re.compile(
    r"\b(?:yes|no)\W{0,4}(?:and|or|/)\W{0,4}(?:yes|no)\b|\b(?:yes/no|no/yes)\b", re.IGNORECASE
)
# "No" before any other word is a determiner: "No one", "No idea".
_YES_NO = (
    r"(?:(?P<yes>yes)\b|(?P<no>no)\b(?![-'/])(?=\W{0,3}(?:\Z|\n)|[*_\"')\]]{0,3}[ ]?[.,!;:\u2014(-]|[*_\"')\]]{0,3}[ ]"
    r"(?:it|he|she|they|that|this|there|we|you|i|because|since|as)\b))"
)
_YES_NO_STATED = re.compile(
    rf"(?:{_ANSWER}|\b(?:so|thus|hence|therefore|actually|wait|finally|conclusion|verdict|would say|i'd say|i say)\b)"
    rf"{_FILLER}{_YES_NO}",
    re.IGNORECASE,
)
_YES_NO_LEADS = re.compile(
    rf"[\s*_>#\"'({{\[?.-]{{0,8}}(?:(?:well|hmm|a)[,:.]?[ ])?{_YES_NO}", re.IGNORECASE
)
_YES_NO_SAID = re.compile(
    rf"(?:\?[\"'*_)]{{0,3}}\s{{1,3}}|\b(?:think|believe|guess|answer|say|is a)[ ][\"']?){_YES_NO}",
    re.IGNORECASE,
)

_RATED = (
    r"(?P<gap>[^\w\n.]{0,12}(?:\([^()\n]{0,60}\)[^\w\n.]{0,8})?"
    r"(?:(?:score|rating|intensity|level|is|at|of|a)\b[^\w\n]{1,6}){0,3})(?P<value>\d{1,6}(?:[.,]\d{1,6})?)(?!\w)"
    r"(?:[ ]?(?:/|out of)[ ]?(?P<scale>\d{1,6}))?(?P<range>[ ]?(?:-|to)[ ]?\d)?"
)
_BARE_RATING = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)(?:/10)?\.?")


def remove_thinking(text: str) -> tuple[str, bool]:
    """Return a text without its thinking blocks, and whether a block is still open.

    An open block leaves the text before it. A first closing tag without an opening one ends a block
    that the prompt's template opened, so all before it is thinking.
    """
    visible, start, is_open, n_block = [], 0, False, 0
    for tag in _THINKING.finditer(text):
        if not is_open and (tag["open"] or n_block):
            visible.append(text[start : tag.start()])
        if tag["open"]:
            n_block += not is_open
            is_open = True
        else:
            is_open, start, n_block = False, tag.end(), max(n_block, 1)
    if not is_open:
        visible.append(text[start:])
    return "".join(visible).strip(), is_open


def parse_number(text: str) -> Decimal | None:
    r"""Return the number that an answer means, by the first of these rules that finds one.

    1. The last `\boxed{}`. 2. The last statement such as "answer is", "answer:" or "####": the
    number right after it,
    else the last one of its sentence (of its paragraph after a colon). 3. None if the text refuses
    and then concludes nothing. 4. The last line, if it is a number alone. 5. The number that the
    first line is or begins with, as in "12 (because 7 + 5)". 6. The last number outside of
    parentheses and reasons, list markers left out. One comma before three digits, and any repeated
    separator before groups of three, mark thousands; another single comma is a decimal one.
    Fractions are divided, "million" and the like multiply, "%" does not.
    """
    text = _plain(text)
    value = _last_number(_boxed(text))
    for cue, region in [] if value is not None else _statements(text):
        value = _leading_number(region)
        if value is None and cue[-1] in ":=\n":
            value = _last_number(region.strip().split("\n\n", 1)[0])
        elif value is None and cue != "####":
            value = _last_number(_first_sentence(region))
        if value is not None:
            break
    if value is not None:
        return value
    refusals = list(_REFUSAL.finditer(text))
    if refusals and not _CONCLUDES.search(text, refusals[-1].end()):
        return None
    lines = _lines(text) or [""]
    for value in (
        _leading_number(lines[-1], _ALONE),
        _leading_number(lines[0]),
        _last_number(text),
    ):
        if value is not None:
            return value
    return None


def parse_whole_number(text: str) -> int | None:
    """Return the number that is meant, rounded; None if there is none, or if it is too large to be
    written out.
    """
    number = parse_number(text)
    if number is None or not number.is_finite() or abs(number.adjusted()) > LARGEST_EXPONENT:
        return None
    return round(number)


def parse_choice(text: str, labels: Sequence[str]) -> str | None:
    r"""Return the label of the option that an answer chooses, such as "D" or "(D)", as it is
    spelled in `labels`.

    1. The last `\boxed{}`. 2. The last statement such as "answer: D", "option C is correct" or "I
    think it's B"; one of
    several labels gives None. 3. The last line, if it is a label alone. 4. The label that the first
    line begins with, unless that begins a list of the options. 5. The only "(D)" or "option D" of
    the text, else of its last line. A letter within prose is no choice, and a small letter only
    where it stands alone or is marked off.
    """
    text = _plain(text)
    find_stated, find_right, find_several, find_leading, find_marked = _choice_patterns(
        tuple(labels)
    )

    def leading(line: str) -> re.Match[str] | None:
        match = find_leading.match(line)
        return match if match and _is_label(match, "line") else None

    lines = _lines(text) or [""]
    stated = [
        match
        for match in find_stated.finditer(text)
        if _is_label(match, "weak" if match["weak"] else "strong")
    ]
    stated += [match for match in find_right.finditer(text) if not match["label"].islower()]
    begun = [match for match in map(leading, lines) if match]
    found = leading(_boxed(text)) or max(
        stated, key=lambda match: match.start("label"), default=None
    )
    order = [_index(match) for match in begun]
    if not found and len(order) > 1 and order == list(range(len(order))):
        return None
    if not found and begun:
        if begun[-1].string == lines[-1] and _LINE_ENDS.match(lines[-1], begun[-1].end("label")):
            found = begun[-1]
        elif begun[0].string == lines[0] and (_index(begun[0]) > 0 or len(set(order)) == 1):
            found = begun[0]
    if found:
        return (
            None if find_several.match(found.string, found.end("label")) else labels[_index(found)]
        )
    for part in (text, lines[-1]):
        marked = [
            match
            for match in find_marked.finditer(part)
            if match["open"] or not match["label"].islower()
        ]
        indices = {_index(match) for match in marked if not _DENIED.match(part, match.end("label"))}
        if len(indices) == 1:
            return labels[indices.pop()]
    return None


def parse_yes_no(text: str) -> Literal["Yes", "No"] | None:
    r"""Return whether an answer is yes or no; None for any other language and for "not", however
    negative it sounds.

    1. The last `\boxed{}`. 2. The last conclusion such as "answer is no" or "so, yes". 3. The last
    line,
    then the first, if it begins with the word. 4. What all weaker statements agree on. "Yes or no"
    is left out as part of a question.
    """
    text = _YES_OR_NO.sub(" ", _plain(text))
    lines = _lines(text) or [""]
    stated = list(_YES_NO_STATED.finditer(text))[-1:]
    for match in (
        _YES_NO_LEADS.match(_boxed(text)),
        *stated,
        *map(_YES_NO_LEADS.match, (lines[-1], lines[0])),
    ):
        if match:
            return "Yes" if match["yes"] else "No"
    said = {bool(match["yes"]) for match in _YES_NO_SAID.finditer(text)}
    return None if len(said) != 1 else "Yes" if said.pop() else "No"


def parse_word(text: str, words: Sequence[str]) -> str | None:
    r"""Return the one of some words or phrases that an answer gives, as it is spelled in `words`.

    1. The last `\boxed{}`. 2. The last statement such as "answer is Tuesday"; one of several words
    gives None. 3. Lines
    that are a word alone, if they agree. 4. The word that the first line begins with, marked off.
    5. The only word mentioned in the text, else after its last question, else in its last line.
    "Not Tuesday" does not mention Tuesday.
    """
    text = _plain(text)
    find_word, find_direct, find_several, find_leading = _word_patterns(tuple(words))

    def mentioned(part: str) -> set[int]:
        return {_index(match) for match in find_word.finditer(part)}

    found = mentioned(_boxed(text))
    if len(found) == 1:
        return words[found.pop()]
    for _, region in _statements(text):
        match = find_direct.match(region)
        if match:
            return None if find_several.match(region, match.end("label")) else words[_index(match)]
        found = mentioned(_first_sentence(region))
        if found:
            return words[found.pop()] if len(found) == 1 else None
    lines = _lines(text) or [""]
    begun = [match for match in map(find_leading.match, lines) if match]
    alone = {_index(match) for match in begun if _LINE_ENDS.match(match.string, match.end("label"))}
    if alone:
        return words[alone.pop()] if len(alone) == 1 else None
    match = find_leading.match(lines[0])
    if match and not find_several.match(lines[0], match.end("label")):
        return words[_index(match)]
    for part in (text, text.rpartition("?")[2], lines[-1]):
        found = mentioned(part)
        if len(found) == 1:
            return words[found.pop()]
    return None


def parse_ratings(text: str, names: Sequence[str]) -> list[float] | None:
    """Return a rating in 0..10 for each name, in their order; None if any is missing, out of range
    or itself a range.

    A name's last rating counts, so that a revised one replaces the first. "7/10" is 7. Without any
    name, a bare list of
    exactly as many numbers is taken in order: the whole text, or its last line.
    """
    text = _plain(text)
    ratings: dict[int, float | None] = {}
    for match in _rating_pattern(tuple(names)).finditer(text):
        is_negative = (
            match["gap"].endswith("-")
            and match["gap"] != "-"
            and match["gap"][:-1].strip(" *_\"'") != ""
        )
        rating = float(match["value"].replace(",", "."))
        is_valid = (
            rating <= 10
            and not is_negative
            and not match["range"]
            and int(match["scale"] or 10) == 10
        )
        ratings[_index(match)] = rating if is_valid else None
    values = [ratings.get(index) for index in range(len(names))]
    for part in [text, *_lines(text)[-1:]] if not ratings else []:
        part = _MARKER.sub("", part.partition(":")[2] or part)
        bare = [
            _BARE_RATING.fullmatch(number)
            for number in re.split(r"[\s,;|\[\]()*]+", part.strip(" \n,;|[]()*"))
        ]
        if len(bare) == len(names):
            values = [
                float(number[1]) if number and float(number[1]) <= 10 else None for number in bare
            ]
            break
    return (
        [value for value in values if value is not None] if values and None not in values else None
    )


def _plain(text: str) -> str:
    """Return a text with one form of each sign, without bold type and LaTeX that only styles."""
    text = text.translate(_CHARACTERS).replace("{,}", ",").replace("\\,", " ").replace("\\%", "%")
    return _STYLED.sub(r"\1", _MARKUP.sub("", text))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if re.search(r"\w", line)]


def _boxed(text: str) -> str:
    r"""Return what the last `\boxed{}` holds, at most 300 characters, "" without one."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return ""
    content, depth = text[text.index("{", start) + 1 :][:300], 1
    for i, character in enumerate(content):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return content[:i]
    return content.partition("\n")[0]


def _statements(text: str) -> Iterator[tuple[str, str]]:
    """Yield each phrase such as "answer is" with the text from it to the next one, the last first."""
    end = len(text)
    for cue in reversed(list(_STATED.finditer(text))):
        yield cue[0], text[cue.end() : end]
        end = cue.start()


def _first_sentence(text: str) -> str:
    text = text.lstrip(" *_:=\"'\n")
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text


def _numbers(text: str) -> Iterator[tuple[int, int, Decimal]]:
    """Yield start, end and value of each number.

    One of more than 300 digits, from a model that loops, is left out.
    """
    for match in _NUMBER.finditer(text):
        sign = "-" if "-" in (match["sign"] or "") or match["inner"] else ""
        if top := match["top"] or match["over"]:
            bottom = int(match["bottom"] or match["under"])
            if bottom and not match["glued"]:
                value = int(match["whole"] or 0) + Decimal(int(top)) / bottom
                yield match.start(), match.end(), -value if sign else value
            continue
        if match["glued"] and match["digits"].isdigit():
            continue
        parts = list(_split(match["digits"]))
        for i, (offset, digits) in enumerate(parts):
            is_last = i == len(parts) - 1
            if len(digits) > 300 or (i == 0 and match["glued"]) or (is_last and match["ordinal"]):
                continue
            exponent = int(match["exponent"] or match["power"] or 0) + _SCALES.get(
                match["scale"], 3 * bool(match["kilo"])
            )
            # By way of a text, because arithmetic would round to 28 digits.
            value = Decimal(f"{sign if i == 0 else ''}{digits}e{exponent if is_last else 0}")
            start = match.start("digits") + offset
            yield (
                match.start() if i == 0 else start,
                match.end() if is_last else start + len(digits),
                value,
            )


def _split(digits: str) -> Iterator[tuple[int, str]]:
    """Yield offset and plain digits of each number in a run of digits and single separators."""
    if _GROUPED.fullmatch(digits):
        yield 0, re.sub(r"[,'_ ]", "", digits)
    elif _EUROPEAN.fullmatch(digits):
        yield 0, re.sub(r"[.' ]", "", digits).replace(",", ".")
    elif " " in digits:
        for part in re.finditer(r"[^ ]+", digits):
            yield from ((part.start() + offset, number) for offset, number in _split(part[0]))
    else:
        yield from ((part.start(), part[0]) for part in re.finditer(r"\.\d+|\d+(?:\.\d+)?", digits))


def _leading_number(text: str, ends: re.Pattern[str] = _LEADS) -> Decimal | None:
    """Return the number that the first line begins with, if what follows it leaves it the answer."""
    line = text.lstrip(" *_:=\"'\n").partition("\n")[0][:400]  # more would be no number alone
    for form in (_ASIDE.sub("", line).rstrip(), line.strip("( )")):
        start, end, value = next(_numbers(form), (0, 0, Decimal(0)))
        is_marker = value == 1 and form[end : end + 2] == ". "
        if end and not is_marker and _NEARLY.fullmatch(form, 0, start) and ends.match(form, end):
            return value
    return None


def _last_number(text: str) -> Decimal | None:
    markers = _MARKER.search(text)
    text = _NUMBERED.sub("", _MARKER.sub("", text) if markers and markers[1] == "1" else text)
    outside, n_aside = _ASIDE.subn(" ", text)
    found = list(_numbers(outside)) or (list(_numbers(text)) if n_aside else [])
    return found[-1][2] if found else None


def _any_of(words: Sequence[str]) -> str:
    """Return a pattern of whole words, the group "w0" for the first of them and so on, "label" for
    any.
    """
    longest_first = sorted(range(len(words)), key=lambda index: -len(words[index]))
    groups = [
        f"(?P<w{index}>{r'[ ]{1,3}'.join(map(re.escape, words[index].split()))})"
        for index in longest_first
        if words[index].strip()
    ]
    return rf"(?<!{_LETTER})(?<!\w-)(?P<label>{'|'.join(groups) or '(?!)'})(?!{_LETTER})"


def _index(match: re.Match[str]) -> int:
    return next(
        int(name[1:])
        for name, found in match.groupdict().items()
        if found and re.fullmatch(r"w\d+", name)
    )


def _is_label(match: re.Match[str], place: Literal["weak", "line", "strong"]) -> bool:
    """Return whether a letter is set apart from prose.

    The more a place calls for a label, the less that takes.
    """
    text, label, end = match.string, match["label"], match.end("label")
    is_closed = place != "weak" and text[end : end + 1] in (")", "]")
    if label in ("a", "i"):
        return is_closed or bool(_LINE_ENDS.match(text, end))
    if is_closed or _LABEL_ENDS.match(text, end):
        return True
    if place != "weak" and re.match(r"[ ]{1,3}[\d$]", text[end : end + 5]):
        return True
    return place == "strong" and label.isupper() and label not in ("A", "I")


@functools.lru_cache(maxsize=64)
def _choice_patterns(labels: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    label = _any_of([label.strip("()[]. ") for label in labels]) + r"(?!'\w|[+#]|-\w)"
    more = r"[)\]\"'*]{0,3}[ ]?(?:and|or|/|&|,)[ ]?(?:and |or )?[\"'(\[]?"
    patterns = (
        f"{_CHOSEN}{_FILLER}{label}",
        f"{label}{_RIGHT}",
        rf"{more}{label}[)\]]?(?=[ ]?[,.!\n]|\Z|[ ](?:and|or)\b)",
        rf"[\s*_>#\"'({{\[-]{{0,8}}(?:(?:final[ ])?(?:option|choice|answer)[\s:(]{{1,4}})?{label}",
        rf"(?<!not )(?<!n't )(?:(?P<open>[(\[])|\b(?:option|choice)[ ]){label}(?(open)(?=[)\]]))",
    )
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


@functools.lru_cache(maxsize=64)
def _word_patterns(words: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    word = _any_of(words)
    patterns = (
        rf"(?<!not )(?<!n't )(?<!not a )(?<!not on )(?<!nor )(?<!neither ){word}",
        _FILLER + word,
        rf"[\"')*]{{0,2}}[ ]{{0,2}}(?:,[ ]?(?:and |or )?|and |or |/|&)[ ]{{0,2}}(?:the |on )?{word}",
        rf"[\s*_>#\"'({{\[-]{{0,8}}{word}(?=[*_\"')\]]{{0,3}}[ ]{{0,2}}(?:\Z|[.,;:!(\u2014]|-[ ]|because\b|since\b))",
    )
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


@functools.lru_cache(maxsize=64)
def _rating_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(_any_of(names) + _RATED, re.IGNORECASE)
