"""The dtype of every tensor: float32 weights, optimizer state, norms, sums and softmax; products in the dtype chosen here.

Mixed precision: Micikevicius et al. 2018, arXiv:1710.03740.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from scratchlm.kernels import pointwise

Dtype = Literal["float32", "bfloat16", "float16"]
TORCH: dict[Dtype, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
GAIN_TO_SWITCH = 1.3
"""How much faster bfloat16 products must be before they are chosen: below it the casts eat the gain."""


@dataclass(frozen=True)
class Precision:
    """In which dtype products are computed."""

    dtype: Dtype
    device: str = "cpu"
    kernels: bool = False
    """Whether what stands between products is computed by our own kernels."""

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """A context in which matrix products run in ``dtype``."""
        with torch.autocast(self.device, dtype=TORCH[self.dtype], enabled=self.dtype != "float32"), pointwise.chosen(self.kernels):
            yield

    def scaler(self) -> "torch.amp.GradScaler | None":
        """A loss scaler where small gradients would vanish: float16 only."""
        return torch.amp.GradScaler(self.device) if self.dtype == "float16" else None


@dataclass(frozen=True)
class Speeds:
    """Measured matrix products, in GFLOP/s."""

    float32: float
    bfloat16: float

    @property
    def faster(self) -> Dtype:
        """The dtype to train in on this machine."""
        return "bfloat16" if self.bfloat16 >= GAIN_TO_SWITCH * self.float32 else "float32"


def measured_speeds(device: str = "cpu", *, rows: int = 2048, width: int = 512, seconds: float = 0.15) -> Speeds:
    """Speeds of a product of (rows, width) by (width, width), the casts from float32 counted."""
    a, b = torch.ones(rows, width, device=device), torch.ones(width, width, device=device)

    def rate(dtype: torch.dtype) -> float:
        torch.mm(a.to(dtype), b.to(dtype))
        start, done = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < seconds:
            float((a.to(dtype) @ b.to(dtype))[0, 0])  # reading a number waits for the device
            done += 1
        return 2e-9 * rows * width * width * done / spent

    return Speeds(float32=rate(torch.float32), bfloat16=rate(torch.bfloat16))
