"""What one process holds of each parameter, and where in the whole parameter it lies: all that checkpoints, norms and optimizers ask."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from pydantic import TypeAdapter
from torch import Tensor, nn

from scratchlm.parallel.layout import AXES
from scratchlm.parallel.world import World

Range = tuple[int, int]
"""From the first on, up to but without the last."""


@dataclass(frozen=True)
class Piece:
    """A block of numbers: where it lies in what a process holds, and where in the whole; a range for each dim of both."""

    here: tuple[Range, ...]
    there: tuple[Range, ...]

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(last - first for first, last in self.there)


PIECES = TypeAdapter(tuple[Piece, ...])
DTYPES = {str(dtype): dtype for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)}
"""Of parameters, by the name under which one process tells another."""


@dataclass(frozen=True)
class Part:
    """What this process holds of one parameter."""

    name: str
    """In the undivided model."""
    shape: torch.Size
    """Of the whole parameter."""
    own: nn.Parameter
    """A plain tensor that shares its memory with what the model computes with; an optimizer changes it."""
    pieces: tuple[Piece, ...]
    """None of them empty; where this process has nothing of the parameter there are none."""
    owner: bool = True
    """Whether of all processes that hold these very numbers this is the one that counts them and writes them down."""
    cut_along: tuple[str, ...] = ()
    """Axes of the mesh along which processes hold other blocks of it, or the same."""
    summed: tuple[str, ...] = ()
    """Axes of the mesh along which every process has its own share of the gradient, and what they hold is the same."""
    at_both_ends: bool = False
    """Whether the other end of the pipeline holds the same, and has its own share of the gradient."""


def whole(name: str, parameter: nn.Parameter) -> Part:
    """All of a parameter, as it is on one process."""
    return Part(name, parameter.shape, parameter, whole_piece(parameter.shape))


def whole_piece(shape: Sequence[int]) -> tuple[Piece, ...]:
    """Everything, in one block."""
    everything = tuple((0, size) for size in shape)
    return (Piece(everything, everything),)


def cut(pieces: Iterable[Piece], dim: int, first: int, last: int) -> tuple[Piece, ...]:
    """What is left of ``pieces`` when of what a process holds only ``first`` to ``last`` along ``dim`` stays."""
    left = []
    for piece in pieces:
        start, end = piece.here[dim]
        kept = max(start, first), min(end, last)
        if kept[0] < kept[1]:
            moved = piece.there[dim][0] - start
            left.append(
                Piece(
                    here=_with(piece.here, dim, (kept[0] - first, kept[1] - first)),
                    there=_with(piece.there, dim, (kept[0] + moved, kept[1] + moved)),
                )
            )
    return tuple(left)


def _with(ranges: tuple[Range, ...], dim: int, one: Range) -> tuple[Range, ...]:
    return (*ranges[:dim], one, *ranges[dim + 1 :])


def at(tensor: Tensor, ranges: Sequence[Range]) -> Tensor:
    """The block of ``tensor`` that ``ranges`` name."""
    return tensor[tuple(slice(*each) for each in ranges)]


def divided(wanted: Piece, found: Sequence[Range]) -> tuple[Piece | None, list[Piece]]:
    """What of ``wanted`` lies in the block ``found`` of the whole (None: nothing), and in pieces the rest of it."""
    if any(min(last, end) <= max(first, start) for (first, last), (start, end) in zip(wanted.there, found, strict=True)):
        return None, [wanted]
    inside, rest = wanted, []
    for dim, (start, end) in enumerate(found):
        first, last = inside.there[dim]
        low, high = max(first, start), min(last, end)
        rest += [_narrowed(inside, dim, *side) for side in ((first, low), (high, last)) if side[0] < side[1]]
        inside = _narrowed(inside, dim, low, high)
    return inside, rest


def _narrowed(piece: Piece, dim: int, first: int, last: int) -> Piece:
    moved = piece.here[dim][0] - piece.there[dim][0]
    return Piece(_with(piece.here, dim, (first + moved, last + moved)), _with(piece.there, dim, (first, last)))


def of(model: nn.Module) -> list[Part]:
    """The parts of a model that one process holds whole."""
    return [whole(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def by_name(parts: Iterable[Part]) -> Iterator[tuple[str, nn.Parameter]]:
    """As optimizers take them."""
    return ((part.name, part.own) for part in parts)


def named(parts: Iterable[Part], world: World) -> dict[str, list[int]]:
    """Name and shape of every parameter of the whole model, whoever holds it: the same at every process."""
    own = [part for part in parts if part.owner]
    begun = {part.name: list(part.shape) for part in own if any(not any(first for first, _ in piece.there) for piece in part.pieces)}
    found = {name: shape for each in world.gathered(begun, *AXES) for name, shape in each.items()}
    counted = world.sum(float(sum(piece.size for part in own for piece in part.pieces)), *AXES)
    assert counted == sum(map(math.prod, found.values())), "some number of the model has no owner, or two"
    return found


def assembled(parts: Iterable[Part], world: World, axes: Sequence[str] = AXES) -> Iterator[tuple[str, Tensor | None]]:
    """Every parameter that processes along ``axes`` own, one at a time, in the order of their names.

    To the name come, at the first of them, all of its numbers, else None.

    They lie in the processor's memory. Every process goes through all of them, for each sends what it owns when that is asked for.
    """
    own = {part.name: part for part in parts if part.owner and part.pieces}
    holders: dict[str, dict[int, dict[str, Any]]] = {}
    for place, said in enumerate(world.gathered([_told(part) for part in own.values()], *axes)):
        for one in said:
            holders.setdefault(one["name"], {})[place] = one
    group = world.group(*axes)
    if group is not None and dist.get_rank(group) > 0:
        for name in sorted(holders):
            if name in own:
                _wait_for([dist.P2POp(dist.isend, _in_a_row(own[name], world), group=group, group_peer=0)])
            yield name, None
        return
    for name, held in sorted(holders.items()):
        yield name, _brought_together(held, own.get(name), world, group)


def _brought_together(held: dict[int, dict[str, Any]], own: Part | None, world: World, group: dist.ProcessGroup | None) -> Tensor:
    """All of a parameter, whose pieces come from those who told of them; this process is the first."""
    pieces = {place: PIECES.validate_python(one["pieces"]) for place, one in held.items()}
    (shape, dtype), *_ = ((one["shape"], DTYPES[one["dtype"]]) for one in held.values())
    assert sum(piece.size for each in pieces.values() for piece in each) == math.prod(shape), "some number has no owner, or two"
    rows = {place: torch.empty(sum(piece.size for piece in each), dtype=dtype, device=world.device) for place, each in pieces.items()}
    if own is not None:
        rows[0] = _in_a_row(own, world)
    _wait_for([dist.P2POp(dist.irecv, row, group=group, group_peer=place) for place, row in rows.items() if place > 0])
    everything = torch.empty(shape, dtype=dtype)
    for place, each in pieces.items():
        for piece, numbers in zip(each, rows[place].cpu().split([piece.size for piece in each]), strict=True):
            block = at(everything, piece.there)
            block.copy_(numbers.view(block.shape))
    return everything


def _in_a_row(part: Part, world: World) -> Tensor:
    """What a process holds of a parameter, piece after piece."""
    return torch.cat([at(part.own.detach(), piece.here).reshape(-1) for piece in part.pieces]).to(world.device)


def _wait_for(messages: list[dist.P2POp]) -> None:
    for work in dist.batch_isend_irecv(messages) if messages else []:
        work.wait()


def _told(part: Part) -> dict[str, Any]:
    pieces = PIECES.dump_python(part.pieces, mode="json")
    return {"name": part.name, "shape": list(part.shape), "dtype": str(part.own.dtype), "pieces": pieces}
