"""Qwen3: the portable architecture, read by transformers, vLLM, llama.cpp and MLX without custom code.

LLaMA's blocks with a norm on each head's queries and keys (Henry et al. 2020, arXiv:2010.04245); no biases.
Yang et al. 2025, arXiv:2505.09388.
"""

from typing import Literal

from pydantic import Field

from scratchlm.model import decoder
from scratchlm.model.decoder import Attention, Block, Decoder, FeedForward, Shape

SHARDING = decoder.SHARDING
HF_NAMES = decoder.ATTENTION_NAMES | decoder.QK_NORM_NAMES | decoder.FEED_NAMES


class Config(Shape):
    """The shape of a Qwen3 model."""

    kind: Literal["qwen3"] = "qwen3"
    hidden: int = Field(default=768, ge=8)
    """Feed-forward width."""


class Model(Decoder):
    """Qwen3's blocks in a decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__((_block(config) for _ in range(config.layers)), config)
        self.config = config


def _block(c: Config) -> Block:
    attention = Attention(c.width, heads=c.heads, kv_heads=c.kv_heads, head_dim=c.head_dim, window=c.window, qk_norm_eps=c.norm_eps)
    return Block(attention, FeedForward(c.width, c.hidden), width=c.width, norm_eps=c.norm_eps, dropout=c.dropout)


initialise = decoder.initialise
