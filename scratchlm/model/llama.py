"""LLaMA: the shape that most open models have kept, from LLaMA itself to Mistral, SmolLM2 and Qwen2.

RMSNorm before each part, rotary positions, grouped queries, SwiGLU, no biases (Qwen2 has them on queries, keys and values).
Touvron et al. 2023, arXiv:2302.13971; Mistral's window: Jiang et al. 2023, arXiv:2310.06825.
"""

from typing import Literal

from pydantic import Field

from scratchlm.model import decoder
from scratchlm.model.decoder import Attention, Block, Decoder, FeedForward, Shape

SHARDING = decoder.SHARDING
HF_NAMES = decoder.ATTENTION_NAMES | {
    "layers.{}.attention.query.bias": "model.layers.{}.self_attn.q_proj.bias",
    "layers.{}.attention.key.bias": "model.layers.{}.self_attn.k_proj.bias",
    "layers.{}.attention.value.bias": "model.layers.{}.self_attn.v_proj.bias",
    **decoder.FEED_NAMES,
}


class Config(Shape):
    """The shape of a LLaMA."""

    kind: Literal["llama"] = "llama"
    kv_heads: int = Field(default=4, ge=1)
    hidden: int = Field(default=688, ge=1)
    """Feed-forward width; 8/3 of the width costs what GPT-2's fourfold one does, for SwiGLU has three matrices."""
    norm_eps: float = Field(default=1e-5, gt=0)
    attention_bias: bool = False
    """Biases on queries, keys and values."""


class Model(Decoder):
    """LLaMA's blocks in a decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__((_block(config) for _ in range(config.layers)), config)
        self.config = config


def _block(c: Config) -> Block:
    attention = Attention(c.width, heads=c.heads, kv_heads=c.kv_heads, head_dim=c.head_dim, window=c.window, bias=c.attention_bias)
    return Block(attention, FeedForward(c.width, c.hidden), width=c.width, norm_eps=c.norm_eps, dropout=c.dropout)


initialise = decoder.initialise
