"""Mixture of experts: many feed-forwards, of which a router asks a few for each position; Qwen3's attention, Qwen3-MoE's layout.

Parameters grow, the cost of a token does not. Shazeer et al. 2017, arXiv:1701.06538; Fedus et al. 2021, arXiv:2101.03961;
Yang et al. 2025, arXiv:2505.09388.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from scratchlm.core.tensors import Attend, Carried
from scratchlm.kernels.pointwise import RMSNorm
from scratchlm.model import decoder
from scratchlm.model.balance import Balance, Route, also_asked
from scratchlm.model.decoder import Attention, Decoder, FeedForward, Shape
from scratchlm.model.rotary import Rotation

SHARDING = {path: cut for path, cut in decoder.SHARDING.items() if ".feed." not in path} | {
    "layers.*.feed.experts": "experts",
    "layers.*.feed.experts.*.gate": "expert columns",
    "layers.*.feed.experts.*.up": "expert columns",
    "layers.*.feed.experts.*.down": "expert rows",
    "balance": "statistics",
}

HF_NAMES = (
    decoder.ATTENTION_NAMES
    | decoder.QK_NORM_NAMES
    | {
        "layers.{}.feed.router.weight": "model.layers.{}.mlp.gate.weight",
        "layers.{}.feed.experts.{}.gate.weight": "model.layers.{}.mlp.experts.{}.gate_proj.weight",
        "layers.{}.feed.experts.{}.up.weight": "model.layers.{}.mlp.experts.{}.up_proj.weight",
        "layers.{}.feed.experts.{}.down.weight": "model.layers.{}.mlp.experts.{}.down_proj.weight",
    }
)


class Config(Shape):
    """The shape of a mixture of experts."""

    kind: Literal["moe"] = "moe"
    experts: int = Field(default=8, ge=1, le=1024)
    experts_per_token: int = Field(default=2, ge=1)
    expert_hidden: int = Field(default=384, ge=1)
    """Feed-forward width of one expert."""
    normalised_routing: bool = True
    """Whether the weights of a position's experts add up to one."""
    balance: float = Field(default=0.001, ge=0)
    """How much it counts, beside a nat of loss, that experts share the work evenly, whatever the layers; 0: not at all."""

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        if self.experts_per_token > self.experts:
            raise ValueError(f"experts_per_token ({self.experts_per_token}) must not be above experts ({self.experts})")
        return self


class Bank(nn.ModuleList):
    """The experts themselves, each under its number."""

    def forward(self, x_MD: Float[Tensor, "M D"], sizes: Sequence[int]) -> Float[Tensor, "M D"]:
        """Each expert's answer to its own stretch of ``x_MD``; one that has none reads nothing."""
        return torch.cat([expert(part) for expert, part in zip(self, x_MD.split(list(sizes)), strict=True)])


class Experts(nn.Module):
    """A router and its experts: each position is answered by the ``per_token`` likeliest, weighted by how likely they are."""

    def __init__(self, width: int, *, experts: int, per_token: int, hidden: int, normalised: bool) -> None:
        super().__init__()
        self.per_token, self.normalised = per_token, normalised
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = Bank(FeedForward(width, hidden) for _ in range(experts))

    def forward(self, x_BTD: Float[Tensor, "B T D"]) -> tuple[Float[Tensor, "B T D"], Route]:
        """What the experts say, and who was asked."""
        x_ND = x_BTD.flatten(0, 1)
        probabilities_NE = self.router(x_ND).float().softmax(dim=-1)
        weights_NK, chosen_NK = probabilities_NE.topk(self.per_token, dim=-1)
        if self.normalised:
            weights_NK = weights_NK / weights_NK.sum(dim=-1, keepdim=True)
        return self._asked(x_ND, weights_NK, chosen_NK).view_as(x_BTD), (probabilities_NE, chosen_NK)

    def _asked(self, x_ND: Float[Tensor, "N D"], weights_NK: Float[Tensor, "N K"], chosen_NK: Int[Tensor, "N K"]) -> Float[Tensor, "N D"]:
        """The weighted sum of each position's experts, each of which reads all its positions at once."""
        order_M = chosen_NK.flatten().argsort(stable=True)  # M = N K pairs of a position and an expert, sorted by expert
        sizes = chosen_NK.flatten().bincount(minlength=self.router.out_features).tolist()
        said_MD = self.experts(x_ND[order_M // self.per_token], sizes)
        said_NKD = said_MD[order_M.argsort()].view(*chosen_NK.shape, -1)
        return (said_NKD * weights_NK[..., None]).sum(dim=1)


class Block(nn.Module):
    """Attention, then experts; as in ``decoder.Block``, each adds to the stream."""

    def __init__(self, attention: Attention, feed: Experts, *, width: int, norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(width, eps=norm_eps)
        self.attention = attention
        self.feed_norm = RMSNorm(width, eps=norm_eps)
        self.feed = feed
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, rotate: Rotation, attend: Attend) -> tuple[Float[Tensor, "B T D"], Route]:
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), layer, rotate, attend))
        said_BTD, route = self.feed(self.feed_norm(x_BTD))
        return x_BTD + self.dropout(said_BTD), route


class Model(Decoder):
    """Blocks with experts in a decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__((_block(config) for _ in range(config.layers)), config)
        self.config = config
        self.balance = Balance(config.layers)

    def entered(self, tokens_BL: Int[Tensor, "B T"], positions_BT: Int[Tensor, "B T"]) -> Carried:
        (x_BTD,) = super().entered(tokens_BL, positions_BT)
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        return x_BTD, torch.zeros(*x_BTD.shape[:2], self.config.experts, device=x_BTD.device, dtype=wide)

    def through(self, carried: Carried, positions_BT: Int[Tensor, "B T"], attend: Attend) -> Carried:
        (x_BTD, asked_BTE), rotate = carried, self.rotation_of(positions_BT)
        for layer, block in self.blocks():
            x_BTD, route = block(x_BTD, layer, rotate, attend)
            asked_BTE = also_asked(asked_BTE, route)
        return x_BTD, asked_BTE

    def regularised(self, carried: Carried, positions_BT: Int[Tensor, "B T"]) -> tuple[Float[Tensor, "B T D"], Float[Tensor, ""]]:
        """See ``core.tensors.Regularised``."""
        x_BTD, zero = self.balance(self.norm(carried[0]), positions_BT, carried[1])
        return x_BTD, self.config.balance * zero

    def ended(self, carried: Carried, positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return self.regularised(carried, positions_BT)[0]


def _block(c: Config) -> Block:
    attention = Attention(c.width, heads=c.heads, kv_heads=c.kv_heads, head_dim=c.head_dim, window=c.window, qk_norm_eps=c.norm_eps)
    feed = Experts(c.width, experts=c.experts, per_token=c.experts_per_token, hidden=c.expert_hidden, normalised=c.normalised_routing)
    return Block(attention, feed, width=c.width, norm_eps=c.norm_eps, dropout=c.dropout)


initialise = decoder.initialise
