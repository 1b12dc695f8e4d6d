"""The key-value cache: what earlier positions said is kept, so that each new token costs one position."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.tensors import Attend


class Cache:
    """Keys and values of every layer by row and position.

    A position may be written again (padding by the token that follows the prompt) as long as nothing has looked at it.
    """

    def __init__(self, *, rows: int, length: int) -> None:
        self._rows, self._length = rows, length
        self._stored: dict[int, tuple[Float[Tensor, "B S G C"], Float[Tensor, "B S G C"]]] = {}

    def attend(self, positions_BT: Int[Tensor, "B T"]) -> Attend:
        """Attention of new positions over themselves and all before them in their row; what they bring is stored."""
        S = int(positions_BT.max()) + 1
        seen_B1TS = (torch.arange(S, device=positions_BT.device) <= positions_BT[..., None])[:, None]
        row_B1 = torch.arange(positions_BT.shape[0], device=positions_BT.device)[:, None]

        def attend(layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor) -> Tensor:
            keys, values = self._layer(layer, k_BTGC)
            keys[row_B1, positions_BT], values[row_B1, positions_BT] = k_BTGC, v_BTGC
            mixed_BHTC = F.scaled_dot_product_attention(
                q_BTHC.transpose(1, 2),
                keys[:, :S].transpose(1, 2),
                values[:, :S].transpose(1, 2),
                attn_mask=seen_B1TS,
                enable_gqa=q_BTHC.shape[2] != k_BTGC.shape[2],
            )
            return mixed_BHTC.transpose(1, 2)

        return attend

    def keep(self, rows: Int[Tensor, " B"]) -> None:
        """Go on with these rows only."""
        self._stored = {layer: (keys[rows], values[rows]) for layer, (keys, values) in self._stored.items()}
        self._rows = len(rows)

    def _layer(self, layer: int, like_BTGC: Tensor) -> tuple[Tensor, Tensor]:
        if layer not in self._stored:
            shape = (self._rows, self._length, *like_BTGC.shape[2:])
            self._stored[layer] = (like_BTGC.new_zeros(shape), like_BTGC.new_zeros(shape))
        return self._stored[layer]
