"""What a model costs, by formula: parameters, arithmetic and memory, before a single number of it exists.

Training takes 6 FLOPs for each weight and token, a product and a sum on the way forward and two of each on the way back (Kaplan et al.
2020, arXiv:2001.08361, section 2.1), and attention 12 · layers · heads · channels · context more (Chowdhery et al. 2022,
arXiv:2204.02311, appendix B). Memory is of this house's own training and serving: float32 weights, gradients and optimizer states.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scratchlm.core.tensors import scored_at_once
from scratchlm.model import gpt2, llama, minillm, moe, olmo2, qwen3, swift
from scratchlm.model.architectures import AnyConfig

FLOAT_BYTES = 4
"""Of a weight, a gradient, an optimizer's memory and a key or value: all are float32."""
IDS = 2
"""A row of token ids is kept as int64, which weighs as much as two numbers."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A model's numbers by what happens to them. Letters as in ``core/tensors.py``."""

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
    kept: int
    """Numbers that the way back needs of each position, beside the loss's own."""
    capped: bool = False
    """Whether the head ends in a softcap, whose way back holds more scores."""


def anatomy(config: AnyConfig) -> Anatomy:
    """The numbers of a model of this shape."""
    return ANATOMIES[config.kind](config)


def parameters(config: AnyConfig) -> int:
    """How many numbers it learns."""
    a = anatomy(config)
    return a.matrices + a.idle + a.vectors + a.tables + (0 if a.tied else a.head)


def active_parameters(config: AnyConfig) -> int:
    """Those that can touch one token: all but the experts it is not sent to."""
    return parameters(config) - anatomy(config).idle


def body_parameters(config: AnyConfig) -> int:
    """Those without embeddings and head: what scaling laws call N (Kaplan et al. 2020)."""
    a = anatomy(config)
    return a.matrices + a.idle + a.vectors


def training_flops(config: AnyConfig, length: int | None = None) -> int:
    """FLOPs per token of rows of ``length`` positions, the whole context unless given: 6 N + 12 L H C T.

    N are the weights that are multiplied, so the head counts and tables do not; as in the paper no credit is given for the half of
    the scores that causality throws away, and a window of fewer than T positions takes T's place.
    """
    a, T = anatomy(config), length or config.context
    return 6 * (a.matrices + a.head) + 12 * config.layers * a.inner * min(T, window_of(config) or T)


def window_of(config: AnyConfig) -> int | None:
    """How many positions one sees at most; None: all before it."""
    return None if isinstance(config, minillm.Config | gpt2.Config | swift.Config) else config.window


def optimizer_bytes(config: AnyConfig, kind: str, *, momentum: float = 0.0) -> int:
    """What an optimizer of this kind remembers, beside a step counter for each tensor.

    AdamW has two moments of each number, RMSProp one, Muon one of hidden matrices and AdamW's two of the rest; ``momentum`` is one more
    for RMSProp and SGD.
    """
    count, a = parameters(config), anatomy(config)
    moving = count if momentum else 0
    kept = {"adamw": 2 * count, "muon": 2 * count - (a.matrices + a.idle), "rmsprop": count + moving, "sgd": moving}
    return FLOAT_BYTES * kept[kind]


def activation_bytes(config: AnyConfig, rows: int, length: int | None = None, *, masked: bool = True) -> int:
    """What the way back needs of ``rows`` rows of ``length`` positions (the context unless given) computed at once.

    In float32 (bfloat16 products were seen to keep 0.6 to 0.76 of it), without dropout, nothing computed twice. Attention is fused and
    keeps no scores, but each layer its mask, a number for each pair of positions, for a row holds several documents; attention that
    needs none is not ``masked``. The loss comes on top: ``loss_bytes``.
    """
    T = length or config.context
    return FLOAT_BYTES * rows * T * (anatomy(config).kept + (config.layers * T if masked else 0))


def loss_bytes(config: AnyConfig, rows: int, length: int | None = None) -> int:
    """What the chunked cross-entropy holds at its height, of ``rows`` rows of ``length`` positions that are all trained on.

    Of every position what the model gave, its copy, its gradient, target and weight. Of the head the sum of its gradients, the chunk's
    and, from the second chunk on, that of the chunk before. Of a chunk the inputs' gradient, scores and slope; from the second on the
    slope before is there too while the next is made. Which is higher, that moment or the one when the head's gradient comes, depends
    on whether the head or a chunk's scores are larger. A softcap keeps three more tensors of scores, of which one stays to the end.
    Peaks of whole steps were 0.99 to 1.02 of this and the activations together, up to 1.2 where a vocabulary of some dozen pieces makes
    the loss so small that the way back through the blocks is higher.
    """
    a, D, N = anatomy(config), config.width, rows * (length or config.context)
    R, later = min(scored_at_once(config.vocab), N), int(scored_at_once(config.vocab) < N)
    scores, head = R * config.vocab, a.head
    at_the_slope = (5 if a.capped else 2 + later) * scores + (1 + later) * head
    at_the_gradient = (3 if a.capped else 2) * scores + (2 + later) * head
    return FLOAT_BYTES * (max(at_the_slope, at_the_gradient) + 3 * N * D + R * D + (IDS + 1) * N)


def training_bytes(config: AnyConfig, rows: int, optimizer: str, *, momentum: float = 0.0, masked: bool = True) -> Mapping[str, int]:
    """Memory of a training step at its height, by part; ``rows`` are those of a micro-batch, as long as the context.

    That is in the loss of a step's second micro-batch; in that of its first there are no gradients yet.
    """
    weights = FLOAT_BYTES * parameters(config)
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer": optimizer_bytes(config, optimizer, momentum=momentum),
        "activations": activation_bytes(config, rows, masked=masked),
        "loss": loss_bytes(config, rows),
    }


def cache_bytes(config: AnyConfig, positions: int) -> int:
    """Keys and values of one conversation of so many positions, of which a layer with a window keeps the newest."""
    return 2 * FLOAT_BYTES * config.layers * anatomy(config).kv_inner * min(positions, window_of(config) or positions)


def weight_bytes(config: AnyConfig, bits: float, outer_bits: float) -> int:
    """The weights on disk: so many bits for each weight of the blocks, so many for each of embeddings and head, float32 for vectors."""
    a = anatomy(config)
    outer = a.tables + (0 if a.tied else a.head)
    return round(((a.matrices + a.idle) * bits + outer * outer_bits) / 8) + FLOAT_BYTES * a.vectors


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
        kept=c.layers * (8 * D + 2 * F + c.heads + 4) + D + 2 + (2 if learned else 1) * IDS,
    )


def _rotary_blocks(c: llama.Config | qwen3.Config | olmo2.Config | moe.Config, feed: Mapping[str, int]) -> Anatomy:
    """LLaMA and what came of it; ``feed`` has the weights of one feed-forward and what it keeps."""
    inner, kv_inner, D = c.heads * c.head_dim, c.kv_heads * c.head_dim, c.width
    qk_norm = not isinstance(c, llama.Config)
    bias = inner + 2 * kv_inner if isinstance(c, llama.Config) and c.attention_bias else 0
    # Kept: of a norm its input, the normalised input and one scale; of attention queries, keys, values, the result and a sum per head.
    attended = 6 * D + 2 + 2 * inner + 2 * kv_inner + c.heads
    # A norm on queries and keys has the gains of one head and a scale for each, or the gains of all heads and one scale.
    gains, scales = (inner + kv_inner, 2) if isinstance(c, olmo2.Config) else (2 * c.head_dim, c.heads + c.kv_heads)
    normalised = 2 * inner + 2 * kv_inner + scales if qk_norm else 0
    return Anatomy(
        matrices=c.layers * (D * 2 * (inner + kv_inner) + feed["matrices"]),
        idle=c.layers * feed["idle"],
        vectors=c.layers * (2 * D + bias + (gains if qk_norm else 0)) + D,
        tables=c.vocab * D,
        head=c.vocab * D,
        tied=c.tied,
        inner=inner,
        kv_inner=kv_inner,
        kept=c.layers * (attended + normalised + feed["kept"]) + 2 * D + 1 + 2 * c.head_dim + IDS,
    )


def _dense(c: llama.Config | qwen3.Config | olmo2.Config) -> Anatomy:
    """The gate before and after its SiLU, what passes through it and the product are kept."""
    return _rotary_blocks(c, {"matrices": 3 * c.width * c.hidden, "idle": 0, "kept": 4 * c.hidden})


def _moe(c: moe.Config) -> Anatomy:
    """Of each chosen expert what a feed-forward keeps, its input, its answer and three ids: which one, and both ways through the sorting.

    Of the router the likelihoods, the weights, and these normalised with their sum. Positions once more, for balance.
    """
    expert, K = 3 * c.width * c.expert_hidden, c.experts_per_token
    kept = K * (4 * c.expert_hidden + 2 * c.width + 3 * IDS) + c.experts + K + (K + 1 if c.normalised_routing else 0)
    found = _rotary_blocks(c, {"matrices": c.width * c.experts + K * expert, "idle": (c.experts - K) * expert, "kept": kept})
    return replace(found, kept=found.kept + IDS)


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
        # Norms without a gain keep their input, mean and deviation; the squared ReLU what goes in and what comes out.
        kept=c.layers * (13 * D + 6 * inner + 5 * c.heads + 4) + 2 * D + inner + 2 * c.head_dim + 4 + (3 if c.trigrams else 2) * IDS,
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
