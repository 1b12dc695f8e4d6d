"""A model's numbers by what happens to them: multiplied, looked up, kept for the way back, shared out or halved.

One function for each architecture, from its shape alone; tests count the model's own tensors beside it. Letters as in ``core/tensors.py``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from scratchlm.model import gpt2, llama, minillm, moe, olmo2, qwen3, swift

FLOAT_BYTES = 4
"""Of a weight, a gradient, an optimizer's memory and a key or value: all are float32."""
HALF_BYTES = 2
"""Of a number in bfloat16."""
IDS = 2
"""A row of token ids is kept as int64, which weighs as much as two numbers."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a micro-batch is computed, as far as memory depends on it; as it stands, on one process in float32, nothing twice."""

    tensor: int = 1
    """Processes that share each matrix out, and between matrices the positions."""
    expert: int = 1
    """Processes that keep some experts each."""
    context: int = 1
    """Processes that share the positions of each row out."""
    by_heads: bool = False
    """Whether attention then sees all positions of some heads, and not some positions all keys."""
    recompute: Literal["none", "selective", "full"] = "none"
    half: bool = False
    """Whether products are in bfloat16,"""
    light: bool = False
    """and weights come as bfloat16, so that what a norm gives is that already."""
    fused: bool = False
    """Whether a norm is a single operation, as on GPUs."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Numbers of a position that the way back needs, by what becomes of them where work is shared out or products are in half precision."""

    stream: int = 0
    """Between matrices: each process of the tensor axis has those of its own positions. They are float32."""
    normalised: int = 0
    """Those of them that a norm makes and does not keep where it is a single operation,"""
    turned: int = 0
    """and those of ``heads``."""
    heads: int = 0
    """Float32 numbers within heads, which are shared out."""
    joined: int = 0
    """Float32 numbers and ids that every process of the tensor axis has for all positions."""
    made: int = 0
    """What products give and what becomes of it within heads and hidden channels; in the dtype of products."""
    read: int = 0
    """What products read that comes by a message: every process of the tensor axis has all positions of it."""
    copies: int = 0
    """The same in half precision, of which each product makes a copy of its own."""
    products: int = 0
    """Of ``made``, what is left where only what stands between products is computed again,"""
    sums: int = 0
    """and what is left then beside it, for all positions: what products gave before the message behind them."""
    sorted_: int = 0
    """Ids of positions that come to experts from other processes, by which they are sorted and sent back."""
    passing: int = 0
    """What exists for a while on the way back, beyond all this."""

    @property
    def numbers(self) -> int:
        """On one process, in float32, each norm computed in several operations."""
        return self.stream + self.heads + self.joined + self.made + self.read

    def size_bytes(self, how: Manner) -> float:
        """Of one position, where nothing is computed again."""
        own = self.stream + self.heads - (self.normalised if how.fused else 0) - (self.turned if how.fused and not how.light else 0)
        own_bytes = FLOAT_BYTES * own - (HALF_BYTES * (self.stream - self.normalised) if how.fused and how.light else 0)
        read = HALF_BYTES * (self.read if how.light else self.copies) if how.half else FLOAT_BYTES * self.read
        joined = self.joined + (self.sorted_ if how.tensor * how.expert > 1 else 0)
        return (own_bytes + product_bytes(how) * self.made) / how.tensor + FLOAT_BYTES * joined + read


def product_bytes(how: Manner) -> int:
    """Of a number that a product gives."""
    return HALF_BYTES if how.half else FLOAT_BYTES


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Of a model of one shape."""

    matrices: int
    """Weights of the blocks that are multiplied for every position."""
    idle: int
    """Weights of the experts that a position is not sent to."""
    vectors: int
    """Gains, biases and scalars."""
    tables: int
    """Embeddings, of which a position reads one row each."""
    head: int
    """Weights of the product that gives the scores, whether it has them alone or shares them with the embedding."""
    tied: bool
    inner: int
    """H C: the width of all query heads together."""
    kv_inner: int
    """G C: that of all key-value heads."""
    layers: int
    block: Kept
    """What is kept of each block,"""
    ends: Kept
    """and beside the blocks; the loss's own comes on top."""
    carried: int
    """Numbers of a position that a block hands to the next one."""
    capped: bool = False
    """Whether the head ends in a softcap, whose way back holds more scores."""

    @property
    def kept(self) -> int:
        """Numbers that the way back needs of each position, beside the loss's own."""
        return self.layers * self.block.numbers + self.ends.numbers


def _gelu(c: minillm.Config | gpt2.Config) -> Anatomy:
    """One product for queries, keys and values, two for the feed-forward, biases and LayerNorms everywhere."""
    D, learned = c.width, isinstance(c, gpt2.Config)
    F = c.hidden if isinstance(c, gpt2.Config) else 4 * D
    # Kept: each norm's input with mean and deviation and what it gives, queries, keys and values, what attention gives and a sum per
    # head, the feed-forward before and after its GELU.
    return Anatomy(
        matrices=c.layers * (4 * D * D + 2 * D * F),
        idle=0,
        vectors=c.layers * (9 * D + F) + 2 * D,
        tables=(c.vocab + (c.context if learned else 0)) * D,
        head=c.vocab * D,
        tied=isinstance(c, gpt2.Config) and c.tied,
        inner=D,
        kv_inner=D,
        layers=c.layers,
        block=Kept(
            stream=2 * D + 4,
            heads=c.heads,
            made=4 * D + 2 * F,
            read=2 * D,
            copies=2 * D,
            products=4 * D + F,
            sums=2 * D,
            passing=max(2 * D, F - D),
        ),
        ends=Kept(stream=D + 2, joined=(2 if learned else 1) * IDS),
        carried=D,
    )


def _rotary_blocks(c: llama.Config | qwen3.Config | olmo2.Config | moe.Config, matrices: int, idle: int, feed: Kept) -> Anatomy:
    """LLaMA and what came of it, given the weights of one feed-forward, those that a position is not sent to, and what it keeps."""
    inner, kv_inner, D = c.heads * c.head_dim, c.kv_heads * c.head_dim, c.width
    qk_norm, joined = not isinstance(c, llama.Config), isinstance(c, olmo2.Config)
    bias = inner + 2 * kv_inner if isinstance(c, llama.Config) and c.attention_bias else 0
    # A norm on queries and keys has the gains of one head and a scale for each, or the gains of all heads and one scale.
    gains, scales = (inner + kv_inner, 2) if joined else (2 * c.head_dim, c.heads + c.kv_heads)
    of_norms = 2 * inner + 2 * kv_inner + scales if qk_norm else 0
    # Kept: of a norm its input, the normalised input and one scale; of attention queries, keys, values, the result and a sum per head.
    block = Kept(
        stream=4 * D + 2 + feed.stream,
        normalised=2 * D,
        turned=inner + kv_inner if qk_norm and not joined else 0,
        heads=c.heads + (0 if joined else of_norms),
        joined=of_norms if joined else 0,
        made=2 * inner + 2 * kv_inner + feed.made,
        read=D + feed.read,
        copies=3 * D + feed.copies,
        products=2 * inner + 2 * kv_inner + feed.products,
        sums=D + feed.sums,
        sorted_=feed.sorted_,
        passing=max(3 * D, 3 * inner - D, feed.passing - 2 * D),
    )
    return Anatomy(
        matrices=c.layers * (D * 2 * (inner + kv_inner) + matrices),
        idle=c.layers * idle,
        vectors=c.layers * (2 * D + bias + (gains if qk_norm else 0)) + D,
        tables=c.vocab * D,
        head=c.vocab * D,
        tied=c.tied,
        inner=inner,
        kv_inner=kv_inner,
        layers=c.layers,
        block=block,
        ends=Kept(stream=2 * D + 1, normalised=D, joined=2 * c.head_dim + IDS),
        carried=D,
    )


def _dense(c: llama.Config | qwen3.Config | olmo2.Config) -> Anatomy:
    """The gate before and after its SiLU, what passes through it and the product are kept."""
    D, F = c.width, c.hidden
    return _rotary_blocks(c, 3 * D * F, 0, Kept(made=4 * F, read=D, copies=2 * D, products=2 * F, sums=D, passing=2 * F))


def _moe(c: moe.Config) -> Anatomy:
    """Of each chosen expert what a feed-forward keeps, its input, its answer and three ids: which one, and both ways through the sorting.

    Of the router what it reads, the likelihoods, the weights, and these normalised with their sum. For balance positions once more, and
    how often each expert was asked.
    """
    D, K, F = c.width, c.experts_per_token, c.expert_hidden
    expert, routed = 3 * D * F, 3 * K * IDS + c.experts + K + (K + 1 if c.normalised_routing else 0)
    feed = Kept(
        stream=routed,
        made=D + K * (4 * F + D),
        read=K * D,
        copies=2 * K * D,
        products=c.experts + 2 * K * F,
        sums=K * D,
        sorted_=2 * K * IDS,
    )
    found = _rotary_blocks(c, D * c.experts + K * expert, (c.experts - K) * expert, feed)
    return replace(found, ends=replace(found.ends, stream=found.ends.stream + IDS + c.experts), carried=D + c.experts)


def _swift(c: swift.Config) -> Anatomy:
    inner, D = c.heads * c.head_dim, c.width
    return Anatomy(
        matrices=c.layers * (4 * D * inner + 8 * D * D),
        idle=0,
        vectors=2 * c.layers + (c.layers + 1) // 2,
        tables=(c.vocab + c.bigrams + (c.trigrams or 0)) * D + c.vocab * inner,
        head=c.vocab * D,
        tied=False,
        inner=inner,
        kv_inner=inner,
        layers=c.layers,
        # Norms without a gain keep their input, mean and deviation; the squared ReLU what goes in and what comes out.
        block=Kept(
            stream=3 * D + 4,
            heads=2 * inner + 5 * c.heads,
            made=4 * inner + 8 * D,
            read=2 * D,
            copies=4 * D,
            products=4 * inner + 4 * D,
            sums=2 * D,
            passing=11 * D,
        ),
        ends=Kept(stream=2 * D + 4, heads=inner, joined=2 * c.head_dim + (3 if c.trigrams else 2) * IDS),
        carried=2 * D + inner,
        capped=True,
    )


ANATOMIES: Mapping[str, Callable[[Any], Anatomy]] = {
    "minillm": _gelu,
    "gpt2": _gelu,
    "llama": _dense,
    "qwen3": _dense,
    "olmo2": _dense,
    "moe": _moe,
    "swift": _swift,
}
"""A row for each row of ``ARCHITECTURES``."""
