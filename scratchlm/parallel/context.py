"""The positions of each row shared out: a process computes its own, and sees the others' keys and values.

Of 2 n stretches of a row the i-th process has the i-th from either end, so that each has as many scores to compute though a position sees
only those before it (Llama 3, Grattafiori et al. 2024, arXiv:2407.21783, section 3.3.2, which also gathers keys and values). The other way
is to trade positions for heads: each process gets all positions of some heads (Jacobs et al. 2023, arXiv:2309.14509).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from scratchlm.core.errors import UsageError
from scratchlm.core.tensors import Attend
from scratchlm.parallel.crossing import Group, all_of, exchanged, gathered

POSITIONS = 1


@dataclass(frozen=True)
class Context:
    """One of ``size`` processes that share positions out."""

    group: Group
    place: int
    size: int

    def columns(self, length: int) -> Tensor:
        """Which of a row's positions are this process's own, in their order."""
        if length % (2 * self.size):
            raise UsageError(
                f"parallel.context: rows of {length} positions cannot be cut into {2 * self.size} stretches. "
                f"Set a context that is a multiple of {2 * self.size}."
            )
        return self._order(length)[self.place]

    def _order(self, length: int) -> Tensor:
        """Each process's positions, in a row of a table."""
        stretches = torch.arange(length).view(2 * self.size, -1)
        return torch.cat([stretches[: self.size], stretches.flip(0)[: self.size]], dim=1)

    def _sorted(self, x: Tensor) -> Tensor:
        """What lies by process, by position."""
        return x.index_select(POSITIONS, self._order(x.shape[POSITIONS]).flatten().argsort().to(x.device))

    def whole(self, x: Tensor) -> Tensor:
        """All positions of whole rows, without a way back."""
        return self._sorted(all_of(x, POSITIONS, self.group))

    def summed(self, x: Tensor) -> Tensor:
        """Of what each process has, entry by entry, without a way back."""
        out = x.clone()
        dist.all_reduce(out, group=self.group)
        return out

    def all_keys(self, x_BTGC: Tensor) -> Tensor:
        """All positions' keys (or values)."""
        return self._sorted(gathered(x_BTGC, POSITIONS, self.group))

    def heads(self, x_BTHC: Tensor) -> Tensor:
        """All positions of this process's share of the heads."""
        x_PBTHC = torch.stack(x_BTHC.chunk(self.size, dim=2))
        each = [1] * self.size
        return self._sorted(torch.cat(exchanged(x_PBTHC, each, each, self.group).unbind(), dim=POSITIONS))

    def own_positions(self, x_BSHC: Tensor) -> Tensor:
        """This process's positions of all heads: ``heads`` the other way."""
        order = self._order(x_BSHC.shape[POSITIONS]).to(x_BSHC.device)
        x_PBTHC = torch.stack([x_BSHC.index_select(POSITIONS, columns) for columns in order])
        each = [1] * self.size
        return torch.cat(exchanged(x_PBTHC, each, each, self.group).unbind(), dim=2)


def by_gathering(context: Context, asking: Callable[[Tensor, Tensor], Attend]) -> Callable[[Tensor], Attend]:
    """Attention of a process's own positions, given the segments of these; ``asking(segments_BS, columns)`` lets some positions ask all."""

    def given(segments_BT: Tensor) -> Attend:
        segments_BS = context.whole(segments_BT)
        attend = asking(segments_BS, context.columns(segments_BS.shape[1]).to(segments_BT.device))
        return lambda layer, q, k, v, window: attend(layer, q, context.all_keys(k), context.all_keys(v), window)

    return given


def by_heads(context: Context, usual: Callable[[Tensor], Attend]) -> Callable[[Tensor], Attend]:
    """The same, by ``usual`` attention over whole rows of some heads."""

    def given(segments_BT: Tensor) -> Attend:
        attend = usual(context.whole(segments_BT))

        def of_heads(layer: int, q_BTHC: Tensor, k_BTGC: Tensor, v_BTGC: Tensor, window: int | None) -> Tensor:
            q, k, v = (context.heads(t) for t in (q_BTHC, k_BTGC, v_BTGC))
            return context.own_positions(attend(layer, q, k, v, window))

        return of_heads

    return given
