"""GPT-2: learned positions, LayerNorm with biases, GELU, a head tied to the embedding; the model that made the method famous.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; the code is github.com/openai/gpt-2 (src/model.py).
GELU by its tanh formula: Hendrycks & Gimpel 2016, arXiv:1606.08415.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.config import Settings
from scratchlm.core.tensors import Carried
from scratchlm.kernels.pointwise import LayerNorm
from scratchlm.model.minillm import Block, Stack

SHARDING = {
    "layers.*.qkv": "columns of three",
    "layers.*.output": "rows",
    "layers.*.up": "columns",
    "layers.*.down": "rows",
    "embedding": "vocabulary",
    "position_embedding": "positions",
    "head": "vocabulary",
}
HF_NAMES = {
    "embedding.weight": "transformer.wte.weight",
    "position_embedding.weight": "transformer.wpe.weight",
    "layers.{}.attention_norm.weight": "transformer.h.{}.ln_1.weight",
    "layers.{}.attention_norm.bias": "transformer.h.{}.ln_1.bias",
    "layers.{}.qkv.weight": "transformer.h.{}.attn.c_attn.weight",
    "layers.{}.qkv.bias": "transformer.h.{}.attn.c_attn.bias",
    "layers.{}.output.weight": "transformer.h.{}.attn.c_proj.weight",
    "layers.{}.output.bias": "transformer.h.{}.attn.c_proj.bias",
    "layers.{}.feed_norm.weight": "transformer.h.{}.ln_2.weight",
    "layers.{}.feed_norm.bias": "transformer.h.{}.ln_2.bias",
    "layers.{}.up.weight": "transformer.h.{}.mlp.c_fc.weight",
    "layers.{}.up.bias": "transformer.h.{}.mlp.c_fc.bias",
    "layers.{}.down.weight": "transformer.h.{}.mlp.c_proj.weight",
    "layers.{}.down.bias": "transformer.h.{}.mlp.c_proj.bias",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "head.weight": "lm_head.weight",
}
HF_TRANSPOSED = frozenset(f"layers.{{}}.{name}.weight" for name in ("qkv", "output", "up", "down"))
"""Where their tensor is the transpose of ours: GPT-2 wrote its products as x W, not as W x."""


class Config(Settings):
    """The shape of a GPT-2; as it stands, the smallest of the four that were published."""

    kind: Literal["gpt2"] = "gpt2"
    vocab: int = Field(default=50257, ge=2)
    context: int = Field(default=1024, ge=8)
    """Positions that are learned: beyond them the model cannot read."""
    layers: int = Field(default=12, ge=1, le=1000)
    width: int = Field(default=768, ge=8)
    heads: int = Field(default=12, ge=1)
    hidden: int = Field(default=3072, ge=1)
    """Feed-forward width."""
    norm_eps: float = Field(default=1e-5, gt=0)
    tied: bool = True
    """Whether the head is the embedding itself."""
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> "Config":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Model(Stack):
    """MiniLLM's blocks behind learned positions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.position_embedding = nn.Embedding(config.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_block(config) for _ in range(config.layers))
        self.norm = LayerNorm(config.width, eps=config.norm_eps)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)

    def entered(self, tokens_BL: Int[Tensor, "B T"], positions_BT: Int[Tensor, "B T"]) -> Carried:
        return (self.dropout(self.embedding(tokens_BL) + self.position_embedding(positions_BT)),)

    def logits(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """See ``core.tensors.LanguageModel``."""
        return F.linear(x_BTD, self.embedding.weight if self.head is None else self.head.weight)


def _block(c: Config) -> Block:
    return Block(c.width, heads=c.heads, dropout=c.dropout, hidden=c.hidden, norm_eps=c.norm_eps, gelu="tanh")


def initialise(config: Config, parameters: Iterable[tuple[str, Tensor]], generator: torch.Generator) -> None:
    """All initial values in one place, as GPT-2's code and paper have them.

    Normals of 0.02, of 0.01 for positions; what writes to the stream is divided by the root of how often that happens.
    """
    writers = 2 * config.layers
    for name, parameter in parameters:
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        elif name == "position_embedding.weight":
            nn.init.normal_(parameter, std=0.01, generator=generator)
        else:
            std = 0.02 * writers**-0.5 if name.endswith(("output.weight", "down.weight")) else 0.02
            nn.init.normal_(parameter, std=std, generator=generator)
