r"""Texts in one form, and their parts: lines, the first sentence, what `\boxed{}` holds."""

from __future__ import annotations

import re

__all__ = ["boxed", "first_sentence", "plain_text", "visible_lines"]

# One form of each sign: dashes, spaces, quotation marks, and the full-width signs of Chinese texts.
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
# "\(", "\]", the "**" of "**12**", "`", the "__" of "__12__", "\left". Between digits "**" is a
# power, as in "2**3".
_MARKUP = re.compile(
    r"\\[()\[\]!]|(?<!\d)\*\*|\*\*(?!\d)|`|(?<!\w)__|__(?!\w)|\\(?:left|right)(?![a-z])"
)
# "\text{ apples}", "\mathbf{12}"
_STYLED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|mbox)[ ]?\{([^{}]{0,200})\}")

# ". ", "! ", "?" at the end, a line break; not the "." of "3.5"
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")

_MAX_BOXED = 300  # characters: more is not an answer but a text that ran on


def plain_text(text: str) -> str:
    """Return a text with one form of each sign, without bold type and LaTeX that only styles."""
    text = text.translate(_CHARACTERS).replace("{,}", ",").replace("\\,", " ").replace("\\%", "%")
    return _STYLED.sub(r"\1", _MARKUP.sub("", text))


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
