r"""Texts in one form, and their parts: lines, the first sentence, what `\boxed{}` holds."""

from __future__ import annotations

import re

__all__ = ["boxed", "first_sentence", "plain_text", "visible_lines", "without_tags"]

# One form of each sign: dashes, spaces, quotation marks, and the full-width signs of Chinese texts.
_CHARACTERS = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-")
    | dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")
    | dict.fromkeys("\u2018\u2019", "'")
    | dict.fromkeys("\u201c\u201d\u00ab\u00bb\u300c\u300d", '"')
    | dict.fromkeys("\r\u200b\u2060\ufeff", "")
    | {
        "\uff08": "(",
        "\uff09": ")",
        "\u3010": "[",
        "\u3011": "]",
        "\uff1a": ":",
        "\uff1d": "=",
        "\uff0c": ", ",
        "\u3002": ". ",
        "\uff1f": "? ",
    }
)
# "\(", "\]", the "**" of "**12**", "`", the "__" of "__12__", "\left". Between digits "**" is a
# power, as in "2**3".
_MARKUP = re.compile(
    r"\\[()\[\]!]|(?<!\d)\*\*|\*\*(?!\d)|`|(?<!\w)__|__(?!\w)|\\(?:left|right)(?![a-z])"
)
# "\text{ apples}", "\mathbf{12}"
_STYLED = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|it|rm|sf|tt)|mbox|operatorname|underline|emph)[ ]?"
    r"\{([^{}]{0,200})\}"
)
# "<answer>", "<final_answer>", "[ANSWER]", and the box of GLM models; and what closes them
_ANSWER_TAG = re.compile(
    r"(?P<open><(?:final[_ -]?)?(?:answer|ans|result)>|\[(?:final[_ ])?answer\]|<\|begin_of_box\|>)"
    r"|</(?:final[_ -]?)?(?:answer|ans|result)>|\[/(?:final[_ ])?answer\]|<\|end_of_box\|>",
    re.IGNORECASE,
)
# "<b>" and "</b>", "<br/>"; in small letters, as "<B>" may be a label
_HTML_TAG = re.compile(
    r"</?(?:b|code|choice|em|i|mark|option|span|strong|u)>|(?P<line><(?:br ?/?|p)>)"
)
# "$A$", "$$12$$"; not "$5 and $6": as in Pandoc, no space after the first and before the second
# dollar, and no digit after that
_MATH = re.compile(r"\$\$?(?=\S)([^$\n]{1,200})(?<=\S)\$\$?(?!\d)")

# ". ", "! ", "?" at the end, a line break; not the "." of "3.5"
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")

_MAX_BOXED = 300  # characters: more is not an answer but a text that ran on


def plain_text(text: str) -> str:
    """Return a text with one form of each sign, without bold type and LaTeX that only styles."""
    text = text.translate(_CHARACTERS).replace("{,}", ",").replace("\\,", " ").replace("\\%", "%")
    text = text.replace("<sup>", "^").replace("<sub>", "_")
    return without_tags(_MARKUP.sub("", text))


def without_tags(text: str) -> str:
    """Return a text with "answer:" for tags that say so, and without LaTeX's dollars."""
    text = _ANSWER_TAG.sub(lambda tag: "\nanswer: " if tag["open"] else "\n", text)
    text = _HTML_TAG.sub(lambda tag: "\n" if tag["line"] else "", text)
    for _ in range(2):  # "\text{\textbf{C}}"
        text = _STYLED.sub(r"\1", text)
    return _MATH.sub(r"\1", text)


def visible_lines(text: str) -> list[str]:
    """Return the lines that have a letter or a digit, stripped; [""] if none has."""
    return [line.strip() for line in text.split("\n") if re.search(r"\w", line)] or [""]


def boxed(text: str) -> str:
    r"""Return what the last `\boxed{}` holds, at most 300 characters; "" if there is none."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return ""
    content, depth = text[text.index("{", start) + 1 :][:_MAX_BOXED], 1
    for i, character in enumerate(content):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return content[:i]
    return content.partition("\n")[0]


def first_sentence(text: str) -> str:
    """Return the first sentence or line of a text, without signs in front of it."""
    text = text.lstrip(" *_:=\"'\n")
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text
