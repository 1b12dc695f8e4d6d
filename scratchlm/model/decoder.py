"""What LLaMA and its descendants share: a stack of blocks that look at other positions, then think, each adding to the stream.

Pre-RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467), rotary positions, grouped queries, SwiGLU (Shazeer 2020, arXiv:2002.05202).
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.tensors import Attend
from scratchlm.model.rotary import Rotation

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
        self.query_norm = None if qk_norm_eps is None else nn.RMSNorm(head_dim, eps=qk_norm_eps)
        self.key_norm = None if qk_norm_eps is None else nn.RMSNorm(head_dim, eps=qk_norm_eps)

    def forward(self, x_BTD: Float[Tensor, "B T D"], layer: int, rotate: Rotation, attend: Attend) -> Float[Tensor, "B T D"]:
        B, T, _ = x_BTD.shape
        # Angles and the norms' gains are float32, and torch fuses a norm only where input and gain are of one dtype.
        q_BTHC = self.query(x_BTD).float().view(B, T, -1, self.head_dim)
        k_BTGC = self.key(x_BTD).float().view(B, T, -1, self.head_dim)
        v_BTGC = self.value(x_BTD).view(B, T, -1, self.head_dim)
        if self.query_norm is not None and self.key_norm is not None:
            q_BTHC, k_BTGC = self.query_norm(q_BTHC), self.key_norm(k_BTGC)
        mixed_BTHC = attend(layer, rotate(q_BTHC).to(v_BTGC.dtype), rotate(k_BTGC).to(v_BTGC.dtype), v_BTGC, self.window)
        return self.output(mixed_BTHC.reshape(B, T, -1))


class FeedForward(nn.Module):
    """SwiGLU: one product opens the gate for another."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
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


class Decoder(nn.Module):
    """A stack of blocks between an embedding and a head."""

    lookback = 0

    def __init__(
        self,
        blocks: Iterable[nn.Module],
        rotation_of: Callable[[Tensor], Rotation],
        *,
        vocab: int,
        width: int,
        norm_eps: float,
        tied: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.rotation_of = rotation_of
        self.embedding = nn.Embedding(vocab, width)
        self.layers = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(width, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.head = None if tied else nn.Linear(width, vocab, bias=False)

    def entered(self, tokens_BL: Int[Tensor, "B T"], positions_BT: Int[Tensor, "B T"]) -> tuple[Float[Tensor, "B T D"], Rotation]:
        """What the first block is given, and how every block rotates."""
        return self.dropout(self.embedding(tokens_BL)), self.rotation_of(positions_BT)

    def features(self, tokens_BL: Int[Tensor, "B T"], positions_BT: Int[Tensor, "B T"], attend: Attend) -> Float[Tensor, "B T D"]:
        """See ``core.tensors.LanguageModel``."""
        x_BTD, rotate = self.entered(tokens_BL, positions_BT)
        for layer, block in enumerate(self.layers):
            x_BTD = block(x_BTD, layer, rotate, attend)
        return self.norm(x_BTD)

    def logits(self, x_BTD: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """See ``core.tensors.LanguageModel``."""
        return F.linear(x_BTD, self.embedding.weight if self.head is None else self.head.weight)


def check_heads(heads: int, kv_heads: int) -> None:
    """ValueError unless as many query heads share each key-value head."""
    if heads % kv_heads:
        raise ValueError(f"heads ({heads}) must be a multiple of kv_heads ({kv_heads})")


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """All initial values in one place: small normals, ones for norms, and zero for biases and where a block writes to the stream.

    A block that starts as the identity lets the embedding and head learn first; with GPT-2's 0.02 / sqrt(2 layers) in its place the
    laptop recipe ended no better. A router starts so small that every expert is as likely as the next.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(("bias", "attention.output.weight", "down.weight")):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 1:
            nn.init.ones_(parameter)
        elif name.startswith("layers.") and not name.endswith("router.weight"):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
        else:
            nn.init.normal_(parameter, std=0.02, generator=generator)
