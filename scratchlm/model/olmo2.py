"""OLMo 2: LLaMA's parts with the norms behind them, where they bound what is added to the stream rather than what is read of it.

Attention and feed-forward read the stream as it is, and what they say is normalised before it is added; queries and keys are normalised
over all heads together. No biases. OLMo et al. 2024, arXiv:2501.00656.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from scratchlm.core.tensors import Attend
from scratchlm.kernels.pointwise import RMSNorm
from scratchlm.model import decoder
from scratchlm.model.decoder import Decoder, FeedForward, Shape
from scratchlm.model.rotary import Rotation

SHARDING = decoder.SHARDING | {"layers.*.attention.query_norm": "gathered", "layers.*.attention.key_norm": "gathered"}
"""A norm over all heads needs what every rank's columns gave: queries and keys are gathered before it and cut into heads behind it."""

HF_NAMES = (
    decoder.ATTENTION_NAMES
    | decoder.QK_NORM_NAMES
    | decoder.FEED_NAMES
    | {
        "layers.{}.attention_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
        "layers.{}.feed_norm.weight": "model.layers.{}.post_feedforward_layernorm.weight",
    }
)


class Config(Shape):
    """The shape of an OLMo 2."""

    kind: Literal["olmo2"] = "olmo2"
    kv_heads: int = Field(default=4, ge=1)
    hidden: int = Field(default=688, ge=1)
    """Feed-forward width."""
    window: None = None  # pyright: ignore[reportIncompatibleVariableOverride]  (settings are frozen, so a narrower type is safe)
    """None: a position sees all before it; no reader knows an OLMo 2 with a window."""


class Attention(decoder.Attention):
    """Grouped-query attention with a norm on all heads' queries together, and one on their keys: a head may be louder than another."""

    def __init__(self, width: int, *, heads: int, kv_heads: int, head_dim: int, norm_eps: float) -> None:
        super().__init__(width, heads=heads, kv_heads=kv_heads, head_dim=head_dim, window=None)
        self.query_norm = RMSNorm(heads * head_dim, eps=norm_eps)
        self.key_norm = RMSNorm(kv_heads * head_dim, eps=norm_eps)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, rotate: Rotation, attend: Attend) -> Float[Tensor, "B T D"]:
        assert self.query_norm is not None
        assert self.key_norm is not None
        v_BTGC = self._heads(self.value(x_BTD))
        # Products may come in half precision; the norms' gains are float32.
        q_BTHC, k_BTGC = (
            rotate(self._heads(norm(made(x_BTD).float()))).to(v_BTGC.dtype)
            for made, norm in ((self.query, self.query_norm), (self.key, self.key_norm))
        )
        return self.output(attend(layer, q_BTHC, k_BTGC, v_BTGC, None).flatten(-2))


class Block(nn.Module):
    """Look at the other positions, then think about what was seen; what each says is normalised, then added to the stream."""

    def __init__(self, attention: Attention, feed: FeedForward, *, width: int, norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = RMSNorm(width, eps=norm_eps)
        self.feed = feed
        self.feed_norm = RMSNorm(width, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, rotate: Rotation, attend: Attend) -> Float[Tensor, "B T D"]:
        x_BTD = x_BTD + self.dropout(self.attention_norm(self.attention(x_BTD, layer, rotate, attend).float()))
        return x_BTD + self.dropout(self.feed_norm(self.feed(x_BTD).float()))


class Model(Decoder):
    """OLMo 2's blocks in a decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__((_block(config) for _ in range(config.layers)), config)
        self.config = config


def _block(c: Config) -> Block:
    attention = Attention(c.width, heads=c.heads, kv_heads=c.kv_heads, head_dim=c.head_dim, norm_eps=c.norm_eps)
    return Block(attention, FeedForward(c.width, c.hidden), width=c.width, norm_eps=c.norm_eps, dropout=c.dropout)


def initialise(_config: object, parameters: Iterable[tuple[str, Tensor]], generator: torch.Generator) -> None:
    """All initial values in one place: small normals, as in the paper, and ones for norms.

    Blocks cannot start as the identity, as those of the other decoders do: a norm behind a part that says nothing yet makes the first
    word it says as loud as any. With such zeros the gradients of the first two steps were 40 to 430 times as large (3 layers of width
    128 on text).
    """
    for _name, parameter in parameters:
        if parameter.ndim == 1:
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=0.02, generator=generator)
