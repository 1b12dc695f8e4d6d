"""Qwen3: the portable architecture, read by transformers, vLLM, llama.cpp and MLX without custom code.

Pre-RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), rotary positions, grouped queries, SwiGLU (Shazeer 2020, arXiv:2002.05202) and a norm
on each head's queries and keys (Henry et al. 2020, arXiv:2010.04245); no biases. Yang et al. 2025, arXiv:2505.09388.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.config import Settings
from scratchlm.core.tensors import Attend
from scratchlm.model.rotary import Rotation, rotation

SHARDING = {
    "layers.*.attention.query": "columns",
    "layers.*.attention.key": "columns",
    "layers.*.attention.value": "columns",
    "layers.*.attention.output": "rows",
    "layers.*.feed.gate": "columns",
    "layers.*.feed.up": "columns",
    "layers.*.feed.down": "rows",
    "embedding": "vocabulary",
    "head": "vocabulary",
}
"""Parameter path -> how tensor parallelism cuts it."""

HF_NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "layers.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
    "layers.{}.attention.query.weight": "model.layers.{}.self_attn.q_proj.weight",
    "layers.{}.attention.key.weight": "model.layers.{}.self_attn.k_proj.weight",
    "layers.{}.attention.value.weight": "model.layers.{}.self_attn.v_proj.weight",
    "layers.{}.attention.output.weight": "model.layers.{}.self_attn.o_proj.weight",
    "layers.{}.attention.query_norm.weight": "model.layers.{}.self_attn.q_norm.weight",
    "layers.{}.attention.key_norm.weight": "model.layers.{}.self_attn.k_norm.weight",
    "layers.{}.feed_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
    "layers.{}.feed.gate.weight": "model.layers.{}.mlp.gate_proj.weight",
    "layers.{}.feed.up.weight": "model.layers.{}.mlp.up_proj.weight",
    "layers.{}.feed.down.weight": "model.layers.{}.mlp.down_proj.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
"""Our name of each parameter -> its name in a Hugging Face directory; ``{}`` is the layer."""


class Config(Settings):
    """The shape of a Qwen3 model."""

    kind: Literal["qwen3"] = "qwen3"
    vocab: int = Field(default=4096, ge=2)
    context: int = Field(default=256, ge=8)
    layers: int = Field(default=4, ge=1)
    width: int = Field(default=256, ge=8)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=2, ge=1)
    head_dim: int = Field(default=64, ge=2, multiple_of=2)
    hidden: int = Field(default=768, ge=8)
    """Feed-forward width."""
    rope_theta: float = Field(default=10000.0, gt=0)
    norm_eps: float = Field(default=1e-6, gt=0)
    tied: bool = False
    """Whether the head is the embedding itself."""
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_share(self) -> "Config":
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys."""

    def __init__(self, width: int, *, heads: int, kv_heads: int, head_dim: int, norm_eps: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = nn.Linear(width, heads * head_dim, bias=False)
        self.key = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.value = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.output = nn.Linear(heads * head_dim, width, bias=False)
        self.query_norm = nn.RMSNorm(head_dim, eps=norm_eps)
        self.key_norm = nn.RMSNorm(head_dim, eps=norm_eps)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, rotate: Rotation, attend: Attend) -> Float[Tensor, "B T D"]:
        B, T, _ = x_BTD.shape
        # The norms' gains are float32, and torch fuses a norm only where input and gain are of one dtype.
        q_BTHC = self.query_norm(self.query(x_BTD).float().view(B, T, -1, self.head_dim))
        k_BTGC = self.key_norm(self.key(x_BTD).float().view(B, T, -1, self.head_dim))
        v_BTGC = self.value(x_BTD).view(B, T, -1, self.head_dim)
        mixed_BTHC = attend(layer, rotate(q_BTHC).to(v_BTGC.dtype), rotate(k_BTGC).to(v_BTGC.dtype), v_BTGC)
        return self.output(mixed_BTHC.reshape(B, T, -1))


class FeedForward(nn.Module):
    """SwiGLU: one product opens the gate for another."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nn.Module):
    """Look at the other positions, then think about what was seen; each adds to the stream."""

    def __init__(self, attention: Attention, feed: FeedForward, *, width: int, norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=norm_eps)
        self.attention = attention
        self.feed_norm = nn.RMSNorm(width, eps=norm_eps)
        self.feed = feed
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, rotate: Rotation, attend: Attend) -> Float[Tensor, "B T D"]:
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), layer, rotate, attend))
        return x_BTD + self.dropout(self.feed(self.feed_norm(x_BTD)))


class Model(nn.Module):
    """A stack of blocks between an embedding and a head."""

    lookback = 0

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.layers = nn.ModuleList(_block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)

    def features(self, tokens_BL: Int[Tensor, "B T"], positions_BT: Int[Tensor, "B T"], attend: Attend) -> Float[Tensor, "B T D"]:
        """See ``core.tensors.LanguageModel``."""
        rotate = rotation(positions_BT, self.config.head_dim, theta=self.config.rope_theta)
        x_BTD = self.dropout(self.embedding(tokens_BL))
        for layer, block in enumerate(self.layers):
            x_BTD = block(x_BTD, layer, rotate, attend)
        return self.norm(x_BTD)

    def logits(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """See ``core.tensors.LanguageModel``."""
        return F.linear(x_BTD, self.embedding.weight if self.head is None else self.head.weight)


def _block(config: Config) -> Block:
    attention = Attention(config.width, heads=config.heads, kv_heads=config.kv_heads, head_dim=config.head_dim, norm_eps=config.norm_eps)
    feed = FeedForward(config.width, config.hidden)
    return Block(attention, feed, width=config.width, norm_eps=config.norm_eps, dropout=config.dropout)


def initialise(model: Model, generator: torch.Generator) -> None:
    """All initial values in one place: small normals, ones for norms, and zero where a block writes to the stream.

    A block that starts as the identity lets the embedding and head learn first; with GPT-2's 0.02 / sqrt(2 layers) in its place the
    laptop recipe ended no better.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.ones_(parameter)
        elif name.endswith(("attention.output.weight", "feed.down.weight")):
            nn.init.zeros_(parameter)
        elif name.startswith("layers."):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
        else:
            nn.init.normal_(parameter, std=0.02, generator=generator)
