"""Experts share the work: a gradient that makes a router's favourites a little less likely.

The loss of Switch Transformers (Fedus et al. 2021, arXiv:2101.03961, eq. 4) as transformers computes it, so that a coefficient means here
what ``router_aux_loss_coef`` means there: E · Σ_experts f · p, with f the share of positions that chose an expert and p how likely it was
to be chosen on average, both over the positions of ALL layers together. So however many layers there are, it is as strong, and even
shares cost the number of experts that each position asks. Only p has a gradient. Experts of the same number in different layers, which have
nothing else in common, are counted as one: what one layer has too much of, another may have too little of.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Route = tuple[Tensor, Tensor]
"""(probabilities_NE, chosen_NK) of a layer: how likely each expert was, and which were asked."""


Positions = Callable[[Tensor], Tensor]


def as_it_is(t: Tensor) -> Tensor:
    """On one process all positions of a row are here."""
    return t


def also_asked(asked_BTE: Float[Tensor, "B T E"], route: Route) -> Float[Tensor, "B T E"]:
    """How often each position asked each expert, in the layers so far and this one. The likelihoods get the gradient of these counts."""
    return _AlsoAsked.apply(asked_BTE, *route)  # pyright: ignore[reportReturnType]


class _AlsoAsked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, asked_BTE: Tensor, probabilities_NE: Tensor, chosen_NK: Tensor) -> Tensor:
        return asked_BTE + F.one_hot(chosen_NK, probabilities_NE.shape[1]).sum(dim=1).view_as(asked_BTE)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return grad_outputs[0], grad_outputs[0].flatten(0, 1), None


class Balance(nn.Module):
    """Hands the last layer's output on as it is, with a zero whose gradient by the likelihoods is that of the loss above.

    All positions of a document count when anything of it matters to the loss, which only the way back knows: prompts do, padding never.
    Where several processes share positions out, ``gathered`` brings those of whole rows together, ``own`` takes a process's own, and
    ``summed`` adds up what the loss of each weighs.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.gathered: Positions = as_it_is
        self.own: Positions = as_it_is
        self.summed: Positions = as_it_is

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], positions_BT: Int[Tensor, "B T"], asked_BTE: Float[Tensor, "B T E"]
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, ""]]:
        return _Balanced.apply(x_BTD, positions_BT, asked_BTE, self)  # pyright: ignore[reportReturnType]


class _Balanced(torch.autograd.Function):
    """What is asked of the zero (1, times whatever the loss is multiplied by) scales the gradient."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, positions_BT: Tensor, asked_BTE: Tensor, balance: Balance) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(positions_BT, asked_BTE)
        ctx.balance = balance
        return x_BTD.view_as(x_BTD), asked_BTE.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (by_x_BTD, by_zero), balance = grad_outputs, ctx.balance
        positions_BT, asked_BTE = (balance.gathered(t) for t in ctx.saved_tensors)
        matter_BT = balance.gathered((by_x_BTD != 0).any(dim=-1).to(asked_BTE.dtype))
        counted_BT1 = documents_that_matter(matter_BT, positions_BT)[..., None]
        count = (balance.layers * counted_BT1.sum()).clamp(min=1)
        asked_E = (asked_BTE * counted_BT1).sum(dim=(0, 1))
        by_asked_BTE = balance.summed(by_zero) * len(asked_E) * (asked_E / count) * counted_BT1 / count
        return by_x_BTD, None, balance.own(by_asked_BTE), None


def documents_that_matter(matter_BT: Float[Tensor, "B T"], positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """1 at the positions of each document in which some position matters, else 0; a document begins where positions are 0."""
    document_BT = (positions_BT == 0).long().cumsum(dim=1)
    of_document = matter_BT.new_zeros(matter_BT.shape[0], matter_BT.shape[1] + 1).scatter_add(1, document_BT, matter_BT)
    return (of_document.gather(1, document_BT) > 0).to(matter_BT.dtype)
