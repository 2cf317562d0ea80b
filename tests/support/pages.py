"""Read the pages of documentation: blocks of code, and the commands in them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"

# ```python
# print(1)
# ```
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# a blank line, then lines that begin with four blanks
_INDENTED = re.compile(r"(?<=\n\n)((?: {4}.*\n|\n(?= {4}))+)")
# | `0..3` | layers 0 to 3 |
_ROW = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)
_SHELLS = ("bash", "console", "sh")
_PROGRAMS = ("rys", "python", "pip", "pytest", "bash")


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Attributes:
        language: As the fence names it; "" for a fence without one, "indented" for no fence.
        text: The lines, without the fence and the indentation.
    """

    language: str
    text: str


def read(page: Path) -> str:
    """Return the text of a page."""
    return page.read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """Return the blocks of code of a page: first the fenced ones, then the indented ones."""
    found = [Block(language, body) for language, body in _FENCE.findall(text)]
    for body in _INDENTED.findall(_FENCE.sub("", text)):
        found.append(Block("indented", textwrap.dedent(body)))
    return found


def python_blocks(text: str) -> list[str]:
    """Return the text of the blocks of Python."""
    return [block.text for block in blocks(text) if block.language == "python"]


def commands(text: str) -> list[str]:
    """Return the shell commands of a page, without their prompts.

    In a block with prompts only the lines after a prompt are commands; the others are output. A
    line that ends with a backslash goes on in the next one.
    """
    found = []
    for block in blocks(text):
        if block.language not in (*_SHELLS, "indented"):
            continue
        lines = block.text.replace("\\\n", "").splitlines()
        if any(line.startswith("$ ") for line in lines):
            found += [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif block.language != "indented":
            found += [line for line in lines if line and not line.startswith("#")]
        else:
            found += [line for line in lines if line.split(" ")[0] in _PROGRAMS]
    return found


def rys_commands(text: str) -> list[str]:
    """Return the arguments of every call of `rys`, as one line for `shlex`; "" for no arguments."""
    found = []
    for command in commands(text):
        for part in command.split(" && "):
            program, _, arguments = part.strip().partition(" ")
            if program == "rys":
                found.append(arguments)
    return found


def table(text: str) -> dict[str, str]:
    """Return the rows of two columns whose first is code: what it says, by the code."""
    return dict(_ROW.findall(text))
