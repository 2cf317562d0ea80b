r"""Where an answer is stated: "the answer is", "answer:", "####".

Three questions are asked of a text, and each has a pattern of its own:

- `statements`: where might an answer stand? It takes many phrasings in several languages, because a
  parser then checks whether what follows is an answer.
- `last_stated_line`: what follows "the answer is", to the end of the line? This is for prompts that
  ask for exactly this ending, with answers that are free text. Everything that follows is taken, so
  only the one phrase counts.
- `has_statement`: was any answer stated in a text that was cut off? It needs neither the place nor
  the answer, and takes the endings that our prompts ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["ANSWER_PHRASE", "has_statement", "last_stated_line", "statements"]

# "the answer to the question is", "Answer:", "result =", "la respuesta es"; not "the answer is not"
ANSWER_PHRASE = (
    "(?:\\b(?:answer|result|solution|antwort|r\u00e9ponse|respuesta|risposta|resposta)\\b"
    "|\u7b54\u6848)"
    r"(?:[ ](?:to|for|of|in|choice|option|here)\b[^.!?:=\n]{0,80}?|,[^.,!?:=\n]{0,20},)?"
    r"[ *_\"')]{0,3}"
    "(?:\\b(?:(?:would|should|must|will|has[ ]to)[ ]be|is|are|was|ist|est|es|\u00e8|\u00e9)\\b"
    "|[:=\u662f\u4e3a]|->|-(?!\\d)|\\n)(?![ ]{0,2}not\\b)"
)
# also "#### 42", the ending of GSM8K
_STATEMENT = re.compile(rf"{ANSWER_PHRASE}|(?m:^)####(?=[ ]?[-$\d])", re.IGNORECASE)
# "the answer is", "Answer: **"
_ENDING = re.compile(r"\banswer(?:\s+is\b|\s*:)[\s:*]*", re.IGNORECASE)
# "answer is", "answer:", "####", "\boxed"
_ANY_STATEMENT = re.compile(r"answer\s*(?:is\b|:)|####|\\boxed", re.IGNORECASE)


def statements(text: str) -> Iterator[tuple[str, str]]:
    """Yield each phrase such as "answer is" with the text up to the next one, the last first."""
    end = len(text)
    for phrase in reversed(list(_STATEMENT.finditer(text))):
        yield phrase[0], text[phrase.end() : end]
        end = phrase.start()


def last_stated_line(text: str) -> str:
    """Return the rest of the line after the last "the answer is"; "" if there is none."""
    ends = [match.end() for match in _ENDING.finditer(text)]
    return text[ends[-1] :].partition("\n")[0].strip() if ends else ""


def has_statement(text: str) -> bool:
    """Return whether an answer is stated anywhere in a text."""
    return _ANY_STATEMENT.search(text) is not None
