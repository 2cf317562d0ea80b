r"""Parsers of the answers that chat models really give.

The answers come in prose, Markdown or LaTeX, with or without reasons. Every parser takes the text
of an answer. It returns None where it cannot read an answer with confidence, and it never raises.
All parsers take time that grows linearly with the text: repeats in their patterns are bounded, or
nothing that could fail follows them.
"""

from __future__ import annotations

from rys.probes.parsers.choice import parse_choice
from rys.probes.parsers.number import LARGEST_EXPONENT, parse_number, parse_whole_number
from rys.probes.parsers.ratings import parse_ratings
from rys.probes.parsers.thinking import remove_thinking
from rys.probes.parsers.word import parse_word
from rys.probes.parsers.yes_no import parse_yes_no

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
