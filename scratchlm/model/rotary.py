"""Rotary positions: rotate each pair of channels by an angle that grows with position, so scores depend on distance only.

Su et al. 2021, arXiv:2104.09864. Channels are paired half against half, as the LLaMA family on every runtime does.
A model that learned on short texts reads longer ones when its angles are slowed down; the three ways that others use are here.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from scratchlm.core.config import Settings
from scratchlm.kernels.pointwise import LayerNorm, RMSNorm, turned


class Linear(Settings):
    """Every angle divided by ``factor``, as if positions stood closer together. Chen et al. 2023, arXiv:2306.15595."""

    kind: Literal["linear"] = "linear"
    factor: float = Field(ge=1)
    """How many times as long the texts may be."""


class Llama3(Settings):
    """Slow channels divided by ``factor``, fast ones left alone, a ramp between. Grattafiori et al. 2024, arXiv:2407.21783."""

    kind: Literal["llama3"] = "llama3"
    factor: float = Field(ge=1)
    """How many times as long the texts may be."""
    low_frequency_factor: float = Field(default=1.0, gt=0)
    """Turns within the original context up to which a channel is slowed down whole."""
    high_frequency_factor: float = Field(default=4.0, gt=0)
    """Turns from which it is left alone."""
    original_context: int = Field(ge=1)
    """Positions that the model learned from."""

    @model_validator(mode="after")
    def _ramps(self) -> "Llama3":
        if self.low_frequency_factor >= self.high_frequency_factor:
            raise ValueError(
                f"low_frequency_factor ({self.low_frequency_factor}) must be below high_frequency_factor ({self.high_frequency_factor})"
            )
        return self


class Yarn(Settings):
    """A ramp over channels, and sharper attention, which long texts blur. Peng et al. 2023, arXiv:2309.00071."""

    kind: Literal["yarn"] = "yarn"
    factor: float = Field(ge=1)
    """How many times as long the texts may be."""
    original_context: int = Field(ge=1)
    """Positions that the model learned from."""
    fast: float = Field(default=32.0, gt=0)
    """Turns within the original context from which a channel is left alone (beta in the paper)."""
    slow: float = Field(default=1.0, gt=0)
    """Turns up to which it is slowed down whole (alpha in the paper)."""
    attention_factor: float | None = Field(default=None, gt=0)
    """Of queries and of keys; None: 0.1 ln(factor) + 1, eq. 22 of the paper."""

    @model_validator(mode="after")
    def _ramps(self) -> "Yarn":
        if self.slow > self.fast:
            raise ValueError(f"slow ({self.slow}) must not be above fast ({self.fast})")
        return self


Scaling = Annotated[Linear | Llama3 | Yarn, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosine and signed sine of every angle, computed once per forward pass and shared by all layers."""

    cos_BT1C: Float[Tensor, "B T 1 C"]
    sin_BT1C: Float[Tensor, "B T 1 C"]

    def __call__(self, x_BTHC: Float[Tensor, "B T H C"], norm: RMSNorm | LayerNorm | None = None) -> Float[Tensor, "B T H C"]:
        """``x``, each head normalised first if there is a norm, turned by its position's angles; in the dtype of ``x``."""
        return turned(x_BTHC, self.cos_BT1C, self.sin_BT1C, norm)


def rotation(
    positions_BT: Int[Tensor, "B T"],
    channels: int,
    *,
    theta: float,
    scaling: Linear | Llama3 | Yarn | None = None,
    dtype: torch.dtype = torch.float32,
) -> Rotation:
    """The rotation of each position; angles in float32 whatever ``dtype`` the result has."""
    rates_K, stretch = rates(channels, theta, scaling, positions_BT.device)
    angles_BTK = positions_BT[..., None].float() * rates_K
    cos_BT1C = torch.cat((angles_BTK.cos(), angles_BTK.cos()), dim=-1)[:, :, None] * stretch
    sin_BT1C = torch.cat((-angles_BTK.sin(), angles_BTK.sin()), dim=-1)[:, :, None] * stretch
    return Rotation(cos_BT1C.to(dtype), sin_BT1C.to(dtype))


def rates(
    channels: int, theta: float, scaling: Linear | Llama3 | Yarn | None = None, device: torch.device | None = None
) -> tuple[Float[Tensor, " K"], float]:
    """(radians per position of each pair of channels, what queries and keys are multiplied by)."""
    rates_K = theta ** (-torch.arange(0, channels, 2, dtype=torch.float32, device=device) / channels)
    if scaling is None:
        return rates_K, 1.0
    if isinstance(scaling, Linear):
        return rates_K / scaling.factor, 1.0
    kept_K = _kept_by_llama3(rates_K, scaling) if isinstance(scaling, Llama3) else _kept_by_yarn(rates_K, theta, scaling)
    stretch = 1.0
    if isinstance(scaling, Yarn):
        stretch = scaling.attention_factor if scaling.attention_factor is not None else 0.1 * math.log(scaling.factor) + 1
    return rates_K * kept_K + rates_K / scaling.factor * (1 - kept_K), stretch


def _kept_by_llama3(rates_K: Float[Tensor, " K"], scaling: Llama3) -> Float[Tensor, " K"]:
    """How much of each rate stays, by how often it turns within the original context."""
    turns_K = scaling.original_context * rates_K / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    return ((turns_K - low) / (high - low)).clamp(0, 1)


def _kept_by_yarn(rates_K: Float[Tensor, " K"], theta: float, scaling: Yarn) -> Float[Tensor, " K"]:
    """The same by the number of the channel: the ramp runs between the two that turn ``fast`` and ``slow`` times."""
    channels = 2 * len(rates_K)

    def channel(turns: float) -> float:
        return channels * math.log(scaling.original_context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = max(math.floor(channel(scaling.fast)), 0), min(math.ceil(channel(scaling.slow)), channels - 1)
    width = last - first or 0.001  # one channel: a step instead of a ramp
    return 1 - ((torch.arange(len(rates_K), dtype=torch.float32, device=rates_K.device) - first) / width).clamp(0, 1)
