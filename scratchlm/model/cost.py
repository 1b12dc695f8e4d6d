"""What a model costs, by formula: parameters, arithmetic and memory, before a single number of it exists.

Training takes 6 FLOPs for each weight and token, a product and a sum on the way forward and two of each on the way back (Kaplan et al.
2020, arXiv:2001.08361, section 2.1), and attention 12 · layers · heads · channels · context more (Chowdhery et al. 2022,
arXiv:2204.02311, appendix B). Memory is of this house's own training and serving: float32 weights, gradients and optimizer states.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from scratchlm.core.tensors import scored_at_once
from scratchlm.model import gpt2, minillm, swift
from scratchlm.model.anatomy import ANATOMIES, FLOAT_BYTES, HALF_BYTES, IDS, Anatomy, Manner, product_bytes
from scratchlm.model.architectures import AnyConfig


def anatomy(config: AnyConfig) -> Anatomy:
    """The numbers of a model of this shape."""
    return _anatomy(config)  # pyright: ignore[reportArgumentType]  # settings are frozen, so they can be hashed


@cache
def _anatomy(config: Any) -> Anatomy:
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


def block_bytes(config: AnyConfig, rows: int, how: Manner) -> tuple[float, float]:
    """(what the way back through a block needs, what of it is kept till then) of a process's rows, which are as long as the context.

    Where attention gathers, keys and values of all positions are kept; where heads are traded, what attention gave is kept in both shapes.
    """
    a, T, width = anatomy(config), config.context, product_bytes(how)
    N = rows * T / how.context
    fetched = (how.context - 1) * 2 * a.kv_inner if not how.by_heads else a.inner
    messages = N * width * fetched / how.tensor if how.context > 1 else 0.0
    whole = N * a.block.size_bytes(how) + messages + width * _pairs(config, rows, how)
    given = N * (HALF_BYTES if how.light else FLOAT_BYTES) * config.width / how.tensor
    if how.recompute == "none":
        return whole, whole
    made = N * ((FLOAT_BYTES * config.heads + width * a.block.products) / how.tensor + width * a.block.sums)
    return whole, given + (made if how.recompute == "selective" else 0.0)


def end_bytes(config: AnyConfig, rows: int, how: Manner, *, last: bool) -> float:
    """What is kept beside the blocks: for each stretch of them angles, ids and, for a second computation, the mask; the rest at the end."""
    a, N = anatomy(config), rows * config.context / how.context
    mask = _pairs(config, rows, how) if how.recompute != "none" else 0.0
    return N * (a.ends.size_bytes(how) if last else FLOAT_BYTES * a.ends.joined) + mask


def passing_bytes(config: AnyConfig, rows: int, how: Manner) -> float:
    """What exists on the way back through a block for a while, beside what was kept and what is computed again.

    Where matrices are shared out also a gradient of all positions, before and after it is laid out for its message.
    """
    numbers = anatomy(config).block.passing / how.tensor + (2 * config.width if how.tensor > 1 else 0)
    return rows * config.context / how.context * FLOAT_BYTES * numbers


def _pairs(config: AnyConfig, rows: int, how: Manner) -> float:
    """Pairs of a position that asks and one that may answer, of which a mask has a number each."""
    return rows * config.context**2 / (1 if how.by_heads else how.context)


ALONE = Manner()


def loss_bytes(config: AnyConfig, rows: int, length: int | None = None, how: Manner = ALONE) -> int:
    """What the chunked cross-entropy holds at its height, of ``rows`` rows of ``length`` positions that are all trained on.

    Of every position what the model gave, its copy, its gradient, target and weight. Of the head the sum of its gradients, the chunk's
    and, from the second chunk on, that of the chunk before. Of a chunk the inputs' gradient, scores and slope; from the second on the
    slope before is there too while the next is made. Which is higher, that moment or the one when the head's gradient comes, depends
    on whether the head or a chunk's scores are larger. A softcap keeps three more tensors of scores, of which one stays to the end.
    In half precision scores and slope are there as halves, too, and so are the head, its gradient till it is cast, and what a chunk reads.
    Peaks of whole steps were 0.99 to 1.02 of this and the activations together, up to 1.2 where a vocabulary of some dozen pieces makes
    the loss so small that the way back through the blocks is higher.
    """
    a, D, N = anatomy(config), config.width, rows * (length or config.context) // how.context
    R, later = min(scored_at_once(config.vocab), N), int(scored_at_once(config.vocab) < N)
    columns = -(-config.vocab // how.tensor)
    scores, head = R * columns, columns * D
    given, halves = (HALF_BYTES, 0) if how.light else (FLOAT_BYTES, HALF_BYTES if how.half else 0)
    height = _halves_height(scores, head, later, a.capped, how) if how.half else _floats_height(scores, head, later, a.capped)
    return round(height + given * 3 * N * D + R * D * (given + halves) + FLOAT_BYTES * (IDS + 1) * N)


def _floats_height(scores: int, head: int, later: int, capped: bool) -> int:
    """Bytes of scores and of the head's gradients, while the slope is made or when the head's gradient comes."""
    at_the_slope = (5 if capped else 2 + later) * scores + (1 + later) * head
    at_the_gradient = (3 if capped else 2) * scores + (2 + later) * head
    return FLOAT_BYTES * max(at_the_slope, at_the_gradient)


def _halves_height(scores: int, head: int, later: int, capped: bool, how: Manner) -> int:
    """The same in half precision: while the slope is made, when the head's gradient comes, and while that is cast."""
    weight, copy = (HALF_BYTES, 0) if how.light else (FLOAT_BYTES, HALF_BYTES)
    resting = FLOAT_BYTES + weight * later + copy
    at_the_slope = (6 + 4 * later + 6 * capped) * scores + resting * head
    at_the_gradient = (8 + 2 * capped) * scores + (resting + HALF_BYTES) * head
    at_the_cast = (6 + 2 * later + 2 * capped) * scores + (resting + HALF_BYTES + weight) * head
    return max(at_the_slope, at_the_gradient, 0 if how.light else at_the_cast)


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
