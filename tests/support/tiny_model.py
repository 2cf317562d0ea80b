"""Write a small GGUF with random weights, which tests run where there is no real model.

python tests/support/tiny_model.py tiny.gguf
"""

from __future__ import annotations

import argparse
import string
from pathlib import Path
from typing import Any

import gguf
import numpy as np

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tiny_model(
    path: Path,
    *,
    n_layer: int = 6,
    n_embd: int = 64,
    n_ctx_train: int | None = 512,
    seed: int = 0,
    chat_template: str | None = CHAT_TEMPLATE,
    scale: float = 1.0,
    add_bos: bool | None = None,
    add_eos: bool | None = None,
    vocabulary_only: bool = False,
    poison: str = "",
    types: tuple[tuple[str, int], ...] = (),
    metadata: tuple[tuple[str, Any], ...] = (),
) -> Path:
    """Write a llama model with characters as tokens; return its path.

    Args:
        path: The file to write.
        n_layer: Number of layers.
        n_embd: Width.
        n_ctx_train: Context that the file names; None = it names none.
        seed: Of the weights.
        chat_template: Jinja template; None = none.
        scale: Of the weights; a large one makes the values overflow.
        add_bos: Whether the file says that BOS stands before a text; None = it says nothing.
        add_eos: The same of EOS after it.
        vocabulary_only: Whether the weights are left out.
        poison: Characters whose embedding is infinite.
        types: Types of tokens by their text, instead of the usual ones; new texts are added.
        metadata: Keys and values that are written instead of the usual ones, or besides. A list is
            given as a tuple; None leaves a key out.
    """
    rng = np.random.default_rng(seed)
    n_head, n_ff = 4, 2 * n_embd
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        "<|im_start|>",
        "<|im_end|>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
    ]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 4, *[gguf.TokenType.BYTE] * 256]
    plain = ["\u2581", *string.ascii_letters, *string.digits, *string.punctuation]
    tokens += plain
    kinds += [gguf.TokenType.NORMAL] * len(plain)
    for text, kind in types:
        if text not in tokens:
            tokens.append(text)
            kinds.append(kind)
        kinds[tokens.index(text)] = kind

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    if n_ctx_train is not None:
        writer.add_context_length(n_ctx_train)
    writer.add_embedding_length(n_embd)
    writer.add_block_count(n_layer)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_head)
    writer.add_head_count_kv(n_head // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(4)
    writer.add_add_space_prefix(False)
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    if add_eos is not None:
        writer.add_add_eos_token(add_eos)
    if chat_template is not None:
        writer.add_chat_template(chat_template)

    for key, value in metadata:
        writer.kv_data[0].pop(key, None)
        if value is not None:
            add_key = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string}
            add_key.get(type(value), writer.add_array)(key, value)

    def add(name: str, *shape: int) -> None:
        values = rng.standard_normal(shape, dtype=np.float32) * (scale / np.sqrt(shape[-1]))
        if name == "token_embd.weight":
            values[[tokens.index(token) for token in poison]] = np.inf
        if not vocabulary_only:
            writer.add_tensor(name, values.astype(np.float32))

    def add_norm(name: str) -> None:
        if not vocabulary_only:
            writer.add_tensor(name, np.ones(n_embd, dtype=np.float32))

    add("token_embd.weight", len(tokens), n_embd)
    for layer in range(n_layer):
        block = f"blk.{layer}"
        add_norm(f"{block}.attn_norm.weight")
        add(f"{block}.attn_q.weight", n_embd, n_embd)
        add(f"{block}.attn_k.weight", n_embd // 2, n_embd)
        add(f"{block}.attn_v.weight", n_embd // 2, n_embd)
        add(f"{block}.attn_output.weight", n_embd, n_embd)
        add_norm(f"{block}.ffn_norm.weight")
        add(f"{block}.ffn_gate.weight", n_ff, n_embd)
        add(f"{block}.ffn_up.weight", n_ff, n_embd)
        add(f"{block}.ffn_down.weight", n_embd, n_ff)
    add_norm("output_norm.weight")
    add("output.weight", len(tokens), n_embd)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    write_tiny_model(parser.parse_args().path)
