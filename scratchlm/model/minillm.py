"""MiniLLM: the minimal model that every tutorial starts from.

A learned token embedding, sinusoidal positions (Vaswani et al. 2017, arXiv:1706.03762), pre-LayerNorm blocks (Xiong et al. 2020,
arXiv:2002.04745) of fused-QKV multi-head attention and a GELU feed-forward four times as wide, a final LayerNorm and a bias-free head.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.config import Settings
from scratchlm.core.tensors import Attend, Carried
from scratchlm.kernels.pointwise import LayerNorm
from scratchlm.model.stretch import Stretch

SHARDING = {
    "layers.*.qkv": "columns of three",
    "layers.*.output": "rows",
    "layers.*.up": "columns",
    "layers.*.down": "rows",
    "embedding": "vocabulary",
    "sinusoids": "positions",
    "head": "vocabulary",
}
HF_NAMES = None
"""No stock reader knows this architecture."""


class Config(Settings):
    """The shape of a MiniLLM."""

    kind: Literal["minillm"] = "minillm"
    vocab: int = Field(default=50257, ge=2)
    context: int = Field(default=256, ge=8)
    layers: int = Field(default=6, ge=1)
    width: int = Field(default=288, ge=8, multiple_of=2)
    heads: int = Field(default=6, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> "Config":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Sinusoids(nn.Module):
    """Fixed positions: sines and cosines of wavelengths from 2π to 10,000·2π, section 3.5 of Vaswani et al. 2017."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return sinusoids(positions_BT, self.width)


def sinusoids(positions_BT: Int[Tensor, "B T"], width: int) -> Float[Tensor, "B T D"]:
    """A wave for each pair of channels, its sine beside its cosine."""
    rates_K = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device=positions_BT.device) * (-math.log(10000.0) / width))
    angles_BTK = positions_BT[..., None].float() * rates_K
    return torch.stack((angles_BTK.sin(), angles_BTK.cos()), dim=-1).flatten(-2)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy of the stream; GPT-2 has the same with GELU by its tanh formula."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        dropout: float,
        hidden: int,
        norm_eps: float = 1e-5,
        gelu: Literal["none", "tanh"] = "none",
    ) -> None:
        super().__init__()
        self.head_dim, self.gelu = width // heads, gelu
        self.attention_norm = LayerNorm(width, eps=norm_eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_norm = LayerNorm(width, eps=norm_eps)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, attend: Attend) -> Float[Tensor, "B T D"]:
        parts_BTD = self.qkv(self.attention_norm(x_BTD)).chunk(3, dim=-1)
        q_BTHC, k_BTHC, v_BTHC = (t.unflatten(-1, (-1, self.head_dim)) for t in parts_BTD)
        x_BTD = x_BTD + self.dropout(self.output(attend(layer, q_BTHC, k_BTHC, v_BTHC, None).flatten(-2)))
        return x_BTD + self.dropout(self.down(F.gelu(self.up(self.feed_norm(x_BTD)), approximate=self.gelu)))


class Stack(Stretch):
    """Blocks of this kind, and a norm behind them."""

    norm: LayerNorm

    def through(self, carried: Carried, positions_BT: Int[Tensor, "B T"], attend: Attend) -> Carried:
        (x_BTD,) = carried
        for layer, block in self.blocks():
            x_BTD = block(x_BTD, layer, attend)
        return (x_BTD,)

    def ended(self, carried: Carried, positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return self.norm(carried[0])


class Model(Stack):
    """The minimal decoder-only transformer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.sinusoids = Sinusoids(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            Block(config.width, heads=config.heads, dropout=config.dropout, hidden=4 * config.width) for _ in range(config.layers)
        )
        self.norm = LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocab, bias=False)

    def entered(self, tokens_BL: Int[Tensor, "B T"], positions_BT: Int[Tensor, "B T"]) -> Carried:
        # Embeddings begin small: unless they are made as loud as the waves (section 3.4 of the paper), where drowns what.
        loud_BTD = self.embedding(tokens_BL) * math.sqrt(self.config.width)
        return (self.dropout(loud_BTD + self.sinusoids(positions_BT)),)

    def logits(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """See ``core.tensors.LanguageModel``."""
        return self.head(x_BTD)


def initialise(_config: object, parameters: Iterable[tuple[str, Tensor]], generator: torch.Generator) -> None:
    """Normals of 0.02 for matrices, zeros for biases, ones for norms: as GPT-2 did."""
    for name, parameter in parameters:
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        else:
            nn.init.normal_(parameter, std=0.02, generator=generator)
