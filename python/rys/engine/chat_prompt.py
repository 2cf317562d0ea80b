"""Render a conversation so that the text of users can be told from the template's own.

Templates write control tokens, such as `<|im_end|>`. In the text of users these are just text, and
must not end a turn. So they are disguised before a template is rendered, and restored in the
prompt, where their places are known then. A conversation without control tokens is rendered as it
is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rys.engine.control_tokens import ControlTokens, Span
from rys.errors import ChatTemplateError, RequestError

__all__ = ["PromptText", "render_apart"]

_PRIVATE_USE = range(0xF0000, 0x10FFFE)


@dataclass(frozen=True)
class PromptText:
    """A text that will be tokenized.

    Attributes:
        text: The whole text.
        literal: Where control tokens are to be read as text. An empty span lies between two
            characters, which then belong to no control token together.
    """

    text: str
    literal: tuple[Span, ...] = ()

    @classmethod
    def of(cls, text: str, *, parse_special: bool = True) -> PromptText:
        """Return a text in which all control tokens are read as such, or none."""
        return cls(text, () if parse_special else ((0, len(text)),))

    def __add__(self, other: PromptText) -> PromptText:
        shift = len(self.text)
        moved = tuple((start + shift, stop + shift) for start, stop in other.literal)
        return PromptText(self.text + other.text, self.literal + moved)


def render_apart(
    render: Callable[..., str],
    messages: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    control: ControlTokens,
) -> PromptText:
    """Render a conversation, and find the control tokens that users wrote.

    Args:
        render: Renders messages with the variables of a template by name.
        messages: The conversation.
        variables: Those of the template. Text in them counts as that of users, but for the names
            of tokens, as in `bos_token="<s>"`.
        control: The control tokens of the model.

    Returns:
        The text that `render` gives by itself. Where a template decides by the control tokens in a
        message, it is the text for a message without them.

    Raises:
        RysError: What `render` raises.
    """
    text = render(messages, **variables)
    try:
        strings = list(_strings([messages, variables]))
    except RecursionError:
        raise RequestError("the messages are nested too deeply") from None
    if not any(_spans(control, string) for string in strings):
        return PromptText(text)

    free = _unused_characters("".join([*strings, text]))
    substitutes = _Substitutes(control, free)
    disguises: list[_Disguise] = [substitutes, _Marks(control, free)]
    for disguise in disguises:
        try:
            prompt = _render_disguised(render, messages, variables, disguise)
        except ChatTemplateError:
            continue  # the template refuses what the other disguise may make right
        if prompt.text == text:
            return prompt
    return _render_disguised(render, messages, variables, substitutes)


class _Disguise(Protocol):
    """A way to make a template treat control tokens like other text."""

    def apply(self, text: str, *, parts: bool = True) -> str:
        """Return a text of users with its control tokens, and parts of them, disguised."""

    def restore(self, text: str) -> PromptText:
        """Return a rendered text with its control tokens as they were."""


class _Substitutes:
    """Other characters for those of a control token, one for each.

    A template may strip or cut such a text, or write it as JSON.
    """

    def __init__(self, control: ControlTokens, free: Iterator[str]) -> None:
        self._control = control
        self._free = free
        self._substitute: dict[str, str] = {}
        self._original: dict[str, str] = {}

    def apply(self, text: str, *, parts: bool = True) -> str:
        characters = list(text)
        for start, stop in _spans(self._control, text, parts=parts):
            for place in range(start, stop):
                characters[place] = self._of(text[place])
        return "".join(characters)

    def _of(self, character: str) -> str:
        if character not in self._substitute:
            substitute = self._substitute[character] = next(self._free)
            self._original[substitute] = character
            self._original[_in_json(substitute)] = character
        return self._substitute[character]

    def restore(self, text: str) -> PromptText:
        if not self._original:
            return PromptText(text)
        pieces = []
        literal = []
        size = 0
        # the texts between the substitutes, and every other time one of these
        for piece in re.split("(" + "|".join(map(re.escape, self._original)) + ")", text):
            original = self._original.get(piece, piece)
            if original != piece:
                literal.append((size, size + 1))
            pieces.append(original)
            size += len(original)
        return PromptText("".join(pieces), tuple(literal))


class _Marks:
    """A character before a control token, and one behind it.

    A template may look for such a token, split a text there, or write it in capitals.
    """

    def __init__(self, control: ControlTokens, free: Iterator[str]) -> None:
        self._control = control
        self._before, self._behind = next(free), next(free)
        self._marked: set[str] = set()

    def apply(self, text: str, *, parts: bool = True) -> str:
        for start, stop in reversed(_spans(self._control, text, parts=parts)):
            self._marked.add(text[start:stop])
            text = text[:start] + self._before + text[start:stop] + self._behind + text[stop:]
        return text

    def restore(self, text: str) -> PromptText:
        before, behind = self._before, self._behind
        for mark in (before, behind):
            text = text.replace(_in_json(mark), mark)
        pieces = []
        literal = []
        size = 0
        position = 0
        for match in re.finditer(
            f"{before}([^{before}{behind}]*){behind}|[{before}{behind}]", text
        ):
            size += match.start() - position
            inner = match[1] or ""
            stop = size + len(inner)
            # The template may have torn two marks apart and written something of its own between
            # them. Then, and at a mark without its partner, only the place of a mark counts.
            is_users = inner in self._marked
            literal += [(size, stop)] if is_users else [(size, size), (stop, stop)]
            pieces += [text[position : match.start()], inner]
            size = stop
            position = match.end()
        return PromptText("".join([*pieces, text[position:]]), tuple(literal))


def _render_disguised(
    render: Callable[..., str],
    messages: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    disguise: _Disguise,
) -> PromptText:
    disguised = {
        name: value if name.endswith("_token") else _disguised(value, disguise)
        for name, value in variables.items()
    }
    return disguise.restore(render(_disguised(messages, disguise), **disguised))


def _disguised(value: Any, disguise: _Disguise) -> Any:
    """Return a value with all its texts disguised."""
    if isinstance(value, str):
        return disguise.apply(value)
    if isinstance(value, (list, tuple)):
        items = [_disguised(item, disguise) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if not isinstance(value, Mapping):
        return value
    result = {}
    for key, item in value.items():
        name = disguise.apply(key, parts=False) if isinstance(key, str) else key
        if key == "role" and isinstance(item, str):
            # a template may make a control token of it, as in "<|" + role + "|>"
            result[name] = disguise.apply(item, parts=False)
        else:
            result[name] = _disguised(item, disguise)
    return result


def _strings(value: Any) -> Iterator[str]:
    """Yield all texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings([key, item])


def _spans(control: ControlTokens, text: str, *, parts: bool = True) -> list[Span]:
    """Return where a text holds control tokens, and parts of them at its ends."""
    spans = list(control.find(text))
    if parts:
        for start, stop in control.find_parts(text):
            if all(stop <= other[0] or other[1] <= start for other in spans):
                spans.append((start, stop))
    return sorted(spans)


def _unused_characters(text: str) -> Iterator[str]:
    """Yield characters that a text does not hold."""
    used = set(text)
    for code in _PRIVATE_USE:
        if chr(code) not in used:
            yield chr(code)
    raise RequestError("the messages use every character that Unicode leaves for private use")


def _in_json(character: str) -> str:
    """Return a character as JSON writes it in ASCII."""
    return json.dumps(character)[1:-1]
