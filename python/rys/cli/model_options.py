"""The model's own options on the command line, under llama.cpp's names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rys.engine.model import Model
from rys.errors import RequestError
from rys.reference import reference_model

__all__ = ["add_model_options", "add_thinking_options", "open_model"]

# Options that take one value, which rys.Model gets as it is: their types and help texts.
_OPTIONS = {
    "n_ctx": (int, "tokens that the KV cache holds"),
    "n_batch": (int, "tokens that are submitted at once"),
    "n_ubatch": (int, "tokens that are computed at once"),
    "n_seq_max": (int, "sequences that run in parallel"),
    "n_gpu_layers": (int, "layers to keep on the GPU; -1 for all"),
    "n_threads": (int, "threads for generating tokens"),
    "n_threads_batch": (int, "threads for reading prompts"),
    "type_k": (str, "type of the cached keys, such as q8_0"),
    "type_v": (str, "type of the cached values"),
    "split_mode": (str, "how to use several GPUs: none, layer or row"),
    "main_gpu": (int, "the GPU for all that is not split"),
    "lora_path": (str, "a LoRA adapter, a GGUF file"),
    "lora_scale": (float, "strength of the LoRA adapter"),
    "rope_freq_base": (float, "base frequency of RoPE"),
    "rope_freq_scale": (float, "factor for the frequencies of RoPE"),
}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add MODEL and the options of rys.Model."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a GGUF file (default: the reference model)"
    )
    group = parser.add_argument_group("model options, as in llama.cpp")
    for name, (kind, text) in _OPTIONS.items():
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(flag, type=kind, help=text, metavar="N" if kind is int else "X")
    group.add_argument(
        "--flash-attn",
        choices=["on", "off"],
        help="flash attention (default: on where the backend supports it well)",
    )
    group.add_argument("--tensor-split", metavar="X,X", help="shares of several GPUs, such as 3,1")
    group.add_argument(
        "--devices", metavar="A,B", help="devices by name, as rys.build_info() lists them"
    )
    group.add_argument("--no-mmap", action="store_true", help="read the file instead of mapping it")
    group.add_argument("--mlock", action="store_true", help="keep the weights in memory")
    group.add_argument(
        "--chat-template", metavar="FILE", help="a Jinja template in place of the model's own"
    )


def add_thinking_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of rys.probes.evaluate for models that think."""
    parser.add_argument("--thinking", action="store_true", help="let a model that can think do so")
    parser.add_argument(
        "--thinking-budget",
        type=int,
        default=1024,
        metavar="N",
        help="tokens for thinking (default: 1024)",
    )


def open_model(options: argparse.Namespace) -> Model:
    """Return the model that the options name, along the file's own order.

    Raises:
        RysError: The model cannot be opened, or an option is wrong.
    """
    given: dict[str, Any] = {}
    for name in _OPTIONS:
        value = getattr(options, name)
        if value is not None:
            given[name] = value
    if options.flash_attn:
        given["flash_attn"] = options.flash_attn == "on"
    if options.tensor_split:
        given["tensor_split"] = _shares(options.tensor_split)
    if options.devices:
        given["devices"] = options.devices.split(",")
    # these two are flags, which are always there
    given["use_mmap"] = not options.no_mmap
    given["use_mlock"] = options.mlock
    if options.chat_template:
        given["chat_template"] = _read_template(options.chat_template)
    return Model(options.model, **given) if options.model else reference_model(**given)


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in text.split(",")]
    except ValueError:
        raise RequestError(f"--tensor-split is {text!r}, but must be numbers such as 3,1") from None


def _read_template(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"--chat-template {file}: {error}") from None
