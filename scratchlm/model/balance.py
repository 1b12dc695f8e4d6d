"""Experts share the work: a gradient that makes a router's favourites a little less likely.

The loss of Switch Transformers (Fedus et al. 2021, arXiv:2101.03961, eq. 4) as transformers computes it, so that a coefficient means here
what ``router_aux_loss_coef`` means there: E · Σ_experts f · p, with f the share of positions that chose an expert and p how likely it was
to be chosen on average, both over the positions of ALL layers together. So however many layers there are, it is as strong, and even
shares cost the number of experts that each position asks. Only p has a gradient. Experts of the same number in different layers, which have
nothing else in common, are counted as one: what one layer has too much of, another may have too little of.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

Route = tuple[Tensor, Tensor]
"""(probabilities_NE, chosen_NK) of a layer: how likely each expert was, and which were asked."""


def balanced(
    x_BTD: Float[Tensor, "B T D"], positions_BT: Int[Tensor, "B T"], routes: Sequence[Route]
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, ""]]:
    """``x_BTD``, the last layer's, as it is, and a zero whose gradient by the probabilities is that of the loss above.

    All positions of a document count when anything of it matters to the loss, which only the way back knows: prompts do, padding never.
    """
    probabilities, chosen = zip(*routes, strict=True)
    return _Balanced.apply(x_BTD, positions_BT, *probabilities, *chosen)  # pyright: ignore[reportReturnType]


class _Balanced(torch.autograd.Function):
    """What is asked of the zero (1, times whatever the loss is multiplied by) scales the gradient."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, positions_BT: Tensor, *routes: Tensor) -> tuple[Tensor, Tensor]:
        layers = len(routes) // 2
        ctx.save_for_backward(positions_BT, *routes[layers:])
        ctx.experts = routes[0].shape[1]
        return x_BTD.view_as(x_BTD), routes[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        by_x_BTD, by_zero = grad_outputs
        positions_BT, *chosen = ctx.saved_tensors
        counted_N1 = documents_that_matter(by_x_BTD, positions_BT).flatten()[:, None]
        count = (len(chosen) * counted_N1.sum()).clamp(min=1)
        asked_E = torch.stack([(F.one_hot(chosen_NK, ctx.experts).sum(dim=1) * counted_N1).sum(dim=0) for chosen_NK in chosen]).sum(dim=0)
        by_probabilities_NE = by_zero * ctx.experts * (asked_E / count) * counted_N1 / count
        return by_x_BTD, None, *(by_probabilities_NE for _ in chosen), *(None for _ in chosen)


def documents_that_matter(by_x_BTD: Float[Tensor, "B T D"], positions_BT: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """1 at the positions of each document in which some position has a gradient, else 0; a document begins where positions are 0."""
    document_BT = (positions_BT == 0).long().cumsum(dim=1)
    matter_BT = (by_x_BTD != 0).any(dim=-1).float()
    of_document = matter_BT.new_zeros(matter_BT.shape[0], matter_BT.shape[1] + 1).scatter_add(1, document_BT, matter_BT)
    return (of_document.gather(1, document_BT) > 0).float()
