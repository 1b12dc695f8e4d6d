"""What processes send each other in a step: every collective passes torch's dispatcher, whether its tensors have numbers or not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from scratchlm.parallel.world import World

COUNTS = "counts and sums"
"""Messages of a few numbers, such as a step's loss or who sends how much to whom."""


@dataclass(frozen=True)
class Sent:
    """What one process sent of a kind."""

    messages: int = 0
    size_bytes: float = 0.0

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(self.messages + other.messages, self.size_bytes + other.size_bytes)

    def __sub__(self, other: "Sent") -> "Sent":
        return Sent(self.messages - other.messages, self.size_bytes - other.size_bytes)

    def __mul__(self, count: int) -> "Sent":
        return Sent(self.messages * count, self.size_bytes * count)


@dataclass(frozen=True)
class _Call:
    """Of a collective, as torch's dispatcher sees it."""

    brought: Sequence[Tensor]
    """By this process."""
    group: dist.ProcessGroup
    arguments: Sequence[Any]

    @property
    def bytes(self) -> float:
        return float(sum(t.nbytes for t in self.brought))


def _gathered(call: _Call) -> float:
    """In a ring each hands on what all others brought (Patarasuk & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002)."""
    return call.bytes * (call.group.size() - 1)


def _scattered(call: _Call) -> float:
    return call.bytes * (1 - 1 / call.group.size())


def _summed(call: _Call) -> float:
    return 2 * _scattered(call)


def _exchanged(call: _Call) -> float:
    """Each sends all but what is its own already."""
    rows = call.arguments[4]
    return call.bytes * (1 - (rows[call.group.rank()] / max(1, sum(rows)) if rows else 1 / call.group.size()))


def _sent(call: _Call) -> float:
    return call.bytes


HOW: Mapping[str, tuple[int, Callable[[_Call], float]]] = {
    "_allgather_base_": (1, _gathered),
    "allgather_": (1, _gathered),
    "_reduce_scatter_base_": (1, _scattered),
    "allreduce_": (0, _summed),
    "alltoall_base_": (1, _exchanged),
    "send": (0, _sent),
}
"""Of each operation, which argument this process brings, and what it sends of that."""


@dataclass
class Overheard:
    """What one process sent of each kind."""

    world: World
    sent: dict[str, Sent] = field(default_factory=dict)
    _along: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def hear(self, func: Any, args: Sequence[Any]) -> None:
        """An operation that the dispatcher was given; what is no collective is passed over."""
        if func.namespace != "c10d" or (known := HOW.get(func.overloadpacket.__name__)) is None:
            return
        place, size = known
        brought = [args[place]] if isinstance(args[place], Tensor) else args[place]
        call = _Call(brought, dist.ProcessGroup.unbox(next(a for a in args if isinstance(a, torch.ScriptObject))), args)
        kind = self._kind(func.overloadpacket.__name__, call)
        self.sent[kind] = self.sent.get(kind, Sent()) + Sent(1, size(call))

    def _kind(self, operation: str, call: _Call) -> str:
        """In the words of ``foretold.messages``, where it is told of there."""
        t, flat = call.brought[0], call.brought[0].ndim == 1
        if not t.is_floating_point() or t.dtype == torch.float64 or call.bytes == t.element_size():
            return COUNTS
        if operation == "send":
            return "tied embedding" if t.ndim == 2 else "between layers"
        if operation == "allreduce_":
            return "gradients summed" if self.along(call.group) == ("replicate",) else "summed by those who share matrices out"
        if operation == "alltoall_base_":
            return "matrices of Muon" if flat else "positions to experts" if t.ndim == 2 else "keys and values"
        if flat:
            return "weights gathered" if "gather" in operation else "gradients scattered"
        return "positions gathered, scattered" if self.along(call.group) == ("tensor",) else "keys and values"

    def along(self, group: dist.ProcessGroup) -> tuple[str, ...]:
        """The axes along which the processes of a group differ."""
        if group.group_name not in self._along:
            first, *others = (replace(self.world, rank=rank).place for rank in dist.get_process_group_ranks(group))
            self._along[group.group_name] = tuple(axis for axis in first if any(first[axis] != other[axis] for other in others))
        return self._along[group.group_name]
