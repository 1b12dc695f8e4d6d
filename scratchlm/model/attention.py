"""Attention comes to a model as an argument, so packing, caching and sharding stay outside its formula.

Scaled dot-product attention: Vaswani et al. 2017, arXiv:1706.03762. Grouped queries: Ainslie et al. 2023, arXiv:2305.13245.
Windows, in which a position sees only the newest: Beltagy et al. 2020, arXiv:2004.05150; Jiang et al. 2023, arXiv:2310.06825.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everybody knows)

from scratchlm.core.tensors import Attend


def allowed_by(segments_BT: Int[Tensor, "B T"], window: int | None = None) -> Bool[Tensor, "B T S"]:
    """Which position may see which: not the future, nothing of another segment, and of a window only the newest."""
    T = segments_BT.shape[1]
    causal_TS = torch.ones(T, T, dtype=torch.bool, device=segments_BT.device).tril()
    if window is not None:
        causal_TS = causal_TS.triu(1 - window)
    return causal_TS & (segments_BT[:, :, None] == segments_BT[:, None, :])


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
    """The written-out attention over packed rows, for tests and for reading."""
    return lambda _layer, q_BTHC, k_BTGC, v_BTGC, window: written_out(q_BTHC, k_BTGC, v_BTGC, allowed_by(segments_BT, window))


def packed(segments_BT: Int[Tensor, "B T"]) -> Attend:
    """Attention over rows in which several documents stand one after another and do not see each other."""
    one_document = bool((segments_BT == segments_BT[:, :1]).all())
    masks: dict[int | None, Tensor | None] = {}  # by window, shared by all layers; None: the plain past, which needs no mask

    def attend(_layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, window: int | None) -> Tensor:
        if window is not None and window >= segments_BT.shape[1]:
            window = None
        if window not in masks:
            masks[window] = None if one_document and window is None else allowed_by(segments_BT, window)[:, None]
        mixed_BHTC = F.scaled_dot_product_attention(
            q_BTHC.transpose(1, 2),
            k_BTGC.transpose(1, 2),
            v_BTGC.transpose(1, 2),
            attn_mask=masks[window],
            is_causal=masks[window] is None,
            enable_gqa=q_BTHC.shape[2] != k_BTGC.shape[2],
        )
        return mixed_BHTC.transpose(1, 2)

    return attend
