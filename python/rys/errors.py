"""The exceptions of rys.

Every class derives from `RysError` and from the builtin that a user would catch without knowing
rys.
"""

import errno

__all__ = [
    "ChatTemplateError",
    "ContextFullError",
    "EngineError",
    "LayerPathError",
    "ModelClosedError",
    "ModelFileError",
    "ModelFileNotFoundError",
    "NonFiniteLogitsError",
    "OutputFileError",
    "RequestError",
    "RysError",
    "TokenizerError",
    "UnsupportedArchitectureError",
]


class RysError(Exception):
    """Base of all errors that rys raises on purpose."""


class LayerPathError(RysError, ValueError):
    """A layer path cannot be read, or does not fit the model."""


class ModelFileError(RysError, ValueError):
    """A model file cannot be used: not a GGUF, truncated, or without weights."""


class ModelFileNotFoundError(ModelFileError, FileNotFoundError):
    """A model file does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Callers of FileNotFoundError look at errno; leaving strerror unset keeps str(e) the plain
        # message.
        self.errno = errno.ENOENT


class UnsupportedArchitectureError(RysError, ValueError):
    """The model's architecture cannot be run along a layer path."""


class EngineError(RysError, RuntimeError):
    """llama.cpp reported a failure."""


class ModelClosedError(RysError, RuntimeError):
    """A model was used after it was closed."""


class ContextFullError(RysError, ValueError):
    """A request needs more tokens than the context holds."""


class RequestError(RysError, ValueError):
    """A request has bad arguments, such as token ids outside the vocabulary."""


class TokenizerError(RysError, ValueError):
    """Text was asked of a model without a tokenizer."""


class ChatTemplateError(RysError, ValueError):
    """A chat template is missing, is broken, was stopped, or refuses the messages."""


class NonFiniteLogitsError(RysError, FloatingPointError):
    """The model computed NaN or infinite logits."""


class OutputFileError(RysError, OSError):
    """A file cannot be written where it should be."""
