"""Attention comes to a model as an argument, so packing, caching and sharding stay outside its formula.

Scaled dot-product attention: Vaswani et al. 2017, arXiv:1706.03762. Grouped queries: Ainslie et al. 2023, arXiv:2305.13245.
Windows, in which a position sees only the newest: Beltagy et al. 2020, arXiv:2004.05150; Jiang et al. 2023, arXiv:2310.06825.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everybody knows)
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from scratchlm.core.tensors import Attend
from scratchlm.kernels.attention import first_seen

BLOCK = 128
"""Positions on a side of the squares of scores that ``blockwise`` computes or passes over whole."""


def allowed_by(
    segments_BS: Int[Tensor, "B S"], window: int | None = None, asking_T: Int[Tensor, " T"] | None = None
) -> Bool[Tensor, "B T S"]:
    """Which position (of ``asking_T``, all unless given) may see which: not the future, no other segment, of a window only the newest."""
    S_S = torch.arange(segments_BS.shape[1], device=segments_BS.device)
    T_T = S_S if asking_T is None else asking_T
    causal_TS = S_S[None, :] <= T_T[:, None]
    if window is not None:
        causal_TS &= S_S[None, :] > T_T[:, None] - window
    return causal_TS & (segments_BS[:, T_T, None] == segments_BS[:, None, :])


def written_out(
    q_BTHC: Float[Tensor, "B T H C"],
    k_BSGC: Float[Tensor, "B S G C"],
    v_BSGC: Float[Tensor, "B S G C"],
    allowed_BTS: Bool[Tensor, "B T S"],
) -> Float[Tensor, "B T H C"]:
    """Grouped-query attention as the formula says; every fast path must equal it."""
    B, T, H, C = q_BTHC.shape
    G = k_BSGC.shape[2]
    q_BTGRC = q_BTHC.reshape(B, T, G, H // G, C)  # R query heads share one key-value head
    scores_BGRTS = torch.einsum("btgrc,bsgc->bgrts", q_BTGRC, k_BSGC) * C**-0.5
    scores_BGRTS = scores_BGRTS.masked_fill(~allowed_BTS[:, None, None], -math.inf)
    mixed_BTGRC = torch.einsum("bgrts,bsgc->btgrc", scores_BGRTS.softmax(-1), v_BSGC)
    return mixed_BTGRC.reshape(B, T, H, C)


def reference(segments_BT: Int[Tensor, "B T"]) -> Attend:
    """The written-out attention over packed rows: for tests, for reading, and where products are fast and torch's own attention is not."""
    allowed: dict[int | None, Tensor] = {}  # by window, shared by all layers

    def attend(_layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, window: int | None) -> Tensor:
        if window not in allowed:
            allowed[window] = allowed_by(segments_BT, window)
        return written_out(q_BTHC, k_BTGC, v_BTGC, allowed[window])

    return attend


def packed(segments_BT: Int[Tensor, "B T"], asking: Int[Tensor, " N"] | None = None) -> Attend:
    """Attention over rows in which several documents stand one after another and do not see each other.

    Queries are those of the positions ``asking``, where only some of a row's are here; all of them unless given.
    """
    one_document = asking is None and bool((segments_BT == segments_BT[:, :1]).all())
    masks: dict[int | None, Tensor | None] = {}  # by window, shared by all layers; None: the plain past, which needs no mask

    def attend(_layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, window: int | None) -> Tensor:
        if window is not None and window >= segments_BT.shape[1]:
            window = None
        if window not in masks:
            masks[window] = None if one_document and window is None else allowed_by(segments_BT, window, asking)[:, None]
        mixed_BHTC = F.scaled_dot_product_attention(
            q_BTHC.transpose(1, 2),
            k_BTGC.transpose(1, 2),
            v_BTGC.transpose(1, 2),
            attn_mask=masks[window],
            is_causal=masks[window] is None,
            enable_gqa=bool(q_BTHC.shape[2] != k_BTGC.shape[2]),
        )
        return mixed_BHTC.transpose(1, 2)

    return attend


def blockwise(segments_BT: Int[Tensor, "B T"]) -> Attend:
    """The same over squares of positions, of which those that nobody may see are passed over: no mask of T x T ever exists.

    Only a compiler makes it fast (Dong et al. 2024, arXiv:2412.05496); outside of what is being compiled, ``packed`` computes it.
    """
    plainly = packed(segments_BT)
    masks: dict[int | None, BlockMask] = {}  # by window, shared by all layers

    def attend(layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, window: int | None) -> Tensor:
        if not torch.compiler.is_compiling():
            return plainly(layer, q_BTHC, k_BTGC, v_BTGC, window)
        if window not in masks:
            masks[window] = blocks_of(first_seen(segments_BT, window))
        q_BHTC, k_BGTC, v_BGTC = (t.transpose(1, 2) for t in (q_BTHC, k_BTGC, v_BTGC))
        shared = bool(q_BHTC.shape[1] != k_BGTC.shape[1])
        mixed_BHTC = flex_attention(q_BHTC, k_BGTC, v_BGTC, block_mask=masks[window], enable_gqa=shared)
        assert isinstance(mixed_BHTC, Tensor)
        return mixed_BHTC.transpose(1, 2)

    return attend


def blocks_of(first_BT: Int[Tensor, "B T"]) -> BlockMask:
    """Which squares hold a score that somebody asks for, and which nothing else: each position sees from its first one up to itself.

    What is first never falls along a row, so the first and the last query of a square speak for all of it.
    """
    T = first_BT.shape[1]
    begins_N = torch.arange(0, T, BLOCK, device=first_BT.device)  # N blocks of queries, and as many of keys
    ends_N = (begins_N + BLOCK).clamp(max=T) - 1
    lowest_BN1, highest_BN1 = first_BT[:, begins_N, None], first_BT[:, ends_N, None]
    before_NN = begins_N[None, :] < begins_N[:, None]
    complete_N1 = begins_N[:, None] + BLOCK <= T  # a square that hangs over the end is not seen whole
    whole_BNN = before_NN & complete_N1 & (begins_N >= highest_BN1)
    partly_BNN = (begins_N <= begins_N[:, None]) & (ends_N >= lowest_BN1) & ~whole_BNN

    def seen(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key >= first_BT[row, query])

    return BlockMask.from_kv_blocks(*_listed(partly_BNN), *_listed(whole_BNN), BLOCK_SIZE=BLOCK, mask_mod=seen, seq_lengths=(T, T))


def _listed(chosen_BNN: Bool[Tensor, "B N N"]) -> tuple[Int[Tensor, "B 1 N"], Int[Tensor, "B 1 N N"]]:
    """How many blocks of keys are chosen for each block of queries, and their numbers, these first."""
    count_BN = chosen_BNN.sum(dim=-1, dtype=torch.int32)
    return count_BN[:, None], chosen_BNN.int().argsort(dim=-1, descending=True, stable=True).to(torch.int32)[:, None]
