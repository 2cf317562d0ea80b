"""Answers that are numbers, as people and models write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, localcontext

from rys.probes.parsers.normalise import boxed, first_sentence, plain_text, visible_lines
from rys.probes.parsers.statements import statements
from rys.probes.stable_names import stable_name

__all__ = ["LARGEST_EXPONENT", "LIST_MARKER", "parse_number", "parse_whole_number"]

LARGEST_EXPONENT = 100  # of a number that may become an int: 1e999999999 is short to write
_MAX_DIGITS = 300  # a model that loops writes more
_MAX_LEADING = 400  # characters of a line that is looked at for a number alone

_NUMBER = re.compile(
    r"""
    # "H2", "x_1", "x_{1": a letter before the digit, so it is not an amount; nor in "m^2" and
    # "s^{-1"
    (?P<glued>[A-Za-z](?:_\{?)?(?=\d))?(?P<exponent_of>\^\{?[-+]?(?=\d))?
    # "-5", "= - 5", "-$5", "$-5"; in "3-5" and "x) - 5" the sign is an operator
    (?P<sign>(?<![\w)\]}])[-+]|(?<==[ ])-[ ])?(?:\\?[$€£¥₹][ ]?(?P<inner>-)?)?
    # "\frac{1}{2}"
    (?:\\[dt]?frac\{(?P<top>\d{1,12})\}\{(?P<bottom>\d{1,12})\}
    # "3/4", "1 3/4"; not the date "12/14/1937"
    |(?<![\d/.,])(?:(?P<whole>\d{1,6})[ ])?(?P<over>\d{1,12})/(?P<under>\d{1,12})(?![\d/]|\.\d)
    # "42", ".5", "1,234.5", "1 234"
    |(?P<digits>(?<![\w.])\.\d+|\d+(?:[.,'_ ]\d+)*)
        # "2^10", "10^{-2}", "2**3"
        (?:(?:\^|\*\*)\{?(?P<raised>-?\d{1,3})\}?(?![\d.])
        # "1e6"; "3 x 10^8", "3 \times 10^{8}"
        |[eE](?P<exponent>[-+]?\d{1,3})(?!\w)
        |[ ]?(?:[x×*·]|\\times|\\cdot)[ ]?10(?:\^|\*\*)\{?(?P<power>-?\d{1,3})\}?)?
        # "3 million", "3k"
        (?:[ ]?(?P<scale>thousand|million|billion|trillion)\b|(?P<kilo>k)\b)?
        # "3rd"
        (?P<ordinal>(?:st|nd|rd|th)\b)?)""",  # noqa: RUF001
    re.VERBOSE,
)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
# "1,234,567.8", "1 234 567", "12,34,567" (India)
_GROUPED = re.compile(
    r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"
    r"|[1-9]\d{0,2}(?P<gap>['_ ])\d{3}(?:(?P=gap)\d{3})*(?:\.\d+)?"
    r"|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?"
)
# "1.234.567,8", "1.234,5", "3,5", "1'234,5"
_EUROPEAN = re.compile(
    r"[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?|[1-9]\d{0,2}(?:\.\d{3})+,\d+|\d+,\d+"
    r"|[1-9]\d{0,2}(?:[' ]\d{3})+,\d+"
)
_SEPARATORS = re.compile(r"[,'_ ]")  # of thousands in "1,234" and "1 234"
_EUROPEAN_SEPARATORS = re.compile(r"[.' ]")  # of thousands in "1.234,5"
_WITHOUT_SPACE = re.compile(r"[^ ]+")  # "12" and "34" in "12 34"
_SINGLE = re.compile(r"\.\d+|\d+(?:\.\d+)?")  # "1", "2" and "3.5" in "1,2_3.5"

# "(7 + 5)", "because 7 + 5 is 12"
_ASIDE = re.compile(r"\([^()\n]{0,200}\)|\b(?:because|since)\b[^.,;\n]{0,200}", re.IGNORECASE)
LIST_MARKER = re.compile(r"(?m)^[ \t>*-]{0,8}(\d{1,2})[.)][ \t]+(?=\S)")  # "1. ", "- 2) "
# "Step 2", "option 1"
_NUMBERED = re.compile(
    r"\b(?:step|part|case|question|problem|equation|option)[ ]\d{1,2}\b", re.IGNORECASE
)
# "about ", "= $", "**": what may stand before a leading number
_NEARLY = re.compile(
    r"[\s*_:=~≈$\"']{0,6}(?:(?:approximately|about|around|roughly|exactly|equal to|just)[ ])?",
    re.IGNORECASE,
)
_UNIT = r"(?:[ ]{0,2}[^\s\d.,;:!?()=+*/<>-][^\s.,;:!?()=+*]{0,14})?"  # " apples", "%", " km/h"
_ALONE = re.compile(rf"{_UNIT}[ .!;$*_\"'\]]{{0,6}}\Z")  # " apples.", after the number of a line
# ". That", " apples, as 7 + 5", and all that _ALONE takes
_LEADS = re.compile(
    rf"[.!;][ ]+\D|{_UNIT}[ ]?,?[ ](?:as|for|if|not|when|where|which|with)\b|{_ALONE.pattern}"
)
# "cannot be determined", "not enough information"
_REFUSAL = re.compile(
    r"\b(?:cannot|can't|can not|unable to|not able to|(?:not|im)\s?possible to|not enough"
    r"|insufficient)\b[^.\n]{0,40}?"
    r"\b(?:answer|assist|calculate|compute|determine|help|information|know|provide|say|solve|tell)",
    re.IGNORECASE,
)
# "but assuming", "so", "=": the text concludes something after its refusal
_CONCLUDES = re.compile(
    r"[=≈]|\b(?:so|thus|hence|therefore|but|however|assum\w{1,5}|approximately|total)\b",
    re.IGNORECASE,
)


@stable_name("parse_number")
def parse_number(text: str) -> Decimal | None:
    r"""Return the number that an answer means.

    The first of these rules that finds a number decides:

    1. the last `\boxed{}`;
    2. the last statement such as "answer is", "answer:" or "####": the number right after it, else
       the last one of its sentence (after a colon: of its paragraph);
    3. none, if the text refuses to answer and then concludes nothing;
    4. the last line, if it is a number alone;
    5. the number that the first line is or begins with, as in "12 (because 7 + 5)";
    6. the last number outside of parentheses and reasons, without list markers.

    One comma before three digits, and any repeated separator before groups of three, mark
    thousands; another single comma is a decimal one. Fractions are divided, "10^6" is a million,
    and "million" and the like multiply; "%" does not, nor does the power of a unit, as in "12 m^2".

    Args:
        text: The answer.

    Returns:
        The number, exactly as it is written, or None.
    """
    text = plain_text(text)
    value = _last_number(boxed(text))
    if value is None:
        value = _stated_number(text)
    if value is not None or _refuses(text):
        return value
    lines = visible_lines(text)
    value = _leading_number(lines[-1], _ALONE)
    if value is None:
        value = _leading_number(lines[0])
    return _last_number(text) if value is None else value


@stable_name("parse_whole_number")
def parse_whole_number(text: str) -> int | None:
    """Return the number that an answer means, rounded to a whole one.

    Args:
        text: The answer.

    Returns:
        The number; None if there is none, or if it is too large to be written out.
    """
    number = parse_number(text)
    if number is None or not number.is_finite() or abs(number.adjusted()) > LARGEST_EXPONENT:
        return None
    return round(number)


def _stated_number(text: str) -> Decimal | None:
    """Return the number of the last statement that has one."""
    for phrase, region in statements(text):
        value = _leading_number(region)
        if value is None and phrase[-1] in ":=\n":
            value = _last_number(region.strip().split("\n\n", 1)[0])
        elif value is None and phrase != "####":
            value = _last_number(first_sentence(region))
        if value is not None:
            return value
    return None


def _refuses(text: str) -> bool:
    """Return whether a text refuses to answer and then concludes nothing."""
    refusals = list(_REFUSAL.finditer(text))
    return bool(refusals) and not _CONCLUDES.search(text, refusals[-1].end())


def _leading_number(text: str, ends: re.Pattern[str] = _LEADS) -> Decimal | None:
    """Return the number that the first line begins with, if what follows leaves it the answer."""
    line = text.lstrip(" *_:=\"'\n").partition("\n")[0][:_MAX_LEADING]
    for form in (_ASIDE.sub("", line).rstrip(), line.strip("( )")):
        start, end, value = next(_numbers(form), (0, 0, Decimal(0)))
        is_marker = value == 1 and form[end : end + 2] == ". "  # a list begins
        if end and not is_marker and _NEARLY.fullmatch(form, 0, start) and ends.match(form, end):
            return value
    return None


def _last_number(text: str) -> Decimal | None:
    """Return the last number outside of parentheses and reasons, else the last one of all."""
    markers = LIST_MARKER.search(text)
    if markers and markers[1] == "1":  # a line that begins with "42." is not a list
        text = LIST_MARKER.sub("", text)
    text = _NUMBERED.sub("", text)
    outside, n_aside = _ASIDE.subn(" ", text)
    found = list(_numbers(outside))
    if not found and n_aside:
        found = list(_numbers(text))
    return found[-1][2] if found else None


def _numbers(text: str) -> Iterator[tuple[int, int, Decimal]]:
    """Yield start, end and value of each number."""
    for match in _NUMBER.finditer(text):
        if match["top"] or match["over"]:
            yield from _fraction(match)
        elif not (match["glued"] and match["digits"].isdigit()) and not match["exponent_of"]:
            yield from _decimal_numbers(match)


def _is_negative(match: re.Match[str]) -> bool:
    return "-" in (match["sign"] or "") or bool(match["inner"])


def _fraction(match: re.Match[str]) -> Iterator[tuple[int, int, Decimal]]:
    """Yield start, end and value of a fraction, unless it divides by zero."""
    bottom = int(match["bottom"] or match["under"])
    if bottom and not match["glued"]:
        top = int(match["top"] or match["over"])
        value = int(match["whole"] or 0) + Decimal(top) / bottom
        yield match.start(), match.end(), -value if _is_negative(match) else value


def _decimal_numbers(match: re.Match[str]) -> Iterator[tuple[int, int, Decimal]]:
    """Yield start, end and value of each number in a run of digits and separators.

    Sign, power, exponent and scale belong to the first and the last of them.
    """
    parts = list(_split(match["digits"]))
    for i, (offset, digits) in enumerate(parts):
        is_first, is_last = i == 0, i == len(parts) - 1
        is_part_of_word = (is_first and match["glued"]) or (is_last and match["ordinal"])
        if len(digits) > _MAX_DIGITS or is_part_of_word:
            continue
        sign = "-" if is_first and _is_negative(match) else ""
        exponent = _exponent(match) if is_last else 0
        raised = int(match["raised"] or 1) if is_last else 1
        if len(digits) * abs(raised) > _MAX_DIGITS or (raised < 0 and not Decimal(digits)):
            continue
        # By way of a text, because arithmetic would round to 28 digits.
        value = Decimal(f"{sign}{digits}e{exponent}")
        if raised != 1:
            with localcontext() as context:
                context.prec = _MAX_DIGITS
                value = (abs(value) ** raised).copy_sign(value)
        start = match.start("digits") + offset
        end = match.end() if is_last else start + len(digits)
        yield match.start() if is_first else start, end, value


def _exponent(match: re.Match[str]) -> int:
    """Return the power of ten that a number is multiplied by."""
    kilo = 3 if match["kilo"] else 0
    return int(match["exponent"] or match["power"] or 0) + _SCALES.get(match["scale"], kilo)


def _split(digits: str) -> Iterator[tuple[int, str]]:
    """Yield offset and plain digits of each number in a run of digits and single separators."""
    if _GROUPED.fullmatch(digits):
        yield 0, _SEPARATORS.sub("", digits)
    elif _EUROPEAN.fullmatch(digits):
        yield 0, _EUROPEAN_SEPARATORS.sub("", digits).replace(",", ".")
    elif " " in digits:
        for part in _WITHOUT_SPACE.finditer(digits):
            for offset, number in _split(part[0]):
                yield part.start() + offset, number
    else:
        for part in _SINGLE.finditer(digits):
            yield part.start(), part[0]
