"""Whole matrices from what processes hold of them, and back: each matrix is brought together on one process, changed, and given out again.

So an optimizer that looks at whole matrices costs each process its share of the arithmetic, and every number travels twice.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property

import torch
import torch.distributed as dist
from torch import Tensor, nn

from scratchlm.parallel.crossing import all_to_all
from scratchlm.parallel.parts import Part, Piece, at
from scratchlm.parallel.world import World

Act = Callable[[Tensor], Tensor]
"""(matrices of one shape, stacked) -> what each becomes."""


class Matrices:
    """Those that a process holds parts of."""

    def __init__(self, parts: Sequence[Part], world: World) -> None:
        self._world = world
        self._parts = {part.own: part for part in parts if part.own.ndim == 2}

    @cached_property
    def _held(self) -> dict[tuple[str, ...], list[dict[str, list[Piece]]]]:
        """What each process along some axes holds; of a thousand it is much to tell, so it is asked for when matrices are changed."""
        found = {}
        for axes in sorted({part.cut_along for part in self._parts.values()}):
            mine = {
                part.name: [[piece.here, piece.there] for piece in part.pieces] for part in self._parts.values() if part.cut_along == axes
            }
            said = self._world.gathered(mine, *axes) if axes else [mine]
            found[axes] = [{name: [pieced(piece) for piece in pieces] for name, pieces in each.items()} for each in said]
        return found

    def kind(self, parameter: nn.Parameter) -> Hashable:
        """What matrices that are changed together have in common: the whole shape, and who holds them."""
        part = self._parts[parameter]
        return part.shape, part.cut_along

    def shape(self, parameter: nn.Parameter) -> torch.Size:
        """Of the whole matrix."""
        return self._parts[parameter].shape

    def changed(self, parameters: Sequence[nn.Parameter], values: Sequence[Tensor], act: Act) -> list[Tensor]:
        """What ``act`` makes of the whole matrices that ``values`` are this process's parts of, again in parts."""
        parts = [self._parts[parameter] for parameter in parameters]
        axes = parts[0].cut_along
        group = self._world.group(*axes) if axes else None
        if group is None:
            return list(act(torch.stack(list(values))).unbind())
        held, here, count = self._held[axes], dist.get_rank(group), dist.get_world_size(group)
        names = [part.name for part in parts]
        mine = names[here::count]  # those that are brought together here
        wholes = torch.empty(len(mine), *parts[0].shape, dtype=values[0].dtype, device=values[0].device)

        def own(of: Sequence[Tensor]) -> list[list[Tensor]]:
            """This process's blocks of the matrices that come together at each."""
            return [
                [at(t, p.here) for n, t in zip(names[to::count], of[to::count], strict=True) for p in held[here][n]] for to in range(count)
            ]

        def of_each(whole: Tensor) -> list[list[Tensor]]:
            """Each process's blocks of the matrices that come together here."""
            return [[at(t, p.there) for n, t in zip(mine, whole, strict=True) for p in each[n]] for each in held]

        swap(own(values), of_each(wholes), group)
        changed = act(wholes) if mine else act(wholes.new_zeros(1, *parts[0].shape))[:0]
        out = [torch.empty_like(value, dtype=changed.dtype) for value in values]
        swap(of_each(changed), own(out), group)
        return out


def swap(sent: Sequence[Sequence[Tensor]], coming: Sequence[Sequence[Tensor]], group: dist.ProcessGroup) -> None:
    """Send the blocks of ``sent`` to each process, and fill those of ``coming`` with what each sends."""
    blocks = [block for each in sent for block in each]
    targets = [block for each in coming for block in each]
    flat = torch.cat([block.flatten() for block in blocks]) if blocks else targets[0].new_empty(0)
    counts = [[sum(block.numel() for block in each) for each in both] for both in (sent, coming)]
    found = all_to_all(flat, counts[0], counts[1], group)
    for target, values in zip(targets, found.split([target.numel() for target in targets]), strict=True):
        target.copy_(values.view_as(target))


def pieced(said: Sequence[Sequence[Sequence[int]]]) -> Piece:
    """A piece as JSON brought it."""
    here, there = (tuple((first, last) for first, last in ranges) for ranges in said)
    return Piece(here, there)
