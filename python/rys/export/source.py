"""The model to copy: what its file says, and what the copy is to say instead."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from rys._util.printable import printable
from rys.engine import weights
from rys.errors import CannotExpressError, ModelFileError
from rys.export.gguf_file import Field, GGUFFile, Kind, pack_field
from rys.export.rules import USE_RYS
from rys.layer_path import MAX_SLOTS, LayerPath, LayerPathLike

__all__ = ["CannotExpressError", "Source"]

MAX_MESSAGE = 1000  # characters; a hostile file has long names
SPLIT = ("split.no", "split.count", "split.tensors.count")


class Source:
    """A model and the path to copy it along.

    It has `n` layers, `n_all` with the blocks of multi-token prediction. `layers[s]` is the layer
    that block `s` of
    the copy repeats: the path, then those blocks. `pairs` are the key-values of the copy, as bytes.

    Raises ModelFileError, or LayerPathError if the path does not fit the model.
    """

    def __init__(self, file: Path, layer_path: LayerPathLike) -> None:
        self.file_name = os.fsencode(file.name).decode("utf-8", "replace")
        self.files = weights.parts(file)
        parts = [GGUFFile(part) for part in self.files]
        self.fields: dict[str, Field] = {k: f for k, f in parts[0].fields.items() if k not in SPLIT}
        self.pairs = {name: field.raw for name, field in self.fields.items()}
        self.tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
        expected = parts[0].fields.get("split.tensors.count")
        n_tensors = sum(len(part.tensors) for part in parts)
        self.require_file(len(self.tensors) == n_tensors, "a tensor is in several of its parts")
        self.require_file(
            expected is None or expected.value == n_tensors,
            "its parts lack tensors, or have too many",
        )

        self.alignment = (
            int(self.fields["general.alignment"].value)
            if "general.alignment" in self.fields
            else 32
        )
        self.arch = str(
            self.fields["general.architecture"].value
            if "general.architecture" in self.fields
            else ""
        )
        self.require_file(
            re.fullmatch(r"[\w.-]{1,64}", self.arch) is not None, "it names no architecture"
        )
        self.n_all = self.integer("block_count")
        self.n = self.n_all - self.integer("nextn_predict_layers")
        if self.arch == "deepseek4" and f"blk.{self.n}.nextn.eh_proj.weight" not in self.tensors:
            self.n = self.n_all
        self.require_file(
            1 <= self.n <= self.n_all <= MAX_SLOTS,
            f"it has {self.n_all} layers, not 1..{MAX_SLOTS}",
        )
        self.layer_path = LayerPath(layer_path, self.n, source=self.file_name)
        self.path = list(self.layer_path.layers)
        self.layers = [*self.path, *range(self.n, self.n_all)]
        most = MAX_SLOTS - (self.arch == "graniteswitch")  # it adds a layer of its own
        self.require(len(self.layers) <= most, f"llama.cpp allows {most} layers", "visit fewer")
        self.require(
            "general.tensor_extra.name" not in self.fields, "the metadata speaks of single tensors"
        )

    def require_file(self, holds: bool, reason: str) -> None:
        """Raise ModelFileError unless a statement about the file holds."""
        if not holds:
            raise ModelFileError(
                printable(f"{self.file_name}: cannot be copied: {reason}", MAX_MESSAGE)
            )

    def require(self, holds: bool, reason: str, *cures: str) -> None:
        """Raise CannotExpressError unless a statement about the path holds. cures: what to do, if
        not USE_RYS.
        """
        if not holds:
            what = f"{self.file_name} ({self.arch}) cannot be copied along {str(self.layer_path)!r}"
            error = CannotExpressError(
                printable(f"{what}: {reason}; {', or '.join(cures or [USE_RYS])}", MAX_MESSAGE)
            )
            error.reason = reason
            raise error

    def name(self, key: str) -> str:
        return key if key.startswith("xielu.") else f"{self.arch}.{key}"

    def get(self, key: str, default: Any = None) -> Any:
        field = self.fields.get(self.name(key))
        if field is None:
            return default
        self.require_file(
            field.count <= MAX_SLOTS,
            f"{self.name(key)} has {field.count} values, too many for layers",
        )
        return field.value

    def integer(self, key: str, default: int = 0) -> int:
        return int(self.get(key, default))

    def listed(self, key: str) -> list[Any] | None:
        """Return the value of `key` if it is an array."""
        value = self.get(key)
        return value if isinstance(value, list) else None

    def set(self, key: str, value: Any, kind: Kind = Kind.UINT32) -> None:
        """Store `value`, a scalar or a list, where the key stood, or at the end."""
        name = self.name(key)
        self.pairs[name] = pack_field(name, value, kind)
