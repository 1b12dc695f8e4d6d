"""Experts shared out: each process keeps some, and positions travel to those who answer them and back.

Lepikhin et al. 2020, arXiv:2006.16668. Where a router sits, nothing changes: who asks whom is decided before anything is sent.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchlm.core.errors import UsageError
from scratchlm.parallel.crossing import Group, all_of, exchanged, gathered, summed_own

Answer = Callable[[Tensor, Sequence[int]], Tensor]
"""(x_MD, how many of its rows are each expert's, which lie together) -> said_MD."""


def share_out_(bank: Any, group: Group, place: int, size: int) -> None:
    """Keep this process's share of the experts in ``bank``, under their numbers, and let those of all be asked from everywhere."""
    each, rest = divmod(len(bank), size)
    if rest:
        raise UsageError(f"parallel.expert: {size} processes cannot share {len(bank)} experts out evenly. Set a number that divides them.")
    mine = range(place * each, (place + 1) * each)
    for number in sorted(set(range(len(bank))) - set(mine)):
        del bank._modules[str(number)]
    answer: Answer = bank.forward

    def forward(x_MD: Tensor, sizes: Sequence[int]) -> Tensor:
        asked = torch.tensor(sizes, device=x_MD.device)
        told_PE = all_of(asked[None], 0, group)[:, mine.start : mine.stop]  # rows that come from each process for each expert here
        sent, received = asked.view(size, each).sum(dim=1).tolist(), told_PE.sum(dim=1).tolist()
        order_M = by_expert(told_PE)
        said_MD = answer(exchanged(x_MD, sent, received, group)[order_M], told_PE.sum(dim=0).tolist())
        return exchanged(said_MD[order_M.argsort()], received, sent, group)

    bank.forward = forward


def read_by_all_(bank: Any, group: Group) -> None:
    """Every process reads the rows of all with its share of each expert's width, and what all say is summed."""
    answer: Answer = bank.forward

    def forward(x_MD: Tensor, sizes: Sequence[int]) -> Tensor:
        told_PE = all_of(torch.tensor(sizes, device=x_MD.device)[None], 0, group)
        order_M = by_expert(told_PE)
        said_MD = answer(gathered(x_MD, 0, group)[order_M], told_PE.sum(dim=0).tolist())
        return summed_own(said_MD[order_M.argsort()], 0, group)

    bank.forward = forward


def by_expert(rows_PE: Tensor) -> Tensor:
    """In which order to read rows that lie by process, and of each process by expert, so that those of an expert lie together."""
    experts_PE = torch.arange(rows_PE.shape[1], device=rows_PE.device).expand_as(rows_PE)
    return experts_PE.flatten().repeat_interleave(rows_PE.flatten()).argsort(stable=True)
