"""Text to tokens and back, with the vocabulary of a GGUF."""

from __future__ import annotations

import operator
import reprlib
import warnings
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from itertools import pairwise

from rys import _core
from rys.engine.control_tokens import ControlTokens, Span, overlaps
from rys.errors import ModelClosedError, RequestError, TokenizerError

__all__ = ["Tokenizer"]

_SPACE = " \t\n\v\f\r"  # isspace() of C, which llama.cpp uses


class Tokenizer:
    """The tokenizer of a model.

    Every method that reads or writes text raises TokenizerError if the file has no tokenizer, and
    every method raises ModelClosedError after `close`.

    Attributes:
        special: Ids of special tokens by name, such as "bos" and "eos".
        add_bos: Whether the model wants a BOS token before a text.
        add_eos: Whether it wants an EOS token after one.
    """

    def __init__(self, model: _core.Model, source: str) -> None:
        self._model: _core.Model | None = model
        self._source = source
        self.special: dict[str, int] = model.special_tokens() if model.has_tokenizer else {}
        self.add_bos = model.has_tokenizer and model.add_bos
        self.add_eos = model.has_tokenizer and model.add_eos

    def close(self) -> None:
        """Release the model, and with it its weights."""
        self._model = None

    @property
    def _open_model(self) -> _core.Model:
        if self._model is None:
            raise ModelClosedError(
                f"the model {self._source} is closed; open it again with rys.Model"
            )
        return self._model

    @property
    def _vocabulary(self) -> _core.Model:
        if not self._open_model.has_tokenizer:
            raise TokenizerError(
                f"{self._source} has no tokenizer, so it knows no text; "
                f"use token ids (logits, hidden_states, requests)"
            )
        return self._open_model

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Return the tokens of a text.

        Args:
            text: The text.
            add_special: Whether to put the BOS (and EOS) token around it, if the model wants that.
                A BOS that is there already is not doubled.
            parse_special: Whether to read special tokens such as `<|im_end|>` as such, and not as
                plain text.

        Raises:
            RequestError: It is not a str.
        """
        if not isinstance(text, str):
            raise RequestError(f"a text is a str, not {reprlib.repr(text)}")
        tokens: list[int] = self._vocabulary.tokenize(
            text.encode("utf-8", "replace"), add_special, parse_special
        )
        bos = self.special.get("bos")
        if add_special and bos is not None and tokens[:2] == [bos, bos]:
            del tokens[0]
        return tokens

    def warn_of_missing_keys(self) -> None:
        """Warn if the file leaves out what decides how texts are cut into tokens."""
        missing = self._open_model.missing_keys()
        if missing:
            warnings.warn(
                f"{self._source} leaves out {' and '.join(missing)}, so texts may become other "
                f"tokens than the model was trained with; convert it again with a newer llama.cpp",
                UserWarning,
                stacklevel=4,
            )

    @cached_property
    def control(self) -> ControlTokens:
        """The control tokens of the vocabulary."""
        return ControlTokens.of(self._open_model)

    def tokenize_prompt(self, text: str, literal: Sequence[Span] = ()) -> list[int]:
        """Return the tokens of a text that will be continued.

        That is `tokenize` without the EOS token that some models want after a text.

        Args:
            text: The text.
            literal: Where control tokens are to be read as text; see PromptText.
        """
        if literal:
            head, tokens = self.tokenize_prompt(""), self._tokenize_apart(text, literal)
            return tokens if head and tokens[: len(head)] == head else head + tokens
        tokens = self.tokenize(text)
        if self.add_eos and tokens and tokens[-1] == self.special.get("eos"):
            tokens.pop()
        return tokens

    def _tokenize_apart(self, text: str, literal: Sequence[Span]) -> list[int]:
        """Return the tokens of a text, without those that a model wants at its ends."""
        # llama.cpp cuts a text at its control tokens and tokenizes each piece by itself. Here it
        # gets the pieces one by one, and some control tokens stay inside of a piece.
        tokens: list[int] = []
        position = 0
        takes_space = False
        for start, stop in self.control.find(text):
            if overlaps((start, stop), literal):
                continue
            piece = text[position:start]
            piece = piece.lstrip(_SPACE) if takes_space else piece
            takes_space_before, takes_space = self.control.texts[text[start:stop]]
            piece = piece.rstrip(_SPACE) if takes_space_before else piece
            tokens += self._tokenize_literally(piece)
            tokens += self.tokenize(text[start:stop], add_special=False)
            position = stop
        rest = text[position:]
        return tokens + self._tokenize_literally(rest.lstrip(_SPACE) if takes_space else rest)

    def _tokenize_literally(self, text: str) -> list[int]:
        """Return the tokens of a text in which no control token is read as such."""
        if not text:
            return []
        tokens = self._tokenize_plainly(text)
        if self.control.ids.isdisjoint(tokens):
            return tokens
        # Some are found all the same: tokens that the file calls "user defined", and those that
        # the vocabulary's merges lead to. They are torn apart, as in "<" and "|im_end|>".
        cuts = [start + 1 for start, _ in self.control.find(text)]
        tokens = []
        for start, stop in pairwise([0, *cuts, len(text)]):
            piece = text[start:stop]
            tokens += self._tokenize_within(piece) if start else self._tokenize_plainly(piece)
        return tokens

    def _tokenize_plainly(self, text: str) -> list[int]:
        return self.tokenize(text, add_special=False, parse_special=False)

    def _tokenize_within(self, text: str) -> list[int]:
        """Return the tokens of a piece of text that stands right behind another piece."""
        # SentencePiece puts a space before the beginning of a text, but not after a line break
        head = self._tokenize_plainly("\n")
        tokens = self._tokenize_plainly("\n" + text)
        if tokens[: len(head)] == head:
            return tokens[len(head) :]
        return self._tokenize_plainly(text)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Return the text of tokens; bytes that are not UTF-8 become U+FFFD.

        Args:
            tokens: Token ids.
            special: Whether to write special tokens out instead of leaving them out.
        """
        vocabulary = self._vocabulary
        tokens = self.check(tokens)
        if not special and tokens[:1] == [self.special.get("bos")]:
            # llama.cpp would leave the space that it had put in front of the text
            tokens = tokens[1:]
        text: bytes = vocabulary.detokenize(tokens, False, special)
        return text.decode("utf-8", "replace")

    def token_strings(self, tokens: Sequence[int]) -> list[str]:
        """Return the text of every single token, special ones written out."""
        pieces = map(self._vocabulary.token_piece, self.check(tokens))
        return [piece.decode("utf-8", "replace") for piece in pieces]

    def single_token(self, text: str) -> int:
        """Return the one token that a text is.

        Raises:
            RequestError: It is not a token, or several.
        """
        tokens = self.tokenize(text, add_special=False)
        if len(tokens) != 1:
            pieces = " ".join(map(repr, self.token_strings(tokens)))
            raise RequestError(
                f"{text!r} is {len(tokens)} tokens ({pieces}), but must be one; "
                f"give a token id instead"
            )
        return tokens[0]

    def check(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens as a list of ints.

        Raises:
            RequestError: They are not integers, or one is outside of the vocabulary.
        """
        n_vocab = self._open_model.n_vocab
        try:
            # these iterate too, but not over token ids in an order that is meant
            if isinstance(tokens, (str, bytes, Mapping, Set)):
                raise TypeError
            result = [operator.index(token) for token in tokens]
        except TypeError:
            raise RequestError(
                f"token ids must be integers, but these are {reprlib.repr(tokens)}"
            ) from None
        for token in result:
            if not 0 <= token < n_vocab:
                raise RequestError(
                    f"token {token} is outside of the vocabulary, which has tokens 0..{n_vocab - 1}"
                )
        return result
