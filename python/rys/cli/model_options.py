"""The model's own options on the command line, under llama.cpp's names."""

from __future__ import annotations

import argparse
from typing import Any

from rys.engine.model import Model
from rys.reference import reference_model

__all__ = ["add_model_options", "add_thinking_options", "open_model"]

_NUMBERS = {
    "n_ctx": (int, "tokens that the KV cache holds"),
    "n_batch": (int, "tokens per batch that is submitted"),
    "n_ubatch": (int, "tokens per batch that is computed at once"),
    "n_seq_max": (int, "sequences that run in parallel"),
    "n_gpu_layers": (int, "layers to keep on the GPU, -1 = all"),
    "n_threads": (int, "threads for generation"),
    "n_threads_batch": (int, "threads for prompts"),
    "type_k": (str, "type of the cached keys, such as q8_0"),
    "type_v": (str, "type of the cached values"),
    "split_mode": (str, "how to use several GPUs: none, layer, row"),
    "main_gpu": (int, "the GPU that does what is not split"),
    "lora_path": (str, "a LoRA adapter in GGUF"),
    "lora_scale": (float, "how strongly it acts"),
    "rope_freq_base": (float, "as in llama.cpp"),
    "rope_freq_scale": (float, "as in llama.cpp"),
}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add MODEL and the options of rys.Model."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a GGUF file (default: the reference model)"
    )
    group = parser.add_argument_group("model options, as in llama.cpp")
    for name, (kind, text) in _NUMBERS.items():
        group.add_argument(
            f"--{name.replace('_', '-')}", type=kind, help=text, metavar="N" if kind is int else "X"
        )
    group.add_argument(
        "--flash-attn", choices=["on", "off"], help="default: where the backend is good at it"
    )
    group.add_argument("--tensor-split", metavar="X,X", help="shares of several GPUs, such as 3,1")
    group.add_argument(
        "--devices", metavar="A,B", help="devices by name, as rys.build_info() lists them"
    )
    group.add_argument("--no-mmap", action="store_true", help="read the file instead of mapping it")
    group.add_argument("--mlock", action="store_true", help="keep the weights in memory")
    group.add_argument(
        "--chat-template", metavar="FILE", help="a Jinja template instead of the file's"
    )


def add_thinking_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of rys.probes.evaluate for models that think."""
    parser.add_argument("--thinking", action="store_true", help="let a model think that can")
    parser.add_argument(
        "--thinking-budget",
        type=int,
        default=1024,
        metavar="N",
        help="tokens for it (default: 1024)",
    )


def open_model(options: argparse.Namespace) -> Model:
    """Return the model that the options name, along the file's own order."""
    from pathlib import Path

    from rys.errors import RequestError

    given: dict[str, Any] = {
        name: getattr(options, name) for name in _NUMBERS if getattr(options, name) is not None
    }
    if options.flash_attn:
        given["flash_attn"] = options.flash_attn == "on"
    if options.tensor_split:
        try:
            given["tensor_split"] = [float(share) for share in options.tensor_split.split(",")]
        except ValueError:
            raise RequestError(
                f"--tensor-split is {options.tensor_split!r}, but must be numbers such as 3,1"
            ) from None
    if options.devices:
        given["devices"] = options.devices.split(",")
    given["use_mmap"] = not options.no_mmap
    given["use_mlock"] = options.mlock
    if options.chat_template:
        try:
            given["chat_template"] = Path(options.chat_template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RequestError(f"--chat-template {options.chat_template}: {error}") from None
    return Model(options.model, **given) if options.model else reference_model(**given)
