"""The key-value cache: what earlier positions said is kept, so that each new token costs one position.

A layer with a window keeps only what the next query may see: its slots are a ring, and position p lies in slot p modulo their number.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.tensors import Attend

Stored = tuple[Float[Tensor, "B S G C"], Float[Tensor, "B S G C"]]


class Cache:
    """Keys and values of every layer by row and position.

    A position may be written again (padding by the token that follows the prompt) as long as nothing has looked at it.
    """

    def __init__(self, *, rows: int, length: int) -> None:
        self._rows, self._length = rows, length
        self._stored: dict[int, Stored] = {}

    def attend(self, positions_BT: Int[Tensor, "B T"]) -> Attend:
        """Attention of new positions over themselves and all before them in their row; what they bring is stored."""
        S = int(positions_BT.max()) + 1
        seen_by: dict[int | None, Bool[Tensor, "B T S"]] = {  # by window, shared by all layers
            None: torch.arange(S, device=positions_BT.device) <= positions_BT[..., None]
        }
        row_B1 = torch.arange(positions_BT.shape[0], device=positions_BT.device)[:, None]

        def attend(layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, window: int | None) -> Tensor:
            if window is not None and window >= self._length:
                window = None
            keys, values = self._slots(layer, k_BTGC, positions_BT, window)
            slots_BT = positions_BT % keys.shape[1]
            keys[row_B1, slots_BT], values[row_B1, slots_BT] = k_BTGC, v_BTGC
            if window is not None and window not in seen_by:
                seen_by[window] = seen_through(window, positions_BT, keys.shape[1])
            seen_BTS = seen_by[window]
            mixed_BHTC = F.scaled_dot_product_attention(
                q_BTHC.transpose(1, 2),
                keys[:, : seen_BTS.shape[2]].transpose(1, 2),
                values[:, : seen_BTS.shape[2]].transpose(1, 2),
                attn_mask=seen_BTS[:, None],
                enable_gqa=q_BTHC.shape[2] != k_BTGC.shape[2],
            )
            return mixed_BHTC.transpose(1, 2)

        return attend

    def keep(self, rows: Int[Tensor, " B"]) -> None:
        """Go on with these rows only."""
        self._stored = {layer: (keys[rows], values[rows]) for layer, (keys, values) in self._stored.items()}
        self._rows = len(rows)

    @property
    def size_bytes(self) -> int:
        """Of all that is kept."""
        return sum(tensor.nbytes for stored in self._stored.values() for tensor in stored)

    def _slots(self, layer: int, like_BTGC: Tensor, positions_BT: Int[Tensor, "B T"], window: int | None) -> Stored:
        """The layer's keys and values: a slot for every position or, of a window, as many as the new queries need.

        These are the window of the first one, and a slot for each query after it.
        """
        slots = self._length if window is None else min(self._length, window + positions_BT.shape[1] - 1)
        if layer not in self._stored:
            shape = (self._rows, slots, *like_BTGC.shape[2:])
            self._stored[layer] = (like_BTGC.new_zeros(shape), like_BTGC.new_zeros(shape))
        keys, values = self._stored[layer]
        if keys.shape[1] != slots:
            row_B1 = torch.arange(self._rows, device=keys.device)[:, None]
            old_BS = held_before(positions_BT[:, :1], slots).clamp(min=0) % keys.shape[1]
            self._stored[layer] = keys, values = keys[row_B1, old_BS], values[row_B1, old_BS]
        return keys, values


def held_before(positions_B1: Int[Tensor, "B 1"], slots: int) -> Int[Tensor, "B S"]:
    """Which position lies in each slot of a ring before ``positions_B1`` are written; negative where none does."""
    newest_B1 = positions_B1 - 1
    return newest_B1 - (newest_B1 - torch.arange(slots, device=positions_B1.device)) % slots


def seen_through(window: int, positions_BT: Int[Tensor, "B T"], slots: int) -> Bool[Tensor, "B T S"]:
    """Which slots of a ring each query sees once its row's positions are written: its own and the ``window - 1`` before it."""
    held_B1S = held_before(positions_BT[:, -1:] + 1, slots)[:, None]
    asking_BT1 = positions_BT[..., None]
    return (held_B1S >= 0) & (held_B1S <= asking_BT1) & (held_B1S > asking_BT1 - window)
