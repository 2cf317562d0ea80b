"""Requests in the form that one model wants.

A model is asked with its chat template or plainly, with or without thinking, and its tokenizer says
which tokens stand for an answer. The text of an item is text, so no control token is read in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from rys.errors import ProbeError, RequestError
from rys.requests import Generate, LogLikelihood, NextToken

if TYPE_CHECKING:
    from rys.engine.model import Model

__all__ = ["Messages", "Prompter"]

Messages: TypeAlias = "Sequence[Mapping[str, Any]]"

# What stands before a turn where the model has no chat template; nothing before a system message.
_PLAIN_ROLES = {"user": "Question: ", "assistant": "Answer: "}


# The switch has no one name. A template does not look at those of others.
_WITH_THINKING = {"enable_thinking": True, "thinking": True}
_WITHOUT_THINKING = {"enable_thinking": False, "thinking": False, "thinking_budget": 0}


class Prompter:
    """Maker of requests to one model, as its chat template wants them.

    Attributes:
        has_template: The model has a chat template, and is asked with it.
        thinking: Models that can think do so where they write.
        thinking_budget: Tokens that thinking may take, apart from the answer's own.
    """

    def __init__(
        self,
        model: Model,
        *,
        thinking: bool = False,
        thinking_budget: int = 1024,
        plain: bool = False,
    ) -> None:
        """Make a prompter.

        Args:
            model: Whose chat template and tokenizer count.
            thinking: Let a model that can think do so where it writes. Off: the template's switch
                is turned off, where it has one.
            thinking_budget: Tokens that thinking may take; without thinking it is 0.
            plain: Ask as if the model had no chat template.
        """
        self._model = model
        has_any = bool(model.chat_template or model.chat_templates)
        self.has_template = has_any and not plain
        self.thinking = thinking
        self.thinking_budget = thinking_budget if thinking else 0
        # Where nothing is written, nothing can be thought.
        self._without_thinking = _WITHOUT_THINKING
        self._variables = _WITH_THINKING if thinking else _WITHOUT_THINKING
        self._label_tokens: dict[tuple[str, ...], list[list[int]]] = {}

    def generate(
        self, prompt: str | Messages, max_tokens: int, stop: Sequence[str] = ()
    ) -> Generate:
        """Return the request for an answer in text, greedily.

        Args:
            prompt: A text or messages.
            max_tokens: Of the answer; the thinking budget comes on top.
            stop: The answer ends before the first of these strings.
        """
        if not self.has_template:
            stop = (*stop, "\n\n")  # plain models go on with a question of their own
        return Generate(
            self._rendered(prompt),
            max_tokens=max_tokens + self.thinking_budget,
            stop=stop,
            template_variables=self._variables,
            parse_special=False,
        )

    def loglikelihood(self, prompt: str | Messages, answer: str) -> LogLikelihood:
        """Return the request for how probable an answer is after a prompt."""
        text = answer if self.has_template else f" {answer}"
        return LogLikelihood(
            self._rendered(prompt),
            text,
            template_variables=self._without_thinking,
            parse_special=False,
        )

    def choice(self, prompt: str | Messages, labels: Sequence[str]) -> NextToken | None:
        """Return the request for how probable each label is as the first token of the answer.

        With and without a space in front both count, where both are tokens:
        `rys.probes.scorers.label_probabilities` adds them up.

        Args:
            prompt: A text or messages.
            labels: The possible answers.

        Returns:
            The request; None if a label is more than one token.
        """
        label_tokens = self.label_tokens(labels)
        if not label_tokens:
            return None
        allowed = [token for tokens in label_tokens for token in tokens]
        return NextToken(
            self._rendered(prompt),
            allowed=allowed,
            template_variables=self._without_thinking,
            parse_special=False,
        )

    def label_tokens(self, labels: Sequence[str]) -> list[list[int]]:
        """Return the tokens that stand for each label.

        Args:
            labels: The possible answers.

        Returns:
            Token ids, [n_labels][V]: V is 1 or 2, the ways of writing (without and with a space in
            front) in which all labels are one token. An empty list if there is no such way.
        """
        key = tuple(labels)
        if key not in self._label_tokens:
            ways: list[list[int]] = []
            for space in ("", " "):
                way = self._single_tokens([space + label for label in labels])
                if way and way not in ways:
                    ways.append(way)
            self._label_tokens[key] = [list(tokens) for tokens in zip(*ways, strict=True)]
        return self._label_tokens[key]

    def _single_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the token of each text; none at all if a text has no token of its own."""
        try:
            tokens = list(map(self._model.tokenizer.single_token, texts))
        except RequestError:
            return []
        return tokens if len(set(tokens)) == len(tokens) else []

    def _rendered(self, prompt: str | Messages) -> str | Messages:
        """Return messages for the chat template, or a text for a model without one."""
        if self.has_template:
            return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if isinstance(prompt, str):
            return f"Question: {prompt}\nAnswer:"
        turns: list[str] = []
        for message in prompt:
            role, content = message.get("role"), message.get("content")
            if not isinstance(content, str):
                raise ProbeError(
                    f"a message of role {role!r} has no text, and the model has no chat template "
                    f"to render it; give a text as its content"
                )
            # A blank line ends what belongs together: `generate` stops there.
            if turns and role == "user":
                turns.append("")
            turns.append(_PLAIN_ROLES.get(str(role), "") + content)
        return "\n".join([*turns, "Answer:"])
