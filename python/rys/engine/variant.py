"""What changes the results of a model beside its file, so that results can be told apart."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

__all__ = ["result_variant"]

# Left out are sizes and devices, which change rounding at most.
_NAMES = (
    "type_k",
    "type_v",
    "swa_full",
    "rope_scaling_type",
    "rope_freq_base",
    "rope_freq_scale",
    "yarn_ext_factor",
    "yarn_attn_factor",
    "yarn_beta_fast",
    "yarn_beta_slow",
    "yarn_orig_ctx",
)
_CHUNK = 1 << 22  # bytes that are read at once


def result_variant(
    params: Any,
    chat_template: str | None,
    lora_path: str | os.PathLike[str] | None,
    lora_scale: float,
) -> dict[str, Any]:
    """Return the options that change what a model computes.

    Args:
        params: Parameters of a context, `_core.ContextParams`.
        chat_template: The template given in place of the file's; None if none was given.
        lora_path: A LoRA adapter, whose content is read; None for no adapter.
        lora_scale: How strongly the adapter acts.

    Returns:
        Values that JSON can hold. Equal dicts mean that equal requests have equal results, but for
        rounding.

    Raises:
        OSError: The adapter cannot be read.
    """
    variant: dict[str, Any] = {name: getattr(params, name) for name in _NAMES}
    variant["chat_template"] = None
    if chat_template is not None:
        variant["chat_template"] = hashlib.sha256(chat_template.encode()).hexdigest()
    if lora_path is not None:
        variant["lora"] = [_sha256(Path(lora_path)), lora_scale]
    return variant


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()
