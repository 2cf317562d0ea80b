"""The model to copy, as its file describes it, and the copy, as its metadata will describe it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from rys._util.printable import printable
from rys.engine import weights
from rys.errors import CannotExpressError, ModelFileError
from rys.export.cures import USE_RYS
from rys.export.gguf_file import Field, GGUFFile, Kind, Tensor, pack_field
from rys.layer_path import MAX_SLOTS, LayerPath, LayerPathLike

__all__ = ["PlannedCopy", "Source"]

_MAX_MESSAGE = 1000  # characters; a hostile file has long names
_SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")
_ARCHITECTURE = re.compile(r"[\w.-]{1,64}")  # qwen2.5-vl


class Source:
    """The header of a model, which is one file or all parts of a split one.

    Keys stand without their "{arch}." in all methods.

    Attributes:
        file_name: Name of the (first) file, for messages.
        files: All files of the model.
        fields: Key-values of the first file, by their full names, without those of a split.
        tensors: Tensors of all files, by name.
        alignment: Alignment of the tensors' data in bytes.
        arch: Name of the architecture.
        n_all: Layers of the file, with those of multi-token prediction (MTP).
    """

    def __init__(self, file: Path) -> None:
        """Read the header.

        Args:
            file: The model; of a split one, the first part.

        Raises:
            ModelFileError: The file cannot be read, or cannot be copied whatever the path is.
        """
        self.file_name = os.fsencode(file.name).decode("utf-8", "replace")
        self.files = weights.parts(file)
        headers = [GGUFFile(part) for part in self.files]
        first = headers[0].fields
        self.fields: dict[str, Field] = {
            key: field for key, field in first.items() if key not in _SPLIT_KEYS
        }
        self.tensors: dict[str, Tensor] = {}
        for header in headers:
            self.tensors.update(header.tensors)
        self._check_parts(headers, expected=first.get("split.tensors.count"))

        self.alignment = int(self._value("general.alignment", 32))
        self.arch = str(self._value("general.architecture", ""))
        is_named = _ARCHITECTURE.fullmatch(self.arch) is not None
        self.require_file(is_named, "it names no architecture")
        self.n_all = self.integer("block_count")

    def _check_parts(self, headers: list[GGUFFile], expected: Field | None) -> None:
        n_tensors = sum(len(header.tensors) for header in headers)
        is_disjoint = len(self.tensors) == n_tensors
        self.require_file(is_disjoint, "a tensor is in several of its parts")
        is_complete = expected is None or expected.value == n_tensors
        self.require_file(is_complete, "its parts lack tensors, or have too many")

    def require_file(self, holds: bool, reason: str) -> None:
        """Raise ModelFileError unless a statement about the file holds."""
        if not holds:
            message = f"{self.file_name}: cannot be copied: {reason}"
            raise ModelFileError(printable(message, _MAX_MESSAGE))

    def _value(self, name: str, default: Any) -> Any:
        return self.fields[name].value if name in self.fields else default

    def name(self, key: str) -> str:
        """Return the full name of a key."""
        # xIELU's parameters are the only ones of a layer that stand without the architecture
        return key if key.startswith("xielu.") else f"{self.arch}.{key}"

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key.

        Raises:
            ModelFileError: It is an array that is too long to belong to layers.
        """
        field = self.fields.get(self.name(key))
        if field is None:
            return default
        self.require_file(
            field.count <= MAX_SLOTS,
            f"{self.name(key)} has {field.count} values, too many for layers",
        )
        return field.value

    def integer(self, key: str, default: int = 0) -> int:
        """Return the value of a key as an int."""
        return int(self.get(key, default))

    def listed(self, key: str) -> list[Any] | None:
        """Return the value of a key if it is an array, else None."""
        value = self.get(key)
        return value if isinstance(value, list) else None


class PlannedCopy:
    """The copy of a model along a path: its layers and its metadata, before anything is written.

    Attributes:
        source: The model to copy.
        n_layer: Layers of the source without those of MTP.
        layer_path: The path to copy.
        path: The layer of each slot of the path.
        layers: The layer of the source that each layer of the copy repeats: those of the path,
            then those of MTP.
        pairs: Key-values of the copy as bytes, by their full names: at first those of the source.
    """

    def __init__(
        self,
        source: Source,
        layer_path: LayerPathLike,
        *,
        n_layer: int,
        max_layers: int = MAX_SLOTS,
    ) -> None:
        """Plan the copy of a path.

        Args:
            source: The model to copy.
            layer_path: Any form that LayerPath reads; None is the file's own order.
            n_layer: Layers of the source without those of MTP.
            max_layers: Layers that llama.cpp loads at most, with those of MTP.

        Raises:
            ModelFileError: The source has no layers, or more than llama.cpp allows.
            LayerPathError: The path does not fit the model.
            CannotExpressError: No copy is possible along the path.
        """
        source.require_file(
            1 <= n_layer <= source.n_all <= MAX_SLOTS,
            f"it has {source.n_all} layers, not 1..{MAX_SLOTS}",
        )
        self.source = source
        self.n_layer = n_layer
        self.layer_path = LayerPath(layer_path, n_layer, source=source.file_name)
        self.path = list(self.layer_path.layers)
        self.layers = [*self.path, *range(n_layer, source.n_all)]
        # in the order of the source, so that a copy differs from it in as few bytes as possible
        self.pairs = {name: field.raw for name, field in source.fields.items()}
        is_short = len(self.layers) <= max_layers
        self.require(is_short, f"llama.cpp allows {max_layers} layers", "visit fewer")
        # such metadata would have to follow their tensors to other names
        is_general = "general.tensor_extra.name" not in source.fields
        self.require(is_general, "the metadata speaks of single tensors")

    @property
    def n_slot(self) -> int:
        """Slots of the path."""
        return len(self.path)

    def count_below(self, layer: int, *, n_slot: int | None = None) -> int:
        """Count the slots, or the first `n_slot` of them, whose layers lie before a layer."""
        return sum(visited < layer for visited in self.path[:n_slot])

    def require(self, holds: bool, reason: str, *cures: str) -> None:
        """Refuse the path unless a statement about it holds.

        Args:
            holds: Whether the statement holds.
            reason: Why no copy is possible otherwise.
            cures: What the user can do. None given means USE_RYS alone.

        Raises:
            CannotExpressError: The statement does not hold.
        """
        if holds:
            return
        model = f"{self.source.file_name} ({self.source.arch})"
        advice = ", or ".join(cures or [USE_RYS])
        message = f"{model} cannot be copied along {str(self.layer_path)!r}: {reason}; {advice}"
        error = CannotExpressError(printable(message, _MAX_MESSAGE))
        error.reason = reason
        raise error

    def set(self, key: str, value: Any, kind: Kind = Kind.UINT32) -> None:
        """Store a scalar or a list, in the place where the key stood, or at the end."""
        name = self.source.name(key)
        self.pairs[name] = pack_field(name, value, kind)
