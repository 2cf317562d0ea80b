"""How items are put to one model: chat or plain, thinking or not, and which tokens stand for an
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rys.errors import ProbeError, RequestError
from rys.probes.base import Messages
from rys.requests import Generate, LogLikelihood, NextToken

if TYPE_CHECKING:
    from rys.engine.model import Model

__all__ = ["Prompter"]


class Prompter:
    """Put prompts to a model, as its template wants them.

    thinking: let a model think that can, where it writes. Off: the template's switch is turned off,
        where it has one.
    thinking_budget: tokens that thinking may take, apart from the answer's own.
    """

    def __init__(
        self, model: Model, *, thinking: bool = False, thinking_budget: int = 1024
    ) -> None:
        self._model = model
        self.has_template = bool(model.chat_template)
        self.thinking = thinking
        self.thinking_budget = thinking_budget if thinking else 0
        self._variables = {"enable_thinking": thinking}
        self._without_thinking = {
            "enable_thinking": False
        }  # where nothing is written, nothing can be thought
        self._variants: dict[tuple[str, ...], list[list[int]]] = {}

    def generate(
        self, prompt: str | Messages, max_tokens: int, stop: Sequence[str] = ()
    ) -> Generate:
        """Ask for an answer in text, greedily."""
        return Generate(
            self._prompt(prompt),
            max_tokens=max_tokens + self.thinking_budget,
            stop=stop
            if self.has_template
            else (*stop, "\n\n"),  # plain models go on with a question of their own
            template_variables=self._variables,
        )

    def loglikelihood(self, prompt: str | Messages, answer: str) -> LogLikelihood:
        """Ask how probable an answer is."""
        text = answer if self.has_template else f" {answer}"
        return LogLikelihood(self._prompt(prompt), text, template_variables=self._without_thinking)

    def choice(self, prompt: str | Messages, labels: Sequence[str]) -> NextToken | None:
        """Ask how probable each label is as the first token of the answer; None if labels are more
        than a token.

        With and without a space in front both count, where both are tokens: `label_probabilities`
        adds them up.
        """
        variants = self.label_tokens(labels)
        if not variants:
            return None
        allowed = [token for tokens in variants for token in tokens]
        return NextToken(
            self._prompt(prompt), allowed=allowed, template_variables=self._without_thinking
        )

    def label_tokens(self, labels: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each label, [n_labels][V], in the ways of writing in which all are
        one token.
        """
        key = tuple(labels)
        if key not in self._variants:
            ways = []
            for space in ("", " "):
                try:
                    way = [self._model.tokenizer.single_token(space + label) for label in labels]
                except RequestError:
                    continue
                if len(set(way)) == len(way) and way not in ways:
                    ways.append(way)
            self._variants[key] = [list(tokens) for tokens in zip(*ways, strict=True)]
        return self._variants[key]

    def _prompt(self, prompt: str | Messages) -> str | Messages:
        if self.has_template:
            return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if isinstance(prompt, str):
            return f"Question: {prompt}\nAnswer:"
        turns = []
        for message in prompt:
            role, content = message.get("role"), message.get("content")
            if not isinstance(content, str):
                raise ProbeError(
                    f"a message of role {role!r} has no text; the model has no chat template to render it"
                )
            turns.append(
                {"user": "Question: ", "assistant": "Answer: "}.get(str(role), "") + content
            )
        return "\n".join([*turns, "Answer:"])
