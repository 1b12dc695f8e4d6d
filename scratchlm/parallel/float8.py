"""Products of 8-bit numbers: half the bytes of bfloat16 and twice its speed on a processor that multiplies them, for two digits less.

On the way forward a number has four bits of exponent and three of mantissa; gradients, which spread wider, have five and two. Before it is
rounded, each tensor is scaled so that its largest number becomes the largest of the format. Sums are made in float32. Only the blocks'
matrices are multiplied this way; weights, the stream, norms, attention and the head stay what they are.
Micikevicius et al. 2022, arXiv:2209.05433.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
UNIT = 16
"""The processor's instructions take so many numbers at once: both sides of a weight and the rows that meet it come in multiples."""
LEAST_SCALE = 1e-30
"""Of a tensor of zeros, so that nothing is divided by zero."""


def scaled(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Float[Tensor, ""]]:
    """``x`` over a number, in ``dtype``; and that number."""
    top = torch.finfo(dtype).max
    scale = (x.abs().amax().float() / top).clamp(min=LEAST_SCALE)
    return (x.float() / scale).clamp(-top, top).to(dtype), scale


def product(a_MK: Tensor, b_KN: Tensor, a_scale: Tensor, b_scale: Tensor) -> Float[Tensor, "M N"]:
    """Of 8-bit matrices, times their scales, in bfloat16; ``a`` lies row by row, ``b`` column by column, as processors ask for it."""
    return torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
        a_MK, b_KN, scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16
    )


def by_columns(x: Tensor) -> Tensor:
    """The same matrix, lying column by column."""
    return x.t().contiguous().t()


class _Product(torch.autograd.Function):
    """``x W'`` and both its derivatives."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_FD: Tensor) -> Tensor:
        x8_ND, x_scale = scaled(x_ND, FORWARD)
        w8_FD, w_scale = scaled(weight_FD, FORWARD)
        ctx.save_for_backward(x8_ND, x_scale, w8_FD, w_scale)
        ctx.dtypes = x_ND.dtype, weight_FD.dtype
        return product(x8_ND, w8_FD.t(), x_scale, w_scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x8_ND, x_scale, w8_FD, w_scale = ctx.saved_tensors
        slope8_NF, slope_scale = scaled(grad_outputs[0], BACKWARD)
        x_slope_ND = product(slope8_NF, by_columns(w8_FD), slope_scale, w_scale)
        w_slope_FD = product(slope8_NF.t().contiguous(), by_columns(x8_ND), slope_scale, x_scale)
        x_dtype, w_dtype = ctx.dtypes
        return x_slope_ND.to(x_dtype), w_slope_FD.to(w_dtype)


class Linear8(nn.Linear):
    """A linear layer that trains with 8-bit products; outside training, or on rows that make no whole unit, it is the usual one."""

    def forward(self, input: Tensor) -> Tensor:
        x_ND = input.flatten(0, -2)
        if not self.training or not torch.is_autocast_enabled(input.device.type) or len(x_ND) % UNIT or len(x_ND) == 0:
            return super().forward(input)
        out_NF: Tensor = _Product.apply(x_ND, self.weight)  # pyright: ignore[reportAssignmentType]
        if self.bias is not None:
            out_NF = out_NF + self.bias.to(out_NF.dtype)
        return out_NF.unflatten(0, input.shape[:-1])


def convert_(model: nn.Module, sharding: Mapping[str, str]) -> int:
    """Let the blocks' matrices of ``model`` be multiplied in 8 bits where their sides are whole units; how many these are.

    ``sharding`` is the architecture's table, which names all matrices of its blocks. Names and weights stay the same.
    """
    blocks = [pattern for pattern, cut in sharding.items() if cut.endswith(("columns", "rows", "columns of three"))]
    count = 0
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.Linear)
            and any(fnmatchcase(name, pattern) for pattern in blocks)
            and not any(n % UNIT for n in module.weight.shape)
        ):
            module.__class__ = Linear8
            count += 1
    return count
