"""Each matrix cut among processes, and the positions between matrices: what an architecture's SHARDING table says, done to its modules.

A pair of matrices needs no message between them when the first is cut by its outputs and the second by its inputs (Shoeybi et al. 2019,
arXiv:1909.08053). Before such a pair positions are gathered, behind it what each process has is summed and each keeps its own positions:
so nothing is stored or computed twice (Korthikanti et al. 2022, arXiv:2205.05198).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from scratchlm.core.errors import UsageError
from scratchlm.parallel import parts
from scratchlm.parallel.crossing import Group, all_of, gathered, own, summed_own
from scratchlm.parallel.experts import read_by_all_
from scratchlm.parallel.parts import Piece

POSITIONS = 1
"""The dim of a tensor that positions lie along."""


@dataclass
class Lane:
    """One of ``size`` processes that share matrices out, and what it entered last."""

    group: Group
    place: int
    size: int
    _entered: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    def entered(self, x_BTD: Tensor) -> Tensor:
        """All positions of ``x_BTD``; several matrices that read the same cause one message."""
        if self._entered is None or self._entered[0] is not x_BTD:
            self._entered = x_BTD, gathered(x_BTD, POSITIONS, self.group)
        return self._entered[1]

    def left(self, y_BTD: Tensor) -> Tensor:
        """The sum of what all have, at this process's own positions."""
        self._entered = None
        return summed_own(y_BTD, POSITIONS, self.group)

    def largest(self, x: Tensor) -> Tensor:
        """Of what each process has, entry by entry."""
        return self._reduced(x, dist.ReduceOp.MAX)

    def total(self, x: Tensor) -> Tensor:
        """The sum of what each process has, entry by entry."""
        return self._reduced(x, dist.ReduceOp.SUM)

    def _reduced(self, x: Tensor, how: dist.ReduceOp.RedOpType) -> Tensor:
        out = x.detach().clone()
        dist.all_reduce(out, how, group=self.group)
        return out

    def chunk(self, size: int) -> tuple[int, int]:
        """This process's stretch of ``size`` rows: all equal but the last, which may be shorter."""
        each = -(-size // self.size)
        return min(self.place * each, size), min((self.place + 1) * each, size)

    def even(self, size: int, what: str) -> tuple[int, int]:
        """The same where all must be equal; UsageError names ``what`` is not."""
        if size % self.size:
            raise UsageError(
                f"parallel.tensor: {self.size} processes cannot share {what} of {size} out evenly. "
                "Set parallel.tensor to a number that divides it."
            )
        return self.chunk(size)


class Columns(nn.Linear):
    """A linear layer with some of the outputs, which reads all positions."""

    lane: Lane

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(self.lane.entered(input), self.weight, self.bias)


class Rows(nn.Linear):
    """A linear layer with some of the inputs, whose outputs are summed over all processes."""

    lane: Lane

    def forward(self, input: Tensor) -> Tensor:
        y_BTD = self.lane.left(F.linear(input, self.weight))
        return y_BTD if self.bias is None else y_BTD + self.bias


class Vocabulary(nn.Embedding):
    """An embedding with some of the rows: a token that is elsewhere counts nothing here."""

    lane: Lane
    first: int

    def forward(self, input: Tensor) -> Tensor:
        here_BT = input - self.first
        absent_BT = (here_BT < 0) | (here_BT >= len(self.weight))
        x_BTD = F.embedding(here_BT.masked_fill(absent_BT, 0), self.weight)
        return self.lane.left(x_BTD.masked_fill(absent_BT[..., None], 0))


Held = dict[str, tuple[Piece, ...]]
"""What a process holds of each parameter that is cut, by name."""


def divide_(model: nn.Module, sharding: Mapping[str, str], lane: Lane) -> Held:
    """Cut ``model`` in place; what of each cut parameter is left. UsageError where it cannot be cut so."""
    held: Held = {}
    for path, module in model.named_modules():
        for pattern, kind in sharding.items():
            if speaks_of(pattern, path):
                CUTS[kind](module, path, lane, held)
    return held


def speaks_of(pattern: str, path: str) -> bool:
    """Whether a row of a SHARDING table means the module at ``path``; a star stands for one name."""
    return fnmatchcase(path, pattern) and pattern.count(".") == path.count(".")


def cut_of(path: str, sharding: Mapping[str, str]) -> str | None:
    """What a SHARDING table says of the module at ``path``."""
    return next((cut for pattern, cut in sharding.items() if speaks_of(pattern, path)), None)


def _keep(module: nn.Module, path: str, name: str, dim: int, stretches: list[tuple[int, int]], held: Held) -> None:
    """Of a parameter keep some stretches along ``dim``."""
    parameter = getattr(module, name)
    everything = parts.whole_piece(parameter.shape)
    pieces, done = [], 0
    for first, last in stretches:
        for piece in parts.cut(everything, dim, first, last):
            start, end = piece.here[dim]
            pieces.append(replace(piece, here=(*piece.here[:dim], (start + done, end + done), *piece.here[dim + 1 :])))
        done += last - first
    kept = torch.cat([parameter.data.narrow(dim, first, last - first) for first, last in stretches], dim)
    setattr(module, name, nn.Parameter(kept.clone(memory_format=torch.contiguous_format), requires_grad=parameter.requires_grad))
    held[f"{path}.{name}"] = tuple(pieces)


def _columns(module: Any, path: str, lane: Lane, held: Held, *, thirds: int = 1) -> None:
    size = module.out_features // thirds
    first, last = lane.even(size, f"the outputs of {path}")
    stretches = [(third * size + first, third * size + last) for third in range(thirds)]
    _keep(module, path, "weight", 0, stretches, held)
    if module.bias is not None:
        _keep(module, path, "bias", 0, stretches, held)


def _entering_columns(module: Any, path: str, lane: Lane, held: Held, *, thirds: int = 1) -> None:
    _columns(module, path, lane, held, thirds=thirds)
    module.__class__, module.lane = Columns, lane


def _of_three(module: Any, path: str, lane: Lane, held: Held) -> None:
    _entering_columns(module, path, lane, held, thirds=3)


def _rows(module: Any, path: str, lane: Lane, held: Held) -> None:
    _keep(module, path, "weight", 1, [lane.even(module.in_features, f"the inputs of {path}")], held)


def _leaving_rows(module: Any, path: str, lane: Lane, held: Held) -> None:
    _rows(module, path, lane, held)
    module.__class__, module.lane = Rows, lane


def _vocabulary(module: Any, path: str, lane: Lane, held: Held) -> None:
    stretch = lane.chunk(len(module.weight))
    _keep(module, path, "weight", 0, [stretch], held)
    if not isinstance(module, nn.Linear):
        module.__class__, module.lane, module.first = Vocabulary, lane, stretch[0]


def _channels(module: Any, path: str, lane: Lane, held: Held) -> None:
    _keep(module, path, "weight", 1, [lane.even(module.embedding_dim, f"the channels of {path}")], held)


def _positions(module: nn.Module, _path: str, lane: Lane, _held: Held) -> None:
    module.register_forward_pre_hook(lambda _module, given: tuple(own(t, POSITIONS, lane.group) for t in given))


def _gathered(module: nn.Module, _path: str, lane: Lane, _held: Held) -> None:
    """A norm over what all processes have together."""
    module.register_forward_pre_hook(lambda _module, given: (gathered(given[0], -1, lane.group),))

    def own_channels(_module: nn.Module, _given: Any, out: Any) -> Tensor:
        return own(out, -1, lane.group)

    module.register_forward_hook(own_channels)


def _statistics(module: Any, _path: str, lane: Lane, _held: Held) -> None:
    """What counts over all positions, of which the stream's are already this process's own."""
    module.gathered, module.own = (lambda t: all_of(t, POSITIONS, lane.group)), (lambda t: own(t, POSITIONS, lane.group))
    module.register_forward_pre_hook(lambda _module, given: (given[0], own(given[1], POSITIONS, lane.group), given[2]))


def _experts(module: Any, _path: str, lane: Lane, _held: Held) -> None:
    read_by_all_(module, lane.group)


CUTS: dict[str, Callable[[Any, str, Lane, Held], None]] = {
    "columns": _entering_columns,
    "columns of three": _of_three,
    "rows": _leaving_rows,
    "vocabulary": _vocabulary,
    "channels": _channels,
    "positions": _positions,
    "gathered": _gathered,
    "statistics": _statistics,
    "experts": _experts,
    "expert columns": _columns,
    "expert rows": _rows,
}
"""What can be said in a SHARDING table."""
