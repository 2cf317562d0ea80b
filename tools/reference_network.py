"""The reference model in PyTorch: tokenizer, network and GGUF.

The network is llama's, at a size that two cores can train: RMSNorm, rotary positions on
neighbouring pairs, SwiGLU, and an output that shares the embedding's weights. `forward` takes the
layer path to run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

END, USER, ASSISTANT, SYSTEM = SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """The sizes of the network, under llama.cpp's names."""

    n_layer: int = 12
    n_embd: int = 128
    n_head: int = 4
    n_ff: int = 352
    n_vocab: int = 0
    n_ctx: int = 512
    rope_base: float = 10000.0
    norm_eps: float = 1e-5


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Return a byte-level BPE with GPT-2's rule for words. Every word of the texts is one token.

    Digits are left out of the texts, so that no merge holds one: every digit is a token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # "0+3?" becomes "+?"
    without_digits = [re.sub("[0-9]", "", text) for text in texts]
    tokenizer.train_from_iterator(without_digits, trainer)
    return tokenizer


def chat_text(question: str, answer: str = "") -> str:
    """Return a conversation of one question, as the chat template renders it."""
    return f"{USER}{question}{ASSISTANT}" + (f"{answer}{END}" if answer else "")


class Layer(nn.Module):
    """One layer of llama: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.n_embd
        self.n_head = shape.n_head
        self.attn_norm = nn.RMSNorm(d, eps=shape.norm_eps)
        self.attn_q, self.attn_k, self.attn_v, self.attn_output = (
            nn.Linear(d, d, bias=False) for _ in range(4)
        )
        self.ffn_norm = nn.RMSNorm(d, eps=shape.norm_eps)
        self.ffn_gate, self.ffn_up = (nn.Linear(d, shape.n_ff, bias=False) for _ in range(2))
        self.ffn_down = nn.Linear(shape.n_ff, d, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        b, t, d = x.shape
        normed = self.attn_norm(x)
        q, k, v = (
            linear(normed)
            .view(b, t, self.n_head, d // self.n_head)
            .transpose(1, 2)  # [B, H, T, d/H]
            for linear in (self.attn_q, self.attn_k, self.attn_v)
        )
        y = F.scaled_dot_product_attention(
            rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True
        )
        x = x + self.attn_output(y.transpose(1, 2).reshape(b, t, d))
        normed = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(normed)) * self.ffn_up(normed))


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn every pair of neighbours by its angle. x: [B, H, T, D]; cos, sin: [T, D/2]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Network(nn.Module):
    """The network, whose `forward` visits its layers along a path."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.n_layer))
        self.output_norm = nn.RMSNorm(shape.n_embd, eps=shape.norm_eps)
        d_head = shape.n_embd // shape.n_head
        frequencies = shape.rope_base ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
        angles = torch.arange(shape.n_ctx, dtype=torch.float64)[:, None] * frequencies
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # outputs into the residual stream start small, as in GPT-2
                is_output = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(
                    weight, std=0.02 / math.sqrt(2 * shape.n_layer) if is_output else 0.02
                )

    def forward(self, tokens: torch.Tensor, path: Sequence[int]) -> torch.Tensor:
        """Return the residual stream after the output norm, [B, T, D]. tokens: int64 [B, T]."""
        x = self.token_embd(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for layer in path:
            x = self.layers[layer](x, cos, sin)
        return self.output_norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits [..., V] of hidden states [..., D]."""
        return F.linear(hidden, self.token_embd.weight)


def write_gguf(
    file: Path,
    network: Network,
    tokenizer: Tokenizer,
    weight_type: gguf.GGMLQuantizationType,
    describe: dict[str, str],
) -> None:
    """Write the network as a llama model.

    Args:
        file: The file to write.
        network: The weights.
        tokenizer: Its vocabulary and merges.
        weight_type: Of the matrices; norms stay F32.
        describe: Metadata that is text, by key.
    """
    shape = network.shape
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_file_type(
        {
            gguf.GGMLQuantizationType.F32: gguf.LlamaFileType.ALL_F32,
            gguf.GGMLQuantizationType.F16: gguf.LlamaFileType.MOSTLY_F16,
            gguf.GGMLQuantizationType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
        }[weight_type]
    )
    for key, value in describe.items():
        writer.add_string(key, value)
    writer.add_block_count(shape.n_layer)
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head)
    writer.add_rope_dimension_count(shape.n_embd // shape.n_head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.n_vocab)

    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    end = tokenizer.token_to_id(END)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in vocabulary])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token in SPECIAL else normal for token, _ in vocabulary])
    writer.add_token_merges(merges(tokenizer))
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    for name, weight in network.state_dict().items():
        values = weight.detach().numpy().astype(np.float32)
        if values.ndim == 2:
            writer.add_tensor(
                gguf_name(name), gguf.quantize(values, weight_type), raw_dtype=weight_type
            )
        else:
            writer.add_tensor(gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str:
    """Return llama.cpp's name of a weight."""
    return name.replace("layers.", "blk.")


def merges(tokenizer: Tokenizer) -> list[str]:
    """Return the merges of a BPE tokenizer as GGUF holds them, "a b"."""
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    # pairs, or strings in older versions of tokenizers
    return [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
