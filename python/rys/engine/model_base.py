"""What a model tells without evaluating anything: its file, its sizes and its texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rys import _core
from rys.engine.chat_prompt import PromptText, render_apart
from rys.engine.chat_template import (
    check_reads_messages,
    choose_template,
    named_templates,
    render_chat_template,
)
from rys.engine.tokenizer import Tokenizer
from rys.engine.view import View
from rys.layer_path import LayerPath

__all__ = ["ModelBase"]


class ModelBase:
    """The part of rys.Model that needs no context."""

    _view: View

    @property
    def _open_model(self) -> _core.Model:
        return self._view.core

    @property
    def source(self) -> str:
        """The name of the file."""
        return self._view.source

    @property
    def layer_path(self) -> LayerPath:
        """The layers that are visited, slot by slot."""
        return self._view.layer_path

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary of the file."""
        return self._view.tokenizer

    @property
    def n_layer(self) -> int:
        """Layers of the file, without MTP layers."""
        return self._view.shared.weights.core.n_layer

    @property
    def n_slot(self) -> int:
        """Slots of the path."""
        return self.layer_path.n_slot

    @property
    def n_ctx(self) -> int:
        """Tokens that one request may have.

        Those of the context, or of a learned position table if that is shorter.
        """
        self._view.core  # noqa: B018  (raises if the model is closed)
        return self._view.session.n_ctx

    @property
    def n_vocab(self) -> int:
        """Tokens of the vocabulary."""
        return self._open_model.n_vocab

    @property
    def n_embd(self) -> int:
        """Width of the residual stream."""
        return self._open_model.n_embd

    @property
    def metadata(self) -> dict[str, Any]:
        """The key-values of the file."""
        return self._view.shared.weights.metadata

    @property
    def size(self) -> int:
        """Bytes of the tensors, which all models on these weights share."""
        return self._open_model.size

    @property
    def description(self) -> str:
        """Architecture, size and quantisation in llama.cpp's words."""
        return self._open_model.description

    @property
    def fingerprint(self) -> str:
        """A content id of the file, 32 hexadecimal digits; fast for any size."""
        return self._view.shared.weights.fingerprint

    @property
    def variant(self) -> dict[str, Any]:
        """The options, beside the file, that change what the model computes.

        Results of models with different variants are not the same measurement.
        """
        return dict(self._view.shared.variant)

    @property
    def has_tokenizer(self) -> bool:
        """Whether the file has a vocabulary of texts; without one, only token ids work."""
        return self._open_model.has_tokenizer

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that renders conversations without tools; None if there is none.

        It is the one that was given, else the default of the file, or its only one.
        """
        given, templates = self._view.shared.chat_template, self.chat_templates
        if given or not templates:
            return given
        only = next(iter(templates.values())) if len(templates) == 1 else None
        return templates.get("default", only)

    @property
    def chat_templates(self) -> dict[str, str]:
        """The templates of the file by name: "default", and others such as "tool_use"."""
        return named_templates(self.metadata)

    @property
    def special_tokens(self) -> dict[str, int]:
        """Ids of the special tokens that the model has: bos, eos, eot, sep, nl, pad, mask."""
        return dict(self.tokenizer.special)

    @property
    def bos_token(self) -> int | None:
        """Id of the token that begins a sequence."""
        return self.tokenizer.special.get("bos")

    @property
    def eos_token(self) -> int | None:
        """Id of the token that ends a sequence."""
        return self.tokenizer.special.get("eos")

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Return the tokens of a text; see Tokenizer.tokenize."""
        return self.tokenizer.tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Return the text of tokens; see Tokenizer.detokenize."""
        return self.tokenizer.detokenize(tokens, special=special)

    def token_strings(self, tokens: Sequence[int]) -> list[str]:
        """Return the text of every single token, special ones written out."""
        return self.tokenizer.token_strings(tokens)

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | str = False,
        **template_variables: Any,
    ) -> str:
        """Return the text of a conversation, as the model's chat template renders it.

        The template comes from an untrusted file: it runs in a sandbox, with limits on time and
        size. Control tokens that stand in the messages are not told from those of the template
        any more, so `generate` reads them as such. `chat` does not, nor does any other request
        that is given the messages themselves.

        Args:
            messages: Mappings with "role" and "content".
            add_generation_prompt: End where the assistant's answer begins; None = yes, unless the
                final message is continued.
            continue_final_message: End right after the content of the last message, which the model
                then goes on with, as in transformers. The name of a field, such as
                "reasoning_content", continues that one.
            **template_variables: Whatever the template knows, such as `enable_thinking=False`.

        Raises:
            ChatTemplateError: There is no template, or none of several is the default, it renders
                no message, or it fails.
            RequestError: The messages are malformed, or the two options contradict each other.
        """
        template = self._view.shared.chat_template
        if not template:
            has_tools = template_variables.get("tools") is not None
            template = choose_template(self.chat_templates, self.source, has_tools=has_tools)
        check_reads_messages(template, self.source)
        variables: dict[str, Any] = {}
        for name, token in self._template_tokens().items():
            variables[name] = self.token_strings([token])[0]
        return render_chat_template(
            template,
            messages,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            **(variables | template_variables),
        )

    def _template_tokens(self) -> dict[str, int]:
        """Return the special tokens that a template may write, by the name of its variable."""
        names = ("bos", "eos", "sep", "pad", "mask")
        special = self.tokenizer.special
        tokens = {f"{name}_token": special[name] for name in names if name in special}
        for name, key in (("unk_token", "unknown"), ("cls_token", "cls")):
            token = self.metadata.get(f"tokenizer.ggml.{key}_token_id")
            if isinstance(token, int) and 0 <= token < self.n_vocab:
                tokens[name] = token
        return tokens

    def _render_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        parse_special: bool,
        template_variables: Mapping[str, Any],
    ) -> PromptText:
        """Return the prompt of a conversation, for the tokenizer.

        Args:
            messages: Mappings with "role" and "content".
            parse_special: Whether control tokens in messages are read as such.
            template_variables: Those of the template.
        """
        if parse_special or not self.has_tokenizer:
            return PromptText(self.apply_chat_template(messages, **template_variables))
        return render_apart(
            self.apply_chat_template, messages, template_variables, self.tokenizer.control
        )
