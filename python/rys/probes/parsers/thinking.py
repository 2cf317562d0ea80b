"""The thinking blocks that models write before their answers."""

from __future__ import annotations

import re

__all__ = ["remove_thinking"]

# "<think>", "<seed:think>", "[THINK]", "<|channel|>analysis"; and "</think>", "[/THINK]",
# "<|channel|>final<|message|>"
_TAG = re.compile(
    r"(?P<open><(?:seed:)?(?:think|thinking|thought|reasoning)>|\[THINK\]"
    r"|<\|channel\|>(?:analysis|commentary)\b)"
    r"|(?P<close></(?:seed:)?(?:think|thinking|thought|reasoning)>|\[/THINK\]"
    r"|<\|channel\|>final(?:<\|message\|>)?)",
    re.IGNORECASE,
)


def remove_thinking(text: str) -> tuple[str, bool]:
    """Return a text without its thinking blocks.

    A first closing tag without an opening one ends a block that the prompt's template opened, so
    everything before it is thinking.

    Args:
        text: What a model wrote.

    Returns:
        The text outside of the blocks, without white space around it, and whether a block is still
        open at the end.
    """
    visible, start, is_open, n_block = [], 0, False, 0
    for tag in _TAG.finditer(text):
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
