"""Swift: everything that was shown to learn faster per second, where no stock reader has to follow.

ReLU² (So et al. 2021, arXiv:2109.08668), queries and keys of length one, norms without gain, hashed embeddings of two and three tokens
beside the plain one (Huang et al. 2025, arXiv:2501.16975) and value embeddings in every second layer (Zhou et al. 2024,
arXiv:2410.17897), learned scalars on stream and skip, zero-initialised output projections, soft-capped logits (Gemma 2,
arXiv:2408.00118).
"""

import functools
from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.config import Settings
from scratchlm.core.tensors import Attend, Carried
from scratchlm.kernels.pointwise import LayerNorm, layer_norm, squared
from scratchlm.model.rotary import Rotation, rotation
from scratchlm.model.stretch import Stretch

SHARDING = {
    "layers.*.query": "columns",
    "layers.*.key": "columns",
    "layers.*.value": "columns",
    "layers.*.output": "rows",
    "layers.*.up": "columns",
    "layers.*.down": "rows",
    "embedding": "vocabulary",
    "pair_embedding": "positions",
    "triple_embedding": "positions",
    "value_embedding": "channels",
    "head": "vocabulary",
}
MIXERS = (27191, 36313, 50331653)
"""What a token is multiplied by before it goes into a hash: itself, the one before it, and the one before that."""
HF_NAMES = None
"""No stock reader knows this architecture; train `qwen3` where the model must leave the house."""


class Config(Settings):
    """The shape of a Swift model."""

    kind: Literal["swift"] = "swift"
    vocab: int = Field(default=4096, ge=2)
    context: int = Field(default=256, ge=8)
    layers: int = Field(default=3, ge=1)
    width: int = Field(default=192, ge=8)
    heads: int = Field(default=2, ge=1)
    head_dim: int = Field(default=96, ge=2, multiple_of=2)
    bigrams: int = Field(default=16384, ge=1)
    """Rows of the hashed two-token table."""
    trigrams: int | None = Field(default=None, ge=1)
    """Rows of the hashed three-token table; None: there is none. It pays for characters and on short runs."""
    rope_theta: float = Field(default=10000.0, gt=0)
    softcap: float = Field(default=15.0, gt=0)
    """Logits stay within ± this."""
    dropout: float = Field(default=0.0, ge=0, lt=1)


def normalised(x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """Each vector with root mean square one; no gain. Layer norm and RMS norm differ little here, and torch fuses the former on CPU."""
    return layer_norm(x)


def hashed(tokens_BL: Int[Tensor, "B L"], positions_BT: Int[Tensor, "B T"], count: int, rows: int) -> Int[Tensor, "B T"]:
    """A row of the table for each position and the ``count - 1`` before it; row 0 where a document has not so many yet."""
    given_BL = F.pad(tokens_BL, (count - 1, 0))
    end = given_BL.shape[1]
    first = end - positions_BT.shape[1]
    mixed_BT = functools.reduce(torch.bitwise_xor, (given_BL[:, first - back : end - back] * MIXERS[back] for back in range(count)))
    return torch.where(positions_BT < count - 1, 0, mixed_BT % max(1, rows - 1) + 1)


class Block(nn.Module):
    """Attention and a squared-ReLU feed-forward; ``mix`` weighs the stream against the embedding it began as."""

    def __init__(self, width: int, *, heads: int, head_dim: int, with_values: bool, dropout: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.mix = nn.Parameter(torch.empty(2))
        self.value_mix = nn.Parameter(torch.empty(1)) if with_values else None
        self.head_norm = LayerNorm(head_dim, elementwise_affine=False)
        self.query = nn.Linear(width, heads * head_dim, bias=False)
        self.key = nn.Linear(width, heads * head_dim, bias=False)
        self.value = nn.Linear(width, heads * head_dim, bias=False)
        self.output = nn.Linear(heads * head_dim, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BTD: Float[Tensor, "B T D"],
        first_BTD: Float[Tensor, "B T D"],
        values_BTHC: Float[Tensor, "B T HC"],
        layer: int,
        rotate: Rotation,
        attend: Attend,
    ) -> Float[Tensor, "B T D"]:
        x_BTD = self.mix[0] * x_BTD + self.mix[1] * first_BTD
        seen_BTD = normalised(x_BTD)
        q_BTHC, k_BTHC, v_BTHC = (part(seen_BTD).unflatten(-1, (-1, self.head_dim)) for part in (self.query, self.key, self.value))
        if self.value_mix is not None:
            v_BTHC = v_BTHC + (self.value_mix * values_BTHC).to(v_BTHC.dtype).view_as(v_BTHC)
        q_BTHC, k_BTHC = (rotate(t, self.head_norm) for t in (q_BTHC, k_BTHC))
        x_BTD = x_BTD + self.dropout(self.output(attend(layer, q_BTHC, k_BTHC, v_BTHC, None).flatten(-2)))
        return x_BTD + self.dropout(self.down(squared(self.up(normalised(x_BTD)))))


class Model(Stretch):
    """The fast profile."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.lookback = 2 if config.trigrams else 1
        inner = config.heads * config.head_dim
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.pair_embedding = nn.Embedding(config.bigrams, config.width)
        self.triple_embedding = nn.Embedding(config.trigrams, config.width) if config.trigrams else None
        self.value_embedding = nn.Embedding(config.vocab, inner)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            Block(config.width, heads=config.heads, head_dim=config.head_dim, with_values=layer % 2 == 0, dropout=config.dropout)
            for layer in range(config.layers)
        )
        self.head = nn.Linear(config.width, config.vocab, bias=False)

    def entered(self, tokens_BL: Int[Tensor, "B L"], positions_BT: Int[Tensor, "B T"]) -> Carried:
        own_BT = tokens_BL[:, -positions_BT.shape[1] :]
        first_BTD = self.embedding(own_BT) + self.pair_embedding(hashed(tokens_BL, positions_BT, 2, self.config.bigrams))
        if self.triple_embedding is not None:
            first_BTD = first_BTD + self.triple_embedding(hashed(tokens_BL, positions_BT, 3, self.triple_embedding.num_embeddings))
        first_BTD = self.dropout(normalised(first_BTD).float())  # the stream is float32, whatever products are computed in
        return first_BTD, first_BTD, self.value_embedding(own_BT)

    def through(self, carried: Carried, positions_BT: Int[Tensor, "B T"], attend: Attend) -> Carried:
        x_BTD, first_BTD, values_BTHC = carried
        rotate = rotation(positions_BT, self.config.head_dim, theta=self.config.rope_theta)
        for layer, block in self.blocks():
            x_BTD = block(x_BTD, first_BTD, values_BTHC, layer, rotate, attend)
        return x_BTD, first_BTD, values_BTHC

    def ended(self, carried: Carried, positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return normalised(carried[0])

    def logits(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """See ``core.tensors.LanguageModel``."""
        return self.config.softcap * torch.tanh(self.head(x_BTD).float() / self.config.softcap)


def initialise(_config: object, parameters: Iterable[tuple[str, Tensor]], generator: torch.Generator) -> None:
    """All initial values in one place: blocks start as the identity and the head as silence."""
    for name, parameter in parameters:
        if name.endswith(".mix"):
            parameter.data.copy_(torch.tensor([1.0, 0.0]))
        elif name.endswith(("value_mix", "output.weight", "down.weight", "head.weight")):
            nn.init.zeros_(parameter)
        elif name.startswith("layers."):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
        else:
            nn.init.normal_(parameter, std=1.0 if name == "embedding.weight" else 0.1, generator=generator)
