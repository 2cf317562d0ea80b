"""The thinking blocks that models write before their answers."""

from __future__ import annotations

import re

__all__ = ["remove_thinking"]

_WORD = r"(?:think|thinking|thoughts?|reasoning)"
# "<think>", "<seed:think>", "[THINK]"; of Kimi "\u25c1think\u25b7", of Command A
# "<|START_THINKING|>", "<|begin_of_thought|>", of gpt-oss "<|channel|>analysis", of Gemma 4
# "<|channel>thought"
_TAG = re.compile(
    rf"(?P<open><(?:\w{{1,8}}:)?{_WORD}>|\[THINK\]|\u25c1think\u25b7|<\|(?:start|begin_of)_{_WORD}\|>"
    r"|<\|channel\|>(?:analysis|commentary)\b|<\|channel>thought\b)"
    rf"|(?P<close></(?:\w{{1,8}}:)?{_WORD}>|\[/THINK\]|\u25c1/think\u25b7|<\|end(?:_of)?_{_WORD}\|>"
    r"|<\|channel\|>final(?:<\|message\|>)?|<channel\|>)",
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
