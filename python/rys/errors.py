"""The exceptions of rys.

Every class derives from `RysError` and from the builtin that a user would catch without knowing
rys.
"""

import errno

__all__ = [
    "CannotExpressError",
    "ChatTemplateError",
    "CompareError",
    "ContextFullError",
    "EngineError",
    "LayerPathError",
    "ModelClosedError",
    "ModelFileError",
    "ModelFileNotFoundError",
    "NonFiniteLogitsError",
    "OutputFileError",
    "PlotError",
    "PlotLibraryError",
    "ProbeError",
    "RequestError",
    "RysError",
    "SpaceError",
    "StoreError",
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


class ProbeError(RysError, ValueError):
    """A probe, its file or its settings cannot be used."""


class CannotExpressError(LayerPathError):
    """No GGUF of this architecture says what the path says.

    reason: why not, without the names of the file and the path.
    """

    reason = ""


class SpaceError(RysError, ValueError):
    """A space of candidates is impossible for a model, or empty."""


class StoreError(RysError, ValueError):
    """A sweep's file cannot be used: damaged, foreign, newer than this rys, or of another sweep."""


class CompareError(RysError, ValueError):
    """Results cannot be read, or cannot be compared with each other."""


class PlotError(RysError, ValueError):
    """A plot has nothing to show, or cannot be written."""


class PlotLibraryError(RysError, ImportError):
    """The library that draws is not installed."""
