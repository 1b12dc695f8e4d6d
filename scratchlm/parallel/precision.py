"""The dtype of every tensor: float32 weights, optimizer state, norms, sums and softmax; products in the dtype chosen here.

Mixed precision: Micikevicius et al. 2018, arXiv:1710.03740. Eight bits: ``float8.py``.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from scratchlm.kernels import build, pointwise
from scratchlm.parallel import float8

Dtype = Literal["float32", "bfloat16", "float16", "float8"]
TORCH: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float8": torch.bfloat16,  # all that is not a product of a block's matrix
}
GAIN_TO_SWITCH = 1.3
"""How much faster bfloat16 products must be before they are chosen: below it the casts eat the gain."""
TIMED = {"cpu": (2048, 512)}
TIMED_ON_GPU = (8192, 4096)
"""(rows, width) of the products that are timed: large enough that what is timed is the product, not its start."""


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


def measured_speeds(device: str = "cpu", *, seconds: float = 0.05) -> Speeds:
    """Speeds of the fastest of some products of (rows, width) by (width, width), the casts from float32 counted."""
    if device == "cpu":
        build.finish()
    rows, width = TIMED.get(device, TIMED_ON_GPU)
    a, b = torch.ones(rows, width, device=device), torch.ones(width, width, device=device)

    def rate(dtype: torch.dtype) -> float:
        return 2e-9 * rows * width * width / _fastest(lambda: a.to(dtype) @ b.to(dtype), seconds)

    return Speeds(float32=rate(torch.float32), bfloat16=rate(torch.bfloat16))


def peak_gflops(dtype: Dtype, device: str = "cpu", *, seconds: float = 0.1) -> float:
    """The speed of the fastest of some products whose factors are in ``dtype`` already, in GFLOP/s: what a step is held against.

    Raises RuntimeError where the device does not multiply such numbers.
    """
    rows, width = TIMED.get(device, TIMED_ON_GPU)
    multiply = _multiplied(dtype, torch.ones(rows, width, device=device), torch.ones(width, width, device=device))
    return 2e-9 * rows * width * width / _fastest(multiply, seconds)


def _fastest(multiply: Callable[[], torch.Tensor], seconds: float) -> float:
    """Seconds of the fastest of as many products as ``seconds`` allow: what else the machine does makes others slower, never faster."""
    best, start = math.inf, time.perf_counter()
    while math.isinf(best) or time.perf_counter() - start < seconds:
        begun = time.perf_counter()
        float(multiply()[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - begun)
    return best


def _multiplied(dtype: Dtype, a: torch.Tensor, b: torch.Tensor) -> Callable[[], torch.Tensor]:
    if dtype != "float8":
        a, b = a.to(TORCH[dtype]), b.to(TORCH[dtype])
        return lambda: a @ b
    (left, scale), (right, other) = float8.scaled(a, float8.FORWARD), float8.scaled(b, float8.FORWARD)
    right = float8.by_columns(right)
    return lambda: float8.product(left, right, scale, other)
