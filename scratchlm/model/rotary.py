"""Rotary positions: rotate each pair of channels by an angle that grows with position, so scores depend on distance only.

Su et al. 2021, arXiv:2104.09864. Channels are paired half against half, as the LLaMA family on every runtime does.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosine and signed sine of every angle, computed once per forward pass and shared by all layers."""

    cos_BT1C: Float[Tensor, "B T 1 C"]
    sin_BT1C: Float[Tensor, "B T 1 C"]

    def __call__(self, x_BTHC: Float[Tensor, "B T H C"]) -> Float[Tensor, "B T H C"]:
        """``x`` turned by its position's angles, in the dtype of ``x``."""
        swapped_BTHC = torch.roll(x_BTHC, x_BTHC.shape[-1] // 2, dims=-1)
        return x_BTHC * self.cos_BT1C + swapped_BTHC * self.sin_BT1C


def rotation(positions_BT: Int[Tensor, "B T"], channels: int, *, theta: float, dtype: torch.dtype = torch.float32) -> Rotation:
    """The rotation of each position; angles in float32 whatever ``dtype`` the result has."""
    rates_K = theta ** (-torch.arange(0, channels, 2, dtype=torch.float32, device=positions_BT.device) / channels)
    angles_BTK = positions_BT[..., None].float() * rates_K
    cos_BT1C = torch.cat((angles_BTK.cos(), angles_BTK.cos()), dim=-1)[:, :, None]
    sin_BT1C = torch.cat((-angles_BTK.sin(), angles_BTK.sin()), dim=-1)[:, :, None]
    return Rotation(cos_BT1C.to(dtype), sin_BT1C.to(dtype))
