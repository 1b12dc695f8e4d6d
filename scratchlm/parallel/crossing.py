"""What processes send each other in the middle of a model, each with its way back: the slope of a gather is a sum, and the other way round.

torch's own differentiable collectives of ``torch.distributed.nn`` give wrong gradients for a gather; these are held against a whole model.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
SUM_OWN = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
"""What these are called from torch 2.13 on, and before."""
Group = dist.ProcessGroup | None
"""None: this process is alone, and nothing is sent."""


def gathered(x: Tensor, dim: int, group: Group) -> Tensor:
    """Every process's ``x``, one behind the other along ``dim``. On the way back each gets the sum of what all ask of its own."""
    return x if group is None else _Gathered.apply(x, dim, group)  # pyright: ignore[reportReturnType]


def summed_own(x: Tensor, dim: int, group: Group) -> Tensor:
    """This process's stretch along ``dim`` of the sum over all; on the way back all stretches come together."""
    return x if group is None else _SummedOwn.apply(x, dim, group)  # pyright: ignore[reportReturnType]


def exchanged(x: Tensor, sent: Sequence[int], received: Sequence[int], group: Group) -> Tensor:
    """Rows of ``x`` go to the processes, so many to each in order; so many come from each. The way back goes the other way."""
    return x if group is None else _Exchanged.apply(x, list(sent), list(received), group)  # pyright: ignore[reportReturnType]


def own(x: Tensor, dim: int, group: Group) -> Tensor:
    """This process's stretch of ``x`` along ``dim``, of equal ones."""
    return x if group is None else x.chunk(dist.get_world_size(group), dim)[dist.get_rank(group)]


def all_of(x: Tensor, dim: int, group: Group) -> Tensor:
    """``gathered`` without a way back."""
    if group is None:
        return x
    moved = x.movedim(dim, 0).contiguous()
    out = moved.new_empty(moved.shape[0] * dist.get_world_size(group), *moved.shape[1:])
    GATHER(out, moved, group=group)
    return out.movedim(0, dim).contiguous()


def own_of_sum(x: Tensor, dim: int, group: Group) -> Tensor:
    """``summed_own`` without a way back."""
    if group is None:
        return x
    moved = x.movedim(dim, 0).contiguous()
    out = moved.new_empty(moved.shape[0] // dist.get_world_size(group), *moved.shape[1:])
    SUM_OWN(out, moved, group=group)
    return out.movedim(0, dim).contiguous()


def all_to_all(x: Tensor, sent: list[int], received: list[int], group: Group) -> Tensor:
    """``exchanged`` without a way back."""
    out = x.new_empty(sum(received), *x.shape[1:])
    dist.all_to_all_single(out, x.contiguous(), received, sent, group=group)
    return out


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: Group) -> Tensor:
        ctx.to = dim, group
        return all_of(x, dim, group)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return own_of_sum(grad_outputs[0], *ctx.to), None, None


class _SummedOwn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: Group) -> Tensor:
        ctx.to = dim, group
        return own_of_sum(x, dim, group)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return all_of(grad_outputs[0], *ctx.to), None, None


class _Exchanged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sent: list[int], received: list[int], group: Group) -> Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        return all_to_all(x, sent, received, group)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return all_to_all(grad_outputs[0], ctx.received, ctx.sent, ctx.group), None, None, None


def sendable(x: Tensor) -> Tensor:
    """``x`` itself, whose gradient will lie in memory as it is sent: without gaps."""
    return _Sendable.apply(x)  # pyright: ignore[reportReturnType]


class _Sendable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0].contiguous()
