"""Qwen3: the portable architecture, read by transformers, vLLM, llama.cpp and MLX without custom code.

LLaMA's blocks with a norm on each head's queries and keys (Henry et al. 2020, arXiv:2010.04245); no biases.
Yang et al. 2025, arXiv:2505.09388.
"""

from functools import partial
from typing import Literal

from pydantic import Field, model_validator

from scratchlm.core.config import Settings
from scratchlm.model import decoder
from scratchlm.model.decoder import Attention, Block, Decoder, FeedForward
from scratchlm.model.rotary import Scaling, rotation

SHARDING = decoder.SHARDING
HF_NAMES = decoder.ATTENTION_NAMES | decoder.QK_NORM_NAMES | decoder.FEED_NAMES


class Config(Settings):
    """The shape of a Qwen3 model."""

    kind: Literal["qwen3"] = "qwen3"
    vocab: int = Field(default=4096, ge=2)
    context: int = Field(default=256, ge=8)
    layers: int = Field(default=4, ge=1, le=1000)
    width: int = Field(default=256, ge=8)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=2, ge=1)
    head_dim: int = Field(default=64, ge=2, multiple_of=2)
    hidden: int = Field(default=768, ge=8)
    """Feed-forward width."""
    rope_theta: float = Field(default=10000.0, gt=1)
    rope_scaling: Scaling | None = None
    """How angles are slowed down for texts longer than those learned from; None: not at all."""
    norm_eps: float = Field(default=1e-6, gt=0)
    tied: bool = False
    """Whether the head is the embedding itself."""
    window: int | None = Field(default=None, ge=1)
    """How many positions one sees at most, its own included; None: all before it."""
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_share(self) -> "Config":
        decoder.check_heads(self.heads, self.kv_heads)
        return self


class Model(Decoder):
    """Qwen3's blocks in a decoder."""

    def __init__(self, config: Config) -> None:
        rotation_of = partial(rotation, channels=config.head_dim, theta=config.rope_theta, scaling=config.rope_scaling)
        super().__init__(
            (_block(config) for _ in range(config.layers)),
            rotation_of,
            vocab=config.vocab,
            width=config.width,
            norm_eps=config.norm_eps,
            tied=config.tied,
            dropout=config.dropout,
        )
        self.config = config


def _block(c: Config) -> Block:
    attention = Attention(c.width, heads=c.heads, kv_heads=c.kv_heads, head_dim=c.head_dim, window=c.window, qk_norm_eps=c.norm_eps)
    return Block(attention, FeedForward(c.width, c.hidden), width=c.width, norm_eps=c.norm_eps, dropout=c.dropout)


initialise = decoder.initialise
