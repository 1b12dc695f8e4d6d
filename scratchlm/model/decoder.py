"""What LLaMA and its descendants share: a stack of blocks that look at other positions, then think, each adding to the stream.

Pre-RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), rotary positions, grouped queries, SwiGLU (Shazeer 2020, arXiv:2002.05202).
"""

from collections.abc import Iterable
from functools import partial

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.config import Settings
from scratchlm.core.tensors import Attend, Carried
from scratchlm.kernels.pointwise import RMSNorm, gated
from scratchlm.model.rotary import Rotation, Scaling, rotation
from scratchlm.model.stretch import Stretch

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

ATTENTION_NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "layers.{}.attention_norm.weight": "model.layers.{}.input_layernorm.weight",
    "layers.{}.attention.query.weight": "model.layers.{}.self_attn.q_proj.weight",
    "layers.{}.attention.key.weight": "model.layers.{}.self_attn.k_proj.weight",
    "layers.{}.attention.value.weight": "model.layers.{}.self_attn.v_proj.weight",
    "layers.{}.attention.output.weight": "model.layers.{}.self_attn.o_proj.weight",
    "layers.{}.feed_norm.weight": "model.layers.{}.post_attention_layernorm.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
"""Our name of each parameter -> its name in a Hugging Face directory; ``{}`` is the layer. All but the feed-forward."""
QK_NORM_NAMES = {
    "layers.{}.attention.query_norm.weight": "model.layers.{}.self_attn.q_norm.weight",
    "layers.{}.attention.key_norm.weight": "model.layers.{}.self_attn.k_norm.weight",
}
FEED_NAMES = {
    "layers.{}.feed.gate.weight": "model.layers.{}.mlp.gate_proj.weight",
    "layers.{}.feed.up.weight": "model.layers.{}.mlp.up_proj.weight",
    "layers.{}.feed.down.weight": "model.layers.{}.mlp.down_proj.weight",
}


class Shape(Settings):
    """The fields that every one of them has; an architecture adds its own, and defaults of its own."""

    vocab: int = Field(default=4096, ge=2)
    context: int = Field(default=256, ge=8)
    layers: int = Field(default=4, ge=1, le=1000)
    width: int = Field(default=256, ge=8)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=2, ge=1)
    head_dim: int = Field(default=64, ge=2, multiple_of=2)
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
    def _heads_share(self) -> "Shape":
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class Attention(nn.Module):
    """Grouped-query attention; ``qk_norm_eps`` puts a norm on each head's queries and keys, ``bias`` one on their making."""

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        kv_heads: int,
        head_dim: int,
        window: int | None,
        qk_norm_eps: float | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.head_dim, self.window = head_dim, window
        self.query = nn.Linear(width, heads * head_dim, bias=bias)
        self.key = nn.Linear(width, kv_heads * head_dim, bias=bias)
        self.value = nn.Linear(width, kv_heads * head_dim, bias=bias)
        self.output = nn.Linear(heads * head_dim, width, bias=False)
        self.query_norm = None if qk_norm_eps is None else RMSNorm(head_dim, eps=qk_norm_eps)
        self.key_norm = None if qk_norm_eps is None else RMSNorm(head_dim, eps=qk_norm_eps)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, rotate: Rotation, attend: Attend) -> Float[Tensor, "B T D"]:
        q_BTHC = rotate(self._heads(self.query(x_BTD)), self.query_norm)
        k_BTGC = rotate(self._heads(self.key(x_BTD)), self.key_norm)
        mixed_BTHC = attend(layer, q_BTHC, k_BTGC, self._heads(self.value(x_BTD)), self.window)
        return self.output(mixed_BTHC.flatten(-2))

    def _heads(self, made_BTD: Float[Tensor, "B T HC"]) -> Float[Tensor, "B T H C"]:
        return made_BTD.unflatten(-1, (-1, self.head_dim))


class FeedForward(nn.Module):
    """SwiGLU: one product opens the gate for another."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return self.down(gated(self.gate(x_BTD), self.up(x_BTD)))


class Block(nn.Module):
    """Look at the other positions, then think about what was seen; each adds to the stream."""

    def __init__(self, attention: Attention, feed: FeedForward, *, width: int, norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(width, eps=norm_eps)
        self.attention = attention
        self.feed_norm = RMSNorm(width, eps=norm_eps)
        self.feed = feed
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, rotate: Rotation, attend: Attend) -> Float[Tensor, "B T D"]:
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), layer, rotate, attend))
        return x_BTD + self.dropout(self.feed(self.feed_norm(x_BTD)))


class Decoder(Stretch):
    """A stack of blocks between an embedding and a head."""

    def __init__(self, blocks: Iterable[nn.Module], shape: Shape) -> None:
        super().__init__()
        self.rotation_of = partial(rotation, channels=shape.head_dim, theta=shape.rope_theta, scaling=shape.rope_scaling)
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.layers = nn.ModuleList(blocks)
        self.norm = RMSNorm(shape.width, eps=shape.norm_eps)
        self.dropout = nn.Dropout(shape.dropout)
        self.head = None if shape.tied else nn.Linear(shape.width, shape.vocab, bias=False)

    def entered(self, tokens_BL: Int[Tensor, "B T"], positions_BT: Int[Tensor, "B T"]) -> Carried:
        return (self.dropout(self.embedding(tokens_BL)),)

    def through(self, carried: Carried, positions_BT: Int[Tensor, "B T"], attend: Attend) -> Carried:
        (x_BTD,), rotate = carried, self.rotation_of(positions_BT)
        for layer, block in self.blocks():
            x_BTD = block(x_BTD, layer, rotate, attend)
        return (x_BTD,)

    def ended(self, carried: Carried, positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return self.norm(carried[0])

    def logits(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """See ``core.tensors.LanguageModel``."""
        return F.linear(x_BTD, self.embedding.weight if self.head is None else self.head.weight)


def initialise(_config: object, parameters: Iterable[tuple[str, Tensor]], generator: torch.Generator) -> None:
    """All initial values in one place: small normals, ones for norms, and zero for biases and where a block writes to the stream.

    A block that starts as the identity lets the embedding and head learn first; with GPT-2's 0.02 / sqrt(2 layers) in its place the
    laptop recipe ended no better. A router starts so small that every expert is as likely as the next.
    """
    for name, parameter in parameters:
        if name.endswith(("bias", "attention.output.weight", "down.weight")):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        elif name.startswith("layers.") and not name.endswith("router.weight"):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
        else:
            nn.init.normal_(parameter, std=0.02, generator=generator)
